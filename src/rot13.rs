//! The cipher: `A-Z` and `a-z` rotated by 13, every other byte left alone.
//!
//! A block is ciphered at once and without a branch. Where the architecture has
//! vectors of 16 bytes at all times, a block is one of them.

/// Bytes that are ciphered at a time.
pub const BLOCK: usize = 16;

/// Rotates every ASCII letter of `block` by 13 places, in place.
///
/// Its own inverse; 0x00-0x40, 0x5B-0x60 and 0x7B-0xFF stay as they are.
///
/// In assembly for its size, which is 100 bytes less: the four constants of 16
/// bytes are made of four bytes, and an instruction for floats that moves or
/// combines the same bits is a byte shorter. To make the constants for each
/// block costs a third of the speed, 10 GiB/s and not 15; what reads and writes
/// the block costs ten times that.
#[cfg(target_feature = "sse2")]
#[inline(always)]
#[allow(unsafe_code)]
pub fn rotate(block: &mut [u8; BLOCK]) {
    #[cfg(target_arch = "x86")]
    use core::arch::x86::*;
    #[cfg(target_arch = "x86_64")]
    use core::arch::x86_64::*;
    const CONSTANTS: [u8; 4] = [0x20, b'a' + 127, 101, 13];
    // SAFETY: this is compiled only where SSE2 is always there; the two
    // accesses are to `block`, at any alignment.
    unsafe {
        let mut text = _mm_loadu_ps(block.as_ptr().cast());
        core::arch::asm!(
            // Each of the constants four times side by side, then in all 16 bytes.
            "movd {small}, {constants:e}",
            "punpcklbw {small}, {small}",
            "punpcklwd {small}, {small}",
            "pshufd {place}, {small}, 0x55",
            "pshufd {below_z}, {small}, 0xaa",
            "pshufd {thirteen}, {small}, 0xff",
            "shufps {small}, {small}, 0x00",
            // The place in the alphabet, counted from the end: a is 127, z is
            // 102, all else is less, for SSE2 compares signed bytes.
            "orps {small}, {text}",
            "psubb {place}, {small}",
            // 13 for a letter, else 0.
            "movaps {small}, {place}",
            "pcmpgtb {small}, {below_z}",
            "andps {small}, {thirteen}",
            // Still a letter 13 places on: that far up, else down.
            "psubb {place}, {small}",
            "pcmpgtb {place}, {below_z}",
            "xorps {small}, {place}",
            "psubb {small}, {place}",
            "psubb {text}, {small}",
            constants = in(reg) u32::from_le_bytes(CONSTANTS),
            text = inout(xmm_reg) text,
            small = out(xmm_reg) _,
            place = out(xmm_reg) _,
            below_z = out(xmm_reg) _,
            thirteen = out(xmm_reg) _,
            options(pure, nomem, nostack, preserves_flags)
        );
        _mm_storeu_ps(block.as_mut_ptr().cast(), text);
    }
}

/// Rotates every ASCII letter of `block` by 13 places, in place.
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[inline(always)]
#[allow(unsafe_code)]
pub fn rotate(block: &mut [u8; BLOCK]) {
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
pub fn rotate(block: &mut [u8; BLOCK]) {
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
