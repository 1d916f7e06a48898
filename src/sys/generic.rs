//! What every architecture but x86_64 shares: the calls that are in each
//! table, four functions that the compiler calls, and the help that an
//! emulator needs.

use super::{ANY, Address, Arg, SET, Slot, State, arch, arg, cell, from, to};
use crate::log;
use core::sync::atomic::Ordering::Relaxed;
use libc::c_long;
use rot13d_pure::addr::SocketAddress;
use rot13d_pure::fmt::id;

/// The calls behind [`poll`], [`alarm`] and [`seconds`]: poll(2), alarm(2) and
/// time(2) are not in the tables of later architectures.
pub const CALLS: [libc::c_long; 3] = [
    libc::SYS_ppoll,
    libc::SYS_setitimer,
    libc::SYS_clock_gettime,
];

/// ppoll(2) of `count` descriptors, for less than a second.
///
/// # Safety
///
/// `descriptors` is as many of them.
#[inline(always)]
pub unsafe fn poll(descriptors: Arg, count: u32, milliseconds: u32) -> i32 {
    let mut time = [0, milliseconds as usize * 1_000_000];
    // SAFETY: the caller's; of the time it writes what is left.
    call!(SYS_ppoll, descriptors, arg(count), to(&mut time), arg(0u32))
}

/// alarm(2), by setitimer(2).
#[inline(always)]
pub fn alarm(seconds: u32) {
    // `struct itimerval`: does not repeat; seconds and microseconds.
    let timer = [0, 0, seconds as usize, 0];
    let which = arg(libc::ITIMER_REAL as u32);
    // SAFETY: reads the timer, writes nothing.
    call!(SYS_setitimer, which, from(&timer), arg(0u32));
}

/// Seconds since some point (clock_gettime(2)).
#[inline(always)]
pub fn seconds() -> u32 {
    let mut time = [0usize; 2];
    let clock = arg(libc::CLOCK_MONOTONIC as u32);
    // SAFETY: writes the time.
    call!(SYS_clock_gettime, clock, to(&mut time));
    time[0] as u32
}

/// setsockopt(2) with a number, or a time in seconds: both fit what the kernel
/// reads, a `struct timeval` whose first part it takes for a number.
#[inline(never)]
pub fn option(fd: u32, level: u32, name: u32, value: usize) -> i32 {
    let mut value = [value, 0];
    // A number is read from the first four bytes, a time from all eight.
    if cfg!(target_endian = "big")
        && name != libc::SO_SNDTIMEO as u32
        && name != libc::SO_RCVTIMEO as u32
    {
        value[0] <<= 32;
    }
    // SAFETY: reads no more than the value.
    call!(
        SYS_setsockopt,
        arg(fd),
        arg(level),
        arg(name),
        from(&value),
        arg(size_of_val(&value) as u32)
    )
}

/// Option `name` of standard input, which must be a socket (getsockopt(2)).
#[inline(always)]
pub fn get_option(name: u32) -> u32 {
    let (mut value, mut len) = (0u32, size_of::<u32>() as u32);
    // SAFETY: writes an int, and its length.
    need!(
        GETSOCKOPT,
        SYS_getsockopt,
        arg(0u32),
        arg(libc::SOL_SOCKET as u32),
        arg(name),
        to(&mut value),
        to(&mut len)
    );
    value
}

/// exit(2): the process, which has but this thread.
#[inline(never)]
pub fn exit(code: u32) -> ! {
    loop {
        // SAFETY: does not return.
        call!(SYS_exit, arg(code));
    }
}

/// Logs text `id`, with a number.
#[inline(never)]
pub fn say(id: u32, number: u32) {
    log::print(id, number, 2);
}

/// Logs text `id`, which has no number.
#[inline(never)]
pub fn note(id: u32) {
    say(id, 0);
}

/// Holds back `signals`, and no others (sigprocmask(2)).
#[inline(never)]
pub fn hold(signals: i64) {
    // SAFETY: reads the set.
    call!(
        SYS_rt_sigprocmask,
        arg(libc::SIG_SETMASK as u32),
        from(&signals),
        arg(0u32),
        arg(SET)
    );
}

/// Holds back no signal.
pub fn release() {
    hold(0);
}

/// Opens something that can neither be read nor written, at the lowest free descriptor.
#[inline(never)]
pub fn placeholder() -> i32 {
    let (path, flags) = (from(b"/\0"), arg(libc::O_PATH as u32));
    // SAFETY: the path ends with a null byte; it is absolute, so the first argument is
    // not looked at.
    need!(OPEN, SYS_openat, ANY, path, flags)
}

/// Puts a placeholder in the place of `fd`, below which every descriptor is open.
pub fn replace(fd: u32) {
    super::close(fd);
    placeholder();
}

/// The kernel's `struct sigaction` (not the C library's).
#[repr(C)]
struct Action {
    handler: usize,
    flags: usize,
    #[cfg(not(target_arch = "riscv64"))]
    restorer: extern "C" fn(),
    mask: [u32; 2],
}

/// The address of the signal handler.
#[cfg(not(target_arch = "riscv64"))]
#[inline(always)]
pub fn handler() -> usize {
    (super::handle as *const ()).addr()
}

/// See [`super::actions`].
#[inline(always)]
pub fn action(signal: u32, handler: usize) {
    const SA_RESTORER: usize = 0x0400_0000;
    let action = Action {
        handler,
        flags: super::ACTION_FLAGS as usize | SA_RESTORER,
        #[cfg(not(target_arch = "riscv64"))]
        restorer: arch::restorer,
        mask: [!0; 2],
    };
    // SAFETY: `handler` is one: it touches nothing but cells.
    need!(
        SIGACTION,
        SYS_rt_sigaction,
        arg(signal),
        from(&action),
        arg(0u32),
        arg(SET),
        ANY
    );
}

/// Copies an address.
///
/// # Safety
///
/// That of such a copy.
#[inline(always)]
pub unsafe fn copy(from: *const SocketAddress, to: *mut SocketAddress) {
    // SAFETY: the caller's.
    unsafe { *to = *from }
}

/// Whether `slot` has the source of the last address.
#[inline(always)]
pub fn same_source(state: &State, slot: &Slot) -> bool {
    state.address.get().same_source(slot.address.get())
}

/// accept(2) or its like, which sets `address`.
#[inline(always)]
pub fn name(nr: u32, fd: u32, address: &Address) -> i32 {
    let mut len = super::LEN;
    // SAFETY: writes no more than that many bytes.
    unsafe { arch::call(nr, arg(fd), cell(address.0.get()), to(&mut len), ANY, ANY) as i32 }
}

/// A system call that must succeed: else the server ends, with text `id`.
///
/// # Safety
///
/// That of the call itself.
#[inline(always)]
pub unsafe fn need(id: u8, nr: u32, a: Arg, b: Arg, c: Arg, d: Arg, e: Arg) -> isize {
    // SAFETY: the caller's.
    let result = unsafe { arch::call(nr, a, b, c, d, e) };
    check(id, result as i32);
    result
}

/// Ends the server with text `id` if `result` is an error.
#[inline(never)]
pub fn check(id: u8, result: i32) {
    if result < 0 {
        say(id.into(), -result as u32);
        exit(111)
    }
}

/// In a slot whose client is being forked: no process has this number.
pub const FORKING: i32 = i32::MAX;

/// Writes `pid` into `slot` where clone has not. The kernel has; but qemu's
/// emulation of it for one program writes it in the child only (7.2).
#[inline(always)]
pub fn forked(state: &State, slot: &Slot, pid: i32) {
    if pid < 0 {
        return slot.pid.store(super::FREE, Relaxed);
    }
    if slot.pid.load(Relaxed) != FORKING {
        return;
    }
    slot.pid.store(pid, Relaxed);
    // It may have ended, and been reaped, before its slot could be found: then
    // nobody else touches that now.
    // SAFETY: looks whether there is such a process. No emulator has seccomp,
    // which would ask for the token.
    let exists = call!(SYS_kill, arg(pid as u32), arg(0u32));
    if exists < 0 && slot.pid.load(Relaxed) == pid {
        slot.pid.store(super::FREE, Relaxed);
        state.count.fetch_sub(1, Relaxed);
    }
}

/// Functions that the compiler may call by these names (there is no libc). The
/// volatile accesses keep it from recognising what they do and calling them
/// from themselves.
mod memory {
    /// # Safety
    ///
    /// memcpy(3)
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        for at in 0..len {
            // SAFETY: the caller's.
            unsafe { to.add(at).write_volatile(*from.add(at)) }
        }
        to
    }

    /// # Safety
    ///
    /// memmove(3)
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        let upwards = to.addr() < from.addr();
        for count in 0..len {
            let at = if upwards { count } else { len - 1 - count };
            // SAFETY: the caller's.
            unsafe { to.add(at).write_volatile(*from.add(at)) }
        }
        to
    }

    /// # Safety
    ///
    /// memset(3)
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
        for at in 0..len {
            // SAFETY: the caller's.
            unsafe { to.add(at).write_volatile(value as u8) }
        }
        to
    }

    /// # Safety
    ///
    /// memcmp(3)
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, len: usize) -> i32 {
        for at in 0..len {
            // SAFETY: the caller's.
            let (a, b) = unsafe { (one.add(at).read_volatile(), *other.add(at)) };
            if a != b {
                return i32::from(a) - i32::from(b);
            }
        }
        0
    }
}
