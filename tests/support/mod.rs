//! What every test needs: the server as a process that is certainly gone
//! afterwards, a deadline for whatever is waited for, the obvious ROT13.
//!
//! `ROT13D` names another binary than `target/release/rot13d`; `ROT13D_RUNNER`
//! (`qemu-aarch64-static`, say) is put in front of it.

pub mod client;
pub mod crowd;
pub mod kernel;
pub mod launcher;
pub mod network;
pub mod orphans;
pub mod pipes;
pub mod proc;
#[cfg(target_arch = "x86_64")]
pub mod ptrace;
mod random;
pub mod resources;
mod server;
pub mod slow_motion;
pub mod strace;
pub mod terminal;
pub mod trace;
pub mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

pub use client::Dialogue;
pub use random::Random;
pub use server::{Builder, Lines, Ready, Server, signal_process};

/// The longest that anything may take. Far more than it does on an idle
/// machine: only a failing test ever waits for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Polls until `condition` holds; panics with `what` when it never does.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    assert!(
        holds_within(DEADLINE, &mut condition),
        "not within {DEADLINE:?}: {what}"
    );
}

/// Polls until `find` finds something; panics with `what` when it never does.
#[track_caller]
pub fn found<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let mut result = None;
    eventually(what, || {
        result = find();
        result.is_some()
    });
    result.expect("eventually() returned")
}

/// What must be over after `limit` is so a second later. The machine may be busy
/// with something else for that second: then it is tried again. A limit that is too
/// long is so every time.
#[track_caller]
pub fn assert_in_time(what: &str, limit: Duration, mut attempt: impl FnMut() -> Duration) {
    let mut all = Vec::new();
    for _ in 0..5 {
        let elapsed = attempt();
        if elapsed <= limit + Duration::from_secs(1) {
            return;
        }
        all.push(elapsed);
    }
    panic!("{what}: {limit:?} took {all:?}");
}

/// Polls until `condition` holds, or that long.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// ROT13 by its definition.
pub fn rot13(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .map(|&byte| match byte {
            b'A'..=b'M' | b'a'..=b'm' => byte + 13,
            b'N'..=b'Z' | b'n'..=b'z' => byte - 13,
            other => other,
        })
        .collect()
}

/// The cargo that runs this, or else the one in the path.
pub fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or("cargo".into(), PathBuf::from)
}

/// The server under test, brought up to date once per run.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = env::var_os("ROT13D") {
            return fs::canonicalize(&path).unwrap_or_else(|e| panic!("ROT13D={path:?}: {e}"));
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let status = Command::new(cargo())
            .args(["build", "--release", "--quiet", "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "cargo build --release: {status}");
        target.join("release/rot13d")
    })
}

/// Whether it is the one for x86_64, whose calls and registers are known to the
/// last detail: elf(5), `e_machine`.
pub fn is_for_x86_64() -> bool {
    let file = fs::read(binary()).expect("the binary");
    file[18..20] == [62, 0]
}

/// The words of `ROT13D_RUNNER`: an emulator, or nothing.
pub fn runner() -> &'static [String] {
    static RUNNER: OnceLock<Vec<String>> = OnceLock::new();
    RUNNER.get_or_init(|| {
        let words = env::var("ROT13D_RUNNER").unwrap_or_default();
        words.split_whitespace().map(str::to_owned).collect()
    })
}

/// So many connections; under an emulator, where each takes ten times as long, a
/// tenth.
pub fn many(connections: usize) -> usize {
    if runner().is_empty() {
        connections
    } else {
        connections / 10
    }
}

/// Where `tests/tools.sh` puts what is not to be installed.
pub fn unpacked_tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools")
}

/// Which Debian package brings a tool that the tests call.
const PACKAGES: &[(&str, &str)] = &[
    ("busybox", "busybox"),
    ("inetd", "openbsd-inetd"),
    ("ip", "iproute2"),
    ("dpkg", "dpkg"),
    ("haproxy", "haproxy"),
    ("nc.openbsd", "netcat-openbsd"),
    ("nc.traditional", "netcat-traditional"),
    ("ncat", "ncat"),
    ("openrc-run", "openrc"),
    ("prlimit", "util-linux"),
    ("qemu-aarch64-static", "qemu-user-static"),
    ("qemu-arm-static", "qemu-user-static"),
    ("runsvdir", "runit"),
    ("s6-svscan", "s6"),
    ("sh", "dash"),
    ("socat", "socat"),
    ("strace", "strace"),
    ("systemd-socket-activate", "systemd"),
    ("tcpserver", "ucspi-tcp"),
    ("telnet", "telnet"),
    ("unshare", "util-linux"),
    ("xinetd", "xinetd"),
];

/// The path of a tool; panics with the name of its Debian package without it.
#[track_caller]
pub fn tool(name: &str) -> PathBuf {
    let path = env::var("PATH").unwrap_or_default();
    let unpacked = ["bin", "usr/sbin", "sbin"].map(|folder| unpacked_tools().join(folder));
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .chain(unpacked)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            let package = PACKAGES.iter().find(|(tool, _)| *tool == name);
            let package = package.map_or(name, |(_, package)| package);
            panic!("{name} is missing: apt-get install {package}")
        })
}

/// A folder of a test's own, removed with everything in it on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder under target/tmp");
        Scratch(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
