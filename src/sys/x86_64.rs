//! x86_64: what differs from one architecture to the next.
//!
//! ABI: number in `rax`, arguments in `rdi rsi rdx r10 r8 r9`, result in
//! `rax`; `rcx` and `r11` are overwritten (syscall(2)). The stack pointer is a
//! multiple of 16 at each call. clone(2): flags, stack, parent_tid, child_tid,
//! tls.

use super::{Address, Arg, Slot, State, arg};
use core::arch::{asm, global_asm, naked_asm};
use core::mem::offset_of;
use libc::c_long;
use rot13d_pure::addr::SocketAddress;
use rot13d_pure::fmt::id;

/// `AUDIT_ARCH_X86_64`: how a seccomp filter knows the calls of this file.
pub const AUDIT_ARCH: u32 = 0xc000_003e;

/// `e_flags` of the file: none.
pub const ELF_FLAGS: u32 = 0;

/// The calls behind [`poll`], [`alarm`] and [`seconds`].
pub const CALLS: [libc::c_long; 3] = [libc::SYS_poll, libc::SYS_alarm, libc::SYS_time];

// The entry point: hands the initial stack (`argc`, `argv`, `envp`, the auxiliary
// vector) to `start`, which is next in the file (see rest.ld) and runs on the stack
// at the end of the state.
global_asm!(
    ".pushsection .text._start, \"ax\"",
    ".globl _start",
    "_start: mov rdi, rsp",
    "lea rsp, [rip + {state} + {end}]",
    ".popsection",
    "/* {start} */",
    state = sym super::STATE, end = const super::STACK - 8, start = sym super::start,
);

/// exit(2): the process, which has but this thread.
///
/// And, in one piece with it, what is called by name from the functions below: where
/// one would end with a call of another, that follows. One by one, each with its
/// alignment and its jumps, they take 60 bytes more.
#[unsafe(naked)]
#[unsafe(link_section = ".text.small")]
#[allow(named_asm_labels)] // It is no block that may be there twice.
pub extern "C" fn exit(code: u32) -> ! {
    naked_asm!(
        "3: push {exit}", "pop rax", "syscall",

        "replace:", "push {close}", "pop rax", "syscall",
        "placeholder:", "lea rdi, [rip + 4f]", "push {open}", "pop rax", "mov esi, {path}",
        // The number of the call, in rax, is the id of the text.
        "call_or_end:", "push rax", "syscall", "pop rcx",
        "check:", "test eax, eax", "jns 2f",
        "mov edi, ecx", "xchg esi, eax", "neg esi",
        // Once more, for the alignment of the stack.
        "push rax", "call say", "push 111", "pop rdi", "jmp 3b",

        "option:", "push 0", "push rcx", "push rsp", "pop r10", "push 16", "pop r8",
        "push {setsockopt}", "pop rax", "syscall", "pop rcx", "pop rcx", "2: ret",

        "release:", "xor edi, edi",
        "hold:", "push rdi", "push rsp", "pop rsi", "push {sigprocmask}", "pop rax", "cdq",
        "push {setmask}", "pop rdi", "push {set}", "pop r10", "syscall", "pop rax", "ret",

        // Behind the return address, which is not used, is the frame.
        "handler:", "pop rax", "call {handle}", "push {sigreturn}", "pop rax", "syscall",

        // The path of `placeholder`.
        "4: .asciz \"/\"",

        "note:", "xor esi, esi",
        "say:", "push 2", "pop rdx",
        "/* {print} is next in the file. */",
        print = sym crate::log::print, handle = sym super::handle,
        exit = const libc::SYS_exit, close = const libc::SYS_close,
        open = const libc::SYS_open, path = const libc::O_PATH,
        setsockopt = const libc::SYS_setsockopt,
        sigprocmask = const libc::SYS_rt_sigprocmask, setmask = const libc::SIG_SETMASK,
        set = const super::SET, sigreturn = const libc::SYS_rt_sigreturn
    )
}

// The calls that these make by themselves.
const _: () = assert!(
    id::OPEN as c_long == libc::SYS_open
        && id::SIGACTION as c_long == libc::SYS_rt_sigaction
        && id::GETSOCKOPT as c_long == libc::SYS_getsockopt
);

/// Ends the server with text `id` if `result` is an error.
#[inline(always)]
pub fn check(id: u8, result: i32) {
    // SAFETY: looks at registers, or does not return.
    unsafe { asm!("call check", in("ecx") u32::from(id), in("eax") result) }
}

/// Logs text `id`, with a number.
#[inline(always)]
pub fn say(id: u32, number: u32) {
    // SAFETY: a function of the C ABI in the end.
    unsafe { asm!("call say", in("edi") id, in("esi") number, clobber_abi("C")) }
}

/// Logs text `id`, which has no number.
#[inline(always)]
pub fn note(id: u32) {
    // SAFETY: as above.
    unsafe { asm!("call note", in("edi") id, clobber_abi("C")) }
}

/// Opens something that can neither be read nor written, at the lowest free descriptor.
#[inline(always)]
pub fn placeholder() -> i32 {
    let result;
    // SAFETY: reads a path.
    unsafe {
        asm!("call placeholder", out("eax") result,
             out("rdi") _, out("rsi") _, out("rcx") _, out("r11") _);
    }
    result
}

/// Puts a placeholder in the place of `fd`, below which every descriptor is open.
#[inline(always)]
pub fn replace(fd: u32) {
    // SAFETY: as above.
    unsafe {
        asm!("call replace", inlateout("edi") fd => _, out("rax") _,
             out("rsi") _, out("rcx") _, out("r11") _);
    }
}

/// Holds back `signals`, and no others (sigprocmask(2)).
#[inline(always)]
pub fn hold(signals: i64) {
    // SAFETY: reads the set.
    unsafe {
        asm!("call hold", inlateout("rdi") signals => _, out("rax") _,
             out("rsi") _, out("rdx") _, out("r10") _, out("rcx") _, out("r11") _);
    }
}

/// Holds back no signal.
#[inline(always)]
pub fn release() {
    // SAFETY: as above.
    unsafe { asm!("call release", clobber_abi("C")) }
}

/// setsockopt(2) with a number, or a time in seconds: both fit what the kernel
/// reads, a `struct timeval` whose first part it takes for a number. Pushed in
/// place, which is half of what the compiler makes of it.
#[inline(always)]
pub fn option(fd: u32, level: u32, name: u32, value: usize) -> i32 {
    let result;
    // SAFETY: reads the value.
    unsafe {
        asm!("call option", in("edi") fd, in("esi") level, in("edx") name,
             inlateout("rcx") value => _,
             lateout("eax") result, clobber_abi("C"));
    }
    result
}

/// Any system call. It does not claim to leave the stack alone (`nostack`), for
/// that would let its caller keep things below the stack pointer, where a small
/// constant, then loaded without push and pop, takes ten bytes and not three.
///
/// # Safety
///
/// That of the call itself.
#[inline(always)]
pub unsafe fn call(nr: u32, a: Arg, b: Arg, c: Arg, d: Arg, e: Arg) -> isize {
    let result;
    // SAFETY: the ABI above; what the call does is the caller's to answer for.
    unsafe {
        asm!("syscall", inlateout("rax") nr as isize => result,
             in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
             lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// A system call that must succeed: else the server ends, with text `id`, which
/// is the number of the call: the macro `need` sees to that. A function does what
/// a call and the check of its result would at each place, for 7 bytes less.
///
/// # Safety
///
/// That of the call itself.
#[inline(always)]
pub unsafe fn need(_id: u8, nr: u32, a: Arg, b: Arg, c: Arg, d: Arg, e: Arg) -> isize {
    let result;
    // SAFETY: as for `call`.
    unsafe {
        asm!("call call_or_end", inlateout("rax") nr as isize => result,
             in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
             lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// clone(2) onto the client's stack; see [`super::fork`].
///
/// # Safety
///
/// `pid` may be written to.
#[inline(always)]
pub unsafe fn clone(
    state: &State,
    flags: u32,
    pid: *mut i32,
    socket: u32,
    idle: u32,
    lifetime: u32,
) -> i32 {
    let result;
    // SAFETY: the kernel keeps every register but three, in the child as well,
    // so that what is for `child` is where its ABI wants it, or one move away.
    // The child has an address space and a stack of its own, on which it never
    // returns; the token is wiped before any other code of it runs.
    unsafe {
        asm!("mov r8, [{state} + {token}]",
             "syscall",
             "mov r8d, r10d",
             "mov ecx, {lifetime:e}",
             "test eax, eax",
             "jz {child}",
             token = const offset_of!(State, token), child = sym super::child,
             state = in(reg) state, lifetime = in(reg) lifetime,
             inlateout("eax") libc::SYS_clone as i32 => result,
             in("rdi") flags as usize, in("rsi") super::client(), in("rdx") pid,
             in("r10") socket, in("r9") idle,
             out("r8") _, out("rcx") _, out("r11") _);
    }
    result
}

/// Option `name` of standard input, which must be a socket (getsockopt(2)). The kernel
/// is told of the room for it, and writes it, on the stack.
#[inline(always)]
pub fn get_option(name: u32) -> u32 {
    let value;
    // SAFETY: writes an int, and its length.
    unsafe {
        asm!("push 4", "push rsp", "pop r8", "push rax", "push rsp", "pop r10",
             "call call_or_end", "pop rcx", "pop rdx",
             inlateout("rax") libc::SYS_getsockopt => _, in("edi") 0,
             in("esi") libc::SOL_SOCKET, inlateout("edx") name => _,
             out("ecx") value, out("r8") _, out("r10") _, out("r11") _);
    }
    value
}

/// The address of the signal handler, which returns by sigreturn(2) itself: then
/// nobody need be told of another function that does.
#[inline(always)]
pub fn handler() -> usize {
    let handler;
    // SAFETY: takes an address, touches nothing.
    unsafe { asm!("lea {}, [rip + handler]", out(reg) handler, options(pure, nomem, nostack)) };
    handler
}

/// Has `signal` handled by `handler`, with all signals held back (sigaction(2)). The
/// kernel's `struct sigaction` is pushed in place, which is half of what the compiler
/// makes of it.
#[inline(always)]
pub fn action(signal: u32, handler: usize) {
    // SAFETY: reads the structure: handler, flags, restorer, mask.
    unsafe {
        asm!("push -1", "push 0", "push {flags}", "push {handler}",
             "push rsp", "pop rsi", "call call_or_end", "add rsp, 32",
             flags = const super::ACTION_FLAGS | SA_RESTORER, handler = in(reg) handler,
             inlateout("rax") libc::SYS_rt_sigaction => _, in("edi") signal,
             in("edx") 0, in("r10") u64::from(super::SET),
             out("rsi") _, out("rcx") _, out("r11") _);
    }
}
const SA_RESTORER: i32 = 0x0400_0000;

/// Copies an address.
///
/// # Safety
///
/// That of such a copy.
#[inline(always)]
pub unsafe fn copy(from: *const SocketAddress, to: *mut SocketAddress) {
    // SAFETY: the caller's.
    unsafe {
        asm!("rep movsd", inout("rsi") from => _, inout("rdi") to => _,
             inout("rcx") size_of::<SocketAddress>() / 4 => _, options(nostack, preserves_flags));
    }
}

/// Whether `slot` has the source of the last address: what is behind family and
/// port, but for the scope.
#[inline(always)]
pub fn same_source(state: &State, slot: &Slot) -> bool {
    // SAFETY: reads both.
    unsafe {
        asm!("lea rsi, [{state} + {own} + 4]", "lea rdi, [{slot} + {other} + 4]",
             "push 5", "pop rcx", "repe cmpsd", "jne {}", label { return false },
             own = const offset_of!(State, address), other = const offset_of!(Slot, address),
             state = in(reg) state, slot = in(reg) slot,
             out("rsi") _, out("rdi") _, out("rcx") _, options(readonly));
    }
    true
}

/// accept(2) or its like, which sets `address`: it is told how much room there is,
/// and tells how long the address was, on the stack.
#[inline(always)]
pub fn name(nr: u32, fd: u32, address: &Address) -> i32 {
    let result;
    // SAFETY: writes no more than that many bytes.
    unsafe {
        asm!("push {}", "push rsp", "pop rdx", "syscall", "pop rdx", const super::LEN,
             inlateout("eax") nr => result, in("edi") fd, in("rsi") address,
             out("rdx") _, lateout("rcx") _, lateout("r11") _);
    }
    result
}

/// poll(2) of `count` descriptors.
///
/// # Safety
///
/// `descriptors` is as many of them.
#[inline(always)]
pub unsafe fn poll(descriptors: Arg, count: u32, milliseconds: u32) -> i32 {
    // SAFETY: the caller's.
    call!(SYS_poll, descriptors, arg(count), arg(milliseconds))
}

/// alarm(2).
#[inline(always)]
pub fn alarm(seconds: u32) {
    // SAFETY: touches no memory of ours.
    call!(SYS_alarm, arg(seconds));
}

/// Seconds since some point (time(2)).
#[inline(always)]
pub fn seconds() -> u32 {
    // SAFETY: with a null pointer it touches no memory of ours.
    call!(SYS_time, arg(0u32)) as u32
}

/// Where the program's file begins in memory (`page.ld`).
pub fn image() -> usize {
    let image: usize;
    // SAFETY: takes an address, touches nothing.
    unsafe { asm!("lea {}, [rip + image]", out(reg) image, options(pure, nomem, nostack)) };
    image
}
