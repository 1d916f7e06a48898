//! What is seen only when the server's system calls are slowed down, counted or
//! answered by others: strace and a debugger, so not under an emulator. (The list
//! of the calls: audit.rs. Calls that fail: faults.rs.)

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::crowd::{
    LINE, all_served_to_their_end, assert_asleep, assert_often, crowd, served, waiting, wakeups,
};
use crate::support::resources::unused_user;
use crate::support::trace::{by_process, name, result};
use crate::support::{Dialogue, Server, eventually, proc, signal_process};

/// A child may end before the parent has come back from its fork.
#[test]
fn end_of_a_client_is_never_logged_before_its_start() {
    for options in [&["-v"][..], &["-v", "-c", "1"]] {
        let server = Server::new()
            .args(options)
            .strace(["-e", "trace=clone", "-e", "inject=clone:delay_exit=100000"])
            .start();
        const CLIENTS: usize = 5;
        for _ in 0..CLIENTS {
            let mut client = server.connect();
            client.say(LINE);
            client.half_close();
            client.hear_rest();
        }
        let log = || {
            let mut log = server.log();
            log.retain(|line| line.contains(": start ") || line.contains(": end "));
            log
        };
        eventually("every end is logged", || log().len() == 2 * CLIENTS);
        for pair in log().chunks(2) {
            let words =
                |line: &String| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
            let (start, end) = (words(&pair[0]), words(&pair[1]));
            assert_eq!([&start[1], &end[1]], ["start", "end"], "{:#?}", log());
            assert_eq!(start[2], end[2], "of the same process: {:#?}", log());
            assert!(start[4].starts_with("1/"), "{:#?}", log());
            assert!(end[5].starts_with("0/"), "{:#?}", log());
        }
    }
}

/// To ask for any child makes the kernel look at all of them: the one that the
/// signal names goes first.
#[test]
fn child_that_the_signal_names_is_reaped_first() {
    let server = Server::new().strace(["-e", "trace=wait4"]).start();
    let _others = crowd(&server, 3);
    let others: BTreeSet<i32> = server.children().into_iter().collect();
    for round in 1..=3 {
        let client = served(&server);
        let new = |pid: &i32| !others.contains(pid);
        let child = server.children().into_iter().find(new).expect("its child");
        server.wait_accepting();
        drop(client);
        eventually("it is reaped", || server.children().len() == others.len());
        server.wait_accepting();
        let calls = by_process(&server.trace());
        let own = &calls[&server.pid()];
        let waits: Vec<&String> = own.iter().filter(|line| name(line) == "wait4").collect();
        assert_eq!(waits.len(), 2 * round, "{waits:#?}");
        let [first, last] = waits[2 * round - 2..] else {
            unreachable!("two");
        };
        assert!(first.starts_with(&format!("wait4({child}, ")), "{waits:#?}");
        assert!(
            last.starts_with("wait4(-1, ") && last.ends_with("= 0"),
            "{waits:#?}"
        );
    }
}

/// The children themselves may be stopped and continued by who debugs them: nobody
/// has ended.
#[test]
fn child_that_is_stopped_and_continued_wakes_nobody() {
    let server = Server::start();
    let mut client = served(&server);
    let child = server.only_child();
    assert_asleep(&server);
    let before = wakeups(&server);
    for _ in 0..5 {
        for (signal, stopped) in [(libc::SIGSTOP, true), (libc::SIGCONT, false)] {
            signal_process(child, signal);
            eventually("the child is stopped, or goes on", || {
                let stat = proc::stat(child).expect("the child");
                matches!(stat.state, 'T' | 't') == stopped
            });
        }
    }
    client.exchange(LINE);
    assert_eq!(wakeups(&server), before);
    all_served_to_their_end(vec![client]);
}

/// Which signals `pid` has blocked, as bits from signal 1 on.
fn blocked(pid: i32) -> Option<u64> {
    u64::from_str_radix(&proc::status(pid, "SigBlk")?, 16).ok()
}

/// No other handler runs in the middle of one: what they share needs no lock.
#[test]
fn handler_runs_with_every_signal_held_back() {
    let never: u64 = 1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1);
    let start = |call: &str| {
        let slowly = format!("inject={call}:delay_enter=300000");
        let trace = format!("trace={call}");
        Server::new().strace(["-e", &trace, "-e", &slowly]).start()
    };
    let in_handler = |server: &Server| {
        eventually("all are blocked", || blocked(server.pid()) == Some(!never));
    };
    // A child's end is waited for in the handler.
    let server = start("wait4");
    let client = served(&server);
    server.wait_accepting();
    assert_eq!(blocked(server.pid()), Some(0));
    drop(client);
    in_handler(&server);
    server.wait_childless();
    server.wait_accepting();
    assert_eq!(blocked(server.pid()), Some(0));

    // And the listener is closed in it.
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = start("close");
        server.wait_accepting();
        assert_eq!(blocked(server.pid()), Some(0));
        server.signal(signal);
        in_handler(&server);
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

/// What goes to a pipe in one write is not mixed with what others write there.
#[test]
fn message_is_one_write() {
    let mut server = Server::new()
        .args(["-v", "-C", "2"])
        .strace(["-s", "200", "-e", "trace=write,writev,sendto,sendmsg"])
        .start();
    let clients = crowd(&server, 2);
    let refused = server.connect();
    server.wait_log("refused ");
    drop(refused);
    signal_process(server.children()[0], libc::SIGKILL);
    server.wait_log(" signal 9 ");
    drop(clients);
    server.wait_childless();
    server.wait_log(" exit 0 0/256");
    server.signal(libc::SIGTERM);
    server.wait_exit();

    let log = server.stderr().to_end();
    let calls = by_process(&server.trace());
    let own = calls[&server.pid()].iter();
    let writes: Vec<&String> = own
        .filter(|line| {
            line.split_once('(')
                .is_some_and(|(_, rest)| rest.starts_with("2, "))
        })
        .collect();
    assert!(log.lines().count() >= 6, "{log}");
    assert_eq!(writes.len(), log.lines().count(), "{writes:#?}");
    for (write, line) in writes.iter().zip(log.lines()) {
        assert!(
            write.contains(&format!("(2, \"{line}\\n\"")),
            "{write}: {line}"
        );
    }
}

/// A client's end cuts the wait for a process short, log or no log: seen by strace,
/// for the wait is a tenth of a second only.
#[test]
fn client_that_ends_frees_a_process_sooner() {
    for options in [&[][..], &["-v"]] {
        let user = unused_user();
        // A client may end between two waits, and then there is none to cut short.
        let cut_short = (0..10).any(|_| {
            let server = Server::new()
                .args([&["-u", &user.to_string()], options].concat())
                .limit(libc::RLIMIT_NPROC, 2)
                .strace([
                    "-e",
                    "trace=clone,poll,ppoll,nanosleep,clock_nanosleep,wait4",
                ])
                .start();
            let first = served(&server);
            let mut late = waiting(&server);
            server.wait_log("fork: ");
            drop(first);
            late.hear_echo_of(LINE);
            all_served_to_their_end(vec![late]);
            server.wait_childless();
            let calls = by_process(&server.trace()).remove(&server.pid());
            let calls = calls.expect("the calls of the server");
            first_fork_after_a_childs_end_waits_for_nothing(&calls)
        });
        assert!(cut_short, "{options:?}");
    }
}

/// Of the calls of the server: after the first SIGCHLD no wait goes by before the
/// next clone, and there was one to cut short.
fn first_fork_after_a_childs_end_waits_for_nothing(calls: &[String]) -> bool {
    let waits = ["poll", "ppoll", "nanosleep", "clock_nanosleep"];
    let is_wait = |line: &str| waits.contains(&name(line));
    let end = calls
        .iter()
        .position(|line| line.starts_with("--- SIGCHLD"));
    let (before, after) = calls.split_at(end.expect("a child's end"));
    let interrupted = before
        .last()
        .is_some_and(|line| is_wait(line) && (line.contains("ERESTART") || line.contains("EINTR")));
    let fork = after.iter().position(|line| name(line) == "clone");
    let between = &after[..fork.expect("another fork")];
    // (That standard error takes a message is asked without a wait.)
    let waited = between.iter().any(|line| {
        is_wait(line)
            && (line.contains("Timeout") || line.contains("nanosleep"))
            && result(line) == "0"
    });
    interrupted && !waited
}

/// strace plays a failing call by one that the cage would not let pass.
const UNCAGED: [&str; 2] = ["-e", "inject=prctl:error=EINVAL"];

/// No client is there, says accept, although it was to wait for one.
#[test]
fn accept_that_does_not_wait_is_no_spin() {
    let inject = ["-e", "inject=accept,accept4:error=EAGAIN:when=1..20"];
    let server = Server::new().strace([UNCAGED, inject].concat()).start();
    let begin = Instant::now();
    let mut client = waiting(&server);
    client.hear_echo_of(LINE);
    let elapsed = begin.elapsed();
    assert!(elapsed > Duration::from_secs(1), "20 tries in {elapsed:?}");
    all_served_to_their_end(vec![client]);
}

/// A kernel without futex(2): the wait for room fails at once.
#[test]
fn wait_for_room_that_fails_is_no_spin() {
    let inject = ["-e", "inject=futex,?futex_time64:error=ENOSYS"];
    let server = Server::new()
        .args(["-c", "1"])
        .strace([UNCAGED, inject].concat())
        .start();
    let first = served(&server);
    let mut queued = waiting(&server);
    let own = format!("{} ", server.pid());
    let calls = |text: &str| {
        let trace = server.trace();
        let own = trace.iter().filter(|line| line.starts_with(&own));
        own.filter(|line| line.contains(text)).count() as u64
    };
    eventually("it waits for room", || calls("futex") > 0);
    let (begin, before) = (Instant::now(), calls(""));
    thread::sleep(Duration::from_secs(2));
    let (count, elapsed) = (calls("") - before, begin.elapsed());
    // Ten tries a second at most, each of a few calls.
    assert_often(count, 0..=100, elapsed);
    queued.assert_silent();
    all_served_to_their_end(vec![first]);
    queued.hear_echo_of(LINE);
}

/// What a child's end is called in the log, whatever it is.
#[cfg(target_arch = "x86_64")]
mod debugged {
    use std::io::Read;

    use super::*;
    use crate::support::ptrace::{Registers, Stop, Traced};

    /// The end of the line that tells of the end of `child`.
    #[track_caller]
    fn assert_logged(server: &Server, child: i32, end: &str) {
        let line = server.wait_log(&format!("end {child} "));
        assert_eq!(line, format!("rot13d: end {child} {end} 0/256"));
    }

    /// A client's process that waits for more.
    #[track_caller]
    fn client_of(server: &Server) -> (std::net::TcpStream, i32) {
        let client = served(server);
        let child = server.only_child();
        eventually("the child waits for more", || proc::blocked_in_read(child));
        (client, child)
    }

    /// A write that takes a part only, as when the time for it is over: the debugger
    /// makes it short.
    #[test]
    fn rest_of_a_short_write_needs_no_further_word() {
        let server = Server::start();
        let (mut client, child) = client_of(&server);
        let mut traced = Traced::attach(child);
        for shorter in [&[3][..], &[1, 1], &[5], &[2, 3]] {
            client.say(b"hello\n");
            let mut short = shorter.iter();
            let next = |traced: &mut Traced| {
                assert_eq!(traced.go_on(libc::PTRACE_SYSCALL, 0), Stop::Call);
                traced.registers()
            };
            loop {
                let registers = next(&mut traced);
                // As ptrace has it at the start of a call.
                let starts = registers.rax as i64 == -i64::from(libc::ENOSYS);
                if registers.orig_rax as i64 != libc::SYS_write || !starts {
                    continue;
                }
                let Some(&count) = short.next() else { break };
                traced.set_registers(&Registers {
                    rdx: count,
                    ..registers
                });
                assert_eq!(next(&mut traced).rax, count, "a short write");
            }
            // The end of the last write, and the start of the next read.
            next(&mut traced);
            assert_eq!(client.hear(6), b"uryyb\n");
            assert_eq!(next(&mut traced).orig_rax as i64, libc::SYS_read);
            client.assert_silent();
        }
    }

    #[test]
    fn exit_code_of_a_child_is_logged() {
        let server = Server::new().args(["-v"]).start();
        for code in [0, 1, 7, 128, 255] {
            let (_client, child) = client_of(&server);
            let end = Traced::attach(child).call(libc::SYS_exit, &[code]);
            assert_eq!(end, Err(Stop::Exited(code as i32)));
            assert_logged(&server, child, &format!("exit {code}"));
            server.wait_childless();
        }
    }

    #[test]
    fn signal_that_ends_a_child_is_logged() {
        let server = Server::new().args(["-v"]).start();
        for signal in [
            libc::SIGUSR1,
            libc::SIGKILL,
            libc::SIGSEGV,
            libc::SIGRTMAX(),
        ] {
            let (mut client, child) = client_of(&server);
            signal_process(child, signal);
            assert_logged(&server, child, &format!("signal {signal}"));
            let _ = client.read(&mut [0]);
            server.wait_childless();
        }
    }

    #[test]
    fn child_that_breaks_the_cage_is_logged() {
        let server = Server::new().args(["-v"]).start();
        for call in [libc::SYS_getpid, libc::SYS_openat, libc::SYS_kill] {
            let (_client, child) = client_of(&server);
            let end = Traced::attach(child).call(call, &[]);
            assert_eq!(end, Err(Stop::Killed(libc::SIGSYS)));
            assert_logged(&server, child, &format!("signal {}", libc::SIGSYS));
            server.wait_childless();
        }
    }

    /// wait(2): a bit beside the signal says that there is a core. Whether one is
    /// made is up to the host's settings, so the debugger sets it.
    #[test]
    fn child_that_leaves_a_core_is_logged_by_its_signal() {
        const DUMPED: u8 = 0x80;
        for signal in [libc::SIGSEGV, libc::SIGQUIT, libc::SIGSYS] {
            let server = Server::new()
                .limit(libc::RLIMIT_CORE, 0)
                .default_signal(signal)
                .args(["-v"])
                .start();
            let (_client, child) = client_of(&server);
            server.wait_accepting();
            let mut parent = Traced::attach(server.pid());
            signal_process(child, signal);
            let mut pending = 0;
            loop {
                let stop = parent.go_on(libc::PTRACE_SYSCALL, pending);
                pending = 0;
                match stop {
                    Stop::Signal(signal) => pending = signal,
                    Stop::Call => {
                        let registers = parent.registers();
                        let is_wait = registers.orig_rax as i64 == libc::SYS_wait4;
                        if is_wait && registers.rax as i32 == child {
                            let status = parent.peek(registers.rsi, 1).expect("the status")[0];
                            assert_eq!(i32::from(status & !DUMPED), signal);
                            parent.poke(registers.rsi, &[status | DUMPED]);
                            break;
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            drop(parent);
            assert_logged(&server, child, &format!("signal {signal}"));
        }
    }
}
