//! Ways in with `-i` (rot13d(8), OPTIONS): standard input is the socket, a
//! listening one or a connected one, as inetd, systemd, tcpserver and socat
//! hand it over; and the restart that loses no connection.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client;
use crate::support::crowd::{LINE, all_served_to_their_end, assert_asleep, crowd, served, waiting};
use crate::support::kernel::{can_be_played, lacking, without_cookies};
use crate::support::launcher::{Launcher, server_words};
use crate::support::network::in_own_network;
use crate::support::{
    Builder, DEADLINE, Dialogue, Ready, Scratch, Server, assert_in_time, eventually, found, proc,
    rot13, signal_process,
};

fn serve_on(listener: &TcpListener, options: &[&str]) -> Server {
    Server::new()
        .exactly([&["-i"], options].concat())
        .ready(Ready::Log)
        .stdin(OwnedFd::from(listener.try_clone().unwrap()))
        .start()
}

#[test]
fn inherited_listener_is_served() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = serve_on(&listener, &["-1"]);
        assert_eq!(server.log(), [format!("rot13d: listening on {address}")]);
        eventually("standard output is closed", || server.stdout().ended());
        assert_eq!(server.stdout().text(), format!("{}\n", address.port()));
        let clients = (0..3).map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            client.exchange(LINE);
            client
        });
        let clients: Vec<TcpStream> = clients.collect();
        assert_eq!(server.children().len(), 3);
        server.signal(libc::SIGTERM);
        all_served_to_their_end(clients);
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

#[test]
fn inherited_listener_that_does_not_block_is_made_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let server = serve_on(&listener, &[]);
    assert_asleep(&server);
    all_served_to_their_end(crowd(&server, 3));
    server.wait_childless();
    assert_asleep(&server);
}

/// It would be each client's as well, and under -t 0 nothing else would be set.
#[test]
fn timeout_of_whoever_opened_the_socket_is_not_kept() {
    let timeout = Some(Duration::from_millis(50));
    let set_timeout = |socket: &OwnedFd| {
        let socket = TcpStream::from(socket.try_clone().unwrap());
        socket.set_read_timeout(timeout).unwrap();
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_timeout(&OwnedFd::from(listener.try_clone().unwrap()));
    let server = serve_on(&listener, &["-t", "0"]);
    assert_asleep(&server);
    let clients = crowd(&server, 2);

    let (mut alone, socket) = connection();
    set_timeout(&socket.try_clone().unwrap().into());
    let mut other = serve_only(socket, &["-t", "0"]).start();
    alone.exchange(LINE);
    thread::sleep(Duration::from_secs(1));
    all_served_to_their_end(clients);
    all_served_to_their_end(vec![alone]);
    assert_eq!(other.wait_exit().code(), Some(0));
    assert_eq!(server.log().len(), 1, "{:?}", server.log());
}

#[test]
fn limits_hold_on_an_inherited_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = serve_on(&listener, &["-c", "1", "-t", "1"]);
    let begin = Instant::now();
    let mut first = served(&server);
    let mut next = waiting(&server);
    first.assert_end();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    next.hear_echo_of(LINE);
}

/// The name of a socket of this machine alone, as long as one can be.
fn local_name(name: &str) -> libc::sockaddr_un {
    let mut address = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as u16,
        sun_path: [b'n' as libc::c_char; 108],
    };
    // The first byte says that it is no file.
    let name = format!("\0{}{name}", std::process::id());
    for (to, from) in address.sun_path.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    address
}

/// bind(2) or connect(2).
type Naming = unsafe extern "C" fn(i32, *const libc::sockaddr, u32) -> i32;

fn name(socket: &OwnedFd, call: Naming, name: &str) {
    let address = local_name(name);
    let length = size_of_val(&address) as u32;
    // SAFETY: the address is as long as is said.
    let result = unsafe { call(socket.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn unnamed_socket() -> OwnedFd {
    // SAFETY: makes a descriptor, which is ours.
    unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0);
        OwnedFd::from_raw_fd(socket)
    }
}

fn local_socket(own: &str) -> OwnedFd {
    let socket = unnamed_socket();
    name(&socket, libc::bind, own);
    socket
}

/// The same with the name of a file.
#[track_caller]
fn call_with_path(socket: &OwnedFd, call: Naming, path: &std::path::Path) {
    let mut address = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as u16,
        sun_path: [0; 108],
    };
    let name = path.as_os_str().as_encoded_bytes();
    assert!(name.len() < 108, "{path:?} is too long for an address");
    for (to, from) in address.sun_path.iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    let length = size_of_val(&address) as u32;
    // SAFETY: the address is as long as is said.
    let result = unsafe { call(socket.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(result, 0, "{path:?}: {}", std::io::Error::last_os_error());
}

/// A local name is longer than an address of the internet: what the table of
/// clients has no room for must not be written behind it.
#[test]
fn long_names_of_local_clients_hurt_no_other() {
    let listener = local_socket("server");
    // SAFETY: touches no memory.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 5) }, 0);
    let server = Server::new().exactly(["-i", "-v", "-c", "3"]);
    let server = server.ready(Ready::Unknown).stdin(listener).start();
    let clients = ["one", "two", "three"].map(|own| {
        let client = local_socket(own);
        name(&client, libc::connect, "server");
        let mut client = UnixStream::from(client);
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(LINE).unwrap();
        let mut echo = vec![0; LINE.len()];
        client.read_exact(&mut echo).unwrap();
        assert_eq!(echo, rot13(LINE));
        client
    });
    assert_eq!(server.children().len(), 3, "one process each");
    drop(clients);
    server.wait_childless();
    eventually("each is counted out", || {
        let log = server.log();
        let ends: Vec<&String> = log.iter().filter(|line| line.contains(": end ")).collect();
        ends.len() == 3 && ends[2].ends_with(" exit 0 0/3")
    });
}

/// Clients of every kind that a UNIX-domain listener has: without a name, with
/// the name of a file, with one of this machine alone.
#[track_caller]
fn local_clients(path: &std::path::Path, scratch: &Scratch) -> Vec<UnixStream> {
    let named = unnamed_socket();
    call_with_path(&named, libc::bind, &scratch.path("c"));
    let clients = [unnamed_socket(), named, local_socket("client")];
    let connected = clients.into_iter().map(|client| {
        call_with_path(&client, libc::connect, path);
        UnixStream::from(client)
    });
    connected.collect()
}

/// It has no port: rot13d(8), OPTIONS.
#[test]
fn no_port_of_a_local_listener_is_printed() {
    let listener = local_socket("portless");
    // SAFETY: touches no memory.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 5) }, 0);
    let server = Server::new().exactly(["-i1"]).ready(Ready::Unknown);
    let server = server.stdin(listener).start();
    server.wait_log("listening on local");
    assert_eq!(server.stdout().to_end(), "");
}

#[test]
fn local_clients_are_called_so_and_counted_for_no_source() {
    let scratch = Scratch::new();
    let path = scratch.path("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let server = Server::new()
        .exactly(["-i", "-v", "-C", "1", "-c", "9"])
        .ready(Ready::Unknown)
        .stdin(OwnedFd::from(listener))
        .start();
    let mut clients = local_clients(&path, &scratch);
    for client in &mut clients {
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(LINE).unwrap();
        let mut echo = vec![0; LINE.len()];
        client.read_exact(&mut echo).expect("it is served");
        assert_eq!(echo, rot13(LINE));
    }
    let children = server.children();
    assert_eq!(children.len(), 3, "nobody is refused");
    eventually("each start is told", || {
        server
            .log()
            .iter()
            .filter(|line| line.contains(": start "))
            .count()
            == 3
    });
    for pid in children {
        let line = server.wait_log(&format!("start {pid} "));
        let start = format!("rot13d: start {pid} local ");
        assert!(line.starts_with(&start) && line.ends_with("/9"), "{line}");
    }
    // No address is made up of what is none.
    let log = server.log();
    let listening = log.iter().find(|line| line.contains("listening"));
    let listening = listening.expect("it says that it listens");
    assert_eq!(listening, "rot13d: listening on local");
    assert!(!log.iter().any(|line| line.contains("refused")), "{log:#?}");
    drop(clients);
    server.wait_childless();
    server.wait_log(" 0/9");
}

#[test]
fn socket_pair_is_called_local() {
    let (client, socket) = UnixStream::pair().unwrap();
    let mut server = serve_only(socket, &["-v", "-C", "1"]).start();
    drop(client);
    assert_eq!(server.wait_exit().code(), Some(0));
    let log = server.stderr().to_end();
    assert!(log.contains(" local 1/"), "{log}");
}

#[test]
fn listener_stays_with_its_owner() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut old = serve_on(&listener, &[]);
    let client = served(&old);
    old.signal(libc::SIGTERM);
    eventually("it has closed its listener", || {
        let targets = old.descriptors().into_values();
        targets
            .filter(|target| target.starts_with("socket:"))
            .count()
            == 0
    });
    // Nobody accepts at the moment, and nobody is turned away.
    let mut next = waiting(&old);
    all_served_to_their_end(vec![client]);
    assert_eq!(old.wait_exit().code(), Some(0));
    next.assert_silent();
    let _new = serve_on(&listener, &[]);
    next.hear_echo_of(LINE);
}

#[test]
fn restart_under_load_loses_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (over, count) = (&AtomicBool::new(false), &AtomicUsize::new(0));
    let mut server = serve_on(&listener, &[]);
    thread::scope(|scope| {
        for source in 1..=4 {
            let source = format!("127.0.2.{source}").parse().ok();
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut client = client::connect(address, source, None).unwrap();
                    client.exchange(LINE);
                    client.exchange(b"and once more\n");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..10 {
            let before = count.load(Ordering::Relaxed);
            eventually("there is load", || {
                count.load(Ordering::Relaxed) > before + 100
            });
            let new = serve_on(&listener, &[]);
            server.signal(libc::SIGTERM);
            assert_eq!(server.wait_exit().code(), Some(0));
            server = new;
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// Both ends of a connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A server for that one socket.
fn serve_only(socket: impl Into<OwnedFd>, options: &[&str]) -> Builder {
    Server::new()
        .exactly([&["-i"], options].concat())
        .ready(Ready::Unknown)
        .stdin(Stdio::from(socket.into()))
}

#[test]
fn connected_socket_is_served_alone() {
    let (mut client, socket) = connection();
    let address = client.local_addr().unwrap();
    let mut server = serve_only(socket, &["-v"]).start();
    client.exchange(LINE);
    client.say(b"the end");
    client.half_close();
    assert_eq!(client.hear_rest(), rot13(b"the end"));
    assert_eq!(server.wait_exit().code(), Some(0));
    let log = server.stderr().to_end();
    let [start, end] = log.lines().collect::<Vec<_>>()[..] else {
        panic!("{log}");
    };
    assert!(start.starts_with("rot13d: start "), "{log}");
    assert!(start.contains(&format!(" {address} 1/")), "{log}");
    assert!(end.starts_with("rot13d: end "), "{log}");
    assert!(end.contains(" exit 0 0/"), "{log}");
}

/// Whoever opened it may have made it non-blocking. Then a read that finds nothing
/// would be taken for a part of the idle limit.
#[test]
fn connected_socket_that_does_not_block_is_made_to() {
    let (mut client, socket) = connection();
    socket.set_nonblocking(true).unwrap();
    let mut server = serve_only(socket, &[]).start();
    for _ in 0..2 {
        let child = server.only_child();
        eventually("it sleeps until its client says something", || {
            proc::blocked_in_read(child)
        });
        client.exchange(LINE);
    }
    all_served_to_their_end(vec![client]);
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn socket_pair_will_do() {
    let (mut client, socket) = UnixStream::pair().unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut server = serve_only(socket, &["-v"]).start();
    client.write_all(LINE).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(
        std::io::read_to_string(client).unwrap().as_bytes(),
        rot13(LINE)
    );
    assert_eq!(server.wait_exit().code(), Some(0));
}

/// It hears its line, its end and nothing else; then the server ends in order.
#[track_caller]
fn assert_served_to_its_end(mut client: TcpStream, mut server: Server) {
    client.exchange(LINE);
    client.half_close();
    client.assert_end();
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn nothing_but_echo_reaches_a_client_that_is_stdout_and_stderr_too() {
    let (client, socket) = connection();
    let server = serve_only(socket.try_clone().unwrap(), &["-v", "-1"])
        .stdout(OwnedFd::from(socket.try_clone().unwrap()))
        .stderr(OwnedFd::from(socket))
        .start();
    assert_served_to_its_end(client, server);
}

/// A kernel that does not say which socket a descriptor is (rot13d(8), NOTES).
#[test]
fn nothing_but_echo_reaches_a_client_that_is_stderr_too_in_an_old_kernel() {
    if !can_be_played() {
        println!("an emulator has sockets of its own: not tried");
        return;
    }
    let (client, socket) = connection();
    let server = serve_only(socket.try_clone().unwrap(), &["-v"]).stderr(OwnedFd::from(socket));
    let server = without_cookies(server).start();
    assert_served_to_its_end(client, server);
}

/// What is missing here is told as well, but not to the client.
#[test]
fn nothing_but_echo_reaches_a_client_that_is_stderr_in_a_kernel_that_lacks_much() {
    if !can_be_played() {
        println!("an emulator has these calls of its own: not tried");
        return;
    }
    let (client, socket) = connection();
    let server = serve_only(socket.try_clone().unwrap(), &["-v", "-T", "60", "-k", "60"]);
    let server = server.stderr(OwnedFd::from(socket));
    let server = lacking(server, &["setitimer", "madvise"]).start();
    assert_served_to_its_end(client, server);
}

#[test]
fn client_that_resets_a_connected_socket_is_no_failure() {
    let (mut client, socket) = connection();
    let mut server = serve_only(socket, &[]).start();
    client.exchange(LINE);
    client.reset();
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn limits_on_time_hold_for_a_connected_socket() {
    for limit in ["-t", "-T"] {
        let (mut client, socket) = connection();
        let begin = Instant::now();
        let mut server = serve_only(socket, &[limit, "1"]).start();
        client.exchange(LINE);
        client.assert_end();
        assert!(begin.elapsed() >= Duration::from_secs(1));
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

#[test]
fn limits_on_time_of_a_connected_socket_are_over_in_time() {
    let limit = Duration::from_secs(3);
    thread::scope(|scope| {
        for option in ["-t", "-T", "-k"] {
            scope.spawn(move || {
                assert_in_time(option, limit, || {
                    let (mut client, socket) = connection();
                    let server = serve_only(socket, &[option, "3"]).start();
                    client.exchange(LINE);
                    let begin = Instant::now();
                    if option == "-k" {
                        server.signal(libc::SIGTERM);
                    }
                    client.assert_end();
                    begin.elapsed()
                });
            });
        }
    });
}

#[test]
fn first_signal_spares_the_client_of_a_connected_socket() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (mut client, socket) = connection();
        let mut server = serve_only(socket, &[]).start();
        client.exchange(LINE);
        server.signal(signal);
        thread::sleep(Duration::from_millis(300));
        all_served_to_their_end(vec![client]);
        assert_eq!(server.wait_exit().code(), Some(0));
    }
}

#[test]
fn second_signal_and_grace_end_the_client_of_a_connected_socket() {
    let (mut client, socket) = connection();
    let mut server = serve_only(socket, &["-k", "1"]).start();
    client.exchange(LINE);
    let begin = Instant::now();
    server.signal(libc::SIGTERM);
    client.assert_end();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.wait_exit().code(), Some(0));

    let (mut client, socket) = connection();
    let mut server = serve_only(socket, &[]).start();
    client.exchange(LINE);
    server.signal(libc::SIGTERM);
    // Two of a kind at once would be one.
    server.signal(libc::SIGINT);
    client.assert_end();
    assert_eq!(server.wait_exit().code(), Some(0));
}

#[test]
fn what_is_no_socket_is_refused() {
    let (pipe, _writer) = std::io::pipe().unwrap();
    for input in [Stdio::null(), pipe.into()] {
        let run = Server::new().exactly(["-i"]).stdin(input).run();
        assert_eq!(run.status.code(), Some(111), "{run:?}");
        assert!(
            run.stderr.starts_with("rot13d: fatal: standard input: "),
            "{run:?}"
        );
        assert!(run.stderr.contains("socket"), "{run:?}");
    }
    let run = Server::new().exactly(["-i"]).closed(0).run();
    assert_eq!(run.status.code(), Some(111), "{run:?}");
    assert!(run.stderr.contains("standard input"), "{run:?}");
}

const PORT: u16 = 43211;
const HERE: &str = "127.0.0.1:43211";

/// A client of whoever listens on `PORT`, as soon as he does.
#[track_caller]
fn knock() -> TcpStream {
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    found("somebody listens", || {
        client::connect(address, None, None).ok()
    })
}

/// Served as by a server of our own: several at once, each to its end.
#[track_caller]
fn assert_serves_a_process_each(launcher: &Launcher) {
    let mut clients = [knock(), knock(), knock()];
    for client in &mut clients {
        client.exchange(LINE);
    }
    eventually("a server for each", || {
        launcher.servers().len() == clients.len()
    });
    all_served_to_their_end(clients.into());
    launcher.wait_serverless();
}

/// The one server, with a child for each of its clients.
#[track_caller]
fn assert_serves_by_one_process(launcher: &Launcher) -> i32 {
    let mut clients = [knock(), knock(), knock()];
    for client in &mut clients {
        client.exchange(LINE);
    }
    let [server] = launcher.servers()[..] else {
        panic!("{:?}", launcher.servers());
    };
    eventually("a process for each", || {
        proc::children(server).len() == clients.len()
    });
    all_served_to_their_end(clients.into());
    server
}

fn inetd_line(wait: &str, options: &str) -> String {
    let words = server_words();
    let program = &words[0];
    format!(
        "{HERE} stream tcp {wait} root {program} {} {options}\n",
        words.join(" ")
    )
}

#[test]
fn inetd_wait_hands_over_its_listener() {
    let scratch = Scratch::new();
    let file = scratch.path("inetd.conf");
    fs::write(&file, inetd_line("wait", "-iv")).unwrap();
    in_own_network(|| {
        let inetd = Launcher::start("inetd", &["-i", file.to_str().unwrap()]);
        let server = assert_serves_by_one_process(&inetd);
        assert_eq!(assert_serves_by_one_process(&inetd), server);
        // It has ended: inetd listens itself, and starts the next one.
        signal_process(server, libc::SIGTERM);
        inetd.wait_serverless();
        assert_ne!(assert_serves_by_one_process(&inetd), server);
    });
}

#[test]
fn inetd_nowait_hands_over_each_connection() {
    let scratch = Scratch::new();
    let file = scratch.path("inetd.conf");
    fs::write(&file, inetd_line("nowait", "-iv")).unwrap();
    in_own_network(|| {
        let inetd = Launcher::start("inetd", &["-i", file.to_str().unwrap()]);
        assert_serves_a_process_each(&inetd);
    });
}

/// The server's command line behind that of `program`.
fn launch(program: &str, args: &[&str]) -> Launcher {
    let words = server_words();
    let words = words.iter().map(String::as_str);
    let args: Vec<&str> = args.iter().copied().chain(words).chain(["-iv"]).collect();
    Launcher::start(program, &args)
}

#[test]
fn tcpserver_hands_over_each_connection() {
    in_own_network(|| {
        let port = PORT.to_string();
        let tcpserver = launch("tcpserver", &["-RHl0", "127.0.0.1", &port]);
        assert_serves_a_process_each(&tcpserver);
    });
}

#[test]
fn socat_hands_over_a_socket_pair() {
    in_own_network(|| {
        let listen = format!("TCP-LISTEN:{PORT},bind=127.0.0.1,fork");
        let exec = format!("EXEC:{} -iv", server_words().join(" "));
        let socat = Launcher::start("socat", &[&listen, &exec]);
        assert_serves_a_process_each(&socat);
    });
}

#[test]
fn systemd_hands_over_its_listener() {
    in_own_network(|| {
        let systemd = launch("systemd-socket-activate", &["--inetd", "-l", HERE, "--"]);
        let server = assert_serves_by_one_process(&systemd);
        assert_eq!(assert_serves_by_one_process(&systemd), server);
    });
}

#[test]
fn systemd_hands_over_each_connection() {
    in_own_network(|| {
        let options = ["--inetd", "--accept", "-l", HERE, "--"];
        let systemd = launch("systemd-socket-activate", &options);
        assert_serves_a_process_each(&systemd);
    });
}
