//! Clients in numbers, served or waiting, and a server that is busy with them
//! or asleep.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::{Dialogue, Server, eventually, proc};

pub const LINE: &[u8] = b"Hello\n";

/// A client that is certainly being served: its line has come back.
#[track_caller]
pub fn served(server: &Server) -> TcpStream {
    let mut client = server.connect();
    client.exchange(LINE);
    client
}

#[track_caller]
pub fn crowd(server: &Server, size: usize) -> Vec<TcpStream> {
    (0..size).map(|_| served(server)).collect()
}

/// A client that has said its line, to a server that is in no hurry.
#[track_caller]
pub fn waiting(server: &Server) -> TcpStream {
    let mut client = server.connect();
    client.say(LINE);
    client
}

/// Every one of them is served now and says goodbye.
#[track_caller]
pub fn all_served_to_their_end(clients: Vec<TcpStream>) {
    for mut client in clients {
        client.exchange(b"Goodbye\n");
        client.half_close();
        client.assert_end();
    }
}

/// The server comes to rest: it sleeps, and nothing wakes it for more than a
/// second.
#[track_caller]
pub fn assert_asleep(server: &Server) {
    eventually("the server sleeps and sleeps", || {
        let before = (wakeups(server), server.cpu());
        thread::sleep(Duration::from_millis(1200));
        let asleep = proc::stat(server.pid()).is_some_and(|stat| stat.state == 'S');
        asleep && (wakeups(server), server.cpu()) == before
    });
}

/// What it cannot do now it tries again about ten times a second, and says so
/// once a second.
#[track_caller]
pub fn assert_patient(server: &Server) {
    let (times, lines) = (wakeups(server), server.log().len());
    thread::sleep(Duration::from_secs(2));
    let times = wakeups(server) - times;
    let lines = server.log().len() - lines;
    assert!((2..100).contains(&times), "{times} wake-ups in two seconds");
    assert!((1..=3).contains(&lines), "{lines} lines in two seconds");
}

/// How often the server has gone to sleep and been woken, or lost the
/// processor, so far.
#[track_caller]
pub fn wakeups(server: &Server) -> u64 {
    ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"]
        .iter()
        .map(|field| server.status(field).parse::<u64>().expect("a number"))
        .sum()
}

/// Stops the server while `change` is made to its children or clients, so that
/// it sees the whole of it at once.
#[track_caller]
pub fn while_stopped(server: &Server, change: impl FnOnce()) {
    server.signal(libc::SIGSTOP);
    eventually("the server is stopped", || {
        proc::stat(server.pid()).is_some_and(|stat| matches!(stat.state, 'T' | 't'))
    });
    change();
    server.signal(libc::SIGCONT);
}
