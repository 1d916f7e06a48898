//! One client, in a process of its own: read, cipher, write, exit.

use crate::{LISTENER, sys};
use rot13d_pure::line::Buffer;

/// What there is of a client. All zeros at first.
#[repr(C)]
pub struct Session {
    /// What it had not acknowledged at the last timeout.
    unsent: u32,
    buffer: Buffer,
}

impl Session {
    /// Before the first byte.
    pub const fn new() -> Self {
        Self {
            unsent: 0,
            buffer: Buffer::new(),
        }
    }

    /// Serves `socket` to its end. Every end is exit 0: the client's doing, or a
    /// limit. `idle` and `lifetime` are in seconds, 0 is for ever.
    #[inline(always)]
    pub fn run(&mut self, socket: u32, idle: u32, lifetime: u32) -> ! {
        if lifetime != 0 {
            sys::alarm(lifetime);
        }
        sys::close(LISTENER);
        sys::option(
            socket,
            libc::SOL_SOCKET as u32,
            libc::SO_RCVTIMEO as u32,
            idle as usize,
        );
        while let Some(step) = self.buffer.step() {
            let result = sys::transfer(socket, step);
            if result == -(libc::EINTR as isize) {
                continue;
            }
            if result > 0 {
                if self.buffer.reads() {
                    self.buffer.arrived(result as usize);
                } else {
                    self.buffer.sent(result as usize);
                }
                continue;
            }
            if result == -(libc::EAGAIN as isize) {
                // A timeout, in which the client may have taken something.
                let before = self.unsent;
                sys::unsent(socket, &mut self.unsent);
                if self.unsent != before {
                    continue;
                }
                if !self.buffer.reads() {
                    break;
                }
            } else if result < 0 {
                break;
            }
            self.buffer.end();
        }
        sys::exit(0)
    }
}
