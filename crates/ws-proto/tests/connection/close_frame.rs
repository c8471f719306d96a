//! Which Close frames are sent, and what goes and comes around them.

use std::time::Duration;

use ws_proto::{CloseCode, Connection, ControlError, Eof, Kind, OpCode, SendError, Server};

use crate::{close, masked, ping, read, transmit, unmasked};

#[test]
fn once_closing_only_the_peers_close_frame_is_delivered() {
    let mut connection = crate::server();
    connection
        .close(CloseCode::NORMAL, "", Duration::ZERO)
        .unwrap();
    let late = [
        masked(true, OpCode::Text, b"late"),
        masked(true, OpCode::Ping, b"late"),
        masked(true, OpCode::Close, b"\x03\xe8"),
    ];
    assert_eq!(read(&mut connection, &[&late.concat()]), [close(1000, "")]);
    assert_eq!(
        transmit(&mut connection),
        unmasked(true, OpCode::Close, b"\x03\xe8"),
        "no pong"
    );
}

#[test]
fn a_message_begun_before_closing_is_dropped() {
    let mut connection = crate::server();
    let begun = masked(false, OpCode::Text, b"begun");
    assert_eq!(
        read(&mut connection, &[&begun]),
        [crate::Seen::Unfinished(b"begun".to_vec())]
    );
    connection
        .close(CloseCode::NORMAL, "", Duration::ZERO)
        .unwrap();
    let ended = [
        masked(true, OpCode::Continuation, b"ended"),
        masked(true, OpCode::Close, b""),
    ];
    assert_eq!(read(&mut connection, &[&ended.concat()]), [close(1005, "")]);
}

#[test]
fn a_pong_that_was_due_before_the_close_frame_goes_before_it() {
    let mut connection = crate::server();
    let frames = [
        masked(true, OpCode::Ping, b"p"),
        masked(true, OpCode::Close, b"\x03\xe8"),
    ];
    assert_eq!(
        read(&mut connection, &[&frames.concat()]),
        [ping(b"p"), close(1000, "")]
    );
    let sent = [
        unmasked(true, OpCode::Pong, b"p"),
        unmasked(true, OpCode::Close, b"\x03\xe8"),
    ];
    assert_eq!(transmit(&mut connection), sent.concat());
    assert_eq!(transmit(&mut connection), []);
}

#[test]
fn closing_refuses_whatever_would_follow_the_close_frame() {
    let mut out = Vec::new();
    let closing: [fn(&mut Connection<Server>); 4] = [
        |server| server.close(CloseCode::NORMAL, "", Duration::ZERO).unwrap(),
        |server| assert_eq!(read(server, &[&masked(true, OpCode::Close, b"")]).len(), 1),
        |server| assert_eq!(read(server, &[b"\xc1"]).len(), 1),
        |server| server.handle_eof(Eof::Clean),
    ];
    for begin in closing {
        let mut server = crate::server();
        assert!(!server.is_closing());
        begin(&mut server);
        assert!(server.is_closing());
        assert_eq!(
            server.send(Kind::Text, b"x", &mut out),
            Err(SendError::Closing)
        );
        let fragment = ws_proto::Fragment::More;
        let refused = server.send_fragment(Kind::Text, fragment, b"x", &mut out);
        assert_eq!(refused, Err(SendError::Closing));
        assert_eq!(server.ping(b""), Err(ControlError::Closing));
        let again = server.close(CloseCode::NORMAL, "", Duration::ZERO);
        assert_eq!(again, Err(ControlError::Closing));
    }
    assert_eq!(out, []);
}

#[test]
fn a_close_frame_that_must_not_be_sent_is_refused() {
    let check = |code: u16, reason: &str, expected| {
        let mut server = crate::server();
        assert_eq!(
            server.close(code.into(), reason, Duration::ZERO),
            expected,
            "{code}"
        );
        assert_eq!(server.is_closing(), expected.is_ok());
    };
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        check(code, "why", Err(ControlError::InvalidCloseCode));
    }
    for code in [1000, 1003, 1007, 1014, 3000, 4401, 4999] {
        check(code, "why", Ok(()));
    }
    check(1000, &"r".repeat(123), Ok(()));
    check(1000, &"r".repeat(124), Err(ControlError::TooLong));
    check(1005, "", Ok(()));
}

#[test]
fn a_client_masks_its_control_frames_too() {
    let mut client = crate::client();
    client.ping(b"ping").unwrap();
    client
        .close(CloseCode::NORMAL, "bye", Duration::ZERO)
        .unwrap();
    let sent = transmit(&mut client);
    assert!(sent.starts_with(&[0x89, 0x84]), "{sent:02x?}");
    assert_eq!(
        read(&mut crate::server(), &[&sent]),
        [ping(b"ping"), close(1000, "bye")]
    );
}
