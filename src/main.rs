//! `rot13d`: a TCP server, one process per connection, that sends each
//! client's lines back in ROT13. No libc, no heap, one page of 4,096 bytes.
//!
//! The parent listens, accepts and forks ([`server`]), knows its clients
//! ([`clients`]), reaps them and ends in order ([`signals`]), and says so
//! ([`log`]). A child serves one client to its end ([`session`]). All of them
//! run in one cage ([`cage`]). What is pure is in the library, what is unsafe
//! in [`sys`], but for the vectors of the cipher.
//!
//! Exit codes, as in the ucspi family: 0 asked to end, 100 wrong usage, 111
//! the system refused something needed to start.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod cage;
mod clients;
mod log;
mod server;
mod session;
mod signals;
mod sys;

use core::sync::atomic::Ordering::Relaxed;
use rot13d_pure::args::KEEP;
use rot13d_pure::fmt::id;
use sys::State;

/// The descriptor of the listener, always: 0 to 2 are taken before it is opened.
pub const LISTENER: u32 = 3;

/// From the parsed command line (`stop`: see [`rot13d_pure::args::parse`]) to the
/// accept loop. No signal is handled in between: a server that is told to end
/// while it starts ends as soon as it serves.
#[inline(always)]
fn serve(state: &State, stop: u8) -> ! {
    if stop != 0 {
        explain(stop);
    }
    sys::hold(sys::ALL);
    sys::stdio();
    sys::actions();
    server::socket(state);
    become_user(state);
    if state.client.load(Relaxed) == 0 {
        announce(state);
    }
    sys::keep_memory_from_children(state);
    cage::install(state);
    sys::release();
    server::run(state)
}

/// `-u` and `-g`. Of -1, which [`KEEP`] is, setresuid(2) changes nothing.
#[inline(always)]
fn become_user(state: &State) {
    if state.config.user() & state.config.group() != KEEP {
        sys::setgroups();
        sys::setresgid(state.config.group());
        sys::setresuid(state.config.user());
    }
}

/// Says where the server listens, in the log and under `-1`.
#[inline(always)]
fn announce(state: &State) {
    sys::own_name(state);
    let host = state.address.get();
    log::note(id::LISTENING.into());
    if state.config.ready() {
        log::print(id::PORT.into(), host.port().into(), 1);
        sys::replace(1);
    }
}

/// The command line wants a text and no server: `-h`, `-V`, or what is wrong.
#[inline(always)]
fn explain(stop: u8) -> ! {
    let (mut text, mut fd, mut code) = (stop, 1, 0);
    if stop > id::VERSION {
        // What is wrong, then the usage.
        log::note(stop.into());
        (text, fd, code) = (id::USAGE, 2, 100);
    }
    log::print(text.into(), 0, fd);
    sys::exit(code)
}
