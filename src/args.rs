//! The command line: from arguments to a checked configuration.

use crate::addr::{SocketAddress, first};
use crate::fmt::id;

/// The most clients at once that `-c` may ask for.
pub const MOST_CLIENTS: u32 = 30_000;

/// The option letters, in the order of [`Config::options`]: first those that take
/// no argument, then those that take a number, `-c` the last (see
/// [`crate::fmt::Source`]), then those that print a text, in the order of their ids.
const LETTERS: &[u8; 13] = b"1ivbktTugCchV";
const FIRST_NUMBER: u32 = 3;
/// `-C` and `-c`.
const FIRST_LIMITED: u32 = 9;
const FIRST_TEXT: u32 = 11;
const CLIENTS: usize = 10;
const BACKLOG: usize = 3;
const IDLE: usize = 5;
const USER: usize = 7;
const GROUP: usize = 8;

/// What a word may be for beside an option: negative, for a shorter test.
const HOST: u32 = PORT - 1;
const PORT: u32 = NOTHING - 1;
const NOTHING: u32 = u32::MAX;

/// `-u` or `-g` was not given.
pub const KEEP: u32 = u32::MAX;

/// What the command line asks for, every part checked.
#[repr(C)]
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Config<W> {
    /// The argument that is wrong.
    pub wrong: Option<W>,
    /// The last one is not used: on 64 bits there is a gap anyway.
    options: [u32; FIRST_TEXT as usize + 1],
}

impl<W> Config<W> {
    /// Nothing known yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            wrong: None,
            options: [0; FIRST_TEXT as usize + 1],
        }
    }
    /// `-1`: print the port once listening.
    pub fn ready(&self) -> bool {
        self.options[0] != 0
    }
    /// `-i`: standard input is the socket.
    pub fn inherit(&self) -> bool {
        self.options[1] != 0
    }
    /// `-v`: log each client's start and end.
    pub fn verbose(&self) -> bool {
        self.options[2] != 0
    }
    /// `-C`: clients at once from one address; 0 is no limit.
    pub fn per_source(&self) -> u32 {
        self.options[9]
    }
    /// `-c`: clients at once, 1 to [`MOST_CLIENTS`].
    pub fn clients(&self) -> u32 {
        self.options[10]
    }
    /// `-b`: clients that may wait for accept.
    pub fn backlog(&self) -> u32 {
        self.options[3]
    }
    /// `-k`: seconds that clients get on termination; 0 is no limit.
    pub fn grace(&self) -> u32 {
        self.options[4]
    }
    /// `-t`: seconds after which an idle client is closed; 0 is never.
    pub fn idle(&self) -> u32 {
        self.options[5]
    }
    /// `-T`: seconds after which any client is closed; 0 is never.
    pub fn lifetime(&self) -> u32 {
        self.options[6]
    }
    /// `-u`: user to become, or [`KEEP`].
    pub fn user(&self) -> u32 {
        self.options[7]
    }
    /// `-g`: group to become, or [`KEEP`].
    pub fn group(&self) -> u32 {
        self.options[8]
    }
}

/// Parses the arguments (without the program's name) as getopt(3) would.
///
/// Returns the text to print if there is nothing to serve, else 0.
#[inline(always)]
pub fn parse<W: Iterator<Item = u8> + Clone>(
    config: &mut Config<W>,
    host: &mut SocketAddress,
    args: &mut impl Iterator<Item = W>,
) -> u8 {
    config.options[CLIENTS] = 256;
    config.options[BACKLOG] = 1024;
    config.options[IDLE] = 600;
    config.options[USER] = KEEP;
    config.options[GROUP] = KEEP;
    host.set_port(43211);
    // What the next word is for: the number of an option, the host, the port,
    // nothing; an option or the host if this is no more than an option without a
    // number.
    let mut at = 0u32;
    'word: loop {
        let Some(word) = args.next() else {
            let number = at as i32 >= FIRST_NUMBER as i32;
            return if number { id::BAD } else { 0 };
        };
        let mut rest = word.clone();
        config.wrong = Some(word.clone());
        if at < FIRST_NUMBER {
            at = HOST;
            // A `-` alone is no option, nor a host.
            if rest.next() == Some(b'-')
                && let Some(mut letter) = rest.next()
            {
                if first(&rest) == 0 && letter == b'-' {
                    continue;
                }
                loop {
                    at = 0;
                    while LETTERS[at as usize] != letter {
                        at += 1;
                        if at == LETTERS.len() as u32 {
                            return id::BAD;
                        }
                    }
                    if at >= FIRST_TEXT {
                        return (at - FIRST_TEXT) as u8 + id::USAGE;
                    }
                    // A number takes the place of it.
                    let option = &mut config.options[at as usize];
                    *option = option.wrapping_add(1);
                    letter = first(&rest);
                    if letter == 0 {
                        continue 'word;
                    }
                    if at >= FIRST_NUMBER {
                        break;
                    }
                    rest.next();
                }
                config.wrong = Some(rest.clone());
            }
        }
        if at == HOST {
            if !host.parse(word) {
                return id::BAD;
            }
            at = PORT;
            continue;
        }
        let mut value = 0i32;
        loop {
            let digit = first(&rest).wrapping_sub(b'0');
            if digit > 9 {
                return id::BAD;
            }
            rest.next();
            let tens = value.checked_mul(10);
            let Some(sum) = tens.and_then(|tens| tens.checked_add(digit.into())) else {
                return id::BAD;
            };
            value = sum;
            if first(&rest) == 0 {
                break;
            }
        }
        let value = value as u32;
        if at < FIRST_TEXT {
            if at >= FIRST_LIMITED && !(1..=MOST_CLIENTS).contains(&value) {
                return id::BAD;
            }
            config.options[at as usize] = value;
            at = 0;
        } else {
            if at == NOTHING || !host.set_port(value) {
                return id::BAD;
            }
            at = NOTHING;
        }
    }
}
