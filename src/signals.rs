//! Signals: what is caught, what is ignored, and the one handler.
//!
//! The handler runs with all signals blocked, and only where the main program lets
//! it: around a fork they are blocked as well, so that a child's end is never seen
//! before its start.

use crate::clients;
use crate::log::{log, must};
use crate::sys::signals::SignalInfo;
use crate::sys::{self, LISTENER, memory};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use libc::{SIGALRM, SIGCHLD, SIGINT, SIGPIPE, SIGTERM, SIGTTOU, SIGXFSZ};
use rot13d_pure::args::Config;
use rustix::io::Result;
use rustix::process::{self, Pid, WaitOptions, WaitStatus};

/// What a write or the terminal can raise: a client that is gone (pipe(7)), a log file
/// at its size limit (setrlimit(2)), a terminal with `tostop` (termios(3)).
const IGNORED: [i32; 3] = [SIGPIPE, SIGXFSZ, SIGTTOU];
const CAUGHT: [i32; 4] = [SIGCHLD, SIGTERM, SIGINT, SIGALRM];

/// What of the command line the handler must know.
static VERBOSE: AtomicBool = AtomicBool::new(false);
static GRACE: AtomicU32 = AtomicU32::new(0);

/// The server was asked to end: the listener is closed, clients are served.
static DRAINING: AtomicBool = AtomicBool::new(false);

/// It was asked once more: the clients are ended, too.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether the server was asked to end.
pub fn draining() -> bool {
    DRAINING.load(Relaxed)
}

/// Whether no client shall be served any more.
pub fn ending() -> bool {
    ENDING.load(Relaxed)
}

/// Sets what happens when a signal comes. They must be blocked until the server can
/// handle them.
pub fn install(config: &Config) {
    VERBOSE.store(config.verbose, Relaxed);
    GRACE.store(config.grace, Relaxed);
    for &signal in &IGNORED {
        must("sigaction", None, sys::signals::ignore_signal(signal));
    }
    for &signal in &CAUGHT {
        must("sigaction", None, sys::signals::handle_signal::<Handler>(signal));
    }
    if sys::signals::stop_timers().is_err() && (config.grace > 0 || config.lifetime > 0) {
        log!("no timers: -T and -k have no effect");
    }
}

/// The handler of every signal that is caught. In a child there is nothing to do but
/// to end when its lifetime is over; the parent's statics are not even there.
struct Handler;

impl sys::signals::Handler for Handler {
    extern "C" fn handle(signal: i32, info: &SignalInfo) {
        if !memory::is_parent() {
            if signal == SIGALRM {
                sys::exit(0);
            }
            return;
        }
        match signal {
            SIGCHLD => reap(info.process()),
            // Somebody else's alarm: ours is for the time of grace.
            SIGALRM if !draining() => {}
            _ => terminate(),
        }
    }
}

/// Reaps every child that has ended.
///
/// First the one that the signal names: to look for any, the kernel walks through all
/// children, this way once and not twice. But signals are merged when several
/// children end together (signal(7)), so then any, until there is none.
fn reap(named: i32) {
    if let child @ Some(_) = Pid::from_raw(named) {
        reaped(process::waitpid(child, WaitOptions::NOHANG));
    }
    while reaped(process::wait(WaitOptions::NOHANG)) {}
}

/// Takes note of what wait(2) has said; false if no child has ended.
fn reaped(result: Result<Option<(Pid, WaitStatus)>>) -> bool {
    let Ok(Some((child, status))) = result else {
        return false;
    };
    let child = child.as_raw_pid();
    // Where the server is PID 1 it is also the parent of processes that are no clients.
    if clients::release(child) && VERBOSE.load(Relaxed) {
        log_end(child, status);
    }
    true
}

fn log_end(child: i32, status: WaitStatus) {
    let (how, number) = match status.terminating_signal() {
        Some(signal) => (" signal ", signal),
        None => (" exit ", status.exit_status().unwrap_or_default()),
    };
    log!("end ", child, how, number, " ", clients::count());
}

/// The first time: closes the listener, which ends the accept loop whatever it is
/// doing, and gives the clients their time of grace. The second time, or when that is
/// over: ends the clients.
fn terminate() {
    if draining() {
        ENDING.store(true, Relaxed);
        return clients::kill_all();
    }
    DRAINING.store(true, Relaxed);
    sys::close(LISTENER);
    let count = clients::count();
    if count.connected > 0 {
        log!("draining ", count);
    }
    let _ = sys::signals::set_alarm(GRACE.load(Relaxed));
}
