//! What an idempotency key remembers of its event.

use crate::Append;

/// A digest of an event's type, conflate key and data, by which a store tells a retry from another
/// event under the same idempotency key, even after the event itself was trimmed.
///
/// FNV-1a with 128 bits: the same in every process and version, so it can be stored. It is not
/// made to resist a publisher who looks for collisions; such a one only harms its own topics.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The digest of `append`, whatever its topic and idempotency key.
    #[must_use]
    pub fn of(append: &Append) -> Self {
        let event = append.event.as_ref().map(|event| event.as_str().as_bytes());
        let conflate = append.conflate_key.as_ref().map(|key| key.as_bytes());
        let mut digest = Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        for field in [event, conflate, Some(&append.data[..])] {
            // The length keeps a byte from moving over to the next field unseen.
            let len = field.map_or(u64::MAX, |field| field.len() as u64);
            digest.update(&len.to_le_bytes());
            digest.update(field.unwrap_or_default());
        }
        digest
    }

    /// For storing.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// As stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    fn update(&mut self, bytes: &[u8]) {
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventType, Topic};

    #[test]
    fn fnv_1a_matches_its_published_vector() {
        let mut digest = Fingerprint(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        digest.update(b"a");
        assert_eq!(digest.0, 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let append = |event: Option<&str>, conflate: Option<&str>, data: &'static str| Append {
            event: event.map(|event| EventType::new(event).expect("valid")),
            conflate_key: conflate.map(Into::into),
            ..Append::new(Topic::new("t").expect("valid"), data)
        };
        let all = [
            append(None, None, "ab"),
            append(Some("a"), None, "b"),
            append(Some("ab"), None, ""),
            append(None, Some("ab"), ""),
            append(None, Some("a"), "b"),
            append(None, Some(""), "ab"),
        ];
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(
                    Fingerprint::of(a) == Fingerprint::of(b),
                    i == j,
                    "{a:?} {b:?}"
                );
            }
        }
    }

    #[test]
    fn it_survives_being_stored() {
        let digest = Fingerprint::of(&Append::new(Topic::new("t").expect("valid"), "x"));
        assert_eq!(Fingerprint::from_bytes(digest.to_bytes()), digest);
    }
}
