//! What a client's socket is set to (rot13d(8), OPTIONS and NOTES): asked of the
//! socket itself, by a duplicate of the child's descriptor, in every way in that
//! there is. Each option is set on the listener and inherited; a kernel that did
//! not hand one on would be seen here.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use crate::support::client::{option, set_option};
use crate::support::crowd::{LINE, all_served_to_their_end, served};
use crate::support::network::{in_own_network, set_ipv4, set_ipv6};
use crate::support::{DEADLINE, Dialogue, Ready, Server, eventually, found, proc};

/// How a client comes to the server.
#[derive(Debug, Clone, Copy)]
enum Way {
    Own(&'static str),
    InheritedListener(&'static str),
    Connected,
}

const WAYS: [Way; 6] = [
    Way::Own("127.0.0.1"),
    Way::Own("::1"),
    Way::Own("0"),
    Way::InheritedListener("127.0.0.1:0"),
    Way::InheritedListener("[::1]:0"),
    Way::Connected,
];

/// A server with these options, a client of it that has been served a line, and
/// the socket of the client's process.
#[track_caller]
fn socket_by(way: Way, options: &[&str]) -> (Server, TcpStream, OwnedFd) {
    let server = Server::new();
    let (server, client) = match way {
        Way::Own(host) => {
            let server = server.args(options).host(host).start();
            let client = served(&server);
            (server, client)
        }
        Way::InheritedListener(address) => {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let server = server.exactly([options, &["-i"]].concat());
            let server = server.stdin(OwnedFd::from(listener)).ready(Ready::Log);
            let server = server.start();
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client.exchange(LINE);
            (server, client)
        }
        Way::Connected => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            let socket = listener.accept().unwrap().0;
            let server = server.exactly([options, &["-i"]].concat());
            let server = server.stdin(OwnedFd::from(socket)).ready(Ready::Unknown);
            let server = server.start();
            client.exchange(LINE);
            (server, client)
        }
    };
    let child = server.only_child();
    let socket = only_socket(child);
    (server, client, socket)
}

/// A duplicate of the one socket that `pid` has.
#[track_caller]
fn only_socket(pid: i32) -> OwnedFd {
    let number = found("one socket", || match proc::sockets(pid)[..] {
        [number] => Some(number),
        _ => None,
    });
    proc::duplicate(pid, number).expect("the process is there")
}

fn number(socket: &OwnedFd, level: i32, name: i32) -> i32 {
    option(socket, level, name)
}

fn seconds(socket: &OwnedFd, name: i32) -> (i64, i64) {
    let time: libc::timeval = option(socket, libc::SOL_SOCKET, name);
    (time.tv_sec, time.tv_usec)
}

#[test]
fn peer_without_power_is_noticed_and_no_line_is_held_back() {
    for way in WAYS {
        let (_server, _client, socket) = socket_by(way, &[]);
        let keep_alive = number(&socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE);
        let no_delay = number(&socket, libc::IPPROTO_TCP, libc::TCP_NODELAY);
        assert_eq!((keep_alive, no_delay), (1, 1), "{way:?}");
    }
}

/// Where the host's own buffers are big, so that what is not bounded shows.
fn with_big_buffers(body: impl FnOnce() + Send) {
    in_own_network(|| {
        for name in ["tcp_rmem", "tcp_wmem"] {
            set_ipv4(name, "4096 2097152 8388608");
        }
        body();
    });
}

/// rot13d(8), CAVEATS.
#[test]
fn other_options_of_an_inherited_listener_stay() {
    let listener = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    set_option(&listener, libc::SOL_SOCKET, libc::SO_LINGER, linger);
    set_option(&listener, libc::SOL_SOCKET, libc::SO_RCVLOWAT, 3);
    set_option(&listener, libc::IPPROTO_TCP, libc::TCP_CORK, 1);
    let server = Server::new().exactly(["-i"]).ready(Ready::Log);
    let server = server.stdin(listener).start();
    let mut client = served(&server);
    let socket = only_socket(server.only_child());
    let linger: libc::linger = option(&socket, libc::SOL_SOCKET, libc::SO_LINGER);
    assert_eq!((linger.l_onoff, linger.l_linger), (1, 0));
    assert_eq!(number(&socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT), 3);
    assert_eq!(number(&socket, libc::IPPROTO_TCP, libc::TCP_CORK), 1);
    drop(socket);
    client.half_close();
    let end = client.read(&mut [0; 1]).expect_err("a reset");
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

/// socket(7): the kernel doubles what is asked for, to have room for itself.
#[test]
fn buffers_are_bounded_in_both_directions() {
    with_big_buffers(|| {
        for way in WAYS {
            let (_server, _client, socket) = socket_by(way, &[]);
            for name in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
                let bytes = number(&socket, libc::SOL_SOCKET, name);
                assert!((65536..=131_072).contains(&bytes), "{way:?}: {bytes} bytes");
            }
        }
    });
}

/// So often a client's process looks whether the limit is over.
#[test]
fn timeouts_of_the_socket_are_an_eighth_of_the_idle_limit() {
    for way in WAYS {
        for (options, eighth) in [
            (&[][..], 75),
            (&["-t", "600"], 75),
            (&["-t", "80"], 10),
            (&["-t", "0"], 0),
        ] {
            let (_server, _client, socket) = socket_by(way, options);
            for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
                let told = format!("{way:?}, {options:?}, option {name}");
                assert_eq!(seconds(&socket, name), (eighth, 0), "{told}");
            }
        }
    }
}

/// signal(7): accept would fail with EINTR for every child that ends, and with
/// EAGAIN when nobody comes.
#[test]
fn listener_has_no_receive_timeout() {
    for options in [&[][..], &["-t", "1"]] {
        let server = Server::new().args(options).start();
        server.wait_accepting();
        let listener = only_socket(server.pid());
        assert_eq!(seconds(&listener, libc::SO_RCVTIMEO), (0, 0), "{options:?}");
        let reuse = number(&listener, libc::SOL_SOCKET, libc::SO_REUSEADDR);
        assert_eq!(reuse, 1, "a successor may bind at once");
    }
}

/// tcp(7), TCP_INFO: of a listener it has the length of its queue in the place of
/// the segments that were acknowledged out of order.
#[test]
fn backlog_is_as_long_as_asked_for() {
    in_own_network(|| {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let most: u32 = most.trim().parse().unwrap();
        for (options, backlog) in [
            (&[][..], 1024),
            (&["-b", "7"], 7),
            (&["-b0"], 0),
            (&["-b1"], 1),
            (&["-b", "2147483647"], i32::MAX as u32),
        ] {
            let server = Server::new().args(options).start();
            let listener = only_socket(server.pid());
            let info: libc::tcp_info = option(&listener, libc::IPPROTO_TCP, libc::TCP_INFO);
            assert_eq!(info.tcpi_sacked, backlog.min(most), "{options:?}");
        }
    });
}

/// The host may have it that a socket of IPv6 does not take IPv4.
#[test]
fn host_0_serves_both_families_whatever_the_host_s_default_is() {
    in_own_network(|| {
        for default in ["0", "1"] {
            set_ipv6("bindv6only", default);
            let server = Server::new().host("0").start();
            for address in ["127.0.0.1", "::1"] {
                let mut client = TcpStream::connect((address, server.port())).expect(address);
                client.set_read_timeout(Some(DEADLINE)).unwrap();
                client.exchange(LINE);
            }
        }
    });
}

/// What the kernel holds for one socket, in bytes: socket(7), SO_MEMINFO.
#[track_caller]
fn held(socket: &OwnedFd) -> u32 {
    // From linux/sock_diag.h; libc has neither.
    const SO_MEMINFO: i32 = 55;
    const RECEIVED: usize = 0;
    const TO_SEND: usize = 5;
    let memory: [u32; 9] = option(socket, libc::SOL_SOCKET, SO_MEMINFO);
    memory[RECEIVED] + memory[TO_SEND]
}

/// A client that sends for ever and takes nothing.
#[test]
fn client_pins_a_quarter_megabyte_at_most() {
    with_big_buffers(|| {
        for way in WAYS {
            let most = pinned_by(way);
            // It is more than one buffer, or nothing was pinned at all.
            assert!(most > 65536, "{way:?}: {most} bytes");
            assert!(most <= 320 << 10, "{way:?}: {most} bytes");
        }
    });
}

/// The most that is held for it until nothing moves any more.
#[track_caller]
fn pinned_by(way: Way) -> u32 {
    let (server, mut client, socket) = socket_by(way, &[]);
    // Its own buffers shall not do in place of the server's.
    set_option(&client, libc::SOL_SOCKET, libc::SO_RCVBUF, 4096);
    client.set_nonblocking(true).unwrap();
    let child = server.only_child();
    let lines = LINE.repeat(10_000);
    let (mut stuck, mut most) = (0, 0);
    eventually("nothing moves any more", || {
        let moved = client.write(&lines).is_ok();
        let waits = !moved && proc::blocked_in_write(child);
        stuck = if waits { stuck + 1 } else { 0 };
        most = most.max(held(&socket));
        stuck == 20
    });
    most
}

/// Standard input and output are the client's socket, as inetd and tcpserver have
/// it: nothing of the server's holds it any longer than its own process does.
#[test]
fn socket_that_is_every_standard_descriptor_is_held_by_none() {
    let pair = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        (client, OwnedFd::from(listener.accept().unwrap().0))
    };
    for options in [&["-i"][..], &["-i", "-v"], &["-i", "-1"]] {
        let (mut client, socket) = pair();
        let server = Server::new()
            .exactly(options)
            .ready(Ready::Unknown)
            .stdin(socket.try_clone().unwrap())
            .stdout(socket.try_clone().unwrap())
            .stderr(socket)
            .start();
        client.exchange(LINE);
        let child = server.only_child();
        for pid in [server.pid(), child] {
            let descriptors = proc::descriptors(pid);
            let low = descriptors.iter().filter(|(number, _)| **number < 3);
            for (number, target) in low {
                assert!(
                    !target.starts_with("socket:"),
                    "{number} of {pid}: {target}"
                );
            }
        }
        all_served_to_their_end(vec![client]);
    }
}

/// The same of a listener: when the server has closed it, nobody has it.
#[test]
fn listener_that_is_every_standard_descriptor_is_gone_when_it_is_closed() {
    for options in [&["-i"][..], &["-iv"]] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = OwnedFd::from(listener);
        let server = Server::new()
            .exactly(options)
            .ready(Ready::Unknown)
            .stdin(listener.try_clone().unwrap())
            .stdout(listener.try_clone().unwrap())
            .stderr(listener)
            .start();
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.exchange(LINE);
        server.signal(libc::SIGTERM);
        eventually("nobody listens", || TcpListener::bind(address).is_ok());
        all_served_to_their_end(vec![client]);
    }
}
