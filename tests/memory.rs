//! Limits on memory (rot13d(8), "Limits and memory"): how many clients one carries, and
//! what happens at it. `make memory` prints the table.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;

use crate::support::crowd::{LINE, all_served_to_their_end, crowd};
use crate::support::resources::Cgroup;
use crate::support::{Dialogue, Server, client, runner};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What the manual page says to reckon with for a client that waits.
const EACH: u64 = 64 * KIB;

/// The limit is for the process that is the server, not for an emulator of it.
fn is_emulated() -> bool {
    !runner().is_empty()
}

#[test]
fn sixteen_mebibytes_carry_as_many_clients_as_there_are_by_default() {
    if is_emulated() {
        return;
    }
    let cgroup = Cgroup::of_memory(16 * MIB);
    let server = cgroup.hold(Server::new()).start();
    let mut clients = crowd(&server, 256);
    for client in &mut clients {
        client.exchange(LINE);
    }
    assert_eq!(cgroup.kills(), 0);
    all_served_to_their_end(clients);
}

/// The kernel kills the process with most memory, and that is the parent: it has more
/// page tables than a child.
#[test]
fn beyond_a_memory_limit_the_clients_that_are_there_are_served_on() {
    if is_emulated() {
        return;
    }
    beyond(4 * MIB);
}

#[test]
#[ignore = "a table: make memory"]
fn memory_limits_and_their_clients() {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    println!("Linux {}", kernel.trim());
    println!("| limit | clients | KiB each |");
    println!("|---|---|---|");
    for limit in [16, 32, 64] {
        let (clients, each) = beyond(limit * MIB);
        println!(
            "| {limit} MiB | {clients} | {:.1} |",
            each as f64 / KIB as f64
        );
    }
}

/// Fills a memory limit with clients until one is not served any more. Returns how many
/// were, and how many bytes each has taken.
#[track_caller]
fn beyond(limit: u64) -> (u64, u64) {
    let cgroup = Cgroup::of_memory(limit);
    let mut server = cgroup.hold(Server::new().args(["-c", "30000"])).start();
    let alone = cgroup.memory();
    let mut clients = Vec::new();
    let mut used = alone;
    while let Some(client) = try_served(&server, clients.len()) {
        clients.push(client);
        used = cgroup.memory();
    }
    let count = clients.len() as u64;
    assert!(
        count >= limit / EACH,
        "{count} clients in {} KiB",
        limit / KIB
    );
    assert_eq!(cgroup.kills(), 1, "one process was killed");
    assert_eq!(server.wait_exit().signal(), Some(libc::SIGKILL));
    all_served_to_their_end(clients);
    (count, (used - alone) / count)
}

/// A client that is served, if the server is still there.
fn try_served(server: &Server, number: usize) -> Option<TcpStream> {
    let source = format!("127.0.{}.{}", 1 + number / 250, 1 + number % 250);
    let source = source.parse().expect("an address");
    let mut client = client::connect(server.address(), Some(source), None).ok()?;
    client.write_all(LINE).ok()?;
    let mut echo = [0; LINE.len()];
    client.read_exact(&mut echo).ok()?;
    Some(client)
}
