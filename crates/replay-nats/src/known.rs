//! The epochs that a session knows, and the message in the stream that tells them.

use replay_store::{Epoch, Epochs, StoreError};

use crate::message::{Stored, corrupt};

/// The epochs of the log, all that were born at or below `through`.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) epochs: Epochs,
    pub(crate) through: u64,
    /// The last message that tells them, and its time; 0 for none.
    pub(crate) told_at: u64,
    pub(crate) told_ms: u64,
}

impl Known {
    /// Takes what a message tells, unless a later one was heard.
    pub(crate) fn learn(&mut self, told: &Stored) -> Result<(), StoreError> {
        if told.seq <= self.told_at {
            return Ok(());
        }
        let parse = || {
            let lines = std::str::from_utf8(&told.data).ok()?.lines();
            let births = lines.map(|line| {
                let (epoch, birth) = line.split_once(' ')?;
                let epoch = u64::from_str_radix(epoch, 16).ok()?;
                let birth = match birth.parse().ok()? {
                    0 => told.seq,
                    birth => birth,
                };
                Some((Epoch(epoch), birth))
            });
            Epochs::restore(births.collect::<Option<_>>()?)
        };
        self.epochs = parse().ok_or_else(|| corrupt("the epochs of the stream cannot be read"))?;
        (self.told_at, self.told_ms) = (told.seq, told.time_ms);
        self.through = self.through.max(told.seq);
        Ok(())
    }

    /// One line an epoch: its name, and its birth; 0 is the seq of the message itself.
    pub(crate) fn tell(&self, seed: Option<u64>) -> String {
        let births = self.epochs.births();
        let recent = births.len().saturating_sub(MAX_EPOCHS);
        let mut lines: Vec<_> = births
            .iter()
            .skip(recent)
            .map(|(epoch, birth)| format!("{epoch} {birth}"))
            .collect();
        lines.extend(seed.map(|seed| format!("{} 0", Epoch(seed))));
        lines.join("\n")
    }

    /// The epochs as they were when the log ended with `last`.
    pub(crate) fn at(&self, last: u64) -> Epochs {
        let births = self.epochs.births();
        let born = births
            .iter()
            .copied()
            .filter(|(_, birth)| *birth <= last.max(1));
        Epochs::restore(born.collect()).unwrap_or_else(|| self.epochs.clone())
    }
}

/// Epochs remembered.
const MAX_EPOCHS: usize = 1000;
