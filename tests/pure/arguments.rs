//! The command line: every option with every class of value, in every
//! spelling that getopt(3) takes (contract, section 3).

use rot13d_pure::addr::SocketAddress;
use rot13d_pure::args::{self, KEEP, MOST_CLIENTS, parse};
use rot13d_pure::fmt::id;

use super::{Word, word};

type Config = args::Config<Word>;

/// What a command line comes to: a configuration and where to listen, or the
/// text to print.
fn parsed(words: &[&str]) -> Result<(Config, SocketAddress), (u8, Option<String>)> {
    let (mut config, mut host) = (Config::new(), SocketAddress::every(0, 0));
    match parse(
        &mut config,
        &mut host,
        &mut words.iter().map(|text| word(text.as_bytes())),
    ) {
        0 => Ok((config, host)),
        text => {
            let wrong = config.wrong.map(|word| word.collect());
            Err((
                text,
                wrong.map(|word| String::from_utf8(word).expect("UTF-8")),
            ))
        }
    }
}

#[track_caller]
fn accepted(words: &[&str]) -> (Config, SocketAddress) {
    parsed(words).unwrap_or_else(|text| panic!("{words:?}: {text:?}"))
}

/// A usage error that points at `which`.
#[track_caller]
fn refused(words: &[&str], which: &str) {
    let wrong = parsed(words).expect_err("a usage error");
    assert_eq!(wrong, (id::BAD, Some(which.to_owned())), "{words:?}");
}

/// An option with a number, its range, and where the number goes.
type Numeric = (char, u32, u32, fn(&Config) -> u32);

const SECONDS: u32 = i32::MAX as u32;
const NUMERIC: [Numeric; 8] = [
    ('b', 0, SECONDS, Config::backlog),
    ('c', 1, MOST_CLIENTS, Config::clients),
    ('C', 1, MOST_CLIENTS, Config::per_source),
    ('k', 0, SECONDS, Config::grace),
    ('t', 0, SECONDS, Config::idle),
    ('T', 0, SECONDS, Config::lifetime),
    ('u', 0, SECONDS, Config::user),
    ('g', 0, SECONDS, Config::group),
];

fn flags(config: &Config) -> (bool, bool, bool) {
    (config.ready(), config.inherit(), config.verbose())
}

#[test]
fn defaults() {
    let (config, host) = accepted(&[]);
    assert_eq!(host, SocketAddress::every(0, 43211));
    assert_eq!(flags(&config), (false, false, false));
    let numbers = NUMERIC.map(|(_, _, _, of)| of(&config));
    assert_eq!(numbers, [1024, 256, 0, 0, 600, 0, KEEP, KEEP]);
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
                let (config, _) = accepted(words);
                assert_eq!(of(&config), value, "{words:?}");
                let clustered = words[0].starts_with("-1v");
                assert_eq!(flags(&config), (clustered, false, clustered));
                let others = NUMERIC.iter().filter(|numeric| numeric.0 != letter);
                let (untouched, _) = accepted(&[]);
                for (other, _, _, of) in others {
                    assert_eq!(of(&config), of(&untouched), "{words:?} and -{other}");
                }
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
            refused(&[&option, value], value);
            refused(&[&option, value, "127.0.0.1"], value);
            if !value.is_empty() {
                refused(&[&format!("-{letter}{value}")], value);
                refused(&[&format!("-v{letter}{value}")], value);
            }
        }
        refused(&[&option], &option);
        refused(&[&format!("-1v{letter}")], &format!("-1v{letter}"));
        // The last one counts, but each is checked.
        refused(&[&option, "x", &option, "7"], "x");
        assert!(parsed(&[&option, "8", &option, "7"]).is_ok());
    }
}

#[test]
fn every_other_letter_is_refused() {
    for byte in 1..=127u8 {
        let letter = char::from(byte).to_string();
        if "1hivV-".contains(&letter) || NUMERIC.iter().any(|numeric| letter.contains(numeric.0)) {
            continue;
        }
        for option in [format!("-{letter}"), format!("-v{letter}1")] {
            refused(&[&option], &option);
        }
    }
    refused(&["--version"], "--version");
    refused(&["-v-"], "-v-");
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
        assert_eq!(flags(&accepted(&[word]).0), expected, "{word}");
    }
}

/// What comes first decides.
#[test]
fn help_and_version() {
    for (words, text) in [
        (&["-h"][..], id::USAGE),
        (&["-V"], id::VERSION),
        (&["-vh"], id::USAGE),
        (&["-hx"], id::USAGE),
        (&["-V", "-x"], id::VERSION),
        (&["-V", "-h"], id::VERSION),
    ] {
        assert_eq!(parsed(words).expect_err("a text").0, text, "{words:?}");
    }
    refused(&["-x", "-h"], "-x");
    refused(&["--", "-h"], "-h");
}

#[test]
fn host_and_port() {
    assert_eq!(accepted(&["0"]).1, SocketAddress::every(0, 43211));
    let mut host = SocketAddress::every(0, 0);
    assert!(host.parse(word(b"::1")));
    host.set_port(7);
    for words in [
        &["::1", "7"][..],
        &["--", "::1", "7"],
        &["-1", "--", "::1", "7"],
    ] {
        assert_eq!(accepted(words).1, host, "{words:?}");
    }
    for (text, port) in [("0", 0), ("1", 1), ("65535", 65535), ("00080", 80)] {
        assert_eq!(accepted(&["0", text]).1.port(), port);
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
        refused(&["0", port], port);
    }
    for host in [
        "",
        "00",
        "-",
        "localhost",
        "127.1",
        "127.0.0.1 ",
        "127.0.0.1:80",
        "[::1]",
        "*",
    ] {
        refused(&[host], host);
        refused(&["-1", host, "80"], host);
    }
    refused(&["0", "80", "81"], "81");
    refused(&["0", "80", ""], "");
    // As in POSIX: no option after the first operand.
    refused(&["0", "-v"], "-v");
    refused(&["--", "-v"], "-v");
    refused(&["--", "--"], "--");
}
