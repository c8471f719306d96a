//! What the stream's own limits take away is told.

use replay_nats::NatsConfig;
use replay_store::{After, Append, GapReason, Limit, ReplayStore as _, Selector};
use tokio::sync::watch;

use crate::log::{append, data, only, page, read_on, topic};
use crate::server::{Server, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_below_what_is_kept_is_told_and_gets_the_rest() {
    let server = Server::start();
    let store = open(NatsConfig {
        max_events: 5,
        ..server.config()
    })
    .await;
    let start = page(&store, &Selector::all(), After::Latest).await.next();
    let mut cursors = vec![start];
    for i in 0..12 {
        cursors.push(append(&store, ["a", "b"][i % 2], &format!("{i}")).await);
    }
    for (i, cursor) in cursors.iter().enumerate() {
        let page = page(&store, &Selector::all(), *cursor).await;
        let told = page.gap.map(|gap| gap.reason);
        assert_eq!(
            told,
            (i < 7).then_some(GapReason::Trimmed),
            "after {cursor}"
        );
        assert_eq!(page.events.len(), 5.min(12 - i));
    }
    let (events, gaps) = read_on(&store, &only("a"), After::Earliest).await;
    assert_eq!(
        (data(&events), gaps.len()),
        (vec!["8".to_owned(), "10".to_owned()], 0)
    );
    // The first event of a topic that is published to now cannot know whether it is the first.
    let late = append(&store, "c", "").await;
    let (events, _) = read_on(&store, &only("c"), After::Earliest).await;
    assert_eq!((events[0].position, events[0].prev), (late, None));
}

/// A reader that pages on while events are trimmed before it: every event, or a gap.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_trimmed_while_it_is_read_is_told() {
    const EVENTS: usize = 3000;
    const KEPT: usize = 40;
    let server = Server::start();
    let store = open(NatsConfig {
        max_events: KEPT as u64,
        ..server.config()
    })
    .await;
    let start = page(&store, &Selector::all(), After::Latest).await.next();
    let (told, mut published) = watch::channel(0);
    let publisher = {
        let store = store.clone();
        tokio::spawn(async move {
            // Events of different topics are on their way together.
            for first in (0..EVENTS).step_by(30) {
                let event = |i| Append::new(topic(&format!("t/{}", i % 30)), format!("{i}"));
                let batch = (first..first + 30).map(event).collect();
                store.append(batch).await.expect("it appends");
                told.send_replace(first + 30);
            }
        })
    };
    let limit = Limit {
        events: 12,
        bytes: usize::MAX,
    };
    let mut after = After::Position(start);
    let (mut next, mut gaps) = (0_usize, 0);
    while next < EVENTS {
        let page = store
            .read(&Selector::all(), after, limit)
            .await
            .expect("it reads");
        if let Some(gap) = page.gap {
            assert_eq!(gap.reason, GapReason::Trimmed);
            gaps += 1;
        }
        for (place, event) in page.events.iter().enumerate() {
            let number: usize = String::from_utf8_lossy(&event.data)
                .parse()
                .expect("a number");
            let told = place == 0 && page.gap.is_some();
            assert!(
                number == next || (told && number > next),
                "{number}, not {next}"
            );
            next = number + 1;
        }
        after = page.next().into();
        if gaps == 0 {
            // It is overtaken once at least, however fast it is.
            let far = (next + 2 * KEPT).min(EVENTS);
            let overtaken = published.wait_for(|published| *published >= far).await;
            overtaken.expect("the publisher goes on");
        }
    }
    publisher.await.expect("it ran");
    assert!(
        gaps > 0,
        "the reader was never overtaken, which this is about"
    );
}

/// What tells the epochs is told again in time, for nodes that come later.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_outlives_the_message_that_told_its_epoch() {
    let server = Server::start();
    let config = NatsConfig {
        max_events: 60,
        ..server.config()
    };
    append(&open(config.clone()).await, "t", "").await;
    let store = open(config.clone()).await;
    let hints = store.hints();
    let first = append(&store, "t", "").await;
    for _ in 0..40 {
        let event = |i| Append::new(topic(&format!("t/{i}")), "");
        store
            .append((0..30).map(event).collect())
            .await
            .expect("it appends");
    }
    let last = append(&store, "t", "").await;
    assert_eq!(last.epoch, first.epoch);
    // The node may have to hear of the last ones yet.
    let began = std::time::Instant::now();
    loop {
        let page = page(&open(config.clone()).await, &only("t"), last).await;
        if page.gap.is_none() && page.bounds.epoch == last.epoch {
            break;
        }
        assert!(
            began.elapsed() < std::time::Duration::from_secs(60),
            "{page:?}"
        );
    }
    drop(hints);
}
