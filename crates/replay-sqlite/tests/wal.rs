//! Damage to the write-ahead log that a killed process left: what opens is a clean prefix of what
//! was appended, or it is refused; nothing else is ever read.

use std::fs::{self, File};
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use futures::executor::block_on;
use proptest::prelude::*;
use replay_sqlite::{OpenError, SqliteConfig, SqliteStore};
use replay_store::{
    After, Append, Clock, Event, Limit, ReplayStore as _, Retention, Selector, StoreError, Topic,
};

/// The size of SQLite's header of the log, of that of a frame, and of a frame.
const WAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + 4096;

fn open(path: &Path, seed: u64, kept: usize) -> Result<SqliteStore, OpenError> {
    let config = SqliteConfig {
        retention: Retention {
            events: kept,
            ..Retention::UNBOUNDED
        },
        ..SqliteConfig::default()
    };
    let clock = Clock::new(|| 1_790_000_000_000);
    SqliteStore::open(path, config, move || seed, clock)
}

/// Every event, or why they cannot be read.
fn all(store: &SqliteStore) -> Result<Vec<Event>, StoreError> {
    let mut after = After::Earliest;
    let mut events = Vec::new();
    loop {
        let page = block_on(store.read(&Selector::all(), after, Limit::default()))?;
        after = page.next().into();
        let last = page.is_last();
        events.extend(page.events);
        if last {
            return Ok(events);
        }
    }
}

/// The files of a store at one moment, as kill -9 would leave them.
struct Left {
    name: &'static str,
    /// Events kept per topic.
    kept: usize,
    database: Vec<u8>,
    wal: Vec<u8>,
    /// What the store held after each append, the first of all included.
    history: Vec<Vec<Event>>,
}

fn wal_of(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", path.display()))
}

/// Moments of two stores, of which the second trims and so uses pages again: its log short, its
/// log grown, right after a checkpoint (when pages of the file are newer than those that a
/// shortened log would put over them), and with a new log over the rest of an old one.
fn moments() -> &'static [Left] {
    static MOMENTS: OnceLock<Vec<Left>> = OnceLock::new();
    MOMENTS.get_or_init(|| [usize::MAX, 5].into_iter().flat_map(moments_of).collect())
}

fn moments_of(kept: usize) -> Vec<Left> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let store = open(&path, 1, kept).expect("the file is new");
    let mut history = vec![vec![]];
    let append = |size: usize, history: &mut Vec<Vec<Event>>| {
        let n = history.len();
        let topic = Topic::new(&format!("topic/{}", n % 3)).expect("valid");
        let text = format!("{n} {}", char::from(b'a' + (n % 26) as u8));
        let data = text.repeat(size.div_ceil(text.len()));
        block_on(store.append(vec![Append::new(topic, data)])).expect("the store appends");
        history.push(all(&store).expect("the store reads"));
    };
    let leave = |name, history: &[Vec<Event>]| Left {
        name,
        kept,
        database: fs::read(&path).expect("it is there"),
        wal: fs::read(wal_of(&path)).expect("it is there"),
        history: history.to_vec(),
    };
    (0..10).for_each(|_| append(50, &mut history));
    let mut moments = vec![leave("short", &history)];
    (0..30).for_each(|_| append(6000, &mut history));
    moments.push(leave("grown", &history));
    let header = || {
        let mut header = [0; WAL_HEADER];
        let mut log = File::open(wal_of(&path)).expect("it is there");
        log.read_exact(&mut header).expect("it has a header");
        header
    };
    let written = || {
        fs::metadata(&path)
            .and_then(|file| file.modified())
            .expect("it is there")
    };
    let checkpoint = |size, history: &mut Vec<_>| {
        let before = (header(), written());
        while written() == before.1 {
            append(size, history);
        }
        assert_eq!(
            header(),
            before.0,
            "the log goes on until something is appended"
        );
    };
    checkpoint(20_000, &mut history);
    moments.push(leave("checkpointed", &history));
    let before = header();
    (0..4).for_each(|_| append(300, &mut history));
    assert_ne!(header(), before, "a new log has begun");
    moments.push(leave("begun again", &history));
    checkpoint(5000, &mut history);
    moments.push(leave("checkpointed again", &history));
    moments
}

#[derive(Clone, Debug)]
enum Damage {
    Flip { at: usize, bit: u8 },
    Zero { at: usize, len: usize },
    Cut { at: usize },
    Garbage { bytes: Vec<u8> },
}

impl Damage {
    fn apply(&self, wal: &mut Vec<u8>) {
        match self {
            Self::Flip { at, bit } => {
                if let Some(byte) = wal.get_mut(*at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Zero { at, len } => {
                let end = wal.len().min(at + len);
                let at = (*at).min(end);
                wal[at..end].fill(0);
            }
            Self::Cut { at } => wal.truncate(*at),
            Self::Garbage { bytes } => wal.extend_from_slice(bytes),
        }
    }
}

/// Returns how many appends are there, `None` if the store was refused.
#[track_caller]
fn check(left: &Left, damage: &Damage) -> Option<usize> {
    let context = format!("{}, {} kept, {damage:?}", left.name, left.kept);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.db");
    let mut wal = left.wal.clone();
    damage.apply(&mut wal);
    fs::write(&path, &left.database).expect("it can be written");
    fs::write(wal_of(&path), &wal).expect("it can be written");

    let store = match open(&path, 2, left.kept) {
        Ok(store) => store,
        Err(OpenError::Corrupt { .. }) => return None,
        Err(other) => panic!("{context}: {other}"),
    };
    let found = match all(&store) {
        Ok(found) => found,
        Err(StoreError::Corrupt { .. }) => return None,
        Err(other) => panic!("{context}: {other}"),
    };
    let Some(appends) = left.history.iter().rposition(|then| *then == found) else {
        let seqs: Vec<_> = found.iter().map(|event| event.position.seq).collect();
        panic!("{context}: events were read that never stood so: {seqs:?}");
    };
    for n in 0..3 {
        // Each topic alone, which goes through an index.
        let topic = Topic::new(&format!("topic/{n}")).expect("valid");
        let page = block_on(store.read(&topic.clone().into(), After::Earliest, Limit::default()));
        let page = match page {
            Ok(page) => page,
            Err(StoreError::Corrupt { .. }) => return None,
            Err(other) => panic!("{context}: {other}"),
        };
        let of_topic = found.iter().filter(|event| event.topic == topic);
        let of_topic = of_topic.take(page.events.len());
        assert!(page.events.iter().eq(of_topic), "{context}: topic {n}");
    }
    // Ids go on where it ends, in an epoch of their own; who knows more is told.
    let topic = Topic::new("topic/1").expect("valid");
    let next = match block_on(store.append(vec![Append::new(topic, "more")])) {
        Ok(appended) => appended[0].position,
        Err(StoreError::Corrupt { .. }) => return None,
        Err(other) => panic!("{context}: {other}"),
    };
    assert_eq!(next.seq, appends as u64 + 1, "{context}");
    let known = left.history.last().and_then(|all| all.last());
    if let Some(known) = known {
        assert_ne!(next.epoch, known.position.epoch, "{context}");
        let lost = left.history.len() - 1 > appends;
        let page = block_on(store.read(&Selector::all(), known.position.into(), Limit::default()));
        let gap = page.expect("the store reads").gap;
        assert_eq!(gap.is_some(), lost, "{context}: {gap:?}");
    }
    Some(appends)
}

fn damage(len: usize) -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..len, 0..8_u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        (0..len, 1..9000_usize).prop_map(|(at, len)| Damage::Zero { at, len }),
        (0..len).prop_map(|at| Damage::Cut { at }),
        prop::collection::vec(any::<u8>(), 1..9000).prop_map(|bytes| Damage::Garbage { bytes }),
    ]
}

fn at_a_moment() -> impl Strategy<Value = (usize, Damage)> {
    (0..moments().len()).prop_flat_map(|moment| (Just(moment), damage(moments()[moment].wal.len())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn damage_anywhere_leaves_a_prefix_or_is_refused((moment, damage) in at_a_moment()) {
        check(&moments()[moment], &damage);
    }
}

#[test]
fn an_undamaged_log_is_read_whole() {
    for left in moments() {
        let nothing = Damage::Garbage { bytes: vec![] };
        assert_eq!(check(left, &nothing), Some(left.history.len() - 1));
    }
}

#[test]
fn any_header_byte_of_the_log_and_of_its_first_and_last_frames_may_flip() {
    for left in moments().iter().step_by(2) {
        let frames = (left.wal.len() - WAL_HEADER) / FRAME;
        assert!(frames > 3, "{}", left.name);
        let header = |frame: usize| -> Range<usize> {
            let at = WAL_HEADER + frame * FRAME;
            at..at + FRAME_HEADER
        };
        let positions = [0..WAL_HEADER, header(0), header(1), header(frames - 1)];
        for at in positions.into_iter().flatten().step_by(3) {
            check(
                left,
                &Damage::Flip {
                    at,
                    bit: (at % 8) as u8,
                },
            );
        }
    }
}

#[test]
fn the_log_may_end_at_or_within_any_frame() {
    for left in moments() {
        let frames = (left.wal.len() - WAL_HEADER) / FRAME;
        let step = frames.div_ceil(6);
        for frame in (0..=frames).step_by(step) {
            let at = WAL_HEADER + frame * FRAME;
            for at in [at, at + FRAME_HEADER, at + FRAME / 2] {
                check(left, &Damage::Cut { at });
            }
        }
    }
}

#[test]
fn pages_of_different_times_are_never_taken_for_one() {
    let mixed = |left: &&Left| left.name == "checkpointed again" && left.kept != usize::MAX;
    let left = moments().iter().find(mixed).expect("there is one");
    let frames = (left.wal.len() - WAL_HEADER) / FRAME;
    let found: Vec<_> = (1..frames / 4)
        .step_by(3)
        .map(|frame| {
            let at = WAL_HEADER + frame * FRAME;
            check(left, &Damage::Cut { at })
        })
        .collect();
    assert!(
        found.contains(&None),
        "no cut left pages of different times"
    );
}
