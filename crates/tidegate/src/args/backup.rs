//! What `tidegate backup` takes.

use std::path::PathBuf;

use clap::Args;

use crate::store::StoreChoice;

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate backup events-monday.db
      Copies what `tidegate serve` keeps in ./tidegate-data/events.db.
  tidegate backup --store sqlite:/var/lib/tidegate/events.db /backup/events.db
      Copies another store.

The hub may run meanwhile; it is neither stopped nor held up. The copy has everything that was
acknowledged before the command began. To restore it, end the hub, put the copy in the place of
the store, remove the files beside it that end in -wal and -shm, and start the hub: subscribers
that had seen more than the copy has are told so by a gap.";

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write; it must not exist yet.
    #[arg(value_name = "DEST")]
    pub(crate) to: PathBuf,

    /// The store to copy, `sqlite:PATH`.
    #[arg(
        long,
        env = "TIDEGATE_STORE",
        value_name = "STORE",
        hide_env_values = true,
        default_value = "sqlite:tidegate-data/events.db"
    )]
    pub(crate) store: StoreChoice,
}
