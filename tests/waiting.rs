//! Waiting without a spin: at rest, at the limit, without a descriptor, without
//! a process, in a kernel that has every call and in one that lacks some of
//! those with which the server waits and measures time.
//!
//! Guards against a failing sleep that makes every back-off a busy loop (kernels
//! built without `CONFIG_COMPAT_32BIT_TIME`: box86 967; without
//! `CONFIG_FUTEX`), and against its log.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::support::crowd::{
    LINE, all_served_to_their_end, assert_asleep, assert_patient, served, waiting, wakeups,
};
use crate::support::kernel::{can_be_played, failing, lacking};
use crate::support::resources::{set_soft_limit, unused_user};
use crate::support::strace::Strace;
use crate::support::trace::name;
use crate::support::tree::{Tree, succeeded};
use crate::support::{Builder, Dialogue, Scratch, Server, eventually};

/// For how long it is watched.
const WHILE: Duration = Duration::from_secs(2);

/// What the server waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// A client.
    Rest,
    /// The end of a client: the limit is reached.
    Full,
    /// A descriptor.
    Descriptor,
    /// A process.
    Process,
}

use Wait::{Descriptor, Full, Process, Rest};

const WAITS: [Wait; 4] = [Rest, Full, Descriptor, Process];

/// A server that waits, who is served meanwhile, and who comes after that.
struct Waiting {
    server: Server,
    wait: Wait,
    first: TcpStream,
    next: Option<TcpStream>,
}

impl Waiting {
    #[track_caller]
    fn start(wait: Wait, adjust: impl FnOnce(Builder) -> Builder) -> Self {
        let server = Server::new();
        let user = unused_user().to_string();
        let server = match wait {
            Rest | Descriptor => server,
            Full => server.args(["-c", "1"]),
            Process => server.args(["-u", &user]).limit(libc::RLIMIT_NPROC, 2),
        };
        let server = adjust(server).start();
        if wait == Descriptor {
            server.wait_accepting();
            // It has its descriptor already, for one client more.
            set_soft_limit(&server, libc::RLIMIT_NOFILE, 4);
        }
        let first = served(&server);
        let next = (wait != Rest).then(|| waiting(&server));
        match wait {
            Rest => server.wait_accepting(),
            Full => {}
            Descriptor => drop(server.wait_log("accept: too many open files")),
            Process => drop(server.wait_log("fork: ")),
        }
        Waiting {
            server,
            wait,
            first,
            next,
        }
    }

    /// Whoever is late is served as soon as there is room, and all is well.
    #[track_caller]
    fn end(self) {
        match self.wait {
            Rest => {}
            Full | Process => drop(self.first),
            Descriptor => set_soft_limit(&self.server, libc::RLIMIT_NOFILE, 64),
        }
        if let Some(mut next) = self.next {
            next.hear_echo_of(LINE);
            all_served_to_their_end(vec![next]);
        }
        all_served_to_their_end(vec![served(&self.server)]);
    }

    /// What it does in two seconds: its calls by name, its lines, its share of a
    /// processor.
    #[track_caller]
    fn watch(&self) -> Seen {
        let strace = Strace::attach(self.server.pid(), &[]);
        let (cpu, lines) = (self.server.cpu(), self.server.log().len());
        let before = strace.trace().len();
        thread::sleep(WHILE);
        let calls = strace.trace().split_off(before);
        Seen {
            calls: calls.iter().map(|line| name(line).to_owned()).collect(),
            cpu: self.server.cpu() - cpu,
            lines: self.server.log().len() - lines,
        }
    }
}

#[derive(Debug)]
struct Seen {
    calls: Vec<String>,
    cpu: Duration,
    lines: usize,
}

impl Seen {
    fn count(&self, names: &[&str]) -> usize {
        let calls = self.calls.iter();
        calls.filter(|call| names.contains(&call.as_str())).count()
    }
}

/// How often it may try again in that time: about ten times a second, and never
/// more often than thirty times.
const TRIES: usize = 60;

/// All that it does between two tries: to sleep, to look at the clock, now and
/// then to write a line.
const FOR_A_TRY: usize = 7;

#[track_caller]
fn assert_waits(what: &str, waiting: &Waiting, is_whole: bool) {
    let seen = waiting.watch();
    let all = seen.calls.len();
    let tries = seen.count(match waiting.wait {
        Process => &["clone"],
        _ => &["accept", "accept4", "socketcall"],
    });
    let context = || format!("{what}, {:?}: {tries} tries, {seen:?}", waiting.wait);
    assert!(seen.cpu <= Duration::from_millis(300), "{}", context());
    match waiting.wait {
        Rest => assert!(all <= 4, "{all} calls, {}", context()),
        Full if is_whole => assert!(all <= 4, "{all} calls, {}", context()),
        // It may have to look now and then.
        Full => assert!(all <= TRIES * FOR_A_TRY, "{all} calls, {}", context()),
        Descriptor | Process => {
            let least = if is_whole { 8 } else { 1 };
            assert!((least..=TRIES).contains(&tries), "{}", context());
            assert!(all <= 10 + tries * FOR_A_TRY, "{all} calls, {}", context());
            assert!((1..=3).contains(&seen.lines), "{}", context());
        }
    }
}

#[test]
fn handful_of_calls_while_it_waits() {
    thread::scope(|scope| {
        for wait in WAITS {
            scope.spawn(move || {
                let waiting = Waiting::start(wait, |server| server);
                assert_waits("every call is there", &waiting, true);
                waiting.end();
            });
        }
    });
}

/// The same as the kernel counts it, whoever watches.
#[test]
fn few_wake_ups_while_it_waits() {
    thread::scope(|scope| {
        for wait in WAITS {
            scope.spawn(move || {
                let waiting = Waiting::start(wait, |server| server);
                thread::sleep(Duration::from_millis(200));
                let before = wakeups(&waiting.server);
                thread::sleep(WHILE);
                let times = wakeups(&waiting.server) - before;
                let few = match wait {
                    Rest | Full => 0..=4,
                    Descriptor | Process => 8..=120,
                };
                assert!(few.contains(&times), "{wait:?}: {times} wake-ups");
                waiting.end();
            });
        }
    });
}

/// What a kernel may lack, by kinds of calls; each in all its forms, and each form
/// alone. Old kernels lack the new ones, new kernels may lack the old ones.
const MISSING: [&[&str]; 11] = [
    &["futex"],
    &["futex", "futex_wait"],
    &["poll"],
    &["ppoll"],
    &["poll", "ppoll"],
    &["nanosleep"],
    &["nanosleep", "clock_nanosleep"],
    &["select", "pselect6"],
    &["epoll_wait", "epoll_pwait", "epoll_pwait2"],
    &["rt_sigtimedwait"],
    &["pause", "rt_sigsuspend"],
];

/// Not more than so many servers at once: most of each is waiting.
const AT_ONCE: usize = 6;

/// Does `body` for each of them, some at a time.
fn for_each<T: Sync>(all: &[T], body: impl Fn(&T) + Sync) {
    let next = &std::sync::atomic::AtomicUsize::new(0);
    let body = &body;
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(all.len()) {
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(one) = all.get(number) else { break };
                    body(one);
                }
            });
        }
    });
}

fn cases(sets: impl IntoIterator<Item = &'static [&'static str]>) -> Vec<Case> {
    let sets = sets.into_iter();
    sets.flat_map(|set| WAITS.map(|wait| (set, wait))).collect()
}

type Case = (&'static [&'static str], Wait);

fn assert_waits_lacking(cases: &[Case]) {
    if !can_be_played() {
        println!("an emulator needs these calls itself: not tried");
        return;
    }
    for_each(cases, |&(missing, wait)| {
        let waiting = Waiting::start(wait, |server| lacking(server, missing));
        assert_waits(&format!("without {missing:?}"), &waiting, false);
        waiting.end();
    });
}

#[test]
fn call_with_which_it_waits_is_missing() {
    assert_waits_lacking(&cases(MISSING));
}

#[test]
fn several_calls_with_which_it_waits_are_missing() {
    let sets: [&[&str]; 2] = [
        &["futex", "nanosleep", "clock_nanosleep"],
        &["futex", "poll", "ppoll"],
    ];
    assert_waits_lacking(&cases(sets));
}

/// No kernel is like that, but a sandbox may be: whatever it is, the server does
/// not spin.
#[test]
fn every_call_for_a_pause_is_missing() {
    assert_waits_lacking(&cases([
        &["poll", "ppoll", "nanosleep", "clock_nanosleep"][..]
    ]));
}

/// Boards of 32 bits whose kernel has no times of 32 bits (`CONFIG_COMPAT_32BIT_TIME`):
/// of the calls that serve there, futex(2) alone is another one then. An emulator has
/// both, so the server is built to take a number that no kernel has for the old one.
#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "takes another target than this machine's: make test-boards"]
fn board_without_times_of_32_bits_sleeps_at_the_limit() {
    let scratch = Scratch::new();
    let tree = Tree::copy_to(scratch.path("changed"));
    let file = "src/sys/wait.rs";
    let (source, old) = (
        tree.read(file),
        "futex_wait(libc::SYS_futex, word, value, None)",
    );
    assert_eq!(source.matches(old).count(), 1, "{old}");
    tree.write(
        file,
        &source.replace(old, &old.replace("libc::SYS_futex", "9999")),
    );
    let target = "armv7-unknown-linux-gnueabihf";
    let mut make = tree.command("make");
    succeeded(&make.arg(format!("TARGET={target}")).output().expect("make"));

    let server = Server::new().args(["-c", "1"]);
    let server = server.binary(tree.path(&format!("target/{target}/release/rot13d")));
    let server = server.emulated_by("qemu-arm-static").start();
    let first = served(&server);
    let mut next = waiting(&server);
    // Not in a pause, from which it would look ten times a second.
    assert_asleep(&server);
    drop(first);
    next.hear_echo_of(LINE);
    all_served_to_their_end(vec![next]);
}

/// A sandbox forbids accept: it does so for ever, where a firewall would forbid one
/// connection. rot13d(8), DIAGNOSTICS.
#[test]
fn accept_is_forbidden() {
    if !can_be_played() {
        println!("an emulator needs this call itself: not tried");
        return;
    }
    for error in [libc::EPERM, libc::EOPNOTSUPP] {
        let server = failing(Server::new(), &["accept"], error).start();
        // The lines of the start are there, and are not counted.
        server.wait_log("accept: ");
        assert_patient(&server);
    }
}

/// A client that ends may be what was missing: the pause ends with it. (rot13d(8),
/// DIAGNOSTICS.) One that is interrupted is not made up for by another.
#[test]
fn pause_is_over_when_a_client_ends() {
    let waiting = Waiting::start(Process, |server| server);
    let Waiting {
        server,
        first,
        next,
        ..
    } = waiting;
    let strace = Strace::attach(server.pid(), &[]);
    let calls = || -> Vec<String> {
        let trace = strace.trace();
        trace.iter().map(|line| name(line).to_owned()).collect()
    };
    eventually("it pauses", || {
        calls().iter().any(|call| call.contains("poll"))
    });
    drop(first);
    let mut next = next.expect("somebody is late");
    next.hear_echo_of(LINE);
    let calls = calls();
    let another = calls.iter().any(|call| call.contains("nanosleep"));
    assert!(!another, "{calls:#?}");
    all_served_to_their_end(vec![next]);
}

/// A firewall forbids one connection now and then. It is tried again at once each time,
/// and is not worth a line: only two in a row may be a sandbox.
#[test]
fn accept_that_is_forbidden_now_and_then_is_tried_again_at_once() {
    for error in ["EPERM", "EOPNOTSUPP"] {
        // Each client's accept comes after one that fails. The clients stay, or their end
        // would interrupt the call, which strace counts as another one.
        let fault = format!("inject=accept:error={error}:when=1+2");
        let server = Server::new()
            .strace(["-e", "inject=prctl:error=EINVAL", "-e", &fault])
            .start();
        let clients: Vec<TcpStream> = (0..4).map(|_| served(&server)).collect();
        let trace = server.trace();
        let failed = trace.iter().filter(|line| line.contains(error)).count();
        assert!(failed >= 4, "{trace:#?}");
        let log = server.log();
        assert!(!log.iter().any(|line| line.contains("accept")), "{log:#?}");
        all_served_to_their_end(clients);
    }
}

/// It says once a second what it lacks, by whatever clock there is.
#[test]
fn clock_is_missing() {
    // (sysinfo is in every kernel.)
    let sets: [&[&str]; 2] = [
        &["time", "gettimeofday"],
        &["time", "gettimeofday", "clock_gettime"],
    ];
    let mut cases = cases(sets);
    cases.retain(|(_, wait)| matches!(wait, Descriptor | Process));
    assert_waits_lacking(&cases);
}
