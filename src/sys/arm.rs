//! arm (EABI, Thumb-2): what differs from one architecture to the next.
//!
//! ABI: number in `r7`, which Thumb code keeps for itself, arguments in `r0` to
//! `r5`, result in `r0`; no other register is overwritten (syscall(2)). The
//! stack pointer is a multiple of 8 at each call. clone(2): flags, stack,
//! parent_tid, tls, child_tid.

use super::{Arg, State};
use core::arch::{asm, naked_asm};
use core::mem::offset_of;

/// `AUDIT_ARCH_ARM`: how a seccomp filter knows the calls of this file.
pub const AUDIT_ARCH: u32 = 0x4000_0028;

/// `e_flags` of the file: EABI of version 5, floating point in registers.
pub const ELF_FLAGS: u32 = 0x0500_0400;

pub use super::generic::*;

/// The entry point: hands the initial stack (`argc`, `argv`, `envp`, the
/// auxiliary vector) to `start`, which runs on the stack at the end of the state.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    // A relocation has no room for the size of the state.
    naked_asm!("mov r0, sp",
               "movw r1, :lower16:({state} - (2f + 4))", "movt r1, :upper16:({state} - (2f + 4))",
               "2:", "add r1, pc", "movw r2, {end} & 0xffff", "movt r2, {end} >> 16", "add r1, r2",
               "mov sp, r1", "b {start}",
               state = sym super::STATE, end = const super::STACK, start = sym super::start)
}

/// Where a signal handler returns to (sigreturn(2)). Without it that would be
/// a page of the kernel, which a child does not have.
#[unsafe(naked)]
pub extern "C" fn restorer() {
    naked_asm!("movs r7, {}", "svc 0", const libc::SYS_rt_sigreturn)
}

/// Number `r5`, with `r7` kept: once for all calls, since these four
/// instructions are more than a branch to them.
#[unsafe(naked)]
extern "C" fn gate() {
    naked_asm!("mov r12, r7", "mov r7, r5", "svc 0", "mov r7, r12", "bx lr")
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
        asm!("bl {gate}", gate = sym gate, in("r5") nr, inlateout("r0") a => result,
             in("r1") b, in("r2") c, in("r3") d, in("r4") e, out("r12") _, out("lr") _);
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
    // that what is for `child` is where its ABI wants it, or one move away, but
    // for the last two parameters, which the child has on its stack. The
    // child has an address space and a stack of its own, on which it never
    // returns; the token is wiped before any other code of it runs. Without
    // CLONE_SETTLS and the like the fourth and fifth argument are not looked at.
    unsafe {
        asm!("ldr r4, [{state}, {token}]",
             "bl {gate}",
             "mov r4, {socket}",
             "cbnz r0, 2f",
             "push {{r4, r8}}",
             "bl {child}",
             "2:",
             token = const offset_of!(State, token), child = sym super::child, gate = sym gate,
             state = in(reg) state, socket = in(reg) socket,
             in("r5") libc::SYS_clone, inlateout("r0") flags => result,
             in("r1") super::client(), in("r2") pid, in("r3") lifetime, in("r8") idle,
             out("r4") _, out("r12") _, out("lr") _);
    }
    result as i32
}

/// Where the program's file begins in memory: the page of its first function.
pub fn image() -> usize {
    let first: usize;
    // SAFETY: takes an address, touches nothing.
    unsafe {
        asm!("movw {0}, :lower16:({1} - (2f + 4))", "movt {0}, :upper16:({1} - (2f + 4))", "2:", "add {0}, pc",
             out(reg) first, sym _start, options(pure, nomem, nostack));
    }
    first & !4095
}
