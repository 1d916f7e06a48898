//! riscv64: what differs from one architecture to the next.
//!
//! ABI: number in `a7`, arguments in `a0` to `a5`, result in `a0`; no other
//! register is overwritten but those of vectors, which no code here is compiled
//! to use (syscall(2)). The stack pointer is a multiple of 16 always. clone(2):
//! flags, stack, parent_tid, tls, child_tid.

use super::{Arg, State};
use core::arch::{asm, naked_asm};
use core::mem::offset_of;

/// `AUDIT_ARCH_RISCV64`: how a seccomp filter knows the calls of this file.
pub const AUDIT_ARCH: u32 = 0xc000_00f3;

/// `e_flags` of the file: compressed instructions, doubles in registers.
pub const ELF_FLAGS: u32 = 5;

pub use super::generic::*;

/// The entry point: hands the initial stack (`argc`, `argv`, `envp`, the
/// auxiliary vector) to `start`, which runs on the stack at the end of the state.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("mv a0, sp", "lla sp, {state} + {end}", "tail {start}",
               state = sym super::STATE, end = const super::STACK, start = sym super::start)
}

/// The address of the signal handler.
#[inline(always)]
pub fn handler() -> usize {
    (restorer as *const ()).addr()
}

/// The signal handler, which returns by sigreturn(2) itself: the kernel knows no
/// restorer here and would have it return through the vDSO, which a child does
/// not have. After the call the stack pointer is again that of the frame.
#[unsafe(naked)]
pub extern "C" fn restorer() {
    naked_asm!("call {handle}", "li a7, {sigreturn}", "ecall",
               handle = sym super::handle, sigreturn = const libc::SYS_rt_sigreturn)
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
        asm!("ecall", in("a7") nr as usize, inlateout("a0") a => result,
             in("a1") b, in("a2") c, in("a3") d, in("a4") e, options(nostack));
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
        asm!("ld a4, {token}({state})",
             "ecall",
             "sext.w a4, {socket}",
             "bnez a0, 2f",
             "call {child}",
             "2:",
             token = const offset_of!(State, token), child = sym super::child,
             state = in(reg) state, socket = in(reg) socket,
             in("a7") libc::SYS_clone as usize, inlateout("a0") flags as usize => result,
             in("a1") super::client(), in("a2") pid,
             in("a3") lifetime as usize, in("a5") idle as usize,
             out("a4") _, out("ra") _);
    }
    result as i32
}

/// Where the program's file begins in memory: the page of its first function.
pub fn image() -> usize {
    let first: usize;
    // SAFETY: takes an address, touches nothing.
    unsafe { asm!("lla {}, {}", out(reg) first, sym _start, options(pure, nomem, nostack)) };
    first & !4095
}
