//! Who is connected: a process and an address per slot.
//!
//! The main program fills a slot (the kernel does, at fork) and the signal
//! handler empties it, each with one store, so neither ever waits for the
//! other.

use crate::sys::{self, Slot, State};
use rot13d_pure::args::MOST_CLIENTS;

/// Slots: as many as `-c` may ask for.
pub const SLOTS: usize = MOST_CLIENTS as usize;

/// The slot of client `pid`.
#[inline(always)]
pub fn find(state: &State, pid: i32) -> Option<&Slot> {
    sys::find(state, |_, other| other == pid)
}

/// Whether there are as many clients from the address of the next as may be.
#[inline(always)]
pub fn refused(state: &State) -> bool {
    let mut left = state.config.per_source();
    let mut full = |slot: &Slot, pid| {
        if pid > 0 && sys::same_source(state, slot) {
            left -= 1;
            return left == 0;
        }
        false
    };
    state.config.per_source() != 0 && sys::find(state, &mut full).is_some()
}

/// Ends every client now; to the kernel a free slot's process is none.
#[inline(always)]
pub fn kill(state: &State) {
    sys::find(state, |_, pid| {
        sys::kill(state, pid);
        false
    });
}
