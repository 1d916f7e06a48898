//! Addresses: read from text, shown as text.
//!
//! There is one kind: an IPv4 address is an IPv4-mapped IPv6 address
//! (`::ffff:192.0.2.7`, ipv6(7)) throughout, and shown as IPv4.

use crate::message::{Line, Show};
use core::net::{Ipv4Addr, Ipv6Addr};
use core::ops::Range;

/// Where a client comes from, or where the server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Internet(Ipv6Addr, u16),
    /// A socket that has neither: one of the UNIX domain, unix(7).
    Local,
}

impl Address {
    /// What `-C` counts by: the address without its port.
    pub fn source(&self) -> Option<&Ipv6Addr> {
        match self {
            Self::Internet(ip, _) => Some(ip),
            Self::Local => None,
        }
    }
}

/// Reads a numeric address in one of the forms that inet_pton(3) takes.
pub fn parse(text: &[u8]) -> Option<Ipv6Addr> {
    match parse_ipv4(text) {
        Some(octets) => Some(Ipv4Addr::from(octets).to_ipv6_mapped()),
        None => parse_ipv6(text).map(Ipv6Addr::from),
    }
}

/// Four decimal numbers up to 255, without leading zeros.
fn parse_ipv4(text: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let mut parts = parts(text, b'.');
    for octet in &mut octets {
        let part = parts.next()?;
        if matches!(part, [b'0', _, ..]) {
            return None;
        }
        *octet = parse_number(part, 10)?.try_into().ok()?;
    }
    parts.next().is_none().then_some(octets)
}

/// Eight groups of up to four hexadecimal digits. The last two may be an IPv4
/// address; `::` stands, once, for as many groups of zeros as are missing.
fn parse_ipv6(text: &[u8]) -> Option<[u8; 16]> {
    let mut octets = [0; 16];
    let mut groups = octets.as_chunks_mut().0.iter_mut();
    let gap = text.windows(2).position(|pair| matches!(pair, b"::"));
    let (head, tail) = match gap {
        Some(at) => (text.get(..at)?, text.get(at + 2..)?),
        None => (&[][..], text),
    };
    // What is behind the gap, from its end; then what is before it.
    for part in parts(tail, b':').rev() {
        // All eight groups are free: this is the last part.
        if groups.len() == 8
            && let Some([a, b, c, d]) = parse_ipv4(part)
        {
            *groups.next_back()? = [c, d];
            *groups.next_back()? = [a, b];
        } else {
            *groups.next_back()? = parse_group(part)?;
        }
    }
    for part in parts(head, b':') {
        *groups.next()? = parse_group(part)?;
    }
    // Groups are left for the gap, or there is none.
    (gap.is_some() == (groups.len() > 0)).then_some(octets)
}

/// What is between the separators in `text`; nothing, if it is empty.
fn parts(text: &[u8], separator: u8) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(move |&byte| byte == separator).filter(|_| !text.is_empty())
}

fn parse_group(text: &[u8]) -> Option<[u8; 2]> {
    let number = parse_number(text, 16)?;
    (text.len() <= 4).then_some((number as u16).to_be_bytes())
}

/// Reads a number in base `radix`: digits, at least one, and nothing else.
pub(crate) fn parse_number(text: &[u8], radix: u32) -> Option<u32> {
    let mut number = 0u32;
    for &byte in text {
        let digit = char::from(byte).to_digit(radix)?;
        number = number.checked_mul(radix)?.checked_add(digit)?;
    }
    (!text.is_empty()).then_some(number)
}

/// `192.0.2.7:80`, `[2001:db8::7]:80` (RFC 5952), or `local`.
impl Show for Address {
    fn show(&self, line: &mut Line) {
        let Self::Internet(ip, port) = self else {
            return "local".show(line);
        };
        if let Some(ip) = ip.to_ipv4_mapped() {
            show_ipv4(ip, line);
        } else {
            line.push(b'[');
            show_ipv6(ip, line);
            line.push(b']');
        }
        line.push(b':');
        u32::from(*port).show(line);
    }
}

fn show_ipv4(address: Ipv4Addr, line: &mut Line) {
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            line.push(b'.');
        }
        u32::from(octet).show(line);
    }
}

fn show_ipv6(address: &Ipv6Addr, line: &mut Line) {
    let octets = address.octets();
    let (groups, _) = octets.as_chunks();
    let gap = longest_gap(groups);
    for (at, group) in groups.iter().enumerate() {
        if gap.contains(&at) {
            if at == gap.start {
                "::".show(line);
            }
            continue;
        }
        if at > 0 && at != gap.end {
            line.push(b':');
        }
        line.hexadecimal(u16::from_be_bytes(*group));
    }
}

/// The longest run of two or more groups of zero; the first of several.
fn longest_gap(groups: &[[u8; 2]]) -> Range<usize> {
    let (mut longest, mut run) = (0..0, 0);
    for (at, group) in groups.iter().enumerate() {
        run = if *group == [0; 2] { run + 1 } else { 0 };
        if run > 1 && run > longest.len() {
            longest = at + 1 - run..at + 1;
        }
    }
    longest
}
