//! The server in slow motion: single-stepped by ptrace(2), so that what
//! happens around it, clients that come and children that end, falls between
//! any two of its instructions.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, ptr, thread};

use super::Server;

/// Does `body` while the server's main process is single-stepped.
pub fn in_slow_motion(server: &Server, body: impl FnOnce()) {
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(move || step_until(server.pid(), over));
        let _end = End { server, over };
        body();
    });
}

/// The end of slow motion, also when a test fails.
struct End<'a> {
    server: &'a Server,
    over: &'a AtomicBool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // If it sleeps, it takes a signal to stop it: one that it ignores.
        self.server.signal(libc::SIGWINCH);
    }
}

fn step_until(pid: i32, over: &AtomicBool) {
    trace(libc::PTRACE_SEIZE, pid, 0);
    trace(libc::PTRACE_INTERRUPT, pid, 0);
    let mut signal = wait_stopped(pid);
    while !over.load(Ordering::Relaxed) {
        trace(libc::PTRACE_SINGLESTEP, pid, signal);
        signal = wait_stopped(pid);
    }
    trace(libc::PTRACE_DETACH, pid, signal);
}

/// The signal that the stopped process is about to receive, or 0.
fn wait_stopped(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is valid.
    let result = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    assert!(
        result == pid && libc::WIFSTOPPED(status),
        "the server ended in slow motion: {result}, {status:#x}"
    );
    match libc::WSTOPSIG(status) {
        libc::SIGTRAP => 0,
        signal => signal,
    }
}

fn trace(request: libc::c_uint, pid: i32, signal: i32) {
    let address = ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests touches memory of ours.
    let result = unsafe { libc::ptrace(request, pid, address, libc::c_long::from(signal)) };
    assert_eq!(result, 0, "ptrace: {}", io::Error::last_os_error());
}
