//! The files of `contrib/`: each is put where it belongs and run by the program
//! that reads it, in a network, process table and root file system of its own;
//! where that program cannot run here, it is checked against what the program
//! accepts. Guards rot13d(8) where deployment relies on it: `-i`, `-k`, `-u`, `-g`,
//! SIGNALS.

mod container;
mod haproxy;
mod install;
mod package;
mod sandbox;
mod super_servers;
mod supervisors;
mod systemd;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Scratch, tool};

/// One of them, and where it belongs; nowhere if it is used in its place.
struct File {
    name: &'static str,
    to: &'static str,
}

impl File {
    const fn new(name: &'static str, to: &'static str) -> File {
        File { name, to }
    }

    fn path(&self) -> PathBuf {
        repository().join("contrib").join(self.name)
    }

    #[track_caller]
    fn text(&self) -> String {
        let path = self.path();
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

const SYSTEMD_SOCKET: File =
    File::new("systemd/rot13d.socket", "/etc/systemd/system/rot13d.socket");
const SYSTEMD_SERVICE: File = File::new(
    "systemd/rot13d.service",
    "/etc/systemd/system/rot13d.service",
);
const ACCEPT_SOCKET: File = File::new(
    "systemd/accept/rot13d.socket",
    "/etc/systemd/system/rot13d.socket",
);
const ACCEPT_SERVICE: File = File::new(
    "systemd/accept/rot13d@.service",
    "/etc/systemd/system/rot13d@.service",
);
const INETD_WAIT: File = File::new("inetd/wait.conf", "/etc/inetd.conf");
const INETD_NOWAIT: File = File::new("inetd/nowait.conf", "/etc/inetd.conf");
const XINETD_WAIT: File = File::new("xinetd/wait", "/etc/xinetd.d/rot13d");
const XINETD_NOWAIT: File = File::new("xinetd/nowait", "/etc/xinetd.d/rot13d");
const BUSYBOX: File = File::new("busybox/inittab", "/etc/inittab");
const OPENWRT: File = File::new("openwrt/rot13d", "/etc/init.d/rot13d");
const OPENRC: File = File::new("openrc/rot13d", "/etc/init.d/rot13d");
const SYSVINIT: File = File::new("sysvinit/rot13d", "/etc/init.d/rot13d");
const RUNIT: File = File::new("runit/run", "/etc/sv/rot13d/run");
const RUNIT_LOG: File = File::new("runit/log/run", "/etc/sv/rot13d/log/run");
const S6: File = File::new("s6/run", "/etc/s6/rot13d/run");
const S6_NOTIFICATION: File = File::new("s6/notification-fd", "/etc/s6/rot13d/notification-fd");
const S6_TIMEOUT: File = File::new("s6/timeout-kill", "/etc/s6/rot13d/timeout-kill");
const S6_LOG: File = File::new("s6/log/run", "/etc/s6/rot13d/log/run");
const SYSCTL: File = File::new("sysctl/rot13d.conf", "/etc/sysctl.d/rot13d.conf");
const HAPROXY: File = File::new("haproxy.cfg", "/etc/haproxy/haproxy.cfg");
const CONTAINERFILE: File = File::new("container/Containerfile", "");
const INDEX: File = File::new("README.md", "");

const ALL: &[&File] = &[
    &SYSTEMD_SOCKET,
    &SYSTEMD_SERVICE,
    &ACCEPT_SOCKET,
    &ACCEPT_SERVICE,
    &INETD_WAIT,
    &INETD_NOWAIT,
    &XINETD_WAIT,
    &XINETD_NOWAIT,
    &BUSYBOX,
    &OPENWRT,
    &OPENRC,
    &SYSVINIT,
    &RUNIT,
    &RUNIT_LOG,
    &S6,
    &S6_NOTIFICATION,
    &S6_TIMEOUT,
    &S6_LOG,
    &SYSCTL,
    &HAPROXY,
    &CONTAINERFILE,
    &INDEX,
];

/// Where `make install` puts the server, and where it does with `PREFIX=/usr`.
const INSTALLED: &str = "/usr/local/sbin/rot13d";
const INSTALLED_IN_USR: &str = "/usr/sbin/rot13d";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a tool to its end.
#[track_caller]
fn run<S: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = S>) -> Output {
    Command::new(tool(name)).args(args).output().expect(name)
}

#[track_caller]
fn assert_without_complaint(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
}

/// What is below a folder that is not itself a folder, by its path from there.
fn files_below(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let entry = entry.expect("an entry").path();
            if entry.is_dir() && !entry.is_symlink() {
                folders.push(entry);
            } else {
                let name = entry.strip_prefix(folder).expect("it is below");
                found.insert(name.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    found
}

#[test]
fn every_file_of_contrib_is_tested_here() {
    let tested: BTreeSet<String> = ALL.iter().map(|file| file.name.to_owned()).collect();
    assert_eq!(files_below(&repository().join("contrib")), tested);
}

#[test]
fn index_of_contrib_says_where_each_file_goes() {
    let index = INDEX.text();
    for file in ALL.iter().filter(|file| file.name != INDEX.name) {
        // A table: | file | where it goes | what to do then |
        let row = format!("| `{}` |", file.name);
        let row = index.lines().find(|line| line.starts_with(&row));
        let row = row.unwrap_or_else(|| panic!("{} is not in the list", file.name));
        assert!(
            file.to.is_empty() || row.contains(&format!("| `{}` |", file.to)),
            "{row}"
        );
    }
}

/// A fenced block of the README whose info string is a language and the name of
/// a file here.
#[test]
fn readme_shows_files_of_contrib_as_they_are() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    // Text, block, text, block, …
    let blocks = readme.split("\n```").skip(1).step_by(2);
    let shown: Vec<_> = blocks
        .filter_map(|block| {
            let (info, text) = block.split_once('\n')?;
            let name = info.split_once(' ')?.1.strip_prefix("contrib/")?;
            Some((name, format!("{text}\n")))
        })
        .collect();
    for (name, text) in &shown {
        let file = ALL.iter().find(|file| file.name == *name);
        let file = file.unwrap_or_else(|| panic!("contrib/{name} is not there"));
        assert_eq!(*text, file.text(), "contrib/{name}");
    }
    let names: Vec<_> = shown.iter().map(|(name, _)| *name).collect();
    assert!(names.contains(&SYSTEMD_SERVICE.name), "{names:?}");
}

/// The number behind `mark`.
#[track_caller]
fn number(text: &str, mark: &str) -> u32 {
    let (_, rest) = text
        .split_once(mark)
        .unwrap_or_else(|| panic!("{mark:?} in {text}"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    digits
        .and_then(|digits| digits.parse().ok())
        .expect("a number")
}

#[test]
fn grace_is_over_before_the_supervisor_kills() {
    let marks = [
        (SYSTEMD_SERVICE, "\nTimeoutStopSec="),
        (ACCEPT_SERVICE, "\nTimeoutStopSec="),
        (OPENWRT, " term_timeout "),
        (OPENRC, "\nretry=TERM/"),
        (SYSVINIT, "--retry TERM/"),
    ];
    for (file, mark) in marks {
        let text = file.text();
        let (grace, patience) = (number(&text, "-k "), number(&text, mark));
        assert!(grace < patience, "{}", file.name);
    }
    assert!(1000 * number(&S6.text(), "-k ") < number(&S6_TIMEOUT.text(), ""));
    // sv(8): after so long without -w it says that the service has not stopped.
    const OF_SV: u32 = 7;
    assert!(number(&RUNIT.text(), "-k ") < OF_SV);
    const OF_CONTAINER_RUNTIMES: u32 = 10;
    assert!(number(&CONTAINERFILE.text(), r#""-k", ""#) < OF_CONTAINER_RUNTIMES);
}

#[test]
fn shells_find_no_fault_with_the_scripts() {
    let is_script = |file: &&&File| file.text().starts_with("#!");
    let scripts: Vec<_> = ALL.iter().filter(is_script).collect();
    assert!(scripts.len() >= 7, "{}", scripts.len());
    for file in scripts {
        let path = file.path();
        let executable = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(&path).expect("a file").permissions(),
        ) & 0o111;
        assert_eq!(executable, 0o111, "{} is to be run", file.name);
        for shell in [&["sh", "-n"][..], &["busybox", "sh", "-n"]] {
            let args = shell[1..].iter().map(OsStr::new);
            assert_without_complaint(&run(shell[0], args.chain([path.as_os_str()])));
        }
        // Variables that are read by whoever sources the script.
        let options = ["--shell=sh", "--exclude=SC2034"].map(OsStr::new);
        let args = options.into_iter().chain([path.as_os_str()]);
        assert_without_complaint(&run("shellcheck", args));
    }
}

/// Read, not written: some of them are the whole machine's.
#[test]
fn kernel_knows_every_sysctl() {
    let folder = Scratch::new();
    let file = folder.path("sysctl.conf");
    fs::write(&file, SYSCTL.text()).expect("a file");
    let arguments = ["--dry-run", "--load", file.to_str().unwrap()];
    assert_without_complaint(&run("sysctl", arguments));
}
