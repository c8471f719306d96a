//! The closing handshake as transcripts, in virtual time.

use std::time::Duration;

use ws_proto::{CloseCode, Closed, Connection, Ending, Eof, Initiator, OpCode, Rule};

use crate::pair::{Pair, TIMEOUT, closed, received, sent};
use crate::{KEY, masked, raw, read, text, transmit};

#[test]
fn the_server_closes_and_ends_the_transport_first() {
    let mut pair = Pair::new();
    pair.server
        .connection
        .close(CloseCode::SERVICE_RESTART, "1500", pair.now)
        .unwrap();
    pair.deliver_to_client();
    pair.deliver_to_server();
    assert!(
        pair.server.connection.closed().is_some(),
        "the server is done"
    );
    assert_eq!(
        pair.client.connection.closed(),
        None,
        "the client waits for the transport"
    );
    pair.client.connection.handle_eof(Eof::Clean);
    pair.expect(
        &[
            sent(1012, "1500"),
            received(1012, ""),
            closed(Initiator::Local, 1012, Some(1012), Ending::Clean),
        ],
        &[
            received(1012, "1500"),
            sent(1012, ""),
            closed(Initiator::Remote, 1012, Some(1012), Ending::Clean),
        ],
    );
}

#[test]
fn the_client_closes_and_waits_for_the_server_to_end_the_transport() {
    let mut pair = Pair::new();
    pair.client
        .connection
        .close(CloseCode::NORMAL, "bye", pair.now)
        .unwrap();
    pair.deliver_to_server();
    assert_eq!(
        pair.server.connection.closed(),
        None,
        "the answer is not sent yet"
    );
    pair.deliver_to_client();
    pair.client.connection.handle_eof(Eof::Reset);
    pair.expect(
        &[
            received(1000, "bye"),
            sent(1000, ""),
            closed(Initiator::Remote, 1000, Some(1000), Ending::Clean),
        ],
        &[
            sent(1000, "bye"),
            received(1000, ""),
            closed(Initiator::Local, 1000, Some(1000), Ending::Clean),
        ],
    );
}

#[test]
fn both_close_at_once() {
    let mut pair = Pair::new();
    pair.server
        .connection
        .close(CloseCode::GOING_AWAY, "", pair.now)
        .unwrap();
    pair.client
        .connection
        .close(CloseCode::NORMAL, "", pair.now)
        .unwrap();
    let to_client = pair.server.transmit();
    let to_server = pair.client.transmit();
    pair.client.receive(to_client, pair.now);
    pair.server.receive(to_server, pair.now);
    pair.client.connection.handle_eof(Eof::Clean);
    pair.expect(
        &[
            sent(1001, ""),
            received(1000, ""),
            closed(Initiator::Local, 1000, Some(1001), Ending::Clean),
        ],
        &[
            sent(1000, ""),
            received(1001, ""),
            closed(Initiator::Local, 1001, Some(1000), Ending::Clean),
        ],
    );
}

#[test]
fn an_empty_close_is_answered_by_an_empty_close_and_is_1005() {
    let mut pair = Pair::new();
    pair.client
        .connection
        .close(CloseCode::NO_STATUS, "", pair.now)
        .unwrap();
    pair.deliver_to_server();
    assert_eq!(transmit(&mut pair.server.connection), [0x88, 0x00]);
    pair.expect(
        &[
            received(1005, ""),
            closed(Initiator::Remote, 1005, Some(1005), Ending::Clean),
        ],
        &[sent(1005, "")],
    );
}

#[test]
fn a_peer_that_never_answers_is_given_up_at_the_deadline_and_not_before() {
    let mut pair = Pair::new();
    assert_eq!(pair.server.connection.poll_timeout(), None);
    pair.server
        .connection
        .close(CloseCode::GOING_AWAY, "", pair.now)
        .unwrap();
    assert_eq!(
        pair.server.connection.poll_timeout(),
        Some(pair.now + TIMEOUT)
    );
    pair.server.transmit();
    pair.wait(TIMEOUT - Duration::from_nanos(1));
    assert_eq!(pair.server.connection.closed(), None);
    pair.wait(Duration::from_nanos(1));
    assert_eq!(pair.server.connection.poll_timeout(), None);
    pair.expect(
        &[
            sent(1001, ""),
            closed(Initiator::Local, 1006, Some(1001), Ending::TimedOut),
        ],
        &[],
    );
}

#[test]
fn a_close_frame_that_could_not_be_sent_in_time_was_not_sent() {
    let mut pair = Pair::new();
    pair.client
        .connection
        .close(CloseCode::NORMAL, "", pair.now)
        .unwrap();
    pair.deliver_to_server();
    pair.wait(TIMEOUT);
    assert_eq!(transmit(&mut pair.server.connection), [], "it is too late");
    let end = closed(Initiator::Remote, 1000, None, Ending::TimedOut);
    pair.expect(
        &[received(1000, ""), end.unsent(4)],
        &[
            sent(1000, ""),
            closed(Initiator::Local, 1006, Some(1000), Ending::TimedOut),
        ],
    );
}

#[test]
fn a_server_that_keeps_the_transport_open_cannot_keep_the_client() {
    let mut pair = Pair::new();
    pair.client
        .connection
        .close(CloseCode::NORMAL, "", pair.now)
        .unwrap();
    pair.deliver_to_server();
    pair.deliver_to_client();
    pair.wait(TIMEOUT);
    assert_eq!(
        pair.client.connection.closed(),
        Some(Closed {
            initiator: Initiator::Local,
            code: CloseCode::NORMAL,
            sent: Some(CloseCode::NORMAL),
            ending: Ending::Clean,
            unsent: 0,
        })
    );
}

#[test]
fn a_transport_that_ends_without_a_close_frame_is_1006() {
    for how in [Eof::Clean, Eof::Truncated, Eof::Reset] {
        let mut pair = Pair::new();
        pair.server.connection.handle_eof(how);
        pair.client
            .connection
            .close(CloseCode::NORMAL, "", pair.now)
            .unwrap();
        pair.client.transmit();
        pair.client.connection.handle_eof(how);
        pair.expect(
            &[closed(
                Initiator::Remote,
                1006,
                None,
                Ending::Transport(how),
            )],
            &[
                sent(1000, ""),
                closed(Initiator::Local, 1006, Some(1000), Ending::Transport(how)),
            ],
        );
    }
}

#[test]
fn a_transport_that_ends_before_the_answer_was_sent_is_not_clean() {
    let mut pair = Pair::new();
    pair.server
        .connection
        .close(CloseCode::NORMAL, "", pair.now)
        .unwrap();
    pair.deliver_to_client();
    pair.client.connection.handle_eof(Eof::Reset);
    pair.expect(
        &[sent(1000, "")],
        &[
            received(1000, ""),
            closed(Initiator::Remote, 1000, None, Ending::Transport(Eof::Reset)).unsent(8),
        ],
    );
}

#[test]
fn the_first_ending_is_the_one_that_is_told() {
    let mut connection = crate::server();
    connection.handle_eof(Eof::Reset);
    let told = connection.closed();
    connection.handle_eof(Eof::Clean);
    connection.handle_timeout(Duration::MAX);
    assert_eq!(
        read(&mut connection, &[&masked(true, OpCode::Close, b"")]),
        []
    );
    assert_eq!(connection.closed(), told);
    assert_eq!(transmit(&mut connection), []);
}

#[test]
fn a_violation_is_told_to_the_peer_and_ends_the_connection_once_that_is_sent() {
    let mut pair = Pair::new();
    assert_eq!(
        read(&mut pair.server.connection, &[b"\xc1"]),
        [crate::Seen::Broken(Rule::ReservedBits)]
    );
    assert_eq!(
        pair.server.connection.closed(),
        None,
        "the Close frame is not sent yet"
    );
    pair.deliver_to_client();
    pair.expect(
        &[
            sent(1002, "reserved bit set"),
            closed(
                Initiator::Local,
                1006,
                Some(1002),
                Ending::Failed(Rule::ReservedBits),
            ),
        ],
        &[received(1002, "reserved bit set")],
    );
}

#[test]
fn a_violation_during_the_closing_handshake_sends_no_second_close() {
    let mut pair = Pair::new();
    pair.server
        .connection
        .close(CloseCode::NORMAL, "", pair.now)
        .unwrap();
    pair.server.transmit();
    assert_eq!(
        read(&mut pair.server.connection, &[b"\xc1"]),
        [crate::Seen::Broken(Rule::ReservedBits)]
    );
    assert_eq!(transmit(&mut pair.server.connection), []);
    pair.expect(
        &[
            sent(1000, ""),
            closed(
                Initiator::Local,
                1006,
                Some(1000),
                Ending::Failed(Rule::ReservedBits),
            ),
        ],
        &[],
    );
}

#[test]
fn bytes_that_never_left_are_counted_those_queued_here_and_those_of_the_caller() {
    let unsent = |connection: &Connection<_>| connection.closed().map(|closed| closed.unsent);
    // A server: the pong, a ping and the Close frame are still queued.
    let mut server = crate::server();
    read(&mut server, &[&masked(true, OpCode::Ping, b"pong")]);
    server.ping(b"").unwrap();
    server.close(CloseCode::NORMAL, "bye", TIMEOUT).unwrap();
    server.handle_eof_unsent(Eof::Reset, 1000);
    assert_eq!(unsent(&server), Some(6 + 2 + 7 + 1000));
    assert_eq!(transmit(&mut server), [], "it is too late");

    // What was handed out is not queued any more; whether it was written only the caller knows, and
    // may learn it after both Close frames.
    let mut server = crate::server();
    read(&mut server, &[&masked(true, OpCode::Close, b"\x03\xe8")]);
    assert_eq!(transmit(&mut server).len(), 4);
    assert_eq!(unsent(&server), Some(0));
    server.handle_eof_unsent(Eof::Reset, 4);
    assert_eq!(unsent(&server), Some(4));
    assert_eq!(
        server.closed().map(|closed| closed.ending),
        Some(Ending::Clean)
    );

    // The frames of a client have a mask.
    let mut client = crate::client();
    client.close(CloseCode::NORMAL, "", TIMEOUT).unwrap();
    client.handle_eof(Eof::Truncated);
    assert_eq!(client.closed().map(|closed| closed.unsent), Some(8));
}

#[test]
fn what_was_received_before_the_end_of_the_transport_was_delivered() {
    let mut connection = crate::server();
    let cut = raw(true, OpCode::Text, Some(KEY), b"cut off");
    let whole = masked(true, OpCode::Text, b"whole");
    let seen = read(&mut connection, &[&whole, &cut[..8]]);
    assert_eq!(seen[0], text("whole"));
    connection.handle_eof(Eof::Clean);
    assert_eq!(
        connection.closed().map(|closed| closed.is_clean()),
        Some(false)
    );
}
