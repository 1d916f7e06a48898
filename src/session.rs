//! One client, in a process of its own: read, cipher, write, exit.

use crate::sys::memory::SESSION_ROOM;
use crate::sys::{self, LISTENER};
use rot13d_pure::args::{IDLE_PARTS, idle_part};
use rot13d_pure::line::{Buffer, Step};
use rustix::fd::{BorrowedFd, RawFd};
use rustix::io::{self, Errno};
use rustix::net::sockopt::{self, Timeout};

/// Serves the client at `socket` to its end. `idle` and `lifetime` are in seconds, 0
/// is for ever. Every end is exit 0: it is the client's doing, or a limit.
///
/// It starts with all signals blocked, on a stack of its own, and without the parent's
/// memory: a `static` that may change is not there, so neither is `log!`. To touch one
/// ends the client with SIGSEGV. See [`sys::fork`].
pub extern "C" fn run(
    room: &'static mut [u8; SESSION_ROOM],
    socket: RawFd,
    idle: u32,
    lifetime: u32,
) -> ! {
    let socket = sys::descriptor(socket);
    sys::close(LISTENER);
    sys::signals::unblock_signals();
    if lifetime > 0 {
        let _ = sys::signals::set_alarm(lifetime);
    }
    // (That for sending is inherited from the listener.)
    if idle > 0 {
        let _ = sockopt::set_socket_timeout(socket, Timeout::Recv, idle_part(idle));
    }
    serve(Buffer::new(room), socket);
    sys::exit(0)
}

/// Does what the buffer says is next until there is nothing more to do.
fn serve(mut buffer: Buffer<'_>, socket: BorrowedFd<'_>) {
    let mut idle = Idle::default();
    loop {
        let (result, reads) = match buffer.step() {
            Step::Read(space) => (io::read(socket, space), true),
            Step::Write(due) => (io::write(socket, due), false),
            Step::Finish => return,
        };
        match result {
            Ok(0) => buffer.end(),
            Ok(count) if reads => buffer.received(count),
            Ok(count) => buffer.sent(count),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) if !idle.is_over(socket) => continue,
            // What is pending without a newline goes out before the end.
            Err(Errno::AGAIN) if reads => buffer.end(),
            Err(_) => return,
        }
        idle.parts = 0;
    }
}

/// How long the client has neither sent nor taken a byte.
#[derive(Default)]
struct Idle {
    /// Parts of the idle limit that have passed.
    parts: u32,
    /// Bytes that were on their way to the client at the end of the last part.
    unacked: u32,
}

impl Idle {
    /// Notes that one part more has passed, in which the client sent nothing and no
    /// write got on; whether the limit is reached.
    fn is_over(&mut self, socket: BorrowedFd<'_>) -> bool {
        let before = self.unacked;
        self.unacked = sys::unacked_bytes(socket).unwrap_or(before);
        self.parts = if self.unacked == before { self.parts + 1 } else { 0 };
        self.parts >= IDLE_PARTS
    }
}
