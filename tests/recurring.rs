//! Lines that recur: who is refused, that the limit is reached, that there is no
//! descriptor or no process. Each kind is written once a second at most, with
//! the number of those that were passed over, and no number is lost.
//!
//! Guards against a flood that writes 15,000 lines a second onto a board's flash,
//! and against a busy loop's 100,000 (tcpsvd).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::crowd::{LINE, all_served_to_their_end, crowd, served, waiting};
use crate::support::kernel::{can_be_played, without_cage};
use crate::support::resources::{set_soft_limit, unused_user};
use crate::support::strace::Strace;
use crate::support::{Dialogue, Server, eventually, proc, runner};

/// For how long somebody floods.
const FLOOD: Duration = Duration::from_secs(4);
/// After that a line that is due is written without delay.
const PAUSE: Duration = Duration::from_millis(1300);

/// A recurring line: its text without the number, and the number.
fn parse(line: &str) -> (&str, usize) {
    let more = line.strip_suffix(" more").and_then(|line| {
        let (text, number) = line.rsplit_once(" and ")?;
        Some((text, number.parse().ok()?))
    });
    more.unwrap_or((line, 0))
}

/// Those of one kind.
fn of_kind(server: &Server, kind: &str) -> Vec<String> {
    let start = format!("rot13d: {kind}");
    let mut lines = server.log();
    lines.retain(|line| line.starts_with(&start));
    lines
}

/// How often it has happened, as the lines say.
fn told(lines: &[String]) -> usize {
    lines.iter().map(|line| 1 + parse(line).1).sum()
}

/// Once a second at most, in all that time; and not so seldom that nobody sees it.
#[track_caller]
fn assert_once_a_second(lines: &[String], elapsed: Duration) {
    let most = elapsed.as_secs() as usize + 2;
    let least = 2;
    assert!(
        (least..=most).contains(&lines.len()),
        "in {elapsed:?}: {lines:#?}"
    );
    assert_eq!(parse(&lines[0]).1, 0, "none was passed over: {lines:#?}");
    let some = lines.iter().any(|line| parse(line).1 > 0);
    assert!(some, "they were more: {lines:#?}");
    for line in lines {
        // No "and 0 more".
        assert!(!line.ends_with(" and 0 more"), "{line}");
    }
}

/// Who has one client too many is closed at once, and hears nothing.
#[track_caller]
fn assert_refused(mut client: TcpStream) {
    match client.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn flood_of_one_source_is_told_once_a_second() {
    let server = Server::new().args(["-C", "1"]).start();
    let mut own = server.connect_from("127.0.0.2");
    own.exchange(LINE);
    let refused = &AtomicUsize::new(0);
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            let server = &server;
            scope.spawn(move || {
                while begin.elapsed() < FLOOD {
                    assert_refused(server.connect_from("127.0.0.2"));
                    refused.fetch_add(1, Relaxed);
                }
            });
        }
    });
    let elapsed = begin.elapsed();
    thread::sleep(PAUSE);
    // Those that the last line did not yet know are told with the next one.
    let last = server.connect_from("127.0.0.2");
    let address = last.local_addr().unwrap();
    assert_refused(last);
    let last = server.wait_log(&format!("refused {address}"));
    let lines = of_kind(&server, "refused ");
    assert_eq!(lines.last(), Some(&last));
    assert_once_a_second(&lines, elapsed + PAUSE);
    assert_eq!(told(&lines), refused.load(Relaxed) + 1, "{lines:#?}");
    for line in &lines {
        let (text, _) = parse(line);
        assert!(text.starts_with("rot13d: refused 127.0.0.2:"), "{line}");
    }
    own.exchange(b"still served\n");
}

/// One now and then is told of at once, and without a number.
#[test]
fn refusal_now_and_then_is_told_each_time() {
    let server = Server::new().args(["-C", "1"]).start();
    let mut own = server.connect_from("127.0.0.2");
    own.exchange(LINE);
    for _ in 0..3 {
        let surplus = server.connect_from("127.0.0.2");
        let address = surplus.local_addr().unwrap();
        let begin = Instant::now();
        assert_refused(surplus);
        server.wait_log(&format!("rot13d: refused {address}"));
        assert!(begin.elapsed() < Duration::from_secs(5));
        thread::sleep(PAUSE);
    }
    let lines = of_kind(&server, "refused ");
    assert_eq!(told(&lines), 3, "{lines:#?}");
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

/// A flood of the one kind hides no line of the other.
#[test]
fn kinds_are_told_each_for_itself() {
    let server = Server::new().args(["-C", "1", "-c", "2"]).start();
    let first = server.connect_from("127.0.0.2");
    eventually("it is served", || server.children().len() == 1);
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let server = &server;
        scope.spawn(move || {
            while !over.load(Relaxed) {
                if let Ok(client) = server.try_connect() {
                    drop(client);
                }
                let client = server.connect_from("127.0.0.2");
                let _ = (&client).write_all(LINE);
                let _ = client.set_read_timeout(Some(Duration::from_millis(50)));
                let _ = (&client).read(&mut [0; 16]);
            }
        });
        let _end = End(over);
        server.wait_log("rot13d: refused ");
        server.wait_log("rot13d: full 2/2");
    });
    drop(first);
}

/// Nor does one shortage hide the other. (Between two seconds it would not: tried
/// more than once.)
#[test]
fn shortages_are_told_each_for_itself() {
    if !can_be_played() {
        println!("strace would see the calls of an emulator: not tried");
        return;
    }
    for _ in 0..4 {
        let faults = ["accept:error=ENFILE:when=1", "clone:error=EAGAIN:when=1"];
        let faults = faults.map(|fault| format!("inject={fault}"));
        // The cage would end a server whose calls are made to fail.
        let server = without_cage(Server::new());
        let server = server.strace(["-e", &faults[0], "-e", &faults[1]]).start();
        served(&server);
        server.wait_log("rot13d: accept: file table full");
        server.wait_log("rot13d: fork: temporarily unavailable");
    }
}

/// Sets it on drop, also when a test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn limit_that_is_reached_is_told() {
    let server = Server::new().args(["-c", "3"]).start();
    let mut clients = crowd(&server, 2);
    assert_eq!(of_kind(&server, "full"), [""; 0]);
    clients.push(served(&server));
    let line = server.wait_log("full");
    assert_eq!(line, "rot13d: full 3/3");
    // Not again, as long as it is.
    let mut next = waiting(&server);
    thread::sleep(PAUSE);
    assert_eq!(of_kind(&server, "full"), ["rot13d: full 3/3"]);
    // And again, when it is again.
    drop(clients.pop());
    next.hear_echo_of(LINE);
    eventually("it is told again", || of_kind(&server, "full").len() == 2);
    assert_eq!(told(&of_kind(&server, "full")), 2);
}

#[test]
fn limit_that_is_not_reached_is_not_told() {
    let server = Server::new().args(["-v", "-c", "3"]).start();
    for _ in 0..5 {
        all_served_to_their_end(crowd(&server, 2));
        server.wait_childless();
    }
    assert_eq!(of_kind(&server, "full"), [""; 0]);
}

/// With room for one, each client reaches the limit.
#[test]
fn limit_that_is_reached_again_and_again_is_told_once_a_second() {
    let server = Server::new().args(["-c", "1"]).start();
    let begin = Instant::now();
    let mut clients = 0;
    // Each stays until the server has come to rest at the limit.
    let reach_limit = || {
        let client = served(&server);
        eventually("the server waits for its end", || {
            let asleep = proc::stat(server.pid()).is_some_and(|stat| stat.state == 'S');
            asleep && !proc::blocked_in_accept(server.pid())
        });
        drop(client);
        server.wait_accepting();
    };
    while begin.elapsed() < FLOOD {
        reach_limit();
        clients += 1;
    }
    let elapsed = begin.elapsed();
    thread::sleep(PAUSE);
    reach_limit();
    eventually("all of them are told", || {
        told(&of_kind(&server, "full")) == clients + 1
    });
    let lines = of_kind(&server, "full");
    assert_once_a_second(&lines, elapsed + PAUSE);
    for line in &lines {
        assert_eq!(parse(line).0, "rot13d: full 1/1");
    }
}

#[test]
fn draining_is_told_once_with_the_clients_that_are_left() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::new().args(["-c", "7"]).start();
        let mut clients = crowd(&server, 3);
        server.signal(signal);
        let line = server.wait_log("draining");
        assert_eq!(line, "rot13d: draining 3/7");
        all_served_to_their_end(vec![clients.remove(0)]);
        eventually("it is gone", || server.children().len() == 2);
        server.signal(signal);
        assert_eq!(server.wait_exit().code(), Some(0));
        let log = server.stderr().to_end();
        assert_eq!(log.matches("draining").count(), 1, "{log}");
    }
}

#[test]
fn draining_is_not_told_when_nobody_is_left() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start();
        all_served_to_their_end(crowd(&server, 2));
        server.wait_childless();
        server.signal(signal);
        assert_eq!(server.wait_exit().code(), Some(0));
        let log = server.stderr().to_end();
        assert_eq!(log.matches("draining").count(), 0, "{log}");
    }
}

/// What each line says of the failures before it, as strace has seen them.
#[track_caller]
fn assert_told_with_numbers(trace: &[String], call: &[&str], text: &str) {
    let (mut failed, mut said, mut lines) = (0, 0, 0);
    for line in trace {
        if line.contains("EMFILE") || line.contains("EAGAIN (Resource") {
            failed += usize::from(call.iter().any(|call| line.contains(&format!("{call}("))));
        }
        let Some((_, message)) = line.split_once(text) else {
            continue;
        };
        let more = message.trim_start_matches(" and ");
        let more = more.split(' ').next().unwrap_or_default();
        said += 1 + more.parse::<usize>().unwrap_or(0);
        lines += 1;
        // The first line may speak of failures from before strace came.
        if lines == 1 {
            (failed, said) = (0, 0);
        }
        assert_eq!(said, failed, "{line}, {trace:#?}");
    }
    assert!(lines >= 3 && said >= 8, "{lines} lines, {said}: {trace:#?}");
}

#[test]
fn shortage_is_told_once_a_second_with_the_number_of_tries() {
    if !runner().is_empty() {
        println!("strace would see the calls of an emulator: not tried");
        return;
    }
    let server = Server::start();
    server.wait_accepting();
    set_soft_limit(&server, libc::RLIMIT_NOFILE, 4);
    let _first = served(&server);
    let _next = waiting(&server);
    server.wait_log("accept: too many open files");
    let strace = Strace::attach(server.pid(), &["-s", "100"]);
    thread::sleep(FLOOD);
    let text = "rot13d: accept: too many open files";
    assert_told_with_numbers(&strace.trace(), &["accept", "accept4"], text);

    let user = unused_user().to_string();
    let server = Server::new().args(["-u", &user]);
    let server = server.limit(libc::RLIMIT_NPROC, 2).start();
    let _first = served(&server);
    let _next = waiting(&server);
    server.wait_log("fork: ");
    let strace = Strace::attach(server.pid(), &["-s", "100"]);
    thread::sleep(FLOOD);
    let text = "rot13d: fork: temporarily unavailable";
    assert_told_with_numbers(&strace.trace(), &["clone"], text);
}

/// Whoever reads a log by its lines, and the log's owner: each client still has
/// its own lines under -v, however many they are.
#[test]
fn start_and_end_are_told_of_each_client() {
    const CLIENTS: usize = 200;
    let server = Server::new().args(["-v", "-c", "2"]).start();
    for _ in 0..CLIENTS {
        served(&server);
    }
    server.wait_childless();
    for kind in ["start ", "end "] {
        eventually("a line for each", || {
            of_kind(&server, kind).len() == CLIENTS
        });
        for line in of_kind(&server, kind) {
            assert!(!line.ends_with(" more"), "{line}");
        }
    }
}
