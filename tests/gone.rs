//! What is permanent is not passing: a listener that is shut down or destroyed
//! under the server says EINVAL for ever. Clients are served to their end, and
//! then the server ends as it does when it cannot start (rot13d(8), EXIT
//! STATUS), so that a supervisor starts it anew.
//!
//! Guards against a line a second for ever with nobody served (zig 6226,
//! libwebsockets 735).

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::support::crowd::{LINE, all_served_to_their_end, crowd, served, waiting};
use crate::support::network::in_own_network;
use crate::support::resources::{SoftLimit, set_soft_limit, unused_user};
use crate::support::{Builder, Dialogue, Ready, Scratch, Server, eventually, runner, tool};

const GONE: &str = "rot13d: fatal: accept: invalid argument";

fn serve_on(listener: &TcpListener, options: &[&str]) -> Server {
    Server::new()
        .exactly([&["-i"], options].concat())
        .ready(Ready::Log)
        .stdin(OwnedFd::from(listener.try_clone().unwrap()))
        .start()
}

/// By whoever shares it: it listens no longer.
fn shut_down(listener: &impl AsRawFd) {
    // SAFETY: touches no memory.
    let result = unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
    assert_eq!(result, 0, "shutdown: {}", io::Error::last_os_error());
}

/// It has said so, once.
#[track_caller]
fn assert_said(server: &Server) {
    server.wait_log(GONE);
    let log = server.log();
    let said = log.iter().filter(|line| line.as_str() == GONE);
    assert_eq!(said.count(), 1, "{log:#?}");
    let tries = log.iter().filter(|line| line.contains(": accept: "));
    assert_eq!(tries.count(), 1, "{log:#?}");
}

#[test]
fn listener_that_is_shut_down_ends_the_server_when_its_clients_have_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = serve_on(&listener, &["-v"]);
    let mut clients = crowd(&server, 3);
    server.wait_accepting();
    shut_down(&listener);
    // At once: a supervisor's log shows it when it happens.
    server.wait_log(GONE);
    for client in &mut clients {
        client.exchange(b"still served\n");
    }
    thread::sleep(Duration::from_millis(1200));
    assert!(server.is_running());
    let (cpu, lines) = (server.cpu(), server.log().len());
    thread::sleep(Duration::from_secs(2));
    assert_eq!(server.log().len(), lines, "nothing more is said");
    assert!(server.cpu() - cpu < Duration::from_millis(100), "it spins");
    all_served_to_their_end(clients);
    assert_eq!(server.wait_exit().code(), Some(111));
    assert_said(&server);
}

#[test]
fn listener_that_is_shut_down_ends_a_server_without_clients_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = serve_on(&listener, &[]);
    all_served_to_their_end(vec![served(&server)]);
    server.wait_childless();
    let begin = Instant::now();
    shut_down(&listener);
    assert_eq!(server.wait_exit().code(), Some(111));
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "no time of grace"
    );
    assert_said(&server);
}

/// At the limit nothing is accepted: it is found out when there is room.
#[test]
fn listener_that_is_shut_down_at_the_limit_is_found_out_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = serve_on(&listener, &["-c", "1"]);
    let mut client = served(&server);
    shut_down(&listener);
    client.exchange(LINE);
    assert!(server.is_running());
    all_served_to_their_end(vec![client]);
    assert_eq!(server.wait_exit().code(), Some(111));
    assert_said(&server);
}

/// One that waits for a process of its own is a client like the others.
#[test]
fn client_that_waits_for_a_process_is_served_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let user = unused_user().to_string();
    let mut server = Server::new()
        .exactly(["-i", "-u", &user])
        .ready(Ready::Log)
        .stdin(OwnedFd::from(listener.try_clone().unwrap()))
        .limit(libc::RLIMIT_NPROC, 2)
        .start();
    let first = served(&server);
    let late = waiting(&server);
    server.wait_log("fork: ");
    shut_down(&listener);
    all_served_to_their_end(vec![first]);
    let mut late = late;
    late.hear_echo_of(LINE);
    server.wait_log(GONE);
    all_served_to_their_end(vec![late]);
    assert_eq!(server.wait_exit().code(), Some(111));
}

/// What it waited for while it had no descriptor does not come any more.
#[test]
fn listener_that_is_shut_down_while_there_is_no_descriptor() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = serve_on(&listener, &[]);
    server.wait_accepting();
    set_soft_limit(&server, libc::RLIMIT_NOFILE, 4);
    let client = served(&server);
    server.wait_log("accept: too many open files");
    shut_down(&listener);
    all_served_to_their_end(vec![client]);
    set_soft_limit(&server, libc::RLIMIT_NOFILE, 64);
    assert_eq!(server.wait_exit().code(), Some(111));
    server.wait_log(GONE);
}

#[test]
fn signals_end_the_clients_of_a_listener_that_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = serve_on(&listener, &[]);
    let clients = crowd(&server, 2);
    shut_down(&listener);
    server.wait_log(GONE);
    server.signal(libc::SIGTERM);
    // Not two of a kind, which would be one; the clients' own end is next.
    server.signal(libc::SIGINT);
    for mut client in clients {
        client.assert_end();
    }
    assert!(matches!(server.wait_exit().code(), Some(0 | 111)));
}

#[test]
fn grace_is_given_when_the_listener_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = serve_on(&listener, &["-k", "1"]);
    let mut client = served(&server);
    shut_down(&listener);
    server.wait_log(GONE);
    // Nobody has asked it to end: they have all the time that they want.
    thread::sleep(Duration::from_millis(2500));
    client.exchange(LINE);
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    client.assert_end();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    server.wait_exit();
}

/// `ss --kill`: an administrator's way, and that of a network that is changed.
#[test]
fn listener_that_is_destroyed_ends_the_server() {
    if !runner().is_empty() {
        println!("an emulator's sockets are its own: not tried");
        return;
    }
    in_own_network(|| {
        let mut server = Server::start();
        let client = served(&server);
        server.wait_accepting();
        let filter = format!("sport = :{}", server.port());
        let ss = tool("ss");
        let killed = Command::new(ss)
            .args(["-K", "-t", "state", "listening", &filter])
            .output()
            .expect("ss runs");
        assert!(killed.status.success(), "{killed:?}");
        server.wait_log(GONE);
        all_served_to_their_end(vec![client]);
        assert_eq!(server.wait_exit().code(), Some(111));
        assert_said(&server);
    });
}

#[test]
fn unix_listener_that_is_shut_down_ends_the_server() {
    let scratch = Scratch::new();
    let path = scratch.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut server = Server::new()
        .exactly(["-i"])
        .ready(Ready::Unknown)
        .stdin(OwnedFd::from(listener.try_clone().unwrap()))
        .start();
    let client = UnixStream::connect(&path).unwrap();
    eventually("it is served", || server.children().len() == 1);
    server.wait_accepting();
    shut_down(&listener);
    server.wait_log(GONE);
    assert!(server.is_running());
    drop(client);
    assert_eq!(server.wait_exit().code(), Some(111));
}

/// The shutdown of one direction is one, too.
#[test]
fn listener_that_is_shut_down_for_reading_alone_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = serve_on(&listener, &[]);
    server.wait_accepting();
    // SAFETY: touches no memory.
    let result = unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RD) };
    assert_eq!(result, 0);
    assert_eq!(server.wait_exit().code(), Some(111));
    assert_said(&server);
}

/// A socket that was taken away before the start is as gone.
#[test]
fn socket_that_no_longer_listens_is_no_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    shut_down(&listener);
    let mut server = Server::new()
        .exactly(["-i"])
        .ready(Ready::Unknown)
        .stdin(OwnedFd::from(listener))
        .start();
    let code = server.wait_exit().code();
    // It has no peer, either: served alone, the client that it may be is at its end.
    assert!(matches!(code, Some(0 | 111)), "{code:?}");
}

const TOO_MANY: &str = "rot13d: fatal: accept: too many open files\n";

fn few_descriptors(server: Builder, limit: u64) -> Builder {
    server.soft_limit(libc::RLIMIT_NOFILE, limit)
}

/// 0, 1, 2 and the listener: no client could ever be served.
#[test]
fn descriptor_limit_under_which_no_client_fits_is_refused_at_start() {
    for limit in 0..5 {
        for host in ["127.0.0.1", "0"] {
            let server = Server::new().exactly(["-1", host, "0"]);
            let run = few_descriptors(server, limit).run();
            assert_eq!(run.status.code(), Some(111), "{limit}: {run:?}");
            assert_eq!(run.stdout, "", "it is not ready");
            if limit == 4 {
                assert_eq!(run.stderr, TOO_MANY);
            }
            let fatal = run.stderr.starts_with("rot13d: fatal: ");
            let words = run.stderr.ends_with(": too many open files\n");
            assert!(fatal && words, "{limit}: {run:?}");
        }
    }
    let server = few_descriptors(Server::new(), 5).start();
    all_served_to_their_end(crowd(&server, 20));
}

#[test]
fn descriptor_limit_holds_for_an_inherited_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stdin = || OwnedFd::from(listener.try_clone().unwrap());
    let server = Server::new().exactly(["-i"]).stdin(stdin());
    let run = few_descriptors(server, 4).run();
    assert_eq!(run.status.code(), Some(111), "{run:?}");
    assert!(run.stderr.ends_with(": too many open files\n"), "{run:?}");

    let server = Server::new().exactly(["-i"]).stdin(stdin());
    let server = few_descriptors(server.ready(Ready::Log), 5).start();
    all_served_to_their_end(crowd(&server, 20));
}

/// It has its client already.
#[test]
fn descriptor_limit_does_not_matter_to_a_connected_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::net::TcpStream::connect(address).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let server = Server::new().exactly(["-i"]).ready(Ready::Unknown);
    let server = server.stdin(OwnedFd::from(socket));
    let mut server = few_descriptors(server, 5).start();
    all_served_to_their_end(vec![client]);
    assert_eq!(server.wait_exit().code(), Some(0));
}
