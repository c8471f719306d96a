//! The scripts that run inside Redis.

use std::sync::LazyLock;

use redis::Cmd;
use replay_store::Event;

// The scripts say the same number.
const _: () = assert!(Event::OVERHEAD == 128);

/// A script, called by its digest.
pub(crate) struct Script {
    text: String,
    digest: String,
}

impl Script {
    fn new(flags: &str, parts: &[&str]) -> Self {
        let text = format!("#!lua{flags}\n{}", parts.concat());
        let digest = redis::Script::new(&text).get_hash().to_owned();
        Self { text, digest }
    }

    /// A call, to which the arguments are added.
    pub(crate) fn call(&self, base: &str) -> Cmd {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.digest).arg(1).arg(base);
        call
    }

    pub(crate) fn load(&self) -> Cmd {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(&self.text);
        load
    }
}

const PRELUDE: &str = include_str!("lua/prelude.lua");
const RETAIN: &str = include_str!("lua/retain.lua");

/// Refused as a whole when the memory of Redis is full, so never applied in part.
pub(crate) static APPEND: LazyLock<Script> = LazyLock::new(|| {
    let parts = [PRELUDE, RETAIN, include_str!("lua/append.lua")];
    Script::new("", &parts)
});

/// Makes room, so it may run when there is none.
pub(crate) static TICK: LazyLock<Script> = LazyLock::new(|| {
    let parts = [PRELUDE, RETAIN, include_str!("lua/tick.lua")];
    Script::new(" flags=allow-oom", &parts)
});

pub(crate) static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new(" flags=no-writes", &[PRELUDE, include_str!("lua/read.lua")]));

pub(crate) static TOPICS: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        " flags=no-writes",
        &[PRELUDE, include_str!("lua/topics.lua")],
    )
});
