//! A client's half of the dialogue, over a plain `TcpStream`.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{io, mem};

use super::{DEADLINE, rot13};

pub trait Dialogue {
    fn say(&mut self, bytes: &[u8]);
    /// Exactly `count` bytes.
    fn hear(&mut self, count: usize) -> Vec<u8>;
    /// Hears what must come back for `bytes`, no less.
    fn hear_echo_of(&mut self, bytes: &[u8]);
    /// Says `bytes`, whole lines, and hears their echo.
    fn exchange(&mut self, bytes: &[u8]);
    fn half_close(&mut self);
    /// Everything up to the end of the stream.
    fn hear_rest(&mut self) -> Vec<u8>;
    /// The stream ends here: no byte more, no reset.
    fn assert_end(&mut self);
    /// Nothing has arrived yet, not even the end.
    fn assert_silent(&self);
    /// Takes back a tiny window. A window smaller than a segment moves only at
    /// the sender's timer: five times a second, a few hundred bytes each.
    fn open_window(&self);
    /// Closes with a reset instead of an orderly end.
    fn reset(self);
}

impl Dialogue for TcpStream {
    #[track_caller]
    fn say(&mut self, bytes: &[u8]) {
        self.write_all(bytes).expect("the server takes bytes");
    }

    #[track_caller]
    fn hear(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.read_exact(&mut bytes)
            .unwrap_or_else(|e| panic!("{count} bytes expected: {e}"));
        bytes
    }

    #[track_caller]
    fn hear_echo_of(&mut self, bytes: &[u8]) {
        let heard = self.hear(bytes.len());
        assert_same(&heard, &rot13(bytes));
    }

    #[track_caller]
    fn exchange(&mut self, bytes: &[u8]) {
        self.say(bytes);
        self.hear_echo_of(bytes);
    }

    #[track_caller]
    fn half_close(&mut self) {
        self.shutdown(Shutdown::Write).expect("half-close");
    }

    #[track_caller]
    fn hear_rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).expect("an orderly end");
        bytes
    }

    #[track_caller]
    fn assert_end(&mut self) {
        let rest = self.hear_rest();
        assert!(rest.is_empty(), "{} bytes too many: {rest:?}", rest.len());
    }

    #[track_caller]
    fn assert_silent(&self) {
        self.set_nonblocking(true).unwrap();
        let result = self.peek(&mut [0; 64]);
        self.set_nonblocking(false).unwrap();
        match result {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Ok(count) => panic!("silence expected, {count} bytes are there"),
            Err(e) => panic!("silence expected: {e}"),
        }
    }

    fn open_window(&self) {
        let bytes = 1 << 20;
        set_option(self, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
        set_option(self, libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP, bytes);
    }

    fn reset(self) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        set_option(&self, libc::SOL_SOCKET, libc::SO_LINGER, linger);
    }
}

/// Compares two long byte strings; names the first difference only.
#[track_caller]
pub fn assert_same(heard: &[u8], expected: &[u8]) {
    let differs = heard.iter().zip(expected).position(|(a, b)| a != b);
    if let Some(at) = differs {
        panic!("byte {at}: {:#04x}, not {:#04x}", heard[at], expected[at]);
    }
    assert_eq!(heard.len(), expected.len(), "bytes in all");
}

/// Connects, from `source` where the test needs to be somebody else, with a
/// receive buffer of `window` bytes where it needs to be slow.
pub fn connect(
    server: SocketAddr,
    source: Option<IpAddr>,
    window: Option<i32>,
) -> io::Result<TcpStream> {
    let family = if server.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    // SAFETY: a new descriptor, owned from here on by nobody else.
    let socket = unsafe {
        let raw = libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(raw)
    };
    if let Some(bytes) = window {
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
    }
    if let Some(source) = source {
        let (address, length) = raw_address(SocketAddr::new(source, 0));
        // SAFETY: `address` is valid for `length` bytes.
        let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let (address, length) = raw_address(server);
    // SAFETY: as above.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

pub fn set_option<T>(socket: &impl AsRawFd, level: i32, name: i32, value: T) {
    // SAFETY: `value` is valid for its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            mem::size_of::<T>() as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "setsockopt: {}", io::Error::last_os_error());
}

/// An option of any socket, or what there is of it.
///
/// # Panics
///
/// Where there is no such option.
#[track_caller]
pub fn option<T: Copy>(socket: &impl AsRawFd, level: i32, name: i32) -> T {
    // SAFETY: all zeros is a valid value of the plain types that are asked for, and
    // the kernel writes no more than their size.
    let (result, value) = unsafe {
        let mut value: T = mem::zeroed();
        let mut length = mem::size_of::<T>() as libc::socklen_t;
        let place = (&raw mut value).cast();
        let socket = socket.as_raw_fd();
        let result = libc::getsockopt(socket, level, name, place, &raw mut length);
        (result, value)
    };
    assert_eq!(result, 0, "getsockopt: {}", io::Error::last_os_error());
    value
}

fn raw_address(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all zeros is a valid sockaddr_storage, and it is as large and as
    // aligned as every kind of address written into it.
    unsafe {
        let mut storage: libc::sockaddr_storage = mem::zeroed();
        let place = &raw mut storage;
        let length = match address {
            SocketAddr::V4(v4) => {
                let raw = &mut *place.cast::<libc::sockaddr_in>();
                raw.sin_family = libc::AF_INET as libc::sa_family_t;
                raw.sin_port = v4.port().to_be();
                raw.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
                mem::size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                let raw = &mut *place.cast::<libc::sockaddr_in6>();
                raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                raw.sin6_port = v6.port().to_be();
                raw.sin6_addr.s6_addr = v6.ip().octets();
                mem::size_of::<libc::sockaddr_in6>()
            }
        };
        (storage, length as libc::socklen_t)
    }
}
