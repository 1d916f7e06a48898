//! Addresses: read from text, handed to and taken from the kernel, shown.

use crate::fmt::{DECIMAL, HEXADECIMAL, NOTHING, Source, Text, pair};

/// `AF_INET`.
pub const V4: u8 = 2;
/// `AF_INET6`.
pub const V6: u8 = 10;

/// A socket address as the kernel has it, big enough for both families: a
/// `sockaddr_in` (ip(7)) and zeros, or a `sockaddr_in6` (ipv6(7)).
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketAddress {
    #[cfg(target_endian = "big")]
    family_high: u8,
    family: u8,
    #[cfg(target_endian = "little")]
    family_high: u8,
    port: [u8; 2],
    v4: [u8; 4],
    v6: [u8; 16],
    scope: [u8; 4],
}

impl SocketAddress {
    /// Every address of `family`, at `port`.
    pub const fn every(family: u8, port: u16) -> Self {
        Self {
            family,
            family_high: 0,
            port: port.to_be_bytes(),
            v4: [0; 4],
            v6: [0; 16],
            scope: [0; 4],
        }
    }

    /// `AF_INET` or `AF_INET6`, or what else the kernel gave.
    pub fn family(&self) -> u8 {
        self.family
    }

    /// Changes the family alone.
    pub fn set_family(&mut self, family: u8) {
        self.family = family;
    }

    /// The port, 0 to 65535.
    pub fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }

    /// The same address at another port. False if there is no such port.
    pub fn set_port(&mut self, port: u32) -> bool {
        if port > 65535 {
            return false;
        }
        self.port = (port as u16).to_be_bytes();
        true
    }

    /// Whether both are the same source: the same address, whatever the port.
    pub fn same_source(&self, other: &Self) -> bool {
        self.v4 == other.v4 && u128::from_ne_bytes(self.v6) == u128::from_ne_bytes(other.v6)
    }

    /// Takes the numeric address `text` in place of [`SocketAddress::every`]: `0`,
    /// which changes nothing, or one of the forms of inet_pton(3). False if it is none.
    #[inline(always)]
    pub fn parse(&mut self, text: impl Iterator<Item = u8> + Clone) -> bool {
        let mut zero = text.clone();
        if zero.next() != Some(b'0') || first(&zero) != 0 {
            self.family = V6;
            if self.take(text, 0) != 0 {
                return false;
            }
        }
        // In an IPv6 address that is the flow information, which bind(2) does
        // not look at: to ask for the family takes 7 bytes more.
        self.v4 = [self.v6[0], self.v6[1], self.v6[2], self.v6[3]];
        true
    }

    /// Takes the rest of an address. `at` is how many bytes of groups are before it,
    /// and how many octets (see [`OCTET`]), or counts from `::` (see [`GAP`]).
    ///
    /// Where a group belongs is known when it is known how many follow it, so each
    /// is put there after the rest. The result is where the rest starts;
    /// negative if that cannot be, and then what was put is of no use.
    #[inline(never)]
    fn take(&mut self, mut text: impl Iterator<Item = u8> + Clone, at: i32) -> i32 {
        // The digits as a group and as an octet, which is 0 as long as there is none.
        let (mut group, mut octet) = (NO_DIGITS, 0u32);
        let mut mark;
        loop {
            mark = u32::from(text.next().unwrap_or(0));
            let mut digit = mark.wrapping_sub(b'0'.into());
            if digit > 9 {
                digit = (digit | LOWER).wrapping_sub(A);
                if digit > 5 {
                    break;
                }
                digit += NO_OCTET + 10;
            }
            // A fifth digit stays for a mark, and is none.
            if (group as i32) < 0 {
                break;
            }
            group = group << 4 | digit;
            octet = octet.wrapping_mul(10).wrapping_add(digit);
            if octet == 0 {
                octet = ZERO;
            }
        }
        if octet == 0 {
            // Only `::` may have no digits before it or behind it.
            if mark != b':'.into() || at == 0 && text.next() != Some(b':') {
                return BAD;
            }
            // A second `::` does not fit. (Nor is the stack for any number of them.)
            let mut start = 16;
            if first(&text) != 0 && at < GAP {
                start = self.take(text, GAP);
            }
            return if at < start { at } else { BAD };
        }
        let (mut next, mut separator) = (at + 2, b':');
        if mark == b'.'.into() || at >= OCTET {
            if octet & !(ZERO | 255) != 0 {
                return BAD;
            }
            group = octet & 255;
            (next, separator) = (at + OCTET, b'.');
        }
        let mut start = 16;
        if mark == 0 {
            if next & NOT_FOUR != 0 {
                return BAD;
            }
            // Nothing but four octets.
            if next as u8 == 0 {
                self.family = V4;
                start = 4;
            }
        } else {
            if mark != separator.into() || next & FULL != 0 {
                return BAD;
            }
            start = self.take(text, next);
        }
        loop {
            start -= 1;
            self.v6[(start & 15) as usize] = group as u8;
            if next >= OCTET {
                return start;
            }
            // The other byte, and no more.
            group >>= 8;
            next += OCTET;
        }
    }

    /// Adds the address of `text` to it: `192.0.2.7:80`, `[2001:db8::7]:80` (RFC
    /// 5952), an IPv4 client of a dual-stack socket as IPv4.
    #[inline(never)]
    pub fn show<'a, 'b, S: Source>(mut text: &'a mut Text<'b, S>) -> &'a mut Text<'b, S> {
        let address = text.source.address();
        let (halves, _) = address.v6.as_chunks::<8>();
        let (words, _) = address.v6.as_chunks::<4>();
        let ipv4 = address.family == V4;
        let separator;
        if ipv4 || halves[0] == [0; 8] && words[2] == [0, 0, 255, 255] {
            let mut octets = u32::from_le_bytes(if ipv4 { address.v4 } else { words[3] });
            let (mut before, mut left) = (NOTHING, 4);
            loop {
                text = text.number(before, octets & 255, DECIMAL);
                before = b'.'.into();
                octets >>= 8;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
            separator = b':'.into();
        } else {
            text = address.show_v6(text);
            separator = const { pair(b']', b':') };
        }
        text.number(separator, address.port().into(), DECIMAL)
    }

    /// Adds `[` and the eight groups, the first longest run of two or more zero
    /// groups as `::`.
    #[inline(always)]
    fn show_v6<'a, 'b, S: Source>(&self, mut text: &'a mut Text<'b, S>) -> &'a mut Text<'b, S> {
        let (groups, _) = self.v6.as_chunks::<2>();
        // The longest run of zeros so far, where it ends, and the one that ends here.
        let (mut end, mut longest, mut run) = (0u32, 1u32, 0u32);
        let mut at = 0usize;
        loop {
            let zero = groups[at] == [0, 0];
            at += 1;
            run += 1;
            if !zero {
                run = 0;
            }
            if run > longest {
                longest = run;
                end = at as u32;
            }
            if at == 8 {
                break;
            }
        }
        // Its start and, above, its end: one register. None has -1 for a start.
        let mut gap = (end * 257).wrapping_sub(longest);
        text = text.byte(b'['.into());
        let (mut before, mut at) = (NOTHING, 0u32);
        loop {
            if at as u8 == gap as u8 {
                text = text.code(const { pair(b':', b':') });
                before = NOTHING;
                gap >>= 8;
                at = gap;
            }
            let Some(group) = groups.get(at as usize) else {
                return text;
            };
            let group = u16::from_be_bytes(*group).into();
            text = text.number(before, group, HEXADECIMAL);
            before = b':'.into();
            at += 1;
        }
    }
}

/// No place in an address.
const BAD: i32 = -1;

/// Counts the bytes behind `::` from here, out of the way of those before it.
const GAP: i32 = 32;

/// One octet more: they are counted from bit 6 on.
const OCTET: i32 = 1 << 6;

/// In the count of octets, which is 4 at most, what neither 0 nor 4 has.
const NOT_FOUR: i32 = 3 * OCTET;

/// What only four octets have, or eight groups.
const FULL: i32 = 4 * OCTET + 16;

/// What the two cases of a letter differ in.
const LOWER: u32 = 0x20;

/// The letter that is the first digit above 9, counted from `0`.
const A: u32 = (b'a' - b'0') as u32;

/// A group without digits: four of them move its bit to the top.
const NO_DIGITS: u32 = 1 << 15;

/// A decimal 0, so that no digit may follow; its low byte is 0.
const ZERO: u32 = 1 << 16;

/// In a digit above 9, for what is no octet then: no product with 10, 100 or
/// 1000, nor any sum of these, is without a bit up there. A group has none of it.
const NO_OCTET: u32 = 1 << 28;

/// The first byte; 0 behind the last.
pub fn first<W: Iterator<Item = u8> + Clone>(word: &W) -> u8 {
    word.clone().next().unwrap_or(0)
}
