//! Resources of the operating system: a user with limits of its own, limits
//! that change while the server runs, a process limit as containers have it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, io, process, ptr};

use super::orphans::{self, Watched};
use super::{Builder, Server, holds_within, runner, tool};

/// The number of a user who owns no process.
pub fn unused_user() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = process::id() * 64 + COUNT.fetch_add(1, Ordering::Relaxed);
    // A user namespace has only so many; they are not those of the machine.
    match users() {
        some @ 2_000..=400_000_000 => 1_000 + number % (some - 1_000),
        _ => 1_000_000 + number,
    }
}

/// How many numbers of users there are, user_namespaces(7).
fn users() -> u32 {
    let map = fs::read_to_string("/proc/self/uid_map").expect("uid_map");
    let last = map.lines().last().unwrap_or_default();
    let fields: Vec<u32> = last
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    fields[0] + fields[2]
}

/// A server of `user`, who may have, beside it and `others`, the processes of
/// so many clients and no more.
#[track_caller]
pub fn server_with_few_processes(user: u32, others: u64, clients: u64, options: &[&str]) -> Server {
    // (A second thread of the server itself has not become `user`.)
    Server::new()
        .args([&["-u", &user.to_string()], options].concat())
        .limit(libc::RLIMIT_NPROC, others + 1 + threads_of(clients))
        .start()
}

/// What so many processes of the server are to the limits on processes, which
/// count threads: an emulator has one of its own in each.
pub fn threads_of(processes: u64) -> u64 {
    if runner().is_empty() {
        processes
    } else {
        2 * processes
    }
}

/// A process that does nothing but count for its user's limits.
pub struct Sleeper(
    Child,
    #[expect(dead_code, reason = "is for its drop")] Watched,
);

impl Sleeper {
    #[track_caller]
    pub fn start(user: u32) -> Self {
        let mut command = Command::new(tool("sleep"));
        orphans::lead(command.arg("600").uid(user).stdin(Stdio::null()));
        let sleeper = command.spawn().expect("sleep runs");
        let watched = Watched::session(sleeper.id() as i32);
        Sleeper(sleeper, watched)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub trait SoftLimit {
    /// A limit that may be raised again while the server runs.
    fn soft_limit(self, resource: libc::__rlimit_resource_t, value: u64) -> Self;
}

impl SoftLimit for Builder {
    fn soft_limit(self, resource: libc::__rlimit_resource_t, value: u64) -> Self {
        self.before_exec(move || change_soft_limit(0, resource, value))
    }
}

#[track_caller]
pub fn set_soft_limit(server: &Server, resource: libc::__rlimit_resource_t, value: u64) {
    change_soft_limit(server.pid(), resource, value).expect("prlimit");
}

fn change_soft_limit(pid: i32, resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid.
    let (read, written) = unsafe {
        let read = libc::prlimit(pid, resource, ptr::null(), &raw mut limit);
        limit.rlim_cur = value;
        let written = libc::prlimit(pid, resource, &raw const limit, ptr::null_mut());
        (read, written)
    };
    if read != 0 || written != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A control group with a limit.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// It may hold so many threads.
    #[track_caller]
    pub fn new(threads: u64) -> Self {
        Cgroup::limited("pids", &["pids.max"], threads)
    }

    /// It may have so many bytes of memory.
    #[track_caller]
    pub fn of_memory(bytes: u64) -> Self {
        Cgroup::limited("memory", &["memory.max", "memory.limit_in_bytes"], bytes)
    }

    /// Under the hierarchy of version 1 that has the limit, or in that of version 2.
    #[track_caller]
    fn limited(controller: &str, files: &[&str], limit: u64) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let roots = [&format!("/sys/fs/cgroup/{controller}"), "/sys/fs/cgroup"];
        let name = format!("rot13d-test-{}-{count}", process::id());
        let made = roots.iter().map(Path::new).find_map(|root| {
            // In version 2 the limit has to be handed down first.
            let _ = fs::write(
                root.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
            let folder = root.join(&name);
            fs::create_dir(&folder).ok()?;
            let cgroup = Cgroup(folder);
            let file = files.iter().find(|file| cgroup.0.join(file).exists())?;
            fs::write(cgroup.0.join(file), limit.to_string()).ok()?;
            Some(cgroup)
        });
        made.unwrap_or_else(|| {
            panic!("a cgroup with a limit on {controller} (are you root, and is it mounted?)")
        })
    }

    pub fn add(&self, pid: i32) {
        let file = self.0.join("cgroup.procs");
        fs::write(file, pid.to_string()).expect("a cgroup takes a process");
    }

    /// The server is in it from its first page on.
    pub fn hold(&self, server: Builder) -> Builder {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(self.0.join("cgroup.procs"))
            .expect("a cgroup takes processes");
        server.before_exec(move || (&file).write_all(b"0"))
    }

    /// The version of its hierarchy, cgroups(7).
    pub fn version(&self) -> u32 {
        if self.0.join("cgroup.controllers").exists() {
            2
        } else {
            1
        }
    }

    /// Bytes that it has. (Version 1 counts what is in sockets apart, if at all.)
    pub fn memory(&self) -> u64 {
        let used = self
            .number("memory.current")
            .or_else(|| self.number("memory.usage_in_bytes"));
        used.expect("a cgroup that counts memory")
    }

    /// How often somebody in it was killed for want of memory.
    pub fn kills(&self) -> u64 {
        let files = ["memory.events", "memory.oom_control"].map(|file| self.0.join(file));
        let text = files.iter().find_map(|file| fs::read_to_string(file).ok());
        let text = text.expect("a cgroup that counts what it kills");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.expect("Linux 4.13").parse().expect("a number")
    }

    fn number(&self, file: &str) -> Option<u64> {
        let text = fs::read_to_string(self.0.join(file)).ok()?;
        text.trim().parse().ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Who was killed may not be reaped yet.
        holds_within(Duration::from_secs(5), || fs::remove_dir(&self.0).is_ok());
    }
}
