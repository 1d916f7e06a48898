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

/// A free slot, once there are fewer clients than may be.
#[inline(always)]
pub fn free(state: &State) -> &Slot {
    loop {
        wait_below(state, state.config.clients());
        // There are as many slots as clients may be asked for.
        if let Some(slot) = find(state, 0) {
            return slot;
        }
    }
}

/// The slot of client `pid`; pid 0 is a free one.
#[inline(never)]
pub fn find(state: &State, pid: i32) -> Option<&Slot> {
    state
        .slots
        .iter()
        .find(|slot| slot.pid.load(Relaxed) == pid)
}

/// How many clients there are from the address in `new`.
#[inline(always)]
pub fn same_source(state: &State, new: &Slot) -> u32 {
    let mut same = 0;
    // The first free slot is taken, so none is used behind the limit.
    for slot in state.slots.iter().take(state.config.clients() as usize) {
        if slot.pid.load(Relaxed) != 0 && slot.address().same_source(new.address()) {
            same += 1;
        }
    }
    same
}

/// Ends every client now.
#[inline(always)]
pub fn kill(state: &State) {
    for slot in &state.slots {
        let pid = slot.pid.load(Relaxed);
        if pid != 0 {
            sys::kill(state, pid);
        }
    }
}

/// Sleeps while there are `limit` clients. The second look, with SIGCHLD held
/// back until the sleep itself, is what misses no end.
#[inline(never)]
pub fn wait_below(state: &State, limit: u32) {
    if state.count.load(Relaxed) >= limit {
        sys::hold(sys::CHILDREN);
        while state.count.load(Relaxed) >= limit {
            sys::suspend(state);
        }
        sys::hold(sys::NONE);
    }
}
