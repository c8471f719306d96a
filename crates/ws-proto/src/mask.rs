//! Masking (RFC 6455 section 5.3).

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
pub fn apply_mask(buf: &mut [u8], key: [u8; 4], phase: usize) -> usize {
    let [a, b, c, d] = rotated(key, phase);
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let next = phase.wrapping_add(buf.len()) % 4;
    // Whole words of a safe slice of arrays are what the compiler turns into vector instructions.
    let (words, tail) = buf.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
    next
}

/// The key as it applies to a payload of which `phase` bytes are done.
pub(crate) fn rotated(mut key: [u8; 4], phase: usize) -> [u8; 4] {
    key.rotate_left(phase % 4);
    key
}
