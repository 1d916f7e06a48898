//! The cage (rot13d(8), DESCRIPTION): a debugger makes a child and the parent try
//! what they have given up, and looks for what a child must not find.

use std::net::TcpStream;

use crate::support::{Dialogue, Server, eventually, proc};

#[test]
fn parent_and_children_are_in_it() {
    let server = Server::start();
    let mut client = server.connect();
    client.exchange(b"hello\n");
    for pid in [server.pid(), server.only_child()] {
        assert_eq!(proc::status(pid, "Seccomp").as_deref(), Some("2"));
        assert_eq!(proc::status(pid, "NoNewPrivs").as_deref(), Some("1"));
    }
    assert!(server.stderr().containing("seccomp").is_none());
}

/// strace plays a kernel that has no seccomp, or no filter, or neither.
#[test]
fn kernel_without_seccomp_is_told_once_and_served_all_the_same() {
    for fault in ["error=EINVAL", "error=EINVAL:when=2", "error=ENOSYS"] {
        let fault = format!("inject=prctl:{fault}");
        let server = Server::new()
            .strace(["-e", "trace=prctl", "-e", &fault])
            .start();
        for _ in 0..3 {
            server.connect().exchange(b"hello\n");
        }
        server.wait_log("seccomp");
        assert_eq!(server.status("Seccomp"), "0");
        let log = server.log();
        let told = log.iter().filter(|line| line.contains("seccomp"));
        assert_eq!(told.count(), 1, "{log:#?}");
    }
}

/// A client that has been served one line, and its process.
fn client_of(server: &Server) -> (TcpStream, i32) {
    let mut client = server.connect();
    client.exchange(b"hello\n");
    let child = server.only_child();
    eventually("the child waits for more", || proc::blocked_in_read(child));
    (client, child)
}

#[cfg(target_arch = "x86_64")]
mod debugged {
    use std::fs;
    use std::ops::Range;

    use super::client_of;
    use crate::support::ptrace::{Registers, Stop, Traced};
    use crate::support::{Dialogue, Random, Server};

    /// What serving takes, and what does no harm without a listener, without
    /// children and with no descriptor but the client's. All other calls end
    /// the process that makes them. (These with no argument: see the filter.)
    const PASS: [i64; 14] = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_close,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_accept,
        libc::SYS_wait4,
        libc::SYS_rt_sigprocmask,
        libc::SYS_ppoll,
        libc::SYS_nanosleep,
        libc::SYS_sendto,
        libc::SYS_setitimer,
        libc::SYS_sysinfo,
    ];

    /// Above the last call that Linux has today.
    const NUMBERS: i64 = 600;

    const ENDED: Result<i64, Stop> = Err(Stop::Killed(libc::SIGSYS));

    /// What a child's process does when it is made to make a call.
    #[track_caller]
    fn child_calls(server: &Server, number: i64, arguments: &[u64]) -> Result<i64, Stop> {
        let (_client, child) = client_of(server);
        let result = Traced::attach(child).call(number, arguments);
        drop(_client);
        server.wait_childless();
        result
    }

    #[test]
    fn child_can_read_write_close_and_exit() {
        let server = Server::start();
        let (mut client, child) = client_of(&server);
        let mut traced = Traced::attach(child);
        let registers = traced.registers();
        // Its read of the client, from the client's descriptor.
        let (socket, place) = (registers.rdi, registers.rsi);
        client.say(b"more");
        assert_eq!(traced.call(libc::SYS_read, &[socket, place, 4]), Ok(4));
        assert_eq!(traced.call(libc::SYS_write, &[socket, place, 4]), Ok(4));
        assert_eq!(client.hear(4), b"more");
        assert_eq!(traced.call(libc::SYS_close, &[socket]), Ok(0));
        client.assert_end();
        let end = traced.call(libc::SYS_exit, &[7]);
        assert_eq!(end, Err(Stop::Exited(7)));
        server.wait_childless();
    }

    #[test]
    fn child_returns_from_a_signal() {
        let server = Server::start();
        let (mut client, child) = client_of(&server);
        // Its handlers are there, and what they return by is allowed.
        for signal in [libc::SIGTERM, libc::SIGINT] {
            crate::support::signal_process(child, signal);
            client.exchange(b"still here\n");
        }
    }

    /// Exhaustively: every number but those few.
    #[test]
    fn any_other_call_ends_the_child() {
        let server = Server::start();
        let mut passed = Vec::new();
        for number in (0..NUMBERS).filter(|number| !PASS.contains(number)) {
            let result = child_calls(&server, number, &[]);
            // uretprobe and uprobe: Linux serves a debugger with them, asks no
            // filter first, and refuses them to everybody else.
            let probe = matches!(number, 335 | 336) && !matches!(result, Ok(0..));
            if result != ENDED && !probe {
                passed.push((number, result));
            }
        }
        assert_eq!(passed, []);
        // As x32 has them, too: another table of the same architecture.
        for number in PASS
            .into_iter()
            .chain([libc::SYS_clone, libc::SYS_execve, 512, 520])
        {
            assert_eq!(
                child_calls(&server, number | 0x4000_0000, &[]),
                ENDED,
                "x32 {number}"
            );
        }
        server.connect().exchange(b"others are served\n");
    }

    /// With arguments as an attacker would choose them.
    #[test]
    fn child_cannot_get_out() {
        let server = Server::start();
        let (client, child) = client_of(&server);
        let registers = Traced::attach(child).registers();
        let (socket, place) = (registers.rdi, registers.rsi);
        drop(client);
        server.wait_childless();
        let parent = server.pid() as u64;
        let fork = libc::SIGCHLD as u64;
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u64;
        let (stream, inet) = (libc::SOCK_STREAM as u64, libc::AF_INET as u64);
        let (at_cwd, read_write_exec) = (libc::AT_FDCWD as u64, 7);
        let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
        let socket_level = libc::SOL_SOCKET as u64;
        for (what, number, arguments) in [
            ("fork", libc::SYS_fork, &[][..]),
            ("vfork", libc::SYS_vfork, &[]),
            ("clone, a process", libc::SYS_clone, &[fork, 0]),
            ("clone, a thread", libc::SYS_clone, &[thread, place]),
            ("clone3", libc::SYS_clone3, &[place, 88]),
            ("execve", libc::SYS_execve, &[place, 0, 0]),
            ("execveat", libc::SYS_execveat, &[at_cwd, place, 0, 0, 0]),
            ("open", libc::SYS_open, &[place, 0]),
            ("openat", libc::SYS_openat, &[at_cwd, place, 0]),
            ("socket", libc::SYS_socket, &[inet, stream]),
            ("socketpair", libc::SYS_socketpair, &[1, stream, 0, place]),
            ("connect", libc::SYS_connect, &[socket, place, 16]),
            ("bind", libc::SYS_bind, &[socket, place, 16]),
            ("listen", libc::SYS_listen, &[socket, 1]),
            ("accept4", libc::SYS_accept4, &[3, 0, 0]),
            ("sendmsg", libc::SYS_sendmsg, &[socket, place]),
            ("kill the parent", libc::SYS_kill, &[parent, 9]),
            ("kill everybody", libc::SYS_kill, &[u64::MAX, 9]),
            ("tgkill", libc::SYS_tgkill, &[parent, parent, 9]),
            (
                "rt_sigqueueinfo",
                libc::SYS_rt_sigqueueinfo,
                &[parent, 9, place],
            ),
            (
                "mmap",
                libc::SYS_mmap,
                &[0, 4096, read_write_exec, private, u64::MAX],
            ),
            (
                "mprotect",
                libc::SYS_mprotect,
                &[place & !4095, 4096, read_write_exec],
            ),
            ("brk", libc::SYS_brk, &[0]),
            (
                "prctl, dumpable",
                libc::SYS_prctl,
                &[libc::PR_SET_DUMPABLE as u64, 1],
            ),
            ("seccomp", libc::SYS_seccomp, &[1, 0, place]),
            ("ptrace the parent", libc::SYS_ptrace, &[16, parent]),
            (
                "read the parent's memory",
                libc::SYS_process_vm_readv,
                &[parent, place, 1, place, 1],
            ),
            (
                "ioctl, type for the terminal",
                libc::SYS_ioctl,
                &[0, libc::TIOCSTI, place],
            ),
            (
                "ioctl, non-blocking",
                libc::SYS_ioctl,
                &[socket, libc::FIONBIO, place],
            ),
            (
                "buffer",
                libc::SYS_setsockopt,
                &[socket, socket_level, libc::SO_RCVBUF as u64, place, 4],
            ),
            (
                "device",
                libc::SYS_setsockopt,
                &[socket, socket_level, libc::SO_BINDTODEVICE as u64, place, 4],
            ),
            (
                "congestion",
                libc::SYS_setsockopt,
                &[socket, 6, libc::TCP_CONGESTION as u64, place, 4],
            ),
            (
                "repair",
                libc::SYS_setsockopt,
                &[socket, 6, libc::TCP_REPAIR as u64, place, 4],
            ),
            ("sigaction", libc::SYS_rt_sigaction, &[9, 0, 0, 8]),
            ("setuid", libc::SYS_setuid, &[0]),
            ("io_uring_setup", libc::SYS_io_uring_setup, &[1, place]),
        ] {
            assert_eq!(child_calls(&server, number, arguments), ENDED, "{what}");
        }
        server.connect().exchange(b"others are served\n");
    }

    #[test]
    fn child_has_no_listener_to_accept_from() {
        let server = Server::start();
        let (_client, child) = client_of(&server);
        let mut traced = Traced::attach(child);
        for descriptor in 0..20 {
            let result = traced.call(libc::SYS_accept, &[descriptor, 0, 0]);
            assert!(
                result.is_ok_and(|error| error < 0),
                "descriptor {descriptor}: {result:?}"
            );
        }
    }

    /// By the gate of 32-bit programs the same numbers mean other calls.
    #[test]
    fn calls_of_another_architecture_end_the_child() {
        let server = Server::start();
        for number in [3, 4, 11, 102, 120, 252] {
            let (_client, child) = client_of(&server);
            let mut traced = Traced::attach(child);
            let registers = Registers {
                rax: number,
                ..traced.registers()
            };
            assert_eq!(
                traced.execute([0xcd, 0x80], registers),
                ENDED,
                "int 0x80, call {number}"
            );
            drop(_client);
            server.wait_childless();
        }
    }

    #[test]
    fn parent_cannot_open_connect_or_execute_either() {
        for number in [
            libc::SYS_open,
            libc::SYS_openat,
            libc::SYS_creat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_kill,
            libc::SYS_mmap,
            libc::SYS_mprotect,
            libc::SYS_prctl,
            libc::SYS_ptrace,
            libc::SYS_setuid,
            libc::SYS_unlink,
            libc::SYS_mount,
        ] {
            let server = Server::start();
            server.wait_accepting();
            let result = Traced::attach(server.pid()).call(number, &[]);
            assert_eq!(result, ENDED, "call {number}");
        }
    }

    /// What the fifth argument register of the server's next clone holds.
    #[track_caller]
    fn token(server: &Server) -> u64 {
        server.wait_accepting();
        let mut parent = Traced::attach(server.pid());
        let _client = server.connect();
        at_clone(&mut parent).r8
    }

    /// Lets the server run on to its next clone: the registers that it has there.
    #[track_caller]
    fn at_clone(parent: &mut Traced) -> Registers {
        loop {
            assert_eq!(parent.go_on(libc::PTRACE_SYSCALL, 0), Stop::Call);
            let registers = parent.registers();
            if registers.orig_rax as i64 == libc::SYS_clone {
                break registers;
            }
        }
    }

    /// Each bit is as often the one as the other: that one is the same 32 times
    /// happens once in thirty million runs. An address would have bits that are not,
    /// and is somewhere in the process.
    #[test]
    fn token_is_random_in_every_bit() {
        let (mut ones, mut zeros) = (0u64, 0u64);
        for _ in 0..32 {
            let server = Server::start();
            let token = token(&server);
            (ones, zeros) = (ones | token, zeros | !token);
            for (range, line) in mappings(server.pid()) {
                assert!(!range.contains(&token), "{token:x} is in {line}");
            }
        }
        assert_eq!((ones, zeros), (u64::MAX, u64::MAX), "{ones:x} {zeros:x}");
    }

    /// With one bit of it wrong, whichever, it is not the token.
    #[test]
    fn every_bit_of_the_token_counts() {
        let server = Server::start();
        let token = token(&server);
        server.wait_childless();
        let attempt = |call: i64, token: u64| {
            let (client, child) = client_of(&server);
            let mut traced = Traced::attach(child);
            let arguments = match call {
                libc::SYS_kill => [child as u64, 0, 0, 0, token],
                libc::SYS_futex => [traced.registers().rsi, libc::FUTEX_WAKE as u64, 1, 0, token],
                _ => [libc::SIGCHLD as u64, 0, 0, 0, token],
            };
            let result = traced.call(call, &arguments);
            drop((traced, client));
            server.wait_childless();
            result
        };
        for call in [libc::SYS_kill, libc::SYS_futex] {
            assert_eq!(attempt(call, token), Ok(0), "call {call}");
        }
        for bit in 0..64 {
            for call in [libc::SYS_kill, libc::SYS_futex, libc::SYS_clone] {
                let result = attempt(call, token ^ 1 << bit);
                assert_eq!(result, ENDED, "call {call}, bit {bit}");
            }
        }
    }

    /// 20 and 66 are the receive timeout of a socket, and something else to others:
    /// IPV6_ADD_MEMBERSHIP, TCP_REPAIR_QUEUE.
    #[test]
    fn child_sets_no_option_of_another_level() {
        let server = Server::start();
        let (client, child) = client_of(&server);
        let registers = Traced::attach(child).registers();
        let (socket, place) = (registers.rdi, registers.rsi);
        drop(client);
        server.wait_childless();
        let levels = [
            libc::IPPROTO_IP,
            libc::IPPROTO_TCP,
            libc::IPPROTO_UDP,
            libc::IPPROTO_IPV6,
            libc::IPPROTO_RAW,
        ];
        for name in [20, 66] {
            for level in levels {
                let arguments = [socket, level as u64, name, place, 16];
                let result = child_calls(&server, libc::SYS_setsockopt, &arguments);
                assert_eq!(result, ENDED, "level {level}, option {name}");
            }
        }
        let own = [socket, libc::SOL_SOCKET as u64, 20, place, 16];
        let result = child_calls(&server, libc::SYS_setsockopt, &own);
        assert!(result.is_ok(), "{result:?}");
        server.connect().exchange(b"others are served\n");
    }

    /// The mappings that `pid` can read.
    #[track_caller]
    fn mappings(pid: i32) -> Vec<(Range<u64>, String)> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
        let lines = maps.lines().map(|line| {
            let (range, _) = line.split_once(' ').expect("a mapping");
            let (start, end) = range.split_once('-').expect("a range");
            let address = |text| u64::from_str_radix(text, 16).expect("an address");
            (address(start)..address(end), line.to_owned())
        });
        lines.collect()
    }

    /// Where in `bytes` one of the halves of the token is.
    fn place_of(bytes: &[u8], token: u64) -> Option<usize> {
        let halves = [token as u32, (token >> 32) as u32].map(u32::to_ne_bytes);
        let mut fours = bytes.windows(4);
        fours.position(|four| halves.iter().any(|half| four == half))
    }

    /// Where in the readable memory of `pid` the token is, or a half of it.
    fn places(traced: &Traced, pid: i32, token: u64) -> Vec<String> {
        let mut places = Vec::new();
        for (range, line) in mappings(pid) {
            // Not memory of the process: the kernel's clock, and an address
            // that only traps.
            let is_readable = line
                .split(' ')
                .nth(1)
                .is_some_and(|mode| mode.starts_with('r'));
            if !is_readable || line.contains("[vvar") || line.contains("[vsyscall]") {
                continue;
            }
            let length = (range.end - range.start) as usize;
            let bytes = traced.peek(range.start, length).expect(&line);
            let found = place_of(&bytes, token);
            places.extend(found.map(|at| format!("{:x} in {line}", range.start + at as u64)));
        }
        places
    }

    /// clone(2) gives the child the registers of its parent, with the token in one.
    /// Nothing but that register has it, and that is wiped before the child makes a
    /// system call; from there to the end of its first line the token is nowhere.
    #[test]
    fn token_is_gone_before_a_child_s_first_call() {
        // Of r8, in the general registers: see `struct user_regs_struct`.
        const ITS_REGISTER: Range<usize> = 72..80;
        for options in [&[][..], &["-v", "-t", "0", "-T", "99"]] {
            let server = Server::new().args(options).start();
            server.wait_accepting();
            let mut parent = Traced::attach(server.pid());
            let mut client = server.connect();
            client.say(b"hello\n");
            let token = at_clone(&mut parent).r8;
            let Stop::Forked(pid) = parent.go_on(libc::PTRACE_SYSCALL, 0) else {
                panic!("no child");
            };
            let mut child = Traced::forked(pid);
            let (mut in_its_register, mut calls, mut steps) = (true, 0, 0);
            // Until it has answered: the line is there already.
            while calls == 0 || child.registers().orig_rax as i64 != libc::SYS_write {
                let registers = child.registers();
                let told = format!("{options:?}, step {steps}, at {:x}", registers.rip);
                let mut all = child.all_registers();
                assert!(all.len() > 500, "floating point and vectors are among them");
                in_its_register &= registers.r8 == token;
                if in_its_register {
                    all[ITS_REGISTER].fill(0);
                }
                assert_eq!(place_of(&all, token), None, "in a register: {told}");
                assert_eq!(places(&child, pid, token), [""; 0], "{told}");
                if child
                    .peek(registers.rip, 2)
                    .is_ok_and(|code| code == [0x0f, 0x05])
                {
                    calls += 1;
                    assert!(!in_its_register, "in a system call: {told}");
                }
                assert_eq!(
                    child.go_on(libc::PTRACE_SINGLESTEP, 0),
                    Stop::Signal(libc::SIGTRAP),
                    "{told}"
                );
                steps += 1;
                assert!(steps < 10_000, "{told}");
            }
            drop((child, parent));
            client.hear_echo_of(b"hello\n");
        }
    }

    /// Clone and kill pass with the token, so no child may come to know it.
    #[test]
    fn token_is_nowhere_in_a_child() {
        let options: [&[&str]; 3] = [
            &[],
            &["-v"],
            &["-v", "-c", "3", "-C", "2", "-t", "0", "-T", "99"],
        ];
        let usual = options.map(|options| (Server::new().args(options), options));
        // With either of these the program is below all other mappings, or among them.
        let unlimited = Server::new().limit(libc::RLIMIT_STACK, libc::RLIM_INFINITY);
        let compatible = Server::new().before_exec(|| {
            // SAFETY: changes where exec maps what, and nothing else.
            match unsafe { libc::personality(libc::ADDR_COMPAT_LAYOUT as u64) } {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            }
        });
        let layouts = [
            (unlimited, &["unlimited stack"][..]),
            (compatible, &["compatible layout"]),
        ];
        for (server, options) in usual.into_iter().chain(layouts) {
            let server = server.start();
            let token = token(&server);
            server.wait_childless();
            let (mut client, child) = client_of(&server);
            client.exchange(&[vec![b'n'; 9000], b"\n".to_vec()].concat());
            crate::support::signal_process(child, libc::SIGTERM);
            client.exchange(&[Random::seeded().byte() | 0x80, b'\n']);

            let mut traced = Traced::attach(child);
            assert_eq!(
                places(&traced, child, token),
                Vec::<String>::new(),
                "{options:?}"
            );
            let registers = traced.all_registers();
            assert!(
                registers.len() > 500,
                "floating point and vectors are among them"
            );
            assert_eq!(
                place_of(&registers, token),
                None,
                "{options:?}: in a register"
            );

            // The same search finds it where it is, and it is what counts.
            let own = child as u64;
            assert_eq!(traced.call(libc::SYS_kill, &[own, 0, 0, 0, token]), Ok(0));
            assert_eq!(traced.call(libc::SYS_kill, &[own, 0, 0, 0, !token]), ENDED);
            server.wait_childless();
            let parent = Traced::attach(server.pid());
            assert!(!places(&parent, server.pid(), token).is_empty());
        }
    }
}
