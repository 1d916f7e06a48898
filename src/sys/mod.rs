//! What rustix does not offer, and all `unsafe` of the program.
//!
//! rustix makes every call that its public interface has. A call is made here
//! for one of two reasons:
//!
//! * rustix has no public function for it: signals, timers, the seccomp filter,
//!   the end of a process, close_range(2), an ioctl(2);
//! * the call has to carry the token past the cage: clone(2), futex(2), kill(2).
//!
//! `sys` knows nothing of the files above it: what is to run in a child or in a
//! signal handler is handed to it.

#![allow(unsafe_code)]

mod arch;
mod compiler;
pub mod memory;
pub mod start;

use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicUsize};
use libc::c_long;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::io::{Errno, Result};
use rustix::thread::NanosleepRelativeResult;

pub use arch::AUDIT_ARCH;

/// The descriptor of the listener, always: 0 to 2 are taken before it is opened.
pub const LISTENER: BorrowedFd<'static> = descriptor(3);

/// Standard input, output and error. Whatever they are, they are always open:
/// see [`close_all_others`].
pub const STDIN: BorrowedFd<'static> = descriptor(0);
pub const STDOUT: BorrowedFd<'static> = descriptor(1);
pub const STDERR: BorrowedFd<'static> = descriptor(2);

const fn descriptor(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: 0 to 3 are closed by nobody who goes on using them; a call that
    // finds one closed fails with EBADF, which is expected of the listener.
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

/// Forms of futex and nanosleep with times of 64 bits, since Linux 5.1; the numbers are
/// the same on every architecture of 32 bits.
#[cfg(target_pointer_width = "32")]
pub const SYS_FUTEX_TIME64: c_long = 422;
#[cfg(target_pointer_width = "32")]
pub const SYS_CLOCK_NANOSLEEP_TIME64: c_long = 407;

/// The result of a system call as the kernel gives it: errors are -4095 to -1
/// (syscall(2)). The calls that are made here give a small number.
fn check(result: isize) -> Result<i32> {
    if result < 0 {
        Err(Errno::from_raw_os_error(-result as i32))
    } else {
        Ok(result as i32)
    }
}

/// Makes a system call that touches no memory but what `arguments` point to.
///
/// # Safety
///
/// What the arguments point to must be as that call wants it.
unsafe fn call(number: c_long, arguments: [usize; 4]) -> Result<()> {
    // SAFETY: the caller's.
    check(unsafe { arch::syscall(number as usize, arguments) }).map(drop)
}

/// The same with the token in the fifth argument, which the call does not use.
///
/// # Safety
///
/// As of [`call`].
unsafe fn call_with_token(number: c_long, arguments: [usize; 4]) -> Result<()> {
    // SAFETY: the caller's.
    check(unsafe { arch::syscall_with_token(number as usize, arguments, TOKEN.as_ptr()) }).map(drop)
}

/// Ends this process, which has one thread, with `code` (exit(2)).
pub fn exit(code: u32) -> ! {
    loop {
        // SAFETY: takes no pointer. It does not return.
        let _ = unsafe { call(libc::SYS_exit, [code as usize, 0, 0, 0]) };
    }
}

/// Closes every descriptor from `first` on (close_range(2)); before Linux 5.9
/// those up to 1023.
pub fn close_from(first: u32) {
    // SAFETY: takes no pointer. Nobody uses these descriptors: they are inherited.
    unsafe {
        let range = [first as usize, u32::MAX as usize, 0, 0];
        if call(libc::SYS_close_range, range).is_err() {
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

/// The kernel's set of signals (not the C library's): 64 bits, one for each.
type SignalSet = [u32; 2];

/// Blocks every signal that can be blocked (sigprocmask(2)).
pub fn block_signals() {
    set_signal_mask(&[u32::MAX; 2]);
}

/// Blocks no signal. Those that have come meanwhile are delivered now.
pub fn unblock_signals() {
    set_signal_mask(&[0; 2]);
}

fn set_signal_mask(mask: &SignalSet) {
    let set = core::ptr::from_ref(mask).addr();
    // SAFETY: reads the set. It cannot fail with these arguments.
    let _ = unsafe {
        let how = libc::SIG_SETMASK as usize;
        call(
            libc::SYS_rt_sigprocmask,
            [how, set, 0, size_of::<SignalSet>()],
        )
    };
}

/// What the kernel tells a handler of a signal (sigaction(2)).
#[repr(transparent)]
pub struct SignalInfo(libc::siginfo_t);

impl SignalInfo {
    /// Of SIGCHLD: the child that has ended; of a signal that somebody sent, the
    /// sender, which may be 0 or, from outside the PID namespace, no process here.
    pub fn process(&self) -> i32 {
        // SAFETY: this part of the structure is a number for every signal.
        unsafe { self.0.si_pid() }
    }
}

/// A signal handler. It runs with all signals blocked, in the parent or in a child:
/// see [`memory::is_parent`].
pub type Handler = extern "C" fn(signal: i32, info: &SignalInfo);

/// The kernel's `struct sigaction` (not the C library's).
#[repr(C)]
struct SignalAction {
    handler: usize,
    flags: usize,
    #[cfg(not(target_arch = "riscv64"))]
    restorer: unsafe extern "C" fn() -> !,
    mask: SignalSet,
}

/// Has `signal` handled by `handler` (sigaction(2)). System calls that it interrupts
/// are restarted, where signal(7) allows that.
pub fn handle_signal(signal: i32, handler: Handler) -> Result<()> {
    set_action(signal, handler as *const () as usize)
}

/// Ignores `signal`, and discards one that is pending.
pub fn ignore_signal(signal: i32) -> Result<()> {
    set_action(signal, libc::SIG_IGN)
}

fn set_action(signal: i32, handler: usize) -> Result<()> {
    /// Without it the kernel returns through the vDSO, which no child has.
    const SA_RESTORER: i32 = if cfg!(target_arch = "riscv64") {
        0
    } else {
        0x0400_0000
    };
    // Without SA_SIGINFO, arm has an older frame, which rt_sigreturn(2) cannot read.
    let flags = libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_SIGINFO | SA_RESTORER;
    let action = SignalAction {
        handler,
        flags: flags as usize,
        #[cfg(not(target_arch = "riscv64"))]
        restorer: arch::restore_signal,
        mask: [u32::MAX; 2],
    };
    let action = core::ptr::from_ref(&action).addr();
    // SAFETY: reads the structure. The handler is one, by its type.
    unsafe {
        let size = size_of::<SignalSet>();
        call(libc::SYS_rt_sigaction, [signal as usize, action, 0, size])
    }
}

/// Has SIGALRM sent to this process after so many seconds, once; 0 stops that
/// (setitimer(2): unlike alarm(2), every architecture has it).
pub fn set_alarm(seconds: u32) -> Result<()> {
    set_timer(libc::ITIMER_REAL as usize, seconds)
}

/// Stops the timers that whoever executed us may have started; they go on over
/// execve(2), and their signals would end the server.
pub fn stop_timers() -> Result<()> {
    let _ = set_timer(libc::ITIMER_VIRTUAL as usize, 0);
    let _ = set_timer(libc::ITIMER_PROF as usize, 0);
    set_alarm(0)
}

fn set_timer(which: usize, seconds: u32) -> Result<()> {
    // `struct itimerval`: the interval, then the time left; seconds and microseconds.
    let timer: [c_long; 4] = [0, 0, seconds as c_long, 0];
    let new = core::ptr::from_ref(&timer).addr();
    // SAFETY: reads the timer.
    unsafe { call(libc::SYS_setitimer, [which, new, 0, 0]) }
}

/// Starts a child that runs `session` in memory of its own (see [`memory`]), and
/// returns its process. All signals must be blocked: in the child they are, too.
///
/// Of the parent's it has descriptors, blocked signals, handlers and code; not
/// its statics, nor its stack.
pub fn fork(session: memory::Session, socket: BorrowedFd<'_>, numbers: [u32; 2]) -> Result<i32> {
    let child = arch::Child {
        stack: memory::child_stack(),
        session,
        socket: socket.as_raw_fd(),
        numbers,
    };
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
        call_with_token(libc::SYS_kill, [process as usize, signal, 0, 0])
    };
}

/// Sleeps while `word` is `value`, until a signal handler changes it (futex(2),
/// `FUTEX_WAIT`). A change before the call is seen as well. It may return early.
pub fn wait_while(word: &AtomicU32, value: u32) {
    let arguments = [
        word.as_ptr().addr(),
        libc::FUTEX_WAIT as usize,
        value as usize,
        0,
    ];
    // SAFETY: reads the word.
    let result = unsafe { call_with_token(libc::SYS_futex, arguments) };
    #[cfg(target_pointer_width = "32")]
    let result = match result {
        // SAFETY: as above.
        Err(Errno::NOSYS) => unsafe { call_with_token(SYS_FUTEX_TIME64, arguments) },
        result => result,
    };
    if !matches!(result, Ok(()) | Err(Errno::INTR | Errno::AGAIN)) {
        pause();
    }
}

/// Sleeps for 0.1 seconds, or until a signal is handled: in whatever call the kernel
/// has for it.
pub fn pause() {
    if matches!(poll(&mut [], 100), Ok(()) | Err(Errno::INTR)) {
        return;
    }
    if let NanosleepRelativeResult::Err(_) = rustix::thread::nanosleep(&milliseconds(100)) {
        let nothing = AtomicU32::new(0);
        let time: [c_long; 2] = [0, 100_000_000];
        let (word, time) = (nothing.as_ptr().addr(), time.as_ptr().addr());
        // SAFETY: reads the word and the time.
        let _ = unsafe {
            let operation = libc::FUTEX_WAIT as usize;
            call_with_token(libc::SYS_futex, [word, operation, 0, time])
        };
    }
}

/// Whether a write to `fd` would not sleep, as far as poll(2) knows.
pub fn is_writable(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut poll_fd = PollFd::from_borrowed_fd(fd, PollFlags::OUT);
    poll(core::slice::from_mut(&mut poll_fd), 0)?;
    Ok(!poll_fd.revents().is_empty())
}

/// A time of less than a second.
fn milliseconds(count: u32) -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: (count * 1_000_000).into(),
    }
}

/// poll(2) for less than a second.
#[cfg(target_pointer_width = "64")]
fn poll(descriptors: &mut [PollFd<'_>], time: u32) -> Result<()> {
    rustix::event::poll(descriptors, Some(&milliseconds(time))).map(drop)
}

/// poll(2) for less than a second. rustix calls ppoll(2) with a time of 32 bits,
/// which a kernel without `CONFIG_COMPAT_32BIT_TIME` does not have.
#[cfg(target_pointer_width = "32")]
fn poll(descriptors: &mut [PollFd<'_>], time: u32) -> Result<()> {
    let start = descriptors.as_mut_ptr().addr();
    // SAFETY: `PollFd` has the layout of `struct pollfd`; there are so many of them.
    unsafe { call(libc::SYS_poll, [start, descriptors.len(), time as usize, 0]) }
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
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    let program = core::ptr::from_ref(&program).addr();
    // SAFETY: the kernel copies the program.
    unsafe {
        let (option, mode) = (
            libc::PR_SET_SECCOMP as usize,
            libc::SECCOMP_MODE_FILTER as usize,
        );
        call(libc::SYS_prctl, [option, mode, program, 0])
    }
}

/// The socket that a child was started with: see [`fork`].
pub fn socket_of_child(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the child has it from its parent, and it is closed at the child's end.
    unsafe { BorrowedFd::borrow_raw(number) }
}
