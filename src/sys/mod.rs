//! What rustix does not offer, and all `unsafe` of the program.
//!
//! rustix makes every call that its public interface has. A call is made here
//! for one of two reasons:
//!
//! * rustix has no public function for it: signals, timers, the seccomp filter,
//!   the end of a process, close_range(2);
//! * the call has to carry the token past the cage: clone(2), futex(2), kill(2).
//!
//! `sys` knows nothing of the files above it: what is to run in a child or in a
//! signal handler is handed to it.

#![allow(unsafe_code)]

mod arch;
mod compiler;
pub mod memory;
pub mod signals;
pub mod start;
pub mod wait;

use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;
use libc::c_long;
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::io::{Errno, Result};

pub use arch::AUDIT_ARCH;

/// The descriptor of the listener, always: 0 to 2 are taken before it is opened.
pub const LISTENER: BorrowedFd<'static> = descriptor(3);

/// Standard input, output and error: always open, if only as a placeholder.
pub const STDIN: BorrowedFd<'static> = descriptor(0);
pub const STDOUT: BorrowedFd<'static> = descriptor(1);
pub const STDERR: BorrowedFd<'static> = descriptor(2);

/// A descriptor that has no owner: one of these, or the socket that a child was started
/// with (see [`fork`]).
pub const fn descriptor(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: 0 to 3 are closed by nobody who goes on using them; a call that finds one
    // closed fails with EBADF, which is expected of the listener. A child's socket is
    // closed at its end.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// What clone, futex and kill carry in their fifth argument to pass the cage:
/// random bytes from the kernel (getauxval(3), `AT_RANDOM`).
///
/// It goes from here into a register by [`arch`] alone, which wipes that register
/// after the call, so that no copy of it is left anywhere else.
static TOKEN: AtomicUsize = AtomicUsize::new(0);

/// The token, for the filter that asks for it.
pub fn token() -> u64 {
    TOKEN.load(Relaxed) as u64
}

/// The result of a system call as the kernel gives it: errors are -4095 to -1
/// (syscall(2)). The calls that are made here give a small number.
fn check(result: isize) -> Result<i32> {
    if result < 0 { Err(Errno::from_raw_os_error(-result as i32)) } else { Ok(result as i32) }
}

/// Makes a system call, as syscall(2) does: its number, then up to four arguments. It
/// touches no memory but what they point to.
///
/// # Safety
///
/// What the arguments point to must be as that call wants it.
unsafe fn call(number: c_long, a: usize, b: usize, c: usize, d: usize) -> Result<()> {
    // SAFETY: the caller's.
    check(unsafe { arch::syscall(number as usize, [a, b, c, d], &0) }).map(drop)
}

/// The same with the token in the fifth argument, which the call does not use.
///
/// # Safety
///
/// As of [`call`].
unsafe fn call_with_token(number: c_long, a: usize, b: usize, c: usize, d: usize) -> Result<()> {
    // SAFETY: the caller's.
    check(unsafe { arch::syscall(number as usize, [a, b, c, d], TOKEN.as_ptr()) }).map(drop)
}

/// Exit code of a server to which the system has refused something that it needs, and of
/// a process that is wrong about itself.
pub const SYSTEM_REFUSED: u32 = 111;

/// Ends this process, which has one thread, with `code` (exit(2)).
pub fn exit(code: u32) -> ! {
    loop {
        // SAFETY: takes no pointer. It does not return.
        let _ = unsafe { call(libc::SYS_exit, code as usize, 0, 0, 0) };
    }
}

/// Closes every descriptor from `first` on (close_range(2)); before Linux 5.9
/// those up to 1023.
pub fn close_from(first: u32) {
    // SAFETY: takes no pointer. Nobody uses these descriptors: they are inherited.
    unsafe {
        if call(libc::SYS_close_range, first as usize, u32::MAX as usize, 0, 0).is_err() {
            (first..1024).for_each(|fd| rustix::io::close(fd as RawFd));
        }
    }
}

/// Closes one of the first four descriptors. Either a placeholder takes its place at
/// once, or it is the listener, whose users expect `EBADF` from then on.
pub fn close(fd: BorrowedFd<'static>) {
    // SAFETY: there is no owner that would close it again.
    unsafe { rustix::io::close(fd.as_raw_fd()) }
}

/// Starts a child that runs `session` in memory of its own (see [`memory`]), and
/// returns its process. All signals must be blocked: in the child they are, too.
///
/// Of the parent's it has descriptors, blocked signals, handlers and code; not its
/// statics, nor its stack: to touch them ends it with SIGSEGV.
pub fn fork(session: memory::Session, socket: BorrowedFd<'_>, numbers: [u32; 2]) -> Result<i32> {
    let child =
        arch::Child { stack: memory::child_stack(), session, socket: socket.as_raw_fd(), numbers };
    // SAFETY: without CLONE_VM the child has a copy of the memory, in which nothing
    // else uses its stack. `session` does not return.
    let result = unsafe { arch::clone_with_token(libc::SIGCHLD as usize, &child, TOKEN.as_ptr()) };
    check(result)
}

/// Sends SIGKILL to `process` (kill(2)).
pub fn kill(process: i32) {
    // SAFETY: takes no pointer.
    let _ = unsafe {
        let signal = libc::SIGKILL as usize;
        call_with_token(libc::SYS_kill, process as usize, signal, 0, 0)
    };
}

/// Bytes that were sent on `socket` and that its peer has not acknowledged (tcp(7),
/// SIOCOUTQ).
pub fn unacked_bytes(socket: BorrowedFd<'_>) -> Result<u32> {
    use rustix::ioctl::{Getter, ioctl};
    // SAFETY: this request stores an int.
    unsafe { ioctl(socket, Getter::<{ UNACKED }, u32>::new()) }
}

/// The request of [`unacked_bytes`]; SIOCOUTQ is another name of it.
pub const UNACKED: rustix::ioctl::Opcode = libc::TIOCOUTQ as _;

/// One instruction of a seccomp filter (`struct sock_filter`, bpf(4)).
pub type Instruction = libc::sock_filter;

/// Installs a seccomp filter for this process and its children, for good (seccomp(2)).
/// It takes `no_new_privs` or privileges.
pub fn install_filter(filter: &[Instruction]) -> Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    let program = core::ptr::from_ref(&program).expose_provenance();
    // SAFETY: the kernel copies the program.
    unsafe {
        let (option, mode) = (libc::PR_SET_SECCOMP as usize, libc::SECCOMP_MODE_FILTER as usize);
        call(libc::SYS_prctl, option, mode, program, 0)
    }
}
