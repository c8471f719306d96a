//! A few bytes without a heap.

use core::fmt;
use core::ops::Deref;

/// At most `N` bytes, held inline. `N` is at most 255.
#[derive(Clone, Copy)]
pub struct InlineBytes<const N: usize> {
    bytes: [u8; N],
    /// 0 <= len <= N
    len: u8,
}

impl<const N: usize> InlineBytes<N> {
    /// The most that fit.
    #[cfg(feature = "alloc")]
    pub(crate) const CAPACITY: usize = N;

    /// The bytes, and whatever is behind them.
    #[cfg(feature = "alloc")]
    #[inline]
    pub(crate) const fn as_array(&self) -> &[u8; N] {
        &self.bytes
    }

    pub(crate) const fn new() -> Self {
        const { assert!(N <= 255) };
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// The first `len` of these bytes, at most `N`.
    #[inline]
    pub(crate) const fn from_array(bytes: [u8; N], len: u8) -> Self {
        const { assert!(N <= 255) };
        Self { bytes, len }
    }

    /// Appends as much of `from` as fits and says how much that was.
    pub(crate) fn push(&mut self, from: &[u8]) -> usize {
        let free = self
            .bytes
            .get_mut(usize::from(self.len)..)
            .unwrap_or_default();
        let mut taken = 0;
        for (to, byte) in free.iter_mut().zip(from) {
            *to = *byte;
            taken += 1;
        }
        // The zip ended within `bytes`, whose length fits.
        self.len = u8::try_from(usize::from(self.len) + taken).unwrap_or(u8::MAX);
        taken
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(..usize::from(self.len))
            .unwrap_or_default()
    }

    /// The bytes.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl<const N: usize> Default for InlineBytes<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for InlineBytes<N> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl<const N: usize> AsRef<[u8]> for InlineBytes<N> {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl<const N: usize> PartialEq for InlineBytes<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<const N: usize> Eq for InlineBytes<N> {}

impl<const N: usize> fmt::Debug for InlineBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}
