//! The server as a template: in copies of the sources one file becomes another
//! protocol of lines, and one another kind of session. Both are built and talk to
//! netcat.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::tree::{Tree, succeeded};
use crate::support::{Scratch, Server, runner, tool};

/// In place of `src/rot13.rs`.
const UPPERCASE: &str = r#"//! Another protocol of lines: they come back in capitals.

/// Makes a capital of every ASCII letter of `bytes`.
pub fn rotate(bytes: &mut [u8]) {
    bytes.make_ascii_uppercase();
}
"#;

/// In place of `src/session.rs`: says what time it is, and ends.
const TIME_OF_DAY: &str = r#"//! One client, in a process of its own: is told the time of day (UTC).

use crate::sys::{self, LISTENER, memory::SESSION_ROOM};
use rustix::fd::RawFd;
use rustix::io;

/// Tells the client at `socket` what time it is.
pub extern "C" fn run(
    _room: &'static mut [u8; SESSION_ROOM],
    socket: RawFd,
    _idle: u32,
    _lifetime: u32,
) -> ! {
    let socket = sys::descriptor(socket);
    sys::close(LISTENER);
    sys::signals::unblock_signals();
    let mut line = *b"00:00:00\n";
    let mut left = sys::seconds_since_1970() % 86_400;
    for (at, base) in [(7, 10), (6, 6), (4, 10), (3, 6), (1, 10), (0, 10)] {
        if let Some(digit) = line.get_mut(at) {
            *digit = b'0' + (left % base) as u8;
        }
        left /= base;
    }
    let mut rest = &line[..];
    while let Ok(count @ 1..) = io::write(socket, rest) {
        rest = rest.get(count..).unwrap_or_default();
    }
    sys::exit(0)
}
"#;

/// At the end of `src/sys/mod.rs`: rustix has it through the vDSO alone, which no
/// child has.
const CLOCK: &str = r#"
/// The time of day (clock_gettime(2)).
pub fn seconds_since_1970() -> u64 {
    let mut time = [0usize; 2];
    let (clock, place) = (libc::CLOCK_REALTIME as usize, time.as_mut_ptr().addr());
    // SAFETY: writes a `struct timespec`: two numbers of this size.
    let _ = unsafe { call(libc::SYS_clock_gettime, clock, place, 0, 0) };
    time[0] as u64
}
"#;

/// The rule is put in front of this one in `src/cage.rs`.
const FIRST_RULE: &str = "    allow(&[libc::SYS_read, libc::SYS_write]),\n";
const RULE: &str = "    allow(&[libc::SYS_clock_gettime]),\n";

fn build(tree: &Tree) -> PathBuf {
    succeeded(&tree.cargo(&["build", "--release", "--quiet"]));
    tree.path("target/release/rot13d")
}

/// What netcat hears when it has said `text` and closed its half.
#[track_caller]
fn netcat(server: &Server, text: &str) -> String {
    let mut netcat = Command::new(tool("nc.openbsd"))
        .args(["-N", "-w", "60", "127.0.0.1", &server.port().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("netcat");
    let mut input = netcat.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = netcat.wait_with_output().expect("netcat");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn one_file_is_another_protocol_of_lines() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let tree = Tree::copy_to(scratch.path("uppercase"));
    tree.write("src/rot13.rs", UPPERCASE);
    let server = Server::new().binary(build(&tree)).start();
    let heard = netcat(&server, "Hello, world\nGrüße, 4 times\nand no newline");
    assert_eq!(heard, "HELLO, WORLD\nGRüßE, 4 TIMES\nAND NO NEWLINE");
}

/// Seconds since midnight, from `HH:MM:SS` and a newline.
#[track_caller]
fn seconds(line: &str) -> u64 {
    let line = line.strip_suffix('\n').expect("a line");
    let parts: Vec<u64> = line.split(':').map(|part| part.parse().unwrap()).collect();
    let [hours, minutes, seconds] = parts[..] else {
        panic!("{line}")
    };
    assert_eq!(line.len(), "HH:MM:SS".len());
    (hours * 60 + minutes) * 60 + seconds
}

fn seconds_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is later than 1970").as_secs()
}

#[test]
fn one_file_is_another_kind_of_session_and_its_call_takes_a_rule() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let tree = Tree::copy_to(scratch.path("time of day"));
    tree.write("src/session.rs", TIME_OF_DAY);
    tree.write("src/sys/mod.rs", &(tree.read("src/sys/mod.rs") + CLOCK));
    // Without a rule, the call ends the process that makes it.
    {
        let server = Server::new().binary(build(&tree)).args(["-v"]).start();
        assert_eq!(netcat(&server, ""), "");
        server.wait_log(" signal 31 ");
    }
    let cage = tree.read("src/cage.rs");
    assert_eq!(cage.matches(FIRST_RULE).count(), 1, "{cage}");
    let with_rule = cage.replace(FIRST_RULE, &format!("{RULE}{FIRST_RULE}"));
    tree.write("src/cage.rs", &with_rule);
    let server = Server::new().binary(build(&tree)).args(["-v"]).start();
    let before = seconds_since_1970();
    let told = seconds(&netcat(&server, ""));
    let after = seconds_since_1970();
    assert!((before..=after).any(|time| time % 86_400 == told), "{told}");
    server.wait_log(" exit 0 0/256");
}

/// What would be another cage than the list says: of two rules for a call the second one
/// would never be tried, and conditions without a call would be tried on every call.
#[test]
fn rule_that_says_what_it_does_not_do_does_not_compile() {
    assert!(runner().is_empty(), "it is built for this machine");
    let scratch = Scratch::new();
    let tree = Tree::copy_to(scratch.path("rules"));
    let cage = tree.read("src/cage.rs");
    for (rule, reason) in [
        (
            "    allow(&[libc::SYS_sysinfo]),\n",
            "only the first rule would count",
        ),
        (
            "    allow_if(&[], &[Argument(0, Exactly(0))]),\n",
            "every call would be held against its conditions",
        ),
    ] {
        tree.write(
            "src/cage.rs",
            &cage.replace(FIRST_RULE, &(rule.to_owned() + FIRST_RULE)),
        );
        let output = tree.cargo(&["check", "--release", "--quiet", "--bin", "rot13d"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(reason),
            "{rule}: {said}"
        );
    }
    tree.write("src/cage.rs", &cage);
    succeeded(&tree.cargo(&["check", "--release", "--quiet", "--bin", "rot13d"]));
}
