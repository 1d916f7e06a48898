//! The line rule, exhaustively: every text over {letter, newline} up to a
//! length, cut into reads in every way, through every small buffer.

use rot13d_pure::line::{Buffer, CAPACITY, SPARE, Step};

use crate::support::rot13;

const LONGEST: u32 = 9;

/// How many bytes of `text` may have gone out once all of it has come, by the
/// contract: up to the last newline, or to where `full` bytes were pending.
/// It does not depend on how the text was cut into reads.
fn due(text: &[u8], full: usize) -> usize {
    let mut out = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte == b'\n' || at + 1 - out == full {
            out = at + 1;
        }
    }
    out
}

/// Every text of `length` bytes over the two letters.
fn texts(length: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..1 << length).map(move |bits: u32| {
        let letter = |at| if bits >> at & 1 == 0 { b'n' } else { b'\n' };
        (0..length).map(letter).collect()
    })
}

/// How a session goes: what was read, what was written, and in what pieces.
struct Session<const N: usize> {
    buffer: Buffer<N>,
    out: Vec<u8>,
    /// No write takes more than this.
    taken: usize,
}

impl<const N: usize> Session<N> {
    const FULL: usize = N - SPARE;

    fn new(taken: usize) -> Self {
        Session {
            buffer: Buffer::new(),
            out: Vec::new(),
            taken,
        }
    }

    /// Writes until it wants to read, or ends.
    fn write_all(&mut self) {
        while let Some(Step::Write(due)) = self.buffer.step() {
            assert!(!due.is_empty(), "nothing to write");
            let count = due.len().min(self.taken);
            self.out.extend(&due[..count]);
            assert!(!self.buffer.reads(), "a step that writes");
            self.buffer.sent(count);
        }
    }

    /// Reads all of `text` in as many reads as it takes.
    fn read(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            let Some(Step::Read(space)) = self.buffer.step() else {
                panic!("it does not read")
            };
            assert!(
                !space.is_empty(),
                "a read of 0 bytes would look like the end"
            );
            let count = space.len().min(text.len());
            space[..count].copy_from_slice(&text[..count]);
            text = &text[count..];
            assert!(self.buffer.reads(), "a step that reads");
            self.buffer.arrived(count);
            self.write_all();
        }
    }

    fn end(&mut self) {
        assert!(matches!(self.buffer.step(), Some(Step::Read(_))));
        self.buffer.end();
        self.write_all();
        assert_eq!(self.buffer.step(), None);
    }
}

/// Lets `text` through in reads that end where `cuts` has a bit, and earlier
/// where the buffer has no more space.
fn pass<const N: usize>(text: &[u8], cuts: u32, taken: usize) {
    let mut session = Session::<N>::new(taken);
    let mut read = 0;
    while read < text.len() {
        let end = (read..text.len()).find(|at| at_bit(cuts, *at));
        let end = end.map_or(text.len(), |at| at + 1);
        session.read(&text[read..end]);
        read = end;
        let expected = due(&text[..read], Session::<N>::FULL);
        assert_eq!(
            session.out.len(),
            expected,
            "bytes out after {read} of {text:?}"
        );
    }
    session.end();
    assert_eq!(session.out, rot13(text), "everything, once, in order");
}

fn at_bit(bits: u32, at: usize) -> bool {
    at < 32 && bits >> at & 1 == 1
}

fn exhaust<const N: usize>() {
    for length in 0..=LONGEST {
        for text in texts(length) {
            for cuts in 0..1 << length.saturating_sub(1) {
                pass::<N>(&text, cuts, usize::MAX);
            }
            // Clients that take one or two bytes at a time.
            pass::<N>(&text, 0, 1);
            pass::<N>(&text, 0, 2);
        }
    }
}

#[test]
fn every_text_in_every_cut_through_every_small_buffer() {
    exhaust::<{ 1 + SPARE }>();
    exhaust::<{ 2 + SPARE }>();
    exhaust::<{ 3 + SPARE }>();
    exhaust::<{ 4 + SPARE }>();
    exhaust::<{ 5 + SPARE }>();
    exhaust::<{ 8 + SPARE }>();
}

#[test]
fn capacity_is_that_of_the_contract() {
    const N: usize = CAPACITY + SPARE;
    assert_eq!(CAPACITY, 4097);
    for length in [4096, 4097, 4098, 8194, 10_000] {
        let mut text = vec![b'n'; length];
        pass::<N>(&text, 0, usize::MAX);
        text.push(b'\n');
        pass::<N>(&text, 0, 1000);
        text[length / 2] = b'\n';
        pass::<N>(&text, 0, usize::MAX);
    }
    assert_eq!(due(&[b'n'; 4096], CAPACITY), 0);
    assert_eq!(due(&[b'n'; 4097], CAPACITY), 4097);
}
