//! aarch64.
//!
//! System calls, syscall(2): number in `x8`, arguments in `x0` to `x5`, result in
//! `x0`; no other register is overwritten. Functions: arguments in `x0` to `x7`; the
//! stack pointer is a multiple of 16 always. clone(2): flags, stack, parent_tid, tls,
//! child_tid.

use super::Child;
use crate::sys::start;
use core::arch::{asm, naked_asm};

/// `AUDIT_ARCH_AARCH64`.
pub const AUDIT_ARCH: u32 = 0xc000_00b7;

/// The entry point.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn rot13d_start() -> ! {
    naked_asm!(
        "mov x0, sp",                           // the initial stack, for `start`
        "adrp x1, {stack} + {size}",            // the parent's stack
        "add x1, x1, :lo12:{stack} + {size}",
        "mov sp, x1",
        "mov x29, xzr",                         // the end of the chain of frames
        "bl {start}",                           // does not return
        "brk 1",
        stack = sym start::PARENT_STACK,
        size = const start::STACK,
        start = sym start::start,
    )
}

/// Where a signal handler returns to (sigreturn(2)).
#[unsafe(naked)]
pub unsafe extern "C" fn restore_signal() -> ! {
    naked_asm!(
        "mov x8, {number}", // the stack pointer is at the signal frame
        "svc 0",
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
            "ldr x4, [x4]",  // the fifth argument
            "svc 0",
            "mov x4, xzr",   // and nothing is left of it
            in("x8") number,
            inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d,
            inlateout("x4") fifth => _,
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
            "ldr x4, [x4]",   // the token
            "svc 0",
            "mov x4, xzr",    // and nothing is left of it, here or in the child
            "cbnz x0, 2f",    // the parent, or an error
            "mov x0, sp",     // the room begins at the top of the stack
            "mov w1, w9",     // the socket
            "mov w2, w10",    // the numbers
            "mov w3, w11",
            "mov x29, xzr",   // the end of the chain of frames
            "blr x12",        // the session
            "brk 1",
            "2:",
            in("x8") libc::SYS_clone,
            inlateout("x0") flags => result, in("x1") child.stack, in("x2") 0, in("x3") 0,
            inlateout("x4") token => _,
            in("x9") child.socket, in("x10") child.numbers[0], in("x11") child.numbers[1],
            in("x12") child.session,
            lateout("x30") _,
        );
    }
    result
}
