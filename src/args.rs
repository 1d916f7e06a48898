//! The command line: from words to a checked [`Config`], or to a [`UsageError`].

use crate::address;
use crate::usage::{PORT, Range, UsageError};
use core::net::Ipv6Addr;
use core::time::Duration;

/// Most clients at once that `-c` may ask for.
pub const MOST_CLIENTS: u32 = 30_000;

/// What the command line asks for, every part checked.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Config {
    /// `-1`: print the port on standard output once listening.
    pub print_port: bool,
    /// `-i`: standard input is the socket.
    pub inherit: bool,
    /// `-v`: log each client's start and end.
    pub verbose: bool,
    /// `-b`: connections that may wait to be accepted, listen(2).
    pub backlog: u32,
    /// `-c`: most clients at once.
    pub max_clients: u32,
    /// `-C`: most clients at once from one address.
    pub max_per_source: Option<u32>,
    /// `-g`: group to become.
    pub group: Option<u32>,
    /// `-k`: seconds that clients get on termination; 0 is no limit.
    pub grace: u32,
    /// `-t`: seconds after which an idle client is closed; 0 is never.
    pub idle: u32,
    /// `-T`: seconds after which any client is closed; 0 is never.
    pub lifetime: u32,
    /// `-u`: user to become.
    pub user: Option<u32>,
    /// The address to listen on; `None` is every one, IPv6 and IPv4.
    pub host: Option<Ipv6Addr>,
    /// The port to listen on; with 0 the kernel chooses.
    pub port: u16,
}

impl Config {
    /// What holds if the command line is empty.
    pub const DEFAULT: Self = Self {
        print_port: false,
        inherit: false,
        verbose: false,
        backlog: 1024,
        max_clients: 256,
        max_per_source: None,
        group: None,
        grace: 0,
        idle: 600,
        lifetime: 0,
        user: None,
        host: None,
        port: 43211,
    };
}

/// How many parts of the idle limit a client may let pass, one after the other.
///
/// The kernel's timeouts (`SO_RCVTIMEO`, `SO_SNDTIMEO`) do not see a client that
/// only takes bytes, so a session looks at the end of each part whether it took any.
pub const IDLE_PARTS: u32 = 8;

/// The timeout for one of [`IDLE_PARTS`] parts of `idle` seconds; none of 0.
pub const fn idle_part(idle: u32) -> Option<Duration> {
    if idle == 0 {
        return None;
    }
    let nanoseconds = idle % IDLE_PARTS * (1_000_000_000 / IDLE_PARTS);
    Some(Duration::new((idle / IDLE_PARTS) as u64, nanoseconds))
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Serve as the configuration says.
    Serve,
    /// `-h`: print the usage.
    Help,
    /// `-V`: print the version.
    Version,
}

/// Clients.
const COUNT: Range = &(1..=MOST_CLIENTS);
/// A backlog, or seconds.
const INTEGER: Range = &(0..=i32::MAX as u32);
/// A user or a group. The last number is none (setresuid(2)).
const ID: Range = &(0..=u32::MAX - 1);

/// Parses the words after the program's name into `config`, as getopt(3) would:
/// options may stand together (`-1v`), a number may follow its letter or be the next
/// word, `--` ends the options.
pub fn parse<'a>(
    config: &mut Config,
    mut words: impl Iterator<Item = &'a [u8]>,
) -> Result<Invocation, UsageError<'a>> {
    let mut operand = None;
    while let Some(word) = words.next() {
        match word {
            b"--" => operand = words.next(),
            [b'-', letters @ ..] if !letters.is_empty() => {
                match parse_letters(config, letters, &mut words)? {
                    Invocation::Serve => continue,
                    other => return Ok(other),
                }
            }
            _ => operand = Some(word),
        }
        break;
    }
    if let Some(host) = operand {
        if host != b"0" {
            config.host = address::parse(host);
            if config.host.is_none() {
                return Err(UsageError::Host(host));
            }
        }
        if let Some(port) = words.next() {
            config.port = parse_number(port, PORT).ok_or(UsageError::Port(port))? as u16;
        }
        if let Some(word) = words.next() {
            return Err(UsageError::TooMany(word));
        }
    }
    Ok(Invocation::Serve)
}

/// Parses the letters of one word of options, and the number that the last of
/// them may take. `-h` and `-V` end it.
fn parse_letters<'a>(
    config: &mut Config,
    mut letters: &'a [u8],
    words: &mut impl Iterator<Item = &'a [u8]>,
) -> Result<Invocation, UsageError<'a>> {
    while let Some((&letter, rest)) = letters.split_first() {
        letters = rest;
        match letter {
            b'1' => config.print_port = true,
            b'i' => config.inherit = true,
            b'v' => config.verbose = true,
            b'h' => return Ok(Invocation::Help),
            b'V' => return Ok(Invocation::Version),
            _ => {
                let option = number_option(config, letter);
                let (range, place) = option.ok_or(UsageError::UnknownOption(letter))?;
                // Its number is the rest of the word, or the next one.
                let own = core::mem::take(&mut letters);
                let value = if own.is_empty() { words.next() } else { Some(own) };
                let number = value.and_then(|value| parse_number(value, range));
                *place = number.ok_or(UsageError::OptionValue(letter, range, value))?;
            }
        }
    }
    Ok(Invocation::Serve)
}

/// What the number of the option with this letter may be, and where it goes.
fn number_option(config: &mut Config, letter: u8) -> Option<(Range, &mut u32)> {
    Some(match letter {
        b'b' => (INTEGER, &mut config.backlog),
        b'c' => (COUNT, &mut config.max_clients),
        b'C' => (COUNT, config.max_per_source.insert(0)),
        b'g' => (ID, config.group.insert(0)),
        b'k' => (INTEGER, &mut config.grace),
        b't' => (INTEGER, &mut config.idle),
        b'T' => (INTEGER, &mut config.lifetime),
        b'u' => (ID, config.user.insert(0)),
        _ => return None,
    })
}

/// A decimal number in `range`.
fn parse_number(word: &[u8], range: Range) -> Option<u32> {
    address::parse_number(word, 10).filter(|number| range.contains(number))
}
