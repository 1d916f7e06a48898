//! Limits on memory (rot13d(8), "Limits and memory"): how many clients one carries, and
//! what happens at it. `make memory` prints the table, `make memory UPDATE=1` writes it
//! into the README.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::{env, fs};

use crate::readme;
use crate::support::crowd::{LINE, all_served_to_their_end, crowd};
use crate::support::resources::Cgroup;
use crate::support::{Dialogue, Server, client, runner};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What the manual page says to reckon with for a client that waits.
pub const EACH: u64 = 64 * KIB;

/// How often each limit is tried for the table.
const STARTS: usize = 5;

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
    // Now and then it kills a client as well, before the parent's memory is free.
    for _ in 0..5 {
        let mut full = Full::of(4 * MIB);
        assert_eq!(full.server.wait_exit().signal(), Some(libc::SIGKILL));
        if full.cgroup.kills() == 1 {
            return all_served_to_their_end(full.clients);
        }
    }
    panic!("it always killed more than one");
}

#[test]
#[ignore = "a table: make memory"]
fn memory_limits_and_their_clients() {
    let table = table();
    println!("{table}");
    if env::var_os("UPDATE").is_some() {
        let readme = readme::repository().join("README.md");
        readme::marked::replace(&readme, "memory", &table).expect("README.md");
    }
}

/// One start in fifty has no luck: the code and the room of a child's session, which are
/// side by side, fall into two page tables, so each child takes 4 KiB more. Hence medians.
fn table() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let kernel = kernel.trim().split('-').next().expect("a version");
    let version = Cgroup::of_memory(MIB).version();
    let mut table = format!(
        "Linux {kernel} {}, control group of version {version}; medians of {STARTS} starts:\n\n\
         | memory limit, MiB | clients | a client, KiB |\n|---|---|---|\n",
        env::consts::ARCH
    );
    for limit in [16, 32, 64] {
        let full = (0..STARTS).map(|_| Full::of(limit * MIB));
        let mut starts: Vec<_> = full.map(|full| (full.clients.len(), full.each)).collect();
        starts.sort_unstable();
        let (clients, each) = starts[STARTS / 2];
        let each = each as f64 / KIB as f64;
        writeln!(table, "| {limit} | {clients} | {each:.1} |").expect("a row");
    }
    table
}

/// A server whose memory limit its clients have filled.
/// (The fields are dropped in this order: a group can be removed once nobody is in it.)
struct Full {
    clients: Vec<TcpStream>,
    /// Bytes that each client has taken.
    each: u64,
    server: Server,
    cgroup: Cgroup,
}

impl Full {
    /// Has clients until one is not served any more.
    #[track_caller]
    fn of(limit: u64) -> Self {
        let cgroup = Cgroup::of_memory(limit);
        let server = cgroup.hold(Server::new().args(["-c", "30000"])).start();
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
        assert!(cgroup.kills() > 0, "it was not the limit");
        Full {
            clients,
            each: (used - alone) / count,
            server,
            cgroup,
        }
    }
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
