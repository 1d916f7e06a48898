//! Addresses: what is accepted is what the standard library accepts (and
//! inet_pton(3) with it), and what is shown reads as there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rot13d_pure::addr::{SocketAddress, V4, V6};
use rot13d_pure::args::{Config, parse};

use super::{Word, line, word};
use crate::support::Random;

fn parsed(text: &[u8]) -> Option<SocketAddress> {
    let mut address = SocketAddress::every(0, 0);
    address.parse(word(text)).then_some(address)
}

fn shown(address: &SocketAddress) -> String {
    line(0, [0; 4], address, None, |text| {
        SocketAddress::show(text);
    })
}

/// As the standard library shows it, but an IPv4 client of a dual-stack
/// socket as IPv4 (contract, section 4).
fn expected(ip: IpAddr, port: u16) -> String {
    SocketAddr::new(ip.to_canonical(), port).to_string()
}

/// Parses `text` here and there; the same must come of it, but for `0`, which is
/// every address.
fn compare(text: &[u8]) {
    if text == b"0" {
        return assert_eq!(parsed(text), Some(SocketAddress::every(0, 0)));
    }
    let theirs = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let ours = parsed(text).map(|mut address| {
        address.set_port(43211);
        (address.family(), shown(&address))
    });
    let theirs = theirs.map(|ip: IpAddr| (if ip.is_ipv4() { V4 } else { V6 }, expected(ip, 43211)));
    assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(text));
}

/// Every sequence of up to `most` of the `tokens`.
fn every_sequence(tokens: &[&str], most: usize, visit: &mut impl FnMut(&[u8])) {
    fn extend(text: &mut Vec<u8>, tokens: &[&str], more: usize, visit: &mut impl FnMut(&[u8])) {
        visit(text);
        if more > 0 {
            for token in tokens {
                let length = text.len();
                text.extend(token.as_bytes());
                extend(text, tokens, more - 1, visit);
                text.truncate(length);
            }
        }
    }
    extend(&mut Vec::new(), tokens, most, visit);
}

#[test]
fn every_short_text() {
    every_sequence(&["0", "1", "f", ":", "."], 8, &mut compare);
}

#[test]
fn every_sequence_of_groups() {
    every_sequence(
        &["0:", "ab:", ":", "12345:", "7", "1.2.3.4"],
        6,
        &mut compare,
    );
    // As many groups as there may be, and more.
    for groups in 0..10 {
        every_sequence(&["1", ":", "::", "::2", "3:4", "5.6.7.8"], 3, &mut |end| {
            compare(&["1:".repeat(groups).as_bytes(), end].concat());
            compare(&[end, ":1".repeat(groups).as_bytes()].concat());
        });
    }
}

#[test]
fn every_sequence_of_octets() {
    let octets = [
        "0", "9", "10", "99", "100", "255", "256", "00", "01", "1000", "", "a",
    ];
    let octets: Vec<String> = octets.iter().map(|octet| format!("{octet}.")).collect();
    let octets: Vec<&str> = octets.iter().map(String::as_str).collect();
    every_sequence(&octets, 4, &mut |text| {
        compare(text);
        compare(text.strip_suffix(b".").unwrap_or_default());
        compare(&[b"::", text.strip_suffix(b".").unwrap_or_default()].concat());
    });
}

/// As many groups, octets and `::` as there may be, and many more.
#[test]
fn every_count_of_groups_and_octets() {
    for (groups, behind) in (0..40).flat_map(|groups| (0..40).map(move |behind| (groups, behind))) {
        for octets in (0..18).chain([32, 64, 1000]) {
            let (groups, behind) = ("1:".repeat(groups), "2:".repeat(behind));
            let octets = ["3"].repeat(octets).join(".");
            for gap in ["", ":", "::"] {
                for end in ["", "4", ":", "::"] {
                    compare([&groups, gap, &behind, &octets, end].concat().as_bytes());
                }
            }
        }
    }
    for part in ["1:", "1.", ":", "::1", "0", "f"] {
        compare(part.repeat(100_000).as_bytes());
    }
}

#[test]
fn every_octet() {
    for octet in 0..=1000 {
        for text in [
            format!("{octet}.0.0.0"),
            format!("0.{octet}.0.0"),
            format!("0.0.0.{octet}"),
            format!("::0.0.{octet}.1"),
        ] {
            compare(text.as_bytes());
        }
    }
}

#[test]
fn every_byte_in_every_place() {
    for text in [
        "1.2.3.4",
        "::",
        "::1",
        "2001:db8::7",
        "::ffff:1.2.3.4",
        "1:2:3:4:5:6:7:8",
    ] {
        for at in 0..=text.len() {
            // No argument has a null byte in it.
            for byte in 1..=255 {
                let mut inserted = text.as_bytes().to_vec();
                inserted.insert(at, byte);
                compare(&inserted);
                let mut replaced = text.as_bytes().to_vec();
                if let Some(place) = replaced.get_mut(at) {
                    *place = byte;
                    compare(&replaced);
                }
            }
        }
    }
}

#[test]
fn random_addresses_and_their_neighbours() {
    let mut random = Random::seeded();
    for _ in 0..50_000 {
        let mut groups = [0u16; 8];
        for group in &mut groups {
            *group = random.next() as u16 >> (random.below(5) * 4).min(15);
        }
        let ip = Ipv6Addr::from(groups);
        let mut text = ip.to_string().into_bytes();
        compare(&text);
        compare(text.to_ascii_uppercase().as_slice());
        let at = random.below(text.len());
        text[at] = b"0123456789abcdef:.%/"[random.below(20)];
        compare(&text);
        text.remove(random.below(text.len()));
        compare(&text);
    }
}

/// Where `::` goes (RFC 5952): every pattern of zero groups.
#[test]
fn every_pattern_of_zero_groups() {
    for zeros in 0..=255u32 {
        let group = |at: usize| {
            if zeros >> at & 1 == 1 {
                0
            } else {
                0xa0 + at as u16
            }
        };
        let ip = Ipv6Addr::from(std::array::from_fn(group));
        compare(ip.to_string().as_bytes());
    }
}

#[test]
fn ipv4_on_a_dual_stack_socket_is_shown_as_ipv4() {
    let mut address = parsed(b"::ffff:192.0.2.7").expect("an address");
    address.set_port(42268);
    assert_eq!(shown(&address), "192.0.2.7:42268");
    let other = parsed(b"::fffe:192.0.2.7").expect("an address");
    assert_eq!(shown(&other), "[::fffe:c000:207]:0");
}

#[test]
fn same_source_whatever_the_port() {
    let texts = [
        "192.0.2.7",
        "192.0.2.8",
        "::",
        "::1",
        "2001:db8::7",
        "::ffff:192.0.2.7",
    ];
    for (at, text) in texts.iter().enumerate() {
        let one = parsed(text.as_bytes()).expect("an address");
        for (other_at, other) in texts.iter().enumerate() {
            let mut other = parsed(other.as_bytes()).expect("an address");
            other.set_port(7);
            assert_eq!(one.same_source(&other), at == other_at, "{text} {other_at}");
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
        assert_eq!(parsed_number(text), value, "{text:?}");
    }
    for value in 0..=70_000 {
        assert_eq!(parsed_number(&value.to_string()), Some(value));
    }
}

/// The number that `-b` makes of `text`, if it is one.
fn parsed_number(text: &str) -> Option<u32> {
    let (mut config, mut host) = (Config::<Word>::new(), SocketAddress::every(0, 0));
    let words = ["-b", text].map(|text| word(text.as_bytes()));
    (parse(&mut config, &mut host, &mut words.into_iter()) == 0).then_some(config.backlog())
}
