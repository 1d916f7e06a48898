//! Addresses: what is accepted is what the standard library accepts (and
//! inet_pton(3) with it), and what is shown reads as there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use rot13d_pure::address::{Address, parse};

use super::shown;
use crate::support::Random;

/// As the standard library shows it, but an IPv4 client of a dual-stack
/// socket as IPv4.
fn expected(ip: IpAddr, port: u16) -> String {
    SocketAddr::new(ip.to_canonical(), port).to_string()
}

/// An IPv4 address as the IPv4-mapped one that it is throughout.
fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Parses `text` here and there; the same must come of it.
fn compare(text: &[u8]) {
    let theirs = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let ours = parse(text).map(|ip| (ip, shown(&Address::Internet(ip, 43211))));
    let theirs = theirs.map(|ip: IpAddr| (mapped(ip), expected(ip, 43211)));
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
    let ip = parse(b"::ffff:192.0.2.7").expect("an address");
    assert_eq!(shown(&Address::Internet(ip, 42268)), "192.0.2.7:42268");
    let other = parse(b"::fffe:192.0.2.7").expect("an address");
    assert_eq!(shown(&Address::Internet(other, 0)), "[::fffe:c000:207]:0");
}

#[test]
fn every_port_is_shown() {
    for port in 0..=u16::MAX {
        for text in ["192.0.2.7", "2001:db8::7"] {
            let ip: IpAddr = text.parse().expect("an address");
            assert_eq!(
                shown(&Address::Internet(mapped(ip), port)),
                expected(ip, port)
            );
        }
    }
}

#[test]
fn same_source_whatever_the_port() {
    let texts = [
        "192.0.2.7",
        "192.0.2.8",
        "::",
        "::1",
        "2001:db8::7",
        "::192.0.2.7",
    ];
    for (at, text) in texts.iter().enumerate() {
        let one = Address::Internet(parse(text.as_bytes()).expect("an address"), 0);
        for (other_at, other) in texts.iter().enumerate() {
            let ip = parse(other.as_bytes()).expect("an address");
            let other = Address::Internet(ip, 7);
            assert_eq!(one.source(), Some(&mapped(text.parse().unwrap())));
            assert_eq!(
                one.source() == other.source(),
                at == other_at,
                "{text} {other_at}"
            );
        }
    }
}

/// One host is one source, in whatever form its address came.
#[test]
fn ipv4_and_its_mapped_form_are_one_source() {
    assert_eq!(parse(b"192.0.2.7"), parse(b"::ffff:192.0.2.7"));
    assert_eq!(parse(b"192.0.2.7"), parse(b"0:0:0:0:0:FFFF:c000:207"));
}

#[test]
fn a_client_without_an_address_is_local_and_has_no_source() {
    assert_eq!(shown(&Address::Local), "local");
    assert_eq!(Address::Local.source(), None);
}
