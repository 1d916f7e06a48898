//! One message, one write, a fixed buffer.

use crate::sys::{self, State};
use core::sync::atomic::Ordering::Relaxed;
use rot13d_pure::addr::SocketAddress;
use rot13d_pure::fmt::Text;

/// Writes text `id` to `fd`, unless that would block.
#[inline(never)]
pub fn print(id: u32, first: u32, address: &SocketAddress, fd: u32, second: u32) {
    let state = sys::state();
    let numbers = [
        first,
        second,
        state.count.load(Relaxed),
        state.config.clients(),
    ];
    let mut text = Text::new(id, numbers, address, state.config.wrong);
    text.add();
    sys::send(fd, text.line());
}

/// Logs text `id`.
#[inline(never)]
pub fn say(id: u32, number: u32, address: &SocketAddress) {
    print(id, number, address, 2, 0);
}

/// Something could not be set up: says so with text `id`, exit 111.
pub extern "C" fn fatal(id: u32, result: i32) -> ! {
    say(id, -result as u32, sys::state().listener.address());
    sys::exit(111)
}

/// Under `-v`, holds `signals` back.
#[inline(always)]
pub fn quiet(state: &State, signals: i32) {
    if state.config.verbose() {
        sys::hold(signals);
    }
}

/// Logs an error that may come again and again: no more than one a second.
#[inline(always)]
pub fn recurring(state: &State, id: u8, result: i32) {
    let now = sys::seconds();
    if state.logged.replace(now) != now {
        say(id.into(), -result as u32, state.listener.address());
    }
}
