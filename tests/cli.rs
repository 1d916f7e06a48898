//! The command line and the start (rot13d(8), OPTIONS, EXIT STATUS and
//! DIAGNOSTICS): every argument is checked in full, nothing is served by
//! accident, and a refusal says what would be right, or what, where and why.
//!
//! Guards against port 99999 silently becoming 34463 (tcpserver, tcpsvd,
//! socat), `-c abc` never serving (tcpserver), a failed bind that leaves the
//! daemon up (xinetd, inetd).

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStringExt;

use crate::support::{Dialogue, Random, Ready, Server, binary, eventually};

const HERE: [&str; 2] = ["127.0.0.1", "0"];
/// The options that take a number, each with the least and the most.
const NUMBERS: [(&str, u32, u32); 8] = [
    ("-b", 0, i32::MAX as u32),
    ("-c", 1, 30_000),
    ("-C", 1, 30_000),
    ("-g", 0, u32::MAX - 1),
    ("-k", 0, i32::MAX as u32),
    ("-t", 0, i32::MAX as u32),
    ("-T", 0, i32::MAX as u32),
    ("-u", 0, u32::MAX - 1),
];
/// No decimal number, or none that fits anywhere.
const BAD_NUMBERS: [&str; 17] = [
    "",
    "abc",
    "1x",
    "x1",
    "+1",
    "-1",
    " 1",
    "1 ",
    "1\n",
    "1.5",
    "1,000",
    "0x10",
    "1e3",
    "4294967296",
    "4294967297",
    "18446744073709551617",
    "99999999999999999999999999999999",
];

const USAGE: &str = "\
usage: rot13d [-1hivV] [-b backlog] [-c limit] [-C per-source] [-g gid] [-k grace]
             [-t idle] [-T lifetime] [-u uid] [host [port]]
";

/// Exit 100; `rot13d: ` and `message` as a line, then the usage; nothing else.
#[track_caller]
fn assert_wrong_usage<S: AsRef<OsStr> + std::fmt::Debug>(
    args: impl IntoIterator<Item = S>,
    message: &str,
) {
    let args: Vec<S> = args.into_iter().collect();
    let run = Server::new().exactly(&args).run();
    let told = format!("{args:.60?}: {run:?}");
    assert_eq!(run.status.code(), Some(100), "{told}");
    assert_eq!(run.stdout, "", "{told}");
    let expected = format!("rot13d: {message}\n{USAGE}");
    assert_eq!(run.stderr, expected, "{args:.60?}");
}

/// What is said of a number out of range, or of what is none.
fn takes(option: &str, least: u32, most: u32) -> String {
    format!("{option} takes a number from {least} to {most}")
}

fn not_a_port(text: &str) -> String {
    format!("{}, not {}", takes("port", 0, 65535), printable(text))
}

fn no_address(text: &str) -> String {
    format!("no IPv4 or IPv6 address: {}", printable(text))
}

/// As a message quotes an argument: one line, and nothing that a terminal obeys.
fn printable(text: &str) -> String {
    let shown = |byte: u8| {
        if matches!(byte, b' '..=b'~') {
            byte as char
        } else {
            '?'
        }
    };
    text.bytes().map(shown).collect()
}

#[test]
fn help_and_version_are_printed_and_nothing_is_served() {
    let version = format!(
        "rot13d {} {}\n",
        env!("CARGO_PKG_VERSION"),
        target_of_the_binary()
    );
    for (option, text) in [("-h", USAGE), ("-V", &version)] {
        for args in [vec![option], vec!["-1v", option, HERE[0], HERE[1]]] {
            let run = Server::new().exactly(&args).run();
            assert_eq!(run.status.code(), Some(0), "{args:?}: {run:?}");
            assert_eq!(run.stdout, text, "{args:?}");
            assert_eq!(run.stderr, "", "{args:?}");
        }
    }
}

/// The target that `-V` names, as far as the file itself tells: elf(5),
/// `e_machine`. (`ROT13D` may name that of another board.)
#[track_caller]
fn target_of_the_binary() -> String {
    let shown = Server::new().exactly(["-V"]).run().stdout;
    let target = shown.trim_end().rsplit(' ').next().unwrap_or_default();
    let file = std::fs::read(binary()).expect("the binary");
    let architectures: &[&str] = match u16::from_le_bytes([file[18], file[19]]) {
        3 => &["i586", "i686"],
        40 => &["arm", "armv7", "thumbv7neon"],
        62 => &["x86_64"],
        183 => &["aarch64"],
        243 => &["riscv64gc", "riscv64"],
        machine => panic!("which machine is {machine}?"),
    };
    let (architecture, system) = target.split_once('-').unwrap_or_default();
    assert!(architectures.contains(&architecture), "{shown:?}");
    // Whatever C library the target is named for: none is used.
    assert_eq!(system, "linux", "{shown:?}");
    target.to_owned()
}

#[test]
fn readiness_is_the_port_and_then_the_end_of_stdout() {
    let server = Server::start();
    eventually("standard output is closed", || server.stdout().ended());
    assert_eq!(server.stdout().text(), format!("{}\n", server.port()));
    server.connect().exchange(b"serving\n");
}

#[test]
fn nothing_is_on_stdout_without_being_asked_for() {
    let server = Server::new()
        .exactly([&["-v"], &HERE[..]].concat())
        .ready(Ready::Log)
        .start();
    server.connect().exchange(b"hello\n");
    server.wait_log("end ");
    assert_eq!(server.stdout().text(), "");
}

#[test]
fn options_are_spelled_as_getopt_has_them() {
    let spellings: [&[&str]; 9] = [
        &["-1", "-v", "-c", "40"],
        &["-1", "-v", "-c40"],
        &["-1vc40"],
        &["-1vc", "40"],
        &["-v1", "-c", "40", "--"],
        &["-c", "40", "-1v"],
        &["-c39", "-c", "40", "-1v"],
        &["-1v1", "-c", "00040"],
        &["-t600", "-T0", "-k0", "-b1024", "-C40", "-vc40", "-1"],
    ];
    for options in spellings {
        let server = Server::new().exactly([options, &HERE].concat()).start();
        server.connect().exchange(b"hello\n");
        let line = server.wait_log("start ");
        assert!(line.ends_with(" 1/40"), "{options:?}: {line}");
    }
}

#[test]
fn options_end_at_the_first_operand() {
    assert_wrong_usage(["--", "-1"], &no_address("-1"));
    assert_wrong_usage(["-"], &no_address("-"));
    assert_wrong_usage(["127.0.0.1", "-1"], &not_a_port("-1"));
    assert_wrong_usage(["127.0.0.1", "0", "-1"], "one argument too many: -1");
    assert_wrong_usage(["--", "--", "0"], &no_address("--"));
}

/// (`-u` and `-g`: see users.rs.)
#[test]
fn smallest_and_largest_numbers_are_taken() {
    let limits = NUMBERS
        .iter()
        .filter(|(option, ..)| !matches!(*option, "-u" | "-g"));
    for (option, least, most) in limits {
        for number in [least, most] {
            let server = Server::new().args([*option, &number.to_string()]).start();
            server.connect().exchange(b"hello\n");
        }
    }
}

#[test]
fn unknown_option_is_wrong_usage() {
    for known in ["1", "i", "v"] {
        assert_wrong_usage([format!("-{known}x")], "unknown option -x");
    }
    for letter in (b'!'..=b'~').map(char::from) {
        if !"1hivVbcCgktTu-".contains(letter) {
            let message = format!("unknown option -{letter}");
            assert_wrong_usage([&format!("-{letter}"), "127.0.0.1", "0"], &message);
        }
    }
    for option in ["--help", "--version", "---", "-1-"] {
        assert_wrong_usage([option], "unknown option --");
    }
    assert_wrong_usage([OsString::from_vec(vec![b'-', 0xfc])], "unknown option -?");
}

#[test]
fn missing_number_is_wrong_usage() {
    for (option, least, most) in NUMBERS {
        let message = takes(option, least, most);
        assert_wrong_usage([option], &message);
        assert_wrong_usage([format!("-1v{}", &option[1..])], &message);
    }
}

#[test]
fn bad_number_is_wrong_usage_for_every_option() {
    for (option, least, most) in NUMBERS {
        // Just outside, in the two widths that a reader of numbers may have.
        let outside = [
            (u64::from(most) + 1).to_string(),
            u32::MAX.to_string(),
            (u64::from(u32::MAX) + 2 + u64::from(least)).to_string(),
        ];
        let below = (least > 0).then(|| (least - 1).to_string());
        let numbers = outside.iter().chain(&below).map(String::as_str);
        for number in BAD_NUMBERS.into_iter().chain(numbers) {
            let message = takes(option, least, most);
            let message = format!("{message}, not {}", printable(number));
            assert_wrong_usage([option, number, "127.0.0.1", "0"], &message);
            if !number.is_empty() {
                let joined = format!("{option}{number}");
                assert_wrong_usage([&joined, "127.0.0.1", "0"], &message);
            }
        }
        let message = format!("{}, not --", takes(option, least, most));
        assert_wrong_usage([option, "--", "127.0.0.1", "0"], &message);
    }
}

#[test]
fn bad_port_is_wrong_usage() {
    for port in BAD_NUMBERS.into_iter().chain(["65536", "99999", "http"]) {
        assert_wrong_usage(["127.0.0.1", port], &not_a_port(port));
    }
}

#[test]
fn bad_address_is_wrong_usage() {
    let addresses = [
        "",
        " ",
        "00",
        "1",
        "*",
        "localhost",
        "43211",
        "2130706433",
        "0x7f000001",
        "127.1",
        "1.2.3",
        "1.2.3.",
        ".1.2.3",
        "1..2.3",
        "1.2.3.4.",
        "1.2.3.4.5",
        "1.2.3.4x",
        "1.2.3.x",
        "1.2.3.-4",
        "1.2.3.+4",
        "1.2.3.04",
        "1.2.3.256",
        "1.2.3.4294967297",
        "1.2.3.4/8",
        "127.0.0.1:80",
        " 127.0.0.1",
        "127.0.0.1 ",
        ":",
        ":1",
        "1:",
        ":::",
        "::1:",
        ":1::",
        "1:::2",
        "1::2::3",
        "::g",
        "::12345",
        "12345::",
        "::-1",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::",
        "::1:2:3:4:5:6:7:8",
        "1:2:3:4::5:6:7:8",
        "::1.2.3",
        "::1.2.3.256",
        "::1.2.3.4:5",
        "1:2:3:4:5:6:7:1.2.3.4",
        "[::1]",
        "::1/128",
        "::1 ",
        "::1%lo",
    ];
    for address in addresses {
        assert_wrong_usage([address, "0"], &no_address(address));
        assert_wrong_usage([address], &no_address(address));
    }
}

#[test]
fn one_argument_too_many_is_wrong_usage() {
    for surplus in ["surplus", "", "two words"] {
        let message = format!("one argument too many: {surplus}");
        assert_wrong_usage(["127.0.0.1", "0", surplus], &message);
        assert_wrong_usage(["-1", "--", "127.0.0.1", "0", surplus, "more"], &message);
    }
}

#[test]
fn arguments_of_any_bytes_and_length_are_refused_in_order() {
    let bytes: Vec<u8> = (1..=0xff).collect();
    let shown: String = bytes
        .iter()
        .map(|&byte| {
            if matches!(byte, b' '..=b'~') {
                byte as char
            } else {
                '?'
            }
        })
        .collect();
    for (bytes, shown) in bytes.chunks(64).zip(shown.as_bytes().chunks(64)) {
        let shown = std::str::from_utf8(shown).expect("ASCII");
        let argument = OsString::from_vec([b"x", bytes].concat());
        assert_wrong_usage([argument], &format!("no IPv4 or IPv6 address: x{shown}"));
    }
    // What is too long for a message is cut.
    let long = "x".repeat(100_000);
    for length in [100, 250, 256, 257, 1000, 4096, 100_000] {
        let word = &long[..length];
        for (args, message) in [
            (["--", word], "no IPv4 or IPv6 address: "),
            (["-c", word], "-c takes a number from 1 to 30000, not "),
            (
                ["127.0.0.1", word],
                "port takes a number from 0 to 65535, not ",
            ),
        ] {
            let run = Server::new().exactly(args).run();
            let told = format!("{message}, {length}: {run:?}");
            assert_eq!(run.status.code(), Some(100), "{told}");
            let line = run.stderr.strip_suffix(USAGE).expect(&told);
            let line = line.strip_suffix('\n').expect(&told);
            let quoted = line
                .strip_prefix(&format!("rot13d: {message}"))
                .expect(&told);
            assert!(quoted.bytes().all(|byte| byte == b'x'), "{told}");
            assert!((100..=length).contains(&quoted.len()), "{told}");
        }
    }
}

#[test]
fn wrong_usage_touches_no_socket() {
    for args in [
        &["-x"][..],
        &["-c"],
        &["-c", "0"],
        &["127.0.0.1", "99999"],
        &["nowhere", "0"],
        &["127.0.0.1", "0", "surplus"],
    ] {
        let server = Server::new()
            .strace([
                "-e",
                "trace=socket,socketpair,bind,listen,setsockopt,connect",
            ])
            .exactly(args)
            .ready(Ready::Unknown)
            .start();
        assert!(server.stderr().to_end().ends_with(USAGE), "{args:?}");
        assert_eq!(server.trace(), [""; 0], "{args:?}");
    }
}

#[test]
fn address_is_logged_once_listening() {
    let cases = [
        ("0", "[::]"),
        ("0.0.0.0", "0.0.0.0"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.255.255.254", "127.255.255.254"),
        ("::", "[::]"),
        ("::1", "[::1]"),
        ("0:0:0:0:0:0:0:1", "[::1]"),
        ("0000:0000::0001", "[::1]"),
        ("::0.0.0.1", "[::1]"),
    ];
    for (host, shown) in cases {
        let server = Server::new().host(host).start();
        let line = server.wait_log("listening");
        let port = server.port();
        assert_eq!(line, format!("rot13d: listening on {shown}:{port}"));
    }
}

#[test]
fn port_asked_for_is_the_port_served() {
    let port = free_port();
    let server = Server::new().port(port).start();
    assert_eq!(server.port(), port);
    server.connect().exchange(b"hello\n");
}

/// A port that the kernel gives to nobody who does not ask for it.
fn free_port() -> u16 {
    let mut random = Random::seeded();
    let mut ports = std::iter::repeat_with(|| 20_000 + random.below(12_000) as u16);
    let free = |&port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    ports.find(free).unwrap()
}

/// In a network of its own, where the port is certainly free.
#[test]
fn default_is_every_address_and_port_43211() {
    for args in [&[][..], &["0"]] {
        let server = Server::new()
            .under(["unshare", "-n"])
            .exactly(args)
            .ready(Ready::Log)
            .start();
        assert_eq!(server.log()[0], "rot13d: listening on [::]:43211");
        assert_eq!(server.stdout().text(), "");
    }
}

#[test]
fn host_0_is_ipv4_alone_in_a_kernel_without_ipv6() {
    let server = Server::new()
        .strace(["-e", "inject=socket:error=EAFNOSUPPORT:when=1"])
        .host("0")
        .start();
    let port = server.port();
    server.wait_log(&format!("rot13d: listening on 0.0.0.0:{port}"));
    server.connect().exchange(b"hello\n");
}

/// Exit 111 and one line: the call, the address and the reason.
#[track_caller]
fn assert_refused(run: crate::support::Builder, message: &str) {
    let run = run.run();
    assert_eq!(run.status.code(), Some(111), "{message}: {run:?}");
    assert_eq!(run.stderr, format!("rot13d: fatal: {message}\n"));
    assert_eq!(run.stdout, "");
}

#[test]
fn port_in_use_is_refused() {
    for (host, shown) in [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0", "[::]")] {
        let first = Server::new().host(host).start();
        let port = first.port().to_string();
        assert_refused(
            Server::new().exactly(["-1", host, &port]),
            &format!("bind {shown}:{port}: address in use"),
        );
        first.connect().exchange(b"undisturbed\n");
    }
}

#[test]
fn address_of_another_host_is_refused() {
    assert_refused(
        Server::new().exactly(["-1", "192.0.2.1", "0"]),
        "bind 192.0.2.1:0: address not available",
    );
    // Shown as RFC 5952 has it, whatever it was written like.
    for (address, shown) in [
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:0db8::192.0.2.1", "2001:db8::c000:201"),
    ] {
        assert_refused(
            Server::new().exactly(["-1", address, "4321"]),
            &format!("bind [{shown}]:4321: address not available"),
        );
    }
}

/// In a network of its own, where the low ports are certainly reserved.
#[test]
fn low_port_is_refused_to_an_ordinary_user() {
    for (host, shown) in [("0.0.0.0", "0.0.0.0"), ("0", "[::]")] {
        let ordinary = Server::new()
            .under(["unshare", "-n"])
            .before_exec(|| {
                const CAP_NET_BIND_SERVICE: libc::c_ulong = 10;
                // SAFETY: this option takes a number.
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0) };
                Ok(())
            })
            .exactly(["-1", host, "80"]);
        let message = format!("bind {shown}:80: permission denied");
        assert_refused(ordinary, &message);
    }
}

#[test]
fn refusal_names_the_call() {
    for call in ["socket", "setsockopt", "bind", "listen"] {
        let refused = Server::new()
            .strace(["-e", &format!("inject={call}:error=EACCES")])
            .exactly(["-1", "127.0.0.1", "4321"]);
        assert_refused(
            refused,
            &format!("{call} 127.0.0.1:4321: permission denied"),
        );
    }
}

/// Whichever option of the listener it is; the last one is of IPv6 alone.
#[test]
fn refusal_of_every_option_names_the_address() {
    for (host, shown, options) in [("127.0.0.1", "127.0.0.1", 7), ("::1", "[::1]", 8)] {
        for nth in 1..=options {
            let refused = Server::new()
                .strace(["-e", &format!("inject=setsockopt:error=EACCES:when={nth}")])
                .exactly(["-1", host, "4321"]);
            assert_refused(
                refused,
                &format!("setsockopt {shown}:4321: permission denied"),
            );
        }
    }
}

/// An address that was asked for is not made up for by another.
#[test]
fn ipv6_address_is_refused_in_a_kernel_without_ipv6() {
    let refused = Server::new()
        .strace(["-e", "inject=socket:error=EAFNOSUPPORT:when=1"])
        .exactly(["-1", "::1", "4321"]);
    assert_refused(refused, "socket [::1]:4321: address family not supported");
}

#[test]
fn reasons_are_told_in_these_words() {
    for (error, words) in [
        ("EPERM", "not permitted"),
        ("EAGAIN", "temporarily unavailable"),
        ("ENOMEM", "out of memory"),
        ("EACCES", "permission denied"),
        ("EINVAL", "invalid argument"),
        ("ENFILE", "file table full"),
        ("EMFILE", "too many open files"),
        ("ENOTSOCK", "not a socket"),
        ("EAFNOSUPPORT", "address family not supported"),
        ("EADDRINUSE", "address in use"),
        ("EADDRNOTAVAIL", "address not available"),
        ("ENOBUFS", "no buffer space"),
        // Any other by its number.
        ("EIO", "error 5"),
        ("ENOTTY", "error 25"),
        ("EHWPOISON", "error 133"),
    ] {
        let refused = Server::new()
            .strace(["-e", &format!("inject=bind:error={error}")])
            .exactly(["-1", "127.0.0.1", "4321"]);
        assert_refused(refused, &format!("bind 127.0.0.1:4321: {words}"));
    }
}
