//! `/proc` as the oracle: what a process is, owns and waits for.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::client;

/// Some fields of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    pub state: char,
    pub parent: i32,
    pub session: i32,
    pub threads: i32,
    /// User and system time together.
    pub cpu: Duration,
}

/// `None` when there is no such process.
pub fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |n: usize| fields[n].parse::<i32>().expect("a number in stat");
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // SAFETY: sysconf has no preconditions.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    Some(Stat {
        state: fields[0].chars().next()?,
        parent: number(1),
        session: number(3),
        threads: number(17),
        cpu: Duration::from_millis(ticks * 1000 / ticks_per_second),
    })
}

/// Every process there is, with its `Stat`.
pub fn processes() -> Vec<(i32, Stat)> {
    let names = fs::read_dir("/proc").expect("/proc").flatten();
    names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

/// The direct children of `pid`, zombies among them.
pub fn children(pid: i32) -> Vec<i32> {
    select(|stat| stat.parent == pid)
}

/// Those of them that have ended. (Of an emulator's the last thread may still be
/// about to: till then there is nothing to be waited for.)
pub fn zombies(pid: i32) -> Vec<i32> {
    select(|stat| stat.parent == pid && stat.state == 'Z' && stat.threads <= 1)
}

/// The processes of a session, zombies left out.
pub fn session(leader: i32) -> Vec<i32> {
    select(|stat| stat.session == leader && !matches!(stat.state, 'Z' | 'X'))
}

fn select(wanted: impl Fn(&Stat) -> bool) -> Vec<i32> {
    let all = processes().into_iter();
    all.filter(|(_, stat)| wanted(stat))
        .map(|(pid, _)| pid)
        .collect()
}

/// The open descriptors of `pid` and what each refers to.
pub fn descriptors(pid: i32) -> BTreeMap<i32, String> {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return BTreeMap::new();
    };
    folder
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// A line of `/proc/PID/status`, such as `SigBlk`, `Seccomp` or `Uid`.
pub fn status(pid: i32, field: &str) -> Option<String> {
    value(&format!("/proc/{pid}/status"), field)
}

/// What `pid` occupies, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Address space.
    pub size: u64,
    pub resident: u64,
    pub page_tables: u64,
    /// Pages of its own: written, and shared with nobody.
    pub private_dirty: u64,
}

pub fn memory(pid: i32) -> Option<Memory> {
    let kib = |file: &str, field: &str| -> Option<u64> {
        let text = value(&format!("/proc/{pid}/{file}"), field)?;
        text.split_whitespace().next()?.parse().ok()
    };
    Some(Memory {
        size: kib("status", "VmSize")?,
        resident: kib("status", "VmRSS")?,
        page_tables: kib("status", "VmPTE")?,
        private_dirty: kib("smaps_rollup", "Private_Dirty")?,
    })
}

fn value(file: &str, field: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == field).then(|| value.trim().to_owned())
    })
}

/// What a process is and does, for who reads of a failure.
pub fn description(pid: i32) -> String {
    let file = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let field = |name| value(&format!("/proc/{pid}/status"), name).unwrap_or_default();
    format!(
        "process {pid}, of {}: {}, blocked signals {}, pending {} {}, system call {}",
        field("PPid"),
        field("State"),
        field("SigBlk"),
        field("SigPnd"),
        field("ShdPnd"),
        file("syscall").trim_end(),
    )
}

/// What a process may be asleep in.
#[derive(PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Accept,
}

/// The system call in which `pid` is asleep; `None` while it runs, is stopped,
/// is in another one, or is gone.
fn blocked_in(pid: i32) -> Option<Call> {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let call = match text.split_whitespace().next()?.parse().ok()? {
        libc::SYS_read | libc::SYS_recvfrom => Some(Call::Read),
        libc::SYS_write | libc::SYS_sendto => Some(Call::Write),
        libc::SYS_accept | libc::SYS_accept4 => Some(Call::Accept),
        _ => None,
    };
    call.filter(|_| stat(pid).is_some_and(|stat| stat.state == 'S'))
}

/// Asleep, waiting for bytes of its client.
pub fn blocked_in_read(pid: i32) -> bool {
    blocked_in(pid) == Some(Call::Read)
}

/// Asleep, waiting for its client to take bytes.
pub fn blocked_in_write(pid: i32) -> bool {
    blocked_in(pid) == Some(Call::Write)
}

/// Asleep, waiting for a client.
pub fn blocked_in_accept(pid: i32) -> bool {
    blocked_in(pid) == Some(Call::Accept)
}

/// The bytes under way to and from the owner of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queues {
    /// Arrived, not yet read.
    pub received: i32,
    /// Written, not yet acknowledged by the other end.
    pub sent: i32,
}

impl Queues {
    /// `None` for a socket that has no such queues: a listening one.
    pub fn of(socket: &impl AsRawFd) -> Option<Queues> {
        // Have what has arrived acknowledged now, not in 40 ms.
        client::set_option(socket, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1);
        Some(Queues {
            received: queued(socket, libc::FIONREAD)?,
            sent: queued(socket, libc::TIOCOUTQ)?,
        })
    }

    /// Of the first socket that `pid` owns, asked for through a duplicate of
    /// it: `/proc/net/tcp` takes seconds when thousands of closed connections
    /// linger.
    pub fn of_process(pid: i32) -> Option<Queues> {
        let number = *sockets(pid).first()?;
        Queues::of(&duplicate(pid, number)?)
    }
}

fn queued(socket: &impl AsRawFd, request: libc::Ioctl) -> Option<i32> {
    let mut count: libc::c_int = 0;
    // SAFETY: both requests store one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut count) };
    (result == 0).then_some(count)
}

/// The descriptors of `pid` that are sockets.
pub fn sockets(pid: i32) -> Vec<i32> {
    let is_socket = |target: &String| target.starts_with("socket:");
    let all = descriptors(pid).into_iter();
    all.filter(|(_, target)| is_socket(target))
        .map(|(number, _)| number)
        .collect()
}

/// A duplicate of another process's descriptor; `None` when either is gone.
pub fn duplicate(pid: i32, number: i32) -> Option<OwnedFd> {
    let owned = |raw: libc::c_long| {
        // SAFETY: a new descriptor, owned from here on by nobody else.
        (raw >= 0).then(|| unsafe { OwnedFd::from_raw_fd(raw as i32) })
    };
    // SAFETY: neither call touches memory.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let process = process.as_raw_fd();
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, number, 0) })
}
