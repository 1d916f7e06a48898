//! `make install` and its like: they install what is built.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

use super::{
    ALL, File, INSTALLED, INSTALLED_IN_USR, SYSTEMD_SERVICE, SYSTEMD_SOCKET,
    assert_without_complaint, files_below, repository, run,
};
use crate::support::{Scratch, binary, tool};

/// Which files of contrib/ each puts where they belong.
const TARGETS: &[(&str, &[&str])] = &[
    (
        "install-systemd",
        &["systemd/rot13d.socket", "systemd/rot13d.service"],
    ),
    ("install-openrc", &["openrc/rot13d"]),
    ("install-sysvinit", &["sysvinit/rot13d"]),
    ("install-openwrt", &["openwrt/rot13d"]),
    ("install-runit", &["runit/run", "runit/log/run"]),
    (
        "install-s6",
        &[
            "s6/run",
            "s6/notification-fd",
            "s6/timeout-kill",
            "s6/log/run",
        ],
    ),
    ("install-sysctl", &["sysctl/rot13d.conf"]),
];

fn file(name: &str) -> &'static File {
    ALL.iter().find(|file| file.name == name).expect("a file")
}

/// make as root has it: without cargo, and with nothing else but these.
fn make(scratch: &Scratch, words: &[String]) -> Output {
    let programs = scratch.path("programs");
    if fs::create_dir(&programs).is_ok() {
        for program in ["install", "rm", "sed"] {
            symlink(tool(program), programs.join(program)).expect("a link");
        }
    }
    let mut command = Command::new(tool("make"));
    for (name, _) in env::vars_os() {
        command.env_remove(name);
    }
    command.env("PATH", programs).args(words);
    command.current_dir(repository()).output().expect("make")
}

/// `NAME=VALUE`.
fn variable(name: &str, value: &Path) -> String {
    format!("{name}={}", value.to_str().expect("UTF-8"))
}

fn built() -> String {
    variable("BINARY", binary())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn what_is_built_is_installed_without_cargo_also_where_paths_have_spaces() {
    let scratch = Scratch::new();
    let (prefix, units) = (scratch.path("my prefix"), scratch.path("my units"));
    let words = [
        built(),
        variable("PREFIX", &prefix),
        variable("SYSTEMD", &units),
        "install".to_owned(),
        "install-systemd".to_owned(),
    ];
    let output = make(&scratch, &words);
    assert_without_complaint(&output);
    let (server, manual) = (
        prefix.join("sbin/rot13d"),
        prefix.join("share/man/man8/rot13d.8"),
    );
    assert_eq!(fs::read(&server).unwrap(), fs::read(binary()).unwrap());
    assert_eq!(
        fs::read(&manual).unwrap(),
        fs::read(repository().join("src/rot13d.8")).unwrap()
    );
    assert_eq!((mode(&server), mode(&manual)), (0o755, 0o644));
    // systemd finds the server that they name.
    let paths = ["rot13d.socket", "rot13d.service"].map(|unit| units.join(unit));
    let verify = ["verify", "--man=no"].map(Into::into);
    assert_without_complaint(&run("systemd-analyze", verify.iter().chain(&paths)));
    for (path, file) in paths.iter().zip([SYSTEMD_SOCKET, SYSTEMD_SERVICE]) {
        let server = format!("\"{}\"", server.display());
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            file.text().replace(INSTALLED, &server)
        );
        assert_eq!(mode(path), 0o644);
    }
    let output = make(&scratch, &[&words[..3], &["uninstall".to_owned()]].concat());
    assert_without_complaint(&output);
    for folder in [&prefix, &units] {
        assert!(files_below(folder).is_empty());
    }
}

#[test]
fn each_file_is_put_where_it_belongs_and_all_are_taken_away() {
    let scratch = Scratch::new();
    let root = scratch.path("a root");
    let variables = [
        built(),
        variable("DESTDIR", &root),
        "PREFIX=/usr".to_owned(),
    ];
    for (target, names) in TARGETS {
        let output = make(
            &scratch,
            &[&variables[..], &[(*target).to_owned()]].concat(),
        );
        assert_without_complaint(&output);
        // Says what is next.
        let said = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(
            said.starts_with("Then: ") && said.lines().count() == 1,
            "{said}"
        );
        for name in *names {
            let file = file(name);
            let installed = root.join(&file.to[1..]);
            let text = fs::read_to_string(&installed).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(
                text,
                file.text().replace(INSTALLED, INSTALLED_IN_USR),
                "{name}"
            );
            assert_eq!(mode(&installed), mode(&file.path()), "{name}");
        }
    }
    let of_all: usize = TARGETS.iter().map(|(_, names)| names.len()).sum();
    // Three of them have the same place.
    assert_eq!(files_below(&root).len(), of_all - 2);
    let output = make(
        &scratch,
        &[&variables[..], &["uninstall".to_owned()]].concat(),
    );
    assert_without_complaint(&output);
    assert!(files_below(&root).is_empty(), "{:?}", files_below(&root));
}

#[test]
fn where_nothing_is_built_it_says_what_to_do() {
    let scratch = Scratch::new();
    let root = scratch.path("root");
    let words = [
        variable("BINARY", &scratch.path("rot13d")),
        variable("DESTDIR", &root),
        "install".to_owned(),
    ];
    let output = make(&scratch, &words);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(": run make first."), "{said}");
    assert!(!root.exists());
}
