//! How the program starts: the initial stack, as the kernel hands it over; and how
//! it ends if it is wrong about itself.

use core::ffi::CStr;
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use libc::{c_char, c_ulong};

/// The parent's stack. The kernel's has whatever limit was inherited, which may
/// not leave room for a signal frame. (Of atomics: a `static` of plain bytes would be a
/// constant.)
#[repr(C, align(16))]
pub struct Stack([AtomicU8; STACK]);

/// A signal frame may have 11 KiB (x86_64 with AVX-512) or 20 (aarch64 with SVE).
pub const STACK: usize = 64 * 1024;

pub static PARENT_STACK: Stack = Stack([const { AtomicU8::new(0) }; STACK]);

/// The addresses of the parent's stack.
pub fn parent_stack() -> Range<usize> {
    let start = PARENT_STACK.0.as_ptr().addr();
    start..start + STACK
}

/// What the kernel has handed over.
pub struct Process {
    /// As a main function in C has them.
    argc: usize,
    argv: *const *const c_char,
    /// Where the code is, in whole pages.
    pub code: Range<usize>,
}

impl Process {
    /// The arguments, without the program's name. There may be not even that.
    pub fn arguments(&self) -> impl Iterator<Item = &'static [u8]> {
        // SAFETY: the initial stack is there as long as the process, and is written
        // by nobody. It has so many pointers to strings (ELF ABI).
        let argument = |at| unsafe { CStr::from_ptr(*self.argv.add(at)).to_bytes() };
        (1..self.argc).map(argument)
    }
}

/// The first Rust code, called by the entry point of [`super::arch`] on the parent's
/// stack.
///
/// # Safety
///
/// `initial_stack` is what the stack pointer was at the start of the process.
pub unsafe extern "C" fn start(initial_stack: *const usize) -> ! {
    let (mut random, mut header, mut page) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the caller's. There are `argc`, `argv`, a null pointer, `envp`, a null pointer,
    // and then pairs of a type and a value, the last of type AT_NULL (getauxval(3)).
    let process = unsafe {
        let argc = *initial_stack;
        let argv = initial_stack.add(1);
        let mut word = argv.add(argc + 1);
        while *word != 0 {
            word = word.add(1);
        }
        let mut entry = word.add(1).cast::<[usize; 2]>();
        loop {
            let [kind, value] = *entry;
            match kind as c_ulong {
                libc::AT_NULL => break,
                libc::AT_RANDOM => random = value as *const usize,
                libc::AT_PHDR => header = value as *const ProgramHeader,
                libc::AT_PAGESZ => page = value,
                _ => {}
            }
            entry = entry.add(1);
        }
        assert!(!random.is_null(), "Linux 2.6.29 and later hands over random bytes");
        super::TOKEN.store(random.read_unaligned(), Relaxed);
        // There is at least one header, mapped with the code.
        Process { argc, argv: argv.cast(), code: code(&*header, page) }
    };
    crate::main(process)
}

/// An entry of the program headers, elf(5).
#[cfg(target_pointer_width = "64")]
type ProgramHeader = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "32")]
type ProgramHeader = libc::Elf32_Phdr;

/// Where the executable segment is in memory, in whole pages of `page` bytes. It begins
/// with the ELF header, which the program headers follow; it has the first of them (see
/// `src/layout.ld`).
fn code(first: &ProgramHeader, page: usize) -> Range<usize> {
    if first.p_flags & libc::PF_X == 0 {
        // Not this program: then nothing is kept from the children, and it says so.
        return 0..usize::MAX;
    }
    let start = ptr::from_ref(first).addr() & !(page - 1);
    let end = start + (first.p_vaddr + first.p_memsz) as usize;
    start..(end + page - 1) & !(page - 1)
}

/// A panic, which no path should reach, ends this process in order. In a child
/// nothing can be used that the parent has: no statics.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    let _ = rustix::io::write(super::STDERR, b"rot13d: fatal: panic\n");
    super::exit(super::SYSTEM_REFUSED)
}
