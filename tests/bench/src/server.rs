//! A rival at work: started on its own CPU, ready when it has answered once, and
//! gone without a trace when dropped.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client;
use crate::machine;
use crate::rivals::Rival;

/// How long a rival may take to answer first.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long it may take to be gone at the end, with ten thousand sessions.
const GONE: Duration = Duration::from_secs(120);

pub struct Server {
    child: Child,
    port: u16,
    startup: Duration,
}

impl Server {
    /// Starts the rival and waits for its first reply.
    pub fn start(rival: &Rival, cpu: usize) -> io::Result<Self> {
        Self::start_under(&[], rival, cpu)
    }

    /// The same behind another program, such as a tracer.
    pub fn start_under(wrapper: &[&OsStr], rival: &Rival, cpu: usize) -> io::Result<Self> {
        let port = free_port()?;
        let arguments = rival.arguments(port)?;
        let mut words = wrapper
            .iter()
            .map(|word| word.to_os_string())
            .chain(arguments);
        let mut command = Command::new(words.next().expect("a rival has a program"));
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let descriptors = rival.descriptors;
        // SAFETY: only system calls between fork and exec.
        unsafe {
            command.pre_exec(move || {
                machine::pin(cpu)?;
                let limit = libc::rlimit {
                    rlim_cur: descriptors,
                    rlim_max: descriptors,
                };
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let begin = Instant::now();
        let child = command.spawn()?;
        let mut server = Self {
            child,
            port,
            startup: Duration::ZERO,
        };
        server.wait_for_reply(begin)?;
        server.startup = begin.elapsed();
        Ok(server)
    }

    fn wait_for_reply(&mut self, begin: Instant) -> io::Result<()> {
        loop {
            match client::connect(self.port) {
                Ok(mut stream) => return client::ask(&mut stream),
                Err(error) if begin.elapsed() > DEADLINE => return Err(error),
                Err(_) => {
                    if let Some(status) = self.child.try_wait()? {
                        return Err(io::Error::other(format!("did not start: {status}")));
                    }
                }
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From before the process was made to its first reply.
    pub fn startup(&self) -> Duration {
        self.startup
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: signals the group that this server was started in.
        unsafe { libc::kill(-(self.child.id() as libc::pid_t), libc::SIGKILL) };
        reap_all();
    }
}

/// Reaps the stopped server, its threads if they were traced, and what it left:
/// sessions in groups of their own, which are killed.
fn reap_all() {
    let begin = Instant::now();
    loop {
        // SAFETY: no pointer is passed. No other child of this process is alive
        // here: servers run one at a time, and tools have been waited for.
        let pid = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
        if pid < 0 {
            return;
        }
        if pid == 0 {
            assert!(begin.elapsed() < GONE, "a process does not end");
            for stray in children(std::process::id()) {
                // SAFETY: a child that has not been waited for keeps its number.
                unsafe { libc::kill(stray as libc::pid_t, libc::SIGKILL) };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The children of all threads of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

/// Waits until a server has no session left, and is back where it waits for the
/// next client.
pub fn wait_until_childless(pid: u32) {
    let begin = Instant::now();
    while !children(pid).is_empty() && begin.elapsed() < client::PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(2));
}

/// A process and all its descendants, itself first.
pub fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        found.extend(children(found[next]));
        next += 1;
    }
    found
}

/// A port that the kernel has just found free.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// A program's path, from PATH or from where the install script unpacks.
pub fn find_program(name: &str, more: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(more.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
