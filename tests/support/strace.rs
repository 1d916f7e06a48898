//! strace, taking hold of a server that is already running: the calls of its
//! start are over and not counted.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::orphans::{self, Watched};
use super::{Scratch, eventually, tool};

/// Writes all calls of a process to a file until it is dropped.
pub struct Strace {
    process: Child,
    scratch: Scratch,
    _watched: Watched,
}

impl Strace {
    /// Waits until `pid`, asleep in a call, is traced.
    #[track_caller]
    pub fn attach(pid: i32, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let mut command = Command::new(tool("strace"));
        let process = orphans::lead(&mut command)
            .args(["-qq", "-o"])
            .arg(scratch.path("trace"))
            .args(options)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("strace runs");
        let _watched = Watched::session(process.id() as i32);
        let strace = Strace {
            process,
            scratch,
            _watched,
        };
        // The call in which it slept begins anew.
        eventually("strace has taken hold", || {
            fs::metadata(strace.file()).is_ok_and(|file| file.len() > 0)
        });
        strace
    }

    fn file(&self) -> std::path::PathBuf {
        self.scratch.path("trace")
    }

    /// What it has written so far, by lines.
    pub fn trace(&self) -> Vec<String> {
        lines_of(&self.file())
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The lines of a file that strace may still be writing.
pub fn lines_of(file: &Path) -> Vec<String> {
    let text = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .map(str::to_owned)
        .collect()
}
