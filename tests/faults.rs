//! Failures, systematically: every system call that the
//! server makes is made to fail with every error that its manual page has, and
//! the server does what `tests/faults.txt` demands. (Descriptors and processes
//! that really run out: `limits.rs`.)
//!
//! In a running server strace plays a failing call by an invalid one, which
//! the cage takes for what it is and ends the process. So those cases run
//! without the cage, and it is checked that they made no call which the cage
//! does not let pass.

mod table;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::kernel::without_cage;
use crate::support::resources::set_soft_limit;
use crate::support::strace::{Strace, lines_of};
use crate::support::trace::{by_process, name};
use crate::support::{Builder, Dialogue, Ready, Scratch, Server, eventually, proc, rot13};
use table::{Demand, Row, Setup, When, Where};

/// Whether a call passes the cage, by the list that another test compares with it.
fn is_caged(call: &str) -> bool {
    let list = include_str!("cage.txt").lines();
    let mut names = list.map(|line| line.split('(').next().unwrap_or(line));
    names.any(|name| name == call)
}

/// Cases under way at the same time: most of each is waiting.
const WORKERS: usize = 6;

#[test]
fn every_call_fails_in_every_way() {
    let rows = table::rows();
    let cases: Vec<(&Row, When, &str)> = rows.iter().flat_map(Row::cases).collect();
    let (next, failures) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(&(row, when, error)) = next.lock().unwrap().next() else {
                        break;
                    };
                    let case = AssertUnwindSafe(|| run(row, when, error));
                    if catch_unwind(case).is_err() {
                        failures.lock().unwrap().push((row.line, when, error));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    println!("{}", table::matrix(&rows, &failures));
    let line = |(line, when, error)| format!("faults.txt:{line}: {when:?} call, {error}");
    let failures: Vec<String> = failures.into_iter().map(line).collect();
    assert!(
        failures.is_empty(),
        "{} of {}: {failures:#?}",
        failures.len(),
        cases.len()
    );
}

/// No call that the audit has seen is missing from the table.
#[test]
fn table_has_every_call() {
    let rows = table::rows();
    let listed: BTreeSet<&str> = rows.iter().flat_map(|row| row.call.split(',')).collect();
    // These two do not return what could be an error.
    let never_fail = ["exit", "rt_sigreturn"];
    let audit = include_str!("audit.txt")
        .lines()
        .map(|line| name(line.trim()));
    for call in audit.filter(|call| !call.is_empty() && !never_fail.contains(call)) {
        assert!(listed.contains(call), "{call} is not in tests/faults.txt");
    }
}

fn run(row: &Row, when: When, error: &str) {
    match (row.place, row.demand) {
        (Where::Start, Demand::Fatal | Demand::Bug) => ends_at_start(row, when, error),
        (Where::Start, _) => starts(row, when, error),
        _ => runs(row, when, error),
    }
}

/// The strace options that make the call fail.
fn injection(row: &Row, when: When, error: &str) -> [String; 4] {
    let inject = format!(
        "inject={}:error={error}:when={}",
        row.call,
        when.of_strace()
    );
    [
        "-e".to_owned(),
        "trace=all".to_owned(),
        "-e".to_owned(),
        inject,
    ]
}

/// The server as the row has it, before it is started, and the client that it
/// starts with.
fn prepare(row: &Row) -> (Builder, Option<TcpStream>) {
    let listener = || TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = |listener: &TcpListener| listener.local_addr().expect("its address");
    let server = Server::new().args(&row.options);
    let server = match row.setup {
        Setup::Inherited => {
            let listener = listener();
            let server = server.port(address(&listener).port()).ready(Ready::Unknown);
            server.args(["-i"]).stdin(OwnedFd::from(listener))
        }
        Setup::Connected => {
            let listener = listener();
            let client = TcpStream::connect(address(&listener)).expect("connect");
            let (stdin, _) = listener.accept().expect("accept");
            let server = server.args(["-i"]).ready(Ready::Unknown);
            return (server.stdin(OwnedFd::from(stdin)), Some(client));
        }
        Setup::Any => server.host("0"),
        Setup::Headless => server.stdout(Stdio::null()).closed(1),
        _ => server,
    };
    (server, None)
}

/// Under strace, which leaves its children alone.
fn under_strace(server: Builder, options: &[String], trace: &Scratch) -> Builder {
    let file = trace.path("trace");
    let file = file.to_str().expect("a path in UTF-8").to_owned();
    let words = ["strace", "-qq", "-o", &file].map(str::to_owned);
    server.under(words.iter().chain(options))
}

fn ends_at_start(row: &Row, when: When, error: &str) {
    let trace = Scratch::new();
    let (server, _) = prepare(row);
    let server = under_strace(server, &injection(row, when, error), &trace);
    let mut server = server.ready(Ready::Unknown).start();
    assert_eq!(server.wait_exit().code(), Some(111));
    assert_eq!(server.stdout().to_end(), "", "no readiness");
    let log = server.stderr().to_end();
    let fatal = log
        .strip_prefix("rot13d: fatal: ")
        .and_then(|rest| rest.strip_suffix('\n'));
    let fatal = fatal.unwrap_or_else(|| panic!("not one fatal line: {log:?}"));
    if row.setup != Setup::Headless {
        assert!(fatal.starts_with(row.called()), "{log:?} names the call");
        assert_injected(&lines_of(&trace.path("trace")));
    }
    let words = !fatal
        .rsplit(": ")
        .next()
        .unwrap_or_default()
        .starts_with("error");
    assert!(
        row.demand == Demand::Bug || words,
        "{log:?} has the reason in words"
    );
}

fn starts(row: &Row, when: When, error: &str) {
    let trace = Scratch::new();
    let (mut server, client) = prepare(row);
    if row.setup == Setup::Connected {
        // It is served at once, so the cage comes early.
        server = without_cage(server);
    }
    let server = under_strace(server, &injection(row, when, error), &trace);
    let mut server = server.start();
    if let Some(mut client) = client {
        client.exchange(b"hello\n");
        client.half_close();
        client.assert_end();
    } else {
        serve(&server, 3);
        assert_clean(&server);
        server.signal(libc::SIGTERM);
    }
    assert_exits_orderly(&mut server);
    assert_injected(&lines_of(&trace.path("trace")));
    if row.setup == Setup::Connected {
        return;
    }
    let log = server.stderr().to_end();
    let warnings = log.matches("rot13d: no ").count();
    assert_eq!(warnings, usize::from(row.demand == Demand::Warns), "{log}");
    if row.demand == Demand::Warns {
        let of = match row.call.as_str() {
            "prctl" => "rot13d: no seccomp: ",
            "madvise" => "rot13d: no madvise: ",
            _ => "rot13d: no timers: ",
        };
        assert!(log.contains(of), "{log}");
    }
}

fn runs(row: &Row, when: When, error: &str) {
    let (server, _) = prepare(row);
    let mut server = without_cage(server).start();
    // A client that was there before, and must not notice.
    let mut bystander = row.room_for_two().then(|| server.connect());
    if let Some(client) = &mut bystander {
        client.exchange(b"before\n");
    }
    server.wait_accepting();
    let before = server.descriptors();

    let fault = Fault::start(&server, row, when, error);
    let start = Instant::now();
    if row.demand == Demand::Gone {
        is_gone(server, bystander, &fault);
        return;
    }
    match (row.demand, row.setup) {
        (Demand::Drain, _) | (_, Setup::Ended) => {}
        (Demand::Client, _) => lose_clients(&server, row, when),
        (_, Setup::Full) => serve_when_there_is_room(&server, &fault),
        _ => {
            serve(&server, 4);
            // A client may be gone before the server, being traced, comes to wait for it.
            eventually("a call fails", || {
                let failed = fault.failed() > 0;
                if !failed {
                    serve(&server, 1);
                }
                failed
            });
        }
    }
    let elapsed = start.elapsed();
    if row.setup == Setup::Ended {
        server.signal(libc::SIGTERM);
    }
    if row.demand == Demand::Drain || row.setup == Setup::Ended {
        leave(&mut bystander);
        assert_exits_orderly(&mut server);
        fault.count();
        return;
    }
    let injected = fault.count();
    if row.demand == Demand::Client {
        drop(fault);
    }
    // Whatever is left over from the fault: the next clients are served, and
    // then all is as it was.
    leave(&mut bystander);
    eventually("clients are served and none is left", || {
        serve(&server, 1);
        server.children().is_empty()
    });
    server.wait_childless();
    server.wait_accepting();
    assert_eq!(server.descriptors(), before);
    assert_clean(&server);
    assert_log(&server, row, elapsed);
    if row.demand == Demand::Late && when == When::Every && row.setup == Setup::None {
        let least = Duration::from_millis(80) * injected;
        assert!(
            elapsed >= least,
            "{injected} failures in {elapsed:?}: it spins"
        );
    }
    server.signal(libc::SIGTERM);
    assert_exits_orderly(&mut server);
}

/// The listener is no more: whoever is there is served to his end, and then the
/// server ends as it does when it cannot start.
fn is_gone(mut server: Server, mut bystander: Option<TcpStream>, fault: &Fault) {
    let line = server.wait_log("fatal");
    assert!(line.starts_with("rot13d: fatal: accept: "), "{line}");
    assert!(!line.contains(": error"), "{line} has the reason in words");
    if let Some(client) = &mut bystander {
        client.exchange(b"still served\n");
        assert!(server.is_running());
    }
    leave(&mut bystander);
    eventually("the server has ended", || {
        proc::stat(server.pid()).is_none_or(|stat| stat.state == 'Z')
    });
    assert_eq!(server.wait_exit().code(), Some(111));
    assert_eq!(fault.count(), 1, "accept is not tried again");
    let log = server.stderr().to_end();
    assert_eq!(log.matches("fatal").count(), 1, "{log}");
}

/// A call that fails now.
enum Fault {
    Strace(Strace),
    #[cfg(target_arch = "x86_64")]
    Lie(crate::support::ptrace::Lie),
}

impl Fault {
    fn start(server: &Server, row: &Row, when: When, error: &str) -> Self {
        #[cfg(target_arch = "x86_64")]
        if row.call == "close" {
            let error = table::number(error);
            let lie = crate::support::ptrace::Lie::start;
            return Fault::Lie(lie(server.pid(), libc::SYS_close, error, when.applies()));
        }
        let mut options: Vec<String> = injection(row, when, error).into();
        if row.place == Where::Child {
            options.push("-f".to_owned());
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Fault::Strace(Strace::attach(server.pid(), &options))
    }

    /// How many calls have failed so far; one at least.
    fn count(&self) -> u32 {
        let failed = self.failed();
        assert!(failed > 0, "no call has failed");
        failed
    }

    /// How many calls have failed so far.
    fn failed(&self) -> u32 {
        match self {
            Fault::Strace(strace) => {
                let trace = strace.trace();
                for call in by_process(&trace).into_values().flatten() {
                    let name = name(&call).to_owned();
                    assert!(name.is_empty() || is_caged(&name), "{call}");
                }
                trace
                    .iter()
                    .filter(|line| line.contains("(INJECTED)"))
                    .count() as u32
            }
            #[cfg(target_arch = "x86_64")]
            Fault::Lie(lie) => lie.told(),
        }
    }
}

fn assert_injected(trace: &[String]) {
    let injected = trace.iter().any(|line| line.contains("(INJECTED)"));
    assert!(injected, "no call has failed");
}

/// Clients one after the other, each served in full.
fn serve(server: &Server, clients: usize) {
    for _ in 0..clients {
        let mut client = server.connect();
        client.exchange(b"one line\n");
        client.exchange(b"and another\n");
        for pid in server.children() {
            let sockets = proc::descriptors(pid).into_iter();
            let low = sockets.filter(|(fd, what)| *fd < 3 && what.starts_with("socket"));
            assert_eq!(
                low.collect::<Vec<_>>(),
                [],
                "a socket as standard input, output or error"
            );
        }
        client.half_close();
        client.assert_end();
    }
}

/// A client that has been served all along goes.
fn leave(bystander: &mut Option<TcpStream>) {
    if let Some(client) = bystander {
        client.exchange(b"after\n");
        client.half_close();
        client.assert_end();
    }
}

/// Clients come while there is no descriptor for them.
fn serve_when_there_is_room(server: &Server, fault: &Fault) {
    server.wait_accepting();
    set_soft_limit(server, libc::RLIMIT_NOFILE, 4);
    // accept takes its descriptor before it waits: it has one already.
    serve(server, 1);
    let mut client = server.connect();
    client.say(b"hello\n");
    server.wait_log("accept: ");
    eventually("the call has failed", || match fault {
        Fault::Strace(strace) => strace
            .trace()
            .iter()
            .any(|line| line.contains("(INJECTED)")),
        #[cfg(target_arch = "x86_64")]
        Fault::Lie(_) => true,
    });
    client.assert_silent();
    set_soft_limit(server, libc::RLIMIT_NOFILE, 64);
    client.hear_echo_of(b"hello\n");
}

/// Clients whose processes fail: each is ended, having heard what went out
/// before.
fn lose_clients(server: &Server, row: &Row, when: When) {
    let said: &[u8] = b"one line\nand another\n";
    for _ in 0..2 {
        let mut client = server.connect();
        let mut lines = said.split_inclusive(|&byte| byte == b'\n');
        let mut heard = Vec::new();
        if when == When::Second || row.setup == Setup::Idle {
            client.exchange(lines.next().expect("a line"));
        }
        if row.setup != Setup::Idle {
            client.say(lines.next().expect("a line"));
        }
        // An end in order, or a reset because of what was not read.
        let _ = client.read_to_end(&mut heard);
        assert!(
            rot13(said)
                .windows(heard.len().max(1))
                .any(|part| part == heard)
                || heard.is_empty()
        );
        assert!(heard.len() < said.len());
    }
    let bystanders = usize::from(row.room_for_two());
    eventually("only the bystander is left", || {
        server.children().len() == bystanders
    });
    server.wait_accepting();
}

/// Nothing but the messages that there must be.
fn assert_log(server: &Server, row: &Row, elapsed: Duration) {
    let mut failures = 0;
    for line in server.log() {
        let text = line
            .strip_prefix("rot13d: ")
            .unwrap_or_else(|| panic!("{line:?}"));
        match text.split_whitespace().next().unwrap_or_default() {
            "listening" | "no" | "start" | "end" | "full" | "draining" => {}
            "accept:" | "fork:" => failures += 1,
            _ => panic!("{line:?}"),
        }
    }
    let most = 1 + elapsed.as_secs() + 1;
    let expected = match row.demand {
        Demand::Late => 1..=most,
        Demand::Either => 0..=most,
        _ => 0..=0,
    };
    assert!(
        expected.contains(&failures),
        "{failures} failures logged in {elapsed:?}"
    );
}

fn assert_clean(server: &Server) {
    server.wait_childless();
    assert_eq!(server.zombies(), []);
    let low = server.descriptors().into_iter().filter(|(fd, _)| *fd < 3);
    for (fd, what) in low {
        assert!(!what.starts_with("socket"), "descriptor {fd} is a socket");
    }
}

fn assert_exits_orderly(server: &mut Server) {
    // To wait for a process that a thread of ours holds would show us its stops.
    eventually("the server has ended", || {
        proc::stat(server.pid()).is_none_or(|stat| stat.state == 'Z')
    });
    let status = server.wait_exit();
    assert!(status.success(), "{status}");
}
