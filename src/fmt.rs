//! Every text that the program prints, and how one is put together.

use crate::addr::SocketAddress;
use core::mem::MaybeUninit;
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
    // The others have any number that is free. `-h` and `-V` follow each other, and
    // what is behind them is an error.
    pub const START: u8 = 1;
    pub const UNCAGED: u8 = 3;
    pub const LISTENING: u8 = 33;
    pub const SIGNAL: u8 = 42;
    pub const REFUSED: u8 = 52;
    pub const EXIT: u8 = 56;
    pub const USAGE: u8 = 57;
    pub const VERSION: u8 = 58;
    pub const PORT: u8 = 59;
    pub const ACCEPT: u8 = 60;
    pub const BAD: u8 = 61;
    pub const FORK: u8 = 118;
}

/// Each text and its number, in the order of the numbers: the one that makes them
/// short, see [`TEXTS`].
///
/// In a text `#`, `$`, `%` and `"` stand for the four numbers, `@` for the address,
/// `*` for the argument, `!` for the first number as an error in words; nothing
/// may follow that.
const MESSAGES: [(u8, &str); 24] = [
    (id::START, "rot13d: start # @ %/\""),
    (id::OPEN, "rot13d: fatal: open: !"),
    (id::UNCAGED, "rot13d: no seccomp: clients are not caged"),
    (id::SIGACTION, "rot13d: fatal: sigaction: !"),
    (id::DUP, "rot13d: fatal: dup: !"),
    (id::LISTENING, "rot13d: listening on @"),
    (id::SOCKET, "rot13d: fatal: socket @: !"),
    (id::SIGNAL, "rot13d: end # signal $ %/\""),
    (id::BIND, "rot13d: fatal: bind @: !"),
    (id::LISTEN, "rot13d: fatal: listen @: !"),
    (id::GETSOCKNAME, "rot13d: fatal: getsockname: !"),
    (id::REFUSED, "rot13d: refused @"),
    (id::SETSOCKOPT, "rot13d: fatal: setsockopt @: !"),
    (id::GETSOCKOPT, "rot13d: fatal: standard input: !"),
    (id::EXIT, "rot13d: end # exit $ %/\""),
    (
        id::USAGE,
        "usage: rot13d [-1hivV] [-b backlog] [-c limit] [-C per-source] [-g gid] [-k grace]
             [-t idle] [-T lifetime] [-u uid] [host [port]]",
    ),
    (id::VERSION, "rot13d 1.0.0"),
    (id::PORT, "#"),
    (id::ACCEPT, "rot13d: accept: !"),
    (id::BAD, "rot13d: bad argument: *"),
    (id::SETGROUPS, "rot13d: fatal: setgroups: !"),
    (id::SETUID, "rot13d: fatal: setuid: !"),
    (id::FORK, "rot13d: fork: !"),
    (id::SETGID, "rot13d: fatal: setgid: !"),
];

/// Errors of the system (errno(3)) in words, in the order of their numbers; as texts
/// they follow the messages.
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
    // `^` makes this the text of every other.
    (106, "^error #"),
];

/// The number, as a text, of error 0, if there were one.
const ERROR: u8 = id::SETGID;

/// The pieces that most texts have: found by a search for what makes them short.
const COMMON: &str = "]:: [mil: ceroret1t13 [-led  usidrerot13] [-anad: !";

/// The texts as they are in the file: one run of codes, since a table of texts would
/// need relocations.
///
/// From [`PAIR`] on, a code stands for two others: those at this place in this very
/// run, counted from `PAIR`, which may stand for pairs in turn. So what is repeated is
/// stored once, where it is first needed, and there is no dictionary but [`COMMON`].
///
/// Below [`STEPS`], but for a newline, a code is a step from the number of one
/// text to that of the next. It tells them apart, and may be in a pair as well.
///
/// Everything else is printed, or stands for what is.
static TEXTS: [u8; PACKED.len] = *PACKED.bytes.first_chunk().unwrap();

/// A code that does nothing: a step of 0.
pub(crate) const NOTHING: u32 = 0;

/// The code that stands for `first` and `second`, which are in [`COMMON`].
pub(crate) const fn pair(first: u8, second: u8) -> u32 {
    let mut at = 0;
    while TEXTS[at] != first || TEXTS[at + 1] != second {
        at += 1;
    }
    (PAIR + at as u8) as i8 as u32
}

/// The first code that stands for a pair.
const PAIR: u8 = 0x80;

/// The first code that is not a step.
const STEPS: u8 = 0x20;

const PLAIN: Bytes = Bytes::EMPTY.text(COMMON).texts(&MESSAGES).texts(&ERRORS);
const PACKED: Bytes = Bytes::EMPTY.pack(&PLAIN);

/// Bytes put together by the compiler.
struct Bytes {
    bytes: [u8; 1024],
    len: usize,
}

impl Bytes {
    const EMPTY: Self = Self {
        bytes: [0; 1024],
        len: 0,
    };

    const fn push(mut self, byte: u8) -> Self {
        self.bytes[self.len] = byte;
        self.len += 1;
        self
    }

    const fn text(mut self, text: &str) -> Self {
        let mut at = 0;
        while at < text.len() {
            self = self.push(text.as_bytes()[at]);
            at += 1;
        }
        self
    }

    /// Adds `texts`, each behind the steps from the number of the one before.
    const fn texts(mut self, texts: &[(u8, &str)]) -> Self {
        let (mut number, mut at) = (0, 0);
        while at < texts.len() {
            let (id, text) = texts[at];
            assert!(number < id, "not in order");
            while number < id {
                let step = match id - number {
                    // 10 is the newline.
                    10 => 9,
                    left @ 0..STEPS => left,
                    _ => STEPS - 1,
                };
                self = self.push(step);
                number += step;
            }
            self = self.text(text);
            at += 1;
        }
        self
    }

    /// Adds `plain`: at each place the code that stands for most of what is there.
    const fn pack(mut self, plain: &Self) -> Self {
        let mut at = 0;
        while at < plain.len {
            let (mut best, mut end) = (plain.bytes[at], at + 1);
            let mut pair = 0;
            while pair + 1 < self.len && pair <= (u8::MAX - PAIR) as usize {
                let code = PAIR + pair as u8;
                let behind = self.behind(code, plain, at);
                if behind > end {
                    (best, end) = (code, behind);
                }
                pair += 1;
            }
            self = self.push(best);
            at = end;
        }
        self
    }

    /// The end of what `code` stands for, if `plain` has that at `at`, else 0.
    const fn behind(&self, code: u8, plain: &Self, at: usize) -> usize {
        if code < PAIR {
            return if plain.bytes[at] == code { at + 1 } else { 0 };
        }
        let pair = (code - PAIR) as usize;
        match self.behind(self.bytes[pair], plain, at) {
            0 => 0,
            middle => self.behind(self.bytes[pair + 1], plain, middle),
        }
    }
}

/// What a text may speak of. The numbers are in the order in which the server has them
/// anyway, so that none is copied.
pub trait Source {
    /// An argument.
    type Word: Iterator<Item = u8>;
    /// `"` is number 0, `$` is 2, `%` is 3; 1 would be `#`, which the text has itself.
    fn number(&self, at: u32) -> u32;
    /// `@`
    fn address(&self) -> &SocketAddress;
    /// `*`
    fn argument(&self) -> Option<Self::Word>;
}

/// A text under construction.
#[repr(C)]
pub struct Text<'a, S> {
    /// The number of the text to print.
    wanted: u8,
    len: u8,
    /// Where an error in words begins.
    error: u8,
    /// The number of the text that [`TEXTS`] has here.
    at: u8,
    /// For `#`.
    first: u32,
    /// For all else.
    pub(crate) source: &'a S,
    bytes: [MaybeUninit<u8>; CAPACITY],
}

impl<'a, S: Source> Text<'a, S> {
    /// To become text `id`, which is below 256.
    #[inline(always)]
    pub fn new(id: u32, first: u32, source: &'a S) -> Self {
        // The others are 0, and all four are one store.
        let [wanted, len, error, at] = id.to_le_bytes();
        Self {
            wanted,
            len,
            error,
            at,
            first,
            source,
            bytes: [MaybeUninit::uninit(); CAPACITY],
        }
    }

    /// What has been put together so far, as a line: all of it has been written.
    #[inline(always)]
    pub fn line(&mut self) -> &[MaybeUninit<u8>] {
        let len = usize::from(self.len);
        self.bytes[len].write(b'\n');
        &self.bytes[..=len]
    }

    /// Adds the text. All of them are gone through, for a pair may have the end of one
    /// and the start of the next; an error comes behind every message, on the way.
    #[inline(always)]
    pub fn add(&mut self) {
        let mut at = 0;
        loop {
            self.code(TEXTS[at].into());
            at += 1;
            if at == TEXTS.len() {
                break;
            }
        }
    }

    /// Does what one code stands for, if it is in the text to print. Its ends are
    /// calls of functions that have the same first parameter, so it needs no frame.
    ///
    /// As all that add to a text, it gives the text back, so that no caller has to
    /// keep it through the call.
    #[inline(never)]
    pub(crate) fn code(&mut self, code: u32) -> &mut Self {
        if code >= PAIR.into() {
            return self.pair(code);
        }
        if code < STEPS.into() && code != b'\n'.into() {
            self.at += code as u8;
            return self;
        }
        if code == b'^'.into() && self.len == self.error {
            self.wanted = self.at;
            return self;
        }
        if self.at != self.wanted {
            return self;
        }
        if code == b'!'.into() {
            self.error = self.len;
            // Fits: there is no error above 133.
            self.wanted = ERROR.wrapping_add(self.first as u8);
            return self;
        }
        if code == b'@'.into() {
            return SocketAddress::show(self);
        }
        if code == b'*'.into() {
            return self.argument();
        }
        if code == b'#'.into() {
            return self.number(NOTHING, self.first, DECIMAL);
        }
        let at = code.wrapping_sub(b'"'.into());
        if at < 4 {
            return self.number(NOTHING, self.source.number(at), DECIMAL);
        }
        self.byte(code)
    }

    #[inline(never)]
    fn pair(&mut self, code: u32) -> &mut Self {
        let at = usize::from(code as u8 & !PAIR);
        let second = TEXTS[at + 1];
        let first = TEXTS[at];
        self.code(first.into()).code(second.into())
    }

    #[inline(never)]
    fn argument(&mut self) -> &mut Self {
        let mut text = self;
        if let Some(bytes) = text.source.argument() {
            for byte in bytes {
                text = text.byte(byte.into());
            }
        }
        text
    }

    /// Adds one byte; past the end, in place of the last one. Ends in `code`, for if
    /// the compiler saw that the text is still the same, each caller would keep it.
    #[inline(never)]
    pub fn byte(&mut self, byte: u32) -> &mut Self {
        self.bytes[usize::from(self.len)].write(byte as u8);
        let (len, over) = self.len.overflowing_add(1);
        self.len = len.wrapping_sub(over.into());
        self.code(NOTHING)
    }

    /// Adds what `separator` stands for, a code, then `number` with the digits of
    /// `radix` (2 to 16), without leading zeros.
    #[inline(never)]
    pub fn number(&mut self, separator: u32, number: u32, radix: NonZeroU32) -> &mut Self {
        let mut digit = number % radix + u32::from(b'0');
        if digit > b'9'.into() {
            digit += u32::from(b'a' - b'0' - 10);
        }
        self.leading(separator, number / radix, radix).byte(digit)
    }

    /// What comes before the last digit. A function, for else there are two divisions.
    #[inline(never)]
    fn leading(&mut self, separator: u32, number: u32, radix: NonZeroU32) -> &mut Self {
        if number != 0 {
            self.number(separator, number, radix)
        } else {
            self.code(separator)
        }
    }
}
