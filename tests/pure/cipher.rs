//! The cipher, which works on a word of eight bytes at a time.

use rot13d_pure::line::{Buffer, CAPACITY, Step};
use rot13d_pure::rot13::rotate;

use crate::support::rot13;

const WORD: usize = 8;

#[test]
fn every_byte_in_every_place_of_a_word() {
    for byte in 0..=255 {
        for place in 0..WORD {
            for others in [0x00, 0x7f, b'n', 0x80, 0xff] {
                let mut word = [others; WORD];
                word[place] = byte;
                let (plain, expected) = (word, rot13(&word));
                rotate(&mut word);
                assert_eq!(word[..], expected, "byte {byte:#04x} in place {place}");
                rotate(&mut word);
                assert_eq!(word, plain, "rotated twice");
            }
        }
    }
}

/// As the last bytes of a text that are no whole word.
#[test]
fn every_byte_alone() {
    for byte in 0..=255 {
        let mut alone = [byte];
        rotate(&mut alone);
        assert_eq!(alone[..], rot13(&[byte]), "byte {byte:#04x}");
    }
}

/// What one byte becomes does not depend on its neighbours.
#[test]
fn every_pair_of_neighbours() {
    for pair in 0..=u16::MAX {
        let mut word: [u8; WORD] = std::array::from_fn(|at| pair.to_le_bytes()[at % 2]);
        let expected = rot13(&word);
        rotate(&mut word);
        assert_eq!(word[..], expected, "bytes {pair:#06x}");
    }
}

/// Bytes before and behind the slice stay, wherever it is in memory.
#[test]
fn every_part_of_a_text() {
    const SIZE: usize = 5 * WORD;
    let text: Vec<u8> = (0..SIZE)
        .map(|at| b'A' + (at * 37 + 11) as u8 % 58)
        .collect();
    for start in 0..=SIZE {
        for end in start..=SIZE {
            let mut ours = text.clone();
            rotate(&mut ours[start..end]);
            let rotated = rot13(&text[start..end]);
            let expected = [&text[..start], &rotated, &text[end..]].concat();
            assert_eq!(ours, expected, "{start}..{end}");
        }
    }
}

/// Through the buffer that clients have: whatever was pending before, and
/// however much comes, each byte that came is ciphered once.
#[test]
fn every_offset_and_length() {
    const SIZE: usize = 6 * WORD;
    let text: Vec<u8> = (0..SIZE)
        .map(|at| b'A' + (at * 37 + 11) as u8 % 58)
        .collect();
    for start in 0..3 * WORD {
        for end in start + 1..SIZE {
            let mut room = [0xa5; CAPACITY];
            let mut buffer = Buffer::new(&mut room);
            let mut read = 0;
            for until in [start, end].into_iter().filter(|&until| until > 0) {
                let Step::Read(space) = buffer.step() else {
                    panic!("no newline yet")
                };
                space[..until - read].copy_from_slice(&text[read..until]);
                buffer.received(until - read);
                read = until;
            }
            buffer.end();
            let Step::Write(out) = buffer.step() else {
                panic!("all is due at the end")
            };
            assert_eq!(out, rot13(&text[..end]), "{start} bytes, then up to {end}");
        }
    }
}
