//! Masks of every length, phase, width and alignment against the words of the RFC.

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
#[expect(unsafe_code, reason = "as in `mask`")]
fn every_width_of_vectors_gives_the_same_at_every_alignment() {
    type Mask = unsafe fn(*const u8, usize, [u8; 4], *mut u8) -> bool;
    let mut widths: Vec<Mask> = std::vec![long::<true, u64>, wide::<true, Vector, 4>];
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx2() {
        widths.push(x86::avx2::<true>);
    }
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx512() {
        widths.push(x86::avx512::<true>);
    }
    for mask in widths {
        for (len, start) in (64..300).zip((0..64).cycle()) {
            for high in [None, Some(0), Some(len / 2), Some(len - 1)] {
                let plain = bytes(len, high);
                let mut arena = bytes(start, None);
                arena.extend(oracle(&plain, KEY, 0));
                arena.extend([1, 2, 3]);
                let mut copy = std::vec![9; start + len + 3];
                // SAFETY: both have `len` bytes from `start` on, and the processor was asked.
                let ascii = unsafe {
                    let from = arena.as_ptr().add(start);
                    mask(from, len, KEY, copy.as_mut_ptr().add(start))
                };
                assert_eq!(ascii, high.is_none());
                assert_eq!(copy[start..start + len], plain);
                assert!(copy[..start].iter().all(|byte| *byte == 9));
                assert_eq!(copy[start + len..], [9, 9, 9]);
                // SAFETY: as above, in place.
                let ascii = unsafe {
                    let at = arena.as_mut_ptr().add(start);
                    mask(at, len, KEY, at)
                };
                assert_eq!(ascii, high.is_none());
                assert_eq!(arena[..start], bytes(start, None));
                assert_eq!(arena[start..start + len], plain);
                assert_eq!(arena[start + len..], [1, 2, 3]);
            }
        }
    }
}

#[cfg(feature = "alloc")]
#[test]
fn a_frame_is_appended_behind_what_is_there_masked_or_not() {
    use crate::frame::{Header, OpCode};

    for len in (0..300).chain([4095, 4096, 4097, 9000, 70_000]) {
        for mask in [None, Some(KEY)] {
            let mut header = Header::new(OpCode::Binary, len as u64);
            header.mask = mask;
            let header = header.encode();
            let mut out = std::vec![1, 2, 3];
            extend_with_frame(&mut out, &header, mask, &bytes(len, None));
            let payload = oracle(&bytes(len, None), mask.unwrap_or_default(), 0);
            assert_eq!(out, [&[1, 2, 3], &*header, &payload].concat(), "{len}");
        }
    }
}
