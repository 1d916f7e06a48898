//! Another kernel than this one: without some system calls, without seccomp,
//! without /proc. It is played by filters and mounts that are there before the
//! server starts, so its own cage holds as ever and nobody traces it.

use std::io;

use super::{Builder, is_for_x86_64};

/// A system call by its name, with its number for x86_64.
type Call = (&'static str, u32);

/// Those that a server may wait, measure time or be told to end with, and what
/// else a kernel may have been built without.
#[rustfmt::skip]
const CALLS: &[Call] = &[
    ("accept", 43),
    ("alarm", 37),
    ("clock_gettime", 228),
    ("clock_nanosleep", 230),
    ("close_range", 436),
    ("epoll_pwait", 281),
    ("epoll_pwait2", 441),
    ("epoll_wait", 232),
    ("futex", 202),
    ("futex_wait", 455),
    ("getitimer", 36),
    ("gettimeofday", 96),
    ("madvise", 28),
    ("nanosleep", 35),
    ("pause", 34),
    ("poll", 7),
    ("ppoll", 271),
    ("prctl", 157),
    ("pselect6", 270),
    ("rt_sigsuspend", 130),
    ("rt_sigtimedwait", 128),
    ("select", 23),
    ("setitimer", 38),
    ("sysinfo", 99),
    ("time", 201),
    ("timer_create", 222),
    ("timer_settime", 223),
    ("timerfd_create", 283),
];

const ARCH_X86_64: u32 = 0xc000_003e;

/// Whether a filter can play a kernel for this server: an emulator would be the
/// one that lacks the calls.
pub fn can_be_played() -> bool {
    is_for_x86_64()
}

const fn statement(code: u32, k: u32) -> libc::sock_filter {
    skip(code, k, 0, 0)
}

const fn skip(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

const fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

const fn give(verdict: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, verdict)
}

const fn unless(k: u32, jf: u8) -> libc::sock_filter {
    skip(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, 0, jf)
}

/// A hook that gives whoever calls it the filter.
fn with_filter(server: Builder, mut filter: Vec<libc::sock_filter>) -> Builder {
    server.before_exec(move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_mut_ptr(),
        };
        let mode = libc::SECCOMP_MODE_FILTER;
        // SAFETY: `program` is valid during the call.
        let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    })
}

/// In a kernel where these calls end with `error`: ENOSYS says that there is no
/// such call.
pub fn failing(server: Builder, calls: &[&str], error: i32) -> Builder {
    let number = |name: &&str| -> u32 {
        let call = CALLS.iter().find(|call| call.0 == *name);
        call.unwrap_or_else(|| panic!("{name}: what number?")).1
    };
    let mut filter = vec![
        load(4),
        unless(ARCH_X86_64, 1 + 2 * calls.len() as u8),
        load(0),
    ];
    for number in calls.iter().map(number) {
        filter.push(unless(number, 1));
        filter.push(give(libc::SECCOMP_RET_ERRNO | error as u32));
    }
    filter.push(give(libc::SECCOMP_RET_ALLOW));
    with_filter(server, filter)
}

pub fn lacking(server: Builder, calls: &[&str]) -> Builder {
    failing(server, calls, libc::ENOSYS)
}

/// As on a kernel without seccomp filters: asked for one, it says EINVAL.
pub fn without_cage(server: Builder) -> Builder {
    let prctl = libc::SYS_prctl as u32;
    let seccomp = libc::SYS_seccomp as u32;
    let filter = vec![
        load(0),
        unless(prctl, 3),
        load(16),
        unless(libc::PR_SET_SECCOMP as u32, 3),
        give(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        unless(seccomp, 1),
        give(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        give(libc::SECCOMP_RET_ALLOW),
    ];
    with_filter(server, filter)
}

/// As before Linux 4.12: whether two descriptors are the same socket is not told.
pub fn without_cookies(server: Builder) -> Builder {
    let filter = vec![
        load(0),
        unless(libc::SYS_getsockopt as u32, 3),
        load(16 + 2 * 8),
        unless(libc::SO_COOKIE as u32, 1),
        give(libc::SECCOMP_RET_ERRNO | libc::ENOPROTOOPT as u32),
        give(libc::SECCOMP_RET_ALLOW),
    ];
    with_filter(server, filter)
}

/// In a container that has no /proc: an empty folder is mounted over it.
pub fn without_proc(server: Builder) -> Builder {
    server.before_exec(|| {
        private_mounts()?;
        mount_tmpfs(c"/proc", c"size=4096")
    })
}

/// From here on the mounts of this thread are its own.
pub fn private_mounts() -> io::Result<()> {
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    let null = std::ptr::null();
    // SAFETY: the texts are valid; only who calls this moves.
    unsafe {
        // A namespace of mounts is a process's who shares no current folder.
        if libc::unshare(libc::CLONE_FS | libc::CLONE_NEWNS) != 0
            || libc::mount(null, c"/".as_ptr(), null, flags, null.cast()) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

pub fn mount_tmpfs(at: &std::ffi::CStr, options: &std::ffi::CStr) -> io::Result<()> {
    let kind = c"tmpfs".as_ptr();
    // SAFETY: the texts are valid.
    let result = unsafe { libc::mount(kind, at.as_ptr(), kind, 0, options.as_ptr().cast()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
