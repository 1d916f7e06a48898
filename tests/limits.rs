//! The limits on clients, `-c` and `-C` (rot13d(8), OPTIONS): who
//! comes too many waits in the backlog or is refused, the server sleeps
//! meanwhile, and no slot is ever lost, gained or kept.
//!
//! Guards against slots lost when children end together (msmtp 227, nmap
//! 2163) or when a fork fails (ipsvd tcpsvd, ncat), a source locked out by a
//! failed fork (busybox tcpsvd), slots gained by orphans (tcpserver, tcpsvd,
//! socat, ncat), a limit that is permanent once hit (systemd 15633), a reset
//! for who comes too many (xinetd, ncat).

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::client;
use crate::support::crowd::{
    LINE, all_served_to_their_end, assert_asleep, assert_patient, crowd, served, waiting,
    while_stopped,
};
use crate::support::network::{add_address, in_own_network};
use crate::support::resources::{
    Cgroup, Sleeper, server_with_few_processes, threads_of, unused_user,
};
use crate::support::slow_motion::in_slow_motion;
use crate::support::{Dialogue, Server, eventually, found, many, signal_process};

#[test]
fn default_limit_is_256() {
    let server = Server::new().args(["-v"]).start();
    let mut clients = crowd(&server, 256);
    server.wait_log(" 256/256");
    let mut next = waiting(&server);
    assert_asleep(&server);
    next.assert_silent();
    drop(clients.pop());
    next.hear_echo_of(LINE);
}

#[test]
fn clients_past_the_limit_wait_untouched_in_their_order() {
    let server = Server::new().args(["-c", "2"]).start();
    server.wait_accepting();
    let descriptors = server.descriptors();
    let mut clients = crowd(&server, 2);
    let mut queue: Vec<TcpStream> = (0..3).map(|_| waiting(&server)).collect();
    for _ in 0..3 {
        assert_asleep(&server);
        assert_eq!(server.children().len(), 2);
        assert_eq!(server.descriptors(), descriptors);
        for client in &queue {
            client.assert_silent();
        }
        drop(clients.remove(0));
        let mut next = queue.remove(0);
        next.hear_echo_of(LINE);
        clients.push(next);
    }
    drop(clients);
    server.wait_childless();
    assert_asleep(&server);
}

#[test]
fn client_that_gives_up_waiting_takes_no_slot() {
    let server = Server::new().args(["-c", "1"]).start();
    let first = served(&server);
    for _ in 0..3 {
        waiting(&server).reset();
        drop(waiting(&server));
    }
    drop(first);
    all_served_to_their_end(vec![served(&server)]);
}

#[test]
fn log_counts_clients_against_the_limit() {
    let server = Server::new().args(["-v", "-c", "2"]).start();
    let one = served(&server);
    let first = server.only_child();
    let two = served(&server);
    let second = found("a second child", || {
        server.children().into_iter().find(|&pid| pid != first)
    });
    let addresses = [&one, &two].map(|client| client.local_addr().unwrap());
    drop(one);
    server.wait_log(&format!("end {first} "));
    signal_process(second, libc::SIGKILL);
    server.wait_log(&format!("end {second} "));
    let [one, two] = addresses;
    let expected = [
        format!("rot13d: start {first} {one} 1/2"),
        format!("rot13d: start {second} {two} 2/2"),
        format!("rot13d: end {first} exit 0 1/2"),
        format!("rot13d: end {second} signal 9 0/2"),
    ];
    let mut log = server.log();
    log.retain(|line| line.contains(": start ") || line.contains(": end "));
    assert_eq!(log, expected);
}

#[test]
fn storm_through_one_slot() {
    storm(1);
}

#[test]
fn storm_through_two_slots() {
    storm(2);
}

#[test]
fn storm_through_three_slots() {
    storm(3);
}

/// Thousands of short connections, eight clients at a time, through `limit`
/// slots: nobody who says something goes without an answer. One missed wake-up
/// would be the end of it.
fn storm(limit: usize) {
    for options in ["-c", "-vc"] {
        let server = Server::new().args([options, &limit.to_string()]).start();
        thread::scope(|scope| {
            for source in 1..=8 {
                let server = &server;
                scope.spawn(move || hurry(server, source, many(500)));
            }
        });
        server.wait_childless();
        server.wait_accepting();
        let clients = crowd(&server, limit);
        let mut next = waiting(&server);
        assert_asleep(&server);
        next.assert_silent();
        drop(clients);
        next.hear_echo_of(LINE);
    }
}

#[test]
fn storm_in_slow_motion_misses_no_wake_up() {
    let server = Server::new().args(["-c", "1"]).start();
    in_slow_motion(&server, || hurry(&server, 1, 300));
    server.wait_childless();
    all_served_to_their_end(crowd(&server, 1));
}

/// Connects again and again, and leaves in each way that there is.
fn hurry(server: &Server, source: u8, times: usize) {
    for round in 0..times {
        // Of its own address, or the ports of closed connections run out.
        let mut client = server.connect_from(&format!("127.0.1.{source}"));
        match round % 5 {
            0 => client.reset(),
            1 => drop(client),
            2 => {
                client.exchange(LINE);
                client.reset();
            }
            3 => client.exchange(LINE),
            _ => {
                client.say(b"the end");
                client.half_close();
                assert_eq!(client.hear_rest(), b"gur raq");
            }
        }
    }
}

#[test]
fn children_that_end_together_free_every_slot() {
    const LIMIT: usize = 40;
    let server = Server::new().args(["-c", &LIMIT.to_string()]).start();
    let clients = crowd(&server, LIMIT);
    let mut queue: Vec<TcpStream> = (0..LIMIT).map(|_| waiting(&server)).collect();
    while_stopped(&server, || {
        drop(clients);
        eventually("every child has ended", || server.zombies().len() == LIMIT);
    });
    for client in &mut queue {
        client.hear_echo_of(LINE);
    }
    assert_eq!(server.children().len(), LIMIT);
}

#[test]
fn killed_children_free_their_slots() {
    let server = Server::new().args(["-v", "-c", "3"]).start();
    let _clients = crowd(&server, 3);
    let mut queue: Vec<TcpStream> = (0..4).map(|_| waiting(&server)).collect();
    let victims = server.children();
    signal_process(victims[0], libc::SIGKILL);
    queue.remove(0).hear_echo_of(LINE);
    while_stopped(&server, || {
        for &pid in &victims[1..] {
            signal_process(pid, libc::SIGKILL);
        }
    });
    for mut client in queue.drain(..) {
        client.hear_echo_of(LINE);
    }
    server.wait_childless();
    server.wait_log(&format!("end {} signal 9", victims[2]));
    server.wait_log(" 0/3");
}

#[test]
fn orphan_that_ends_frees_no_slot() {
    // Children that the server has not made: its program was started by the
    // process that had made them.
    let orphans = "sleep 600 & sleep 600 & sleep 600 & exec \"$@\"";
    let server = Server::new()
        .args(["-v", "-c", "2"])
        .under(["sh", "-c", orphans, "sh"])
        .start();
    let orphans = server.children();
    assert_eq!(orphans.len(), 3);
    signal_process(orphans[0], libc::SIGKILL);
    eventually("the orphan is reaped", || server.children().len() == 2);
    let mut clients = crowd(&server, 2);
    let mut next = waiting(&server);
    while_stopped(&server, || {
        signal_process(orphans[1], libc::SIGKILL);
        signal_process(orphans[2], libc::SIGKILL);
    });
    eventually("the orphans are reaped", || {
        server.zombies().is_empty() && server.children().len() == 2
    });
    assert_asleep(&server);
    next.assert_silent();
    assert!(server.stderr().containing("end ").is_none());
    drop(clients.pop());
    next.hear_echo_of(LINE);
    eventually("two are counted again", || {
        server.log().last().unwrap().ends_with(" 2/2")
    });
}

#[test]
fn client_is_late_not_lost_when_fork_fails() {
    let user = unused_user();
    let others = [Sleeper::start(user), Sleeper::start(user)];
    let server = server_with_few_processes(user, 2, 2, &["-v", "-c", "3"]);
    let mut clients = crowd(&server, 2);
    let mut late = waiting(&server);
    let mut later = waiting(&server);
    server.wait_log("temporarily unavailable");

    assert_patient(&server);
    late.assert_silent();
    later.assert_silent();

    drop(clients.pop());
    late.hear_echo_of(LINE);
    drop(clients);
    later.hear_echo_of(LINE);
    all_served_to_their_end(vec![late, later]);
    server.wait_log(" 0/3");

    // Three slots, as there were in the beginning.
    drop(others);
    let _clients = crowd(&server, 3);
    let next = waiting(&server);
    assert_asleep(&server);
    next.assert_silent();
}

#[test]
fn client_that_gives_up_while_fork_fails_costs_nothing() {
    let server = server_with_few_processes(unused_user(), 0, 1, &["-v", "-c", "2"]);
    let first = served(&server);
    waiting(&server).reset();
    server.wait_log("fork: ");
    drop(first);
    eventually("its process has come and gone", || {
        let ends = |line: &&String| line.contains(": end ");
        server.log().iter().filter(ends).count() == 2
    });
    all_served_to_their_end(vec![served(&server)]);
    eventually("no client is counted", || {
        server
            .log()
            .last()
            .is_some_and(|line| line.ends_with(" 0/2"))
    });
}

#[test]
fn source_is_not_locked_out_when_fork_fails() {
    let server = server_with_few_processes(unused_user(), 0, 1, &["-C", "1"]);
    let first = served_from(&server, "127.0.0.2");
    let late = server.connect_from("127.0.0.3");
    server.wait_log("fork: ");
    drop((late, first));
    found("the source is served again", || {
        let mut client = server.connect_from("127.0.0.3");
        answers(&mut client).then_some(())
    });
}

/// A slot that became free meanwhile has the address of whoever had it.
#[test]
fn late_client_counts_for_its_own_source() {
    let server = server_with_few_processes(unused_user(), 0, 2, &["-v", "-C", "1"]);
    let first = served_from(&server, "127.0.0.2");
    let second = served_from(&server, "127.0.0.3");
    let mut late = server.connect_from("127.0.0.4");
    server.wait_log("fork: ");
    drop(first);
    late.exchange(LINE);
    drop(second);
    eventually("there is room for one", || server.children().len() == 1);
    let mut again = server.connect_from("127.0.0.4");
    assert!(!answers(&mut again), "its source has a client");
    served_from(&server, "127.0.0.2");
}

/// Whether the client is served; if not, it has been refused.
#[track_caller]
fn answers(client: &mut TcpStream) -> bool {
    // Who is refused may notice while writing.
    let said = client.write_all(LINE);
    let mut line = [0; LINE.len()];
    match client.read(&mut line) {
        Ok(0) => false,
        Ok(_) if said.is_ok() => true,
        Err(e) if e.kind() == ErrorKind::ConnectionReset => false,
        other => panic!("{said:?}, {other:?}"),
    }
}

#[test]
fn process_limit_of_a_container_makes_clients_late() {
    let cgroup = Cgroup::new(threads_of(2));
    let server = Server::start();
    cgroup.add(server.pid());
    let first = served(&server);
    let mut late = waiting(&server);
    server.wait_log("temporarily unavailable");
    late.assert_silent();
    drop(first);
    late.hear_echo_of(LINE);
}

#[test]
fn surplus_of_one_source_is_closed_and_logged() {
    let server = Server::new().args(["-C", "2"]).start();
    let mut own = vec![served_from(&server, "127.0.0.2")];
    own.push(served_from(&server, "127.0.0.2"));
    let mut surplus = server.connect_from("127.0.0.2");
    let address = surplus.local_addr().unwrap();
    surplus.assert_end();
    let line = server.wait_log("refused ");
    assert_eq!(line, format!("rot13d: refused {address}"));

    // The others do not suffer, and the source may come again.
    let _other = served_from(&server, "127.0.0.3");
    drop(own.pop());
    eventually("the client is gone", || server.children().len() == 2);
    own.push(served_from(&server, "127.0.0.2"));
    for mut client in own {
        client.exchange(LINE);
    }
}

#[track_caller]
fn served_from(server: &Server, source: &str) -> TcpStream {
    let mut client = server.connect_from(source);
    client.exchange(LINE);
    client
}

#[test]
fn refusing_costs_no_slot_and_no_descriptor() {
    let server = Server::new().args(["-C", "1", "-c", "2"]).start();
    server.wait_accepting();
    let descriptors = server.descriptors();
    let first = served_from(&server, "127.0.0.2");
    for _ in 0..many(500) {
        let mut client = server.connect_from("127.0.0.2");
        assert!(!answers(&mut client));
    }
    assert_eq!(server.descriptors(), descriptors);
    let second = served_from(&server, "127.0.0.3");
    let queued = server.connect_from("127.0.0.4");
    assert_asleep(&server);
    drop((first, second));
    all_served_to_their_end(vec![queued]);
    server.wait_childless();
    all_served_to_their_end(vec![served_from(&server, "127.0.0.2")]);
}

#[test]
fn surplus_at_the_limit_waits_until_it_is_refused() {
    let server = Server::new().args(["-C", "1", "-c", "2"]).start();
    let _first = served_from(&server, "127.0.0.2");
    let second = served_from(&server, "127.0.0.3");
    let mut surplus = server.connect_from("127.0.0.2");
    assert_asleep(&server);
    surplus.assert_silent();
    drop(second);
    surplus.assert_end();
    server.wait_log("refused 127.0.0.2:");
}

#[test]
fn killed_client_frees_its_source() {
    let server = Server::new().args(["-C", "1"]).start();
    let mut client = served_from(&server, "127.0.0.2");
    signal_process(server.only_child(), libc::SIGKILL);
    client.assert_end();
    server.wait_childless();
    served_from(&server, "127.0.0.2");
}

#[test]
fn sources_are_told_apart_on_the_dual_stack_socket() {
    let server = Server::new().args(["-C", "1"]).host("0").start();
    let _v4 = served_from(&server, "127.0.0.2");
    let _other = served_from(&server, "127.0.0.3");
    assert_refuses(&server, || server.connect_from("127.0.0.2"));

    let connect = || TcpStream::connect(("::1", server.port())).expect("IPv6");
    let mut v6 = connect();
    v6.exchange(LINE);
    assert_refuses(&server, connect);
}

/// Who comes like that is refused, and the log says so, if not of the first one: a
/// line a second is all there may be.
#[track_caller]
fn assert_refuses(server: &Server, connect: impl Fn() -> TcpStream) {
    eventually("the log says who is refused", || {
        let mut surplus = connect();
        let address = surplus.local_addr().unwrap();
        surplus.assert_end();
        thread::sleep(Duration::from_millis(200));
        let line = format!("rot13d: refused {address}");
        let mut log = server.log().into_iter();
        log.any(|told| told == line || told.starts_with(&format!("{line} and ")))
    });
}

/// Addresses that differ in one octet only, each of the sixteen once.
#[test]
fn sources_of_ipv6_are_told_apart_by_every_octet_of_the_address() {
    let first: Ipv6Addr = "fd00:1:2:3:4:5:6:7".parse().unwrap();
    let sources: Vec<IpAddr> = (0..=16)
        .map(|place| {
            let mut octets = first.octets();
            if let Some(octet) = octets.get_mut(place) {
                *octet ^= 1;
            }
            octets.into()
        })
        .collect();
    in_own_network(|| {
        for source in &sources {
            add_address(&format!("{source}/128"));
        }
        for host in ["0", "fd00:1:2:3:4:5:6:7"] {
            let server = Server::new().args(["-C", "1"]).host(host).start();
            let address = SocketAddr::new(first.into(), server.port());
            let connect =
                |source: &IpAddr| client::connect(address, Some(*source), None).expect("connect");
            let mut clients: Vec<TcpStream> = sources.iter().map(connect).collect();
            for client in &mut clients {
                client.exchange(LINE);
            }
            for source in &sources {
                let mut surplus = connect(source);
                assert!(!answers(&mut surplus), "{source}");
            }
            all_served_to_their_end(clients);
        }
    });
}
