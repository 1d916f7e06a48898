//! Messages: one line, one write, on standard error, which never blocks the server.
//!
//! A message that can be written is written; one that cannot be at once is dropped.
//! How to know that depends on what standard error is, see [`Sink`].

use crate::sys::{self, STDERR, SYSTEM_REFUSED};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use rot13d_pure::address::Address;
use rot13d_pure::message::{Line, Show};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::net::sockopt;
use rustix::{fs, io, net, pipe, stdio, system, termios};

/// Writes one message: `log!("start ", process, " ", address)`.
macro_rules! log {
    ($($part:expr),+) => {{
        use rot13d_pure::message::Show as _;
        let mut line = $crate::log::line();
        $($part.show(&mut line);)+
        $crate::log::write(&mut line);
    }};
}

pub(crate) use log;

/// The start of every message.
pub fn line() -> Line {
    let mut line = Line::new();
    "rot13d: ".show(&mut line);
    line
}

/// Ends the server before it serves: the system has refused `call`, which was about
/// `address` if that is some.
pub fn fatal(call: &str, address: Option<&Address>, error: Errno) -> ! {
    let mut line = line();
    "fatal: ".show(&mut line);
    call.show(&mut line);
    if let Some(address) = address {
        " ".show(&mut line);
        address.show(&mut line);
    }
    ": ".show(&mut line);
    error.show(&mut line);
    write(&mut line);
    sys::exit(SYSTEM_REFUSED)
}

/// What is in the `result` of `call`. An error is [`fatal`].
pub fn must<T>(call: &str, address: Option<&Address>, result: Result<T>) -> T {
    result.unwrap_or_else(|error| fatal(call, address, error))
}

/// How a message is written so that the write cannot block.
#[repr(u8)]
enum Sink {
    /// By a plain write: a file, a device, or what we have opened anew in non-blocking mode.
    Direct,
    /// With `MSG_DONTWAIT`: a socket.
    Socket,
    /// After asking poll(2): a pipe that cannot be opened anew.
    Polled,
    /// Not at all: a terminal that cannot be opened anew. It may say that it is
    /// writable and block all the same.
    Closed,
}

/// The [`Sink`] of standard error.
static SINK: AtomicU8 = AtomicU8::new(Sink::Direct as u8);

/// Looks at what standard error is.
///
/// The open file description that we inherit may be shared with others, so it is
/// never made non-blocking. A pipe or a terminal is opened anew instead, and the
/// new description takes the place of the inherited one. Not so a file, which has
/// its position in the description, and never blocks.
pub fn open() {
    let is_socket = sockopt::socket_type(STDERR).is_ok();
    let is_terminal = termios::isatty(STDERR);
    let is_pipe = pipe::fcntl_getpipe_size(STDERR).is_ok();
    let sink = if is_socket {
        Sink::Socket
    } else if (is_pipe || is_terminal) && reopen().is_err() {
        if is_pipe { Sink::Polled } else { Sink::Closed }
    } else {
        Sink::Direct
    };
    SINK.store(sink as u8, Relaxed);
}

/// Opens standard error anew, for writing alone.
fn reopen() -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if fs::fcntl_getfl(STDERR)? & OFlags::ACCMODE == OFlags::RDONLY {
        // It was not given to us to be written to.
        return Ok(());
    }
    let mut result = fs::open(c"/proc/self/fd/2", flags, Mode::empty());
    if result.is_err() && termios::tcgetsid(STDERR).is_ok() {
        // No /proc, but it is the controlling terminal (tty(4)).
        result = fs::open(c"/dev/tty", flags, Mode::empty());
    }
    stdio::dup2_stderr(result?)
}

/// Writes a line to standard error, unless that would block.
pub fn write(line: &mut Line) {
    write_text(line.finish());
}

/// Writes `text` to standard error, unless that would block.
pub fn write_text(text: &[u8]) {
    let sink = SINK.load(Relaxed);
    if sink == Sink::Socket as u8 {
        let _ = net::send(STDERR, text, net::SendFlags::DONTWAIT);
    } else if sink == Sink::Direct as u8
        || sink == Sink::Polled as u8 && sys::wait::is_writable(STDERR).unwrap_or(false)
    {
        let _ = io::write(STDERR, text);
    }
}

/// A message that may come again and again: it is written once a second at most.
#[derive(Default)]
pub struct Recurring {
    /// The second of the last one, since the machine was booted.
    last: Option<u32>,
    passed_over: u32,
}

impl Recurring {
    /// Whether to write it now; then with this at its end.
    pub fn due(&mut self) -> Option<AndMore> {
        let now = Some(system::sysinfo().uptime as u32);
        if self.last == now {
            self.passed_over += 1;
            return None;
        }
        self.last = now;
        Some(AndMore(core::mem::take(&mut self.passed_over)))
    }
}

/// How many messages like this one were passed over before it.
pub struct AndMore(u32);

impl Show for AndMore {
    fn show(&self, line: &mut Line) {
        if self.0 > 0 {
            " and ".show(line);
            self.0.show(line);
            " more".show(line);
        }
    }
}
