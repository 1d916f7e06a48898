//! Makes the listener, or takes the socket that is standard input; and what the
//! first three descriptors are.

use crate::log::{fatal, must};
use crate::sys::{self, LISTENER, STDERR, STDIN};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use rot13d_pure::address::Address;
use rot13d_pure::args::{Config, idle_part};
use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::{self, Errno, Result};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SocketAddr, SocketAddrAny, SocketType};

/// A client without a process yet.
pub struct Client {
    /// Its socket.
    pub socket: OwnedFd,
    /// Where it comes from.
    pub address: Address,
}

/// Bytes that the kernel may hold for a client in each direction. It doubles the
/// number, for needs of its own (socket(7)).
const SOCKET_BUFFER: usize = 65536;

/// Closes every descriptor that was inherited, but for the first three, and opens a
/// placeholder for those of them that are closed. So no socket is ever taken for
/// standard error.
pub fn settle_descriptors() {
    sys::close_from(3);
    while open_placeholder() < LISTENER.as_raw_fd() {}
    sys::close(LISTENER);
}

/// Opens something that can neither be read nor written at the lowest descriptor
/// that is free: the root directory, which is there even without /dev/null.
fn open_placeholder() -> i32 {
    let placeholder = fs::open(c"/", OFlags::PATH, Mode::empty());
    must("open", None, placeholder).into_raw_fd()
}

/// Puts a placeholder in the place of one of the first three descriptors.
pub fn give_up(fd: BorrowedFd<'static>) {
    sys::close(fd);
    open_placeholder();
}

/// Makes the listener, or with `-i` takes the socket that is standard input. If that
/// is a client's, there is no listener but only this client.
pub fn open(config: &Config) -> Option<Client> {
    if config.inherit {
        return inherit(config);
    }
    let mut host = config.host.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let mut socket = open_socket(&host);
    if config.host.is_none() && matches!(socket, Err(Errno::AFNOSUPPORT)) {
        // Every address of a kernel without IPv6.
        host = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
        socket = open_socket(&host);
    }
    let about = Some(&Address::Internet(host, config.port));
    take_for_listener(must("socket", about, socket));
    must("setsockopt", about, set_options(LISTENER, config));
    let result = match host.to_ipv4_mapped() {
        Some(host) => net::bind(LISTENER, &SocketAddrV4::new(host, config.port)),
        None => {
            // It takes IPv4 clients, too, whatever the system's default is.
            must("setsockopt", about, sockopt::set_ipv6_v6only(LISTENER, false));
            net::bind(LISTENER, &SocketAddrV6::new(host, config.port, 0, 0))
        }
    };
    must("bind", about, result);
    must("listen", about, net::listen(LISTENER, config.backlog as i32));
    None
}

/// A socket of the family of `host`.
fn open_socket(host: &Ipv6Addr) -> Result<OwnedFd> {
    let family = match host.to_ipv4_mapped() {
        Some(_) => AddressFamily::INET,
        None => AddressFamily::INET6,
    };
    net::socket(family, SocketType::STREAM, None)
}

/// The socket becomes the descriptor that is the listener's.
fn take_for_listener(socket: OwnedFd) {
    // It is, as long as nothing else is opened and kept since `settle_descriptors`.
    assert!(socket.into_raw_fd() == LISTENER.as_raw_fd());
}

/// What every client inherits from the listener, so that it costs no call per
/// connection. (Not so the receive timeout: with it, accept would fail with EINTR
/// in spite of SA_RESTART, signal(7).)
///
/// Each is tried; the error is that of the first that failed.
fn set_options(socket: BorrowedFd<'_>, config: &Config) -> Result<()> {
    sockopt::set_socket_timeout(socket, Timeout::Send, idle_part(config.idle))
        .and(sockopt::set_socket_reuseaddr(socket, true))
        .and(sockopt::set_socket_keepalive(socket, true))
        .and(sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER))
        .and(sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER))
        .and(sockopt::set_tcp_nodelay(socket, true))
        .and(sockopt::set_socket_oobinline(socket, true))
}

/// Takes the socket that is standard input: a listener, or a client's.
fn inherit(config: &Config) -> Option<Client> {
    let listens = must("standard input", None, sockopt::socket_acceptconn(STDIN));
    if is_stderr_the_socket() {
        // inetd(8) does that. The log must not come to the client.
        give_up(STDERR);
    }
    // Whoever opened it may have made it non-blocking, or have given it a timeout.
    let _ = fs::fcntl_setfl(STDIN, OFlags::empty());
    let _ = sockopt::set_socket_timeout(STDIN, Timeout::Recv, None);
    // No option is fatal here: a UNIX-domain socket has not all of them.
    let _ = set_options(STDIN, config);
    if listens {
        take_for_listener(duplicate_stdin());
        return None;
    }
    // Something to close in place of a listener.
    open_placeholder();
    Some(Client {
        socket: duplicate_stdin(),
        address: address_of(net::getpeername(STDIN).unwrap_or_default()),
    })
}

fn duplicate_stdin() -> OwnedFd {
    must("dup", None, io::dup(STDIN))
}

/// Whether standard error is the same socket as standard input; before Linux 4.12,
/// which does not say, whether it is any (socket(7), `SO_COOKIE`).
fn is_stderr_the_socket() -> bool {
    match (sockopt::socket_cookie(STDIN), sockopt::socket_cookie(STDERR)) {
        (Ok(stdin), Ok(stderr)) => stdin == stderr,
        _ => sockopt::socket_type(STDERR).is_ok(),
    }
}

/// Where the server listens; ends the server if it could never serve a client there.
pub fn local_address() -> Address {
    let address = address_of(Some(must("getsockname", None, net::getsockname(LISTENER))));
    // A client takes one more descriptor. If the limit has no room for it, it never
    // will have; if the system is short of files, it may have some later.
    if let Err(error @ Errno::MFILE) = io::dup(LISTENER) {
        fatal("accept", None, error);
    }
    address
}

/// What the kernel says of the other end of a socket, or of our own. A socket of the
/// UNIX domain may have a name, but no address.
pub fn address_of(name: Option<SocketAddrAny>) -> Address {
    match name.map(SocketAddr::try_from) {
        Some(Ok(SocketAddr::V6(name))) => Address::Internet(*name.ip(), name.port()),
        Some(Ok(SocketAddr::V4(name))) => {
            Address::Internet(name.ip().to_ipv6_mapped(), name.port())
        }
        _ => Address::Local,
    }
}
