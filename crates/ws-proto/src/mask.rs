//! Masking (RFC 6455 section 5.3).
//!
//! A payload is masked by words or vectors that may overlap, all of those at its ends read before any
//! is written, so that no length needs a loop over single bytes. Long ones go through vectors as wide as
//! the processor has, between the ends along cache lines: vectors that cross one take twice as long.
//!
//! In place and from one place to another are the same code over pointers, which is why this module
//! has `unsafe`; `docs/benchmarks.md` has what it is worth.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::array;
#[cfg(feature = "alloc")]
use core::mem::MaybeUninit;

#[cfg(feature = "alloc")]
use crate::frame::HeaderBytes;

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
#[expect(unsafe_code, reason = "as in `mask`")]
pub fn apply_mask(buf: &mut [u8], key: [u8; 4], phase: usize) -> usize {
    let at = buf.as_mut_ptr();
    // SAFETY: `buf` is readable and writable at `at` for its length.
    unsafe { mask::<false>(at, buf.len(), rotated(key, phase), at) };
    phase.wrapping_add(buf.len()) % 4
}

/// The same from the beginning of a payload, and whether what came of it is ASCII: one pass over it.
#[inline]
#[expect(unsafe_code, reason = "as in `mask`")]
pub(crate) fn unmask_text(buf: &mut [u8], key: [u8; 4]) -> bool {
    let at = buf.as_mut_ptr();
    // SAFETY: `buf` is readable and writable at `at` for its length.
    unsafe { mask::<true>(at, buf.len(), key, at) }
}

/// Appends a frame to `out`: its header and its payload, masked if there is a key. Reads and writes
/// each byte once.
#[cfg(feature = "alloc")]
#[inline]
#[expect(
    unsafe_code,
    reason = "measured: a copy that is masked then takes half as long again"
)]
pub(crate) fn extend_with_frame(
    out: &mut Vec<u8>,
    header: &HeaderBytes,
    key: Option<[u8; 4]>,
    payload: &[u8],
) {
    /// Up to here a call of `memcpy` takes longer than masking with zeros.
    const FEW: usize = 64;

    let (from, len) = (payload.as_ptr(), payload.len());
    out.reserve(HeaderBytes::CAPACITY + len);
    let spare = out.spare_capacity_mut();
    let Some(head) = spare.first_chunk_mut() else {
        return;
    };
    // All of the array is written, since its length is constant; the payload then covers the rest.
    *head = header.as_array().map(MaybeUninit::new);
    let Some(to) = spare.get_mut(header.len()..header.len() + len) else {
        return;
    };
    let to = to.as_mut_ptr().cast::<u8>();
    // SAFETY: `from` and `to` are `len` bytes each. They do not overlap, for `out` is borrowed mutably.
    unsafe {
        match key {
            Some(key) => _ = mask::<false>(from, len, key, to),
            None if len <= FEW => _ = mask::<false>(from, len, [0; 4], to),
            None => from.copy_to_nonoverlapping(to, len),
        }
    }
    // SAFETY: the header and the payload behind it were written, and there is capacity for both.
    unsafe { out.set_len(out.len() + header.len() + len) };
}

/// The key as it applies to a payload of which `phase` bytes are done.
#[inline]
pub(crate) const fn rotated(key: [u8; 4], phase: usize) -> [u8; 4] {
    // The remainder fits.
    #[expect(clippy::cast_possible_truncation, reason = "it is at most 24")]
    let bits = (phase % 4 * 8) as u32;
    u32::from_le_bytes(key).rotate_right(bits).to_le_bytes()
}

/// As many bytes as are masked at once, a multiple of four.
trait Lanes: Copy {
    fn repeat(key: [u8; 4]) -> Self;

    /// # Safety
    /// `from` is readable for the size of `Self`; it need not be aligned.
    #[expect(unsafe_code, reason = "as in `mask`")]
    unsafe fn load(from: *const u8) -> Self;

    /// # Safety
    /// `to` is writable for the size of `Self`; it need not be aligned.
    #[expect(unsafe_code, reason = "as in `mask`")]
    unsafe fn store(self, to: *mut u8);

    fn xor(self, other: Self) -> Self;

    fn or(self, other: Self) -> Self;

    fn is_ascii(self) -> bool;
}

macro_rules! words {
    ($($word:ty)*) => {$(
        #[expect(unsafe_code, reason = "as in `mask`")]
        impl Lanes for $word {
            #[inline(always)]
            fn repeat(key: [u8; 4]) -> Self {
                // Fours of bytes that are 1 in their lowest bit.
                const ONES: $word = <$word>::MAX / u32::MAX as $word;
                <$word>::from(u32::from_ne_bytes(key)) * ONES
            }

            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller says so.
                unsafe { from.cast::<Self>().read_unaligned() }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: the caller says so.
                unsafe { to.cast::<Self>().write_unaligned(self) };
            }

            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }

            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }

            #[inline(always)]
            fn is_ascii(self) -> bool {
                self & (<$word>::MAX / 0xff * 0x80) == 0
            }
        }
    )*};
}

words!(u32 u64);

/// What every processor of the architecture masks at once.
#[cfg(target_arch = "x86_64")]
type Vector = core::arch::x86_64::__m128i;
#[cfg(not(target_arch = "x86_64"))]
type Vector = u128;
#[cfg(not(target_arch = "x86_64"))]
words!(u128);

/// Writes `len` bytes from `from`, masked from the first byte of `key` on, to `to`; in the order of
/// [`apply_mask`], so that its registers stay as they are. With `LOOK`, says
/// whether all that came of it is ASCII; otherwise `true`.
///
/// # Safety
/// `from` is readable and `to` is writable for `len` bytes; both are the same, or do not overlap.
#[inline]
#[expect(
    unsafe_code,
    reason = "measured: without bounds and slices it takes half the instructions"
)]
unsafe fn mask<const LOOK: bool>(from: *const u8, len: usize, key: [u8; 4], to: *mut u8) -> bool {
    // SAFETY: the caller says so, and the lengths are what is asked for.
    unsafe {
        // In this order the shortest, whose time is that of its branches, take none.
        if len <= 8 {
            if len < 4 {
                return bytes::<LOOK>(from, len, key, to);
            }
            ends::<LOOK, u32, 1>(from, len, key, to)
        } else if len <= 16 {
            ends::<LOOK, u64, 1>(from, len, key, to)
        } else {
            vectors::<LOOK>(from, len, key, to)
        }
    }
}

/// # Safety
/// As for [`mask`].
#[cold]
#[expect(unsafe_code, reason = "as in `mask`")]
unsafe fn bytes<const LOOK: bool>(from: *const u8, len: usize, key: [u8; 4], to: *mut u8) -> bool {
    let mut seen = 0;
    for (at, key) in key.into_iter().enumerate().take(len) {
        // SAFETY: `at` is below `len`.
        unsafe {
            let masked = *from.add(at) ^ key;
            *to.add(at) = masked;
            seen |= masked;
        }
    }
    !LOOK || seen < 0x80
}

/// Masks as many bytes as `N` lanes have, up to twice as many.
///
/// # Safety
/// As for [`mask`], and `len` is at least `N` times the size of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "as in `mask`")]
unsafe fn ends<const LOOK: bool, L: Lanes, const N: usize>(
    from: *const u8,
    len: usize,
    key: [u8; 4],
    to: *mut u8,
) -> bool {
    let size = size_of::<L>();
    let back = len - N * size;
    // Those at the end begin where as many bytes went before, but for a multiple of four, as it has.
    let (key, key_back) = (L::repeat(key), L::repeat(rotated(key, len)));
    // SAFETY: `N` lanes from the beginning, or from `back` on, end at `len` or before.
    unsafe {
        let first: [L; N] = array::from_fn(|at| L::load(from.add(at * size)).xor(key));
        let last: [L; N] = array::from_fn(|at| L::load(from.add(back + at * size)).xor(key_back));
        let mut seen = L::repeat([0; 4]);
        for (at, (first, last)) in first.into_iter().zip(last).enumerate() {
            first.store(to.add(at * size));
            last.store(to.add(back + at * size));
            seen = seen.or(first).or(last);
        }
        !LOOK || seen.is_ascii()
    }
}

/// Masks 17 bytes or more.
///
/// # Safety
/// As for [`mask`].
#[inline(never)]
#[expect(unsafe_code, reason = "as in `mask`")]
unsafe fn vectors<const LOOK: bool>(
    from: *const u8,
    len: usize,
    key: [u8; 4],
    to: *mut u8,
) -> bool {
    // SAFETY: the caller says so, and the lengths are what is asked for.
    unsafe {
        match len {
            65.. => widest::<LOOK>(from, len, key, to),
            33.. => ends::<LOOK, Vector, 2>(from, len, key, to),
            _ => ends::<LOOK, Vector, 1>(from, len, key, to),
        }
    }
}

/// Masks 64 bytes or more by the widest vectors that the processor has.
///
/// # Safety
/// As for [`mask`].
#[inline(never)]
#[expect(unsafe_code, reason = "as in `mask`")]
unsafe fn widest<const LOOK: bool>(from: *const u8, len: usize, key: [u8; 4], to: *mut u8) -> bool {
    // SAFETY: the caller says so, and the processor was asked for its vectors.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if x86::has_avx512() {
            return x86::avx512::<LOOK>(from, len, key, to);
        } else if x86::has_avx2() {
            return x86::avx2::<LOOK>(from, len, key, to);
        }
        wide::<LOOK, Vector, 4>(from, len, key, to)
    }
}

/// Masks 64 bytes or more by lanes of 64 bytes, or of `N` parts of it.
///
/// # Safety
/// As for [`mask`].
#[inline(always)]
#[expect(unsafe_code, reason = "as in `mask`")]
unsafe fn wide<const LOOK: bool, L: Lanes, const N: usize>(
    from: *const u8,
    len: usize,
    key: [u8; 4],
    to: *mut u8,
) -> bool {
    const { assert!(N * size_of::<L>() == 64) };
    // SAFETY: the caller says so, and the lengths are what is asked for.
    unsafe {
        if len <= 128 {
            ends::<LOOK, L, N>(from, len, key, to)
        } else {
            long::<LOOK, L>(from, len, key, to)
        }
    }
}

/// Masks any number of bytes from the size of `L` on.
///
/// # Safety
/// As for [`mask`], and `len` is at least the size of `L`.
#[inline(always)]
#[expect(unsafe_code, reason = "as in `mask`")]
unsafe fn long<const LOOK: bool, L: Lanes>(
    from: *const u8,
    len: usize,
    key: [u8; 4],
    to: *mut u8,
) -> bool {
    let size = size_of::<L>();
    let back = len - size;
    // SAFETY: whatever is read or written ends at `len` or before.
    unsafe {
        let first = L::load(from).xor(L::repeat(key));
        let last = L::load(from.add(back)).xor(L::repeat(rotated(key, len)));
        let mut seen = first.or(last);
        let mut at = to.addr().wrapping_neg() % size;
        let key = L::repeat(rotated(key, at));
        while at <= back {
            let masked = L::load(from.add(at)).xor(key);
            masked.store(to.add(at));
            seen = seen.or(masked);
            at += size;
        }
        first.store(to);
        last.store(to.add(back));
        !LOOK || seen.is_ascii()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::{
        __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi32, _mm_storeu_si128, _mm_xor_si128, _mm256_loadu_si256, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_set1_epi32, _mm256_storeu_si256, _mm256_xor_si256,
        _mm512_loadu_si512, _mm512_or_si512, _mm512_set1_epi32, _mm512_storeu_si512,
        _mm512_test_epi32_mask, _mm512_xor_si512,
    };

    use super::{Lanes, wide};

    cpufeatures::new!(cpu_avx2, "avx2");
    cpufeatures::new!(cpu_avx512, "avx512f");

    pub(super) fn has_avx2() -> bool {
        cpu_avx2::get()
    }

    pub(super) fn has_avx512() -> bool {
        cpu_avx512::get()
    }

    /// # Safety
    /// As for [`wide`]; and the processor has AVX2.
    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "as in `mask`")]
    pub(super) unsafe fn avx2<const LOOK: bool>(
        from: *const u8,
        len: usize,
        key: [u8; 4],
        to: *mut u8,
    ) -> bool {
        // SAFETY: the caller says so.
        unsafe { wide::<LOOK, __m256i, 2>(from, len, key, to) }
    }

    /// # Safety
    /// As for [`wide`]; and the processor has AVX-512F.
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "as in `mask`")]
    pub(super) unsafe fn avx512<const LOOK: bool>(
        from: *const u8,
        len: usize,
        key: [u8; 4],
        to: *mut u8,
    ) -> bool {
        // SAFETY: the caller says so.
        unsafe { wide::<LOOK, __m512i, 1>(from, len, key, to) }
    }

    /// `$vector` by these functions, which are inlined where the processor is known to have them.
    macro_rules! lanes {
        ($vector:ty, $set:ident, $load:ident, $store:ident, $xor:ident, $or:ident, $is_ascii:expr) => {
            #[expect(unsafe_code, reason = "as in `mask`")]
            impl Lanes for $vector {
                #[inline(always)]
                fn repeat(key: [u8; 4]) -> Self {
                    // SAFETY: only `avx2` and `avx512` use vectors that a processor may lack.
                    unsafe { $set(i32::from_ne_bytes(key)) }
                }

                #[inline(always)]
                unsafe fn load(from: *const u8) -> Self {
                    // SAFETY: the caller says that it is readable; otherwise as in `repeat`.
                    unsafe { $load(from.cast()) }
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut u8) {
                    // SAFETY: the caller says that it is writable; otherwise as in `repeat`.
                    unsafe { $store(to.cast(), self) };
                }

                #[inline(always)]
                fn xor(self, other: Self) -> Self {
                    // SAFETY: as in `repeat`.
                    unsafe { $xor(self, other) }
                }

                #[inline(always)]
                fn or(self, other: Self) -> Self {
                    // SAFETY: as in `repeat`.
                    unsafe { $or(self, other) }
                }

                #[inline(always)]
                fn is_ascii(self) -> bool {
                    // SAFETY: as in `repeat`.
                    unsafe { $is_ascii(self) }
                }
            }
        };
    }

    lanes!(
        __m128i,
        _mm_set1_epi32,
        _mm_loadu_si128,
        _mm_storeu_si128,
        _mm_xor_si128,
        _mm_or_si128,
        |it| _mm_movemask_epi8(it) == 0
    );
    lanes!(
        __m256i,
        _mm256_set1_epi32,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_xor_si256,
        _mm256_or_si256,
        |it| _mm256_movemask_epi8(it) == 0
    );
    lanes!(
        __m512i,
        _mm512_set1_epi32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_xor_si512,
        _mm512_or_si512,
        |it| {
            let high = _mm512_set1_epi32(i32::from_ne_bytes([0x80; 4]));
            _mm512_test_epi32_mask(it, high) == 0
        }
    );
}

#[cfg(test)]
mod tests;
