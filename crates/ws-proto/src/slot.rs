//! Room for one control payload.

use crate::inline::InlineBytes;

/// The payload of a control frame (RFC 6455 section 5.5).
pub(crate) type ControlPayload = InlineBytes<125>;

// Most slots are empty most of the time, so each has its payload on the heap, where there is a heap.
#[cfg(feature = "alloc")]
type Stored = alloc::boxed::Box<ControlPayload>;
#[cfg(not(feature = "alloc"))]
type Stored = ControlPayload;

/// Room for at most one control payload.
#[derive(Debug, Default)]
pub(crate) struct Slot(Option<Stored>);

impl Slot {
    /// Replaces what was there.
    pub(crate) fn set(&mut self, payload: &[u8]) {
        let stored = self.stored();
        stored.clear();
        stored.push(payload);
    }

    /// Appends as much of `from` as fits and says how much that was.
    pub(crate) fn append(&mut self, from: &[u8]) -> usize {
        self.stored().push(from)
    }

    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Some(stored) => stored.as_slice(),
            None => &[],
        }
    }

    /// Whether there is no payload, not even one of no bytes.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn take(&mut self) -> Option<ControlPayload> {
        #[cfg(feature = "alloc")]
        return self.0.take().map(|stored| *stored);
        #[cfg(not(feature = "alloc"))]
        return self.0.take();
    }

    fn stored(&mut self) -> &mut ControlPayload {
        self.0
            .get_or_insert_with(|| Stored::from(ControlPayload::new()))
    }
}
