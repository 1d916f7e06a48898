//! A start in whatever surroundings (rot13d(8), DIAGNOSTICS): descriptors
//! 0, 1, 2 closed, full or broken, then and later; signals blocked or ignored;
//! a tiny stack; few descriptors, or other people's.
//!
//! Guards against a client that becomes descriptor 2 and receives the log, a
//! server that stops in write(2) when its log is full, SIGCHLD blocked by the
//! starter that leaves every child a zombie (the lecture's program, ncat),
//! real EMFILE as a busy loop (tcpserver, tcpsvd, inetd, ncat).

use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::crowd::{
    LINE, all_served_to_their_end, assert_asleep, assert_often, assert_patient, crowd, served,
    sleeps, waiting,
};
use crate::support::network::in_own_network;
use crate::support::pipes::{CAPACITY, full_pipe, pipe};
use crate::support::resources::{SoftLimit, set_soft_limit};
use crate::support::{
    Builder, Dialogue, Lines, Ready, Server, assert_in_time, eventually, found, proc, runner,
};

/// A server that has no way to tell its port: on a fixed one, in a network of
/// the test's own.
fn mute(options: &[&str]) -> Builder {
    Server::new()
        .exactly([options, &["127.0.0.1", "43211"]].concat())
        .ready(Ready::Unknown)
        .port(43211)
}

#[track_caller]
fn wait_listening(server: &Server) {
    drop(found("it listens", || server.try_connect().ok()));
}

#[test]
fn closed_descriptors_are_never_a_socket() {
    for closed in 0..8 {
        in_own_network(|| {
            let mut builder = mute(&["-v"]);
            for descriptor in (0..3).filter(|bit| closed & 1 << bit != 0) {
                builder = builder.closed(descriptor);
            }
            let server = builder.start();
            wait_listening(&server);
            let mut clients = crowd(&server, 2);
            for pid in [&server.children()[..], &[server.pid()]].concat() {
                for (number, target) in proc::descriptors(pid) {
                    let is_socket = target.starts_with("socket:");
                    assert_eq!(
                        is_socket,
                        number > 2,
                        "{number}: {target}, closed: {closed:#b}"
                    );
                }
            }
            // With the log of somebody else's end there would be more to hear.
            drop(clients.pop());
            eventually("it is gone", || server.children().len() == 1);
            all_served_to_their_end(clients);
        });
    }
}

#[test]
fn closed_stderr_leaves_the_exit_codes() {
    let run = Server::new().exactly(["-x"]).closed(2).run();
    assert_eq!(run.status.code(), Some(100), "{run:?}");
    let taken = Server::start();
    let port = taken.port().to_string();
    let run = Server::new().exactly(["127.0.0.1", &port]).closed(2).run();
    assert_eq!(run.status.code(), Some(111), "{run:?}");
}

#[test]
fn full_stderr_stops_nothing_and_is_used_again() {
    let (mut reader, writer) = full_pipe();
    let mut server = Server::new().args(["-v"]).stderr(writer).start();
    all_served_to_their_end(crowd(&server, 3));
    server.wait_childless();
    assert_asleep(&server);

    // There is room again.
    let mut dots = [0; CAPACITY];
    reader.read_exact(&mut dots).unwrap();
    assert!(dots.iter().all(|&byte| byte == b'.'));
    all_served_to_their_end(crowd(&server, 1));
    server.wait_childless();
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait_exit().code(), Some(0));
    let log = Lines::of(Some(reader)).to_end();
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(
        log.contains("rot13d: start ") && log.contains("rot13d: end "),
        "{log}"
    );
}

#[test]
fn stderr_that_fills_up_stops_nothing() {
    let (reader, writer) = pipe();
    let server = Server::new().args(["-v"]).stderr(writer).start();
    for _ in 0..200 {
        all_served_to_their_end(crowd(&server, 1));
    }
    server.wait_childless();
    assert_asleep(&server);
    drop(reader);
    all_served_to_their_end(crowd(&server, 3));
}

#[test]
fn broken_stderr_stops_nothing() {
    let (reader, writer) = io::pipe().unwrap();
    let server = Server::new().args(["-v"]).stderr(writer).start();
    all_served_to_their_end(crowd(&server, 2));
    drop(reader);
    all_served_to_their_end(crowd(&server, 2));

    let (_, writer) = io::pipe().unwrap();
    let server = Server::new().args(["-v"]).stderr(writer).start();
    all_served_to_their_end(crowd(&server, 2));

    let full = File::options().write(true).open("/dev/full").unwrap();
    let server = Server::new().args(["-v"]).stderr(full).start();
    all_served_to_their_end(crowd(&server, 2));
}

#[test]
fn broken_stdout_stops_nothing() {
    for broken in [OwnedFd::from(io::pipe().unwrap().1), full_device()] {
        let server = Server::new()
            .exactly(["-1v", "127.0.0.1", "0"])
            .ready(Ready::Log)
            .stdout(broken)
            .start();
        all_served_to_their_end(crowd(&server, 2));
    }
}

fn full_device() -> OwnedFd {
    let file = File::options().write(true).open("/dev/full");
    file.expect("/dev/full").into()
}

/// The line that says where is waited for, as long as it takes.
#[test]
fn full_stdout_is_waited_for_and_then_has_the_port() {
    let (mut reader, writer) = full_pipe();
    let server = Server::new()
        .exactly(["-1", "127.0.0.1", "0"])
        .ready(Ready::Log)
        .stdout(writer)
        .start();
    let mut client = waiting(&server);
    let (begin, before) = (Instant::now(), sleeps(&server));
    thread::sleep(Duration::from_secs(1));
    // It looks now and then whether there is room, or sleeps until there is.
    assert_often(sleeps(&server) - before, 0..=30, begin.elapsed());
    client.assert_silent();
    reader.read_exact(&mut [0; CAPACITY]).unwrap();
    client.hear_echo_of(LINE);
    let port = Lines::of(Some(reader)).to_end();
    assert_eq!(port, format!("{}\n", server.port()));
}

/// Messages that find no room are dropped at once: it takes no longer than where
/// nobody reads them.
#[test]
fn full_stderr_slows_nothing() {
    let elapsed = |stderr: OwnedFd| {
        let server = Server::new().args(["-v"]).stderr(stderr).start();
        let begin = Instant::now();
        for _ in 0..200 {
            all_served_to_their_end(crowd(&server, 1));
        }
        server.wait_childless();
        begin.elapsed()
    };
    assert_in_time("400 messages", Duration::from_secs(1), || {
        let null = File::options().write(true).open("/dev/null").unwrap();
        let usual = elapsed(null.into());
        let (_reader, writer) = full_pipe();
        elapsed(writer).saturating_sub(4 * usual)
    });
}

/// A child, which a client may have taken over, has nothing that the server was
/// started with, but for the log; nor does the server keep it from its owner.
#[test]
fn standard_input_and_output_are_put_aside() {
    for options in [&["-1"][..], &["-1v", "-t0"], &["-v"], &[]] {
        let (_input, stdin) = {
            let (reader, writer) = io::pipe().unwrap();
            (writer, reader)
        };
        let server = Server::new()
            .exactly([options, &HERE].concat())
            .ready(Ready::Log)
            .stdin(stdin)
            .start();
        let client = served(&server);
        eventually("standard output is closed", || server.stdout().ended());
        for pid in [server.pid(), server.only_child()] {
            let descriptors = proc::descriptors(pid);
            for number in 0..2 {
                assert_eq!(descriptors[&number], "/", "{options:?}: {descriptors:?}");
                let flags = flags(pid, number);
                assert_eq!(flags & libc::O_PATH, libc::O_PATH, "{number}: {flags:o}");
            }
        }
        all_served_to_their_end(vec![client]);
    }
}

const HERE: [&str; 2] = ["127.0.0.1", "0"];

/// With which flags a descriptor is open: proc_pid_fdinfo(5).
#[track_caller]
fn flags(pid: i32, number: i32) -> i32 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    i32::from_str_radix(flags.expect("flags").trim(), 8).expect("an octal number")
}

const SIGNALS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGCONT,
    libc::SIGWINCH,
];

/// Reaps, limits a lifetime, survives who resets, drains.
#[track_caller]
fn assert_signals_work(options: &[&str], surround: impl Fn(Builder) -> Builder) {
    let start = || {
        let options = [options, &["-T", "1", "-c", "3"]].concat();
        surround(Server::new().args(options)).start()
    };
    let server = start();
    let begin = Instant::now();
    for mut client in crowd(&server, 3) {
        client.assert_end();
    }
    assert!(begin.elapsed() >= Duration::from_secs(1));
    server.wait_childless();
    for client in crowd(&server, 3) {
        client.reset();
    }
    server.wait_childless();

    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = start();
        let mut clients = crowd(&server, 2);
        server.signal(signal);
        all_served_to_their_end(vec![clients.remove(0)]);
        server.signal(signal);
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

#[test]
fn signals_blocked_by_the_starter_work() {
    assert_signals_work(&[], |builder| {
        SIGNALS.into_iter().fold(builder, Builder::blocked_signal)
    });
}

#[test]
fn signals_ignored_by_the_starter_work() {
    for options in [&[][..], &["-v"]] {
        assert_signals_work(options, |builder| {
            SIGNALS.into_iter().fold(builder, Builder::ignored_signal)
        });
    }
}

#[test]
fn nothing_of_the_starter_s_signals_is_left() {
    let server = SIGNALS
        .into_iter()
        .fold(Server::new(), Builder::blocked_signal)
        .start();
    let _client = served(&server);
    server.wait_accepting();
    for pid in [server.pid(), server.only_child()] {
        let blocked = proc::status(pid, "SigBlk").unwrap();
        assert!(blocked.bytes().all(|digit| digit == b'0'), "{blocked}");
    }
}

/// With next to no stack; the environment lies there as well.
fn with_tiny_stack(builder: Builder) -> Builder {
    if runner().is_empty() {
        return builder
            .limit(libc::RLIMIT_STACK, 16 << 10)
            .adjust(|command| {
                command.env_clear();
            });
    }
    // The limit would be that of the emulator itself. The least stack that it
    // gives to a program is filled but for less than a signal frame.
    builder.adjust(|command| {
        command.env_clear();
        command.env("QEMU_STACK_SIZE", "131072");
        command.env("FILL", "x".repeat(127_000));
    })
}

#[test]
fn tiny_stack_is_enough() {
    let server = with_tiny_stack(Server::new())
        .args(["-v", "-T", "1"])
        .start();
    let mut clients = crowd(&server, 3);
    for client in &mut clients {
        client.exchange(&[b'x'; 4097]);
    }
    for mut client in clients {
        client.assert_end();
    }
    server.wait_log(" 0/256");
}

/// A server that has run out of descriptors: 0, 1, 2 and the listener are all there
/// are, and no client fits.
fn server_without_a_descriptor() -> Server {
    let server = Server::start();
    server.wait_accepting();
    set_soft_limit(&server, libc::RLIMIT_NOFILE, 4);
    // accept takes its descriptor before it waits: it has one already.
    all_served_to_their_end(vec![served(&server)]);
    server.wait_log("accept: too many open files");
    server
}

#[test]
fn four_descriptors_are_enough_to_wait() {
    let server = server_without_a_descriptor();
    let mut clients: Vec<TcpStream> = (0..3).map(|_| waiting(&server)).collect();
    assert_patient(&server);
    set_soft_limit(&server, libc::RLIMIT_NOFILE, 5);
    for client in &mut clients {
        client.hear_echo_of(LINE);
    }
    // Five are enough for everybody: the server keeps none of its clients'.
    all_served_to_their_end(crowd(&server, 20));
}

#[test]
fn descriptors_for_no_client_at_all_are_refused_at_start() {
    for limit in 0..5 {
        let run = Server::new()
            .exactly(["-1", "127.0.0.1", "0"])
            .soft_limit(libc::RLIMIT_NOFILE, limit)
            .run();
        assert_eq!(run.status.code(), Some(111), "{limit}: {run:?}");
        assert_eq!(run.stdout, "", "{limit}: no readiness");
        if limit == 0 {
            // Not even poll(2) of one descriptor is possible.
            continue;
        }
        assert_eq!(run.stderr.lines().count(), 1, "{limit}: {run:?}");
        let told = run.stderr.starts_with("rot13d: fatal: ");
        let told = told && run.stderr.ends_with(": too many open files\n");
        assert!(told, "{limit}: {run:?}");
        if limit == 4 {
            assert_eq!(run.stderr, "rot13d: fatal: accept: too many open files\n");
        }
    }
    let server = Server::new().soft_limit(libc::RLIMIT_NOFILE, 5).start();
    all_served_to_their_end(crowd(&server, 3));
}

/// Job control, a debugger, a checkpoint: the wait for a descriptor goes on after
/// it, by a call of its own (restart_syscall(2)), which the cage has to know.
#[test]
fn stopped_while_it_waits_for_a_descriptor() {
    let server = server_without_a_descriptor();
    let mut client = waiting(&server);
    let state = |wanted| {
        eventually("the server is stopped, or asleep", || {
            proc::stat(server.pid()).expect("it runs").state == wanted
        });
    };
    for _ in 0..3 {
        state('S');
        server.signal(libc::SIGSTOP);
        state('T');
        server.signal(libc::SIGCONT);
    }
    state('S');
    set_soft_limit(&server, libc::RLIMIT_NOFILE, 5);
    client.hear_echo_of(LINE);
}

/// A hook for the starter that leaves `file` open at these numbers as well.
fn leaves_open(file: RawFd, numbers: &'static [i32]) -> impl Fn() -> io::Result<()> {
    move || {
        for &number in numbers {
            // SAFETY: numbers that nobody needs between here and exec.
            if unsafe { libc::dup2(file, number) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

#[test]
fn inherited_descriptors_are_closed() {
    assert_closes_what_it_inherits(Server::new());
}

/// Linux before 5.9. (The numbers above 1023 stay open there.)
#[test]
fn inherited_descriptors_are_closed_without_close_range() {
    for error in ["ENOSYS", "EPERM", "EINVAL"] {
        let inject = format!("inject=close_range:error={error}");
        let server = Server::new().strace(["-e", "trace=close_range", "-e", &inject]);
        let server = assert_closes_what_it_inherits(server);
        let trace = server.trace();
        assert!(
            trace.iter().any(|line| line.contains("(INJECTED)")),
            "{trace:#?}"
        );
    }
}

#[track_caller]
fn assert_closes_what_it_inherits(server: Builder) -> Server {
    let (reader, writer) = io::pipe().unwrap();
    let server = server
        .before_exec(leaves_open(writer.as_raw_fd(), &[3, 4, 7, 100, 1023]))
        .start();
    drop(writer);
    let numbers: Vec<i32> = server.descriptors().into_keys().collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    let client = served(&server);
    let child = server.only_child();
    eventually("the child has its client and no listener", || {
        proc::sockets(child).len() == 1 && proc::descriptors(child).len() == 4
    });
    all_served_to_their_end(vec![client]);
    // A tracer has them as well, until it ends.
    if server.leader_is_it() {
        // The last writer is gone: whoever waits for that is not held up.
        assert_eq!(Lines::of(Some(reader)).to_end(), "");
    }
    server
}

#[test]
fn few_descriptors_all_taken_by_the_starter() {
    let server = Server::new()
        .before_exec(leaves_open(libc::STDIN_FILENO, &[3, 4]))
        .limit(libc::RLIMIT_NOFILE, 5)
        .start();
    all_served_to_their_end(crowd(&server, 3));
}

/// Whoever started it does not read: it says nothing, and ends.
#[test]
fn wrong_usage_ends_at_once_when_nobody_reads_the_log() {
    let (_reader, writer) = full_pipe();
    let run = Server::new().exactly(["-x"]).stderr(writer).run();
    assert_eq!(run.status.code(), Some(100));
}

#[test]
fn server_that_waits_for_a_reader_of_its_port_ends_when_told_to() {
    let (_reader, writer) = full_pipe();
    let mut server = Server::new()
        .exactly(["-1", "127.0.0.1", "0"])
        .ready(Ready::Log)
        .stdout(writer)
        .start();
    server.signal(libc::SIGTERM);
    assert!(server.wait_exit().success());
}
