//! The command line and the start (contract, sections 3 and 4): every
//! argument is checked in full, nothing is served by accident, and a refusal
//! says what, where and why.
//!
//! Guards against port 99999 silently becoming 34463 (tcpserver, tcpsvd,
//! socat), `-c abc` never serving (tcpserver), a failed bind that leaves the
//! daemon up (xinetd, inetd).

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStringExt;

use crate::support::{Dialogue, Random, Ready, Server, eventually};

const HERE: [&str; 2] = ["127.0.0.1", "0"];
/// The options that take a number.
const NUMBERS: [&str; 8] = ["-b", "-c", "-C", "-g", "-k", "-t", "-T", "-u"];
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

fn usage() -> String {
    Server::new().exactly(["-h"]).run().stdout
}

/// Exit 100; one line that holds `which`, then the usage; nothing else.
#[track_caller]
fn assert_wrong_usage<S: AsRef<OsStr> + std::fmt::Debug>(
    args: impl IntoIterator<Item = S>,
    which: &str,
    usage: &str,
) {
    let args: Vec<S> = args.into_iter().collect();
    let run = Server::new().exactly(&args).run();
    let told = format!("{args:.60?}: {run:?}");
    assert_eq!(run.status.code(), Some(100), "{told}");
    assert_eq!(run.stdout, "", "{told}");
    let line = run.stderr.strip_suffix(usage);
    let line = line.unwrap_or_else(|| panic!("no usage at the end: {told}"));
    assert!(line.starts_with("rot13d: "), "{told}");
    assert!(line.ends_with('\n'), "no line of its own: {told}");
    assert!(line.contains(which), "{told}");
    if !which.contains('\n') {
        assert_eq!(line.lines().count(), 1, "{told}");
    }
}

#[test]
fn help_and_version_are_printed_and_nothing_is_served() {
    let usage = usage();
    assert!(usage.starts_with("usage: rot13d [-1hivV] "), "{usage:?}");
    assert!(usage.ends_with("[host [port]]\n"), "{usage:?}");
    for letter in "bcCgktTu".chars() {
        assert!(
            usage.contains(&format!("[-{letter} ")),
            "-{letter}: {usage}"
        );
    }
    let version = format!("rot13d {}\n", env!("CARGO_PKG_VERSION"));
    for (option, text) in [("-h", &usage), ("-V", &version)] {
        for args in [vec![option], vec!["-1v", option, HERE[0], HERE[1]]] {
            let run = Server::new().exactly(&args).run();
            assert_eq!(run.status.code(), Some(0), "{args:?}: {run:?}");
            assert_eq!(&run.stdout, text, "{args:?}");
            assert_eq!(run.stderr, "", "{args:?}");
        }
    }
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
    let usage = usage();
    assert_wrong_usage(["--", "-1"], "-1", &usage);
    assert_wrong_usage(["-"], "-", &usage);
    assert_wrong_usage(["127.0.0.1", "-1"], "-1", &usage);
    assert_wrong_usage(["127.0.0.1", "0", "-1"], "-1", &usage);
    assert_wrong_usage(["--", "--", "0"], "--", &usage);
}

#[test]
fn smallest_and_largest_numbers_are_taken() {
    let cases = [
        ("-b", "1"),
        ("-b", "65535"),
        ("-c", "1"),
        ("-c", "30000"),
        ("-C", "1"),
        ("-k", "0"),
        ("-k", "86400"),
        ("-t", "0"),
        ("-t", "86400"),
        ("-T", "0"),
        ("-T", "86400"),
    ];
    for case in cases {
        let server = Server::new().args([case.0, case.1]).start();
        server.connect().exchange(b"hello\n");
    }
}

#[test]
fn unknown_option_is_wrong_usage() {
    let usage = usage();
    for known in ["1", "i", "v"] {
        assert_wrong_usage([format!("-{known}x")], "x", &usage);
    }
    for letter in (b'!'..=b'~').map(char::from) {
        if !"1hivVbcCgktTu-".contains(letter) {
            let option = format!("-{letter}");
            assert_wrong_usage([&option, "127.0.0.1", "0"], &letter.to_string(), &usage);
        }
    }
    for option in ["--help", "--version", "---"] {
        assert_wrong_usage([option], "-", &usage);
    }
}

#[test]
fn missing_number_is_wrong_usage() {
    let usage = usage();
    for option in NUMBERS {
        let letter = &option[1..];
        assert_wrong_usage([option], letter, &usage);
        assert_wrong_usage([format!("-1v{letter}")], letter, &usage);
    }
}

#[test]
fn bad_number_is_wrong_usage_for_every_option() {
    let usage = usage();
    for option in NUMBERS {
        for number in BAD_NUMBERS {
            assert_wrong_usage([option, number, "127.0.0.1", "0"], number, &usage);
            if !number.is_empty() {
                let joined = format!("{option}{number}");
                assert_wrong_usage([&joined, "127.0.0.1", "0"], number, &usage);
            }
        }
        assert_wrong_usage([option, "--", "127.0.0.1", "0"], "--", &usage);
    }
    for number in ["0", "30001", "65536"] {
        assert_wrong_usage(["-c", number, "127.0.0.1", "0"], number, &usage);
    }
}

#[test]
fn bad_port_is_wrong_usage() {
    let usage = usage();
    for port in BAD_NUMBERS {
        assert_wrong_usage(["127.0.0.1", port], port, &usage);
    }
    for port in ["65536", "99999", "http"] {
        assert_wrong_usage(["127.0.0.1", port], port, &usage);
    }
}

#[test]
fn bad_address_is_wrong_usage() {
    let usage = usage();
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
        assert_wrong_usage([address, "0"], address, &usage);
        assert_wrong_usage([address], address, &usage);
    }
}

#[test]
fn one_argument_too_many_is_wrong_usage() {
    let usage = usage();
    assert_wrong_usage(["127.0.0.1", "0", "surplus"], "surplus", &usage);
    assert_wrong_usage(["-1", "--", "127.0.0.1", "0", ""], "", &usage);
}

#[test]
fn arguments_of_any_bytes_and_length_are_refused_in_order() {
    let usage = usage();
    let long = "x".repeat(100_000);
    for length in [100, 1000, 4096, 100_000] {
        assert_wrong_usage([&long[..length], "0"], "xxxx", &usage);
        assert_wrong_usage(["-c", &long[..length]], "xxxx", &usage);
    }
    let bytes = OsString::from_vec((0x80..=0xff).collect());
    assert_wrong_usage([&bytes], "", &usage);
}

#[test]
fn wrong_usage_touches_no_socket() {
    let usage = usage();
    for args in [
        &["-x"][..],
        &["-c"],
        &["-c", "0"],
        &["127.0.0.1", "99999"],
        &["nowhere", "0"],
        &["127.0.0.1", "0", "surplus"],
    ] {
        let server = Server::new()
            .strace(["-e", "trace=%network"])
            .exactly(args)
            .ready(Ready::Unknown)
            .start();
        assert!(server.stderr().to_end().ends_with(&usage), "{args:?}");
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
    for (call, error, reason) in [
        ("socket", "EMFILE", "too many open files"),
        ("bind", "EACCES", "permission denied"),
        ("listen", "EADDRINUSE", "address in use"),
    ] {
        let refused = Server::new()
            .strace(["-e", &format!("inject={call}:error={error}")])
            .exactly(["-1", "127.0.0.1", "4321"]);
        assert_refused(refused, &format!("{call} 127.0.0.1:4321: {reason}"));
    }
}
