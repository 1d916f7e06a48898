//! The buffer of one client, and the rule that says when its bytes may go.
//!
//! Bytes wait until their line is complete, until the buffer is full without a
//! newline in it, or until the session ends: see [`Buffer::step`] and
//! [`Buffer::done`].

use crate::rot13;

/// Bytes that may be pending without a newline before they go out: the size of
/// the buffer in the lecture's program.
pub const CAPACITY: usize = 4097;

/// The bytes of one client and what is known of them.
///
/// All zeros is the empty buffer, so that a static one takes no room in the
/// file and no page before its first byte.
#[repr(C)]
pub struct Buffer<const N: usize = { CAPACITY + SPARE }> {
    /// Bytes that have come and not gone.
    pending: usize,
    /// The first of them that may go.
    due: usize,
    /// No more will come.
    ended: bool,
    bytes: [u8; N],
}

/// Bytes behind the last that may be pending, so that whole blocks can be
/// ciphered: what is there is of no use.
pub const SPARE: usize = rot13::BLOCK - 1;

/// What a session does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Read into here; never empty.
    Read(&'a mut [u8]),
    /// Write this; never empty.
    Write(&'a [u8]),
}

impl<const N: usize> Buffer<N> {
    /// Bytes that may be pending.
    const CAPACITY: usize = N - SPARE;

    /// An empty buffer.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            pending: 0,
            due: 0,
            ended: false,
            bytes: [0; N],
        }
    }

    /// What to do next; `None` at the end.
    #[inline(always)]
    pub fn step(&mut self) -> Option<Step<'_>> {
        if self.due != 0 {
            self.bytes.get(..self.due).map(Step::Write)
        } else if self.ended {
            None
        } else {
            self.bytes
                .get_mut(self.pending..Self::CAPACITY)
                .map(Step::Read)
        }
    }

    /// Notes that `count` bytes of the step were done. 0 bytes read is the end.
    #[inline(never)]
    pub fn done(&mut self, count: usize) -> Option<()> {
        let before = self.pending;
        if self.due != 0 {
            // What has not gone moves to the start.
            self.pending = before.wrapping_sub(count);
            self.due = self.due.wrapping_sub(count);
            for at in 0..self.pending {
                let byte = *self.bytes.get(at + count)?;
                *self.bytes.get_mut(at)? = byte;
            }
            return Some(());
        }
        let pending = before + count;
        self.pending = pending;
        let mut at = before;
        while at < pending && cfg!(not(bench_no_cipher)) {
            rot13::rotate(self.bytes.get_mut(at..)?.first_chunk_mut()?);
            at += rot13::BLOCK;
        }
        self.ended = count == 0;
        // Up to the last newline; else all, if the buffer is full or nothing
        // else can come. From the end: it is near, as a rule.
        let mut due = pending;
        while due > before && *self.bytes.get(due - 1)? != b'\n' {
            due -= 1;
        }
        if due == before {
            due = if self.ended || pending == Self::CAPACITY {
                pending
            } else {
                0
            };
        }
        self.due = due;
        Some(())
    }
}
