//! inetd and xinetd: one server for all clients, or one for each.

use super::sandbox::{Root, Sandbox};
use super::{File, INETD_NOWAIT, INETD_WAIT, INSTALLED, XINETD_NOWAIT, XINETD_WAIT};
use crate::support::{Dialogue, eventually, proc, signal_process};

fn root(file: File) -> Root {
    Root::new()
        .server(INSTALLED)
        .devices()
        .programs()
        .file(file.to, file.text())
        .file("/etc/protocols", "tcp 6 TCP\n")
        .file("/etc/passwd", "nobody:x:65534:65534::/:\n")
        .file("/etc/group", "nogroup:x:65534:\n")
}

fn inetd(file: File) -> Sandbox {
    let (root, inetd) = root(file).tool("inetd");
    root.start(&[&inetd, "-i"])
}

fn xinetd(file: File) -> Sandbox {
    let (root, xinetd) = root(file).tool("xinetd");
    root.file("/etc/xinetd.conf", "includedir /etc/xinetd.d\n")
        .start(&[&xinetd, "-dontfork", "-stayalive"])
}

#[track_caller]
fn starts_one_server_for_all_clients(daemon: Sandbox) {
    let mut clients = [(); 3].map(|()| daemon.connect("127.0.0.1:43211"));
    for client in &mut clients {
        client.exchange(b"Hello\n");
    }
    let server = daemon.only_server();
    assert_eq!(daemon.user(server), 65534);
    assert_eq!(proc::children(server).len(), 3);
    // The next client comes to a new one when the old one has drained.
    signal_process(server, libc::SIGTERM);
    daemon.wait_draining(server);
    let mut next = daemon.connect("127.0.0.1:43211");
    next.say(b"Next\n");
    for client in &mut clients {
        client.exchange(b"Still here\n");
    }
    drop(clients);
    next.hear_echo_of(b"Next\n");
    assert_ne!(daemon.only_server(), server);
}

#[track_caller]
fn starts_a_server_for_each_client(daemon: Sandbox) {
    // One socket for each kind of address.
    let mut clients = ["127.0.0.1:43211", "[::1]:43211"].map(|to| daemon.connect(to));
    for client in &mut clients {
        client.exchange(b"Hello\n");
    }
    let servers = daemon.servers();
    assert_eq!(servers.len(), 2);
    assert!(
        servers
            .into_iter()
            .all(|server| daemon.user(server) == 65534)
    );
    for client in &mut clients {
        client.half_close();
        client.assert_end();
    }
    eventually("every server is gone", || daemon.servers().is_empty());
}

#[test]
fn inetd_starts_one_server_for_all_clients() {
    starts_one_server_for_all_clients(inetd(INETD_WAIT));
}

#[test]
fn inetd_starts_a_server_for_each_client() {
    starts_a_server_for_each_client(inetd(INETD_NOWAIT));
}

#[test]
fn xinetd_starts_one_server_for_all_clients() {
    starts_one_server_for_all_clients(xinetd(XINETD_WAIT));
}

#[test]
fn xinetd_starts_a_server_for_each_client() {
    starts_a_server_for_each_client(xinetd(XINETD_NOWAIT));
}
