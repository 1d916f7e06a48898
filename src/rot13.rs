//! The cipher: `A-Z` and `a-z` rotated by 13, every other byte left alone.
//!
//! A block is ciphered at once and without a branch. Where the architecture has
//! vectors of 16 bytes at all times, a block is one of them.

/// Bytes that are ciphered at a time.
pub const BLOCK: usize = 16;

/// Rotates every ASCII letter of `block` by 13 places, in place.
///
/// Its own inverse; 0x00-0x40, 0x5B-0x60 and 0x7B-0xFF stay as they are.
#[cfg(target_feature = "sse2")]
#[inline(always)]
#[allow(unsafe_code)]
pub fn rotate(block: &mut [u8; BLOCK]) {
    #[cfg(target_arch = "x86")]
    use core::arch::x86::*;
    #[cfg(target_arch = "x86_64")]
    use core::arch::x86_64::*;
    // SAFETY: this is compiled only where SSE2 is always there; the two
    // accesses are to `block`, at any alignment.
    unsafe {
        let thirteen = _mm_set1_epi8(13);
        let end = _mm_set1_epi8(i8::MIN + 26);
        let text = _mm_loadu_si128(block.as_ptr().cast());
        // The place in the alphabet, counted from the lowest signed byte, since
        // SSE2 compares signed bytes.
        let small = _mm_or_si128(text, _mm_set1_epi8(0x20));
        let place = _mm_add_epi8(small, _mm_set1_epi8(i8::MIN.wrapping_sub(b'a' as i8)));
        // 13 down for every letter, 26 up again for a to m.
        let letter = _mm_and_si128(_mm_cmpgt_epi8(end, place), thirteen);
        let first_half = _mm_cmpgt_epi8(end, _mm_adds_epi8(place, thirteen));
        let up = _mm_and_si128(first_half, thirteen);
        let text = _mm_add_epi8(_mm_add_epi8(_mm_sub_epi8(text, letter), up), up);
        _mm_storeu_si128(block.as_mut_ptr().cast(), text);
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
