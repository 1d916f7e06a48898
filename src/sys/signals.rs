//! Signals and timers, of which rustix has no public functions.

use super::call;
use libc::c_long;
use rustix::io::Result;

pub use super::arch::{Handler, SignalInfo};

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
    let set = core::ptr::from_ref(mask).expose_provenance();
    // SAFETY: reads the set. It cannot fail with these arguments.
    let _ = unsafe {
        let how = libc::SIG_SETMASK as usize;
        call(libc::SYS_rt_sigprocmask, how, set, 0, size_of::<SignalSet>())
    };
}

/// The kernel's `struct sigaction` (not the C library's).
#[repr(C)]
struct SignalAction {
    handler: usize,
    flags: usize,
    #[cfg(not(target_arch = "riscv64"))]
    restorer: unsafe extern "C" fn() -> !,
    mask: SignalSet,
}

/// Has `signal` handled by `H` (sigaction(2)). System calls that it interrupts are
/// restarted, where signal(7) allows that.
pub fn handle_signal<H: Handler>(signal: i32) -> Result<()> {
    // riscv64 knows no restorer: there it calls the handler.
    #[cfg(target_arch = "riscv64")]
    let handler = super::arch::restore_signal::<H> as *const ();
    #[cfg(not(target_arch = "riscv64"))]
    let handler = H::handle as *const ();
    set_action(signal, handler as usize)
}

/// Ignores `signal`, and discards one that is pending.
pub fn ignore_signal(signal: i32) -> Result<()> {
    set_action(signal, libc::SIG_IGN)
}

fn set_action(signal: i32, handler: usize) -> Result<()> {
    /// Without it the kernel has the handler return through the vDSO, which no child has.
    const SA_RESTORER: i32 = if cfg!(target_arch = "riscv64") { 0 } else { 0x0400_0000 };
    // Without SA_SIGINFO, arm has an older frame, which rt_sigreturn(2) cannot read.
    let flags = libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_SIGINFO | SA_RESTORER;
    let action = SignalAction {
        handler,
        flags: flags as usize,
        #[cfg(not(target_arch = "riscv64"))]
        restorer: super::arch::restore_signal,
        mask: [u32::MAX; 2],
    };
    let action = core::ptr::from_ref(&action).expose_provenance();
    // SAFETY: reads the structure. The handler is one, by its type.
    unsafe {
        let size = size_of::<SignalSet>();
        call(libc::SYS_rt_sigaction, signal as usize, action, 0, size)
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
    let new = core::ptr::from_ref(&timer).expose_provenance();
    // SAFETY: reads the timer.
    unsafe { call(libc::SYS_setitimer, which, new, 0, 0) }
}
