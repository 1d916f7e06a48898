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

/// Slots that were ever used: no search goes further.
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
    let slot = slot_of(0).unwrap_or_else(|| {
        let used = USED.load(Relaxed);
        USED.store(used + 1, Relaxed);
        &SLOTS[used]
    });
    let source = source.unwrap_or(&Ipv6Addr::UNSPECIFIED).octets();
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
    let Some(slot) = slot_of(process) else {
        return false;
    };
    slot.process.store(0, Relaxed);
    // The slot is free before the count says so.
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    ENDED.store(ENDED.load(Relaxed).wrapping_add(1), Relaxed);
    true
}

/// The slot of `process`, or with 0 a free one, among those that were ever used.
fn slot_of(process: i32) -> Option<&'static Slot> {
    // From the end: the newest clients are there, and most clients that leave are new.
    used().iter().rfind(|slot| slot.process.load(Relaxed) == process)
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
    let processes = used().iter().map(|slot| slot.process.load(Relaxed));
    processes.filter(|&process| process != 0).for_each(sys::kill);
}

/// The slots that were ever used.
fn used() -> &'static [Slot] {
    &SLOTS[..USED.load(Relaxed)]
}
