//! The limits on time, `-t` and `-T`, and keep-alive (rot13d(8), OPTIONS): who
//! neither sends nor takes a byte, who stays too long, and who is gone without a
//! word is ended, and nobody else. Never earlier than said, and a second late at
//! most; where the machine is busy, in one of several tries.
//!
//! Guards against a silent or half-dead client that holds its slot for ever
//! (1541ultimate 728; every peer but socat and ncat, and ncat's `-i` ends the
//! whole server) and connections without keep-alive (every peer).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::assert_same;
use crate::support::crowd::{LINE, all_served_to_their_end, assert_asleep, served, waiting};
use crate::support::network::{in_own_network, set_ipv4, vanish};
use crate::support::{
    DEADLINE, Dialogue, Server, assert_in_time, eventually, found, proc, rot13, runner,
};

const SECOND: Duration = Duration::from_secs(1);
/// Far below the limit of those tests in which nobody may be ended.
const PAUSE: Duration = Duration::from_millis(300);

#[test]
fn idle_client_gets_what_is_pending_and_is_closed() {
    let server = Server::new().args(["-v", "-t", "1"]).start();
    let mut client = served(&server);
    let begin = Instant::now();
    client.say(b"without an end");
    assert_eq!(client.hear_rest(), rot13(b"without an end"));
    assert!(begin.elapsed() >= SECOND);
    let end = server.wait_log("end ");
    assert!(end.ends_with(" exit 0 0/256"), "{end}");
    server.wait_childless();
    all_served_to_their_end(vec![served(&server)]);
}

#[test]
fn silent_client_frees_its_slot() {
    let server = Server::new().args(["-c", "1", "-t", "1"]).start();
    let begin = Instant::now();
    let mut silent = server.connect();
    eventually("it has the slot", || server.children().len() == 1);
    let mut next = waiting(&server);
    next.hear_echo_of(LINE);
    assert!(begin.elapsed() >= SECOND);
    silent.assert_end();
}

#[test]
fn client_that_sends_a_byte_now_and_then_is_not_idle() {
    let server = Server::new().args(["-t", "2"]).start();
    let mut client = server.connect();
    let text = b"slowly but steadily\n";
    for byte in text {
        client.assert_silent();
        client.say(&[*byte]);
        thread::sleep(PAUSE);
    }
    client.hear_echo_of(text);
}

/// A client that has sent what fits and takes nothing, and how much that was:
/// its child waits for it in write.
fn stalled(server: &Server) -> (TcpStream, usize) {
    let others = server.children();
    let mut client = server.connect_with_window(4096);
    let child = found("its child", || {
        server
            .children()
            .into_iter()
            .find(|pid| !others.contains(pid))
    });
    client.set_nonblocking(true).unwrap();
    let lines = LINE.repeat(10_000);
    let mut sent = 0;
    eventually("the child waits for its reader", || {
        loop {
            match client.write(&lines[sent % LINE.len()..]) {
                Ok(count) => sent += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                // On a slow machine it may have been closed meanwhile.
                Err(_) => return true,
            }
        }
        proc::blocked_in_write(child)
    });
    client.set_nonblocking(false).unwrap();
    (client, sent)
}

/// Still served, hears the echo of the first `sent` bytes of line after line,
/// `heard` of which have come already, and of what it says now.
fn hear_it_all(client: &mut TcpStream, mut heard: Vec<u8>, sent: usize) {
    client.open_window();
    client.say(b"still here\n");
    client.half_close();
    heard.extend(client.hear_rest());
    let mut said = LINE.repeat(sent / LINE.len() + 1);
    said.truncate(sent);
    said.extend(b"still here\n");
    assert_same(&heard, &rot13(&said));
}

#[test]
fn client_that_takes_nothing_is_closed() {
    let server = Server::new().args(["-v", "-t", "1"]).start();
    let begin = Instant::now();
    let (_client, _) = stalled(&server);
    server.wait_childless();
    assert!(begin.elapsed() >= SECOND);
    let end = server.wait_log("end ");
    assert!(end.ends_with(" exit 0 0/256"), "{end}");
}

#[test]
fn client_that_stalls_for_less_than_the_limit_loses_nothing() {
    let server = Server::new().args(["-t", "3"]).start();
    let (mut client, sent) = stalled(&server);
    thread::sleep(SECOND);
    hear_it_all(&mut client, Vec::new(), sent);
}

#[test]
fn client_that_takes_some_bytes_now_and_then_is_not_idle() {
    let server = Server::new().args(["-t", "2"]).start();
    let (mut client, sent) = stalled(&server);
    let mut heard = Vec::new();
    for _ in 0..20 {
        heard.extend(client.hear(2048));
        thread::sleep(PAUSE);
    }
    hear_it_all(&mut client, heard, sent);
}

#[test]
fn client_that_takes_what_was_sent_long_ago_is_not_idle() {
    let server = Server::new().args(["-t", "2"]).start();
    let mut client = with_an_echo_under_way(&server);
    let mut heard = Vec::new();
    for _ in 0..20 {
        heard.extend(client.hear(1024));
        thread::sleep(PAUSE);
    }
    hear_it_all(&mut client, heard, ECHO);
}

#[test]
fn lifetime_ends_every_client_whatever_it_does() {
    let server = Server::new().args(["-T", "2"]).start();
    let begin = Instant::now();
    let mut idle = served(&server);
    idle.assert_end();
    assert!(begin.elapsed() >= 2 * SECOND);

    let begin = Instant::now();
    let mut busy = server.connect();
    exchange_until_closed(&mut busy);
    assert!(begin.elapsed() >= 2 * SECOND);

    let begin = Instant::now();
    let _stalled = stalled(&server);
    server.wait_childless();
    assert!(begin.elapsed() >= 2 * SECOND);
}

fn exchange_until_closed(client: &mut TcpStream) {
    let mut line = [0; LINE.len()];
    let begin = Instant::now();
    while client.write_all(LINE).is_ok() && client.read_exact(&mut line).is_ok() {
        assert!(begin.elapsed() < DEADLINE, "never closed");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn lifetime_is_each_client_s_own() {
    // Nor does the one limit need the other.
    let server = Server::new().args(["-t", "0", "-T", "2"]).start();
    let mut first = served(&server);
    thread::sleep(SECOND);
    let begin = Instant::now();
    let mut second = served(&server);
    first.assert_end();
    second.assert_end();
    assert!(begin.elapsed() >= 2 * SECOND);
}

#[test]
fn zero_is_never_and_the_largest_number_is_late() {
    let largest = i32::MAX.to_string();
    for limit in ["0", &largest] {
        let options = ["-t", limit, "-T", limit, "-k", limit];
        let mut server = Server::new().args(options).start();
        let idle = served(&server);
        thread::sleep(SECOND * 3 / 2);
        all_served_to_their_end(vec![idle]);
        let client = served(&server);
        server.signal(libc::SIGTERM);
        thread::sleep(SECOND / 2);
        all_served_to_their_end(vec![client]);
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

#[test]
fn limits_of_clients_do_not_wake_the_server() {
    let server = Server::new().args(["-t", "1", "-T", "1"]).start();
    assert_asleep(&server);
    all_served_to_their_end(vec![served(&server)]);
}

#[test]
fn drain_is_over_when_the_last_client_s_time_is() {
    for limit in ["-t", "-T"] {
        let mut server = Server::new().args([limit, "1"]).start();
        let begin = Instant::now();
        let mut client = served(&server);
        server.signal(libc::SIGTERM);
        client.assert_end();
        assert!(begin.elapsed() >= SECOND);
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

#[test]
fn client_that_vanished_is_noticed_by_keep_alive() {
    in_own_network(|| {
        set_ipv4("tcp_keepalive_time", "1");
        set_ipv4("tcp_keepalive_intvl", "1");
        set_ipv4("tcp_keepalive_probes", "2");
        let server = Server::new().args(["-c", "2", "-t", "0"]).start();
        let silent = served(&server);
        let vanished = served(&server);
        vanish(&vanished);
        let mut next = waiting(&server);
        next.hear_echo_of(LINE);
        // The other one has been as silent, but it was there when asked.
        assert_eq!(server.children().len(), 2);
        all_served_to_their_end(vec![silent, next]);
        server.wait_childless();
    });
}

#[test]
fn client_that_vanished_without_taking_its_echo_is_noticed() {
    in_own_network(|| {
        set_ipv4("tcp_retries2", "2");
        let server = Server::new().args(["-c", "1", "-t", "0"]).start();
        let mut vanished = served(&server);
        vanish(&vanished);
        vanished.say(LINE);
        let mut next = waiting(&server);
        next.hear_echo_of(LINE);
    });
}

/// Twice as long would be more than a second late.
const LIMIT: Duration = Duration::from_secs(3);

/// From now to the end of the stream.
#[track_caller]
fn until_closed(client: &mut TcpStream) -> Duration {
    let begin = Instant::now();
    client.hear_rest();
    begin.elapsed()
}

/// From now until the server has no client any more.
#[track_caller]
fn until_childless(server: &Server) -> Duration {
    let begin = Instant::now();
    server.wait_childless();
    begin.elapsed()
}

#[test]
fn idle_limit_is_over_in_time() {
    let server = Server::new().args(["-t", "3"]).start();
    thread::scope(|scope| {
        let server = &server;
        scope.spawn(|| {
            assert_in_time("silent", LIMIT, || until_closed(&mut server.connect()));
        });
        scope.spawn(|| {
            assert_in_time("served", LIMIT, || until_closed(&mut served(server)));
        });
        scope.spawn(|| {
            assert_in_time("half a line", LIMIT, || {
                let mut client = server.connect();
                client.say(b"half a li");
                until_closed(&mut client)
            });
        });
    });
}

/// The parts are an eighth of the limit, and there are eight: one more would be a
/// day too late where the limit is a week.
#[test]
fn silent_client_is_waited_for_eight_times() {
    if !runner().is_empty() {
        println!("an emulator begins a read again: not tried");
        return;
    }
    let server = Server::new().args(["-t", "1"]).recorded().start();
    let mut client = server.connect();
    let child = server.only_child();
    client.assert_end();
    server.wait_childless();
    let calls = server.calls();
    let reads = calls[&child]
        .iter()
        .filter(|call| call.starts_with("read("));
    let reads: Vec<&String> = reads.collect();
    assert_eq!(reads.len(), 8, "{reads:#?}");
    assert!(
        reads.iter().all(|read| read.contains(" EAGAIN ")),
        "{reads:#?}"
    );
}

/// Whether the client has taken something is looked at eight times in that time.
#[test]
fn client_that_takes_nothing_is_gone_in_time() {
    let most = LIMIT + LIMIT / 8;
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_in_time("in write", most, || {
                let server = Server::new().args(["-t", "3"]).start();
                let _stalled = stalled(&server);
                until_childless(&server)
            });
        });
        scope.spawn(|| {
            assert_in_time("in read", most, || {
                let server = Server::new().args(["-t", "3"]).start();
                let _client = with_an_echo_under_way(&server);
                until_childless(&server)
            });
        });
    });
}

/// Whole lines that fit into the buffers between a child and its client.
const ECHO: usize = 32 * 1024 / LINE.len() * LINE.len();

/// A client that has taken but the start of its echo: the child has sent all of it
/// and waits for more.
fn with_an_echo_under_way(server: &Server) -> TcpStream {
    let mut client = server.connect_with_window(2048);
    client.say(&LINE.repeat(ECHO / LINE.len()));
    // All is sent, nothing is left to read: it only waits for the next line.
    let child = server.only_child();
    eventually("the child reads", || proc::blocked_in_read(child));
    client
}

#[test]
fn lifetime_is_over_in_time() {
    let server = Server::new().args(["-T", "3"]).start();
    thread::scope(|scope| {
        let server = &server;
        scope.spawn(|| {
            assert_in_time("silent", LIMIT, || until_closed(&mut server.connect()));
        });
        scope.spawn(|| {
            assert_in_time("busy", LIMIT, || {
                let mut busy = server.connect();
                let begin = Instant::now();
                exchange_until_closed(&mut busy);
                begin.elapsed()
            });
        });
        scope.spawn(|| {
            assert_in_time("in write", LIMIT, || {
                let server = Server::new().args(["-T", "3"]).start();
                let _stalled = stalled(&server);
                until_childless(&server)
            });
        });
    });
}

#[test]
fn grace_is_over_in_time() {
    let attempt = |options: &[&str]| {
        let mut server = Server::new().args(options).start();
        let _clients = [served(&server), served(&server)];
        let begin = Instant::now();
        server.signal(libc::SIGTERM);
        server.wait_exit();
        begin.elapsed()
    };
    thread::scope(|scope| {
        for options in [&["-k", "3"][..], &["-k3", "-c2"], &["-vk3", "-T600"]] {
            scope.spawn(move || {
                let what = format!("{options:?}");
                assert_in_time(&what, LIMIT, || attempt(options));
            });
        }
    });
}
