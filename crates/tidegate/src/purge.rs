//! `tidegate purge`: what a hub has of topics, removed.

use std::time::Duration;

use anyhow::Context;
use push_client::{PublishOptions, Publisher};

use crate::args::Purge;
use crate::output::notice;
use crate::trust::{self, advise};

/// Who removes something waits for it, and wants to know if it does not happen.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: Purge) -> anyhow::Result<()> {
    let mut options = PublishOptions::default();
    options.deadline(PATIENCE).attempt_timeout(PATIENCE);
    if let Some(roots) = trust::roots(args.hub.ca.as_deref())? {
        options.roots(roots);
    }
    let publisher = Publisher::with_options(args.hub.url(), options)?;
    let through = publisher.purge(&args.patterns).await.map_err(advise);
    let through = through.with_context(|| format!("{} was not purged", args.patterns.join(" ")))?;
    notice(&format!("removed what was published up to {through}"));
    Ok(())
}
