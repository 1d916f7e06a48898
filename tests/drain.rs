//! Termination (rot13d(8), SIGNALS): the listener closes at once, clients are
//! served to their end or to `-k`, then the server exits 0; a second signal
//! ends the clients now. At whatever moment it comes, and also when it goes to
//! the whole process group.
//!
//! Guards against clients orphaned or cut off by TERM (every peer), a
//! descriptor leaked into the child that keeps the port busy (ncat).

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};
use std::{io, ptr, thread};

use crate::support::crowd::{
    LINE, all_served_to_their_end, assert_asleep, crowd, served, waiting, while_stopped,
};
use crate::support::resources::{server_with_few_processes, set_soft_limit, unused_user};
use crate::support::{
    DEADLINE, Dialogue, Ready, Server, assert_in_time, eventually, proc, rot13, signal_process,
};

/// Exit 0, and no process is left.
#[track_caller]
fn assert_ends_in_order(server: &mut Server) {
    let status = server.wait_exit();
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(proc::session(server.pid()), []);
}

/// Waits until the port is free for a successor; not by connecting, which
/// would be one more client.
#[track_caller]
fn wait_refusing(server: &Server) {
    eventually("nobody listens", || {
        TcpListener::bind(server.address()).is_ok()
    });
}

#[test]
fn ends_at_once_without_clients() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start();
        server.wait_accepting();
        server.signal(signal);
        assert_ends_in_order(&mut server);

        let mut server = Server::start();
        drop(crowd(&server, 3));
        server.wait_childless();
        server.signal(signal);
        assert_ends_in_order(&mut server);
    }
}

#[test]
fn clients_are_served_to_their_end() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start();
        let mut clients = crowd(&server, 5);
        server.signal(signal);
        wait_refusing(&server);
        all_served_to_their_end(clients.split_off(2));
        assert_asleep(&server);
        assert!(server.is_running());
        all_served_to_their_end(clients);
        assert_ends_in_order(&mut server);
    }
}

#[test]
fn successor_takes_the_port_at_once() {
    let mut old = Server::start();
    let clients = crowd(&old, 2);
    old.signal(libc::SIGTERM);
    wait_refusing(&old);
    let new = Server::new().port(old.port()).start();
    assert_eq!(new.port(), old.port());
    all_served_to_their_end(crowd(&new, 2));
    all_served_to_their_end(clients);
    assert_ends_in_order(&mut old);
    all_served_to_their_end(crowd(&new, 2));
}

#[test]
fn client_of_a_killed_server_holds_no_listener() {
    let mut server = Server::start();
    let clients = crowd(&server, 2);
    server.signal(libc::SIGKILL);
    server.wait_exit();
    assert!(server.try_connect().is_err());
    all_served_to_their_end(clients);
}

/// Whatever whoever runs the tests does with these signals.
#[test]
fn hangup_has_its_default_action() {
    for signal in [libc::SIGHUP, libc::SIGQUIT] {
        let mut server = Server::new()
            .limit(libc::RLIMIT_CORE, 0)
            .default_signal(signal)
            .start();
        let mut client = served(&server);
        server.signal(signal);
        assert_eq!(server.wait_exit().signal(), Some(signal));
        client.exchange(LINE);
    }
}

/// As nohup(1) has it.
#[test]
fn hangup_that_the_starter_ignores_stays_ignored() {
    for signal in [libc::SIGHUP, libc::SIGQUIT] {
        let mut server = Server::new().ignored_signal(signal).start();
        let client = served(&server);
        for pid in [server.pid(), server.only_child()] {
            signal_process(pid, signal);
        }
        all_served_to_their_end(vec![client, served(&server)]);
        server.signal(libc::SIGTERM);
        assert_ends_in_order(&mut server);
    }
}

/// Its own alarm is for the time of grace; another's means nothing.
#[test]
fn alarm_has_no_effect_on_a_server_that_does_not_drain() {
    for options in [&[][..], &["-k", "1"], &["-T", "600"]] {
        let mut server = Server::new().args(options).start();
        let mut client = served(&server);
        for _ in 0..3 {
            server.signal(libc::SIGALRM);
            client.exchange(LINE);
            all_served_to_their_end(vec![served(&server)]);
        }
        server.wait_accepting();
        server.signal(libc::SIGTERM);
        all_served_to_their_end(vec![client]);
        assert_ends_in_order(&mut server);
    }
}

#[test]
fn signal_at_the_limit() {
    let mut server = Server::new().args(["-c", "2"]).start();
    let clients = crowd(&server, 2);
    let mut queued = waiting(&server);
    assert_asleep(&server);
    server.signal(libc::SIGTERM);
    wait_refusing(&server);
    // Who still waits in the backlog is turned away, not left hanging.
    assert!(queued.read(&mut [0]).unwrap_or(0) == 0);
    all_served_to_their_end(clients);
    assert_ends_in_order(&mut server);
}

#[test]
fn signal_while_descriptors_are_short() {
    let mut server = Server::start();
    server.wait_accepting();
    set_soft_limit(&server, libc::RLIMIT_NOFILE, 4);
    // It has a descriptor for this one already, and none for the next.
    all_served_to_their_end(vec![served(&server)]);
    server.wait_log("accept: too many open files");
    server.signal(libc::SIGTERM);
    assert_ends_in_order(&mut server);
}

/// A server with one client served and one for whom it has no process.
fn server_short_of_processes(options: &[&str]) -> (Server, TcpStream, TcpStream) {
    let server = server_with_few_processes(unused_user(), 0, 1, options);
    let first = served(&server);
    let late = waiting(&server);
    server.wait_log("fork: ");
    (server, first, late)
}

#[test]
fn signal_while_processes_are_short() {
    let (mut server, first, mut late) = server_short_of_processes(&[]);
    server.signal(libc::SIGTERM);
    wait_refusing(&server);
    all_served_to_their_end(vec![first]);
    late.hear_echo_of(LINE);
    all_served_to_their_end(vec![late]);
    assert_ends_in_order(&mut server);
}

/// The one for whom there is no process is given up: there would be room for it as
/// soon as the others are gone.
#[test]
fn second_signal_while_processes_are_short() {
    assert_in_time("the second signal", Duration::ZERO, || {
        let (mut server, _first, mut late) = server_short_of_processes(&[]);
        server.signal(libc::SIGTERM);
        wait_refusing(&server);
        let begin = Instant::now();
        server.signal(libc::SIGTERM);
        server.wait_exit();
        let elapsed = begin.elapsed();
        assert_ends_in_order(&mut server);
        assert_gone_unserved(&mut late);
        elapsed
    });
}

/// The end, or a reset because of what it had said; no echo.
#[track_caller]
fn assert_gone_unserved(client: &mut TcpStream) {
    match client.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        other => panic!("not the end: {other:?}"),
    }
}

#[test]
fn grace_ends_while_processes_are_short() {
    let (mut server, _first, mut late) = server_short_of_processes(&["-k", "1"]);
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    assert_ends_in_order(&mut server);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_gone_unserved(&mut late);
}

#[test]
fn second_signal_ends_the_clients_now() {
    let (term, int) = (libc::SIGTERM, libc::SIGINT);
    for (first, second) in [(term, term), (int, int), (term, int), (int, term)] {
        for options in [&[][..], &["-k", "600"], &["-c", "3"]] {
            let mut server = Server::new().args(options).start();
            let clients = crowd(&server, 3);
            server.signal(first);
            wait_refusing(&server);
            server.signal(second);
            assert_ends_in_order(&mut server);
            for mut client in clients {
                client.assert_end();
            }
        }
    }
}

#[test]
fn grace_is_given_and_then_over() {
    let mut server = Server::new().args(["-v", "-k", "2"]).start();
    let mut clients = crowd(&server, 3);
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    for client in &mut clients {
        client.exchange(LINE);
    }
    let first = clients.remove(0);
    all_served_to_their_end(vec![first]);
    for mut client in clients {
        client.assert_end();
        assert!(begin.elapsed() >= Duration::from_secs(2));
    }
    assert_ends_in_order(&mut server);
    let log = server.stderr().to_end();
    let ends: Vec<&str> = log.lines().filter(|line| line.contains(": end ")).collect();
    let how = ["exit 0 2/256", "signal 9 1/256", "signal 9 0/256"];
    assert_eq!(ends.len(), how.len(), "{log}");
    for (line, how) in ends.iter().zip(how) {
        assert!(line.ends_with(how), "{log}");
    }
    assert!(log.ends_with("0/256\n"), "{log}");
}

#[test]
fn grace_is_not_waited_for_without_clients() {
    let begin = Instant::now();
    let mut server = Server::new().args(["-k", "600"]).start();
    let clients = crowd(&server, 2);
    server.signal(libc::SIGTERM);
    all_served_to_their_end(clients);
    assert_ends_in_order(&mut server);
    assert!(begin.elapsed() < Duration::from_secs(600));
}

#[test]
fn unlimited_grace_lasts() {
    let mut server = Server::start();
    let mut client = served(&server);
    server.signal(libc::SIGTERM);
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(500));
        client.exchange(LINE);
    }
    all_served_to_their_end(vec![client]);
    assert_ends_in_order(&mut server);
}

#[test]
fn signal_to_the_whole_group_spares_the_clients() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start();
        let clients = crowd(&server, 3);
        // SAFETY: kill has no preconditions.
        assert_eq!(unsafe { libc::kill(-server.pid(), signal) }, 0);
        // systemd's default stop: to each process of the unit.
        for pid in server.children() {
            signal_process(pid, signal);
        }
        wait_refusing(&server);
        all_served_to_their_end(clients);
        assert_ends_in_order(&mut server);
    }
}

#[test]
fn second_signal_to_the_whole_group_ends_the_clients() {
    let mut server = Server::start();
    let _clients = crowd(&server, 3);
    for _ in 0..2 {
        // SAFETY: kill has no preconditions.
        assert_eq!(unsafe { libc::kill(-server.pid(), libc::SIGINT) }, 0);
        wait_refusing(&server);
    }
    assert_ends_in_order(&mut server);
}

#[test]
fn interrupt_key_spares_the_clients() {
    let (mut keyboard, terminal) = terminal();
    let mut server = Server::new()
        .stdin(terminal)
        // SAFETY: the session is new; the terminal becomes its own.
        .before_exec(|| match unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        })
        .start();
    let clients = crowd(&server, 2);
    keyboard.write_all(b"\x03").unwrap();
    wait_refusing(&server);
    all_served_to_their_end(clients);
    assert_ends_in_order(&mut server);
}

/// A pseudo-terminal: the keyboard's end, the program's end.
fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: stores two new descriptors, owned from here on by nobody else.
    unsafe {
        let (name, settings, size) = (ptr::null_mut(), ptr::null(), ptr::null());
        let result = libc::openpty(&raw mut master, &raw mut slave, name, settings, size);
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    }
}

#[test]
fn signal_together_with_the_end_of_every_client() {
    for _ in 0..20 {
        let mut server = Server::new().args(["-vc", "8"]).start();
        let clients = crowd(&server, 8);
        while_stopped(&server, || {
            server.signal(libc::SIGTERM);
            drop(clients);
        });
        assert_ends_in_order(&mut server);
    }
}

#[test]
fn whoever_has_been_taken_under_load_is_served() {
    for _ in 0..10 {
        let mut server = Server::new().args(["-v"]).start();
        let outcomes = thread::scope(|scope| {
            let load = [(); 4].map(|()| scope.spawn(|| knock_until_refused(&server)));
            eventually("there is load", || server.log().len() > 50);
            server.signal(libc::SIGTERM);
            load.map(|thread| thread.join().expect("a client's thread"))
        });
        assert_ends_in_order(&mut server);
        let outcomes: HashMap<_, _> = outcomes.into_iter().flatten().collect();
        for line in server.stderr().to_end().lines() {
            if let ["rot13d:", "start", _, address, _] = line.split(' ').collect::<Vec<_>>()[..] {
                let address: SocketAddr = address.parse().unwrap();
                assert!(outcomes[&address], "taken, not served: {line}");
            }
        }
    }
}

/// One short client after the other: who it was, and whether it was served.
fn knock_until_refused(server: &Server) -> Vec<(SocketAddr, bool)> {
    let mut outcomes = Vec::new();
    while let Ok(mut client) = server.try_connect() {
        let mut line = [0; LINE.len()];
        let served = client.write_all(LINE).is_ok() && client.read_exact(&mut line).is_ok();
        outcomes.push((client.local_addr().expect("an address"), served));
        client.reset();
    }
    outcomes
}

#[test]
fn signal_at_every_system_call_of_start() {
    let options = ["-v", "127.0.0.1", "0"];
    let start = |inject: &str| {
        let server = Server::new().exactly(options).ready(Ready::Unknown);
        server.strace(["-e", inject]).start()
    };
    let server = start("signal=none");
    server.wait_accepting();
    for inject in at_each_call_until_accept(&server, 1) {
        assert_ends_by_injected_signal(&inject, start(&inject));
    }
}

#[test]
fn signal_at_every_system_call_of_service() {
    for options in ["-i", "-iv"] {
        // The client is there before the server, which so never sleeps before
        // it has made a process for it.
        let start = |inject: &str| {
            let queue = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(queue.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client.say(LINE);
            client.half_close();
            let server = Server::new()
                .exactly([options])
                .ready(Ready::Unknown)
                .stdin(OwnedFd::from(queue.try_clone().unwrap()))
                .strace(["-e", inject])
                .start();
            (server, queue, client)
        };
        let (server, _, mut client) = start("signal=none");
        assert_eq!(client.hear_rest(), rot13(LINE));
        server.wait_childless();
        server.wait_accepting();
        for inject in at_each_call_until_accept(&server, 2) {
            let (server, queue, mut client) = start(&inject);
            assert_ends_by_injected_signal(&inject, server);
            queue.set_nonblocking(true).unwrap();
            let is_taken = queue.accept().is_err();
            drop(queue);
            if is_taken {
                assert_eq!(client.hear_rest(), rot13(LINE), "{inject}");
            }
        }
    }
}

/// Exit 0; or, as long as it does not listen, the signal's default action.
#[track_caller]
fn assert_ends_by_injected_signal(inject: &str, mut server: Server) {
    let status = server.wait_exit();
    let log = server.stderr().to_end();
    let early = status.signal() == Some(libc::SIGTERM) && !log.contains("listening");
    assert!(
        status.code() == Some(0) || early,
        "{inject}: {status}: {log}"
    );
}

/// For each system call that the traced server has made, up to the `nth`
/// accept: what makes strace send the signal there.
fn at_each_call_until_accept(server: &Server, nth: usize) -> Vec<String> {
    let own = format!("{} ", server.pid());
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut injections = Vec::new();
    for line in server.trace() {
        let call = line
            .strip_prefix(&own)
            .and_then(|call| call.split_once('('));
        let Some(name) = call.map(|(name, _)| name.trim_start()) else {
            continue;
        };
        // Not a result, nor a signal; and before execve there is no server.
        if name.contains(' ') || name == "execve" {
            continue;
        }
        let count = times.entry(name.to_owned()).or_default();
        *count += 1;
        injections.push(format!("inject={name}:signal=TERM:when={count}"));
        if name.starts_with("accept") && *count == nth {
            return injections;
        }
    }
    panic!("no accept number {nth}: {injections:#?}")
}
