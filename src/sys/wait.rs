//! Waiting, in whatever form the kernel has for it. Where one is missing another is
//! taken: to return at once again and again would be a spin.

use super::call_with_token;
use core::sync::atomic::AtomicU32;
use libc::c_long;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::BorrowedFd;
use rustix::io::{Errno, Result};
use rustix::thread::NanosleepRelativeResult;

/// Forms of futex and nanosleep with times of 64 bits, since Linux 5.1; the numbers are
/// the same on every architecture of 32 bits.
#[cfg(target_pointer_width = "32")]
pub const SYS_FUTEX_TIME64: c_long = 422;
#[cfg(target_pointer_width = "32")]
pub const SYS_CLOCK_NANOSLEEP_TIME64: c_long = 407;

/// Sleeps while `word` is `value`, until a signal handler changes it (futex(2),
/// `FUTEX_WAIT`). A change before the call is seen as well. It may return early.
pub fn wait_while(word: &AtomicU32, value: u32) {
    let arguments =
        [word.as_ptr().expose_provenance(), libc::FUTEX_WAIT as usize, value as usize, 0];
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
        let (word, time) =
            (nothing.as_ptr().expose_provenance(), time.as_ptr().expose_provenance());
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
    Timespec { tv_sec: 0, tv_nsec: (count * 1_000_000).into() }
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
    let start = descriptors.as_mut_ptr().expose_provenance();
    // SAFETY: `PollFd` has the layout of `struct pollfd`; there are so many of them.
    unsafe { super::call(libc::SYS_poll, [start, descriptors.len(), time as usize, 0]) }
}
