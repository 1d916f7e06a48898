//! arm (EABI, ARMv6 and later, with or without Thumb).
//!
//! System calls, syscall(2): number in `r7`, arguments in `r0` to `r5`, result in
//! `r0`; no other register is overwritten. In Thumb code the compiler keeps `r7` for
//! itself, so it is saved around a call. Functions: arguments in `r0` to `r3`; the
//! stack pointer is a multiple of 8 before each call. clone(2): flags, stack,
//! parent_tid, tls, child_tid.

use super::Child;
use crate::sys::start;
use core::arch::{asm, naked_asm};

/// `AUDIT_ARCH_ARM`.
pub const AUDIT_ARCH: u32 = 0x4000_0028;

/// The entry point. ARMv6 makes an address of a literal.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn rot13d_start() -> ! {
    naked_asm!(
        "mov r0, sp",          // the initial stack, for `start`
        "ldr r1, 3f",          // the parent's stack
        "2: add r1, pc, r1",
        "mov sp, r1",
        "mov r11, #0",         // the end of the chain of frames
        "bl {start}",          // does not return
        "udf #0",
        ".p2align 2",
        "3: .long {stack} + {size} - (2b + {ahead})",
        stack = sym start::PARENT_STACK,
        size = const start::STACK,
        ahead = const AHEAD,
        start = sym start::start,
    )
}

/// How far `pc` is ahead of the instruction that reads it.
const AHEAD: usize = if cfg!(target_feature = "thumb-mode") { 4 } else { 8 };

/// Where a signal handler returns to (sigreturn(2)).
#[unsafe(naked)]
pub unsafe extern "C" fn restore_signal() -> ! {
    naked_asm!(
        "mov r7, #{number}", // the stack pointer is at the signal frame
        "svc #0",
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
            "mov r12, r7",   // saved
            "mov r7, r5",    // the number
            "ldr r4, [r4]",  // the fifth argument
            "svc #0",
            "mov r4, #0",    // and nothing is left of it
            "mov r7, r12",
            in("r5") number,
            inlateout("r0") a => result, in("r1") b, in("r2") c, in("r3") d,
            inlateout("r4") fifth => _,
            out("r12") _,
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
            "mov r12, r7",    // saved
            "mov r7, r5",     // the number
            "ldr r4, [r4]",   // the token
            "svc #0",
            "mov r4, #0",     // and nothing is left of it, here or in the child
            "mov r7, r12",
            "cmp r0, #0",
            "bne 2f",         // the parent, or an error
            "mov r0, sp",     // the room begins at the top of the stack
            "mov r1, r8",     // the socket
            "mov r2, r9",     // the numbers
            "mov r3, r10",
            "blx lr",         // the session
            "udf #0",
            "2:",
            in("r5") libc::SYS_clone,
            inlateout("r0") flags => result, in("r1") child.stack, in("r2") 0, in("r3") 0,
            inlateout("r4") token => _,
            in("r8") child.socket, in("r9") child.numbers[0], in("r10") child.numbers[1],
            out("r12") _, inlateout("lr") child.session => _,
        );
    }
    result
}
