//! aarch64: what differs from one architecture to the next.
//!
//! ABI: number in `x8`, arguments in `x0` to `x5`, result in `x0`; no other
//! register is overwritten (syscall(2)). The stack pointer is a multiple of 16
//! always. clone(2): flags, stack, parent_tid, tls, child_tid.

use super::{Arg, State};
use core::arch::{asm, naked_asm};
use core::mem::offset_of;

/// `AUDIT_ARCH_AARCH64`: how a seccomp filter knows the calls of this file.
pub const AUDIT_ARCH: u32 = 0xc000_00b7;

/// `e_flags` of the file: none.
pub const ELF_FLAGS: u32 = 0;

pub use super::generic::*;

/// The entry point: hands the initial stack (`argc`, `argv`, `envp`, the
/// auxiliary vector) to `start`, which runs on the stack at the end of the state.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("mov x0, sp", "adrp x1, {state} + {end}", "add sp, x1, :lo12:{state} + {end}",
               "b {start}",
               state = sym super::STATE, end = const super::STACK, start = sym super::start)
}

/// Where a signal handler returns to (sigreturn(2)). Without it that would be
/// the vDSO, which a child does not have.
#[unsafe(naked)]
pub extern "C" fn restorer() {
    naked_asm!("mov x8, {}", "svc 0", const libc::SYS_rt_sigreturn)
}

/// Any system call.
///
/// # Safety
///
/// That of the call itself.
#[inline(always)]
pub unsafe fn call(nr: u32, a: Arg, b: Arg, c: Arg, d: Arg, e: Arg) -> isize {
    let result: Arg;
    // SAFETY: the ABI above; what the call does is the caller's to answer for.
    // The result is set.
    unsafe {
        asm!("svc 0", in("x8") nr as usize, inlateout("x0") a => result,
             in("x1") b, in("x2") c, in("x3") d, in("x4") e, options(nostack));
        result.assume_init().addr() as isize
    }
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
    let result: usize;
    // SAFETY: the kernel keeps every register but one, in the child as well, so
    // that what is for `child` is where its ABI wants it, or one move away. The
    // child has an address space and a stack of its own, on which it never
    // returns; the token is wiped before any other code of it runs. Without
    // CLONE_SETTLS and the like the fourth and fifth argument are not looked at.
    unsafe {
        asm!("ldr x4, [{state}, {token}]",
             "svc 0",
             "mov w4, {socket:w}",
             "cbnz w0, 2f",
             "bl {child}",
             "2:",
             token = const offset_of!(State, token), child = sym super::child,
             state = in(reg) state, socket = in(reg) socket,
             in("x8") libc::SYS_clone as usize, inlateout("x0") flags as usize => result,
             in("x1") super::client(), in("x2") pid,
             in("x3") lifetime as usize, in("x5") idle as usize,
             out("x4") _, out("x30") _);
    }
    result as i32
}

/// Where the program's file begins in memory: the page of its first function.
pub fn image() -> usize {
    let first: usize;
    // SAFETY: takes an address, touches nothing.
    unsafe { asm!("adrp {}, {}", out(reg) first, sym _start, options(pure, nomem, nostack)) };
    first
}

/// What the compiler calls to add to a number, by this name, since later
/// processors have an instruction for it.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn __aarch64_ldadd4_relax() {
    naked_asm!(
        "2: ldxr w2, [x1]",
        "add w3, w2, w0",
        "stxr w4, w3, [x1]",
        "cbnz w4, 2b",
        "mov w0, w2",
        "ret"
    )
}

/// The same for an exchange.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn __aarch64_swp4_relax() {
    naked_asm!(
        "2: ldxr w2, [x1]",
        "stxr w3, w0, [x1]",
        "cbnz w3, 2b",
        "mov w0, w2",
        "ret"
    )
}
