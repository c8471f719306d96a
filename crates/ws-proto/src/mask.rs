//! Masking (RFC 6455 section 5.3).
//!
//! Short payloads are masked by two words that may overlap, read before either is written, so that no
//! length needs a loop over single bytes. Long ones go through vectors as wide as the processor has.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
#[cfg(feature = "alloc")]
use core::mem::MaybeUninit;

/// Where a client takes its masking keys from.
///
/// RFC 6455 section 5.3 wants each key to be unpredictable to whoever supplies the payload: use a
/// cryptographically strong generator, never a counter. Closures `FnMut() -> [u8; 4]` qualify.
pub trait MaskSource {
    /// The key for the next frame.
    fn next_mask(&mut self) -> [u8; 4];
}

impl<F: FnMut() -> [u8; 4]> MaskSource for F {
    fn next_mask(&mut self) -> [u8; 4] {
        self()
    }
}

/// Masks or unmasks `buf` in place (RFC 6455 section 5.3), where `phase` bytes of the same payload
/// went before it, and returns the phase of the byte after it.
#[inline]
pub fn apply_mask(buf: &mut [u8], key: [u8; 4], phase: usize) -> usize {
    xor::<false>(buf, rotated(key, phase));
    phase.wrapping_add(buf.len()) % 4
}

/// The same from the beginning of a payload, and whether what came of it is ASCII: one pass over it.
#[inline]
pub(crate) fn unmask_text(buf: &mut [u8], key: [u8; 4]) -> bool {
    xor::<true>(buf, key)
}

/// Appends `payload`, masked, to `out`, reading and writing each byte once.
#[cfg(feature = "alloc")]
#[inline]
#[expect(
    unsafe_code,
    reason = "measured: a copy that is masked then takes half as long again"
)]
pub(crate) fn extend_masked(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    let len = payload.len();
    out.reserve(len);
    let Some(to) = out.spare_capacity_mut().get_mut(..len) else {
        return;
    };
    copy_masked(payload, to, key);
    // SAFETY: the capacity is there, or `to` would not be, and `copy_masked` has written all of `to`,
    // the `len` bytes behind those that are initialised already.
    unsafe { out.set_len(out.len() + len) };
}

/// Writes all of `to`, which is as long as `from`.
#[cfg(feature = "alloc")]
#[expect(unsafe_code, reason = "as in `steps`")]
fn copy_masked(from: &[u8], to: &mut [MaybeUninit<u8>], key: [u8; 4]) {
    assert_eq!(from.len(), to.len());
    #[cfg(target_arch = "x86_64")]
    if from.len() >= 4 * STEP && x86::has_avx2() {
        // SAFETY: the processor has AVX2, and the system keeps its registers.
        return unsafe { x86::copy_avx2(from, to, key) };
    }
    copy_words(from, to, key);
}

#[cfg(feature = "alloc")]
#[inline(always)]
fn copy_words(from: &[u8], to: &mut [MaybeUninit<u8>], key: [u8; 4]) {
    let word = u64::from_ne_bytes(repeated(key));
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<8>(), to.as_chunks_mut::<8>());
    for (from, to) in from.iter().zip(to) {
        let masked = u64::from_ne_bytes(*from) ^ word;
        *to = masked.to_ne_bytes().map(MaybeUninit::new);
    }
    let keys = repeated::<8>(key);
    for ((from, to), key) in from_rest.iter().zip(to_rest).zip(keys) {
        to.write(from ^ key);
    }
}

/// The key as it applies to a payload of which `phase` bytes are done.
#[inline]
pub(crate) const fn rotated(key: [u8; 4], phase: usize) -> [u8; 4] {
    // The remainder fits.
    #[expect(clippy::cast_possible_truncation, reason = "it is at most 24")]
    let bits = (phase % 4 * 8) as u32;
    u32::from_le_bytes(key).rotate_right(bits).to_le_bytes()
}

/// A key as often as it fits into `N` bytes, a multiple of four.
#[inline]
fn repeated<const N: usize>(key: [u8; 4]) -> [u8; N] {
    let mut out = [0; N];
    for part in out.as_chunks_mut::<4>().0 {
        *part = key;
    }
    out
}

/// Masks `buf` from the first byte of `key` on. With `LOOK`, says whether all that came of it is
/// ASCII; otherwise `true`.
#[inline]
fn xor<const LOOK: bool>(buf: &mut [u8], key: [u8; 4]) -> bool {
    match buf.len() {
        0..4 => {
            let mut seen = 0;
            for (byte, key) in buf.iter_mut().zip(key) {
                *byte ^= key;
                seen |= *byte;
            }
            !LOOK || seen < 0x80
        }
        4..8 => few::<LOOK>(buf, key),
        8..16 => ends::<LOOK, 1>(buf, key),
        16..32 => ends::<LOOK, 2>(buf, key),
        32..64 => ends::<LOOK, 4>(buf, key),
        64..128 => ends::<LOOK, 8>(buf, key),
        _ => long::<LOOK>(buf, key),
    }
}

/// Masks 4 to 8 bytes.
#[inline]
fn few<const LOOK: bool>(buf: &mut [u8], key: [u8; 4]) -> bool {
    let len = buf.len();
    let (Some(first), Some(last)) = (buf.first_chunk(), buf.last_chunk()) else {
        return true;
    };
    let first = u32::from_ne_bytes(*first) ^ u32::from_ne_bytes(key);
    let last = u32::from_ne_bytes(*last) ^ u32::from_ne_bytes(rotated(key, len));
    if let Some(to) = buf.first_chunk_mut() {
        *to = first.to_ne_bytes();
    }
    if let Some(to) = buf.last_chunk_mut() {
        *to = last.to_ne_bytes();
    }
    !LOOK || (first | last) & 0x8080_8080 == 0
}

/// Masks 8 `WORDS` to 16 `WORDS` bytes.
#[inline]
fn ends<const LOOK: bool, const WORDS: usize>(buf: &mut [u8], key: [u8; 4]) -> bool {
    let len = buf.len();
    let first = buf.as_chunks::<8>().0.first_chunk::<WORDS>();
    let last = buf.as_rchunks::<8>().1.last_chunk::<WORDS>();
    let (Some(first), Some(last)) = (first, last) else {
        return true;
    };
    let key_first = u64::from_ne_bytes(repeated(key));
    let key_last = u64::from_ne_bytes(repeated(rotated(key, len)));
    let first = first.map(|word| u64::from_ne_bytes(word) ^ key_first);
    let last = last.map(|word| u64::from_ne_bytes(word) ^ key_last);
    if let Some(to) = buf.as_chunks_mut().0.first_chunk_mut() {
        *to = first.map(u64::to_ne_bytes);
    }
    if let Some(to) = buf.as_rchunks_mut().1.last_chunk_mut() {
        *to = last.map(u64::to_ne_bytes);
    }
    if !LOOK {
        return true;
    }
    let words = first.iter().chain(&last);
    words.fold(0, |all, word| all | word) & HIGH == 0
}

/// The bit that no ASCII byte has, in each byte.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// How many bytes the loop over long payloads takes at once.
const STEP: usize = 64;

/// From here on it pays to begin at a cache line: vectors that cross one take twice as long.
const ALIGN_FROM: usize = 1024;

/// Masks `STEP` bytes or more.
fn long<const LOOK: bool>(buf: &mut [u8], key: [u8; 4]) -> bool {
    if buf.len() >= ALIGN_FROM {
        let head = buf.as_ptr().align_offset(STEP).min(STEP);
        let (head, rest) = buf.split_at_mut(head);
        let next = rotated(key, head.len());
        return xor::<LOOK>(head, key) & lines::<LOOK>(rest, next);
    }
    lines::<LOOK>(buf, key)
}

fn lines<const LOOK: bool>(buf: &mut [u8], key: [u8; 4]) -> bool {
    let (lines, tail) = buf.as_chunks_mut();
    // The lines end at a multiple of four.
    steps::<LOOK>(lines, key) & xor::<LOOK>(tail, key)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::{
        __m512i, _mm512_loadu_si512, _mm512_or_si512, _mm512_reduce_or_epi64, _mm512_set1_epi32,
        _mm512_setzero_si512, _mm512_storeu_si512, _mm512_xor_si512,
    };

    cpufeatures::new!(avx2, "avx2");
    cpufeatures::new!(avx512, "avx512f");

    pub(super) fn has_avx2() -> bool {
        avx2::get()
    }

    pub(super) fn has_avx512() -> bool {
        avx512::get()
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn steps_avx2<const LOOK: bool>(
        steps: &mut [[u8; super::STEP]],
        key: [u8; 4],
    ) -> bool {
        super::each::<LOOK>(steps, key)
    }

    #[cfg(feature = "alloc")]
    #[target_feature(enable = "avx2")]
    pub(super) fn copy_avx2(from: &[u8], to: &mut [super::MaybeUninit<u8>], key: [u8; 4]) {
        super::copy_words(from, to, key);
    }

    /// By hand, since the compiler takes vectors of half the width.
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "as in `steps`")]
    pub(super) fn steps_avx512<const LOOK: bool>(
        steps: &mut [[u8; super::STEP]],
        key: [u8; 4],
    ) -> bool {
        let key = _mm512_set1_epi32(i32::from_ne_bytes(key));
        let mut seen = _mm512_setzero_si512();
        for step in steps {
            let at = step.as_mut_ptr().cast::<__m512i>();
            // SAFETY: a step is as long as a vector, and this one is borrowed mutably; neither needs
            // to be aligned.
            unsafe {
                let masked = _mm512_xor_si512(_mm512_loadu_si512(at), key);
                _mm512_storeu_si512(at, masked);
                if LOOK {
                    seen = _mm512_or_si512(seen, masked);
                }
            }
        }
        _mm512_reduce_or_epi64(seen).cast_unsigned() & super::HIGH == 0
    }
}

#[expect(unsafe_code, reason = "measured: it halves the time from 1 KiB on")]
fn steps<const LOOK: bool>(steps: &mut [[u8; STEP]], key: [u8; 4]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if steps.len() >= 4 {
        if x86::has_avx512() {
            // SAFETY: the processor has AVX-512F, and the system keeps its registers.
            return unsafe { x86::steps_avx512::<LOOK>(steps, key) };
        }
        if x86::has_avx2() {
            // SAFETY: the processor has AVX2, and the system keeps its registers.
            return unsafe { x86::steps_avx2::<LOOK>(steps, key) };
        }
    }
    each::<LOOK>(steps, key)
}

#[inline(always)]
fn each<const LOOK: bool>(steps: &mut [[u8; STEP]], key: [u8; 4]) -> bool {
    let word = u64::from_ne_bytes(repeated(key));
    let mut seen = 0;
    // Whole words of one slice are what the compiler turns into vector instructions.
    for chunk in steps.as_flattened_mut().as_chunks_mut().0 {
        let masked = u64::from_ne_bytes(*chunk) ^ word;
        *chunk = masked.to_ne_bytes();
        if LOOK {
            seen |= masked;
        }
    }
    seen & HIGH == 0
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// RFC 6455 section 5.3 word for word.
    fn oracle(bytes: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
        let octets = bytes.iter().enumerate();
        octets
            .map(|(i, octet)| octet ^ key[(i + phase) % 4])
            .collect()
    }

    /// Bytes that differ from place to place, 0x80 and above only where `high` says so.
    fn bytes(len: usize, high: Option<usize>) -> Vec<u8> {
        let byte = |at| (at * 7 % 128) as u8 | if high == Some(at) { 0x80 } else { 0 };
        (0..len).map(byte).collect()
    }

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0xbd];

    #[test]
    fn every_length_and_phase_is_masked_as_the_rfc_says() {
        for len in (0..600).chain([1023, 1024, 4096, 5000, 10_001]) {
            for phase in 0..5 {
                let mut masked = bytes(len, None);
                let next = apply_mask(&mut masked, KEY, phase);
                assert_eq!(
                    masked,
                    oracle(&bytes(len, None), KEY, phase),
                    "{len} {phase}"
                );
                assert_eq!(next, (len + phase) % 4);
            }
        }
    }

    #[test]
    fn wherever_a_byte_is_not_ascii_it_is_seen_and_nothing_else_is() {
        for len in (0..300).chain([1024, 1025]) {
            let highs = (0..len).map(Some).chain([None]);
            for high in highs {
                let mut masked = oracle(&bytes(len, high), KEY, 0);
                let ascii = unmask_text(&mut masked, KEY);
                assert_eq!(masked, bytes(len, high), "{len} {high:?}");
                assert_eq!(ascii, high.is_none(), "{len} {high:?}");
            }
        }
    }

    #[test]
    fn every_width_of_vectors_gives_the_same() {
        let key = KEY;
        for count in 0..9 {
            for high in [None, Some(0), Some(STEP * count / 2)] {
                let high = high.filter(|at| *at < STEP * count);
                let plain = bytes(STEP * count, high);
                let check = |mask: &dyn Fn(&mut [[u8; STEP]]) -> bool| {
                    let mut masked = oracle(&plain, key, 0);
                    let ascii = mask(masked.as_chunks_mut().0);
                    assert_eq!((masked, ascii), (plain.clone(), high.is_none()));
                };
                check(&|steps| each::<true>(steps, key));
                check(&|steps| super::steps::<true>(steps, key));
                #[cfg(target_arch = "x86_64")]
                if x86::has_avx2() {
                    #[expect(unsafe_code, reason = "as above")]
                    // SAFETY: the processor has AVX2.
                    check(&|steps| unsafe { x86::steps_avx2::<true>(steps, key) });
                }
            }
        }
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn a_copy_is_masked_behind_what_is_there() {
        for len in [0, 1, 5, 125, 4095, 4096, 4097, 9000] {
            let mut out = std::vec![1, 2, 3];
            extend_masked(&mut out, &bytes(len, None), KEY);
            assert_eq!(out[..3], [1, 2, 3]);
            assert_eq!(out[3..], oracle(&bytes(len, None), KEY, 0), "{len}");
        }
    }
}
