//! The line rule, exhaustively: every text over {letter, newline} up to a
//! length, cut into reads in every way, through a buffer with every small space.

use rot13d_pure::line::{Buffer, CAPACITY, Step};

use crate::support::rot13;

/// How many bytes of `text` may have gone out once all of it has come, by
/// rot13d(8): up to the last newline, or to where `CAPACITY` bytes were pending.
/// It does not depend on how the text was cut into reads.
fn due(text: &[u8]) -> usize {
    let mut out = 0;
    for (at, &byte) in text.iter().enumerate() {
        if byte == b'\n' || at + 1 - out == CAPACITY {
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
struct Session<'a> {
    buffer: Buffer<'a>,
    read: Vec<u8>,
    out: Vec<u8>,
    /// No write takes more than this.
    taken: usize,
}

impl<'a> Session<'a> {
    fn new(room: &'a mut [u8; CAPACITY], taken: usize) -> Self {
        Session {
            buffer: Buffer::new(room),
            read: Vec::new(),
            out: Vec::new(),
            taken,
        }
    }

    /// Writes until it wants to read, or ends.
    fn write_all(&mut self) {
        while let Step::Write(due) = self.buffer.step() {
            assert!(!due.is_empty(), "nothing to write");
            let count = due.len().min(self.taken);
            self.out.extend(&due[..count]);
            self.buffer.sent(count);
        }
    }

    /// Reads all of `text` in as many reads as it takes.
    fn read(&mut self, mut text: &[u8]) {
        while !text.is_empty() {
            let Step::Read(space) = self.buffer.step() else {
                panic!("it does not read")
            };
            assert!(
                !space.is_empty(),
                "a read of 0 bytes would look like the end"
            );
            let count = space.len().min(text.len());
            space[..count].copy_from_slice(&text[..count]);
            self.read.extend(&text[..count]);
            text = &text[count..];
            self.buffer.received(count);
            self.write_all();
        }
        let (read, out) = (self.read.len(), self.out.len());
        assert_eq!(out, due(&self.read), "bytes out after {read}");
        self.assert_space(CAPACITY - (read - out));
    }

    /// All of the buffer that has nothing pending in it is read into.
    fn assert_space(&mut self, expected: usize) {
        let Step::Read(space) = self.buffer.step() else {
            panic!("it does not read")
        };
        assert_eq!(space.len(), expected);
    }

    /// Reads letters until there is only so much space.
    fn leave(&mut self, space: usize) {
        let pending = self.read.len() - self.out.len();
        self.read(&vec![b'n'; (CAPACITY - pending).saturating_sub(space)]);
    }

    fn end(&mut self) {
        assert!(matches!(self.buffer.step(), Step::Read(_)));
        self.buffer.end();
        self.write_all();
        assert_eq!(self.buffer.step(), Step::Finish);
        assert_eq!(self.buffer.step(), Step::Finish, "and it stays so");
        assert_eq!(self.out, rot13(&self.read), "everything, once, in order");
    }
}

/// Lets `text` through in reads that end where `cuts` has a bit, and earlier
/// where the buffer has no more space. If `space` is some, then before each read
/// that follows a write, and before the first, the buffer is filled up to so much.
fn pass(text: &[u8], cuts: u32, taken: usize, space: Option<usize>) {
    // What is in the room before is nobody's.
    let mut room = [b'\n'; CAPACITY];
    let mut session = Session::new(&mut room, taken);
    let (mut read, mut written) = (0, None);
    while read < text.len() {
        if let Some(space) = space
            && written != Some(session.out.len())
        {
            session.leave(space);
            written = Some(session.out.len());
        }
        let end = (read..text.len()).find(|at| at_bit(cuts, *at));
        let end = end.map_or(text.len(), |at| at + 1);
        session.read(&text[read..end]);
        read = end;
    }
    session.end();
}

fn at_bit(bits: u32, at: usize) -> bool {
    at < 32 && bits >> at & 1 == 1
}

fn exhaust(longest: u32, space: Option<usize>) {
    for length in 0..=longest {
        for text in texts(length) {
            for cuts in 0..1 << length.saturating_sub(1) {
                pass(&text, cuts, usize::MAX, space);
            }
        }
    }
}

#[test]
fn every_text_in_every_cut() {
    exhaust(10, None);
    for text in texts(9) {
        // Clients that take one or two bytes at a time.
        pass(&text, 0, 1, None);
        pass(&text, 0, 2, None);
    }
}

#[test]
fn every_text_in_every_cut_into_every_small_space() {
    for space in [1, 2, 3, 4, 5, 8] {
        exhaust(6, Some(space));
    }
}

/// Clients that take a part only of a buffer that is full.
#[test]
fn every_text_into_a_small_space_with_short_writes() {
    for space in 1..6 {
        for length in 0..=6 {
            for text in texts(length) {
                for taken in [1000, 4095, 4096] {
                    pass(&text, 0, taken, Some(space));
                    pass(&text, u32::MAX, taken, Some(space));
                }
            }
        }
    }
}

#[test]
fn capacity_is_that_of_the_lecture_s_program() {
    assert_eq!(CAPACITY, 4097);
    for length in [4096, 4097, 4098, 8194, 10_000] {
        let mut text = vec![b'n'; length];
        pass(&text, 0, usize::MAX, None);
        text.push(b'\n');
        pass(&text, 0, 1000, None);
        text[length / 2] = b'\n';
        pass(&text, 0, usize::MAX, None);
    }
    assert_eq!(due(&[b'n'; 4096]), 0);
    assert_eq!(due(&[b'n'; 4097]), 4097);
}

/// A newline in every place of a full buffer: what is before it goes, what is
/// behind it stays and is in its place.
#[test]
fn every_place_of_the_last_newline() {
    let letters: Vec<u8> = (0..CAPACITY).map(|at| b'a' + (at % 26) as u8).collect();
    for place in (0..CAPACITY).step_by(61).chain([1, 4094, 4095, 4096]) {
        let mut text = letters.clone();
        text[place] = b'\n';
        for taken in [1 + place / 2, usize::MAX] {
            pass(&text, 0, taken, None);
            pass(&text, 1, taken, None);
        }
    }
}

/// More than there is cannot be said to have come or gone.
#[test]
fn counts_that_are_too_large_do_no_harm() {
    let mut room = [b'n'; CAPACITY];
    let mut buffer = Buffer::new(&mut room);
    buffer.sent(7);
    buffer.received(usize::MAX - CAPACITY);
    assert!(matches!(buffer.step(), Step::Write(due) if due == [b'a'; CAPACITY]));
    buffer.sent(usize::MAX);
    assert!(matches!(buffer.step(), Step::Read(space) if space.len() == CAPACITY));
    // Nor does what is not due yet go with what is.
    let Step::Read(space) = buffer.step() else {
        panic!("there is room");
    };
    space[..9].copy_from_slice(b"line\nrest");
    buffer.received(9);
    assert_eq!(buffer.step(), Step::Write(b"yvar\n"));
    buffer.sent(usize::MAX);
    assert!(matches!(buffer.step(), Step::Read(space) if space.len() == CAPACITY - 4));
    buffer.end();
    assert_eq!(buffer.step(), Step::Write(b"erfg"));
    buffer.sent(4);
    assert_eq!(buffer.step(), Step::Finish);
}
