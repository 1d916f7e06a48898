//! How the program is called, and what is wrong with how it was called.

use crate::message::{Line, Show};
use core::ops::RangeInclusive;
use core::slice;

/// What `-h` prints, and what follows a usage error.
pub const USAGE: &str = "\
usage: rot13d [-1hivV] [-b backlog] [-c limit] [-C per-source] [-g gid] [-k grace]
             [-t idle] [-T lifetime] [-u uid] [host [port]]
";

/// What a number may be.
pub type Range = &'static RangeInclusive<u32>;

/// Ports.
pub const PORT: Range = &(0..=u16::MAX as u32);

/// What is wrong with the command line. Shown, it says what would be right.
#[derive(Debug, PartialEq, Eq)]
pub enum UsageError<'a> {
    /// There is no option with this letter.
    UnknownOption(u8),
    /// The option's number is not there, is none, or is not in the range.
    OptionValue(u8, Range, Option<&'a [u8]>),
    /// This is no numeric address.
    Host(&'a [u8]),
    /// This is no port.
    Port(&'a [u8]),
    /// This comes after the port.
    TooMany(&'a [u8]),
}

impl Show for UsageError<'_> {
    fn show(&self, line: &mut Line) {
        let (text, word) = match self {
            Self::UnknownOption(letter) => ("unknown option -", slice::from_ref(letter)),
            Self::OptionValue(letter, range, value) => {
                "-".show(line);
                line.push(*letter);
                return show_range(range, *value, line);
            }
            Self::Host(word) => ("no IPv4 or IPv6 address: ", *word),
            Self::Port(word) => {
                "port".show(line);
                return show_range(PORT, Some(word), line);
            }
            Self::TooMany(word) => ("one argument too many: ", *word),
        };
        text.show(line);
        word.show(line);
    }
}

/// What a number may be, and what it was.
fn show_range(range: Range, given: Option<&[u8]>, line: &mut Line) {
    " takes a number from ".show(line);
    range.start().show(line);
    " to ".show(line);
    range.end().show(line);
    if let Some(given) = given {
        ", not ".show(line);
        given.show(line);
    }
}
