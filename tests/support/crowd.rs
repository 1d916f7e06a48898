//! Clients in numbers, served or waiting, and a server that is busy with them
//! or asleep.

use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

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
    let begin = Instant::now();
    let (times, lines) = (sleeps(server), server.log().len());
    thread::sleep(2 * SECOND);
    let times = sleeps(server) - times;
    let lines = server.log().len() - lines;
    let elapsed = begin.elapsed();
    assert_often(times, 4..=30, elapsed);
    let seconds = elapsed.as_secs() as usize;
    let expected = 1..=seconds + 1;
    assert!(expected.contains(&lines), "{lines} lines in {elapsed:?}");
}

/// So many `times` in `elapsed` are as many a second as they may be.
#[track_caller]
pub fn assert_often(times: u64, each_second: RangeInclusive<u64>, elapsed: Duration) {
    let rate = times as f64 / elapsed.as_secs_f64();
    let (least, most) = (*each_second.start() as f64, *each_second.end() as f64);
    assert!(
        (least..=most).contains(&rate),
        "{times} times in {elapsed:?}, not {each_second:?} each second"
    );
}

const SECOND: Duration = Duration::from_secs(1);

/// How often the server has gone to sleep so far.
#[track_caller]
pub fn sleeps(server: &Server) -> u64 {
    let times = server.status("voluntary_ctxt_switches");
    times.parse().expect("a number")
}

/// How often the server has gone to sleep and been woken, or lost the
/// processor, so far.
#[track_caller]
pub fn wakeups(server: &Server) -> u64 {
    let pushed_off = server.status("nonvoluntary_ctxt_switches");
    sleeps(server) + pushed_off.parse::<u64>().expect("a number")
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
