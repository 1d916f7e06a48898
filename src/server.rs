//! The parent: accepts, forks, waits at the limit and when something is short.

use crate::listener::{self, Client};
use crate::log::{Recurring, log};
use crate::sys::{self, LISTENER, SYSTEM_REFUSED};
use crate::{clients, session, signals};
use rot13d_pure::args::Config;
use rustix::fd::AsFd;
use rustix::io::{Errno, Result};
use rustix::net;

/// The server and what it is doing.
struct Server<'a> {
    config: &'a Config,
    /// How it is to end, once there is no listener to accept from.
    exit_code: Option<u32>,
    lines: Lines,
}

/// The lines that may recur.
#[derive(Default)]
struct Lines {
    full: Recurring,
    refused: Recurring,
    accept: Recurring,
    fork: Recurring,
}

/// Serves `client`, if standard input was one, else those that the listener brings,
/// until a signal closes the listener; then waits for the last client.
pub fn run(config: &Config, client: Option<Client>) -> ! {
    clients::set_limit(config.max_clients);
    let mut server = Server { config, exit_code: None, lines: Lines::default() };
    if let Some(client) = client {
        server.serve(&client);
        server.exit_code = Some(0);
    }
    loop {
        let count = clients::count();
        if let Some(code) = server.exit_code {
            if count.connected == 0 {
                sys::exit(code);
            }
        } else if count.is_full() {
            if let Some(more) = server.lines.full.due() {
                log!("full ", count, more);
            }
        } else {
            server.accept();
            continue;
        }
        clients::wait_for_end(&count);
    }
}

impl Server<'_> {
    /// Accepts the next client and serves it.
    fn accept(&mut self) {
        let mut result = accept();
        if let Err(Errno::PERM | Errno::OPNOTSUPP) = result {
            // A firewall has forbidden this connection. But twice in a row, it may be a
            // sandbox that forbids accept itself.
            result = accept();
        }
        match &result {
            Ok(client) if is_one_too_many(self.config, client) => {
                if let Some(more) = self.lines.refused.due() {
                    log!("refused ", client.address, more);
                }
            }
            Ok(client) => self.serve(client),
            // A signal has closed the listener.
            Err(Errno::BADF) => self.exit_code = Some(0),
            // accept(2): the connection or its network has failed, try again.
            Err(
                Errno::INTR
                | Errno::CONNABORTED
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH,
            ) => {}
            // It will never listen again: somebody who has it, too, has shut it down, or
            // the administrator has destroyed it.
            Err(error @ (Errno::INVAL | Errno::NOTSOCK)) => {
                log!("fatal: accept: ", error);
                sys::close(LISTENER);
                self.exit_code = Some(SYSTEM_REFUSED);
            }
            // A shortage; accept itself is forbidden; an error that accept(2) does not know.
            Err(error) => back_off("accept", *error, &mut self.lines.accept),
        }
    }

    /// Starts a process for `client`. If there is none to be had, the client is kept
    /// until there is: it is late, not lost.
    fn serve(&mut self, client: &Client) {
        while let Err(error) = start(self.config, client) {
            back_off("fork", error, &mut self.lines.fork);
        }
    }
}

fn accept() -> Result<Client> {
    let (socket, name) = net::acceptfrom(LISTENER)?;
    Ok(Client { socket, address: listener::address_of(name) })
}

/// Whether there are as many clients from the address of this one as may be (`-C`).
fn is_one_too_many(config: &Config, client: &Client) -> bool {
    match (config.max_per_source, client.address.source()) {
        (Some(limit), Some(source)) => clients::from_source(source) >= limit,
        _ => false,
    }
}

/// Starts a process for `client`, unless the clients are being ended.
fn start(config: &Config, client: &Client) -> Result<()> {
    let slot = clients::reserve(client.address.source());
    // With signals blocked no handler's frame can hold a copy of the token, and the child
    // cannot end before its slot is filled.
    sys::signals::block_signals();
    let result = if signals::ending() {
        Ok(())
    } else {
        let numbers = [config.idle, config.lifetime];
        sys::fork(session::run, client.socket.as_fd(), numbers).map(|process| {
            slot.occupy(process);
            if config.verbose {
                log!("start ", process, " ", client.address, " ", clients::count());
            }
        })
    };
    sys::signals::unblock_signals();
    result
}

/// Something is short that may be there in 0.1 s, or when a client ends: says so and
/// waits.
fn back_off(call: &str, error: Errno, line: &mut Recurring) {
    if let Some(more) = line.due() {
        log!(call, ": ", error, more);
    }
    sys::wait::pause();
}
