//! s390x, the one whose bytes are in the other order: what differs from one
//! architecture to the next.
//!
//! ABI: number in `r1`, arguments in `r2` to `r7`, result in `r2`; no other
//! register is overwritten (syscall(2)). The stack pointer is a multiple of 8
//! always, and a function may write to the 160 bytes above it that it is called
//! with; behind them are the parameters from the sixth on. clone(2): stack,
//! flags, parent_tid, child_tid, tls.

use super::{Arg, State, arg};
use core::arch::{asm, naked_asm};
use core::mem::offset_of;

/// `AUDIT_ARCH_S390X`: how a seccomp filter knows the calls of this file.
pub const AUDIT_ARCH: u32 = 0x8000_0016;

/// `e_flags` of the file: none.
pub const ELF_FLAGS: u32 = 0;

pub use super::generic::*;

/// The entry point: hands the initial stack (`argc`, `argv`, `envp`, the
/// auxiliary vector) to `start`, which runs on the stack at the end of the state.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("lgr %r2, %r15", "larl %r15, {state} + {end} - 160", "jg {start}",
               state = sym super::STATE, end = const super::STACK, start = sym super::start)
}

/// Where a signal handler returns to (sigreturn(2)). Without it that would be
/// the vDSO, which a child does not have.
#[unsafe(naked)]
pub extern "C" fn restorer() {
    naked_asm!("svc {}", const libc::SYS_rt_sigreturn)
}

/// Any system call.
///
/// # Safety
///
/// That of the call itself.
#[inline(always)]
pub unsafe fn call(nr: u32, a: Arg, b: Arg, c: Arg, d: Arg, e: Arg) -> isize {
    // There is no accept(2) without flags.
    let d = if nr == libc::SYS_accept4 as u32 {
        arg(0u32)
    } else {
        d
    };
    let result: Arg;
    // SAFETY: the ABI above; what the call does is the caller's to answer for.
    // The result is set.
    unsafe {
        asm!("svc 0", in("r1") nr as usize, inlateout("r2") a => result,
             in("r3") b, in("r4") c, in("r5") d, in("r6") e, options(nostack));
        result.assume_init().addr() as isize
    }
}

/// What a child's first function finds above its stack pointer: room to write
/// to, and its sixth parameter.
const FRAME: usize = 160 + 8;

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
        asm!("lg %r6, {token}({state})",
             "svc 0",
             "lgr %r6, {socket}",
             "ltgr %r2, %r2",
             "jne 2f",
             "la %r3, {frame}(%r15)",
             "stg {idle}, 160(%r15)",
             "brasl %r14, {child}",
             "2:",
             token = const offset_of!(State, token), frame = const FRAME,
             child = sym super::child, state = in(reg_addr) state,
             socket = in(reg) socket as usize, idle = in(reg) idle as usize,
             in("r1") libc::SYS_clone as usize,
             inlateout("r2") super::client().byte_sub(FRAME) => result,
             in("r3") flags as usize, in("r4") pid, in("r5") lifetime as usize,
             out("r6") _, out("r14") _);
    }
    result as i32
}

/// Where the program's file begins in memory: the page of its first function.
pub fn image() -> usize {
    let first: usize;
    // SAFETY: takes an address, touches nothing.
    unsafe { asm!("larl {}, {}", out(reg) first, sym _start, options(pure, nomem, nostack)) };
    first & !4095
}
