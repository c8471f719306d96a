//! Idle connections are never silent for longer than the heartbeat.

use std::time::Duration;

use push_server::{ConfigError, HubConfig};
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn an_idle_stream_gets_a_comment_every_fifteen_seconds() {
    let hub = hub().await;
    let mut stream = Stream::live(&hub, "/events?topic=demo").await;
    for _ in 0..10 {
        let before = Instant::now();
        assert_eq!(stream.next().await, Got::Comment(String::new()));
        let silent = before.elapsed();
        assert!(silent <= Duration::from_secs(16), "{silent:?}");
        assert!(silent >= Duration::from_secs(14), "{silent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_carries_the_position_when_it_moved_though_nothing_matched() {
    let hub = hub().await;
    let mut stream = Stream::live(&hub, "/events?topic=quiet").await;
    publish(&hub, "busy", "1").await;
    publish(&hub, "busy", "2").await;
    assert_eq!(stream.next().await, Got::Id(cursor(2)));
    assert_eq!(stream.next().await, Got::Comment(String::new()));
    assert_eq!(stream.last_event_id(), cursor(2));
}

#[test]
fn a_heartbeat_over_thirty_seconds_or_of_none_is_refused() {
    for seconds in [0, 31] {
        let interval = Duration::from_secs(seconds);
        let refused = HubConfig::new().heartbeat(interval).unwrap_err();
        assert_eq!(refused, ConfigError::Heartbeat { interval });
    }
    HubConfig::new().heartbeat(Duration::from_secs(30)).unwrap();
}
