//! Other people's programs that start the server: inetd, tcpserver, ...

use std::fs;
use std::process::{Child, Command, Stdio};

use super::orphans::{self, Watched};
use super::{Lines, binary, eventually, proc, runner, tool};

/// Such a program, as the first process of a process namespace, so that what
/// it has started dies with it.
pub struct Launcher {
    process: Child,
    stderr: Lines,
    _watched: Watched,
}

impl Launcher {
    #[track_caller]
    pub fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(tool("unshare"));
        let mut process = orphans::lead(&mut command)
            .args(["--pid", "--fork", "--kill-child", "--"])
            .arg(tool(program))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        Launcher {
            stderr: Lines::of(process.stderr.take()),
            _watched: Watched::session(process.id() as i32),
            process,
        }
    }

    /// The process that all of its are below.
    pub fn pid(&self) -> i32 {
        self.process.id() as i32
    }

    /// The servers that it has started and that are still there, one process
    /// of each.
    pub fn servers(&self) -> Vec<i32> {
        let mut servers = Vec::new();
        let mut below = proc::children(self.process.id() as i32);
        while let Some(pid) = below.pop() {
            if is_server(pid) {
                servers.push(pid);
            } else {
                below.extend(proc::children(pid));
            }
        }
        servers
    }

    /// Waits until no server is left.
    #[track_caller]
    pub fn wait_serverless(&self) {
        eventually("no server is left", || self.servers().is_empty());
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        for pid in proc::children(self.process.id() as i32) {
            // SAFETY: kill has no preconditions.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("standard error of the launcher: {:#?}", self.stderr.all());
        }
    }
}

/// The words that start the server, for somebody else's command line.
pub fn server_words() -> Vec<String> {
    let binary = binary().to_str().expect("a path in UTF-8").to_owned();
    let mut words: Vec<String> = runner().to_vec();
    if let Some(emulator) = words.first_mut() {
        *emulator = tool(emulator).to_string_lossy().into_owned();
    }
    words.push(binary);
    words
}

fn is_server(pid: i32) -> bool {
    let words = server_words();
    let name = words[0].rsplit('/').next().unwrap_or_default();
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(name))
}
