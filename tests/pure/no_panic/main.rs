//! Calls every public function of the pure library with values that nobody knows
//! before it runs, which it never does: it is only linked. The panic handler calls a
//! function that is nowhere, so a panic that can be reached from here does not link.
//!
//! It takes the place of `src/main.rs` in a copy of the repository, so it is built as
//! the server is.

#![no_std]
#![no_main]

use core::net::Ipv6Addr;
use core::panic::PanicInfo;
use rot13d_pure::address::{self, Address};
use rot13d_pure::args::{self, Config, Invocation};
use rot13d_pure::usage::{USAGE, UsageError};
use rot13d_pure::line::{Buffer, CAPACITY, Step};
use rot13d_pure::message::{Line, Show};
use rot13d_pure::rot13;
use rustix::io::Errno;

/// What the compiler may call.
#[path = "sys/compiler.rs"]
mod compiler;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn a_panic_is_reachable() -> !;
    }
    // SAFETY: it does not exist.
    unsafe { a_panic_is_reachable() }
}

/// Any value of a type to which every bit pattern is one, or of a reference or a
/// slice of such. The compiler must take it as it may come.
fn any<T: Copy>() -> T {
    static PLACE: [u64; 4] = [0; 4];
    const { assert!(size_of::<T>() <= size_of_val(&PLACE)) };
    // SAFETY: never run.
    unsafe { core::ptr::from_ref(&PLACE).cast::<T>().read_volatile() }
}

/// The compiler must suppose that `value` is used.
fn used<T>(value: T) {
    let mut place = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: it is as large.
    unsafe { place.as_mut_ptr().write_volatile(value) };
}

#[unsafe(no_mangle)]
extern "C" fn rot13d_start() -> ! {
    loop {
        match any::<u8>() {
            0 => rotate(),
            1 => buffer(),
            2 => arguments(),
            3 => addresses(),
            _ => lines(),
        }
    }
}

fn rotate() {
    let length = any::<usize>();
    // SAFETY: never run.
    rot13::rotate(unsafe { core::slice::from_raw_parts_mut(any::<*mut u8>(), length) });
}

/// Every order of calls, with every number.
fn buffer() {
    let mut bytes = any::<&[[u8; CAPACITY]; 1]>()[0];
    let mut buffer = Buffer::new(&mut bytes);
    loop {
        match any::<u8>() {
            0 => buffer.received(any::<usize>()),
            1 => buffer.sent(any::<usize>()),
            2 => buffer.end(),
            _ => match buffer.step() {
                Step::Read(space) => used(space.as_mut_ptr()),
                Step::Write(due) => used(due.as_ptr()),
                Step::Finish => return,
            },
        }
    }
}

fn arguments() {
    used(args::idle_part(any::<u32>()));
    used(USAGE);
    used(Config::DEFAULT);
    let words = core::iter::from_fn(any::<Option<&[u8]>>);
    let mut config = Config::DEFAULT;
    match args::parse(&mut config, words) {
        Ok(Invocation::Serve) => used(config),
        Ok(other) => used(other),
        Err(error) => show::<UsageError<'_>>(&error),
    }
}

fn addresses() {
    used(address::parse(any::<&[u8]>()));
    let ip = Ipv6Addr::from(any::<[u8; 16]>());
    let address = match any::<bool>() {
        true => Address::Internet(ip, any::<u16>()),
        false => Address::Local,
    };
    used(address.source());
    show::<Address>(&address);
}

fn lines() {
    show::<str>(any::<&str>());
    show::<[u8]>(any::<&[u8]>());
    show::<u32>(&any::<u32>());
    show::<i32>(&any::<i32>());
    show::<Errno>(&Errno::from_raw_os_error(any::<u16>().into()));
}

/// Into a line that may be full, or already ended.
fn show<Part: Show + ?Sized>(part: &Part) {
    let mut line = Line::new();
    loop {
        match any::<u8>() {
            0 => line.push(any::<u8>()),
            1 => line.hexadecimal(any::<u16>()),
            2 => part.show(&mut line),
            _ => used(line.finish().as_ptr()),
        }
    }
}
