//! The cipher: `A-Z` and `a-z` rotated by 13, every other byte left alone.
//!
//! A block is ciphered at once and without a branch. Where the architecture has
//! vectors of 16 bytes at all times, a block is one of them.

#[cfg(target_arch = "x86")]
use core::arch::x86;
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64 as x86;

/// Bytes that are ciphered at a time.
pub const BLOCK: usize = 16;

/// What the cipher keeps in registers from block to block.
#[cfg(target_feature = "sse2")]
#[derive(Clone, Copy)]
pub struct Cipher {
    small: x86::__m128,
    start: x86::__m128,
    below_z: x86::__m128,
    thirteen: x86::__m128,
}

#[cfg(target_feature = "sse2")]
impl Cipher {
    /// In assembly, as the rest, for its size, which is 100 bytes less: the four
    /// constants of 16 bytes are made of four bytes, and an instruction for
    /// floats that moves or combines the same bits is a byte shorter.
    #[inline(always)]
    #[allow(clippy::new_without_default, unsafe_code)]
    pub fn new() -> Self {
        const CONSTANTS: [u8; 4] = [0x20, b'a' + 127, 101, 13];
        let (small, start, below_z, thirteen);
        // SAFETY: this is compiled only where SSE2 is always there.
        unsafe {
            core::arch::asm!(
                // Each of them four times side by side, then in all 16 bytes.
                "movd {small}, {constants:e}",
                "punpcklbw {small}, {small}",
                "punpcklwd {small}, {small}",
                "pshufd {start}, {small}, 0x55",
                "pshufd {below_z}, {small}, 0xaa",
                "pshufd {thirteen}, {small}, 0xff",
                "shufps {small}, {small}, 0x00",
                constants = in(reg) u32::from_le_bytes(CONSTANTS),
                small = out(xmm_reg) small,
                start = out(xmm_reg) start,
                below_z = out(xmm_reg) below_z,
                thirteen = out(xmm_reg) thirteen,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        Self {
            small,
            start,
            below_z,
            thirteen,
        }
    }

    /// Rotates every ASCII letter of `block` by 13 places, in place.
    ///
    /// Its own inverse; 0x00-0x40, 0x5B-0x60 and 0x7B-0xFF stay as they are.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub fn rotate(self, block: &mut [u8; BLOCK]) {
        // SAFETY: this is compiled only where SSE2 is always there; the two
        // accesses are to `block`, at any alignment.
        unsafe {
            let mut text = x86::_mm_loadu_ps(block.as_ptr().cast());
            core::arch::asm!(
                // The place in the alphabet, counted from the end: a is 127, z is
                // 102, all else is less, for SSE2 compares signed bytes.
                "movaps {down}, {small}",
                "orps {down}, {text}",
                "movaps {place}, {start}",
                "psubb {place}, {down}",
                // 13 for a letter, else 0.
                "movaps {down}, {place}",
                "pcmpgtb {down}, {below_z}",
                "andps {down}, {thirteen}",
                // Still a letter 13 places on: that far up, else down.
                "psubb {place}, {down}",
                "pcmpgtb {place}, {below_z}",
                "xorps {down}, {place}",
                "psubb {down}, {place}",
                "psubb {text}, {down}",
                text = inout(xmm_reg) text,
                down = out(xmm_reg) _,
                place = out(xmm_reg) _,
                small = in(xmm_reg) self.small,
                start = in(xmm_reg) self.start,
                below_z = in(xmm_reg) self.below_z,
                thirteen = in(xmm_reg) self.thirteen,
                options(pure, nomem, nostack, preserves_flags)
            );
            x86::_mm_storeu_ps(block.as_mut_ptr().cast(), text);
        }
    }
}

/// What the cipher keeps in registers from block to block: the compiler sees to it.
#[cfg(not(target_feature = "sse2"))]
#[derive(Clone, Copy)]
pub struct Cipher;

#[cfg(not(target_feature = "sse2"))]
impl Cipher {
    /// Nothing to be made.
    #[inline(always)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self
    }

    /// Rotates every ASCII letter of `block` by 13 places, in place.
    #[inline(always)]
    pub fn rotate(self, block: &mut [u8; BLOCK]) {
        rotate(block);
    }
}

/// Rotates every ASCII letter of `block` by 13 places, in place.
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[inline(always)]
#[allow(unsafe_code)]
fn rotate(block: &mut [u8; BLOCK]) {
    use core::arch::aarch64::*;
    // SAFETY: this is compiled only where NEON is always there; the two
    // accesses are to `block`, at any alignment.
    unsafe {
        let thirteen = vdupq_n_u8(13);
        let text = vld1q_u8(block.as_ptr());
        let place = vsubq_u8(vorrq_u8(text, vdupq_n_u8(0x20)), vdupq_n_u8(b'a'));
        // 13 down for every letter, 26 up again for a to m.
        let letter = vandq_u8(vcltq_u8(place, vdupq_n_u8(26)), thirteen);
        let up = vandq_u8(vcltq_u8(place, thirteen), thirteen);
        vst1q_u8(
            block.as_mut_ptr(),
            vaddq_u8(vaddq_u8(vsubq_u8(text, letter), up), up),
        );
    }
}

/// Rotates every ASCII letter of `block` by 13 places, in place.
///
/// A word at a time: the top bit of each byte of a sum says whether the byte
/// has reached a letter. None of the sums passes 255, so nothing is carried
/// from byte to byte.
#[cfg(not(any(
    target_feature = "sse2",
    all(target_arch = "aarch64", target_feature = "neon")
)))]
#[inline(always)]
fn rotate(block: &mut [u8; BLOCK]) {
    const ONES: usize = usize::MAX / 0xff;
    let (words, _) = block.as_chunks_mut();
    for word in words {
        let text = usize::from_ne_bytes(*word);
        let small = (text | 0x20 * ONES) & (0x7f * ONES);
        let from_a = small + (0x80 - b'a' as usize) * ONES;
        let from_n = small + (0x80 - b'n' as usize) * ONES;
        let past_z = small + (0x80 - b'z' as usize - 1) * ONES;
        let ascii = !text & (0x80 * ONES);
        // 13 up from a to m, 13 down from n to z.
        let up = (from_a & !from_n & ascii) >> 7;
        let down = (from_n & !past_z & ascii) >> 7;
        *word = (text + 13 * up - 13 * down).to_ne_bytes();
    }
}
