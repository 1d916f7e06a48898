//! HAProxy in front of three servers, which are taken away one after the other
//! under load: with the file of `contrib/`, at the addresses that are in it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{fs, io, thread};

use super::{HAPROXY, assert_without_complaint, run};
use crate::support::network::in_own_network;
use crate::support::{Dialogue, Lines, Scratch, Server, client, eventually, rot13, tool};

const FRONT: &str = "192.0.2.10:43211";
const SERVERS: [(&str, &str); 3] = [
    ("one", "192.0.2.11"),
    ("two", "192.0.2.12"),
    ("three", "192.0.2.13"),
];
const CHECK: &str = "timeout check 5s";
/// However slow this machine is, only a server that is gone fails.
const PATIENT_CHECK: &str = "timeout check 60s";
const ADMIN: &str = "/run/haproxy/admin.sock";

#[test]
fn haproxy_finds_no_fault_with_its_file() {
    let file = HAPROXY.path();
    assert_without_complaint(&run("haproxy", ["-q", "-c", "-f", file.to_str().unwrap()]));
}

/// A running HAProxy.
struct Proxy {
    process: Child,
    admin: PathBuf,
    log: Lines,
    _scratch: Scratch,
}

impl Proxy {
    #[track_caller]
    fn start(check: &str) -> Proxy {
        let scratch = Scratch::new();
        let (file, admin) = (scratch.path("haproxy.cfg"), scratch.path("admin.sock"));
        let text = HAPROXY.text();
        assert!(text.contains(ADMIN) && text.contains(CHECK), "{text}");
        let ours = text.replace(ADMIN, admin.to_str().unwrap());
        let ours = ours.replace(CHECK, check);
        fs::write(&file, ours).expect("a file");
        let mut command = Command::new(tool("haproxy"));
        command.args(["-db", "-f"]).arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // It ends with this thread, however that ends.
        // SAFETY: a plain system call.
        unsafe {
            command.pre_exec(
                || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    -1 => Err(io::Error::last_os_error()),
                    _ => Ok(()),
                },
            )
        };
        let mut process = command.stderr(Stdio::piped()).spawn().expect("haproxy");
        let log = Lines::of(process.stderr.take());
        let proxy = Proxy {
            process,
            admin,
            log,
            _scratch: scratch,
        };
        eventually("it answers questions", || {
            UnixStream::connect(&proxy.admin).is_ok()
        });
        proxy
    }

    /// What it answers on its socket for administrators.
    #[track_caller]
    fn ask(&self, question: &str) -> String {
        let mut socket = UnixStream::connect(&self.admin).expect("its socket");
        writeln!(socket, "{question}").expect("a question");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// A column of its statistics for a server.
    #[track_caller]
    fn stat(&self, server: &str, column: &str) -> String {
        let table = self.ask("show stat");
        let mut lines = table
            .lines()
            .map(|line| line.split(',').collect::<Vec<_>>());
        let head = lines.next().expect("names of columns");
        let at = head.iter().position(|name| *name == column);
        let line = lines.find(|line| line[1] == server);
        line.expect("the server")[at.expect("the column")].to_owned()
    }

    /// Its check has found the server as it says it should.
    fn is_up(&self, server: &str) -> bool {
        self.stat(server, "status") == "UP" && self.stat(server, "check_status") == "L7OK"
    }

    #[track_caller]
    fn wait_up(&self, server: &str) {
        eventually("the check succeeds", || self.is_up(server));
    }

    #[track_caller]
    fn set_state(&self, server: &str, state: &str) {
        let answer = self.ask(&format!("set server rot13d/{server} state {state}"));
        assert_eq!(answer.trim(), "");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("haproxy said: {:#?}", self.log.all());
        }
    }
}

/// All of it, in a network that has the addresses, and with every check passed.
#[track_caller]
fn start_all(check: &str) -> ([Server; 3], Proxy) {
    for address in ["192.0.2.10"]
        .iter()
        .chain(SERVERS.iter().map(|(_, ip)| ip))
    {
        let add = ["address", "add", &format!("{address}/32"), "dev", "lo"];
        assert_without_complaint(&run("ip", add));
    }
    let servers = SERVERS.map(|(_, address)| start_server(address));
    let proxy = Proxy::start(check);
    for (name, _) in SERVERS {
        proxy.wait_up(name);
    }
    (servers, proxy)
}

#[track_caller]
fn start_server(address: &str) -> Server {
    Server::new().host(address).port(43211).start()
}

fn try_connect() -> io::Result<TcpStream> {
    client::connect(FRONT.parse().unwrap(), None, None)
}

#[track_caller]
fn served_client() -> TcpStream {
    let mut client = try_connect().expect("the proxy listens");
    client.exchange(b"Hello\n");
    client
}

/// What a client says to begin with, and whether it was served by then.
fn begin() -> io::Result<TcpStream> {
    let mut client = try_connect()?;
    client.write_all(b"First\n")?;
    let mut echo = [0; 6];
    client.read_exact(&mut echo)?;
    assert_eq!(&echo[..], rot13(b"First\n"));
    Ok(client)
}

/// Runs `body` while clients come, say some lines and go. A client that was served
/// once is served to its end; one that could not begin comes again, and is counted.
#[track_caller]
fn under_load(body: impl FnOnce(&AtomicUsize)) -> usize {
    let (done, served, turned_away) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let load = || {
        while !done.load(Ordering::Relaxed) {
            let Ok(mut client) = begin() else {
                turned_away.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            for _ in 0..5 {
                thread::sleep(Duration::from_millis(2));
                client.exchange(b"and another line\n");
            }
            client.say(b"without an end");
            client.half_close();
            client.hear_echo_of(b"without an end");
            client.assert_end();
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    /// Ends the load, also when the body panics.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        let _done = Done(&done);
        for _ in 0..4 {
            scope.spawn(load);
        }
        body(&served);
    });
    turned_away.load(Ordering::Relaxed)
}

/// Clients in number are served.
#[track_caller]
fn wait_served(served: &AtomicUsize, more: usize) {
    let before = served.load(Ordering::Relaxed);
    eventually("clients are served", || {
        served.load(Ordering::Relaxed) >= before + more
    });
}

#[test]
fn servers_are_drained_and_restarted_in_turn_and_no_client_notices() {
    in_own_network(|| {
        let (mut servers, proxy) = start_all(PATIENT_CHECK);
        let turned_away = under_load(|served| {
            for (server, (name, address)) in servers.iter_mut().zip(SERVERS) {
                wait_served(served, 20);
                let mut old = [(); 6].map(|()| served_client());
                proxy.set_state(name, "drain");
                for client in &mut old {
                    client.exchange(b"Still here\n");
                }
                wait_served(served, 20);
                drop(old);
                eventually("its clients are gone", || proxy.stat(name, "scur") == "0");
                server.signal(libc::SIGTERM);
                assert_eq!(server.wait_exit().code(), Some(0));
                let total = proxy.stat(name, "stot");
                *server = start_server(address);
                eventually("the check succeeds", || {
                    proxy.stat(name, "check_status") == "L7OK"
                });
                assert_eq!(proxy.stat(name, "stot"), total);
                proxy.set_state(name, "ready");
                eventually("it gets clients again", || {
                    proxy.stat(name, "stot") != total
                });
            }
        });
        assert_eq!(turned_away, 0);
    });
}

#[test]
fn server_stopped_without_notice_serves_those_it_has_and_others_take_the_rest() {
    in_own_network(|| {
        let (mut servers, proxy) = start_all(PATIENT_CHECK);
        under_load(|served| {
            for (server, (name, address)) in servers.iter_mut().zip(SERVERS) {
                wait_served(served, 20);
                let mut old = [(); 6].map(|()| served_client());
                server.signal(libc::SIGTERM);
                eventually("the check fails", || proxy.stat(name, "status") == "DOWN");
                for client in &mut old {
                    client.exchange(b"Still here\n");
                }
                wait_served(served, 20);
                drop(old);
                assert_eq!(server.wait_exit().code(), Some(0));
                *server = start_server(address);
                proxy.wait_up(name);
            }
        });
    });
}

/// Its kernel still takes connections.
#[test]
fn server_that_does_not_answer_gets_no_clients() {
    in_own_network(|| {
        let (servers, proxy) = start_all(CHECK);
        let (name, _) = SERVERS[1];
        servers[1].signal(libc::SIGSTOP);
        eventually("the check fails", || proxy.stat(name, "status") == "DOWN");
        let total = proxy.stat(name, "stot");
        let clients = [(); 6].map(|()| served_client());
        assert_eq!(proxy.stat(name, "stot"), total);
        drop(clients);
        servers[1].signal(libc::SIGCONT);
        proxy.wait_up(name);
        eventually("it gets clients again", || {
            drop(served_client());
            proxy.stat(name, "stot") != total
        });
    });
}
