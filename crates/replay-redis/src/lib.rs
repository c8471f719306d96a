//! A replay store on Redis, which any number of nodes share.
//!
//! One script call appends whatever batches queued meanwhile: it looks idempotency keys up, numbers
//! the events, writes them to one stream and to one sorted set of seqs per topic, and applies
//! retention. One script call reads a page: a snapshot, taken on the primary. Each node has three
//! connections, however many clients it serves.
//!
//! Every script call reads the replication id of the server. When it is another one than at the last
//! append, since Redis was restarted or a replica was promoted, an epoch begins with the next event.
//! Cursors of before stay valid as far as nothing was lost, so a restart that lost nothing costs no
//! subscriber a gap, and a promotion that lost acknowledged events is told to those who saw them.
//!
//! What survives what depends on how Redis is set up, which [`RedisStore::connect`] looks at: see
//! [`Advice`]. Redis replicates after it has answered, so no setting makes an acknowledged event
//! survive the loss of the primary.
//!
//! ```no_run
//! use replay_redis::{RedisConfig, RedisStore};
//! use replay_store::{Append, Clock, ReplayStore, Topic};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = Clock::new(|| {
//!     let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
//!     since.as_millis() as u64
//! });
//! // Epochs need 64 random bits each; take them from the operating system.
//! let seeds = || 0x9f3a_51c0_4e77_d210;
//! let config = RedisConfig::new("redis://127.0.0.1:6379");
//! let store = RedisStore::connect(config, seeds, clock).await?;
//! for advice in store.advice() {
//!     eprintln!("{advice}");
//! }
//! let appended = store
//!     .append(vec![Append::new(Topic::new("greetings")?, "hello")])
//!     .await?;
//! println!("appended at {}", appended[0].position);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod config;
mod error;
mod link;
mod listen;
mod log;
mod reply;
mod script;
mod server;
mod store;
mod writer;

pub use self::config::RedisConfig;
pub use self::error::OpenError;
pub use self::server::Advice;
pub use self::store::RedisStore;
