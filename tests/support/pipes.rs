//! Pipes that hold little.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// What fits into one of them: two pages. Of a single one poll(2) says that it is full
/// when anything is in it.
pub const CAPACITY: usize = 8192;

/// Its ends for reading and for writing.
pub fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = io::pipe().expect("a pipe");
    // SAFETY: touches no memory.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, CAPACITY) };
    assert_eq!(size, CAPACITY as i32);
    (File::from(OwnedFd::from(reader)), writer.into())
}

/// Gives the open file description these flags, fcntl(2): `O_NONBLOCK`, or 0 for none.
#[track_caller]
pub fn set_flags(file: &impl AsRawFd, flags: libc::c_int) {
    // SAFETY: touches no memory.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) };
    assert_eq!(result, 0);
}

/// One that takes no byte more: it is full of dots.
pub fn full_pipe() -> (File, OwnedFd) {
    let (reader, writer) = pipe();
    let mut writer = File::from(writer);
    writer.write_all(&[b'.'; CAPACITY]).expect("room");
    (reader, writer.into())
}
