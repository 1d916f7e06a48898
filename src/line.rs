//! The buffer of one client, and the rule that says when its bytes may go.
//!
//! Bytes wait until their line is complete, until the buffer is full without a
//! newline in it, or until the session ends in order. They are ciphered when
//! they arrive.

use crate::rot13;
use core::cell::Cell;

/// Bytes that may be pending without a newline before they go out: the size of
/// the buffer in the lecture's program.
pub const CAPACITY: usize = 4097;

/// The bytes of one client.
///
/// The first `due` of the first `pending` bytes may go out; the rest is the
/// start of a line that is not complete.
pub struct Buffer<'a> {
    bytes: &'a mut [u8; CAPACITY],
    pending: usize,
    due: usize,
    ended: bool,
}

/// What a session does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Read into this; never empty.
    Read(&'a mut [u8]),
    /// Write this; never empty.
    Write(&'a [u8]),
    /// Everything is written and no more will come.
    Finish,
}

impl<'a> Buffer<'a> {
    /// An empty buffer in `bytes`, whatever these are.
    pub const fn new(bytes: &'a mut [u8; CAPACITY]) -> Self {
        Self { bytes, pending: 0, due: 0, ended: false }
    }

    /// What to do next.
    pub fn step(&mut self) -> Step<'_> {
        if self.due > 0 {
            return Step::Write(self.bytes.get(..self.due).unwrap_or_default());
        }
        match self.bytes.get_mut(self.pending..) {
            Some(space) if !self.ended => Step::Read(space),
            _ => Step::Finish,
        }
    }

    /// Notes that `count` bytes were read, at least one: ciphers them, and sees
    /// whether they complete a line.
    pub fn received(&mut self, count: usize) {
        let before = self.pending;
        self.pending = (before + count).min(CAPACITY);
        let Some(arrived) = self.bytes.get_mut(before..self.pending) else {
            return;
        };
        if cfg!(not(bench_no_cipher)) {
            rot13::rotate(arrived);
        }
        // All complete lines go out together. What was pending before has no newline.
        if let Some(newline) = arrived.iter().rposition(|&byte| byte == b'\n') {
            self.due = before + newline + 1;
        } else if self.pending == CAPACITY {
            self.due = CAPACITY;
        }
    }

    /// Notes that no more will come: all that is pending may go.
    pub fn end(&mut self) {
        self.due = self.pending;
        self.ended = true;
    }

    /// Notes that the first `count` bytes of what was due were written. The rest
    /// moves to the start of the buffer.
    pub fn sent(&mut self, count: usize) {
        let count = count.min(self.due);
        // Cells, since it is read and written at once. (copy_within() calls memmove, on
        // x86_64 by a table that had to be relocated.)
        let bytes = Cell::from_mut(self.bytes.as_mut_slice()).as_slice_of_cells();
        let rest = bytes.get(count..self.pending).unwrap_or_default();
        for (place, byte) in bytes.iter().zip(rest) {
            place.set(byte.get());
        }
        self.due -= count;
        self.pending -= count;
    }
}
