//! The manual page says what the program does: its synopsis, options, ranges,
//! defaults and messages are compared with the program's own, both ways, so that
//! neither can drift.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::layers::source::Source;
use crate::support::client::option;
use crate::support::{Dialogue, Ready, Server, binary, proc, signal_process, tool};

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rot13d.8")
}

fn mandoc(args: &[&str]) -> String {
    let mut command = Command::new(tool("mandoc"));
    let output = command.args(args).arg(page()).output().expect("mandoc");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The lines of a section as they are shown, without their indentation by
/// five; an underlined letter is a `_`, a backspace and itself.
#[track_caller]
fn section(name: &str) -> Vec<String> {
    let text = mandoc(&["-T", "ascii", "-O", "width=200"]);
    let heading = |line: &str| !line.is_empty() && !line.starts_with(' ');
    let lines = text.lines().skip_while(|line| plain(line) != name).skip(1);
    let lines = lines.take_while(|line| !heading(line));
    let lines: Vec<String> = lines
        .map(|line| line.strip_prefix("     ").unwrap_or(line).to_owned())
        .collect();
    assert!(!lines.is_empty(), "no section {name}");
    lines
}

/// Without bold and underlined letters.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        if letter == '\u{8}' {
            plain.pop();
        } else {
            plain.push(letter);
        }
    }
    plain
}

/// With single spaces.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn usage() -> String {
    let usage = Server::new().exactly(["-h"]).run().stdout;
    words(usage.strip_prefix("usage: ").expect("the usage"))
}

/// An option or operand in the manual: `-b backlog`, and what is said about it.
struct Entry {
    head: String,
    text: String,
}

fn entries() -> Vec<Entry> {
    let source = fs::read_to_string(page()).expect("the manual");
    let (_, source) = source
        .split_once("\nThe operands are:")
        .expect("the operands");
    let (source, _) = source.split_once("\n.Sh ").expect("the next section");
    let items = source.split("\n.It ").skip(1);
    items
        .map(|item| {
            let (head, text) = item.split_once('\n').expect("a text");
            let head = head.replace("Fl ", "-").replace("Ar ", "");
            Entry {
                head,
                text: words(text),
            }
        })
        .collect()
}

#[track_caller]
fn entry(head: &str) -> Entry {
    let mut all = entries().into_iter();
    let found = all.find(|entry| entry.head == head);
    found.unwrap_or_else(|| panic!("no entry {head:?}"))
}

/// The numbers of `1 to 30000`.
#[track_caller]
fn range(entry: &Entry) -> (u64, u64) {
    let words: Vec<&str> = entry.text.split([' ', ',', '.']).collect();
    let at = words.windows(3).find_map(|three| {
        let [least, "to", most] = three else {
            return None;
        };
        Some((least.parse().ok()?, most.parse().ok()?))
    });
    at.unwrap_or_else(|| panic!("no range: {} {}", entry.head, entry.text))
}

/// What follows `default is`.
#[track_caller]
fn default(head: &str) -> String {
    let text = entry(head).text;
    let (_, default) = text.split_once("default is ").expect("a default");
    default.split(['.', ':']).next().unwrap().to_owned()
}

/// Whether the program takes these arguments, up to `-h` or a surplus operand.
fn takes(args: &[&str]) -> bool {
    let run = Server::new().exactly(args).run();
    run.status.code() == Some(0) || run.stderr.contains(": surplus\n")
}

#[test]
fn mandoc_has_no_complaint() {
    let complaints = mandoc(&["-T", "lint", "-W", "all"]);
    // This one is about the machine's other manuals.
    let mut complaints = complaints
        .lines()
        .filter(|line| !line.contains("manual not found"));
    assert_eq!(complaints.next(), None);
}

#[test]
fn synopsis_is_the_usage() {
    let synopsis: Vec<String> = section("SYNOPSIS").iter().map(|line| plain(line)).collect();
    assert_eq!(words(&synopsis.join(" ")), usage());
}

#[test]
fn every_option_has_an_entry() {
    let usage = usage();
    let mut expected = vec!["host".to_owned(), "port".to_owned()];
    for part in usage.split('[').filter_map(|part| part.strip_prefix('-')) {
        let part = part.trim_end().trim_end_matches(']');
        if part.contains(' ') {
            expected.push(format!("-{part}"));
        } else {
            expected.extend(part.chars().map(|letter| format!("-{letter}")));
        }
    }
    let mut heads: Vec<String> = entries().into_iter().map(|entry| entry.head).collect();
    heads.sort();
    expected.sort();
    assert_eq!(heads, expected);
}

#[test]
fn ranges_are_the_program_s() {
    let entries = entries().into_iter();
    for entry in entries.filter(|entry| entry.head == "port" || entry.head.contains(' ')) {
        let (least, most) = range(&entry);
        let takes = |number: u64| {
            let number = number.to_string();
            match entry.head.split_once(' ') {
                Some((option, _)) => takes(&[option, &number, "-h"]),
                None => takes(&["0", &number, "surplus"]),
            }
        };
        let head = &entry.head;
        assert!(takes(least), "{head} {least}");
        assert!(takes(most), "{head} {most}");
        assert!(!takes(most + 1), "{head} {}", most + 1);
        assert!(least == 0 || !takes(least - 1), "{head} {}", least - 1);
    }
}

#[test]
fn defaults_are_the_program_s() {
    let server = Server::new()
        .strace(["-e", "trace=listen,setitimer"])
        .args(["-v"])
        .start();
    let mut client = server.connect();
    client.exchange(b"Hello\n");
    let limit = default("-c limit");
    assert!(server.wait_log("start ").ends_with(&format!(" 1/{limit}")));
    let listen = format!("listen(3, {})", default("-b backlog"));
    let trace = server.trace();
    assert!(trace.iter().any(|line| line.contains(&listen)), "{listen}");
    // So often a client's process looks whether the time is over.
    let idle: i64 = default("-t idle").parse().expect("a number");
    let child = server.only_child();
    let socket = *proc::sockets(child).first().expect("the client's");
    let socket = proc::duplicate(child, socket).expect("the child is there");
    let time: libc::timeval = option(&socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO);
    assert_eq!(time.tv_sec, idle / 8);
    // No timer is set for the child, and none when the server drains.
    for option in ["-k grace", "-T lifetime"] {
        assert_eq!(default(option), "0", "{option}");
    }
    drop(socket);
    signal_process(server.pid(), libc::SIGTERM);
    server.wait_log("draining ");
    client.half_close();
    client.assert_end();
    let timer = "it_value={tv_sec=";
    let trace = server.trace();
    let mut timers = trace.iter().filter(|line| line.contains(timer)).peekable();
    assert!(timers.peek().is_some(), "no timer is stopped: {trace:#?}");
    assert_eq!(
        timers.find(|line| !line.contains("it_value={tv_sec=0, ")),
        None
    );
    let elsewhere = Server::new()
        .under(["unshare", "-n"])
        .exactly([""; 0])
        .ready(Ready::Log)
        .start();
    assert_eq!(elsewhere.port().to_string(), default("port"));
}

/// A message of the manual.
#[derive(Debug)]
struct Message(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    /// An underlined word, which stands for another.
    Gap(String),
}

impl Message {
    /// The forms of each message: with and without what is in brackets.
    fn all() -> Vec<Vec<Message>> {
        let lines = section("DIAGNOSTICS").into_iter();
        let heads = lines.filter(|line| line.starts_with("rot13d: "));
        heads
            .map(|head| match head.split_once(" [") {
                Some((start, more)) => {
                    let more = more.strip_suffix(']').expect("the rest in brackets");
                    let all = format!("{start} {more}");
                    vec![Message::parse(start), Message::parse(&all)]
                }
                None => vec![Message::parse(&head)],
            })
            .collect()
    }

    fn parse(head: &str) -> Message {
        let mut parts = Vec::new();
        let letters: Vec<char> = head.chars().collect();
        let mut at = 0;
        while at < letters.len() {
            let is_double = letters.get(at + 1) == Some(&'\u{8}');
            let is_underlined = is_double && letters[at] == '_';
            // A letter that is bold comes twice, one that is underlined after its line.
            at += if is_double { 2 } else { 0 };
            match (parts.last_mut(), is_underlined) {
                (Some(Part::Gap(text)), true) | (Some(Part::Text(text)), false) => {
                    text.push(letters[at]);
                }
                (_, true) => parts.push(Part::Gap(letters[at].into())),
                (_, false) => parts.push(Part::Text(letters[at].into())),
            }
            at += 1;
        }
        Message(parts)
    }

    /// A gap stands for one word; for more, if it is a reason or an argument.
    fn describes(&self, line: &str) -> bool {
        fn fits(parts: &[Part], line: &str) -> bool {
            match parts {
                [] => line.is_empty(),
                [Part::Text(text), more @ ..] => line
                    .strip_prefix(text.as_str())
                    .is_some_and(|rest| fits(more, rest)),
                [Part::Gap(name), more @ ..] => {
                    let words = ["reason", "argument"].contains(&name.as_str());
                    let end = if words { None } else { line.find(' ') };
                    (1..=end.unwrap_or(line.len())).any(|end| fits(more, &line[end..]))
                }
            }
        }
        fits(&self.0, line)
    }
}

/// What a server says that has all kinds of clients, and is asked to end.
fn log_of_service() -> Vec<String> {
    let server = Server::new().args(["-v", "-C", "1"]).start();
    let mut first = server.connect();
    first.exchange(b"Hello\n");
    server.connect().assert_end();
    server.wait_log("refused ");
    signal_process(server.only_child(), libc::SIGKILL);
    server.wait_log(" signal 9 ");
    server.connect().exchange(b"Hello\n");
    server.wait_log(" exit 0 ");
    let mut client = server.connect();
    client.exchange(b"Hello\n");
    signal_process(server.pid(), libc::SIGTERM);
    server.wait_log("draining ");
    server.log()
}

/// What one says that has as many clients as it may.
fn log_of_limit() -> Vec<String> {
    let server = Server::new().args(["-c", "1"]).start();
    let mut client = server.connect();
    client.exchange(b"Hello\n");
    server.wait_log("full ");
    server.log()
}

/// What one says in which `call` fails. Without the cage, which would take a
/// call that strace plays for a forbidden one.
fn log_of_failure(call: &str, error: &str) -> Vec<String> {
    let cage = "inject=prctl:error=EINVAL";
    let failure = format!("inject={call}:error={error}:when=1");
    let server = Server::new().strace(["-e", cage, "-e", &failure]).start();
    server.connect().exchange(b"Hello\n");
    server.wait_log("no seccomp");
    server.log()
}

/// What one says in a kernel that has neither these calls nor seccomp.
fn log_without(calls: &str) -> Vec<String> {
    let missing = format!("inject={calls},prctl:error=ENOSYS");
    let server = Server::new()
        .strace(["-e", &missing])
        .args(["-T", "100"])
        .start();
    server.wait_log("no seccomp");
    server.log()
}

/// What one says whose listener is taken away.
fn log_of_loss() -> Vec<String> {
    let cage = "inject=prctl:error=EINVAL";
    let server = Server::new()
        .strace(["-e", cage, "-e", "inject=accept:error=EINVAL"])
        .start();
    server.wait_log("fatal: accept: ");
    server.log()
}

/// What one says that cannot start; without the usage.
fn log_of_start(args: &[&str]) -> Vec<String> {
    let privileges = "inject=setgroups,setuid:error=EPERM";
    let run = Server::new().strace(["-e", privileges]).exactly(args).run();
    assert_ne!(run.status.code(), Some(0), "{args:?}");
    let log = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("rot13d: "));
    log.map(str::to_owned).collect()
}

/// What no test can make it say: its words are in the program all the same.
fn log_of_panic() -> Vec<String> {
    let panic = "rot13d: fatal: panic";
    let file = fs::read(binary()).expect("the binary");
    let mut windows = file.windows(panic.len() + 1);
    assert!(windows.any(|bytes| bytes == format!("{panic}\n").as_bytes()));
    vec![panic.to_owned()]
}

#[test]
fn every_message_is_described_and_none_but_those() {
    let used = Server::start();
    let port = used.port().to_string();
    let runs: [&[&str]; 9] = [
        &["127.0.0.1", &port],
        &["-i"],
        &["-x"],
        &["-c", "none"],
        &["-v1c"],
        &["nowhere"],
        &["0", "99999"],
        &["127.0.0.1", "0", "surplus"],
        &["-u", "1", "127.0.0.1", "0"],
    ];
    let mut log = log_of_service();
    log.extend(log_of_limit());
    log.extend(log_of_failure("accept", "EMFILE"));
    log.extend(log_of_failure("clone", "EAGAIN"));
    log.extend(log_without("madvise,setitimer"));
    log.extend(log_of_loss());
    log.extend(log_of_panic());
    log.extend(runs.iter().flat_map(|args| log_of_start(args)));
    let messages = Message::all();
    let describe = |message: &Vec<Message>, line: &str| {
        let mut forms = message.iter();
        forms.any(|form| form.describes(line))
    };
    for line in &log {
        assert!(
            messages.iter().any(|message| describe(message, line)),
            "{line:?}: {messages:#?}"
        );
    }
    for message in &messages {
        assert!(
            log.iter().any(|line| describe(message, line)),
            "{message:?}: {log:#?}"
        );
    }
}

/// Both forms of a line that may recur, and the words of the program's usage errors.
#[test]
fn messages_of_the_manual_are_told_apart() {
    let messages = Message::all();
    let described = |line: &str| -> Vec<usize> {
        let all = messages.iter().enumerate();
        all.filter(|(_, forms)| forms.iter().any(|form| form.describes(line)))
            .map(|(at, _)| at)
            .collect()
    };
    for line in [
        "rot13d: refused 192.0.2.7:42270 and 3021 more",
        "rot13d: full 256/256 and 7 more",
        "rot13d: end 29289 exit 0 0/256",
        "rot13d: end 29290 signal 9 0/256",
        "rot13d: fatal: panic",
        "rot13d: unknown option -x",
        "rot13d: -c takes a number from 1 to 30000",
    ] {
        assert_eq!(described(line).len(), 1, "{line}: {:?}", described(line));
    }
    for line in [
        "rot13d: refused",
        "rot13d: refused 192.0.2.7:42270 and more",
        "rot13d: refused 192.0.2.7:42270 and 3021",
        "rot13d: draining 3/256 and 7 more",
        "rot13d: end 29289 exit 0",
        "rot13d: port takes a number from 0 to 65536, not 7",
        "rot13d: no idea",
    ] {
        assert_eq!(described(line), [0; 0], "{line}");
    }
}

/// The exit codes of the section are those of the program, and those alone.
#[test]
fn exit_codes_are_the_program_s() {
    let section = section("EXIT STATUS").join("\n");
    let heads = plain(&section);
    let heads = heads
        .lines()
        .filter_map(|line| line.split(' ').next()?.parse().ok());
    let heads: Vec<i32> = heads.collect();
    let used = Server::start();
    let port = used.port().to_string();
    let runs: [&[&str]; 3] = [&["-h"], &["-x"], &["127.0.0.1", &port]];
    let codes = runs.map(|args| Server::new().exactly(args).run().status.code());
    assert_eq!(
        codes.map(|code| code.expect("an exit code")).as_slice(),
        heads
    );
}

/// What is ignored, and what ends the server, is in the section on signals.
#[test]
fn signals_are_the_program_s() {
    let server = Server::start();
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("its status");
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.expect(name).trim(), 16).expect("a mask")
    };
    let text = plain(&section("SIGNALS").join("\n"));
    for (name, signal) in [
        ("SIGHUP", libc::SIGHUP),
        ("SIGINT", libc::SIGINT),
        ("SIGQUIT", libc::SIGQUIT),
        ("SIGALRM", libc::SIGALRM),
        ("SIGTERM", libc::SIGTERM),
        ("SIGPIPE", libc::SIGPIPE),
        ("SIGXFSZ", libc::SIGXFSZ),
        ("SIGTTOU", libc::SIGTTOU),
        ("SIGUSR1", libc::SIGUSR1),
        ("SIGTSTP", libc::SIGTSTP),
    ] {
        let bit = 1 << (signal - 1);
        let is_special = (mask("SigIgn:") | mask("SigCgt:")) & bit != 0;
        let is_default = [libc::SIGHUP, libc::SIGQUIT].contains(&signal);
        let expected = is_special || is_default;
        assert_eq!(text.contains(name), expected, "{name}");
    }
    let ignored = [libc::SIGPIPE, libc::SIGXFSZ, libc::SIGTTOU];
    let bits = ignored
        .iter()
        .fold(0, |bits, signal| bits | 1 << (signal - 1));
    assert_eq!(mask("SigIgn:") & bits, bits);
}

/// Every word of a usage error, too: none is new there.
#[test]
fn every_usage_error_of_the_source_is_described() {
    let heads = plain(&section("DIAGNOSTICS").join("\n"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/usage.rs");
    let source = fs::read_to_string(file).expect("the usage");
    let (_, shown) = source
        .split_once("impl Show for UsageError")
        .expect("what is shown");
    let texts: Vec<&str> = shown.split('"').skip(1).step_by(2).collect();
    assert!(texts.len() >= 6, "{texts:?}");
    for text in texts {
        assert!(heads.contains(text.trim_end()), "{text:?}");
    }
}

/// Also those that no test above provokes: how each begins stands in the source, for
/// `log!` or as it is written.
#[test]
fn every_message_of_the_source_is_described() {
    let heads = section("DIAGNOSTICS").into_iter().map(|line| plain(&line));
    let heads: Vec<String> = heads.filter(|line| line.starts_with("rot13d: ")).collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut count = 0;
    for file in Source::all(&source) {
        let text = file.lines.join("\n");
        let calls = text.split("log!(").skip(1);
        let logged = calls.filter_map(|call| call.trim_start().strip_prefix('"'));
        let written = text.split("\"rot13d: ").skip(1);
        for begin in logged.chain(written) {
            let begin = begin.split(['"', '\\']).next().expect("the text");
            let begin = format!("rot13d: {}", begin.trim_end());
            let described = heads.iter().any(|head| head.starts_with(&begin));
            assert!(described, "{}: {begin:?} is not in {heads:#?}", file.name);
            count += 1;
        }
    }
    assert!(count >= 10, "{count} messages were found");
}
