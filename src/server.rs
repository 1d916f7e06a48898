//! The parent: listener, accept loop, back-off, limits, drain.

use crate::sys::{self, Slot, State};
use crate::{LISTENER, clients, log};
use core::sync::atomic::Ordering::Relaxed;
use rot13d_pure::addr;
use rot13d_pure::fmt::id;

/// What every client inherits from the listener: level, name, value. The
/// buffers bound what the kernel holds for a client that does not read.
static OPTIONS: [u32; 6] = [
    option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0),
    option(libc::SOL_SOCKET, libc::SO_REUSEADDR, 1),
    option(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
    option(libc::SOL_SOCKET, libc::SO_SNDBUF, 65535),
    option(libc::SOL_SOCKET, libc::SO_RCVBUF, 65535),
    option(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
];
const fn option(level: i32, name: i32, value: u32) -> u32 {
    level as u32 | (name as u32) << 8 | value << 16
}

/// Opens the listener: IPv6 takes IPv4 as well; where the kernel has no IPv6,
/// every address means every one of IPv4.
#[inline(always)]
pub fn listen(state: &State) -> u32 {
    let asked = state.listener.address().family();
    let mut family = if asked == 0 { addr::V6 } else { asked };
    loop {
        state.listener.set_family(family);
        let socket = sys::socket(family);
        if socket >= 0 {
            break;
        }
        if socket != -libc::EAFNOSUPPORT || family == addr::V4 || asked != 0 {
            log::fatal(id::SOCKET.into(), socket)
        }
        family = addr::V4;
    }
    let result = options(state, LISTENER, family);
    if result < 0 {
        log::fatal(id::SETSOCKOPT.into(), result)
    }
    sys::bind(&state.listener);
    sys::listen(state.config.backlog());
    0
}

/// Sets the options of `fd`, the listener or the one client; negative if one fails.
#[inline(never)]
fn options(state: &State, fd: u32, family: u16) -> i32 {
    let mut result = sys::option(
        fd,
        libc::SOL_SOCKET as u32,
        libc::SO_SNDTIMEO as u32,
        state.config.idle(),
    );
    for option in &OPTIONS {
        let level = option & 0xff;
        if level != libc::IPPROTO_IPV6 as u32 || family != addr::V4 {
            result |= sys::option(fd, level, option >> 8 & 0xff, option >> 16);
        }
    }
    result
}

/// Takes standard input for the socket: the listener, or the one client.
#[inline(always)]
pub fn inherit(state: &State) -> u32 {
    for fd in 1..3 {
        if sys::is_stdin(fd) {
            sys::replace(fd);
        }
    }
    let listens = sys::listens();
    if !listens {
        // Something to close in place of a listener.
        sys::placeholder();
        sys::peer_name(&state.slots[0]);
    }
    let fd = sys::duplicate();
    sys::replace(0);
    options(state, fd, addr::V6);
    if listens { 0 } else { fd }
}

/// Serves the client there is, if any, then those the listener brings, until a
/// signal closes the listener; then waits for the clients.
#[inline(always)]
pub fn run(state: &State, client: u32) -> ! {
    let mut socket = client as i32;
    loop {
        let slot = clients::free(state);
        if socket == 0 {
            socket = sys::accept(slot);
        }
        if socket >= 0 {
            start(state, slot, socket as u32);
        } else if socket == -libc::EBADF {
            break;
        } else if is_short(-socket) {
            back_off(state, id::ACCEPT, socket);
        }
        socket = 0;
    }
    clients::wait_below(state, 1);
    sys::exit(0)
}

/// Whether to wait before the next accept. accept(2) says to try again at once
/// after an error of the network or of one connection; these have numbers from
/// `ENONET` (64) on, but for `EPERM` and `EINTR`. What is left is short of
/// something, or unknown, and must not make the loop spin.
#[inline(always)]
fn is_short(error: i32) -> bool {
    error == libc::ENOBUFS || (libc::EIO..libc::ENONET).contains(&error)
}

/// What is short now may be there in 0.1 s, or when a client ends.
#[inline(never)]
fn back_off(state: &State, id: u8, result: i32) {
    log::recurring(state, id, result);
    sys::sleep(100);
}

/// Starts the process of a client, or refuses it.
#[inline(always)]
fn start(state: &State, slot: &Slot, socket: u32) {
    if state.config.per_source() != 0
        && clients::same_source(state, slot) >= state.config.per_source()
    {
        sys::close(socket);
        return log::say(id::REFUSED.into(), 0, slot.address());
    }
    loop {
        // The log must not show a client's end before its start.
        log::quiet(state, sys::CHILDREN);
        let pid = sys::fork(state, slot, socket);
        if pid > 0 {
            state.count.fetch_add(1, Relaxed);
            if state.config.verbose() {
                log::say(id::START.into(), pid as u32, slot.address());
            }
        }
        log::quiet(state, sys::NONE);
        if pid > 0 || state.ended.load(Relaxed) {
            break;
        }
        back_off(state, id::FORK, pid);
    }
    sys::close(socket);
}
