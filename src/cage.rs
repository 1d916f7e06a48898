//! The cage: `no_new_privs` and one seccomp filter for the whole tree.
//!
//! It is installed once, before the first client, and inherited, so it costs
//! nothing per connection. What is left is what serving takes; a call that is
//! not left ends the process that makes it (seccomp(2)).
//!
//! The parent must fork, wait for room, and end its clients; a client's process
//! must not. Both run under the same filter, so clone, futex and kill pass only
//! with a random token in an argument register that they do not use, and the
//! token is in no memory and no register of a client's process: see [`State`].

use crate::log;
use crate::sys::{self, State};
use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_LD, BPF_RET, BPF_W, c_long};
use rot13d_pure::fmt::id;

/// The calls that pass whatever their arguments, on the descriptors that there
/// are. First those of a line, then those of a connection.
const FREE: &[c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    #[cfg(not(target_arch = "x86"))]
    sys::nr::SYS_accept,
    libc::SYS_close,
    libc::SYS_wait4,
    libc::SYS_rt_sigreturn,
    // How poll(2) goes on when the process was stopped meanwhile.
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_rt_sigprocmask,
    sys::CALLS[0],
    sys::CALLS[1],
    sys::CALLS[2],
];

/// The calls that pass if an argument, counted from 0, has a value (in its
/// lower half). Neighbours that ask for the same share the check.
const CHECKED: &[(c_long, u32, u32)] = &[
    #[cfg(not(target_arch = "x86"))]
    (libc::SYS_setsockopt, 2, libc::SO_RCVTIMEO as u32),
    // Of socketcall(2): accept; setsockopt, whose arguments are in memory, out
    // of a filter's sight.
    #[cfg(target_arch = "x86")]
    (libc::SYS_socketcall, 0, 5),
    #[cfg(target_arch = "x86")]
    (libc::SYS_socketcall, 0, 14),
    (libc::SYS_ioctl, 1, UNSENT),
    (libc::SYS_futex, 4, TOKEN),
    (libc::SYS_kill, 4, TOKEN),
    (libc::SYS_clone, 4, TOKEN),
];

/// As many at the end share the check for the token.
const WITH_TOKEN: usize = 3;

/// Stand for `TIOCOUTQ` and for the token.
const UNSENT: u32 = 0;
const TOKEN: u32 = 0;

/// An instruction in a quarter of the size (in half of it, but on x86_64): what
/// it is, and a small operand. See [`sys::Instruction`]; we never skip where a
/// comparison does not hold.
#[derive(Clone, Copy)]
#[repr(C)]
struct Short {
    /// [`END`], [`LOAD`], or what a comparison skips where it holds.
    kind: u8,
    operand: Operand,
}

/// The numbers of the calls fit.
#[cfg(target_arch = "x86_64")]
type Operand = u8;
#[cfg(not(target_arch = "x86_64"))]
type Operand = u16;

const END: u8 = 0;
const LOAD: u8 = (BPF_LD | BPF_W | BPF_ABS) as u8;

const fn short(kind: u8, operand: u32) -> Short {
    assert!(operand <= Operand::MAX as u32);
    Short {
        kind,
        operand: operand as Operand,
    }
}
const fn load(offset: u32) -> Short {
    short(LOAD, offset)
}
const fn equal(value: u32, skip: usize) -> Short {
    assert!(skip > END as usize && skip < LOAD as usize);
    short(skip as u8, value)
}

/// Offsets in `struct seccomp_data`: of the call's number, the architecture,
/// the lower half of the first argument.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST: u32 = if cfg!(target_endian = "big") { 20 } else { 16 };

/// Where the filter has an operand that is not small.
const ARCH_AT: usize = 1;
const UNSENT_AT: usize = LEN - 6;
const TOKEN_AT: usize = LEN - 3;
const PASS_AT: usize = LEN - 1;
/// Instructions in the filter.
pub const LEN: usize = CHECKS + 3 * (CHECKED.len() + 1 - WITH_TOKEN) + 1;

/// Where the checks begin: after the architecture, the number, and the end of
/// those that are on neither list.
const CHECKS: usize = 3 + 1 + FREE.len() + CHECKED.len() + 1;

/// The filter: compares the call's number with that of each rule, jumps to the
/// end of the filter, or to the rule's check before it, or ends the process.
static FILTER: [Short; LEN] = {
    let mut filter = [short(END, libc::SECCOMP_RET_KILL_THREAD); LEN];
    filter[0] = load(ARCH);
    filter[ARCH_AT] = equal(0, 1);
    filter[3] = load(NUMBER);
    let mut at = 4;
    while at < 4 + FREE.len() {
        filter[at] = equal(FREE[at - 4] as u32, PASS_AT - at - 1);
        at += 1;
    }
    let (mut rule, mut check) = (0, CHECKS);
    while rule < CHECKED.len() {
        let (number, argument, value) = CHECKED[rule];
        if rule <= CHECKED.len() - WITH_TOKEN {
            filter[check] = load(FIRST + 8 * argument);
            filter[check + 1] = equal(value, PASS_AT - check - 2);
            // A call that is on the list twice: on to the next check.
            if CHECKED[rule + 1].0 == number {
                filter[check + 2] = load(NUMBER);
            }
            check += 3;
        }
        filter[at] = equal(number as u32, check - 3 - at - 1);
        at += 1;
        rule += 1;
    }
    filter
};

/// Gives up all that is not needed from here on; says so where the kernel cannot.
#[inline(always)]
pub fn install(state: &State) {
    let filter = sys::hide(&state.filter);
    for (to, short) in filter.iter().zip(sys::hide(&FILTER)) {
        to.skip.set(short.kind);
        let mut operation = short.kind;
        if operation == END {
            operation = BPF_RET as u8;
        } else if operation < LOAD {
            operation = (BPF_JMP | BPF_JEQ) as u8;
        }
        to.operation.set(operation);
        to.operand.set(short.operand.into());
    }
    filter[ARCH_AT].operand.set(sys::AUDIT_ARCH);
    filter[UNSENT_AT].operand.set(libc::TIOCOUTQ as u32);
    filter[TOKEN_AT].operand.set(state.token());
    filter[PASS_AT].operand.set(libc::SECCOMP_RET_ALLOW);
    // `bench_no_cage` and `bench_no_cipher` show what the one and the other cost.
    if cfg!(not(bench_no_cage)) && sys::filter(filter) < 0 {
        log::note(id::UNCAGED.into());
    }
}
