//! The cage: `no_new_privs` and one seccomp filter for the whole tree.
//!
//! It is installed once, before the first client is accepted, and inherited, so it
//! costs nothing per connection. What is not in the list below ends the process that
//! tries it (seccomp(2), `SECCOMP_RET_KILL`).
//!
//! The parent must fork, wait for room and end its clients; a client's process must
//! not. Both have the same filter, so these calls pass only with the token in their
//! fifth argument, which they do not use. No child knows the token: see [`sys`].

use crate::filter::Value::{self, Either, Exactly, Token};
use crate::filter::{Argument, Program, Rule, Step, allow, allow_if, compile, instruction_of};
use crate::log::log;
use crate::sys;

/// What passes. Arguments are counted from 0. On 32 bits a call that takes a time has two
/// forms. A call that the vDSO answers (clock_gettime(2)) needs its rule all the same: no
/// child has the vDSO.
#[rustfmt::skip]
const RULES: &[Rule] = &[
    // A line; a connection.
    allow(&[libc::SYS_read, libc::SYS_write]),
    allow(&[libc::SYS_accept, libc::SYS_rt_sigprocmask, libc::SYS_close, libc::SYS_wait4]),
    allow(&[libc::SYS_rt_sigreturn, libc::SYS_exit]),
    // What the parent alone may do: fork, wait at the limit, end the clients.
    allow_if(&[
        libc::SYS_clone,
        libc::SYS_futex,
        #[cfg(target_pointer_width = "32")]
        sys::wait::SYS_FUTEX_TIME64,
        libc::SYS_kill,
    ], &[Argument(4, Token)]),
    // The idle limit, the lifetime, the time of grace.
    allow_if(&[libc::SYS_setsockopt], &[Argument(1, SOCKET_LEVEL), Argument(2, RECEIVE_TIMEOUT)]),
    allow_if(&[libc::SYS_ioctl], &[Argument(1, Exactly(sys::UNACKED))]),
    allow(&[libc::SYS_setitimer]),
    // Waiting: in a pause, after SIGSTOP and SIGCONT.
    #[cfg(target_pointer_width = "64")]
    allow(&[libc::SYS_ppoll, libc::SYS_nanosleep]),
    #[cfg(target_pointer_width = "32")]
    allow(&[libc::SYS_poll, libc::SYS_nanosleep, sys::wait::SYS_CLOCK_NANOSLEEP_TIME64]),
    allow(&[libc::SYS_restart_syscall]),
    // A message: the time, and a standard error that is a socket.
    allow(&[libc::SYS_sysinfo]),
    #[cfg(target_pointer_width = "64")]
    allow_if(&[libc::SYS_sendto], &[Argument(4, Exactly(0))]),
    #[cfg(target_arch = "arm")]
    allow(&[libc::SYS_send]),
];

/// `SOL_SOCKET`; `SO_RCVTIMEO` with a time of 64 bits, and, before Linux 5.1, as it was
/// (socket(7)).
const SOCKET_LEVEL: Value = Exactly(libc::SOL_SOCKET as u32);
const RECEIVE_TIMEOUT: Value = Either(66, 20);

/// The filter, with the token still open.
static PROGRAM: [Step; COMPILED.length] = COMPILED.steps();
const COMPILED: Program = compile(RULES);

/// Gives up all that is not needed from here on, for good. Where the kernel has no
/// filters, it says so, and the server goes on without.
pub fn install() {
    let token = sys::token();
    let filter = PROGRAM.map(|step| instruction_of(step, token));
    // `bench_no_cage` shows what the cage costs.
    if cfg!(bench_no_cage) {
        return;
    }
    let _ = rustix::thread::set_no_new_privs(true);
    if sys::install_filter(&filter).is_err() {
        log!("no seccomp: clients are not caged");
    }
}
