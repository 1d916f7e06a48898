//! The command line: from arguments to a checked configuration.

use crate::addr::{self, SocketAddress};
use crate::fmt::id;

/// The most clients at once that `-c` may ask for.
pub const MOST_CLIENTS: u32 = 30_000;

/// The option letters, in the order of [`Config::options`]: first those that take
/// no argument, then those that print a text, in the order of their ids, then
/// those that take a number.
const LETTERS: &[u8; 13] = b"1ivhVCcbktTug";
const FIRST_TEXT: usize = 3;
const FIRST_NUMBER: usize = 5;
/// `-c` and `-C` come first.
const FIRST_UNLIMITED: usize = 7;
const CLIENTS: usize = 6;
const BACKLOG: usize = 7;
const IDLE: usize = 9;
const USER: usize = 11;
const GROUP: usize = 12;

/// `-u` or `-g` was not given.
pub const KEEP: u32 = u32::MAX;

/// What the command line asks for, every part checked.
#[repr(C)]
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Config<W> {
    /// The argument that is wrong.
    pub wrong: Option<W>,
    options: [u32; LETTERS.len()],
}

impl<W> Config<W> {
    /// Nothing known yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            wrong: None,
            options: [0; LETTERS.len()],
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
        self.options[5]
    }
    /// `-c`: clients at once, 1 to [`MOST_CLIENTS`].
    pub fn clients(&self) -> u32 {
        self.options[6]
    }
    /// `-b`: clients that may wait for accept.
    pub fn backlog(&self) -> u32 {
        self.options[7]
    }
    /// `-k`: seconds that clients get on termination; 0 is no limit.
    pub fn grace(&self) -> u32 {
        self.options[8]
    }
    /// `-t`: seconds after which an idle client is closed; 0 is never.
    pub fn idle(&self) -> u32 {
        self.options[9]
    }
    /// `-T`: seconds after which any client is closed; 0 is never.
    pub fn lifetime(&self) -> u32 {
        self.options[10]
    }
    /// `-u`: user to become, or [`KEEP`].
    pub fn user(&self) -> u32 {
        self.options[11]
    }
    /// `-g`: group to become, or [`KEEP`].
    pub fn group(&self) -> u32 {
        self.options[12]
    }
}

/// Parses the arguments (without the program's name) as getopt(3) would.
///
/// Returns the text to print if there is nothing to serve, else 0.
#[inline(never)]
pub fn parse<W: Iterator<Item = u8> + Clone>(
    config: &mut Config<W>,
    host: &mut SocketAddress,
    mut args: impl Iterator<Item = W>,
) -> u8 {
    config.options[CLIENTS] = 256;
    config.options[BACKLOG] = 1024;
    config.options[IDLE] = 600;
    config.options[USER] = KEEP;
    config.options[GROUP] = KEEP;
    host.set_port(43211);
    let mut options = true;
    loop {
        config.wrong = args.next();
        let Some(word) = &config.wrong else { return 0 };
        let mut rest = word.clone();
        if !options || rest.next() != Some(b'-') {
            break;
        }
        let Some(mut letter) = rest.next() else { break };
        if letter == b'-' && rest.clone().next().is_none() {
            options = false;
            continue;
        }
        loop {
            let Some(at) = LETTERS.iter().position(|&other| other == letter) else {
                return id::BAD;
            };
            if at >= FIRST_NUMBER {
                if rest.clone().next().is_none() {
                    rest = match args.next() {
                        Some(next) => next,
                        None => return id::BAD,
                    }
                }
                config.wrong = Some(rest.clone());
                let value = addr::number(rest);
                if value < 0
                    || at < FIRST_UNLIMITED && (value as u32).wrapping_sub(1) >= MOST_CLIENTS
                {
                    return id::BAD;
                }
                config.options[at] = value as u32;
                break;
            }
            if at >= FIRST_TEXT {
                return id::USAGE + (at - FIRST_TEXT) as u8;
            }
            config.options[at] = 1;
            letter = match rest.next() {
                Some(next) => next,
                None => break,
            }
        }
    }
    let Some(word) = &config.wrong else { return 0 };
    let mut zero = word.clone();
    if (zero.next() != Some(b'0') || zero.next().is_some()) && !host.parse(word.clone()) {
        return id::BAD;
    }
    config.wrong = args.next();
    let Some(word) = &config.wrong else { return 0 };
    let Ok(port) = u16::try_from(addr::number(word.clone())) else {
        return id::BAD;
    };
    host.set_port(port);
    config.wrong = args.next();
    if config.wrong.is_none() { 0 } else { id::BAD }
}
