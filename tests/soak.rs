//! Operated for years, in a few minutes (rot13d(8), DESCRIPTION and DIAGNOSTICS): short
//! connections without end and crowds at once leave nothing behind, neither a
//! zombie nor a descriptor nor a page; nor do signals that have no effect.
//! `make soak` runs the long versions.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::proc::Memory;
use crate::support::{Dialogue, Server, signal_process};

/// Clients at work at the same time.
const THREADS: usize = 8;

/// How long nobody is signalled.
const BETWEEN_SIGNALS: Duration = Duration::from_millis(10);

#[test]
fn twenty_thousand_connections_leave_nothing_behind() {
    short_connections(20_000);
}

#[test]
#[ignore = "minutes: make soak"]
fn million_connections_leave_nothing_behind() {
    short_connections(1_000_000);
}

#[test]
fn thousand_clients_at_once_are_all_served() {
    crowd(1_000);
}

#[test]
#[ignore = "for a machine that has room for it: make soak"]
fn ten_thousand_clients_at_once_are_all_served() {
    crowd(10_000);
}

/// What a server has when it has no client.
#[derive(Debug)]
struct Belongings {
    descriptors: BTreeMap<i32, String>,
    memory: Memory,
    zombies: Vec<i32>,
}

impl Belongings {
    fn of(server: &Server) -> Self {
        server.wait_childless();
        server.wait_accepting();
        Belongings {
            descriptors: server.descriptors(),
            memory: server.memory(),
            zombies: server.zombies(),
        }
    }

    /// Nothing came to it, to the page. (Which of the pages are dirty and
    /// private says nothing: those of the file count as both while it is new
    /// and nobody else runs it.)
    #[track_caller]
    fn assert_no_more_than(&self, before: &Self) {
        assert_eq!(self.zombies, []);
        assert_eq!(self.descriptors, before.descriptors);
        let (now, then) = (self.memory, before.memory);
        let grown = now.size > then.size
            || now.resident > then.resident
            || now.page_tables > then.page_tables;
        assert!(!grown, "{now:?}, before: {then:?}");
    }
}

#[track_caller]
fn short_connections(count: usize) {
    let mut server = Server::start();
    // As many as it serves at once: it has touched every page that it ever will.
    drop(clients(&server, 256));
    let before = Belongings::of(&server);
    let start = Instant::now();
    let signals = while_signalled(&server, || hurry(&server, count));
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!("{count} connections, {rate:.0} a second, everybody signalled {signals} times");
    Belongings::of(&server).assert_no_more_than(&before);
    assert!(server.is_running(), "nobody has told it to end");
}

/// Signals everybody now and then while `body` runs: a signal may come at any moment
/// of a fork or of a session's start. Returns how often.
fn while_signalled(server: &Server, body: impl FnOnce()) -> usize {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let signals = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                signal_everybody(server);
                count += 1;
                thread::sleep(BETWEEN_SIGNALS);
            }
            count
        });
        body();
        over.store(true, Ordering::Relaxed);
        signals.join().expect("signals are sent")
    })
}

/// SIGCHLD to the server and all its clients' processes. SIGALRM to the server alone:
/// a client's process takes it for the end of its lifetime.
fn signal_everybody(server: &Server) {
    signal_process(-server.pid(), libc::SIGCHLD);
    signal_process(server.pid(), libc::SIGALRM);
}

/// `count` clients, each with one line, some of which leave without manners.
fn hurry(server: &Server, count: usize) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let mut client = server.connect_from(&source(number));
                    client.exchange(b"one line\n");
                    match number % 8 {
                        0 => client.reset(),
                        1 => client.say(b"not waited for\n"),
                        2 => drop(client),
                        _ => {
                            client.half_close();
                            client.assert_end();
                        }
                    }
                }
            });
        }
    });
}

/// Ports that were just used cannot be used again at once, so the clients come
/// from many addresses.
fn source(number: usize) -> String {
    format!("127.0.{}.{}", 1 + number / 250 % 4, 1 + number % 250)
}

/// So many clients that are there at once, each served one line.
#[track_caller]
fn clients(server: &Server, size: usize) -> Vec<TcpStream> {
    let mut clients: Vec<TcpStream> = (0..size)
        .map(|number| server.connect_from(&source(number)))
        .collect();
    exchange_with_each(&mut clients, "first");
    clients
}

/// Each says a line of its own before the first hears its echo.
#[track_caller]
fn exchange_with_each(clients: &mut [TcpStream], word: &str) {
    let line = |number: usize| format!("{word} line of client {number}\n");
    for (number, client) in clients.iter_mut().enumerate() {
        client.say(line(number).as_bytes());
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.hear_echo_of(line(number).as_bytes());
    }
}

/// So many clients at once, twice: the second time takes nothing new.
#[track_caller]
fn crowd(size: usize) {
    let room = (size + 100) as u64;
    allow_descriptors(room);
    let server = Server::new().args(["-c", &size.to_string()]).start();
    let mut before: Option<Belongings> = None;
    for _ in 0..2 {
        let start = Instant::now();
        let mut clients = clients(&server, size);
        signal_everybody(&server);
        exchange_with_each(&mut clients, "second");
        signal_everybody(&server);
        exchange_with_each(&mut clients, "third");
        assert_eq!(server.children().len(), size);
        println!("{size} clients, three lines each: {:?}", start.elapsed());
        for client in &mut clients {
            client.half_close();
        }
        for client in &mut clients {
            client.assert_end();
        }
        let now = Belongings::of(&server);
        now.assert_no_more_than(before.as_ref().unwrap_or(&now));
        before = Some(now);
    }
}

/// Lets this process open so many.
#[track_caller]
fn allow_descriptors(count: u64) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        if limit.rlim_cur < count {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
    assert!(limit.rlim_cur >= count, "{count} descriptors: ulimit -n");
}
