//! The README's commands: each is run here, or is one of make's that another test runs.
//! A command that is new there has to be known here.

#[allow(dead_code, reason = "the bench uses the rest")]
#[path = "bench/src/marked.rs"]
pub mod marked;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::memory;
use crate::support::tree::succeeded;
use crate::support::{Dialogue, Server, binary, cargo, eventually, is_for_x86_64, tool};

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands in the README's indented blocks, without their comments; one that goes
/// on in the next line is whole.
fn commands() -> Vec<String> {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    // Text, fenced block, text, …
    let text: String = readme.split("\n```").step_by(2).collect();
    let text = text.replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    let words = ["make", "sudo", "objdump", "strace", "cargo", "gdb", "$"];
    lines
        .map(|line| line.split("  #").next().unwrap_or_default().trim())
        .filter(|line| words.contains(&line.split(' ').next().unwrap_or_default()))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// What make would do: the target is there, and what it needs.
#[track_caller]
fn make_knows(arguments: &str) {
    let output = Command::new(tool("make"))
        .arg("--dry-run")
        .args(arguments.split_whitespace())
        .env_remove("MAKEFLAGS")
        .current_dir(repository())
        .output();
    succeeded(&output.expect("make"));
}

/// Runs `words` with the server where they name it, and a client; what is on standard
/// error when it has ended.
#[track_caller]
fn run_with_client(words: &[&str]) -> String {
    let wrapper = words.iter().take_while(|word| !word.starts_with("target/"));
    let mut server = Server::new().args(["-v"]).under(wrapper).start();
    let mut client = server.connect();
    client.exchange(b"as the README says\n");
    drop(client);
    server.wait_childless();
    server.signal(libc::SIGTERM);
    server.wait_exit();
    server.stderr().to_end()
}

/// The build with symbols, where the README has it.
fn with_symbols() -> PathBuf {
    let mut command = Command::new(cargo());
    command.args(
        "rustc --release --bin rot13d --target-dir target/symbols -- -Cstrip=none".split(' '),
    );
    succeeded(
        &command
            .current_dir(repository())
            .output()
            .expect("cargo runs"),
    );
    repository().join("target/symbols/release/rot13d")
}

/// What gdb says of a client's process, with names.
#[track_caller]
fn gdb(words: &[&str]) {
    assert_eq!(words, ["gdb", "-p", "PID", "target/symbols/release/rot13d"]);
    let server = Server::new().binary(with_symbols()).start();
    let mut client = server.connect();
    client.exchange(b"to be looked at\n");
    let child = server.only_child();
    eventually("it waits", || crate::support::proc::blocked_in_read(child));
    let output = Command::new(tool("gdb"))
        .args(["-batch", "-ex", "backtrace", "-p", &child.to_string()])
        .arg(with_symbols())
        .stdin(Stdio::null())
        .output()
        .expect("gdb runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("rot13d::session"), "{output:?}");
}

#[test]
fn every_command_works() {
    if !is_for_x86_64() {
        return; // They are about a server of this machine.
    }
    let commands = commands();
    assert!(commands.len() > 12, "{commands:#?}");
    for command in &commands {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["make" | "sudo", ..] => {
                make_knows(
                    command
                        .trim_start_matches("sudo ")
                        .trim_start_matches("make"),
                );
            }
            ["$", "nc", _, port] => {
                assert_eq!(port, "43211");
                let server = Server::start();
                let mut netcat = Command::new(tool("nc.openbsd"))
                    .args(["-N", "127.0.0.1", &server.port().to_string()])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .expect("netcat");
                let mut input = netcat.stdin.take().expect("a pipe");
                std::io::Write::write_all(&mut input, b"Hello, world\n").expect("it reads");
                drop(input);
                let heard = netcat.wait_with_output().expect("netcat").stdout;
                assert_eq!(heard, b"Uryyb, jbeyq\n");
            }
            ["objdump", "-d", "target/release/rot13d"] => {
                let mut objdump = Command::new(tool("objdump"));
                let output = objdump.arg("-d").arg(binary()).output().expect("objdump");
                succeeded(&output);
                assert!(String::from_utf8_lossy(&output.stdout).contains("syscall"));
            }
            ["strace", "-f", "-c", ..] => {
                let said = run_with_client(&words);
                assert!(said.contains("accept") && said.contains("clone"), "{said}");
            }
            ["strace", "-f", "-e", ..] => {
                let said = run_with_client(&words);
                assert!(said.contains("accept: too many open files"), "{said}");
                assert!(said.contains("no seccomp"), "{said}");
            }
            ["cargo", "rustc", ..] => assert!(with_symbols().is_file()),
            ["gdb", ..] => gdb(&words),
            _ => panic!("a command that nobody runs: {command}"),
        }
    }
}

/// The options are those of the program.
#[test]
fn options_are_the_usage() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    let (_, options) = readme.split_once("\n## Options\n").expect("the options");
    let lines = options.lines().skip_while(|line| line.is_empty());
    let shown: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    let words =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let usage = Server::new().exactly(["-h"]).run().stdout;
    let usage = usage.strip_prefix("usage: ").expect("the usage");
    assert_eq!(words(&shown.join(" ")), words(usage));
}

/// What it costs is written by the bench, into the report as well: a figure that was
/// changed in one of them alone was changed by hand.
#[test]
fn costs_are_those_of_the_report() {
    let text = |name| fs::read_to_string(repository().join(name)).expect(name);
    let (readme, report) = (text("README.md"), text("tests/bench/REPORT.md"));
    for name in ["costs", "in-short", "board-costs"] {
        let part = marked::part(&readme, name).expect(name);
        assert_eq!(part, marked::part(&report, name).expect(name), "{name}");
        assert!(part.contains(|c: char| c.is_ascii_digit()), "{name}");
    }
}

/// The clients of a memory limit and what each takes were counted together, so one of
/// them that was changed by hand does not fit; and the rule of thumb holds for them.
#[test]
fn clients_of_a_memory_limit_fill_it() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    let table = marked::part(&readme, "memory").expect("the table");
    let rows = table.lines().filter_map(|line| {
        let cells = line.trim_matches('|').split('|');
        let numbers: Option<Vec<f64>> = cells.map(|cell| cell.trim().parse().ok()).collect();
        numbers
    });
    let rows: Vec<Vec<f64>> = rows.collect();
    assert!(rows.len() >= 3, "{table}");
    for row in rows {
        let [limit, clients, each] = row[..] else {
            panic!("three columns: {row:?}");
        };
        let filled = clients * each / (limit * 1024.0);
        assert!((0.9..1.0).contains(&filled), "{filled}: {row:?}");
        assert!(each * 1024.0 <= memory::EACH as f64, "{row:?}");
    }
}

/// What a number in the README is about has not moved on without it.
#[test]
fn nothing_is_left_to_be_filled_in() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("README.md");
    for line in readme.lines() {
        let words = line.split(|c: char| c.is_whitespace() || c == '|');
        let open =
            words.filter(|word| word.len() > 2 && word.starts_with('@') && word.ends_with('@'));
        assert_eq!(open.count(), 0, "{line}");
    }
}
