//! One client, in a process of its own: read, cipher, write, exit.

use crate::{LISTENER, sys};
use rot13d_pure::line::{Buffer, Step};

/// Serves `socket` to its end. Every end is exit 0: the client's doing, or a
/// limit. `idle` and `lifetime` are in seconds, 0 is for ever.
#[inline(always)]
pub fn run(socket: u32, idle: u32, lifetime: u32, buffer: &mut Buffer) -> ! {
    sys::close(LISTENER);
    sys::option(
        socket,
        libc::SOL_SOCKET as u32,
        libc::SO_RCVTIMEO as u32,
        idle,
    );
    if lifetime != 0 {
        sys::alarm(lifetime);
    }
    let mut unsent = 0;
    while let Some(step) = buffer.step() {
        let reads = matches!(step, Step::Read(_));
        let mut result = sys::transfer(socket, step);
        if result < 0 {
            if result == -(libc::EINTR as isize) {
                continue;
            }
            if result != -(libc::EAGAIN as isize) {
                break;
            }
            // A timeout, in which the client may have taken something.
            let before = core::mem::replace(&mut unsent, sys::unsent(socket));
            if unsent != before {
                continue;
            }
            if !reads {
                break;
            }
            result = 0;
        }
        if buffer.done(result as usize).is_none() {
            break;
        }
    }
    sys::exit(0)
}
