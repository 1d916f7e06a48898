//! Who is connected: a process and a source address for each client.
//!
//! The main program fills a slot, the signal handler empties it; of the two
//! counters, each has one writer. So nothing has to be locked, and plain loads and
//! stores will do: the handler runs in the same thread.

use crate::sys;
use core::net::Ipv6Addr;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicUsize, compiler_fence};
use rot13d_pure::args::MOST_CLIENTS;
use rot13d_pure::message::{Line, Show};

/// A place for one client.
pub struct Slot {
    /// Its process, or 0 in a slot that is free.
    process: AtomicI32,
    /// Its address, byte by byte; all zeros if it has none.
    source: [AtomicU8; 16],
}

static SLOTS: [Slot; MOST_CLIENTS as usize] =
    [const { Slot { process: AtomicI32::new(0), source: [const { AtomicU8::new(0) }; 16] } };
        MOST_CLIENTS as usize];

/// Slots that were ever used: no search goes further. A search begins at their end, where
/// those are who came last, and most of those who leave.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Clients that were started. The main program counts them.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// Clients that have ended. The signal handler counts them.
static ENDED: AtomicU32 = AtomicU32::new(0);

/// Most clients at once (`-c`).
static LIMIT: AtomicU32 = AtomicU32::new(0);

/// Sets how many clients there may be at once.
pub fn set_limit(limit: u32) {
    LIMIT.store(limit, Relaxed);
}

/// The clients at one moment. Shown, it is `3/256`.
pub struct Count {
    /// Clients that are connected.
    pub connected: u32,
    /// Clients that have ended until then.
    ended: u32,
}

/// Counts the clients.
pub fn count() -> Count {
    let ended = ENDED.load(Relaxed);
    Count { connected: STARTED.load(Relaxed).wrapping_sub(ended), ended }
}

impl Count {
    /// Whether there may be no more.
    pub fn is_full(&self) -> bool {
        self.connected >= LIMIT.load(Relaxed)
    }
}

impl Show for Count {
    fn show(&self, line: &mut Line) {
        self.connected.show(line);
        line.push(b'/');
        LIMIT.load(Relaxed).show(line);
    }
}

/// Sleeps until fewer clients are connected than `count` says. It may return early.
pub fn wait_for_end(count: &Count) {
    sys::wait::wait_while(&ENDED, count.ended);
}

/// A free slot for a client from `source`. There must be fewer clients than slots.
pub fn reserve(source: Option<&Ipv6Addr>) -> &'static Slot {
    let is_free = |slot: &Slot| slot.process.load(Relaxed) == 0;
    let used = used();
    let at = used.iter().rposition(is_free).unwrap_or(used.len());
    USED.store(used.len().max(at + 1), Relaxed);
    let slot = &SLOTS[at];
    let source = source.map_or([0; 16], Ipv6Addr::octets);
    for (place, octet) in slot.source.iter().zip(&source) {
        place.store(*octet, Relaxed);
    }
    slot
}

impl Slot {
    /// The client in this slot is served by `process` from now on. Signals must be
    /// blocked since before it was started, or its end could come before this.
    pub fn occupy(&self, process: i32) {
        self.process.store(process, Relaxed);
        STARTED.store(STARTED.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

/// Frees the slot of `process`, which has ended. False if it was no client's.
pub fn release(process: i32) -> bool {
    let is_its = |slot: &&Slot| slot.process.load(Relaxed) == process;
    let Some(slot) = used().iter().rev().find(is_its) else {
        return false;
    };
    slot.process.store(0, Relaxed);
    // The slot is free before the count says so.
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    ENDED.store(ENDED.load(Relaxed).wrapping_add(1), Relaxed);
    true
}

/// How many clients from `source` are connected.
pub fn from_source(source: &Ipv6Addr) -> u32 {
    let source = source.octets();
    // From the last octet on: there most differ.
    let is_from_there = |slot: &&Slot| {
        let same = |(place, octet): (&AtomicU8, &u8)| place.load(Relaxed) == *octet;
        slot.process.load(Relaxed) != 0 && slot.source.iter().zip(&source).rev().all(same)
    };
    used().iter().filter(is_from_there).count() as u32
}

/// Ends every client now.
pub fn kill_all() {
    for slot in used() {
        let process = slot.process.load(Relaxed);
        if process != 0 {
            sys::kill(process);
        }
    }
}

/// The slots that were ever used.
fn used() -> &'static [Slot] {
    SLOTS.get(..USED.load(Relaxed)).unwrap_or_default()
}
