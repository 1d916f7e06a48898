//! The dialogue of rot13d(8), DESCRIPTION, with the clients that people have:
//! the four netcats, socat, telnet.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use crate::support::client::assert_same;
use crate::support::{Lines, Random, Server, eventually, found, rot13, tool};

struct Kind {
    /// The command, with HOST and PORT to be filled in.
    words: &'static [&'static str],
    hosts: &'static [&'static str],
    /// It passes on the end of its input and then waits for the server's.
    half_closes: bool,
}

const BOTH: &[&str] = &["127.0.0.1", "::1"];

const OPENBSD: Kind = Kind {
    words: &["nc.openbsd", "-N", "HOST", "PORT"],
    hosts: BOTH,
    half_closes: true,
};
const TRADITIONAL: Kind = Kind {
    words: &["nc.traditional", "-q", "600", "HOST", "PORT"],
    hosts: &["127.0.0.1"],
    half_closes: true,
};
const NCAT: Kind = Kind {
    words: &["ncat", "HOST", "PORT"],
    hosts: BOTH,
    half_closes: true,
};
const BUSYBOX: Kind = Kind {
    words: &["busybox", "nc", "HOST", "PORT"],
    hosts: BOTH,
    half_closes: true,
};
const SOCAT: Kind = Kind {
    words: &["socat", "-t600", "-", "TCP:HOST:PORT"],
    hosts: BOTH,
    half_closes: true,
};
/// Sends whole lines only, and closes altogether when its input ends.
const TELNET: Kind = Kind {
    words: &["telnet", "HOST", "PORT"],
    hosts: BOTH,
    half_closes: false,
};

#[test]
fn openbsd_netcat() {
    dialogue(&OPENBSD);
}

#[test]
fn traditional_netcat() {
    dialogue(&TRADITIONAL);
}

#[test]
fn ncat() {
    dialogue(&NCAT);
}

#[test]
fn busybox_netcat() {
    dialogue(&BUSYBOX);
}

#[test]
fn socat() {
    dialogue(&SOCAT);
}

#[test]
fn telnet() {
    dialogue(&TELNET);
}

/// A line each way, another, a last one without a newline; then a lot at once.
fn dialogue(kind: &Kind) {
    let server = Server::new().host("0").start();
    for host in kind.hosts {
        let mut client = Client::start(kind, host, &server);
        client.exchange("Hello, world!\n");
        client.exchange("Why did the chicken cross the road?\n");
        if kind.half_closes {
            client.say(b"Gb trg gb gur bgure fvqr!");
        }
        client.assert_ends_with_all_said();
    }
    if kind.half_closes {
        let mut client = Client::start(kind, kind.hosts[0], &server);
        let mut random = Random::seeded();
        let mut lines = String::new();
        while lines.len() < 1 << 20 {
            lines.push_str(&"Lorem ipsum ".repeat(random.below(20)));
            lines.push('\n');
        }
        client.say(lines.as_bytes());
        client.assert_ends_with_all_said();
    }
    server.wait_childless();
}

#[test]
fn several_of_each_at_once() {
    const EACH: usize = 3;
    let kinds = [OPENBSD, TRADITIONAL, NCAT, BUSYBOX, SOCAT, TELNET];
    let server = Server::new().host("0").start();
    let mut clients: Vec<Client> = kinds
        .iter()
        .flat_map(|kind| [kind; EACH])
        .map(|kind| Client::start(kind, "127.0.0.1", &server))
        .collect();
    for round in 1..=3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.exchange(&format!("client {number}, line {round}\n"));
        }
        assert_eq!(server.children().len(), clients.len());
    }
    for client in clients {
        client.assert_ends_with_all_said();
    }
    server.wait_childless();
}

/// `board.sh`, which `make test-board` points at a server elsewhere.
#[test]
fn board_script_passes_with_every_netcat() {
    let server = Server::new().host("0").start();
    let port = server.port();
    thread::scope(|scope| {
        for netcat in ["nc.openbsd", "nc.traditional", "ncat", "busybox nc"] {
            scope.spawn(move || {
                let verdict = run_board_script(netcat, port);
                assert_eq!(verdict, (Some(0), "12 passed, 0 failed".into()), "{netcat}");
            });
        }
    });
    server.wait_childless();
}

#[test]
fn board_script_fails_a_server_that_does_not_keep_lines() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the test run: nothing else can take it out of accept.
    thread::spawn(move || {
        for client in listener.incoming() {
            thread::spawn(|| echo_at_once(client.unwrap()));
        }
    });
    let verdict = run_board_script("nc.openbsd", port);
    assert_eq!(verdict, (Some(1), "9 passed, 3 failed".into()));
}

fn echo_at_once(mut client: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut bytes) {
        if client.write_all(&rot13(&bytes[..count])).is_err() {
            return;
        }
    }
}

/// The exit status and the last line.
fn run_board_script(netcat: &str, port: u16) -> (Option<i32>, String) {
    let output = Command::new(tool("sh"))
        .args(["tests/board.sh", "127.0.0.1", &port.to_string()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NC", netcat)
        .stdin(Stdio::null())
        .output()
        .expect("sh runs");
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    let verdict = text.lines().last().unwrap_or_default();
    (output.status.code(), verdict.to_owned())
}

/// A client's process, killed on drop.
struct Client {
    process: Child,
    input: Option<ChildStdin>,
    output: Lines,
    said: Vec<u8>,
    telnet: bool,
}

impl Client {
    fn start(kind: &Kind, host: &str, server: &Server) -> Self {
        let port = server.port().to_string();
        let fill_in = |word: &&str| {
            // An IPv6 address beside a port stands in brackets.
            let bracketed = word.contains("HOST:") && host.contains(':');
            let host = if bracketed {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            word.replace("HOST", &host).replace("PORT", &port)
        };
        let mut process = Command::new(tool(kind.words[0]))
            .args(kind.words[1..].iter().map(fill_in))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the client starts");
        Client {
            input: process.stdin.take(),
            output: Lines::of(process.stdout.take()),
            process,
            said: Vec::new(),
            telnet: kind.words[0] == "telnet",
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.said.extend(bytes);
        let input = self.input.as_mut().expect("not ended yet");
        input.write_all(bytes).expect("the client reads its input");
    }

    fn exchange(&mut self, line: &str) {
        self.say(line.as_bytes());
        let echo = String::from_utf8(rot13(line.as_bytes())).unwrap();
        eventually(&format!("the echo {echo:?}"), || {
            self.output.text().ends_with(&echo)
        });
    }

    /// Ends its input; the client must then end well, with all echoed.
    fn assert_ends_with_all_said(mut self) {
        drop(self.input.take());
        let process = &mut self.process;
        let status = found("the client ends", || process.try_wait().expect("wait"));
        assert!(status.success(), "{status}");
        let mut heard = self.output.to_end();
        if self.telnet {
            let greeting = heard.find("'^]'.\n").expect("telnet's greeting");
            heard.drain(..greeting + 6);
        }
        assert_same(heard.as_bytes(), &rot13(&self.said));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("heard by {:?}", self.output.text());
        }
    }
}
