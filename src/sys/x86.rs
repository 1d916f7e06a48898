//! x86 of 32 bits: what differs from one architecture to the next.
//!
//! ABI: number in `eax`, arguments in `ebx ecx edx esi edi ebp`, result in
//! `eax`; no other register is overwritten (syscall(2)). Those of sockets are one
//! call with the arguments in memory (socketcall(2)); only Linux 4.3 has them
//! as calls of their own. The stack pointer is a multiple of 16 at each call,
//! and all parameters are on the stack. clone(2): flags, stack, parent_tid,
//! tls, child_tid.

use super::{Arg, State};
use core::arch::{asm, naked_asm};

/// `AUDIT_ARCH_I386`: how a seccomp filter knows the calls of this file.
pub const AUDIT_ARCH: u32 = 0x4000_0003;

/// `e_flags` of the file: none.
pub const ELF_FLAGS: u32 = 0;

pub use super::generic::*;

/// The entry point: hands the initial stack (`argc`, `argv`, `envp`, the
/// auxiliary vector) to `start`, which runs on the stack at the end of the state.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    naked_asm!("mov %esp, %eax", "call 2f", "2:", "pop %ecx",
               "lea {state} + {end} - 12 - 2b(%ecx), %esp", "push %eax", "call {start}",
               state = sym super::STATE, end = const super::STACK, start = sym super::start,
               options(att_syntax))
}

/// Where a signal handler returns to (sigreturn(2)); this one is for handlers
/// with SA_SIGINFO.
#[unsafe(naked)]
pub extern "C" fn restorer() {
    naked_asm!("mov eax, {}", "int 0x80", const libc::SYS_rt_sigreturn)
}

/// Any system call of a number of its own. A function, since inline assembly
/// may have neither `esi` nor all the others at once.
#[unsafe(naked)]
unsafe extern "C" fn gate(nr: u32, a: Arg, b: Arg, c: Arg, d: Arg, e: Arg) -> isize {
    naked_asm!(
        "push ebx",
        "push esi",
        "push edi",
        "mov eax, [esp + 16]",
        "mov ebx, [esp + 20]",
        "mov ecx, [esp + 24]",
        "mov edx, [esp + 28]",
        "mov esi, [esp + 32]",
        "mov edi, [esp + 36]",
        "int 0x80",
        "pop edi",
        "pop esi",
        "pop ebx",
        "ret"
    )
}

/// socketcall(2): `a` to `e` are in memory as it wants them.
#[unsafe(naked)]
unsafe extern "C" fn socket_gate(nr: u32, a: Arg, b: Arg, c: Arg, d: Arg, e: Arg) -> isize {
    naked_asm!(
        "push ebx",
        "mov ebx, [esp + 8]",
        "lea ecx, [esp + 12]",
        "mov eax, {}",
        "int 0x80",
        "pop ebx",
        "ret",
        const libc::SYS_socketcall
    )
}

/// The numbers within socketcall(2), from that of socket(2), `SYS_socket`, on:
/// socket, socketpair, bind, connect, listen, accept4, getsockopt, setsockopt,
/// getsockname, getpeername. In place of accept4 is accept.
const SOCKET: [u8; 10] = [1, 8, 2, 3, 4, 5, 15, 14, 6, 7];

/// Any system call.
///
/// # Safety
///
/// That of the call itself.
#[inline(always)]
pub unsafe fn call(nr: u32, a: Arg, b: Arg, c: Arg, d: Arg, e: Arg) -> isize {
    let socket = nr.wrapping_sub(libc::SYS_socket as u32) as usize;
    // SAFETY: the ABI above; what the call does is the caller's to answer for.
    unsafe {
        if socket < SOCKET.len() {
            socket_gate(SOCKET[socket].into(), a, b, c, d, e)
        } else {
            gate(nr, a, b, c, d, e)
        }
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
    // SAFETY: the ABI above. The child has an address space and a stack of its
    // own, on which it never returns.
    unsafe {
        clone_gate(
            state.token,
            super::client().cast(),
            flags,
            pid,
            lifetime,
            socket,
            idle,
        )
    }
}

/// The child has none of the parent's stack, so what is for it goes with it in a
/// vector register: the last four parameters, which are four neighbours of
/// `child` as well. The token is wiped before any other code of it runs.
#[unsafe(naked)]
unsafe extern "C" fn clone_gate(
    token: usize,
    stack: *mut (),
    flags: u32,
    pid: *mut i32,
    lifetime: u32,
    socket: u32,
    idle: u32,
) -> i32 {
    naked_asm!(
        "push ebx",
        "push edi",
        "mov edi, [esp + 12]",
        "mov ecx, [esp + 16]",
        "mov ebx, [esp + 20]",
        "mov edx, [esp + 24]",
        "movups xmm0, [esp + 24]",
        "mov eax, {clone}",
        "int 0x80",
        "test eax, eax",
        "jnz 2f",
        "xor edi, edi",
        "sub esp, 32",
        "movups [esp + 8], xmm0",
        "mov [esp + 4], ecx",
        "call {child}",
        "2:",
        "pop edi",
        "pop ebx",
        "ret",
        clone = const libc::SYS_clone,
        child = sym super::child
    )
}

/// Where the program's file begins in memory: the page of its first function.
pub fn image() -> usize {
    let first: usize;
    // SAFETY: takes an address, touches nothing but the stack.
    unsafe {
        asm!("call 2f", "2:", "pop {0}", "add $({1} - 2b), {0}", out(reg) first, sym _start, options(att_syntax));
    }
    first & !4095
}
