//! Resources of the operating system: a user with limits of its own, limits
//! that change while the server runs, a process limit as containers have it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, io, process, ptr};

use super::orphans::{self, Watched};
use super::{Builder, Server, runner, tool};

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

/// A control group that may hold a few threads only.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Under the hierarchy of version 1 that has the limit, or in that of version 2.
    #[track_caller]
    pub fn new(threads: u64) -> Self {
        let roots = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let name = format!("rot13d-test-{}", process::id());
        let made = roots.iter().find_map(|root| {
            // In version 2 the limit has to be handed down first.
            let _ = fs::write(Path::new(root).join("cgroup.subtree_control"), "+pids");
            let folder = Path::new(root).join(&name);
            fs::create_dir(&folder).ok()?;
            let cgroup = Cgroup(folder);
            let limit = cgroup.0.join("pids.max");
            fs::write(limit, threads.to_string()).ok()?;
            Some(cgroup)
        });
        made.expect("a cgroup with a limit on processes (are you root, and is it mounted?)")
    }

    pub fn add(&self, pid: i32) {
        let file = self.0.join("cgroup.procs");
        fs::write(file, pid.to_string()).expect("a cgroup takes a process");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
