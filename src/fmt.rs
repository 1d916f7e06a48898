//! Every text that the program prints, and how one is put together.

use crate::addr::SocketAddress;
use core::num::NonZeroU32;

/// Radix 10.
pub const DECIMAL: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Radix 16.
pub const HEXADECIMAL: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// Bytes that a message may have; what does not fit is cut, never overrun.
pub const CAPACITY: usize = 256;

/// The texts, by number.
#[allow(missing_docs)]
pub mod id {
    pub const USAGE: u8 = 80;
    pub const VERSION: u8 = 81;
    pub const BAD: u8 = 82;
    pub const LISTENING: u8 = 83;
    pub const PORT: u8 = 84;
    pub const START: u8 = 85;
    pub const EXIT: u8 = 86;
    pub const SIGNAL: u8 = 87;
    pub const REFUSED: u8 = 88;
    pub const ACCEPT: u8 = 89;
    pub const FORK: u8 = 90;
    pub const UNCAGED: u8 = 91;
    // A call without which the server cannot start: its number on x86_64,
    // where the one register then says both (see `sys::need`).
    pub const OPEN: u8 = 2;
    pub const SIGACTION: u8 = 13;
    pub const DUP: u8 = 32;
    pub const SOCKET: u8 = 41;
    pub const BIND: u8 = 49;
    pub const LISTEN: u8 = 50;
    pub const GETSOCKNAME: u8 = 51;
    pub const SETSOCKOPT: u8 = 54;
    pub const GETSOCKOPT: u8 = 55;
    pub const SETGROUPS: u8 = 116;
    pub const SETUID: u8 = 117;
    pub const SETGID: u8 = 119;
}

/// Each text and its number.
///
/// In a text `#`, `$`, `%` and `&` stand for the four numbers, `!` for the first as
/// an error in words, `@` for the address, `*` for the argument.
const MESSAGES: [(u8, &str); 24] = [
    (
        id::USAGE,
        "usage: rot13d [-1hivV] [-b backlog] [-c limit] [-C per-source] [-g gid] [-k grace]
             [-t idle] [-T lifetime] [-u uid] [host [port]]",
    ),
    (id::VERSION, "rot13d 1.0.0"),
    (id::BAD, "rot13d: bad argument: *"),
    (id::LISTENING, "rot13d: listening on @"),
    (id::PORT, "$"),
    (id::START, "rot13d: start # @ %/&"),
    (id::EXIT, "rot13d: end # exit $ %/&"),
    (id::SIGNAL, "rot13d: end # signal $ %/&"),
    (id::REFUSED, "rot13d: refused @"),
    (id::ACCEPT, "rot13d: accept: !"),
    (id::FORK, "rot13d: fork: !"),
    (id::UNCAGED, "rot13d: no seccomp: clients are not caged"),
    (id::SIGACTION, "rot13d: fatal: sigaction: !"),
    (id::OPEN, "rot13d: fatal: open: !"),
    (id::GETSOCKOPT, "rot13d: fatal: standard input: !"),
    (id::DUP, "rot13d: fatal: dup: !"),
    (id::SOCKET, "rot13d: fatal: socket @: !"),
    (id::SETSOCKOPT, "rot13d: fatal: setsockopt @: !"),
    (id::BIND, "rot13d: fatal: bind @: !"),
    (id::LISTEN, "rot13d: fatal: listen @: !"),
    (id::GETSOCKNAME, "rot13d: fatal: getsockname: !"),
    (id::SETGROUPS, "rot13d: fatal: setgroups: !"),
    (id::SETGID, "rot13d: fatal: setgid: !"),
    (id::SETUID, "rot13d: fatal: setuid: !"),
];

/// Errors of the system (errno(3)) in words; the last stands for every other.
const ERRORS: [(u8, &str); 13] = [
    (1, "not permitted"),
    (11, "temporarily unavailable"),
    (12, "out of memory"),
    (13, "permission denied"),
    (22, "invalid argument"),
    (23, "file table full"),
    (24, "too many open files"),
    (88, "not a socket"),
    (97, "address family not supported"),
    (98, "address in use"),
    (99, "address not available"),
    (105, "no buffer space"),
    (OTHER, "error #"),
];

/// No error has this number.
const OTHER: u8 = 127;

/// What several texts have in common: stored once, and called by its number,
/// a control character. The longer first.
const PHRASES: [(u8, &str); 14] = [
    (0x0e, "rot13d: fatal: set"),
    (0x0f, "rot13d: fatal: "),
    (0x10, "rot13d: "),
    (0x11, "rot13d"),
    (0x12, "available"),
    (0x13, "d argument"),
    (0x14, "address "),
    (0x15, "socket"),
    (0x19, "listen"),
    (0x1a, "] [-"),
    (0x1b, " %/&"),
    (0x1d, "not "),
    (0x1e, " @: !"),
    (0x1f, ": !"),
];

/// The texts as they are in the file, each after its number with the top bit set. One
/// run of bytes, since a table of texts would need relocations.
static TEXTS: [u8; PACKED.1] = *PACKED.0.first_chunk().unwrap();

/// Where the errors begin, which have numbers of their own.
const FIRST_ERROR: usize = pack_all(&MESSAGES, pack_all(&PHRASES, EMPTY)).1;

const EMPTY: ([u8; 1024], usize) = ([0; 1024], 0);
const PACKED: ([u8; 1024], usize) =
    pack_all(&ERRORS, pack_all(&MESSAGES, pack_all(&PHRASES, EMPTY)));

const fn pack_all(texts: &[(u8, &str)], mut packed: ([u8; 1024], usize)) -> ([u8; 1024], usize) {
    let mut at = 0;
    while at < texts.len() {
        packed = pack(packed, texts[at]);
        at += 1;
    }
    packed
}

/// Adds one text, its phrases replaced.
const fn pack(
    (mut bytes, mut len): ([u8; 1024], usize),
    (id, text): (u8, &str),
) -> ([u8; 1024], usize) {
    bytes[len] = id | 0x80;
    len += 1;
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        (bytes[len], rest) = (*first, behind);
        let mut at = 0;
        while at < PHRASES.len() {
            let (code, phrase) = PHRASES[at];
            if let Some(behind) = behind_phrase(text.as_bytes(), rest.len() + 1, phrase.as_bytes())
                && code != id
            {
                (bytes[len], rest) = (code, behind);
                break;
            }
            at += 1;
        }
        len += 1;
    }
    (bytes, len)
}

/// What follows `phrase` at the start of the last `left` bytes of `text`.
const fn behind_phrase<'a>(text: &'a [u8], left: usize, phrase: &[u8]) -> Option<&'a [u8]> {
    let (_, mut rest) = text.split_at(text.len() - left);
    let mut at = 0;
    while at < phrase.len() {
        match rest {
            [first, behind @ ..] if *first == phrase[at] => rest = behind,
            _ => return None,
        }
        at += 1;
    }
    Some(rest)
}

/// The number of the last text, which stands for every one that is missing.
const LAST: u8 = OTHER | 0x80;

/// A text under construction, and what it may speak of.
#[repr(C)]
pub struct Text<'a, W> {
    len: u8,
    /// Of numbers: 2 to 16.
    pub radix: NonZeroU32,
    /// For `#`, `$`, `%`, `&`.
    numbers: [u32; 4],
    /// For `@`.
    address: &'a SocketAddress,
    /// For `*`.
    argument: Option<W>,
    bytes: [u8; CAPACITY],
}

impl<'a, W: Iterator<Item = u8> + Clone> Text<'a, W> {
    /// An empty text.
    #[inline(always)]
    pub fn new(numbers: [u32; 4], address: &'a SocketAddress, argument: Option<W>) -> Self {
        Self {
            len: 0,
            radix: DECIMAL,
            numbers,
            address,
            argument,
            bytes: [0; CAPACITY],
        }
    }

    /// What has been put together so far, as a line.
    #[inline(always)]
    pub fn line(&mut self) -> &[u8] {
        let len = usize::from(self.len);
        self.bytes[len] = b'\n';
        &self.bytes[..=len]
    }

    /// Adds text `id`, or the last one if there is none.
    #[inline(always)]
    pub fn add(&mut self, id: u32) {
        self.put(&TEXTS, id);
    }

    #[inline(never)]
    fn put(&mut self, texts: &'static [u8], id: u32) {
        let mut texts = texts.iter();
        for &mark in texts.by_ref() {
            if u32::from(mark) == id + 0x80 || mark == LAST {
                break;
            }
        }
        for &byte in texts {
            match byte {
                0x80.. => break,
                0x0e..=0x1f => self.add(byte.into()),
                b'!' => self.put(&TEXTS[FIRST_ERROR..], self.numbers[0]),
                b'#'..=b'&' => self.digits(self.numbers[usize::from(byte - b'#')]),
                b'@' => self.address.show(self),
                b'*' => {
                    if let Some(argument) = self.argument.clone() {
                        for byte in argument {
                            self.byte(byte);
                        }
                    }
                }
                _ => self.byte(byte),
            }
        }
    }

    /// Adds one byte; past the end, in place of the last one.
    #[inline(never)]
    pub fn byte(&mut self, byte: u8) {
        self.bytes[usize::from(self.len)] = byte;
        self.len += u8::from(self.len != u8::MAX);
    }

    /// Adds `number` with the digits of [`Text::radix`], without leading zeros.
    #[inline(never)]
    pub fn digits(&mut self, number: u32) {
        if number >= self.radix.get() {
            self.digits(number / self.radix);
        }
        let mut digit = (number % self.radix) as u8 + b'0';
        if digit > b'9' {
            digit += b'a' - b'9' - 1;
        }
        self.byte(digit);
    }

    /// Adds a separator, unless that is 0, then `number`.
    #[inline(never)]
    pub fn field(&mut self, separator: u8, number: u16) {
        if separator != 0 {
            self.byte(separator);
        }
        self.digits(number.into());
    }
}
