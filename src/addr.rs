//! Addresses: read from text, handed to and taken from the kernel, shown.

use crate::fmt::{DECIMAL, HEXADECIMAL, Text};

/// `AF_INET`.
pub const V4: u16 = 2;
/// `AF_INET6`.
pub const V6: u16 = 10;

/// A socket address as the kernel has it, big enough for both families: a
/// `sockaddr_in` (ip(7)) and zeros, or a `sockaddr_in6` (ipv6(7)).
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAddress {
    family: u16,
    port: [u8; 2],
    v4: [u8; 4],
    v6: [u8; 16],
    scope: [u8; 4],
}

impl SocketAddress {
    /// Every address of `family`, at `port`.
    pub const fn every(family: u16, port: u16) -> Self {
        Self {
            family,
            port: port.to_be_bytes(),
            v4: [0; 4],
            v6: [0; 16],
            scope: [0; 4],
        }
    }

    /// `AF_INET` or `AF_INET6`, or what else the kernel gave.
    pub fn family(&self) -> u16 {
        self.family
    }

    /// every of another family
    pub fn set_family(&mut self, family: u16) {
        self.family = family;
    }

    /// The port, 0 to 65535.
    pub fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }

    /// The same address at another port.
    pub fn set_port(&mut self, port: u16) {
        self.port = port.to_be_bytes();
    }

    /// Whether both are the same source: the same address, whatever the port.
    pub fn same_source(&self, other: &Self) -> bool {
        self.v4 == other.v4 && u128::from_ne_bytes(self.v6) == u128::from_ne_bytes(other.v6)
    }

    /// Takes the numeric address `text` in place of [`SocketAddress::every`]:
    /// the forms of inet_pton(3). False if it is none.
    pub fn parse(&mut self, text: impl Iterator<Item = u8>) -> bool {
        self.family = V6;
        let mut start = self.take(text, 0, 0);
        if self.family == V4 {
            self.v4 = [self.v6[12], self.v6[13], self.v6[14], self.v6[15]];
            start -= 12;
        }
        start == 0
    }

    /// Takes the rest of an address, `at` bytes into it and behind `octets` dotted ones.
    ///
    /// Where a group belongs is known when it is known how many follow it, so each
    /// is put there after the rest. The result is where the rest starts;
    /// negative if that cannot be, and then what was put is of no use.
    #[inline(never)]
    fn take(&mut self, mut text: impl Iterator<Item = u8>, at: i32, mut octets: i32) -> i32 {
        // How many digits there are, and what they are as a group or an octet.
        let (mut digits, mut group, mut octet) = (0, 0u32, 0u32);
        let mark = loop {
            let mark = text.next().unwrap_or(0);
            let mut digit = mark.wrapping_sub(b'0');
            if digit > 9 {
                digit = (mark | 0x20).wrapping_sub(b'a');
                if digit > 5 {
                    break mark;
                }
                digit += 10;
                octet = NO_OCTET;
            }
            octet = octet.wrapping_mul(10).wrapping_add(digit.into());
            if octet == 0 {
                octet = ZERO;
            }
            group = group << 4 | u32::from(digit);
            digits += 1;
            if digits == 5 {
                return BAD;
            }
        };
        let mut start = 16;
        if digits == 0 {
            // Only `::` may have no digits before it or behind it.
            if mark == 0 && at == BEHIND_GAP {
                return start;
            }
            if mark != b':' || octets != 0 || at == 0 && text.next() != Some(b':') {
                return BAD;
            }
            start = self.take(text, BEHIND_GAP, 0);
            return if at < start { at } else { BAD };
        }
        let dotted = mark == b'.' || octets != 0;
        let mut next = at + 2;
        if dotted {
            if octet & !(ZERO | 255) != 0 {
                return BAD;
            }
            octets += 1;
            next = at + 1;
        }
        if mark == 0 {
            if octets & !4 != 0 {
                return BAD;
            }
            if next == octets {
                self.family = V4;
            }
        } else {
            if next & 16 != 0 || mark != b'.' && (mark != b':' || octets != 0) {
                return BAD;
            }
            start = self.take(text, next, octets);
        }
        start -= 1;
        self.v6[(start & 15) as usize] = if dotted { octet } else { group } as u8;
        if !dotted {
            start -= 1;
            self.v6[(start & 15) as usize] = (group >> 8) as u8;
        }
        start
    }

    /// Adds the address of `text` to it: `192.0.2.7:80`, `[2001:db8::7]:80` (RFC
    /// 5952), an IPv4 client of a dual-stack socket as IPv4.
    #[inline(never)]
    pub fn show<W: Iterator<Item = u8>>(text: &mut Text<'_, W>) {
        let address = text.address;
        let (halves, _) = address.v6.as_chunks::<8>();
        let (words, _) = address.v6.as_chunks::<4>();
        let mapped = halves[0] == [0; 8] && words[2] == [0, 0, 255, 255];
        if mapped || address.family == V4 {
            let mut octets = u32::from_le_bytes(if mapped { words[3] } else { address.v4 });
            let (mut separator, mut left) = (0, 4);
            loop {
                text.number(separator, octets & 255, DECIMAL);
                separator = b'.'.into();
                octets >>= 8;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        } else {
            address.show_v6(text);
        }
        text.number(b':'.into(), address.port().into(), DECIMAL);
    }

    /// Adds the eight groups, the first longest run of two or more zero groups as `::`.
    #[inline(always)]
    fn show_v6<W: Iterator<Item = u8>>(&self, text: &mut Text<'_, W>) {
        let (groups, _) = self.v6.as_chunks::<2>();
        // A bit for each zero group, the lowest for the first.
        let (mut zeros, mut at) = (0u32, groups.len());
        loop {
            at -= 1;
            zeros <<= 1;
            if groups[at] == [0, 0] {
                zeros += 1;
            }
            if at == 0 {
                break;
            }
        }
        // Each shift leaves the bits where a run begins that is one longer.
        let (mut starts, mut run) = (0, 1);
        loop {
            zeros &= zeros >> 1;
            if zeros == 0 {
                break;
            }
            starts = zeros;
            run += 1;
        }
        text.byte(b'['.into());
        loop {
            if starts >> at & 1 != 0 {
                text.byte(b':'.into());
                starts = 0;
                at += run;
            }
            // The other colon comes before the next group, or there is none.
            let Some(group) = groups.get(at) else {
                text.byte(b':'.into());
                break;
            };
            let separator = if at == 0 { 0 } else { b':' };
            let group = u16::from_be_bytes(*group);
            text.number(separator.into(), group.into(), HEXADECIMAL);
            at += 1;
            if at == groups.len() {
                break;
            }
        }
        text.byte(b']'.into());
    }
}

/// No place in an address.
const BAD: i32 = -1;

/// Counts the bytes behind `::` from here, out of the way of those before it.
const BEHIND_GAP: i32 = 32;

/// A decimal 0, so that no digit may follow; its low byte is 0.
const ZERO: u32 = 1 << 16;

/// No octet, whatever digits follow.
const NO_OCTET: u32 = 1 << 20;

/// The value of a decimal number; negative if it is none, or too large for an `i32`.
#[inline(never)]
pub fn number(text: impl Iterator<Item = u8>) -> i32 {
    let mut value = -1i32;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if value < 0 {
            value = 0;
        }
        let Some(tens) = value.checked_mul(10) else {
            return -1;
        };
        let Some(sum) = tens.checked_add(digit.into()) else {
            return -1;
        };
        if digit > 9 {
            return -1;
        }
        value = sum;
    }
    value
}
