//! x86_64.
//!
//! System calls, syscall(2): number in `rax`, arguments in `rdi rsi rdx r10 r8 r9`,
//! result in `rax`; `rcx` and `r11` are overwritten. Functions: arguments in `rdi
//! rsi rdx rcx r8 r9`; the stack pointer is a multiple of 16 before each call.
//! clone(2): flags, stack, parent_tid, child_tid, tls.

use super::Child;
use crate::sys::start;
use core::arch::{asm, naked_asm};

/// `AUDIT_ARCH_X86_64`.
pub const AUDIT_ARCH: u32 = 0xc000_003e;

/// The entry point.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn rot13d_start() -> ! {
    naked_asm!(
        "mov rdi, rsp",                   // the initial stack, for `start`
        "lea rsp, [rip + {stack} + {size}]", // the parent's stack
        "xor ebp, ebp",                   // the end of the chain of frames
        "call {start}",                   // does not return
        "ud2",
        stack = sym start::PARENT_STACK,
        size = const start::STACK,
        start = sym start::start,
    )
}

/// Where a signal handler returns to (sigreturn(2)).
#[unsafe(naked)]
pub unsafe extern "C" fn restore_signal() -> ! {
    naked_asm!(
        "mov eax, {number}", // the stack pointer is at the signal frame
        "syscall",
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
            "mov r8, [r8]",  // the fifth argument
            "syscall",
            "xor r8d, r8d",  // and nothing is left of it
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            inlateout("r8") fifth => _,
            lateout("rcx") _, lateout("r11") _,
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
    // SAFETY: the kernel keeps every register but three, in the child as well. That
    // has a stack of its own, on which it never returns from `session`.
    unsafe {
        asm!(
            "mov r8, [r8]",    // the token
            "syscall",
            "mov r8d, 0",      // and nothing is left of it, here or in the child
            "test rax, rax",
            "jnz 2f",          // the parent, or an error
            "mov rdi, rsp",    // the room begins at the top of the stack
            "mov esi, r12d",   // the socket
            "mov edx, r13d",   // the numbers
            "mov ecx, r14d",
            "xor ebp, ebp",    // the end of the chain of frames
            "call r9",         // the session
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone => result,
            in("rdi") flags, in("rsi") child.stack, in("rdx") 0, in("r10") 0,
            inlateout("r8") token => _,
            in("r9") child.session,
            in("r12") child.socket, in("r13") child.numbers[0], in("r14") child.numbers[1],
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}
