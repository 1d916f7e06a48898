//! The command line: every option with every class of value, in every
//! spelling that getopt(3) takes; every usage error in full.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rot13d_pure::args::{self, Config, IDLE_PARTS, Invocation, MOST_CLIENTS, idle_part};
use rot13d_pure::usage::{USAGE, UsageError};

use super::shown;

/// What a command line comes to, or what is wrong with it.
fn parse<'a>(
    words: impl Iterator<Item = &'a [u8]>,
) -> Result<(Invocation, Config), UsageError<'a>> {
    let mut config = Config::DEFAULT;
    args::parse(&mut config, words).map(|invocation| (invocation, config))
}

/// The same with the message about what is wrong.
fn parsed(words: &[&str]) -> Result<(Invocation, Config), String> {
    let words = words.iter().map(|text| text.as_bytes());
    parse(words).map_err(|error| shown(&error))
}

#[track_caller]
fn accepted(words: &[&str]) -> Config {
    match parsed(words) {
        Ok((Invocation::Serve, config)) => config,
        other => panic!("{words:?}: {other:?}"),
    }
}

/// A usage error with this message.
#[track_caller]
fn refused(words: &[&str], message: &str) {
    let error = parsed(words).expect_err("a usage error");
    assert_eq!(error, message, "{words:?}");
}

/// An option with a number, its range, and where the number goes.
type Numeric = (char, u32, u32, fn(&Config) -> Option<u32>);

const INTEGER: u32 = i32::MAX as u32;
/// The last number of 32 bits means "none" to the kernel.
const LAST_ID: u32 = 4_294_967_294;
const NUMERIC: [Numeric; 8] = [
    ('b', 0, INTEGER, |config| Some(config.backlog)),
    ('c', 1, 30_000, |config| Some(config.max_clients)),
    ('C', 1, 30_000, |config| config.max_per_source),
    ('k', 0, INTEGER, |config| Some(config.grace)),
    ('t', 0, INTEGER, |config| Some(config.idle)),
    ('T', 0, INTEGER, |config| Some(config.lifetime)),
    ('u', 0, LAST_ID, |config| config.user),
    ('g', 0, LAST_ID, |config| config.group),
];

/// The message about a number of `-letter`, or about none.
fn range_message(letter: char, value: Option<&str>) -> String {
    let mut numeric = NUMERIC.iter().filter(|numeric| numeric.0 == letter);
    let (_, least, most, _) = numeric.next().expect("an option with a number");
    let message = format!("-{letter} takes a number from {least} to {most}");
    cut(match value {
        Some(value) => format!("{message}, not {value}"),
        None => message,
    })
}

/// What does not fit on a line is cut.
fn cut(mut message: String) -> String {
    message.truncate(rot13d_pure::message::CAPACITY - 1);
    message
}

fn flags(config: &Config) -> (bool, bool, bool) {
    (config.print_port, config.inherit, config.verbose)
}

#[test]
fn defaults() {
    let expected = Config {
        print_port: false,
        inherit: false,
        verbose: false,
        backlog: 1024,
        max_clients: 256,
        max_per_source: None,
        group: None,
        grace: 0,
        idle: 600,
        lifetime: 0,
        user: None,
        host: None,
        port: 43211,
    };
    assert_eq!(accepted(&[]), expected);
    assert_eq!(Config::DEFAULT, expected);
    assert_eq!(MOST_CLIENTS, 30_000);
}

#[test]
fn numbers_in_range() {
    for (letter, least, most, of) in NUMERIC {
        for value in [least, least + 1, 40, most - 1, most] {
            let option = format!("-{letter}");
            let (text, padded) = (value.to_string(), format!("000{value}"));
            let attached = format!("-{letter}{value}");
            let clustered = format!("-1v{letter}");
            let clustered_attached = format!("-1v{letter}{value}");
            for words in [
                &[option.as_str(), &text][..],
                &[&option, &padded],
                &[&attached],
                &[&clustered, &text],
                &[&clustered_attached],
            ] {
                let config = accepted(words);
                assert_eq!(of(&config), Some(value), "{words:?}");
                let clustered = words[0].starts_with("-1v");
                assert_eq!(flags(&config), (clustered, false, clustered));
                let others = NUMERIC.iter().filter(|numeric| numeric.0 != letter);
                let untouched = accepted(&[]);
                for (other, _, _, of) in others {
                    assert_eq!(of(&config), of(&untouched), "{words:?} and -{other}");
                }
                assert_eq!(
                    (config.host, config.port),
                    (untouched.host, untouched.port),
                    "{words:?}"
                );
            }
        }
    }
}

#[test]
fn numbers_of_every_bad_class() {
    for (letter, least, most, _) in NUMERIC {
        let (too_big, wraps) = (most as u64 + 1, (1u64 << 32) + 1);
        let mut bad: Vec<String> = [too_big, wraps, u64::MAX]
            .iter()
            .map(u64::to_string)
            .collect();
        bad.push("18446744073709551617".to_owned());
        bad.push("9".repeat(300));
        let bad_texts = [
            "", "x", "1x", "x1", "-1", "+1", " 1", "1 ", "0x10", "1.5", "1e3", "-",
        ];
        bad.extend(bad_texts.map(str::to_owned));
        bad.push("--".to_owned());
        if least == 1 {
            bad.push("0".to_owned());
        }
        let option = format!("-{letter}");
        for value in &bad {
            let message = range_message(letter, Some(value));
            refused(&[&option, value], &message);
            refused(&[&option, value, "127.0.0.1"], &message);
            if !value.is_empty() {
                refused(&[&format!("-{letter}{value}")], &message);
                refused(&[&format!("-v{letter}{value}")], &message);
            }
        }
        refused(&[&option], &range_message(letter, None));
        refused(&[&format!("-1v{letter}")], &range_message(letter, None));
        // The last one counts, but each is checked.
        let message = range_message(letter, Some("x"));
        refused(&[&option, "x", &option, "7"], &message);
        refused(&[&option, "7", &option, "x"], &message);
        let config = accepted(&[&option, "8", &option, "7"]);
        let numeric = NUMERIC.iter().find(|numeric| numeric.0 == letter);
        assert_eq!(numeric.and_then(|numeric| numeric.3(&config)), Some(7));
    }
}

/// The ranges in their own words, not by a table.
#[test]
fn messages_about_numbers() {
    for (words, message) in [
        (&["-c", "0"][..], "-c takes a number from 1 to 30000, not 0"),
        (&["-c"], "-c takes a number from 1 to 30000"),
        (
            &["-C", "30001"],
            "-C takes a number from 1 to 30000, not 30001",
        ),
        (
            &["-b", "2147483648"],
            "-b takes a number from 0 to 2147483647, not 2147483648",
        ),
        (&["-t-1"], "-t takes a number from 0 to 2147483647, not -1"),
        (&["-T", ""], "-T takes a number from 0 to 2147483647, not "),
        (&["-1vk"], "-k takes a number from 0 to 2147483647"),
        (
            &["-u", "nobody"],
            "-u takes a number from 0 to 4294967294, not nobody",
        ),
        (
            &["-g", "4294967295"],
            "-g takes a number from 0 to 4294967294, not 4294967295",
        ),
        (
            &["0", "99999"],
            "port takes a number from 0 to 65535, not 99999",
        ),
    ] {
        refused(words, message);
    }
}

#[test]
fn errors_say_what_they_are_about() {
    let error = |words: &[&'static str]| {
        let words = words.iter().map(|text| text.as_bytes());
        parse(words).expect_err("a usage error")
    };
    assert_eq!(error(&["-1x"]), UsageError::UnknownOption(b'x'));
    let range = &(1..=30_000);
    assert_eq!(
        error(&["-c", "0"]),
        UsageError::OptionValue(b'c', range, Some(b"0"))
    );
    assert_eq!(error(&["-vc"]), UsageError::OptionValue(b'c', range, None));
    assert_eq!(error(&["nowhere"]), UsageError::Host(b"nowhere"));
    assert_eq!(error(&["::1", "http"]), UsageError::Port(b"http"));
    assert_eq!(error(&["0", "80", "81"]), UsageError::TooMany(b"81"));
}

/// An id is any number that is one to the kernel: also those that would be negative.
#[test]
fn user_and_group_may_be_every_id() {
    for id in [0, 1, 65534, 65535, 65536, INTEGER, INTEGER + 1, LAST_ID] {
        let config = accepted(&["-u", &id.to_string()]);
        assert_eq!((config.user, config.group), (Some(id), None));
        let config = accepted(&["-g", &id.to_string()]);
        assert_eq!((config.user, config.group), (None, Some(id)));
    }
    for option in ["-u", "-g"] {
        for id in ["4294967295", "4294967296", "4294967297", "-2"] {
            let message = format!("{option} takes a number from 0 to 4294967294, not {id}");
            refused(&[option, id], &message);
        }
    }
}

#[test]
fn decimal_numbers() {
    let largest = i32::MAX as u32;
    let largest_text = largest.to_string();
    for (text, value) in [
        ("0", Some(0)),
        ("00007", Some(7)),
        (largest_text.as_str(), Some(largest)),
        ("2147483648", None),
        ("4294967295", None),
        ("4294967296", None),
        ("4294967297", None),
        ("18446744073709551617", None),
        ("", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1 ", None),
        ("1x", None),
        ("0x10", None),
        ("1.0", None),
        ("\u{661}", None),
    ] {
        assert_eq!(number(text), value, "{text:?}");
    }
    for value in 0..=70_000 {
        assert_eq!(number(&value.to_string()), Some(value));
    }
    let zeros = format!("{}7", "0".repeat(100_000));
    assert_eq!(number(&zeros), Some(7));
}

/// The number that `-b` makes of `text`, if it is one.
fn number(text: &str) -> Option<u32> {
    match parsed(&["-b", text]) {
        Ok((Invocation::Serve, config)) => Some(config.backlog),
        _ => None,
    }
}

#[test]
fn every_other_letter_is_refused() {
    for byte in 1..=u8::MAX {
        let letter = char::from(byte);
        if "1hivV".contains(letter) || NUMERIC.iter().any(|numeric| letter == numeric.0) {
            continue;
        }
        let shown = if matches!(byte, b' '..=b'~') {
            letter
        } else {
            '?'
        };
        let message = format!("unknown option -{shown}");
        for option in [&[b'-', byte][..], &[b'-', b'v', byte, b'1']] {
            if option == b"--" {
                continue;
            }
            let error = parse([option].into_iter()).expect_err("a usage error");
            assert_eq!(super::shown(&error), message, "{option:?}");
        }
    }
    refused(&["--version"], "unknown option --");
    refused(&["-v-"], "unknown option --");
}

/// What could break the line, or the terminal on which it is read, is not shown.
#[test]
fn unprintable_bytes_are_shown_as_question_marks() {
    for byte in 1..=u8::MAX {
        let word = [b'<', byte, b'>'];
        let printable = matches!(byte, b' '..=b'~');
        let quoted = format!("<{}>", if printable { byte.into() } else { '?' });
        for (words, message) in [
            (
                &[&word[..]][..],
                format!("no IPv4 or IPv6 address: {quoted}"),
            ),
            (
                &[b"0", &word],
                format!("port takes a number from 0 to 65535, not {quoted}"),
            ),
            (
                &[b"0", b"0", &word],
                format!("one argument too many: {quoted}"),
            ),
            (
                &[b"-c", &word],
                format!("-c takes a number from 1 to 30000, not {quoted}"),
            ),
        ] {
            let error = parse(words.iter().copied()).expect_err("a usage error");
            assert_eq!(shown(&error), message, "byte {byte:#04x}");
        }
    }
    let name = "h\u{f6}st\n\x1b[31m".as_bytes();
    let error = parse([name].into_iter()).expect_err("a usage error");
    assert_eq!(shown(&error), "no IPv4 or IPv6 address: h??st??[31m");
}

#[test]
fn options_without_a_number() {
    for (word, expected) in [
        ("-1", (true, false, false)),
        ("-i", (false, true, false)),
        ("-v", (false, false, true)),
        ("-1iv", (true, true, true)),
        ("-vv", (false, false, true)),
    ] {
        assert_eq!(flags(&accepted(&[word])), expected, "{word}");
    }
}

/// What comes first decides.
#[test]
fn help_and_version() {
    for (words, expected) in [
        (&["-h"][..], Invocation::Help),
        (&["-V"], Invocation::Version),
        (&["-vh"], Invocation::Help),
        (&["-hx"], Invocation::Help),
        (&["-V", "-x"], Invocation::Version),
        (&["-V", "-h"], Invocation::Version),
        (&["-c", "7", "-h", "nowhere"], Invocation::Help),
    ] {
        let outcome = parsed(words).map(|(invocation, _)| invocation);
        assert_eq!(outcome, Ok(expected), "{words:?}");
    }
    refused(&["-x", "-h"], "unknown option -x");
    refused(&["--", "-h"], "no IPv4 or IPv6 address: -h");
    refused(&["-ch"], "-c takes a number from 1 to 30000, not h");
}

#[test]
fn usage_in_full() {
    assert_eq!(
        USAGE,
        "usage: rot13d [-1hivV] [-b backlog] [-c limit] [-C per-source] [-g gid] [-k grace]\n\
         \x20            [-t idle] [-T lifetime] [-u uid] [host [port]]\n"
    );
}

#[test]
fn host_and_port() {
    assert_eq!(
        (accepted(&["0"]).host, accepted(&["0"]).port),
        (None, 43211)
    );
    for words in [
        &["::1", "7"][..],
        &["--", "::1", "7"],
        &["-1", "--", "::1", "7"],
    ] {
        let config = accepted(words);
        assert_eq!(
            (config.host, config.port),
            (Some(Ipv6Addr::LOCALHOST), 7),
            "{words:?}"
        );
    }
    // Not every address, but those of one family.
    assert_eq!(accepted(&["::"]).host, Some(Ipv6Addr::UNSPECIFIED));
    let any = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
    assert_eq!(accepted(&["0.0.0.0"]).host, Some(any));
    for (text, port) in [("0", 0), ("1", 1), ("65535", 65535), ("00080", 80)] {
        assert_eq!(accepted(&["0", text]).port, port);
    }
    for port in [
        "",
        "65536",
        "99999",
        "-1",
        "+80",
        "80 ",
        "http",
        "0x50",
        "4294967376",
    ] {
        let message = format!("port takes a number from 0 to 65535, not {port}");
        refused(&["0", port], &message);
    }
    for host in [
        "",
        "00",
        "-",
        "localhost",
        "43211",
        "127.1",
        "127.0.0.1 ",
        "127.0.0.1:80",
        "[::1]",
        "*",
    ] {
        let message = format!("no IPv4 or IPv6 address: {host}");
        refused(&[host], &message);
        refused(&["-1", host, "80"], &message);
    }
    refused(&["0", "80", "81"], "one argument too many: 81");
    refused(&["0", "80", ""], "one argument too many: ");
    // As in POSIX: no option after the first operand.
    let port = |text| format!("port takes a number from 0 to 65535, not {text}");
    refused(&["0", "-v"], &port("-v"));
    refused(&["--", "-v"], "no IPv4 or IPv6 address: -v");
    refused(&["--", "--"], "no IPv4 or IPv6 address: --");
    refused(&["0", "--"], &port("--"));
    // The first thing that is wrong is told.
    refused(
        &["nowhere", "99999", "x"],
        "no IPv4 or IPv6 address: nowhere",
    );
    refused(&["0", "99999", "x"], &port("99999"));
}

/// All parts together are the idle limit, to the nanosecond.
#[test]
fn every_part_of_the_idle_limit() {
    assert_eq!(IDLE_PARTS, 8);
    assert_eq!(idle_part(0), None);
    assert_eq!(idle_part(1), Some(Duration::from_millis(125)));
    assert_eq!(idle_part(600), Some(Duration::from_secs(75)));
    for idle in (1..100_000).chain([INTEGER - 1, INTEGER, u32::MAX]) {
        let part = idle_part(idle).expect("a limit");
        assert_eq!(part * IDLE_PARTS, Duration::from_secs(idle.into()));
    }
}
