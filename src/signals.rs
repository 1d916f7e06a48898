//! Signals: what is caught, and the one handler.
//!
//! The handler runs with every signal held back. A child has it too, but its
//! statics are gone: it does nothing there, but to end a client whose lifetime
//! is over.

use crate::sys::{self, State};
use crate::{LISTENER, clients, log};
use core::sync::atomic::Ordering::Relaxed;
use rot13d_pure::fmt::id;

/// The handler. `child` is the one that has ended, if `signal` says that one has, and
/// it is not somebody's who sends it himself.
#[inline(always)]
pub fn handle(state: &State, signal: i32, child: i32) {
    if signal == libc::SIGCHLD {
        reap(state, child)
    } else {
        terminate(state)
    }
}

/// The handler in the process of a client, where the parent's state is not.
#[inline(always)]
pub fn handle_in_child(signal: i32) {
    if signal == libc::SIGALRM {
        sys::exit(0)
    }
}

/// Takes every child that has ended, and frees its slot. One that has none was
/// another's and left to us (prctl(2), `PR_SET_CHILD_SUBREAPER`).
///
/// First the one that the signal is of, then any until there is none: to ask for any
/// the kernel looks at every child, which it does once so, not twice.
#[inline(always)]
fn reap(mut state: &State, mut child: i32) {
    loop {
        // No address is kept over the calls.
        state = sys::hide(state);
        let pid = sys::wait(state, child);
        let any = child == -1;
        child = -1;
        if any && pid <= 0 {
            break;
        }
        let Some(slot) = clients::find(state, pid) else {
            continue;
        };
        let pid = slot.pid.swap(sys::FREE, Relaxed);
        state.count.fetch_sub(1, Relaxed);
        if state.config.verbose() {
            // wait(2): the signal in the low seven bits, else the exit code above.
            let status = state.status.get();
            let signal = status & 0x7f;
            state.status.set(status >> 8 | signal);
            let id = if signal == 0 { id::EXIT } else { id::SIGNAL };
            log::say(id.into(), pid as u32);
        }
    }
}

/// Closes the listener, which ends the accept loop whatever it is doing, and
/// starts the time of grace. With no listener left, this is the second signal,
/// or the time is over: ends the clients, and again each second, for one that
/// was being started; one for whom there is no process is given up.
#[inline(always)]
fn terminate(state: &State) {
    let mut grace = state.config.grace();
    let result = sys::close(LISTENER);
    if sys::veil(result) == -libc::EBADF {
        state.client.store(result, Relaxed);
        clients::kill(state);
        grace = 1;
    }
    sys::alarm(grace);
}
