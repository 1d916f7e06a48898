//! Addresses: read from text, shown as text.
//!
//! There is one kind: an IPv4 address is an IPv4-mapped IPv6 address
//! (`::ffff:192.0.2.7`, ipv6(7)) throughout, and shown as IPv4.

use crate::message::{Line, Show};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6};
use core::ops::Range;

/// Where a client comes from, or where the server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Internet(SocketAddrV6),
    /// A socket that has neither: one of the UNIX domain, unix(7).
    Local,
}

impl Address {
    /// What `-C` counts by: the address without its port.
    pub fn source(&self) -> Option<Ipv6Addr> {
        match self {
            Self::Internet(address) => Some(*address.ip()),
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
fn parse_ipv4(mut text: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    for (at, octet) in octets.iter_mut().enumerate() {
        if at > 0 {
            text = text.strip_prefix(b".")?;
        }
        let (number, rest) = parse_number::<10>(text, 3)?;
        if text.starts_with(b"0") && text.len() > rest.len() + 1 {
            return None;
        }
        *octet = u8::try_from(number).ok()?;
        text = rest;
    }
    text.is_empty().then_some(octets)
}

/// Eight groups of up to four hexadecimal digits. The last two may be an IPv4
/// address; `::` stands, once, for as many groups of zeros as are missing.
fn parse_ipv6(mut text: &[u8]) -> Option<[u8; 16]> {
    let mut groups = [0; 8];
    let mut count = 0;
    // How many groups are before `::`.
    let mut gap = None;
    if let Some(rest) = text.strip_prefix(b"::") {
        (gap, text) = (Some(0), rest);
    }
    while !text.is_empty() {
        if let Some([a, b, c, d]) = parse_ipv4(text) {
            *groups.get_mut(count)? = u16::from_be_bytes([a, b]);
            *groups.get_mut(count + 1)? = u16::from_be_bytes([c, d]);
            count += 2;
            break;
        }
        let (group, rest) = parse_number::<16>(text, 4)?;
        *groups.get_mut(count)? = group;
        count += 1;
        text = match rest {
            [] => rest,
            [b':', b':', rest @ ..] if gap.is_none() => {
                gap = Some(count);
                rest
            }
            [b':', rest @ ..] if !rest.is_empty() => rest,
            _ => return None,
        };
    }
    let missing = 8 - count;
    if gap.is_some() == (missing == 0) {
        return None;
    }
    let mut octets = [0; 16];
    let (places, _) = octets.as_chunks_mut();
    for (at, group) in groups.iter().take(count).enumerate() {
        let behind_gap = gap.is_some_and(|gap| at >= gap);
        let place = if behind_gap { at + missing } else { at };
        *places.get_mut(place)? = group.to_be_bytes();
    }
    Some(octets)
}

/// Reads at most so many digits in base `RADIX`, at least one; and what is behind them.
fn parse_number<const RADIX: u32>(text: &[u8], most: usize) -> Option<(u16, &[u8])> {
    let (mut number, mut rest) = (0, text);
    while let Some((&byte, behind)) = rest.split_first()
        && let Some(digit) = char::from(byte).to_digit(RADIX)
    {
        if text.len() - rest.len() == most {
            return None;
        }
        number = number * RADIX + digit;
        rest = behind;
    }
    (rest.len() < text.len()).then_some((number as u16, rest))
}

/// A client's address, or `local`.
impl Show for Address {
    fn show(&self, line: &mut Line) {
        match self {
            Self::Internet(address) => address.show(line),
            Self::Local => "local".show(line),
        }
    }
}

/// `192.0.2.7:80` or `[2001:db8::7]:80` (RFC 5952).
impl Show for SocketAddrV6 {
    fn show(&self, line: &mut Line) {
        if let Some(ipv4) = self.ip().to_ipv4_mapped() {
            show_ipv4(ipv4, line);
        } else {
            line.push(b'[');
            show_ipv6(self.ip(), line);
            line.push(b']');
        }
        line.push(b':');
        u32::from(self.port()).show(line);
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
    if gap.is_empty() {
        show_groups(groups, line);
    } else {
        show_groups(groups.get(..gap.start).unwrap_or_default(), line);
        "::".show(line);
        show_groups(groups.get(gap.end..).unwrap_or_default(), line);
    }
}

fn show_groups(groups: &[[u8; 2]], line: &mut Line) {
    for (at, group) in groups.iter().enumerate() {
        if at > 0 {
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
