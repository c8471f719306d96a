//! Whether a node can serve.

use std::time::Duration;

use replay_store::feed::JoinError;
use replay_store::{After, Limit, ReplayStore as _, Selector, StoreError};
use tokio::time::timeout;

use crate::hub::Hub;

/// How long the store and the feed may take to show that they work.
const PROBING: Duration = Duration::from_secs(2);

impl Hub {
    /// Whether this node can serve: it does not drain, its store can be read, and its feed gets to
    /// the end of the log, all within two seconds.
    ///
    /// # Errors
    ///
    /// It cannot; the reason says what is wrong.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened.
    pub async fn ready(&self) -> Result<(), NotReady> {
        if self.is_closed() || self.is_draining() {
            return Err(NotReady::Draining);
        }
        self.probe().await
    }

    /// Finds the end of the log, and has the feed get there.
    pub(crate) async fn probe(&self) -> Result<(), NotReady> {
        let one = Limit {
            events: 1,
            bytes: 1,
        };
        let everything = Selector::all();
        let probed = async {
            let page = self.store().read(&everything, After::Latest, one);
            let at = page.await.map_err(NotReady::Store)?.next();
            match self.feed().reach(at).await {
                Ok(_) => Ok(()),
                Err(JoinError::Store(error)) => Err(NotReady::Store(error)),
                Err(JoinError::Closed(_)) => Err(NotReady::Draining),
            }
        };
        timeout(PROBING, probed)
            .await
            .unwrap_or(Err(NotReady::Slow))
    }
}

/// Why a node cannot serve.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// There is no hub yet.
    #[error("starting, the store is not open yet")]
    Starting,
    /// The hub drains, or has closed.
    #[error("draining, subscribers are told to come back elsewhere")]
    Draining,
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(StoreError),
    /// The store or the feed takes too long.
    #[error("the store, or the feed that follows it, did not answer within two seconds")]
    Slow,
}

impl NotReady {
    /// One word for machines.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Store(_) | Self::Slow => "store_unreadable",
        }
    }
}
