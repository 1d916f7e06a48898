//! Random bytes and lengths that can be had again.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

/// xorshift64*: good enough to cut a stream at unforeseen places.
pub struct Random(u64);

impl Random {
    /// Seeded from `ROT13D_SEED`, or from the clock; the seed is printed, so a
    /// failing run can be repeated.
    pub fn seeded() -> Self {
        let clock = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            now.as_nanos() as u64
        };
        let seed = env::var("ROT13D_SEED").map_or_else(
            |_| clock(),
            |text| text.parse().expect("ROT13D_SEED is a number"),
        );
        println!("repeat with ROT13D_SEED={seed}");
        Random(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to `end - 1`.
    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 32) as usize) % end
    }

    pub fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }
}
