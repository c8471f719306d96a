//! A connection in virtual time, idle or with any traffic.

use std::time::Duration;

use proptest::prelude::*;
use session_proto::{Beat, Heartbeat, HeartbeatConfig, HeartbeatError};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn an_interval_over_30_s_and_settings_that_kill_healthy_peers_are_refused() {
    let config =
        |interval, timeout: Option<u64>| HeartbeatConfig::new(ms(interval), timeout.map(ms)).err();
    assert_eq!(config(1, None), None);
    assert_eq!(config(30_000, None), None);
    assert_eq!(config(30_001, None), Some(HeartbeatError::Interval));
    assert_eq!(config(0, None), Some(HeartbeatError::Interval));
    assert_eq!(config(15_000, Some(15_001)), None);
    assert_eq!(config(15_000, Some(15_000)), Some(HeartbeatError::Timeout));
    let listen_only = HeartbeatConfig::listen_only(Duration::ZERO);
    assert_eq!(listen_only.err(), Some(HeartbeatError::Timeout));
}

#[test]
fn whatever_is_sent_puts_the_next_heartbeat_off() {
    let config = HeartbeatConfig::new(ms(100), None).unwrap();
    let mut heartbeat = Heartbeat::new(config, ms(0));
    heartbeat.on_sent(ms(60));
    assert_eq!(heartbeat.handle_timeout(ms(100)), None);
    assert_eq!(heartbeat.poll_timeout(), Some(ms(160)));
    assert_eq!(heartbeat.handle_timeout(ms(160)), Some(Beat::Send));
    assert_eq!(heartbeat.handle_timeout(ms(160)), None);
    assert_eq!(heartbeat.poll_timeout(), Some(ms(260)));
}

#[test]
fn a_listener_never_sends_and_finds_a_silent_peer_dead_once() {
    let config = HeartbeatConfig::listen_only(ms(100)).unwrap();
    let mut heartbeat = Heartbeat::new(config, ms(0));
    heartbeat.on_received(ms(50));
    assert_eq!(heartbeat.poll_timeout(), Some(ms(150)));
    assert_eq!(heartbeat.handle_timeout(ms(149)), None);
    assert_eq!(heartbeat.handle_timeout(ms(150)), Some(Beat::Dead));
    assert_eq!(heartbeat.poll_timeout(), None);
    heartbeat.on_received(ms(151));
    assert_eq!(heartbeat.handle_timeout(ms(1000)), None);
}

#[test]
fn a_time_before_the_last_one_changes_nothing_and_the_end_of_time_is_no_overflow() {
    let config = HeartbeatConfig::new(ms(100), Some(ms(200))).unwrap();
    let mut heartbeat = Heartbeat::new(config, ms(50));
    heartbeat.on_sent(ms(10));
    heartbeat.on_received(ms(10));
    assert_eq!(heartbeat.poll_timeout(), Some(ms(150)));
    heartbeat.on_sent(Duration::MAX);
    heartbeat.on_received(Duration::MAX);
    // Time ends after 584 years.
    let end = Duration::from_nanos(u64::MAX);
    assert_eq!(heartbeat.poll_timeout(), Some(end));
}

/// What happens on a connection whose owner calls `handle_timeout` exactly when asked to.
#[derive(Debug, Default)]
struct Life {
    sent: Vec<Duration>,
    dead: Option<Duration>,
}

/// Plays `traffic` (time, whether it is sent rather than received) up to `end`.
fn live(config: HeartbeatConfig, traffic: &[(Duration, bool)], end: Duration) -> Life {
    let mut heartbeat = Heartbeat::new(config, Duration::ZERO);
    let mut life = Life::default();
    let mut traffic = traffic.iter().peekable();
    for _ in 0..10_000 {
        let wake = heartbeat.poll_timeout().unwrap_or(Duration::MAX);
        match traffic.next_if(|(at, _)| *at <= wake.min(end)) {
            Some((at, true)) => {
                heartbeat.on_sent(*at);
                life.sent.push(*at);
            }
            Some((at, false)) => heartbeat.on_received(*at),
            None if wake > end => return life,
            None => match heartbeat.handle_timeout(wake) {
                Some(Beat::Send) => life.sent.push(wake),
                Some(Beat::Dead) => life.dead = Some(wake),
                None => panic!("woken at {wake:?} for nothing"),
            },
        }
    }
    panic!("does not come to an end: {life:?}");
}

fn traffic() -> impl Strategy<Value = Vec<(Duration, bool)>> {
    prop::collection::vec((0_u64..20_000, any::<bool>()), 0..20).prop_map(|mut traffic| {
        traffic.sort_unstable();
        traffic
            .into_iter()
            .map(|(at, sent)| (ms(at), sent))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_more_than_the_interval_passes_between_two_sends(
        interval in 10_u64..=30_000,
        traffic in traffic(),
    ) {
        let config = HeartbeatConfig::new(ms(interval), None).unwrap();
        let end = ms(60_000);
        let life = live(config, &traffic, end);
        let mut last = Duration::ZERO;
        for at in life.sent.iter().chain([&end]) {
            prop_assert!(*at - last <= ms(interval), "{:?} to {:?}", last, at);
            last = *at;
        }
        // And no heartbeat goes out before it is needed.
        for pair in life.sent.windows(2) {
            let heartbeat = !traffic.contains(&(pair[1], true));
            prop_assert!(!heartbeat || pair[1] - pair[0] == ms(interval));
        }
    }

    #[test]
    fn a_peer_is_dead_exactly_when_nothing_was_received_for_the_timeout(
        interval in 10_u64..5_000,
        longer in 1_u64..5_000,
        traffic in traffic(),
    ) {
        let timeout = ms(interval + longer);
        let config = HeartbeatConfig::new(ms(interval), Some(timeout)).unwrap();
        let end = ms(60_000);
        let received = traffic.iter().filter(|(_, sent)| !sent).map(|(at, _)| *at);
        let mut last = Duration::ZERO;
        for at in received {
            if at > last + timeout {
                break;
            }
            last = at;
        }
        prop_assert_eq!(live(config, &traffic, end).dead, Some(last + timeout));
    }
}
