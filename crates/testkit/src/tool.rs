//! Where a test finds the foreign programs it runs against us.
//!
//! `cargo xtask test` installs them and names them in the environment. A test started by plain
//! `cargo test` finds what an earlier `cargo xtask test` (or `cargo xtask tools`) left under the
//! target directory. A tool that is missing fails the test: a test never skips itself.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// A program, or a folder of programs, that tests need and Cargo does not bring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Tool {
    /// A Chromium that runs headless. As root it needs `chromiumSandbox: false`.
    Chromium,
    /// curl.
    Curl,
    /// HAProxy; Debian has it in `/usr/sbin`.
    Haproxy,
    /// The JavaScript runtime.
    Node,
    /// A `node_modules` folder with `playwright-core`, `undici` and `ws` in it: give it to [`Tool::Node`] as
    /// `NODE_PATH` and load CommonJS, `require('playwright-core')`.
    NodeModules,
    /// The NATS server; Debian has it in `/usr/sbin`.
    NatsServer,
    /// nginx; Debian has it in `/usr/sbin`.
    Nginx,
    /// A Python whose packages include `aiohttp`, `httpx`, `httpx-sse`, `websockets` and `wsproto`.
    Python,
    /// A Redis server of version 7.0 or later: see [`RedisServer`](crate::RedisServer).
    RedisServer,
}

impl Tool {
    /// The environment variable by which `cargo xtask test` names it. The xtask has the same list.
    const fn variable(self) -> &'static str {
        match self {
            Self::Chromium => "TIDEGATE_TEST_CHROMIUM",
            Self::Curl => "TIDEGATE_TEST_CURL",
            Self::Haproxy => "TIDEGATE_TEST_HAPROXY",
            Self::Nginx => "TIDEGATE_TEST_NGINX",
            Self::Node => "TIDEGATE_TEST_NODE",
            Self::NodeModules => "TIDEGATE_TEST_NODE_MODULES",
            Self::NatsServer => "TIDEGATE_TEST_NATS_SERVER",
            Self::Python => "TIDEGATE_TEST_PYTHON",
            Self::RedisServer => "TIDEGATE_TEST_REDIS_SERVER",
        }
    }

    /// Where it is when no variable names it.
    fn search(self) -> Option<PathBuf> {
        match self {
            Self::Chromium => on_path("chromium"),
            Self::Curl => on_path("curl"),
            Self::Node => on_path("node"),
            Self::NodeModules => in_tools("node/node_modules"),
            Self::Haproxy => server("haproxy"),
            Self::NatsServer => server("nats-server"),
            Self::Nginx => server("nginx"),
            Self::Python => in_tools("python/bin/python"),
            Self::RedisServer => on_path("redis-server"),
        }
    }
}

/// The path of a tool.
///
/// # Panics
///
/// When the tool is missing; the message says to run `cargo xtask test`.
#[must_use]
#[track_caller]
pub fn tool(tool: Tool) -> PathBuf {
    match locate(env::var_os(tool.variable()), || tool.search()) {
        Ok(path) => path,
        Err(why) => panic!("{tool:?}: {why}; run `cargo xtask test`, which installs it"),
    }
}

fn locate(
    named: Option<OsString>,
    search: impl Fn() -> Option<PathBuf>,
) -> Result<PathBuf, String> {
    match named.map(PathBuf::from) {
        Some(path) if path.exists() => Ok(path),
        Some(path) => Err(format!(
            "the environment names {}, which is missing",
            path.display()
        )),
        None => search().ok_or_else(|| "this test needs it, and it is not installed".to_owned()),
    }
}

/// Debian keeps servers where the path of most users does not lead.
fn server(program: &str) -> Option<PathBuf> {
    on_path(program).or_else(|| {
        let debian = PathBuf::from("/usr/sbin").join(program);
        debian.is_file().then_some(debian)
    })
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Looks below the target directory that this test was built in: Cargo marks it with a
/// `CACHEDIR.TAG`, wherever `CARGO_TARGET_DIR` has put it.
fn in_tools(relative: &str) -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    let target = test
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())?;
    let tool = target.join("tools").join(relative);
    tool.exists().then_some(tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_tool_wins_over_the_search() {
        let here = env::current_exe().unwrap();
        assert_eq!(
            locate(Some(here.clone().into()), || unreachable!()),
            Ok(here)
        );
    }

    #[test]
    fn a_named_tool_that_is_missing_is_an_error_not_a_search() {
        let why = locate(Some("/nowhere/python".into()), || unreachable!()).unwrap_err();
        assert_eq!(
            why,
            "the environment names /nowhere/python, which is missing"
        );
    }

    #[test]
    fn without_a_name_the_search_decides() {
        assert_eq!(locate(None, || Some("/x".into())), Ok("/x".into()));
        assert!(locate(None, || None).is_err());
    }

    #[test]
    fn the_target_directory_of_a_test_is_found_from_its_own_path() {
        let test = env::current_exe().unwrap();
        assert!(
            test.ancestors()
                .any(|dir| dir.join("CACHEDIR.TAG").is_file())
        );
    }

    #[test]
    fn a_program_on_the_path_is_found_and_another_is_not() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-of-ours").is_none());
    }
}
