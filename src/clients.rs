//! Who is connected: a process and an address per slot.
//!
//! The main program fills a slot (the kernel does, at fork) and the signal
//! handler empties it, each with one store, so neither ever waits for the
//! other.

use crate::sys::{self, Slot, State};
use core::sync::atomic::Ordering::Relaxed;
use rot13d_pure::args::MOST_CLIENTS;

/// Slots: as many as `-c` may ask for.
pub const SLOTS: usize = MOST_CLIENTS as usize;

/// The slot of client `pid`; pid 0 is a free one.
#[inline(always)]
pub fn find(state: &State, pid: i32) -> Option<&Slot> {
    sys::find(state, |slot| slot.pid.load(Relaxed) == pid)
}

/// Whether there are as many clients from the address of the next as may be.
#[inline(always)]
pub fn refused(state: &State) -> bool {
    let mut left = state.config.per_source();
    let mut full = |slot: &Slot| {
        if slot.pid.load(Relaxed) != 0 && state.same_source(slot) {
            left -= 1;
            return left == 0;
        }
        false
    };
    state.config.per_source() != 0 && sys::find(state, &mut full).is_some()
}

/// Ends every client now.
#[inline(always)]
pub fn kill(state: &State) {
    sys::find(state, |slot| {
        let pid = slot.pid.load(Relaxed);
        if pid != 0 {
            sys::kill(state, pid);
        }
        false
    });
}
