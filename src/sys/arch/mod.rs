//! What differs from one architecture to the next: one file for each, with the same
//! items in the same order.
//!
//! | item | what it is |
//! |---|---|
//! | `AUDIT_ARCH` | how a seccomp filter knows the calls of this architecture |
//! | `rot13d_start` | the entry point: moves to the parent's stack, calls [`start`] |
//! | `restore_signal` | where a signal handler returns to; on riscv64, what calls it |
//! | `syscall` | any system call |
//! | `clone_with_token` | clone(2) onto the stack of a child, and its first steps |
//!
//! [`start`]: super::start::start

use super::memory::Session;
use rustix::fd::RawFd;

#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
#[cfg_attr(target_arch = "arm", path = "arm.rs")]
#[cfg_attr(target_arch = "riscv64", path = "riscv64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
mod this;

pub use this::*;

/// How a child starts: [`clone_with_token`] brings this into registers.
pub struct Child {
    /// The top of its stack, where the room of its session begins.
    pub stack: *mut u8,
    /// What it runs.
    pub session: Session,
    /// The socket of its client.
    pub socket: RawFd,
    /// The last two arguments of `session`.
    pub numbers: [u32; 2],
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

/// Handles signals. It is a type and no pointer, so that [`restore_signal`] can name its
/// function: in a child there is no place to keep a pointer in.
pub trait Handler {
    /// Runs with all signals blocked, in the parent or in a child: see
    /// [`is_parent`](super::memory::is_parent).
    extern "C" fn handle(signal: i32, info: &SignalInfo);
}
