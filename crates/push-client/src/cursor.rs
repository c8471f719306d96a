//! The cursor a subscription resumes from, and the check that ids only ever rise.

use crate::error::ClientError;

/// Where a subscription is: what it would ask to resume from now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cursor {
    /// Never empty. A cursor, or what the application asked for while no id has arrived
    /// (`earliest`, say), so a drop before the first id loses nothing.
    resume: Option<String>,
}

impl Cursor {
    pub(crate) fn new(after: Option<String>) -> Self {
        Self { resume: after }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        self.resume.as_deref()
    }

    /// Moves past an event, which must be above everything before it.
    pub(crate) fn pass(&mut self, id: &str) -> Result<(), ClientError> {
        self.advance(id, |new, last| new > last)
    }

    /// Takes an id that says how far the stream is, which may repeat the one before it.
    pub(crate) fn reach(&mut self, id: &str) -> Result<(), ClientError> {
        self.advance(id, |new, last| new >= last)
    }

    /// Goes to where a gap continues, which may lie below (the hub knows less than this client).
    pub(crate) fn jump(&mut self, id: &str) -> Result<(), ClientError> {
        self.advance(id, |_, _| true)
    }

    fn advance(
        &mut self,
        id: &str,
        in_order: impl FnOnce(u64, u64) -> bool,
    ) -> Result<(), ClientError> {
        let Some((epoch, seq)) = parse(id) else {
            return Err(ClientError::Malformed {
                what: "id",
                detail: format!("{id:?}"),
            });
        };
        if let Some(last) = &self.resume
            && let Some((last_epoch, last_seq)) = parse(last)
            && epoch == last_epoch
            && !in_order(seq, last_seq)
        {
            return Err(ClientError::OutOfOrder {
                id: id.to_owned(),
                last: last.clone(),
            });
        }
        self.resume = Some(id.to_owned());
        Ok(())
    }
}

/// Splits a cursor into epoch and seq; seqs compare only within an epoch.
fn parse(cursor: &str) -> Option<(&str, u64)> {
    let (epoch, seq) = cursor.rsplit_once('-')?;
    let is_hex = !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
    // `u64::from_str` also takes a leading `+`.
    let is_decimal = seq.bytes().all(|byte| byte.is_ascii_digit());
    (is_hex && is_decimal).then(|| seq.parse().ok().map(|seq| (epoch, seq)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "00000000000000aa";
    const B: &str = "00000000000000bb";

    #[derive(Clone, Copy)]
    enum Step {
        Pass,
        Reach,
        Jump,
    }
    use Step::{Jump, Pass, Reach};

    /// Starts at `after`, takes one step to `id`, and compares the outcome: the cursor afterwards,
    /// or `None` for a refusal, which must leave the cursor where it was.
    #[track_caller]
    fn check(after: Option<&str>, step: Step, id: &str, expected: bool) {
        let mut cursor = Cursor::new(after.map(str::to_owned));
        let outcome = match step {
            Pass => cursor.pass(id),
            Reach => cursor.reach(id),
            Jump => cursor.jump(id),
        };
        assert_eq!(outcome.is_ok(), expected, "{outcome:?}");
        assert_eq!(cursor.as_str(), if expected { Some(id) } else { after });
    }

    #[test]
    fn events_only_rise_within_an_epoch() {
        for (seq, expected) in [(4, false), (5, false), (6, true), (100, true)] {
            check(
                Some(&format!("{A}-5")),
                Pass,
                &format!("{A}-{seq}"),
                expected,
            );
        }
    }

    #[test]
    fn seqs_compare_as_numbers_not_as_text() {
        check(Some(&format!("{A}-9")), Pass, &format!("{A}-10"), true);
    }

    #[test]
    fn seqs_of_different_epochs_do_not_compare() {
        check(Some(&format!("{A}-5")), Pass, &format!("{B}-2"), true);
    }

    #[test]
    fn progress_may_repeat_but_not_fall() {
        for (seq, expected) in [(4, false), (5, true), (6, true)] {
            check(
                Some(&format!("{A}-5")),
                Reach,
                &format!("{A}-{seq}"),
                expected,
            );
        }
    }

    #[test]
    fn a_gap_may_go_back() {
        check(Some(&format!("{A}-5")), Jump, &format!("{A}-2"), true);
    }

    #[test]
    fn the_first_id_is_taken_after_anything_that_is_no_cursor() {
        for after in [
            None,
            Some("earliest"),
            Some("latest"),
            Some("x-y"),
            Some("é"),
        ] {
            check(after, Pass, &format!("{A}-1"), true);
        }
    }

    #[test]
    fn an_id_that_is_no_cursor_is_refused() {
        for id in [
            "",
            "1",
            "-1",
            "aa-",
            "aa-+1",
            "aa--1",
            "zz-1",
            "aa-18446744073709551616",
        ] {
            for step in [Pass, Reach, Jump] {
                check(Some(&format!("{A}-5")), step, id, false);
            }
        }
    }
}
