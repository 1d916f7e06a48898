//! Serving one client (rot13d(8), DESCRIPTION): every byte comes back once, in
//! order, rotated; never before its line is complete, never lost. And the
//! same for many clients at once, with nothing of them left afterwards.
//!
//! Guards against the lecture's program, which drops what passes 4,097 bytes
//! of a line and a last line without a newline.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Barrier;
use std::thread;

use crate::support::client::{self, assert_same};
use crate::support::{Dialogue, Random, Ready, Server, eventually, proc, rot13};

/// The size of the server's buffer: so many bytes without a newline go out.
const FULL: usize = 4097;

#[test]
fn every_byte_value_comes_back_once() {
    let server = Server::start();
    let mut client = server.connect();
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.push(b'\n');
    client.exchange(&bytes);
    bytes.reverse();
    bytes.push(b'\n');
    client.exchange(&bytes);
    client.half_close();
    client.assert_end();
}

#[test]
fn partial_line_is_kept_until_its_newline() {
    let server = Server::start();
    let mut client = server.connect();
    let child = server.only_child();
    for part in [&b"Par"[..], b"t", b"ial\r"] {
        client.say(part);
        server.wait_taken(&client, child);
        client.assert_silent();
    }
    client.say(b"\n");
    client.hear_echo_of(b"Partial\r\n");
}

#[test]
fn complete_lines_leave_and_the_rest_is_kept() {
    let server = Server::start();
    let mut client = server.connect();
    let child = server.only_child();
    client.say(b"one\n\ntwo\nthr");
    client.hear_echo_of(b"one\n\ntwo\n");
    server.wait_taken(&client, child);
    client.assert_silent();
    client.say(b"ee\n");
    client.hear_echo_of(b"three\n");
}

#[test]
fn complete_lines_leave_in_one_write() {
    let server = Server::new().strace(["-e", "trace=write,sendto"]).start();
    let mut client = server.connect();
    client.exchange(b"one\ntwo\nthree\n");
    eventually("the write is traced", || {
        let trace = server.trace();
        trace
            .iter()
            .any(|line| line.contains(r#""bar\ngjb\nguerr\n", 14"#))
    });
}

#[test]
fn line_as_long_as_the_buffer_leaves_without_newline() {
    let line: Vec<u8> = (b'a'..=b'z').cycle().take(FULL + 1).collect();
    for length in [FULL - 1, FULL, FULL + 1] {
        let server = Server::start();
        let mut client = server.connect();
        let child = server.only_child();
        client.say(&line[..length]);
        let leaves = if length < FULL { 0 } else { FULL };
        client.hear_echo_of(&line[..leaves]);
        server.wait_taken(&client, child);
        client.assert_silent();
        client.say(b"\n");
        client.hear_echo_of(&[&line[leaves..length], b"\n"].concat());
    }
}

#[test]
fn full_buffer_keeps_what_follows_its_last_newline() {
    let server = Server::start();
    for line in [1, 3000, FULL - 1] {
        let mut client = server.connect();
        let mut bytes = vec![b'x'; FULL];
        bytes[line - 1] = b'\n';
        client.say(&bytes);
        client.hear_echo_of(&bytes[..line]);
        server.wait_taken(&client, server.only_child());
        client.assert_silent();
        client.half_close();
        assert_same(&client.hear_rest(), &rot13(&bytes[line..]));
        server.wait_childless();
    }
}

#[test]
fn last_line_needs_no_newline() {
    let full = vec![b'x'; FULL];
    let last_lines: [&[u8]; 7] = [
        b"",
        b"\n",
        b"l",
        b"first\nlast",
        &full[1..],
        &full,
        &[&full[..], b"y"].concat(),
    ];
    let server = Server::start();
    for bytes in last_lines {
        let mut client = server.connect();
        client.say(bytes);
        client.half_close();
        assert_same(&client.hear_rest(), &rot13(bytes));
    }
}

#[test]
fn megabytes_cut_at_random_come_back_in_order() {
    const TOTAL: usize = 4 << 20;
    let mut random = Random::seeded();
    let bytes = random_lines(&mut random, TOTAL);
    let server = Server::start();
    let mut client = server.connect();
    client.set_nodelay(true).unwrap();
    let mut writer = client.try_clone().unwrap();
    let heard = thread::scope(|scope| {
        scope.spawn(|| {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                // Many short pieces, a few far longer than the buffer.
                let longest = 1 << random.below(16);
                let (piece, after) = rest.split_at((1 + random.below(longest)).min(rest.len()));
                writer.say(piece);
                rest = after;
            }
            writer.half_close();
        });
        client.hear_rest()
    });
    assert_same(&heard, &rot13(&bytes));
}

/// After each piece, exactly what the rule lets go has come back.
#[test]
fn random_pieces_are_released_by_the_rule() {
    let mut random = Random::seeded();
    let bytes = random_lines(&mut random, 100_000);
    let server = Server::start();
    let mut client = server.connect();
    let child = server.only_child();
    let expected = rot13(&bytes);
    let (mut said, mut heard) = (0, 0);
    while said < bytes.len() {
        let longest = 1 << random.below(14);
        let end = (said + 1 + random.below(longest)).min(bytes.len());
        client.say(&bytes[said..end]);
        said = end;
        server.wait_taken(&client, child);
        let released = heard + released(&bytes[heard..said]);
        assert_same(&hear_what_is_there(&mut client), &expected[heard..released]);
        heard = released;
    }
}

/// How many of these bytes go out, by the rule: up to the last newline, or to
/// the last time that the buffer was full.
fn released(bytes: &[u8]) -> usize {
    let mut out = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte == b'\n' || at + 1 - out == FULL {
            out = at + 1;
        }
    }
    out
}

fn hear_what_is_there(client: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    client.set_nonblocking(true).unwrap();
    let result = client.read_to_end(&mut heard);
    client.set_nonblocking(false).unwrap();
    let error = result.expect_err("the session is open");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    heard
}

/// Any bytes, in lines from empty to twice the buffer.
fn random_lines(random: &mut Random, total: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(total);
    while bytes.len() < total {
        let longest = [1, 10, 100, 2 * FULL][random.below(4)];
        for _ in 0..random.below(longest) {
            bytes.push(random.byte());
        }
        bytes.push(b'\n');
    }
    bytes.truncate(total);
    bytes
}

#[test]
fn reader_that_stalls_is_waited_for() {
    let mut random = Random::seeded();
    let bytes = random_lines(&mut random, 1 << 20);
    let server = Server::start();
    let mut client = server.connect_with_window(1);
    let child = server.only_child();
    let mut writer = client.try_clone().unwrap();
    let heard = thread::scope(|scope| {
        scope.spawn(|| {
            writer.say(&bytes);
            writer.half_close();
        });
        eventually("the child waits for its reader", || {
            proc::blocked_in_write(child)
        });
        server.connect().exchange(b"Others are served.\n");
        client.open_window();
        client.hear_rest()
    });
    assert_same(&heard, &rot13(&bytes));
}

/// What a client has not taken comes as soon as it does, without another word from it.
#[test]
fn reader_that_stalled_need_say_nothing_more() {
    let server = Server::start();
    for _ in 0..3 {
        let mut client = server.connect_with_window(4096);
        let child = server.only_child();
        let lines = b"stalled\n".repeat(8192);
        client.set_nonblocking(true).unwrap();
        let mut said = 0;
        eventually("the child waits for its reader", || {
            use std::io::Write;
            while let Ok(count) = client.write(&lines[said % 8..]) {
                said += count;
            }
            proc::blocked_in_write(child)
        });
        client.set_nonblocking(false).unwrap();
        client.open_window();
        let whole = said - said % 8;
        let heard = client.hear(whole);
        let expected = rot13(&b"stalled\n".repeat(whole / 8));
        assert_same(&heard, &expected);
        server.wait_taken(&client, child);
        client.assert_silent();
        client.half_close();
        assert_same(&client.hear_rest(), &rot13(&lines[..said % 8]));
        server.wait_childless();
    }
}

#[test]
fn reset_ends_that_client_only() {
    let server = Server::new().args(["-v"]).start();
    let mut other = server.connect();
    let other_child = server.only_child();
    let client_and_child = || {
        let client = server.connect();
        let mut child = 0;
        eventually("a second child", || {
            let children = server.children();
            child = *children
                .iter()
                .find(|&&pid| pid != other_child)
                .unwrap_or(&0);
            children.len() == 2
        });
        (client, child)
    };
    let reset = |client: TcpStream, child: i32| {
        client.reset();
        server.wait_log(&format!("end {child} exit 0 "));
    };

    let (client, child) = client_and_child();
    reset(client, child);

    let (mut client, child) = client_and_child();
    client.say(b"half a li");
    server.wait_taken(&client, child);
    reset(client, child);

    // While the child is writing: with both halves open (ECONNRESET) and with
    // the client's closed (EPIPE, and a SIGPIPE that must not kill).
    for half_closed in [false, true] {
        let (mut client, child) = client_and_child();
        stall(&mut client, child);
        if half_closed {
            client.half_close();
        }
        reset(client, child);
    }

    other.exchange(b"still here\n");
    drop(other);
    server.wait_childless();
}

/// Says lines and hears none until the child is stuck in its write.
fn stall(client: &mut TcpStream, child: i32) {
    client.set_nonblocking(true).unwrap();
    let lines = b"stalled\n".repeat(8192);
    eventually("the child waits for its reader", || {
        use std::io::Write;
        let _ = client.write(&lines);
        proc::blocked_in_write(child)
    });
    client.set_nonblocking(false).unwrap();
}

#[test]
fn fifty_clients_interleaved_keep_their_own_lines() {
    let mut random = Random::seeded();
    let server = Server::start();
    let mut clients: Vec<_> = (0..50)
        .map(|number| {
            let text = random_lines(&mut random, 2000 + number);
            (server.connect(), text, 0)
        })
        .collect();
    eventually("a child for each", || server.children().len() == 50);
    while !clients.is_empty() {
        let turn = random.below(clients.len());
        let (client, text, said) = &mut clients[turn];
        let end = (*said + 1 + random.below(300)).min(text.len());
        client.say(&text[*said..end]);
        *said = end;
        if end == text.len() {
            client.half_close();
            assert_same(&client.hear_rest(), &rot13(text));
            clients.swap_remove(turn);
        }
    }
    server.wait_childless();
}

#[test]
fn hundred_clients_at_once_leave_nothing_behind() {
    let server = Server::start();
    server.wait_accepting();
    let before = server.descriptors();
    let here = Barrier::new(100);
    thread::scope(|scope| {
        for number in 0..100 {
            let (server, here) = (&server, &here);
            scope.spawn(move || {
                let mut client = server.connect();
                client.exchange(format!("client {number}\n").as_bytes());
                here.wait();
            });
        }
    });
    server.wait_childless();
    server.wait_accepting();
    assert_eq!(server.descriptors(), before);
    server.connect().exchange(b"one more\n");
}

#[test]
fn child_holds_its_client_and_not_the_listener() {
    let server = Server::start();
    server.wait_accepting();
    let own = server.descriptors();
    let mut client = server.connect();
    client.exchange(b"here\n");
    let held = proc::descriptors(server.only_child());
    let sockets = |all: &std::collections::BTreeMap<i32, String>| -> Vec<String> {
        let targets = all.values().filter(|target| target.starts_with("socket:"));
        targets.cloned().collect()
    };
    let (listener, connection) = (sockets(&own), sockets(&held));
    assert_eq!(
        (listener.len(), connection.len()),
        (1, 1),
        "{own:?} {held:?}"
    );
    assert_ne!(listener, connection);
}

#[test]
fn host_0_serves_both_families_on_one_socket() {
    let server = Server::new().host("0").start();
    for host in ["127.0.0.1", "127.0.0.2", "::1"] {
        connect_to(host, &server).expect(host).exchange(b"Both\n");
    }
}

#[test]
fn explicit_host_serves_that_address_only() {
    for (host, other) in [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")] {
        let server = Server::new().host(host).start();
        connect_to(host, &server).expect(host).exchange(b"One\n");
        let error = connect_to(other, &server).expect_err(other);
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{other}");
    }
    let server = Server::new().host("::1").start();
    connect_to("::1", &server).expect("::1").exchange(b"Six\n");
    let server = Server::new().host("0.0.0.0").start();
    for host in ["127.0.0.1", "127.0.0.2"] {
        connect_to(host, &server).expect(host).exchange(b"Four\n");
    }
}

fn connect_to(host: &str, server: &Server) -> std::io::Result<TcpStream> {
    let address = SocketAddr::new(host.parse().unwrap(), server.port());
    client::connect(address, None, None)
}

/// What a client says, piece by piece: whether as usual, or with tcp(7)'s
/// urgent mark on the last byte.
type Pieces<'a> = &'a [(&'a [u8], bool)];

/// Says `bytes`, the last of which is urgent: send(2), `MSG_OOB`.
#[track_caller]
fn say_urgently(client: &TcpStream, bytes: &[u8]) {
    let flags = libc::MSG_OOB;
    // SAFETY: `bytes` is as long as is said.
    let sent = unsafe {
        libc::send(
            client.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
        )
    };
    assert_eq!(sent, bytes.len() as isize, "a short send");
}

/// Every piece comes back in its place, whatever mark it had.
#[track_caller]
fn assert_stays_in_place(client: &mut TcpStream, pieces: Pieces) {
    client.set_nodelay(true).unwrap();
    let mut all = Vec::new();
    for &(bytes, is_urgent) in pieces {
        if is_urgent {
            say_urgently(client, bytes);
        } else {
            client.say(bytes);
        }
        all.extend(bytes);
    }
    client.half_close();
    assert_same(&client.hear_rest(), &rot13(&all));
}

/// Urgent bytes first, last, alone, one after the other, in the middle of as
/// many as the buffer holds.
fn urgent_cases(body: &dyn Fn(Pieces)) {
    let full = [b'f'; FULL];
    let (half, rest) = full.split_at(FULL / 2);
    let cases: [Pieces; 12] = [
        &[(b"a", true), (b"bc\n", false)],
        &[(b"ab", false), (b"c", true)],
        &[(b"ab", false), (b"\n", true)],
        &[(b"ab\n", false), (b"c", true)],
        &[(b"a", true)],
        &[(b"\n", true)],
        &[(b"a", true), (b"b", true), (b"c", true), (b"\n", true)],
        &[(b"a", true), (b"b", false), (b"c", true), (b"d\n", false)],
        &[(half, true), (rest, false)],
        &[(half, false), (b"!", true), (&rest[1..], false)],
        &[(&full, true), (b"\n", false)],
        &[(&full[1..], false), (b"!", true), (b"\n", true)],
    ];
    cases.into_iter().for_each(body);
}

#[test]
fn urgent_bytes_stay_in_their_place() {
    let server = Server::start();
    urgent_cases(&|pieces| assert_stays_in_place(&mut server.connect(), pieces));
}

/// Each piece is there, and has been dealt with, before the next one comes.
#[test]
fn urgent_bytes_that_come_one_by_one_stay_in_their_place() {
    let server = Server::start();
    let mut client = server.connect();
    let child = server.only_child();
    let text = b"urgent, and again\nurgent\n";
    for (at, byte) in text.iter().enumerate() {
        if at % 3 == 0 {
            say_urgently(&client, &[*byte]);
        } else {
            client.say(&[*byte]);
        }
        server.wait_taken(&client, child);
    }
    client.hear_echo_of(text);
    client.half_close();
    client.assert_end();
}

#[test]
fn urgent_bytes_among_many_stay_in_their_place() {
    let mut random = Random::seeded();
    let bytes = random_lines(&mut random, 1 << 20);
    let server = Server::start();
    let mut client = server.connect();
    let mut writer = client.try_clone().unwrap();
    let heard = thread::scope(|scope| {
        scope.spawn(|| {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((1 + random.below(9000)).min(rest.len()));
                if random.below(2) == 0 && piece.len() < 100 {
                    say_urgently(&writer, piece);
                } else {
                    let (last, first) = piece.split_last().expect("a byte");
                    writer.say(first);
                    say_urgently(&writer, &[*last]);
                }
                rest = after;
            }
            writer.half_close();
        });
        client.hear_rest()
    });
    assert_same(&heard, &rot13(&bytes));
}

/// On a listener that is inherited, and on a connection.
#[test]
fn urgent_bytes_stay_in_their_place_on_an_inherited_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new().exactly(["-i"]).ready(Ready::Log);
    let server = server
        .stdin(OwnedFd::from(listener.try_clone().unwrap()))
        .start();
    urgent_cases(&|pieces| assert_stays_in_place(&mut server.connect(), pieces));
    drop(server);

    urgent_cases(&|pieces| {
        let mut client = TcpStream::connect(address).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let said = thread::spawn(move || {
            let mut server = Server::new()
                .exactly(["-i"])
                .ready(Ready::Unknown)
                .stdin(OwnedFd::from(socket))
                .start();
            assert_eq!(server.wait_exit().code(), Some(0));
        });
        client
            .set_read_timeout(Some(crate::support::DEADLINE))
            .unwrap();
        assert_stays_in_place(&mut client, pieces);
        said.join().expect("it has served and ended");
    });
}
