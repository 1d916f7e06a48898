//! The server as the first process of a system (rot13d(8), SIGNALS): it gets
//! its signals although PID 1 has no default action, reaps what others leave
//! behind, and needs neither `/dev` nor `/proc` nor any other file.
//!
//! Guards against TERM and INT ignored (moby 12228, watchexec 140; most
//! peers) and a miscounted limit when adopted orphans end (tcpserver, tcpsvd,
//! socat, ncat).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::crowd::{LINE, all_served_to_their_end, assert_asleep, crowd, served, waiting};
use crate::support::{
    Dialogue, Scratch, Server, binary, eventually, proc, runner, signal_process, tool,
};

const FIRST: [&str; 4] = ["unshare", "--pid", "--fork", "--kill-child"];

/// A folder with the server in it and nothing else, but an emulator where one
/// is needed.
fn empty_root() -> Scratch {
    let root = Scratch::new();
    fs::create_dir_all(root.path("usr/bin")).unwrap();
    copy(binary(), &root.path("rot13d"));
    if let Some(emulator) = runner().first() {
        copy(&tool(emulator), &root.path("usr/bin").join(emulator));
    }
    root
}

/// By another process: a file that this one writes is open for writing in all
/// that its other threads start meanwhile, and cannot be executed.
#[track_caller]
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args([from, to]).status();
    assert!(status.is_ok_and(|status| status.success()));
}

/// PID 1 in its own process namespace, all alone under `root`.
fn first_in(root: &Scratch, options: &[&str]) -> Server {
    let into = format!("--root={}", root.path("").display());
    Server::new()
        .args(options)
        .binary("/rot13d")
        .under(FIRST.iter().copied().chain([into.as_str()]))
        .start()
}

/// Its number as it sees it.
#[track_caller]
fn assert_is_first(server: &Server) {
    let numbers = server.status("NSpid");
    assert_eq!(numbers.split_whitespace().last(), Some("1"), "{numbers}");
}

#[test]
fn first_process_drains() {
    let root = empty_root();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = first_in(&root, &["-v"]);
        assert_is_first(&server);
        let clients = crowd(&server, 3);
        server.signal(signal);
        all_served_to_their_end(clients);
        assert_eq!(server.wait_exit().code(), Some(0));

        let mut server = first_in(&root, &[]);
        server.signal(signal);
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

#[test]
fn first_process_ends_its_clients_at_the_second_signal() {
    let root = empty_root();
    let mut server = first_in(&root, &[]);
    let clients = crowd(&server, 3);
    server.signal(libc::SIGTERM);
    server.signal(libc::SIGINT);
    for mut client in clients {
        client.assert_end();
    }
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn first_process_keeps_its_limits() {
    let root = empty_root();
    // Long enough for the server to come to rest before.
    let options = ["-c", "2", "-T", "8", "-k", "1"];
    let mut server = first_in(&root, &options);
    let begin = Instant::now();
    let clients = crowd(&server, 2);
    let mut next = waiting(&server);
    assert_asleep(&server);
    next.assert_silent();
    for mut client in clients {
        client.assert_end();
    }
    assert!(begin.elapsed() >= Duration::from_secs(8));
    next.hear_echo_of(LINE);
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    next.assert_end();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn nothing_is_missed_in_an_empty_root() {
    let root = empty_root();
    let server = first_in(&root, &["-v"]);
    let log = server.log();
    assert_eq!(log.len(), 1, "{log:?}");
    all_served_to_their_end(crowd(&server, 3));
    server.wait_log(" 0/256");
    let files = fs::read_dir(root.path("")).unwrap().count();
    assert_eq!(files, 2, "the server, and usr/bin");
}

#[test]
fn empty_root_with_closed_descriptors() {
    let root = empty_root();
    let into = format!("--root={}", root.path("").display());
    let server = Server::new()
        .binary("/rot13d")
        .under(FIRST.iter().copied().chain([into.as_str()]))
        .closed(0)
        .closed(2)
        .start();
    all_served_to_their_end(crowd(&server, 3));
    for (number, target) in server.descriptors() {
        assert_eq!(
            target.starts_with("socket:"),
            number > 2,
            "{number}: {target}"
        );
    }
}

#[test]
fn adopted_orphans_are_reaped_and_not_counted() {
    // The subshells end at once, and what they started goes to PID 1.
    let orphans = "(sleep 600 &); (sleep 600 &); (sleep 600 &); exec \"$@\"";
    let server = Server::new()
        .args(["-v", "-c", "2"])
        .under(FIRST.iter().copied().chain(["sh", "-c", orphans, "sh"]))
        .start();
    assert_is_first(&server);
    let mut orphans = Vec::new();
    eventually("the orphans are adopted", || {
        orphans = server.children();
        orphans.len() == 3
    });
    let mut clients = crowd(&server, 2);
    let mut next = waiting(&server);
    for pid in orphans {
        signal_process(pid, libc::SIGKILL);
    }
    eventually("the orphans are reaped", || server.children().len() == 2);
    assert_asleep(&server);
    next.assert_silent();
    assert!(server.stderr().containing("end ").is_none());
    drop(clients.pop());
    next.hear_echo_of(LINE);
    eventually("two are counted again", || {
        server.log().last().unwrap().ends_with(" 2/2")
    });
    assert_eq!(proc::zombies(server.pid()), []);
    drop((clients, next));
    server.wait_log(" 0/2");
    drop(served(&server));
}
