//! riscv64.
//!
//! System calls, syscall(2): number in `a7`, arguments in `a0` to `a5`, result in
//! `a0`; of the other registers, only those of the vectors are overwritten. Functions:
//! arguments in `a0` to `a7`; the stack pointer is a multiple of 16 always. clone(2):
//! flags, stack, parent_tid, tls, child_tid.

use super::{Child, Handler};
use crate::sys::start;
use core::arch::{asm, naked_asm};

/// `AUDIT_ARCH_RISCV64`.
pub const AUDIT_ARCH: u32 = 0xc000_00f3;

/// The entry point. `gp` stays as it is: nothing is addressed by it (see
/// `layout.ld`, which does not say where it would point).
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn rot13d_start() -> ! {
    naked_asm!(
        "mv a0, sp",                // the initial stack, for `start`
        "lla sp, {stack} + {size}", // the parent's stack
        "mv s0, zero",              // the end of the chain of frames
        "call {start}",             // does not return
        "unimp",
        stack = sym start::PARENT_STACK,
        size = const start::STACK,
        start = sym start::start,
    )
}

/// The signal handler as the kernel calls it. It knows no restorer here and would have
/// the handler return through the vDSO, which a child does not have; so this calls `H`
/// and returns by itself (sigreturn(2)).
#[unsafe(naked)]
pub unsafe extern "C" fn restore_signal<H: Handler>() -> ! {
    naked_asm!(
        "call {handle}",    // the arguments are the kernel's
        "li a7, {number}",  // the stack pointer is at the signal frame again
        "ecall",
        handle = sym H::handle,
        number = const libc::SYS_rt_sigreturn,
    )
}

/// A system call with four arguments and a fifth, which may be the token: it goes from
/// memory into its register here and is wiped after the call.
///
/// # Safety
///
/// That of the call itself; `fifth` can be read.
pub unsafe fn syscall(number: usize, arguments: [usize; 4], fifth: *const usize) -> isize {
    let [a, b, c, d] = arguments;
    let result;
    // SAFETY: the ABI above; what the call does is the caller's to answer for.
    unsafe {
        asm!(
            "ld a4, 0(a4)",  // the fifth argument
            "ecall",
            "mv a4, zero",   // and nothing is left of it
            in("a7") number,
            inlateout("a0") a => result, in("a1") b, in("a2") c, in("a3") d,
            inlateout("a4") fifth => _,
            options(nostack),
        );
    }
    result
}

/// clone(2) with the token; `child` says what the child does.
///
/// # Safety
///
/// `flags` give the child a memory of its own, `child.stack` is the top of a stack
/// in it, `token` can be read.
pub unsafe fn clone_with_token(flags: usize, child: &Child, token: *const usize) -> isize {
    let result;
    // SAFETY: the kernel keeps every register but one, in the child as well. That has
    // a stack of its own, on which it never returns from `session`.
    unsafe {
        asm!(
            "ld a4, 0(a4)",   // the token
            "ecall",
            "mv a4, zero",    // and nothing is left of it, here or in the child
            "bnez a0, 2f",    // the parent, or an error
            "mv a0, sp",      // the room begins at the top of the stack
            "mv a1, t0",      // the socket
            "mv a2, t1",      // the numbers
            "mv a3, t2",
            "mv s0, zero",    // the end of the chain of frames
            "jalr t3",        // the session
            "unimp",
            "2:",
            in("a7") libc::SYS_clone,
            inlateout("a0") flags => result, in("a1") child.stack, in("a2") 0, in("a3") 0,
            inlateout("a4") token => _,
            in("t0") child.socket, in("t1") child.numbers[0], in("t2") child.numbers[1],
            in("t3") child.session,
            lateout("ra") _,
        );
    }
    result
}
