//! The buffer of one client, and the rule that says when its bytes may go.
//!
//! Bytes wait until their line is complete, until the buffer is full without a
//! newline in it, or until the session ends: see [`Buffer::arrived`] and
//! [`Buffer::end`].

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
    /// Bytes that have come and not gone; more than there can be, once no more
    /// will come.
    pending: u32,
    /// The first of them that may go.
    due: u32,
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
            bytes: [0; N],
        }
    }

    /// Whether the next step is to read, or would be but for the end.
    #[inline(always)]
    pub fn reads(&self) -> bool {
        self.due == 0
    }

    /// What to do next; `None` at the end.
    #[inline(always)]
    pub fn step(&mut self) -> Option<Step<'_>> {
        let due = self.due as usize;
        if (1..=N).contains(&due) {
            self.bytes.get(..due).map(Step::Write)
        } else {
            self.bytes
                .get_mut(self.pending as usize..Self::CAPACITY)
                .map(Step::Read)
        }
    }

    /// Notes that `count` bytes were read, one or more.
    #[inline(always)]
    pub fn arrived(&mut self, count: usize) {
        let before = self.pending as usize;
        let pending = before + count;
        self.pending = pending as u32;
        // Never, and then it is the end; no index below has to be checked again.
        if pending > Self::CAPACITY {
            return;
        }
        let cipher = rot13::Cipher::new();
        let mut at = before;
        while at < pending && cfg!(not(bench_no_cipher)) {
            let Some(block) = self.bytes.get_mut(at..) else {
                break;
            };
            let Some(block) = block.first_chunk_mut() else {
                break;
            };
            cipher.rotate(block);
            at += rot13::BLOCK;
        }
        // Up to the last newline; else all, if the buffer is full. From the
        // end: it is near, as a rule.
        let mut due = pending;
        while let Some(last) = self.bytes.get(due.wrapping_sub(1)) {
            if *last == b'\n' {
                break;
            }
            due -= 1;
            if due <= before {
                if pending < Self::CAPACITY {
                    return;
                }
                due = pending;
                break;
            }
        }
        self.due = due as u32;
    }

    /// Notes that no more will come: all that is pending may go.
    #[inline(always)]
    pub fn end(&mut self) {
        self.due = self.pending;
        self.pending = u32::MAX;
    }

    /// Notes that `count` bytes were written. What has not gone moves to the start.
    #[inline(always)]
    pub fn sent(&mut self, count: usize) {
        self.due = self.due.wrapping_sub(count as u32);
        self.pending = self.pending.wrapping_sub(count as u32);
        let mut at = 0;
        while at < self.pending as usize {
            let Some(&byte) = self.bytes.get(at + count) else {
                break;
            };
            let Some(to) = self.bytes.get_mut(at) else {
                break;
            };
            *to = byte;
            at += 1;
        }
    }
}
