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

/// Sleeps while `word` is `value`, until a signal handler changes it. A change before
/// the call is seen as well. It may return early.
pub fn wait_while(word: &AtomicU32, value: u32) {
    let result = futex_wait(libc::SYS_futex, word, value, None);
    #[cfg(target_pointer_width = "32")]
    let result = match result {
        Err(Errno::NOSYS) => futex_wait(SYS_FUTEX_TIME64, word, value, None),
        result => result,
    };
    if !matches!(result, Ok(()) | Err(Errno::INTR | Errno::AGAIN)) {
        pause();
    }
}

/// futex(2), `FUTEX_WAIT`, by the call of this number; for so long at most, if `time` is
/// some: seconds and nanoseconds as `SYS_futex` has them (`SYS_FUTEX_TIME64` has others).
fn futex_wait(
    number: c_long,
    word: &AtomicU32,
    value: u32,
    time: Option<&[c_long; 2]>,
) -> Result<()> {
    let word = word.as_ptr().expose_provenance();
    let time = time.map_or(0, |time| core::ptr::from_ref(time).expose_provenance());
    // SAFETY: reads the word, and the time if there is one.
    unsafe { call_with_token(number, word, libc::FUTEX_WAIT as usize, value as usize, time) }
}

/// Sleeps for 0.1 seconds, or until a signal is handled: in whatever call the kernel
/// has for it.
pub fn pause() {
    if matches!(poll(&mut [], 100), Ok(()) | Err(Errno::INTR)) {
        return;
    }
    if let NanosleepRelativeResult::Err(_) = rustix::thread::nanosleep(&milliseconds(100)) {
        let _ = futex_wait(libc::SYS_futex, &AtomicU32::new(0), 0, Some(&[0, 100_000_000]));
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
    unsafe { super::call(libc::SYS_poll, start, descriptors.len(), time as usize, 0) }
}
