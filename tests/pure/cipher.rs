//! The cipher, which works on a block at a time.

use rot13d_pure::line::{Buffer, SPARE, Step};
use rot13d_pure::rot13::{BLOCK, Cipher};

use crate::support::rot13;

fn rotate(block: &mut [u8; BLOCK]) {
    Cipher::new().rotate(block);
}

#[test]
fn every_byte_in_every_place_of_a_block() {
    for byte in 0..=255 {
        for place in 0..BLOCK {
            for others in [0x7f, b'n', 0xff] {
                let mut block = [others; BLOCK];
                block[place] = byte;
                let (plain, expected) = (block, rot13(&block));
                rotate(&mut block);
                assert_eq!(block[..], expected, "byte {byte:#04x} in place {place}");
                rotate(&mut block);
                assert_eq!(block, plain, "rotated twice");
            }
        }
    }
}

#[test]
fn every_pair_of_neighbours() {
    for pair in 0..=u16::MAX {
        let mut block: [u8; BLOCK] = std::array::from_fn(|at| pair.to_le_bytes()[at % 2]);
        let expected = rot13(&block);
        rotate(&mut block);
        assert_eq!(block[..], expected, "bytes {pair:#06x}");
    }
}

/// Through the buffer that clients have: whatever was pending before, and
/// however much comes, each byte that came is ciphered once.
#[test]
fn every_offset_and_length() {
    const SIZE: usize = 6 * BLOCK;
    let text: Vec<u8> = (0..SIZE)
        .map(|at| b'A' + (at * 37 + 11) as u8 % 58)
        .collect();
    for start in 0..3 * BLOCK {
        for end in start + 1..SIZE {
            let mut buffer = Buffer::<{ SIZE + SPARE }>::new();
            let mut read = 0;
            for until in [start, end].into_iter().filter(|&until| until > 0) {
                let Some(Step::Read(space)) = buffer.step() else {
                    panic!("no newline yet")
                };
                space[..until - read].copy_from_slice(&text[read..until]);
                buffer.arrived(until - read);
                read = until;
            }
            buffer.end();
            let Some(Step::Write(out)) = buffer.step() else {
                panic!("all is due at the end")
            };
            assert_eq!(out, rot13(&text[..end]), "{start} bytes, then up to {end}");
        }
    }
}
