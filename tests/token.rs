//! The token, with which the parent's calls pass the cage: it is in no child,
//! whatever signals come and whenever; all its bits count. And the cage itself:
//! the filter is fetched from the kernel, read as a set of rules, run by an
//! interpreter at the borders of every rule, and compared with `tests/cage.txt`,
//! which the README shows. Where a rule is added or gone on purpose, `UPDATE=1
//! cargo test --test suite token` writes both anew.
//!
//! x86_64 only: the numbers of calls are those of that architecture.

mod filter;

use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::support::crowd::{LINE, all_served_to_their_end, crowd, served};
use crate::support::kernel::{failing, lacking};
use crate::support::ptrace::{Stop, Traced};
use crate::support::terminal::Terminal;
use crate::support::{Dialogue, Random, Ready, Server, eventually, found, is_for_x86_64, proc};

const ENDED: Result<i64, Stop> = Err(Stop::Killed(libc::SIGSYS));

/// What the fifth argument register of the server's next clone holds.
#[track_caller]
fn token(server: &Server) -> u64 {
    server.wait_accepting();
    let mut parent = Traced::attach(server.pid());
    let _client = server.connect();
    loop {
        assert_eq!(parent.go_on(libc::PTRACE_SYSCALL, 0), Stop::Call);
        let registers = parent.registers();
        if registers.orig_rax as i64 == libc::SYS_clone {
            break registers.r8;
        }
    }
}

/// A server that is at rest, and its token.
#[track_caller]
fn server_and_token(options: &[&str]) -> (Server, u64) {
    let server = Server::new().args(options).start();
    let token = token(&server);
    server.wait_childless();
    server.wait_accepting();
    (server, token)
}

/// A client that waits for its next line, and its process.
#[track_caller]
fn client_of(server: &Server) -> (TcpStream, i32) {
    let client = served(server);
    let child = server.only_child();
    eventually("the child waits for more", || proc::blocked_in_read(child));
    (client, child)
}

/// What to look for: the whole token, and each half of it, which would be half
/// of the secret.
fn needles(token: u64) -> Vec<Vec<u8>> {
    let halves = [token as u32, (token >> 32) as u32];
    let halves = halves.into_iter().filter(|half| *half != 0);
    halves.map(|half| half.to_ne_bytes().to_vec()).collect()
}

fn is_in(bytes: &[u8], needles: &[Vec<u8>]) -> bool {
    let mut needles = needles.iter();
    needles.any(|needle| bytes.windows(needle.len()).any(|part| part == needle))
}

/// Where in the readable memory of `pid` the token is.
#[track_caller]
fn places(pid: i32, token: u64) -> Vec<String> {
    let needles = needles(token);
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("its mappings");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory");
    let mut places = Vec::new();
    let mut searched = 0;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').expect("a mapping");
        // Not memory of the process: the kernel's clock, and an address that
        // only traps.
        if !rest.starts_with('r') || rest.contains("[vvar") || rest.contains("[vsyscall]") {
            continue;
        }
        let (start, end) = range.split_once('-').expect("a range");
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        let (start, end) = (address(start), address(end));
        let mut bytes = vec![0; (end - start) as usize];
        memory.read_exact_at(&mut bytes, start).expect(line);
        searched += bytes.len();
        if is_in(&bytes, &needles) {
            places.push(line.to_owned());
        }
    }
    assert!(searched > 4096, "there is something to search: {maps}");
    places
}

#[track_caller]
fn assert_nowhere(traced: &Traced, pid: i32, token: u64, context: &str) {
    let places = places(pid, token);
    assert_eq!(places, Vec::<String>::new(), "{context}");
    let registers = traced.all_registers();
    assert!(registers.len() > 500, "vectors are among them");
    let held = is_in(&registers, &needles(token));
    assert!(!held, "{context}: in a register");
}

/// The search finds it where it is, and where it is put; without that, to find
/// nothing would mean nothing.
#[test]
fn search_finds_what_is_there() {
    let (server, token) = server_and_token(&[]);
    assert_ne!(token, 0);
    assert!(!places(server.pid(), token).is_empty(), "the parent has it");
    let (_client, child) = client_of(&server);
    assert_eq!(places(child, token), Vec::<String>::new());
    let traced = Traced::attach(child);
    let mut registers = traced.registers();
    // Below its stack, as a signal frame is, and not aligned.
    let bytes = token.to_ne_bytes();
    traced.poke(registers.rsp - 303, &bytes);
    assert_eq!(places(child, token).len(), 1);
    traced.poke(registers.rsp - 303, &[0; 8]);
    assert_eq!(places(child, token).len(), 0);
    let half = &needles(token)[0];
    traced.poke(registers.rsp - 303, half);
    assert_eq!(places(child, token).len(), 1, "half of it counts");
    traced.poke(registers.rsp - 303, &[0; 8]);
    registers.r8 = token;
    traced.set_registers(&registers);
    assert!(is_in(&traced.all_registers(), &needles(token)));
}

/// Of the process's own children, quickly.
fn children(pid: i32) -> Vec<i32> {
    let file = format!("/proc/{pid}/task/{pid}/children");
    match fs::read_to_string(file) {
        Ok(text) => text.split(' ').filter_map(|pid| pid.parse().ok()).collect(),
        // CONFIG_PROC_CHILDREN is not in every kernel.
        Err(_) => proc::children(pid),
    }
}

/// Ctrl-C, and a supervisor that signals the whole group, reach a child that has
/// just been made: its registers are then saved on its own stack. One signal
/// for each, at some moment around its birth: a second one would write over
/// what the first has left.
#[test]
fn token_is_in_no_child_when_the_whole_group_is_signalled() {
    const CONNECTIONS: usize = 4000;
    let mut random = Random::seeded();
    let (server, token) = server_and_token(&["-c", "8"]);
    // SAFETY: touches no memory.
    let group = unsafe { libc::getpgid(server.pid()) };
    assert!(group > 1);
    let (mut leaks, mut example) = (0, Vec::new());
    for number in 0..CONNECTIONS {
        // From another address now and then, or the ports run out.
        let client = server.connect_from(&format!("127.0.7.{}", 1 + number % 200));
        let moment = Duration::from_micros(random.below(500) as u64);
        let begin = Instant::now();
        while begin.elapsed() < moment {
            std::hint::spin_loop();
        }
        // SAFETY: touches no memory. SIGCHLD has a handler and does no harm.
        let result = unsafe { libc::kill(-group, libc::SIGCHLD) };
        assert_eq!(result, 0);
        let child = found("its process", || children(server.pid()).first().copied());
        eventually("it waits for a line", || proc::blocked_in_read(child));
        let found_in = places(child, token);
        if !found_in.is_empty() {
            leaks += 1;
            example = found_in;
        }
        if number % 16 == 0 {
            let traced = Traced::attach(child);
            let registers = traced.all_registers();
            assert!(!is_in(&registers, &needles(token)), "in a register");
        }
        drop(client);
        eventually("it is gone", || children(server.pid()).is_empty());
    }
    assert_eq!(leaks, 0, "of {CONNECTIONS} children: {example:?}");
    served(&server).exchange(b"all is well\n");
}

/// Whether its next instruction is the call for the client's first bytes.
fn is_about_to_read(traced: &Traced) -> bool {
    let registers = traced.registers();
    registers.rax as i64 == libc::SYS_read
        && traced.peek(registers.rip, 2).expect("its code") == [0x0f, 0x05]
}

/// Far more instructions than a child has before its first read, a handler
/// included.
const MANY: usize = 20_000;

/// A new client and its process, at the very first instruction.
#[track_caller]
fn newborn(server: &Server, parent: &mut Traced) -> (TcpStream, i32, Traced) {
    let client = server.connect();
    loop {
        match parent.wait() {
            Stop::Forked(pid) => {
                parent.run(0);
                return (client, pid, Traced::forked(pid));
            }
            Stop::Signal(libc::SIGTRAP) => parent.run(0),
            Stop::Signal(signal) => parent.run(signal),
            end => panic!("{end:?}"),
        }
    }
}

/// Under a debugger, which can do what chance rarely does: the signal comes
/// before each single instruction of the child, from clone to its first read.
#[track_caller]
fn assert_nowhere_after_each_instruction(signal: i32) {
    let (server, token) = server_and_token(&[]);
    let mut parent = Traced::attach(server.pid());
    parent.run(0);
    let mut moment = 0;
    loop {
        let (client, pid, mut child) = newborn(&server, &mut parent);
        let mut steps = 0;
        while steps < moment && !is_about_to_read(&child) {
            let stop = child.go_on(libc::PTRACE_SINGLESTEP, 0);
            assert_eq!(stop, Stop::Signal(libc::SIGTRAP), "step {steps}");
            steps += 1;
        }
        let is_last = is_about_to_read(&child);
        crate::support::signal_process(pid, signal);
        let (mut deliver, mut handled) = (0, false);
        for _ in 0..MANY {
            match child.go_on(libc::PTRACE_SINGLESTEP, deliver) {
                Stop::Signal(libc::SIGTRAP) => {
                    if deliver != 0 {
                        // The frame is there, and nothing after it.
                        let places = places(pid, token);
                        let none = Vec::<String>::new();
                        assert_eq!(places, none, "in the frame, signal {signal} after {steps}");
                        handled = true;
                    }
                    deliver = 0;
                }
                Stop::Signal(signal) => deliver = signal,
                end => panic!("signal {signal} after {steps} instructions: {end:?}"),
            }
            if handled && is_about_to_read(&child) {
                break;
            }
        }
        assert!(handled && is_about_to_read(&child), "after {steps}");
        let context = format!("signal {signal} after {steps} instructions");
        assert_nowhere(&child, pid, token, &context);
        drop(child);
        let mut client = client;
        client.exchange(LINE);
        drop(client);
        // Of the parent, which has a handler and a debugger.
        loop {
            match parent.wait() {
                Stop::Signal(libc::SIGCHLD) => break parent.run(libc::SIGCHLD),
                Stop::Signal(_) => parent.run(0),
                end => panic!("{end:?}"),
            }
        }
        server.wait_childless();
        if is_last {
            break;
        }
        moment += 1;
    }
    assert!(moment > 5, "{moment} instructions from clone to read");
}

#[test]
fn token_is_in_no_child_that_is_signalled_at_any_instruction() {
    assert_nowhere_after_each_instruction(libc::SIGCHLD);
}

/// The signals that end the server are handled in a child as well, and spare it.
#[test]
fn token_is_in_no_child_that_is_told_to_end_at_any_instruction() {
    assert_nowhere_after_each_instruction(libc::SIGTERM);
}

/// Each bit of it is 0 in some starts and 1 in others: none is wasted.
#[test]
fn every_bit_of_the_token_is_random() {
    let (mut ones, mut zeros) = (0, 0);
    let mut all = Vec::new();
    // That one bit is the same in all of them has a chance of 2^-33.
    for _ in 0..40 {
        let token = token(&Server::start());
        ones |= token;
        zeros |= !token;
        all.push(token);
    }
    assert_eq!(ones, u64::MAX, "always 0: {:#018x}, {all:x?}", !ones);
    assert_eq!(zeros, u64::MAX, "always 1: {:#018x}, {all:x?}", !zeros);
}

#[test]
fn every_bit_of_the_token_is_checked() {
    let (server, token) = server_and_token(&[]);
    let own = |child: i32| child as u64;
    let signal = libc::SIGCHLD as u64;
    let wake = libc::FUTEX_WAKE as u64;
    for bit in 0..64 {
        let wrong = token ^ 1 << bit;
        for number in [libc::SYS_kill, libc::SYS_clone, libc::SYS_futex] {
            let (client, child) = client_of(&server);
            let mut traced = Traced::attach(child);
            let place = traced.registers().rsp & !7;
            let result = match number {
                libc::SYS_kill => traced.call(number, &[own(child), 0, 0, 0, wrong]),
                libc::SYS_clone => traced.call(number, &[signal, 0, 0, 0, wrong]),
                _ => traced.call(number, &[place, wake, 0, 0, wrong]),
            };
            assert_eq!(result, ENDED, "call {number}, bit {bit}");
            drop(client);
            server.wait_childless();
        }
    }
    // With the right one it passes, so it was that.
    let (_client, child) = client_of(&server);
    let mut traced = Traced::attach(child);
    let result = traced.call(libc::SYS_kill, &[own(child), 0, 0, 0, token]);
    assert_eq!(result, Ok(0));
}

fn list_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cage.txt")
}

fn readme_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// Where the list stands in the README.
const START: &str = "<!-- cage -->\n```\n";
const END: &str = "```\n<!-- /cage -->";

/// The README before, in and after the block that shows the list.
fn around_block(readme: &str) -> [&str; 3] {
    let halves = readme.split_once(START);
    let (before, rest) = halves.expect("<!-- cage --> in README.md");
    let halves = rest.split_once(END);
    let (block, after) = halves.expect("<!-- /cage --> in README.md");
    [before, block, after]
}

fn updating() -> bool {
    env::var_os("UPDATE").is_some()
}

/// The filter as the kernel has it, and the token that it asks for.
#[track_caller]
fn fetched_filter() -> (Vec<libc::sock_filter>, u64) {
    let (server, token) = server_and_token(&[]);
    let filter = Traced::attach(server.pid()).filter();
    // A child has the same one, and no other.
    let (_client, child) = client_of(&server);
    let bytes = |filter: &[libc::sock_filter]| -> Vec<(u16, u8, u8, u32)> {
        let parts = filter.iter().map(|one| (one.code, one.jt, one.jf, one.k));
        parts.collect()
    };
    let of_child = Traced::attach(child).filter();
    assert_eq!(bytes(&of_child), bytes(&filter));
    let count = |pid| proc::status(pid, "Seccomp_filters");
    assert_eq!(count(child), count(server.pid()));
    (filter, token)
}

#[test]
fn cage_is_that_of_the_list() {
    if !is_for_x86_64() {
        println!("another architecture has other numbers: not tried");
        return;
    }
    let (filter, token) = fetched_filter();
    let found = filter::Rules::of(&filter).list(token);
    println!("{found}");
    if updating() {
        fs::write(list_file(), &found).expect("tests/cage.txt");
        let readme = fs::read_to_string(readme_file()).expect("README.md");
        let [before, _, after] = around_block(&readme);
        let readme = [before, START, &found, END, after].concat();
        fs::write(readme_file(), readme).expect("README.md");
    }
    let listed = fs::read_to_string(list_file()).expect("tests/cage.txt");
    assert_eq!(found, listed, "left: now, right: tests/cage.txt");
}

#[test]
fn readme_shows_the_cage() {
    if updating() {
        return;
    }
    let readme = fs::read_to_string(readme_file()).expect("README.md");
    let listed = fs::read_to_string(list_file()).expect("tests/cage.txt");
    let [_, shown, _] = around_block(&readme);
    assert_eq!(shown, listed, "the README has another list");
}

/// Every number, every border of every argument that is looked at, every other
/// architecture: what the interpreter says is what the rules say, and nothing
/// else passes.
#[test]
fn filter_does_what_its_rules_say() {
    if !is_for_x86_64() {
        println!("another architecture has other numbers: not tried");
        return;
    }
    let (filter, token) = fetched_filter();
    let rules = filter::Rules::of(&filter);
    let probes = rules.assert_exact(&filter, &mut Random::seeded());
    println!("{probes} probes");
    assert!(probes > 10_000);
    // Some of them are about the token; and what passes without it is no call
    // that makes a process, opens a file or signals anybody.
    let list = rules.list(token);
    for call in ["clone", "kill", "futex"] {
        let lines = list.lines().filter(|line| {
            let name = line.split([' ', '(']).next();
            name == Some(call)
        });
        let lines: Vec<&str> = lines.collect();
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.contains("the token")),
            "{call}: {lines:?}"
        );
    }
}

/// What keeps the parent's memory from its children may be missing: then the
/// token and the parent's other secrets are in each of them, which is to be said.
#[test]
fn kernel_that_does_not_keep_memory_apart_is_told() {
    const WEAKER: &str = "rot13d: no madvise: clients are less well separated";
    let told = |server: &Server| {
        let log = server.log();
        log.iter().filter(|line| line.as_str() == WEAKER).count()
    };
    // (ENOMEM says no more than that there are holes: the rest is done.)
    for error in [libc::ENOSYS, libc::EINVAL, libc::EPERM] {
        let server = failing(Server::new(), &["madvise"], error).start();
        all_served_to_their_end(crowd(&server, 3));
        assert_eq!(server.wait_log("no madvise"), WEAKER, "{error}");
        assert_eq!(told(&server), 1, "{error}: {:#?}", server.log());
    }
    // Nothing is said where there is nothing to say.
    let server = lacking(Server::new(), &["epoll_wait"]).start();
    all_served_to_their_end(crowd(&server, 3));
    assert_eq!(told(&server), 0, "{:#?}", server.log());
}

/// Nobody but the server itself has been given it. A child reads none of it,
/// by no descriptor that it has.
#[test]
fn child_reads_nothing_of_standard_input() {
    let secret = b"not for clients\n";
    for kind in ["pipe", "file", "terminal", "socket"] {
        let terminal = Terminal::open();
        let (reader, mut writer) = io::pipe().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = Server::new().exactly(["-v", "127.0.0.1", "0"]);
        let server = server.ready(Ready::Log);
        let server = match kind {
            "pipe" => {
                io::Write::write_all(&mut writer, secret).unwrap();
                server.stdin(reader)
            }
            "file" => server.stdin(File::open("/etc/passwd").unwrap()),
            // All three of them are the terminal, or the socket of a remote shell.
            "terminal" => {
                terminal.type_in(secret);
                let server = server.stdin(terminal.program());
                server.stdout(terminal.program())
            }
            _ => {
                io::Write::write_all(&mut (&ours), secret).unwrap();
                let theirs = || OwnedFd::from(theirs.try_clone().unwrap());
                server.stdin(theirs()).stdout(theirs())
            }
        };
        let server = server.start();
        assert_reads_nothing(&server, kind);
    }
}

/// A terminal can be read by what is open for messages, too.
#[test]
fn child_reads_nothing_of_the_terminal_that_is_standard_error() {
    let terminal = Terminal::open();
    let server = Server::new().args(["-v"]);
    let server = server.stdin(terminal.program()).stderr(terminal.program());
    let server = server.start();
    terminal.type_in(b"a password\n");
    assert_reads_nothing(&server, "a terminal");
}

#[track_caller]
fn assert_reads_nothing(server: &Server, kind: &str) {
    let (_client, child) = client_of(server);
    let mut traced = Traced::attach(child);
    let registers = traced.registers();
    let (socket, place) = (registers.rdi, registers.rsi);
    for descriptor in (0..10).filter(|&descriptor| descriptor != socket) {
        let result = traced.call(libc::SYS_read, &[descriptor, place, 64]);
        assert!(
            result.is_ok_and(|error| error < 0),
            "{kind}: descriptor {descriptor}: {result:?}"
        );
    }
    // Nor does the parent read it: it is left to whoever comes next.
    drop(traced);
    thread::sleep(Duration::from_millis(10));
    let stdin = fs::read_link(format!("/proc/{}/fd/0", server.pid())).expect("a placeholder");
    assert_eq!(stdin, Path::new("/"), "{kind}");
}
