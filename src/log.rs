//! One message, one write, a fixed buffer.

use crate::sys::{self, State};
use core::sync::atomic::Ordering::Relaxed;
use rot13d_pure::fmt::Text;

/// [`say`] logs a text by its id, with a number; [`note`] one that has none.
pub use sys::{note, say};

/// Writes text `id` to `fd`, unless that would block.
#[inline(never)]
pub extern "C" fn print(id: u32, first: u32, fd: u32) {
    let mut text = Text::new(id, first, sys::state());
    sys::send(fd, || {
        text.add();
        text.line()
    });
}

/// Something is short that may be there in 0.1 s, or when a client ends: logs it,
/// no more than once a second, and waits.
#[inline(always)]
pub fn back_off(state: &State, id: u32, result: i32) {
    let now = sys::seconds();
    if state.logged.swap(now, Relaxed) != now {
        say(id, -result as u32);
    }
    // A child's end cuts it short, also where `next` has held that back.
    sys::release();
    sys::sleep(100);
}
