//! The parent: listener, accept loop, back-off, limits, drain.

use crate::sys::{self, State};
use crate::{LISTENER, clients, log};
use core::sync::atomic::Ordering::Relaxed;
use rot13d_pure::addr;
use rot13d_pure::fmt::id;

/// An option of the socket: its level and its name.
type Setting = [u8; 2];

/// What every client inherits from the listener. The value of the first is the idle
/// limit, of the last 0; of the others the one that bounds what the kernel holds for
/// a client that does not read, and to a switch says on, as any but 0 (socket(7)).
static OPTIONS: [Setting; 7] = [
    option(libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    option(libc::SOL_SOCKET, libc::SO_REUSEADDR),
    option(libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    option(libc::SOL_SOCKET, libc::SO_SNDBUF),
    option(libc::SOL_SOCKET, libc::SO_RCVBUF),
    option(libc::IPPROTO_TCP, libc::TCP_NODELAY),
    // Not for a listener of IPv4.
    option(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
];
const fn option(level: i32, name: i32) -> Setting {
    [level as u8, name as u8]
}
const BUFFER: u32 = 65535;

/// Makes the socket to serve, or takes it from standard input.
#[inline(always)]
pub fn socket(state: &State) {
    let mut fd = LISTENER;
    if state.config.inherit() {
        fd = take(state);
    } else {
        open(state);
    }
    let mut value = state.config.idle();
    for [level, name] in sys::hide(&OPTIONS) {
        if *level == libc::IPPROTO_IPV6 as u8 {
            if state.address.get().family() == addr::V4 {
                break;
            }
            value = 0;
        }
        let result = sys::option(fd, (*level).into(), (*name).into(), value as usize);
        if !state.config.inherit() {
            sys::check(id::SETSOCKOPT, result);
        }
        value = BUFFER;
    }
    if !state.config.inherit() {
        sys::bind(&state.address);
        sys::listen(state.config.backlog());
    }
}

/// Opens the listener: IPv6 takes IPv4 as well; where the kernel has no IPv6,
/// every address means every one of IPv4.
#[inline(always)]
fn open(state: &State) {
    if state.address.get().family() == 0 {
        state.address.set_family(addr::V6);
        let result = sys::try_socket(addr::V6);
        if result >= 0 {
            return;
        }
        if result == -libc::EAFNOSUPPORT {
            state.address.set_family(addr::V4);
        }
    }
    sys::socket(sys::hide(&state.address).get().family());
}

/// Takes standard input for the socket, and notes it if it is a client's.
#[inline(always)]
fn take(state: &State) -> u32 {
    for fd in 1..3 {
        if sys::is_stdin(fd) {
            sys::replace(fd);
        }
    }
    sys::peer_name(state);
    if !sys::listens() {
        // Something to close in place of a listener.
        sys::placeholder();
        state.client.store(LISTENER as i32 + 1, Relaxed);
    }
    let fd = sys::duplicate();
    sys::replace(0);
    fd
}

/// Serves the client there is, if any, then those the listener brings, until a
/// signal closes the listener; then waits for the clients.
#[inline(always)]
pub fn run(mut state: &State) -> ! {
    loop {
        // Each turn, of the loop within as well, has its own addresses: none is kept
        // in a register all the time, and each loop stays together.
        state = sys::hide(state);
        if let Err((id, result)) = next(&mut state) {
            log::back_off(state, id.into(), result);
        }
    }
}

/// Starts one client, or comes back without: with what is short.
#[inline(always)]
fn next(state: &mut &State) -> Result<(), (u8, i32)> {
    // One for whom there was no process is there still, unless the clients are
    // being ended.
    loop {
        *state = sys::hide(state);
        let client = state.client.load(Relaxed);
        if client > 0 {
            break;
        }
        let count = state.count.load(Relaxed);
        if client == -libc::EBADF || count >= state.config.clients() {
            // The listener is closed, or the limit is reached.
            if count == 0 {
                sys::exit(0)
            }
            let result = sys::wait_while(state, count);
            if result < -libc::EAGAIN {
                // There is no futex(2) in this kernel.
                return Err((id::ACCEPT, result));
            }
            continue;
        }
        let result = sys::accept(state);
        state.client.store(result, Relaxed);
        if is_short(result) {
            return Err((id::ACCEPT, result));
        }
    }
    if clients::refused(state) {
        log::note(id::REFUSED.into());
    } else {
        // The log must not show a client's end before its start.
        if state.config.verbose() {
            sys::hold(sys::CHILDREN);
        }
        let pid = sys::fork(state);
        if pid <= 0 {
            return Err((id::FORK, pid));
        }
        state.count.fetch_add(1, Relaxed);
        if state.config.verbose() {
            log::say(id::START.into(), pid as u32);
            sys::release();
        }
    }
    // Not its socket, if the clients have been ended meanwhile; then so is the server.
    sys::close(state.client.swap(0, Relaxed) as u32);
    Ok(())
}

/// Whether to wait before the next accept. accept(2) says to try again at once
/// after an error of the network or of one connection; these have numbers from
/// `ENONET` (64) on, but for `EPERM` and `EINTR`. What is left is short of
/// something, or unknown, and must not make the loop spin; but `EBADF` is the end,
/// and nothing between it and `EINTR` can come from accept.
#[inline(always)]
fn is_short(result: i32) -> bool {
    sys::veil(result) == -libc::ENOBUFS || (1 - libc::ENONET..-libc::EBADF).contains(&result)
}
