//! Limits on time: of a message, and of pings in a second.

use std::time::Duration;

use ws_proto::{Config, Connection, Ending, Eof, OpCode, Rule, Server};

use crate::{Seen, masked, transmit};

const SECOND: Duration = Duration::from_secs(1);

fn server() -> Connection<Server> {
    let mut config = Config::default();
    config.message_timeout(5 * SECOND).max_pings(3);
    Connection::server(config)
}

/// Pushes `bytes` at `now` and gives the rule that they broke.
fn push(connection: &mut Connection<Server>, bytes: &[u8], now: Duration) -> Option<Rule> {
    let mut bytes = bytes.to_vec();
    let mut events = connection.push(&mut bytes, now);
    let mut broken = None;
    while let Some(event) = events.next() {
        if let Err(violation) = event {
            broken.get_or_insert(violation.rule);
        }
    }
    broken
}

#[test]
fn what_is_not_finished_has_a_deadline_from_its_first_byte_on_whatever_it_is() {
    let text = masked(true, OpCode::Text, b"Hello");
    let fragment = masked(false, OpCode::Text, b"Hel");
    let ping = masked(true, OpCode::Ping, b"ping");
    for (part, what) in [
        (&text[..1], "a header"),
        (&text[..8], "a payload"),
        (&fragment[..], "a message between its frames"),
        (&ping[..9], "a ping"),
    ] {
        let mut connection = server();
        assert_eq!(push(&mut connection, &ping, SECOND), None);
        assert_eq!(connection.poll_timeout(), None, "nothing is open");
        assert_eq!(push(&mut connection, part, 2 * SECOND), None);
        assert_eq!(connection.poll_timeout(), Some(7 * SECOND), "{what}");
        connection.handle_timeout(7 * SECOND - Duration::from_nanos(1));
        assert!(!connection.is_closing(), "{what}: before its time");
        transmit(&mut connection);

        connection.handle_timeout(7 * SECOND);
        let close = [&b"\x88\x17\x03\xf0"[..], b"message took too long"].concat();
        assert_eq!(transmit(&mut connection), close, "{what}");
        let closed = connection.closed().expect("the Close frame was handed out");
        assert_eq!(closed.ending, Ending::Failed(Rule::MessageTimeout));
        assert_eq!(connection.poll_timeout(), None);
    }
}

#[test]
fn more_of_a_message_and_pings_within_it_do_not_put_its_deadline_off() {
    let mut connection = server();
    push(&mut connection, &masked(false, OpCode::Text, b"a"), SECOND);
    push(
        &mut connection,
        &masked(true, OpCode::Ping, b""),
        2 * SECOND,
    );
    let more = masked(false, OpCode::Continuation, b"b");
    push(&mut connection, &more, 3 * SECOND);
    assert_eq!(connection.poll_timeout(), Some(6 * SECOND));
}

#[test]
fn a_message_that_begins_behind_the_end_of_another_has_its_own_deadline() {
    let mut connection = server();
    push(&mut connection, &masked(false, OpCode::Text, b"a"), SECOND);
    let last = masked(true, OpCode::Continuation, b"b");
    let next = masked(false, OpCode::Text, b"c");
    push(&mut connection, &[last.clone(), next].concat(), 4 * SECOND);
    assert_eq!(connection.poll_timeout(), Some(9 * SECOND));
    push(&mut connection, &last, 5 * SECOND);
    assert_eq!(connection.poll_timeout(), None);
}

#[test]
fn the_longest_time_is_no_limit_and_a_connection_that_is_over_has_no_deadline() {
    let mut config = Config::default();
    config.message_timeout(Duration::MAX);
    let mut connection = Connection::server(config);
    push(&mut connection, &masked(false, OpCode::Text, b"a"), SECOND);
    assert_eq!(connection.poll_timeout(), None);

    let mut connection = server();
    push(&mut connection, &masked(false, OpCode::Text, b"a"), SECOND);
    connection.handle_eof(Eof::Clean);
    assert_eq!(connection.poll_timeout(), None);
}

#[test]
fn pings_and_pongs_are_limited_in_each_second_and_data_is_not() {
    let ping = masked(true, OpCode::Ping, b"");
    let pong = masked(true, OpCode::Pong, b"");
    let text = masked(true, OpCode::Text, b"x");
    let mut connection = server();
    for second in [0, 1, 2, 1 << 40] {
        let now = Duration::from_secs(second);
        let three = [&ping[..], &pong, &ping].concat();
        assert_eq!(
            push(&mut connection, &three, now),
            None,
            "in second {second}"
        );
        assert_eq!(push(&mut connection, &text.repeat(9), now), None);
    }
    let now = Duration::from_secs(1 << 40) + SECOND / 2;
    assert_eq!(push(&mut connection, &pong, now), Some(Rule::TooManyPings));
    let sent = transmit(&mut connection);
    let close = sent.get(2..).unwrap_or_default();
    assert!(
        close.starts_with(b"\x88\x1b\x03\xf0more pings than the limit"),
        "{sent:02x?}"
    );
    assert_eq!(
        crate::read(&mut connection, &[&text]),
        [] as [Seen; 0],
        "nothing is delivered any more"
    );
}
