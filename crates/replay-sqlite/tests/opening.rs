//! Opening: what is refused, and why.

use std::fs;
use std::path::Path;
#[cfg(unix)]
use std::process::Command;

use futures::executor::block_on;
use replay_sqlite::{Check, OpenError, SqliteConfig, SqliteStore};
use replay_store::{After, Append, Clock, Limit, ReplayStore as _, Selector, StoreError, Topic};

/// Set in the process of a user who may not write the file; the file.
#[cfg(unix)]
const VISITOR: &str = "REPLAY_SQLITE_TEST_VISITOR";

fn open(path: &Path, seed: u64) -> Result<SqliteStore, OpenError> {
    let clock = Clock::new(|| 1_790_000_000_000);
    SqliteStore::open(path, SqliteConfig::default(), move || seed, clock)
}

fn append(store: &SqliteStore, data: &str) -> String {
    let topic = Topic::new("topic").expect("valid");
    let batch = vec![Append::new(topic, data.to_owned())];
    let appended = block_on(store.append(batch)).expect("the store appends");
    appended[0].position.to_string()
}

fn all(store: &SqliteStore) -> Vec<(String, String)> {
    let mut after = After::Earliest;
    let mut events = Vec::new();
    loop {
        let page = block_on(store.read(&Selector::all(), after, Limit::default()))
            .expect("the store reads");
        assert_eq!(page.gap, None);
        after = page.next().into();
        let last = page.is_last();
        events.extend(page.events.iter().map(|event| {
            let data = String::from_utf8_lossy(&event.data).into_owned();
            (event.position.to_string(), data)
        }));
        if last {
            return events;
        }
    }
}

#[test]
fn a_second_store_on_the_same_file_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let first = open(&path, 1).expect("the file is new");
    let refused = open(&path, 2).expect_err("the file is in use");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    drop(first);
    open(&path, 2).expect("the file is free again");
}

#[test]
fn what_is_not_a_store_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let foreign = folder.path().join("foreign.db");
    let connection = rusqlite::Connection::open(&foreign).expect("a database");
    connection
        .execute_batch("CREATE TABLE t (x)")
        .expect("a table");
    drop(connection);
    let text = folder.path().join("notes.txt");
    fs::write(
        &text,
        "not a database, but long enough to be read as a header\n".repeat(9),
    )
    .expect("a file");
    for path in [&foreign, &text] {
        let before = fs::read(path).expect("it is there");
        let refused = open(path, 1).expect_err("not a store");
        assert!(!refused.to_string().is_empty());
        assert_eq!(fs::read(path).expect("it is there"), before);
    }
    let missing = folder.path().join("no such folder").join("events.db");
    let refused = open(&missing, 1).expect_err("there is no folder");
    assert!(matches!(refused, OpenError::Lock { .. }), "{refused}");
}

#[cfg(unix)]
#[test]
fn a_file_is_one_file_whatever_links_lead_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).expect("a link to nothing yet");
    let first = open(&link, 1).expect("the file is new");
    for name in [&path, &link] {
        let refused = open(name, 2).expect_err("the file is in use");
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    }
    drop(first);
    open(&path, 2).expect("the file is free again");
}

/// Not a test of its own: what opens a file as a user who may not write it.
#[cfg(unix)]
#[test]
#[expect(clippy::print_stdout, reason = "it is how it tells what it found")]
fn visitor() {
    let Ok(path) = std::env::var(VISITOR) else {
        return;
    };
    let refused = match open(Path::new(&path), 2) {
        Err(OpenError::Lock { source, .. }) if refused_by_system(&source) => "refused by name",
        Err(_) => "refused otherwise",
        Ok(_) => "opened",
    };
    println!("{refused}");
}

#[cfg(unix)]
fn refused_by_system(source: &std::io::Error) -> bool {
    source.kind() == std::io::ErrorKind::PermissionDenied
}

#[cfg(unix)]
#[test]
fn what_may_not_be_written_is_refused_with_its_name_and_left_as_it_was() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;

    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    let folder = tempfile::tempdir().expect("a folder");
    set_mode(folder.path(), 0o755);
    // Root may write whatever its mode is, so the visitor is somebody else.
    let program = folder.path().join("program");
    fs::copy(std::env::current_exe().expect("this test"), &program).expect("it is copied");
    let visit = |path: &Path| {
        let mut visitor = Command::new(&program);
        visitor.args(["--exact", "visitor", "--nocapture", "--test-threads=1"]);
        if fs::metadata(folder.path()).expect("it is there").uid() == 0 {
            visitor.uid(65_534).gid(65_534);
        }
        let output = visitor.env(VISITOR, path).output().expect("it starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };

    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("it is made");
    let path = inner.join("events.db");
    let store = open(&path, 1).expect("the file is new");
    append(&store, "a");
    drop(store);
    let before = fs::read(&path).expect("it is there");
    fs::remove_file(inner.join("events.db.lock")).expect("it is there");
    for (file, folder) in [(0o444, 0o777), (0o666, 0o555), (0o444, 0o555)] {
        set_mode(&path, file);
        set_mode(&inner, folder);
        let said = visit(&path);
        assert!(
            said.contains("refused by name"),
            "{file:o} {folder:o}: {said}"
        );
        let said = visit(&inner.join(format!("new-{file:o}-{folder:o}.db")));
        let expected = if folder == 0o777 {
            "opened"
        } else {
            "refused by name"
        };
        assert!(said.contains(expected), "new, {folder:o}: {said}");
    }
    set_mode(&inner, 0o755);
    assert_eq!(fs::read(&path).expect("it is there"), before);
    set_mode(&path, 0o644);
    assert_eq!(all(&open(&path, 3).expect("the file opens")).len(), 1);
}

#[test]
fn a_file_whose_structure_is_broken_is_refused_with_advice_when_it_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let store = open(&path, 1).expect("the file is new");
    for n in 0..300 {
        append(&store, &format!("{n} {}", "x".repeat(500)));
    }
    drop(store);
    let mut file = fs::read(&path).expect("it is there");
    // A page in the middle, gone to zeros.
    let middle = file.len() / 2 / 4096 * 4096;
    file[middle..middle + 4096].fill(0);
    fs::write(&path, &file).expect("it is written");
    let clock = || Clock::new(|| 1_790_000_000_000);
    let open = |check| {
        let config = SqliteConfig {
            check,
            ..SqliteConfig::default()
        };
        SqliteStore::open(&path, config, || 2, clock())
    };
    let refused = open(Check::Always).expect_err("it is broken");
    assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused}");
    assert!(refused.to_string().contains("backup"), "{refused}");
    assert_eq!(fs::read(&path).expect("it is there"), file);
    // It was closed in order, so nothing else asks for a check; but what it holds is not believed.
    let store = open(Check::AfterCrash).expect("nobody looks");
    let mut after = After::Earliest;
    let failed = loop {
        match block_on(store.read(&Selector::all(), after, Limit::default())) {
            Ok(page) if page.is_last() => break None,
            Ok(page) => after = page.next().into(),
            Err(error) => break Some(error),
        }
    };
    assert!(
        matches!(failed, Some(StoreError::Corrupt { .. })),
        "{failed:?}"
    );
}
