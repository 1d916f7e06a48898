//! A clean start, whatever the server inherits: no arguments at all, an empty
//! environment, timers that run, signals that are blocked or ignored, next to no
//! resources; and options that cannot work here say so.
//!
//! Guards against an environment that is read as arguments (KSPP 176) and limits
//! on time that silently do nothing (linuxboot/mainboards 33).

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::connect;
use crate::support::crowd::{LINE, all_served_to_their_end, assert_asleep, crowd, served, waiting};
use crate::support::kernel::{can_be_played, lacking};
use crate::support::network::in_own_network;
use crate::support::pipes::{CAPACITY, full_pipe, set_flags};
use crate::support::ptrace::Traced;
use crate::support::{
    Builder, Dialogue, Ready, Server, eventually, found, is_for_x86_64, proc, runner,
};

const NO_TIMERS: &str = "rot13d: no timers: -T and -k have no effect";

/// In a kernel without POSIX timers: CONFIG_POSIX_TIMERS.
fn without_timers(server: Builder) -> Builder {
    let timers = ["alarm", "setitimer", "getitimer", "timer_create"];
    lacking(server, &timers)
}

fn told(server: &Server, text: &str) -> usize {
    server.log().iter().filter(|line| *line == text).count()
}

#[test]
fn limits_on_time_that_have_no_effect_are_told_at_start() {
    if !can_be_played() {
        println!("an emulator has timers of its own: not tried");
        return;
    }
    for options in [
        &["-T", "1"][..],
        &["-k", "1"],
        &["-T", "1", "-k", "1"],
        &["-v", "-T", "2147483647"],
    ] {
        let mut server = without_timers(Server::new().args(options)).start();
        assert_eq!(server.wait_log("no timers"), NO_TIMERS);
        // Clients are served all the same, and have all the time that they want.
        let client = served(&server);
        thread::sleep(Duration::from_millis(1500));
        all_served_to_their_end(vec![client]);
        let clients = crowd(&server, 2);
        server.signal(libc::SIGTERM);
        all_served_to_their_end(clients);
        assert_eq!(server.wait_exit().code(), Some(0));
        assert_eq!(told(&server, NO_TIMERS), 1, "once");
    }
}

#[test]
fn timers_that_nobody_asked_for_are_not_missed() {
    if !can_be_played() {
        println!("an emulator has timers of its own: not tried");
        return;
    }
    for options in [&[][..], &["-t", "1"], &["-T", "0", "-k", "0"], &["-v"]] {
        let server = without_timers(Server::new().args(options)).start();
        all_served_to_their_end(crowd(&server, 3));
        assert_eq!(told(&server, NO_TIMERS), 0, "{:#?}", server.log());
    }
    // -t needs none.
    let server = without_timers(Server::new().args(["-t", "1"])).start();
    served(&server).assert_end();
    for options in [["-T", "9"], ["-k", "9"]] {
        let server = Server::new().args(options).start();
        all_served_to_their_end(crowd(&server, 3));
        assert_eq!(told(&server, NO_TIMERS), 0, "they are there");
    }
}

/// Told to end twice, it ends although it has no timer to look again by.
#[test]
fn second_signal_needs_no_timer() {
    if !can_be_played() {
        println!("an emulator has timers of its own: not tried");
        return;
    }
    let mut server = without_timers(Server::new()).start();
    let clients = crowd(&server, 3);
    server.signal(libc::SIGTERM);
    eventually("nobody listens", || server.try_connect().is_err());
    server.signal(libc::SIGTERM);
    for mut client in clients {
        client.assert_end();
    }
    assert_eq!(server.wait_exit().code(), Some(0));
}

/// Who waits for the readiness line gets it, however slow he is. A pipe may be
/// one that does not block, as its owner wants it.
#[test]
fn readiness_line_waits_for_room() {
    for flags in [0, libc::O_NONBLOCK] {
        let (mut reader, writer) = full_pipe();
        set_flags(&writer, flags);
        let server = Server::new()
            .exactly(["-1", "127.0.0.1", "0"])
            .ready(Ready::Log)
            .stdout(writer)
            .start();
        let mut client = waiting(&server);
        let cpu = server.cpu();
        thread::sleep(Duration::from_millis(1200));
        let spent = server.cpu() - cpu;
        assert!(spent < Duration::from_millis(200), "it spins: {spent:?}");
        reader.read_exact(&mut [0; CAPACITY]).unwrap();
        let port = io::read_to_string(reader).unwrap();
        assert_eq!(port, format!("{}\n", server.port()), "flags {flags:#x}");
        client.hear_echo_of(LINE);
        assert_asleep(&server);
    }
}

/// It has no client yet, so it ends at once.
#[test]
fn signal_ends_the_wait_for_the_reader_of_the_readiness_line() {
    for flags in [0, libc::O_NONBLOCK] {
        let (_reader, writer) = full_pipe();
        set_flags(&writer, flags);
        let mut server = Server::new()
            .exactly(["-1", "127.0.0.1", "0"])
            .ready(Ready::Log)
            .stdout(writer)
            .start();
        thread::sleep(Duration::from_millis(300));
        server.signal(libc::SIGTERM);
        assert_eq!(server.wait_exit().code(), Some(0), "flags {flags:#x}");
    }
}

#[test]
fn reader_of_the_readiness_line_who_gives_up_stops_nothing() {
    for flags in [0, libc::O_NONBLOCK] {
        let (reader, writer) = full_pipe();
        set_flags(&writer, flags);
        let server = Server::new()
            .exactly(["-1", "127.0.0.1", "0"])
            .ready(Ready::Log)
            .stdout(writer)
            .start();
        let mut client = waiting(&server);
        drop(reader);
        client.hear_echo_of(LINE);
    }
}

/// So does who asks for the version or the usage.
#[test]
fn version_and_usage_wait_for_room() {
    for (option, start) in [("-V", "rot13d "), ("-h", "usage: rot13d ")] {
        for flags in [0, libc::O_NONBLOCK] {
            let (mut reader, writer) = full_pipe();
            set_flags(&writer, flags);
            let mut server = Server::new()
                .exactly([option])
                .ready(Ready::Unknown)
                .stdout(writer)
                .start();
            eventually("it waits", || {
                proc::stat(server.pid()).is_some_and(|stat| stat.state == 'S')
            });
            assert!(server.is_running(), "{option}, flags {flags:#x}");
            reader.read_exact(&mut [0; CAPACITY]).unwrap();
            assert_eq!(server.wait_exit().code(), Some(0));
            let text = io::read_to_string(reader).unwrap();
            assert!(
                text.starts_with(start),
                "{option}, flags {flags:#x}: {text:?}"
            );
            assert!(text.ends_with('\n'), "{text:?}");
        }
    }
}

/// write(2) may be interrupted, or find a pipe full that somebody has made non-blocking:
/// what was asked for is printed all the same.
#[test]
fn failed_write_of_what_was_asked_for_is_tried_again() {
    for error in ["EINTR", "EAGAIN"] {
        for (option, start) in [("-h", "usage: rot13d "), ("-V", "rot13d ")] {
            let fault = format!("inject=write:error={error}:when=1");
            let run = Server::new().strace(["-e", &fault]).exactly([option]).run();
            assert!(run.stdout.starts_with(start), "{error}: {run:?}");
        }
        // The first one is the message.
        let fault = format!("inject=write:error={error}:when=2");
        let server = Server::new().strace(["-e", &fault]).start();
        server.wait_log(&format!(":{}", server.port()));
    }
}

/// A kernel before Linux 5.18 starts a program without any argument, not even
/// its name, if it is told to. Newer ones put in an empty name: it is taken out
/// again, as it was.
#[test]
fn environment_is_not_read_as_arguments() {
    if !is_for_x86_64() || !runner().is_empty() {
        println!("the stack of another architecture: not tried");
        return;
    }
    in_own_network(|| {
        let server = Server::new()
            .exactly([""; 0])
            .ready(Ready::Unknown)
            .port(43211)
            .adjust(|command| {
                // In place of arguments: none of these is one that would do.
                command.env_clear();
                command.env("-x", "1").env("-c", "0").env("nobody", "");
            });
        let (server, traced) = Traced::start(server);
        let stack = traced.registers().rsp;
        let word = |at| traced.stack_word(at);
        // argc, argv[0], NULL, environment, NULL, auxiliary vector.
        assert_eq!((word(0), word(2)), (1, 0), "its name and nothing else");
        let mut end = 3;
        let mut variables = 0;
        while word(end) != 0 {
            end += 1;
            variables += 1;
        }
        assert_eq!(variables, 3);
        end += 1;
        while word(end) != 0 {
            end += 2;
        }
        end += 2;
        let rest = traced.peek(stack + 24, 8 * (end as usize - 3)).unwrap();
        traced.poke(stack, &[0; 16]);
        traced.poke(stack + 16, &rest);
        drop(traced);
        let mut client = found("it listens", || server.try_connect().ok());
        client.exchange(LINE);
        server.wait_log("listening");
        assert_eq!(server.log(), ["rot13d: listening on [::]:43211"]);
    });
}

/// A loader may hand over the program headers of another program, or none that is code:
/// then nothing is known of where the code is, nothing is kept from the children, and
/// that is said. A debugger makes AT_PHDR that of the second segment.
#[test]
fn program_header_that_is_not_of_code_is_told() {
    if !is_for_x86_64() || !runner().is_empty() {
        println!("the stack of another architecture: not tried");
        return;
    }
    let server = Server::new()
        .ready(Ready::Unknown)
        .exactly(["127.0.0.1", "0"]);
    let (server, traced) = Traced::start(server);
    let stack = traced.registers().rsp;
    let word = |at| traced.stack_word(at);
    // argc, argv, NULL, environment, NULL, auxiliary vector.
    let mut at = word(0) + 2;
    while word(at) != 0 {
        at += 1;
    }
    at += 1;
    while word(at) != libc::AT_PHDR {
        assert_ne!(word(at), libc::AT_NULL, "there is an AT_PHDR");
        at += 2;
    }
    let second = word(at + 1) + size_of::<libc::Elf64_Phdr>() as u64;
    traced.poke(stack + 8 * (at + 1), &second.to_ne_bytes());
    drop(traced);
    server.wait_log("rot13d: no madvise: clients are less well separated");
    let line = server.wait_log("listening on ");
    let address = line.rsplit(' ').next().and_then(|word| word.parse().ok());
    let mut client = connect(address.expect(&line), None, None).expect("it listens");
    client.exchange(LINE);
}

/// An empty name, which a newer kernel gives who has none.
#[test]
fn empty_name_and_empty_environment_will_do() {
    use std::os::unix::process::CommandExt;
    for name in ["", "-", "-x", "a name\twith %s \u{7f}"] {
        let server = Server::new().args(["-v"]).adjust(move |command| {
            command.arg0(name).env_clear();
        });
        let server = server.start();
        all_served_to_their_end(crowd(&server, 2));
        // Whatever it is called, it calls itself by its name.
        for line in server.log() {
            assert!(line.starts_with("rot13d: "), "{line}");
        }
    }
}

/// A hook that lets a timer of the starter's run on in the server.
fn with_timer(server: Builder, timer: libc::c_int, first: Duration, then: Duration) -> Builder {
    let time = |duration: Duration| libc::timeval {
        tv_sec: duration.as_secs() as libc::time_t,
        tv_usec: duration.subsec_micros().into(),
    };
    let (it_value, it_interval) = (time(first), time(then));
    server.before_exec(move || {
        let new = libc::itimerval {
            it_interval,
            it_value,
        };
        let none = std::ptr::null_mut::<libc::itimerval>();
        // SAFETY: `new` is valid; it outlives the exec, which no handler does.
        match unsafe { libc::syscall(libc::SYS_setitimer, timer, &raw const new, none) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

const MOMENT: Duration = Duration::from_millis(100);

#[test]
fn timer_of_the_starter_ends_nobody() {
    for options in [&["-v"][..], &["-v", "-k", "60", "-T", "60"]] {
        let server = Server::new().args(options);
        let mut server = with_timer(server, libc::ITIMER_REAL, MOMENT * 3, MOMENT).start();
        let clients = crowd(&server, 3);
        thread::sleep(MOMENT * 12);
        // Nobody wakes it, either.
        assert_asleep(&server);
        all_served_to_their_end(clients);
        server.wait_childless();
        // And it drains in its own time.
        let clients = crowd(&server, 2);
        server.signal(libc::SIGTERM);
        thread::sleep(MOMENT * 5);
        all_served_to_their_end(clients);
        assert_eq!(server.wait_exit().code(), Some(0));
        let log = server.stderr().to_end();
        assert!(!log.contains("signal "), "{log}");
    }
}

/// One that comes between the exec and the first instruction that could stop it.
#[test]
fn timer_of_the_starter_that_is_over_at_once_ends_nobody() {
    for micros in [1, 50, 200, 400, 600, 800, 1000, 1500, 2000] {
        // It ends a program that has not said yet what shall come of it: whoever
        // starts one like that blocks the signal.
        let server = Server::new().args(["-v"]).blocked_signal(libc::SIGALRM);
        let first = Duration::from_micros(micros);
        let mut server = with_timer(server, libc::ITIMER_REAL, first, MOMENT).start();
        all_served_to_their_end(crowd(&server, 2));
        assert!(server.is_running());
    }
}

/// Those that count time on the processor have signals of their own.
#[test]
fn other_timers_of_the_starter_end_nobody() {
    for timer in [libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        let mut server = with_timer(Server::new(), timer, MOMENT / 5, MOMENT / 5).start();
        let mut client = server.connect();
        let line = [vec![b'x'; 100_000], b"\n".to_vec()].concat();
        let begin = Instant::now();
        while server.cpu() < MOMENT / 2 && begin.elapsed() < Duration::from_secs(20) {
            served(&server);
        }
        client.exchange(&line);
        assert!(server.is_running(), "timer {timer}");
    }
}

/// An alarm for the connected socket's server is none for its client.
#[test]
fn timer_of_the_starter_does_not_end_a_client_that_is_served_alone() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let server = Server::new().exactly(["-i"]).ready(Ready::Unknown);
    // Blocked, since on a busy machine it may come before the server's first instruction.
    let server = server
        .stdin(OwnedFd::from(socket))
        .blocked_signal(libc::SIGALRM);
    let mut server = with_timer(server, libc::ITIMER_REAL, MOMENT, MOMENT).start();
    client.exchange(LINE);
    thread::sleep(MOMENT * 8);
    client.exchange(LINE);
    client.half_close();
    client.assert_end();
    assert_eq!(server.wait_exit().code(), Some(0));
}

/// All that can be blocked or ignored: sigaction(2) refuses KILL and STOP, and
/// the first two of the real time are the C library's.
fn signals() -> impl Iterator<Item = i32> {
    (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(signal))
}

#[test]
fn every_signal_blocked_or_ignored_by_the_starter_works() {
    for blocked in [true, false] {
        let start = |options: &[&str]| {
            let server = Server::new().args(options);
            let change = if blocked {
                Builder::blocked_signal
            } else {
                Builder::ignored_signal
            };
            signals().fold(server, change).start()
        };
        let server = start(&["-v", "-T", "1", "-c", "2"]);
        for mut client in crowd(&server, 2) {
            client.assert_end();
        }
        server.wait_childless();
        let _client = served(&server);
        server.wait_accepting();
        for pid in [server.pid(), server.only_child()] {
            let blocked = proc::status(pid, "SigBlk").unwrap();
            assert!(blocked.bytes().all(|digit| digit == b'0'), "{blocked}");
        }
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let mut server = start(&[]);
            let clients = crowd(&server, 2);
            server.signal(signal);
            all_served_to_their_end(clients);
            assert_eq!(server.wait_exit().code(), Some(0));
        }
    }
}

/// Next to nothing of everything that can be limited.
fn with_tiny_limits(server: Builder) -> Builder {
    let kib = 1024;
    let limits = [
        (libc::RLIMIT_AS, 4096 * kib),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_DATA, 2048 * kib),
        (libc::RLIMIT_FSIZE, 0),
        (libc::RLIMIT_LOCKS, 0),
        (libc::RLIMIT_MEMLOCK, 0),
        (libc::RLIMIT_MSGQUEUE, 0),
        (libc::RLIMIT_NICE, 0),
        (libc::RLIMIT_NOFILE, 5),
        (libc::RLIMIT_NPROC, 0),
        (libc::RLIMIT_RSS, 0),
        (libc::RLIMIT_RTPRIO, 0),
        (libc::RLIMIT_RTTIME, 0),
        (libc::RLIMIT_SIGPENDING, 0),
        (libc::RLIMIT_STACK, 16 * kib),
    ];
    let server = server.adjust(|command| {
        command.env_clear();
    });
    limits
        .into_iter()
        .fold(server, |server, (limit, value)| server.limit(limit, value))
}

#[test]
fn tiny_limits_of_every_kind_are_enough() {
    if !runner().is_empty() {
        println!("the limits would be those of the emulator: not tried");
        return;
    }
    let options = ["-v", "-T", "1", "-c", "3"];
    let server = with_tiny_limits(Server::new().args(options)).start();
    let mut clients = crowd(&server, 3);
    for client in &mut clients {
        client.exchange(&[b'x'; 4097]);
    }
    for mut client in clients {
        client.assert_end();
    }
    server.wait_log(" 0/3");
    let mut server = with_tiny_limits(Server::new()).start();
    let clients = crowd(&server, 3);
    server.signal(libc::SIGTERM);
    all_served_to_their_end(clients);
    assert_eq!(server.wait_exit().code(), Some(0));
}
