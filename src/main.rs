//! `rot13d`: a TCP server, one process per connection, that sends each client's
//! lines back in ROT13. No libc, no heap.
//!
//! The way of a connection is one walk downwards. [`main`] reads the command line and
//! hands over to [`server::run`]. There accept(2) gives a socket and an address;
//! [`clients::reserve`] a slot; [`sys::fork`] the child. In it, [`session::run`] reads
//! into a buffer that ciphers and says what is due; that is written; at the end the
//! process exits. The kernel says so to [`signals`], which reaps the child and frees
//! its slot; if the parent slept at the limit, that wakes it.
//!
//! What is pure is in the library `rot13d_pure`, what is unsafe in [`sys`]. A file
//! uses only files below it in this list:
//!
//! | file | what it holds |
//! |---|---|
//! | `main` | the order of things, from the command line to service |
//! | [`server`] | the accept loop: limits, fork, back-off, drain |
//! | [`session`] | one client in its process |
//! | [`signals`] | what is caught and ignored; the handler: reap, terminate |
//! | [`listener`] | makes the listener, or takes it from standard input |
//! | [`cage`] | the system calls that are left |
//! | [`filter`] | rules, made into a seccomp filter |
//! | [`clients`] | who is connected |
//! | [`mod@log`] | one message, one write, never blocked |
//! | [`sys`] | what rustix does not offer |
//!
//! Exit codes, as in the ucspi family: 0 asked to end, 100 wrong usage, 111 the system
//! refused something.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

mod cage;
mod clients;
mod filter;
mod listener;
mod log;
mod server;
mod session;
mod signals;
mod sys;

use log::{log, must};
use rot13d_pure::address::Address;
use rot13d_pure::args::{self, Config, Invocation};
use rot13d_pure::message::{Line, Show};
use rot13d_pure::usage::USAGE;
use rustix::io::{self, Errno};
use rustix::stdio;
use rustix::thread::{self, Gid, Uid};
use sys::{STDIN, STDOUT, memory};

/// Exit code of wrong usage.
const WRONG_USAGE: u32 = 100;

/// What `-V` prints.
const VERSION: &str = concat!("rot13d ", env!("CARGO_PKG_VERSION"), " ", env!("MACHINE"), "\n");

/// The program, called by the entry point.
///
/// All signals are blocked until the server can handle them. A TERM while it starts takes
/// effect once it serves.
fn main(process: sys::start::Process) -> ! {
    sys::signals::block_signals();
    listener::settle_descriptors();
    log::open();
    let mut config = Config::DEFAULT;
    match args::parse(&mut config, process.arguments()) {
        Ok(Invocation::Serve) => serve(&config, &process),
        Ok(Invocation::Help) => print_and_exit(USAGE),
        Ok(Invocation::Version) => print_and_exit(VERSION),
        Err(error) => {
            log!(error);
            log::write_text(USAGE.as_bytes());
            sys::exit(WRONG_USAGE)
        }
    }
}

/// From the command line to the accept loop. Everything that may fail does so before
/// the first client, and ends the server.
fn serve(config: &Config, process: &sys::start::Process) -> ! {
    let client = listener::open(config);
    become_user(config);
    separate_children(process);
    // No client's process shall see anything of it.
    listener::give_up(STDIN);
    signals::install(config);
    if client.is_none() {
        announce(config, listener::local_address());
    }
    // From here on nothing can fail that is needed to serve.
    // Standard output becomes the placeholder that standard input is by now.
    let _ = stdio::dup2_stdout(STDIN);
    cage::install();
    sys::signals::unblock_signals();
    server::run(config, client)
}

/// Says where the server listens, in the log and under `-1`.
fn announce(config: &Config, address: Address) {
    log!("listening on ", address);
    if !config.print_port {
        return;
    }
    if let Address::Internet(_, port) = address {
        let mut line = Line::new();
        u32::from(port).show(&mut line);
        // Whoever started us waits for this line, so we wait for him; unless we are
        // told to end.
        while !sys::wait::is_writable(STDOUT).unwrap_or(true) {
            sys::signals::unblock_signals();
            sys::wait::pause();
            sys::signals::block_signals();
            if signals::draining() {
                return;
            }
        }
        print(line.finish());
    }
}

/// `-u` and `-g`, and then no supplementary groups either.
fn become_user(config: &Config) {
    if config.user.is_none() && config.group.is_none() {
        return;
    }
    must("setgroups", None, thread::set_thread_groups(&[]));
    if let Some(group) = config.group.map(Gid::from_raw) {
        must("setgid", None, thread::set_thread_res_gid(group, group, group));
    }
    if let Some(user) = config.user.map(Uid::from_raw) {
        must("setuid", None, thread::set_thread_res_uid(user, user, user));
    }
}

/// Keeps the parent's memory from the children, and makes theirs.
fn separate_children(process: &sys::start::Process) {
    if memory::keep_from_children(&process.code).is_err() {
        log!("no madvise: clients are less well separated");
    }
    must("mmap", None, memory::map_for_children());
}

fn print_and_exit(text: &str) -> ! {
    print(text.as_bytes());
    sys::exit(0)
}

/// Writes all of `bytes` to standard output, if it takes them; a write may be short or
/// interrupted (write(2)).
fn print(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match io::write(STDOUT, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            // Interrupted; or full, and somebody has made this pipe or terminal non-blocking.
            Err(Errno::INTR | Errno::AGAIN) => sys::wait::pause(),
            Err(_) => return,
        }
    }
}
