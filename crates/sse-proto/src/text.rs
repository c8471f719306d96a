//! Bytes as text.

use alloc::string::String;
use alloc::vec::Vec;

/// `bytes` as text, if they are UTF-8.
#[inline]
#[expect(
    unsafe_code,
    reason = "checking for ASCII takes a third of the time of `str::from_utf8`, which is otherwise \
              half of decoding; no safe function turns bytes into a `str` without the latter"
)]
pub(crate) fn utf8(bytes: &[u8]) -> Option<&str> {
    if is_ascii(bytes) {
        // SAFETY: they are ASCII, as was just checked, and ASCII is UTF-8.
        return Some(unsafe { str::from_utf8_unchecked(bytes) });
    }
    str::from_utf8(bytes).ok()
}

/// `bytes` as text, if they are UTF-8, or back.
#[expect(
    unsafe_code,
    reason = "as in `utf8`: `String::from_utf8` would look a second time at what was looked at"
)]
pub(crate) fn into_utf8(bytes: Vec<u8>) -> Result<String, Vec<u8>> {
    if utf8(&bytes).is_none() {
        return Err(bytes);
    }
    // SAFETY: they are UTF-8, as was just checked.
    Ok(unsafe { String::from_utf8_unchecked(bytes) })
}

/// What is left over of a multiple of 32 bytes, `<[u8]>::is_ascii` looks at one by one, which for a
/// small event is half of its time: here it looks at the last 32 twice instead. They come first, for
/// text that is not ASCII gives itself away there as soon as anywhere.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    match bytes.last_chunk::<32>() {
        Some(last) => last.is_ascii() && bytes.split_at(bytes.len() & !31).0.is_ascii(),
        None => bytes.is_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_that_is_not_ascii_is_noticed_wherever_it_is() {
        for len in 0..130 {
            let mut bytes = [b'x'; 130];
            let bytes = &mut bytes[..len];
            assert!(is_ascii(bytes));
            for at in 0..len {
                bytes[at] = 0x80;
                assert!(!is_ascii(bytes), "{at} of {len}");
                assert_eq!(utf8(bytes), None);
                bytes[at] = b'x';
            }
            assert_eq!(utf8(bytes).map(str::len), Some(len));
        }
        assert_eq!(utf8("\u{2026}".as_bytes()), Some("\u{2026}"));
    }
}
