//! What memory a child gets, and what it does not.
//!
//! A child shares nothing with its parent but the code: everything else is kept
//! from it (`MADV_DONTFORK`, madvise(2)): the parent's statics with the token,
//! its stack, the vDSO. It runs in one mapping of its own, whose pages the parent
//! never touches. So a fork copies no page, the parent takes no page fault
//! after it, and no client's data can be found in another client's process.

use core::ops::Range;
use core::ptr;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::Relaxed;
use rustix::fd::RawFd;
use rustix::io::{Errno, Result};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// Bytes that a session gets to work in.
pub const SESSION_ROOM: usize = 4097;

/// What runs in a child: it gets its room, the socket of its client, and two
/// numbers.
pub type Session =
    extern "C" fn(room: &'static mut [u8; SESSION_ROOM], socket: RawFd, u32, u32) -> !;

/// The mapping of a child: its stack, growing down from [`STACK_TOP`], and there the
/// room of its session. Most of it is for signal frames, some of which take 20 KiB.
const MAPPING: usize = 64 * 1024;

/// Where the stack begins: the room ends in the last page of 4 KiB, its first 3 KiB
/// and the topmost 1 KiB of the stack are in the page before. So a client with
/// short lines touches one page.
const STACK_TOP: usize = MAPPING - 2 * 4096 + 1024;

const _: () = assert!(STACK_TOP + SESSION_ROOM <= MAPPING && STACK_TOP.is_multiple_of(16));
// Room for the largest signal frame (20 KiB) and for the session.
const _: () = assert!(STACK_TOP >= 32 * 1024);

/// The top of a child's stack.
static CHILD_STACK: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

/// The top of a child's stack, where its room begins.
pub fn child_stack() -> *mut u8 {
    CHILD_STACK.load(Relaxed)
}

/// Makes the mapping that the children will use, and nobody else. It must come after
/// [`keep_from_children`].
pub fn map_for_children() -> Result<()> {
    // SAFETY: a new mapping, wherever the kernel puts it.
    let mapping = unsafe {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        mmap_anonymous(ptr::null_mut(), MAPPING, protection, MapFlags::PRIVATE)?
    };
    CHILD_STACK.store(mapping.cast::<u8>().wrapping_add(STACK_TOP), Relaxed);
    Ok(())
}

/// Keeps every mapping that there is from the children, but for the `code`, whose
/// start and end are at a page each. Fails where the kernel has no madvise(2)
/// (`CONFIG_ADVISE_SYSCALLS`): then they get a copy of all.
pub fn keep_from_children(code: &Range<usize>) -> Result<()> {
    // The last page of the address space cannot be given.
    let behind = code.end..usize::MAX - 0xffff;
    for range in [0..code.start, behind] {
        // SAFETY: it is advice for fork(2), and changes nothing in this process.
        let result = unsafe {
            let start = ptr::without_provenance_mut(range.start);
            madvise(start, range.len(), Advice::LinuxDontFork)
        };
        // There are gaps between the mappings; the advice is taken all the same.
        if !matches!(result, Ok(()) | Err(Errno::NOMEM)) {
            return result;
        }
    }
    Ok(())
}

/// Whether this is the parent, not a child: only the parent runs on the stack that
/// the program started with.
pub fn is_parent() -> bool {
    let here = 0u8;
    super::start::parent_stack().contains(&ptr::from_ref(&here).addr())
}
