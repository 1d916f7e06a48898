//! The exact system calls of the server, from its start to its end, with one
//! client that sends one line. `tests/audit.txt` is the list, and what the README
//! shows. Where a call is added or gone on purpose,
//! `UPDATE=1 cargo test --test suite audit` writes both anew.
//!
//! The list is that of x86_64, to the last argument. On the other architectures
//! it is the names that are compared, some of which are others there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::support::trace::{name, result};
use crate::support::{Dialogue, Ready, Server, found, is_for_x86_64, runner};

/// What a connection may cost, whatever the list says.
const PARENT: usize = 5 + 3;
const CHILD: usize = 7;

/// Where the list stands in the README.
const START: &str = "<!-- audit -->\n```\n";
const END: &str = "```\n<!-- /audit -->";

#[test]
fn calls_are_those_of_the_list() {
    let mut found = Session::record().list();
    println!("{found}");
    if updating() && is_for_x86_64() {
        update(&found);
    }
    let mut listed = fs::read_to_string(list_file()).expect("tests/audit.txt");
    if !is_for_x86_64() {
        (found, listed) = (names_alone(&found), names_alone(&listed));
    }
    assert!(
        found == listed,
        "-: tests/audit.txt, +: now\n{}",
        difference(&listed, &found)
    );
}

/// A list with nothing of a call but its name.
fn names_alone(list: &str) -> String {
    let short = |line: &str| match name(line.trim()) {
        "" => format!("{line}\n"),
        name => format!("    {}\n", on_x86_64(name)),
    };
    list.lines().map(short).collect()
}

/// What x86_64 has in place of a call of a later architecture.
fn on_x86_64(name: &str) -> &str {
    match name {
        "accept4" => "accept",
        "openat" => "open",
        "dup3" => "dup2",
        "fcntl64" => "fcntl",
        "mmap2" => "mmap",
        name => name,
    }
}

/// Where `old` and `new` differ, with what is the same before and after.
fn difference(old: &str, new: &str) -> String {
    let [old, new] = [old, new].map(|list| list.lines().collect::<Vec<_>>());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let start = old.iter().zip(&new).take_while(same).count();
    let (old, new, before) = (&old[start..], &new[start..], &new[..start]);
    let pairs = old.iter().rev().zip(new.iter().rev());
    let end = pairs.take_while(same).count();
    let (gone, come) = (&old[..old.len() - end], &new[..new.len() - end]);
    let after = &new[new.len() - end..];
    let marked = [("  ", before), ("- ", gone), ("+ ", come), ("  ", after)];
    let line = |mark, line| format!("{mark}{line}\n");
    let lines = marked
        .iter()
        .flat_map(|(mark, lines)| lines.iter().map(move |text| line(mark, text)));
    lines.collect()
}

#[test]
fn a_connection_costs_no_more_than_agreed() {
    let session = Session::record();
    let parent = calls(&session.parent);
    assert!(parent.len() <= PARENT, "{parent:#?}");
    let mask = "rt_sigprocmask";
    assert_eq!(
        names(&parent)[..5],
        ["accept", mask, "clone", mask, "close"]
    );
    assert_eq!(names(&parent)[5..], ["wait4", "wait4", "rt_sigreturn"]);
    let child = calls(&session.child);
    assert!(child.len() <= CHILD, "{child:#?}");
}

/// The table in the README that says who makes each call, rustix or `src/sys`.
#[test]
fn readme_says_who_makes_each_call() {
    let readme = fs::read_to_string(readme_file()).expect("README.md");
    let listed = fs::read_to_string(list_file()).expect("tests/audit.txt");
    let (_, table) = readme.split_once("<!-- calls -->").expect("the table");
    let (table, _) = table.split_once("<!-- /calls -->").expect("its end");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut said = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [calls, by, why] = cells[..] else {
            panic!("three columns: {row}");
        };
        assert_eq!(
            by == "us",
            !why.is_empty(),
            "an own call has a reason: {row}"
        );
        for call in calls.split(", ") {
            said.insert(call.trim_matches('`').to_owned(), by.to_owned());
        }
    }
    let made: BTreeSet<String> = listed
        .lines()
        .map(|line| name(line.trim()).to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(said.keys().cloned().collect::<BTreeSet<_>>(), made);

    // Ours are those whose numbers stand in src/sys.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sys");
    let own: String = ["mod.rs", "signals.rs", "wait.rs", "arch/x86_64.rs"]
        .map(|file| fs::read_to_string(folder.join(file)).expect("a source"))
        .concat();
    for (call, by) in said {
        let number = format!("libc::SYS_{call}");
        let is_its = |rest: &str| !rest.starts_with(|c: char| c == '_' || c.is_alphanumeric());
        let is_own = own.split(&number).skip(1).any(is_its);
        assert_eq!(by == "us", is_own, "{call} is made by {by}?");
    }
}

#[test]
fn readme_shows_the_list() {
    if updating() {
        return;
    }
    let readme = fs::read_to_string(readme_file()).expect("README.md");
    let listed = fs::read_to_string(list_file()).expect("tests/audit.txt");
    let [_, shown, _] = around_block(&readme);
    assert_eq!(
        shown, listed,
        "the README has another list than tests/audit.txt"
    );
}

/// In steady state a line is one read and one write, however many there were
/// before; lines that come together leave together.
#[test]
fn a_line_costs_two_calls() {
    const LINES: usize = 50;
    let server = Server::new().recorded().start();
    let mut client = server.connect();
    for _ in 0..LINES {
        client.exchange(b"one line\n");
    }
    client.exchange(b"three\nlines\ntogether\n");
    let child = server.only_child();
    drop(client);
    server.wait_childless();
    let calls = found("all that it did is recorded", || {
        let calls = calls(server.calls().get(&child)?);
        names(&calls).ends_with(&["exit"]).then_some(calls)
    });
    let all = names(&calls);
    let first = all.iter().position(|&name| name == "read").expect("a read");
    let (dialogue, end) = all[first..].split_at(2 * (LINES + 1));
    assert!(
        dialogue.chunks(2).all(|pair| pair == ["read", "write"]),
        "{all:?}"
    );
    assert_eq!(end, ["read", "exit"]);
}

/// No heap, whatever the options: nothing that gets memory, anywhere, but for the
/// one mapping that the parent makes for its children before the first of them.
#[test]
fn nothing_allocates() {
    for options in [
        &[] as &[&str],
        &["-v", "-c", "1", "-C", "1", "-t", "1", "-T", "9", "-k", "9"],
    ] {
        let mut server = Server::new().args(options).recorded().start();
        let mut client = server.connect();
        for length in [1, 4096, 5000, 300_000] {
            client.exchange(&[vec![b'n'; length - 1], vec![b'\n']].concat());
        }
        client.half_close();
        client.assert_end();
        server.wait_childless();
        server.signal(libc::SIGTERM);
        server.wait_exit();
        for (pid, lines) in server.calls() {
            let calls = calls(&lines);
            let named = names(&calls);
            assert!(named.len() > 3, "{pid} did something");
            for allocates in ["brk", "mremap", "mprotect", "shmat"] {
                assert!(!named.contains(&allocates), "{options:?}: {calls:#?}");
            }
            let first = named.iter().position(|&name| name == "accept");
            let is_map = |name: &&&str| matches!(**name, "mmap" | "mmap2");
            let (before, after) = named.split_at(first.unwrap_or(0));
            let maps = [before, after].map(|names| names.iter().filter(is_map).count());
            let parent = usize::from(pid == server.pid());
            assert_eq!(maps, [parent, 0], "{options:?}: {calls:#?}");
        }
    }
}

/// The calls of one run, in the parts that the list has.
struct Session {
    start: Vec<String>,
    parent: Vec<String>,
    child: Vec<String>,
    end: Vec<String>,
}

impl Session {
    /// The server without an option but port 0, one client, one line, SIGTERM.
    fn record() -> Self {
        let server = Server::new().host("0").ready(Ready::Log);
        let mut server = server.recorded().start();
        let (pid, port) = (server.pid(), server.port().to_string());
        let mut client = server.connect();
        client.exchange(b"hello\n");
        let child = server.only_child();
        server.wait_accepting();
        client.half_close();
        client.assert_end();
        server.wait_childless();
        server.wait_accepting();
        server.signal(libc::SIGTERM);
        assert!(server.wait_exit().success());

        let mut trace = server.calls();
        assert_eq!(trace.len(), 2, "one parent, one child: {trace:#?}");
        let mut take = |pid| trace.remove(&pid).expect("a traced process");
        let readable = |line: &String| readable(line).replace(&port, "PORT");
        // An emulator has no times of 64 bits: each is asked for twice.
        let known = |line: &&String| !(name(line) == "setsockopt" && line.contains("errno=92"));
        let child = take(child).iter().filter(known).map(readable).collect();
        // An accept that a signal interrupts goes on: one call, shown twice.
        let whole = |line: &String| result(line) != "ERESTARTSYS";
        let mut start: Vec<String> = take(pid)
            .iter()
            .filter(|line| whole(line))
            .filter(known)
            .map(readable)
            .collect();
        let mut split = |at: &str| {
            let at = start.iter().position(|line| line.starts_with(at));
            start.split_off(at.expect("as every session goes"))
        };
        let end = split("--- SIGTERM");
        let parent = split("accept");
        start.retain(|line| !matches!(name(line), "" | "execve"));
        if !runner().is_empty() {
            // It says that there is no seccomp.
            take_out(&mut start, "prctl", &["write"]);
        }
        Session {
            start,
            parent,
            child,
            end,
        }
    }

    fn list(&self) -> String {
        let mut list = String::new();
        for (title, lines) in [
            ("start-up", &self.start),
            ("one client, one line: the parent", &self.parent),
            ("one client, one line: the child", &self.child),
            ("SIGTERM", &self.end),
        ] {
            writeln!(list, "{title}: {} system calls", calls(lines).len()).unwrap();
            for line in lines {
                writeln!(list, "    {line}").unwrap();
            }
        }
        list
    }
}

/// Takes out `calls`, which follow the last call of `after`.
#[track_caller]
fn take_out(lines: &mut Vec<String>, after: &str, calls: &[&str]) {
    let last = lines.iter().rposition(|line| name(line) == after);
    let start = last.unwrap_or_else(|| panic!("no {after} in {lines:#?}")) + 1;
    let taken: Vec<String> = lines.drain(start..start + calls.len()).collect();
    assert_eq!(names(&taken), calls, "after {after}");
}

fn list_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit.txt")
}

fn readme_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// The README before, in and after the block that shows the list.
fn around_block(readme: &str) -> [&str; 3] {
    let (before, rest) = readme
        .split_once(START)
        .expect("<!-- audit --> in README.md");
    let (block, after) = rest.split_once(END).expect("<!-- /audit --> in README.md");
    [before, block, after]
}

fn updating() -> bool {
    env::var_os("UPDATE").is_some()
}

fn update(list: &str) {
    fs::write(list_file(), list).expect("tests/audit.txt");
    let readme = fs::read_to_string(readme_file()).expect("README.md");
    let [before, _, after] = around_block(&readme);
    fs::write(readme_file(), [before, START, list, END, after].concat()).expect("README.md");
}

/// The lines that are calls: no signals, no ends.
fn calls(lines: &[String]) -> Vec<String> {
    let calls = lines.iter().filter(|line| !name(line).is_empty());
    calls.cloned().collect()
}

fn names(calls: &[String]) -> Vec<&str> {
    calls.iter().map(|call| on_x86_64(name(call))).collect()
}

/// A line of strace without what differs from one run to the next (addresses,
/// processes, ports), and shorter where strace is wordy.
fn readable(line: &str) -> String {
    let mut words = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.starts_with("--- SIG") {
        return words.split(" {").next().unwrap_or_default().to_owned() + " ---";
    }
    words = replace_each(&words, "{sa_family=", '}', |address| {
        let port = address
            .split_once("htons(")
            .and_then(|(_, rest)| rest.split_once(')'));
        let host = address.split('"').nth(1);
        let (Some((port, _)), Some(host)) = (port, host) else {
            return address.to_owned();
        };
        // Ports that the kernel chose.
        let port = if port.len() == 5 { "PORT" } else { port };
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    });
    words = replace_each(&words, "0x", ' ', |number| {
        let end = number[2..].find(|c: char| !c.is_ascii_hexdigit());
        format!("ADDRESS{}", end.map_or("", |end| &number[2 + end..]))
    });
    words = words
        .replace("SA_RESTORER|", "")
        .replace(", sa_restorer=ADDRESS", "")
        .replace(", sa_restorer=NULL", "");
    words = replace_each(&words, "parent_tid=[", ']', |_| {
        "parent_tid=[PID]".to_owned()
    });
    // Values that strace cannot read, since they are longer than need be.
    words = replace_each(&words, "TIMEO_NEW, \"", ',', |bytes| {
        format!("TIMEO_NEW, {} s,", number(&bytes["TIMEO_NEW, \"".len()..]))
    });
    if name(&words) == "setsockopt" {
        words = replace_each(&words, ", \"", ',', |bytes| {
            format!(", [{}],", number(&bytes[", \"".len()..]))
        });
    }
    // Without strace's notes on the result.
    if let Some(end) = words
        .rfind(" = ")
        .and_then(|at| Some(at + words[at..].find(" (")?))
    {
        words.truncate(end);
    }
    if name(&words) == "wait4" && !words.starts_with("wait4(-1") {
        words = replace_each(&words, "wait4(", ',', |_| "wait4(PID,".to_owned());
    }
    let gives_pid = matches!(name(&words), "clone" | "wait4");
    if gives_pid && result(&words).parse().is_ok_and(|pid: i32| pid > 0) {
        let length = words.rfind(" = ").expect("it has a result");
        words.replace_range(length.., " = PID");
    }
    if name(&words) == "madvise" {
        let far = |word: &str| word.len() > 12 && word.trim_end_matches(',').parse::<u64>().is_ok();
        let word = |word| if far(word) { "LENGTH," } else { word };
        words = words.split(' ').map(word).collect::<Vec<_>>().join(" ");
    }
    words
}

/// The little-endian number in the first four bytes of what strace shows as a string.
fn number(shown: &str) -> u32 {
    let mut rest = shown.as_bytes();
    let bytes = [(); 4].map(|()| {
        let (byte, length) = match rest {
            [b'\\', b'0'..=b'7', ..] => {
                let digits = rest[1..].iter().take(3);
                let digits = digits.take_while(|digit| matches!(digit, b'0'..=b'7'));
                let value = |value: u32, digit: &u8| 8 * value + u32::from(digit - b'0');
                let length = 1 + digits.clone().count();
                (digits.fold(0, value) as u8, length)
            }
            [b'\\', letter, ..] => {
                let place = b"abtnvfr".iter().position(|other| other == letter);
                (place.map_or(*letter, |place| 7 + place as u8), 2)
            }
            [byte, ..] => (*byte, 1),
            [] => panic!("no number: {shown}"),
        };
        rest = &rest[length..];
        byte
    });
    u32::from_le_bytes(bytes)
}

/// Replaces everything that begins with `start` and ends with `end`.
fn replace_each(text: &str, start: &str, end: char, with: impl Fn(&str) -> String) -> String {
    let mut parts = text.split(start);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let length = part.find(end).map_or(part.len(), |at| at + end.len_utf8());
        result += &with(&format!("{start}{}", &part[..length]));
        result += &part[length..];
    }
    result
}
