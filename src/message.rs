//! One line of text, put together in a fixed buffer.

use rustix::io::Errno;

/// Bytes that a line may have, its newline included. What does not fit is cut.
pub const CAPACITY: usize = 256;

/// A line that is being put together.
pub struct Line {
    bytes: [u8; CAPACITY],
    length: usize,
}

/// What a line can be put together from.
pub trait Show {
    /// Adds it to `line`.
    fn show(&self, line: &mut Line);
}

impl Line {
    /// An empty line.
    #[allow(clippy::new_without_default, reason = "only ever made by name")]
    pub const fn new() -> Self {
        Self { bytes: [0; CAPACITY], length: 0 }
    }

    /// Adds one byte, if there is room for it and for the newline.
    pub fn push(&mut self, byte: u8) {
        let [places @ .., _newline] = &mut self.bytes;
        if let Some(place) = places.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// Adds `number` in hexadecimal, without leading zeros.
    pub fn hexadecimal(&mut self, number: u16) {
        for shift in [12, 8, 4, 0] {
            let rest = number >> shift;
            if rest > 0 || shift == 0 {
                let digit = (rest & 15) as u8;
                self.push(digit + if digit < 10 { b'0' } else { b'a' - 10 });
            }
        }
    }

    /// Ends the line with a newline and returns all of it.
    pub fn finish(&mut self) -> &[u8] {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = b'\n';
        }
        self.bytes.get(..=self.length).unwrap_or_default()
    }
}

/// Text of the program's own.
impl Show for str {
    fn show(&self, line: &mut Line) {
        self.bytes().for_each(|byte| line.push(byte));
    }
}

/// A word of the command line. What could break the line or the terminal is
/// shown as `?`.
impl Show for [u8] {
    fn show(&self, line: &mut Line) {
        for &byte in self {
            let printable = byte == b' ' || byte.is_ascii_graphic();
            line.push(if printable { byte } else { b'?' });
        }
    }
}

/// In decimal, without leading zeros.
impl Show for u32 {
    fn show(&self, line: &mut Line) {
        if *self >= 10 {
            (self / 10).show(line);
        }
        line.push(b'0' + (self % 10) as u8);
    }
}

/// A process, or how one ended; these are never negative.
impl Show for i32 {
    fn show(&self, line: &mut Line) {
        self.unsigned_abs().show(line);
    }
}

/// An error of the system in words, errno(3); by its number, if it is one that a
/// user hardly ever sees.
impl Show for Errno {
    fn show(&self, line: &mut Line) {
        let words = match *self {
            Errno::PERM => "not permitted",
            Errno::AGAIN => "temporarily unavailable",
            Errno::NOMEM => "out of memory",
            Errno::ACCESS => "permission denied",
            Errno::INVAL => "invalid argument",
            Errno::NFILE => "file table full",
            Errno::MFILE => "too many open files",
            Errno::NOTSOCK => "not a socket",
            Errno::AFNOSUPPORT => "address family not supported",
            Errno::ADDRINUSE => "address in use",
            Errno::ADDRNOTAVAIL => "address not available",
            Errno::NOBUFS => "no buffer space",
            other => {
                "error ".show(line);
                return other.raw_os_error().show(line);
            }
        };
        words.show(line);
    }
}
