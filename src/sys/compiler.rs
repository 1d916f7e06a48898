//! Functions that the compiler calls by their names, wherever it likes: there is no
//! C library that would have them.
//!
//! Each is a loop that the compiler must not recognise as the function itself, or
//! it would call itself for ever: hence the volatile access.

use core::ffi::{c_char, c_int, c_void};

/// # Safety
///
/// memcpy(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, count: usize) -> *mut c_void {
    for at in 0..count {
        // SAFETY: the caller's.
        unsafe { to.cast::<u8>().add(at).write_volatile(*from.cast::<u8>().add(at)) };
    }
    to
}

/// # Safety
///
/// memmove(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut c_void, from: *const c_void, count: usize) -> *mut c_void {
    let upwards = to.addr() <= from.addr();
    for step in 0..count {
        let at = if upwards { step } else { count - 1 - step };
        // SAFETY: the caller's; no byte is overwritten before it is copied.
        unsafe { to.cast::<u8>().add(at).write_volatile(*from.cast::<u8>().add(at)) };
    }
    to
}

/// # Safety
///
/// memset(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut c_void, value: c_int, count: usize) -> *mut c_void {
    for at in 0..count {
        // SAFETY: the caller's.
        unsafe { to.cast::<u8>().add(at).write_volatile(value as u8) };
    }
    to
}

/// # Safety
///
/// memcmp(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const c_void, other: *const c_void, count: usize) -> c_int {
    for at in 0..count {
        // SAFETY: the caller's.
        let (a, b) = unsafe {
            let other = other.cast::<u8>().add(at);
            (one.cast::<u8>().add(at).read_volatile(), *other)
        };
        if a != b {
            return c_int::from(a) - c_int::from(b);
        }
    }
    0
}

/// # Safety
///
/// bcmp(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const c_void, other: *const c_void, count: usize) -> c_int {
    // SAFETY: the caller's.
    unsafe { memcmp(one, other, count) }
}

/// # Safety
///
/// strlen(3)
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    let mut length = 0;
    // SAFETY: the caller's; never past the NUL byte.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
