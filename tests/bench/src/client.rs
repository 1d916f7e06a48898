//! One client: connecting, asking for one line, checking the answer.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long any single step of a client may take before the rival has failed.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// `IP_BIND_ADDRESS_NO_PORT`: the port is chosen by connect, for the whole
/// four-tuple, so that an address serves far more than one range of ports.
const BIND_ADDRESS_NO_PORT: libc::c_int = 24;

/// What every client says, and what it may hear: a rival that only echoes does
/// less work, which the report tells.
pub const LINE: &[u8] = b"Hello, World! 0123\n";
const ROTATED: &[u8] = b"Uryyb, Jbeyq! 0123\n";

/// A source address of the loopback net that has not been used for long.
///
/// A closed connection holds its four-tuple for a minute. Many addresses keep the
/// search for a free port short without touching the system's settings.
fn next_source() -> Ipv4Addr {
    static THREADS: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static NEXT: Cell<u32> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) << 12);
    }
    let count = NEXT.get();
    NEXT.set(count.wrapping_add(1));
    let [_, a, b, c] = (count & 0x003f_ffff).to_be_bytes();
    Ipv4Addr::new(127, 64 + a, b, 1 + c % 254)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn set<T>(fd: i32, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is a live object of the size that is passed.
    check(unsafe { libc::setsockopt(fd, level, option, (&raw const *value).cast(), size) })
        .map(drop)
}

fn socket_address(address: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(address).to_be(),
        },
        sin_zero: [0; 8],
    }
}

/// Connects to the port on loopback; every later step ends after [`PATIENCE`].
pub fn connect(port: u16) -> io::Result<TcpStream> {
    connect_within(port, PATIENCE)
}

/// The same with another patience.
pub fn connect_within(port: u16, patience: Duration) -> io::Result<TcpStream> {
    let source = socket_address(next_source(), 0);
    let server = socket_address(Ipv4Addr::LOCALHOST, port);
    let size = size_of_val(&server) as libc::socklen_t;
    let patience = libc::timeval {
        tv_sec: patience.as_secs() as _,
        tv_usec: 0,
    };
    // SAFETY: the descriptor is new and has one owner from here on; both
    // addresses are live and of the size that is passed.
    unsafe {
        let fd = check(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC,
            0,
        ))?;
        let stream = TcpStream::from_raw_fd(fd);
        set(fd, libc::IPPROTO_IP, BIND_ADDRESS_NO_PORT, &1)?;
        set(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &patience)?;
        set(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &patience)?;
        check(libc::bind(fd, (&raw const source).cast(), size))?;
        check(libc::connect(fd, (&raw const server).cast(), size))?;
        Ok(stream)
    }
}

/// Sends one line and reads its answer.
pub fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(LINE)?;
    let mut reply = [0; LINE.len()];
    stream
        .read_exact(&mut reply)
        .map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "no reply"),
            ErrorKind::UnexpectedEof => {
                io::Error::new(ErrorKind::UnexpectedEof, "closed without a reply")
            }
            _ => error,
        })?;
    if reply == ROTATED || reply == LINE {
        return Ok(());
    }
    Err(io::Error::new(ErrorKind::InvalidData, "wrong reply"))
}

/// A whole visit: connect, one line each way, close.
pub fn visit(port: u16) -> io::Result<()> {
    ask(&mut connect(port)?)
}

/// Makes the close a reset, so that no connection lingers in TIME_WAIT and in the
/// memory figures.
pub fn close_at_once(stream: TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // A close without a reset is only slower to vanish.
    let _ = set(
        stream.as_raw_fd(),
        libc::SOL_SOCKET,
        libc::SO_LINGER,
        &linger,
    );
}

/// Clients that are connected, have had one line answered and then keep silent.
pub struct Idle {
    port: u16,
    clients: Vec<TcpStream>,
}

impl Idle {
    pub fn new(port: u16) -> Self {
        Self {
            port,
            clients: Vec::new(),
        }
    }

    pub fn grow_to(&mut self, count: usize) -> io::Result<()> {
        while self.clients.len() < count {
            let place = self.clients.len();
            let mut client = connect(self.port).map_err(|error| at(place, error))?;
            ask(&mut client).map_err(|error| at(place, error))?;
            self.clients.push(client);
        }
        Ok(())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.clients.drain(..).for_each(close_at_once);
    }
}

fn at(place: usize, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("client {}: {error}", place + 1))
}
