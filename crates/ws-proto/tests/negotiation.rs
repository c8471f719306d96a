//! permessage-deflate: offers and answers (RFC 7692 section 7.1).

use ws_proto::handshake::{
    ClientHandshake, DeflateParams, DeflateSide, HandshakeError, InvalidAnswer, WindowBits,
};

const FIELD: &str = "sec-websocket-extensions";

fn side(no_context_takeover: bool, bits: u8) -> DeflateSide {
    DeflateSide {
        no_context_takeover,
        max_window_bits: WindowBits::new(bits).unwrap(),
    }
}

fn accept(wish: DeflateParams, lines: &[&str]) -> Option<(DeflateParams, String)> {
    let headers = lines.iter().map(|line| (FIELD, line.as_bytes()));
    let (agreed, field) = wish.accept(headers)?;
    Some((agreed, String::from_utf8(field.to_vec()).unwrap()))
}

fn answer(offer: &[&str]) -> Option<String> {
    accept(DeflateParams::default(), offer).map(|(_, field)| field)
}

fn verify(wish: DeflateParams, answer: &str) -> Result<Option<DeflateParams>, InvalidAnswer> {
    wish.verify([(FIELD, answer.as_bytes())].into_iter())
}

#[test]
fn an_offer_is_answered_with_what_it_asks_for() {
    for (offer, expected) in [
        ("permessage-deflate", "permessage-deflate"),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate",
        ),
        (
            "permessage-deflate;client_max_window_bits=9",
            "permessage-deflate; client_max_window_bits=9",
        ),
        (
            "permessage-deflate; client_max_window_bits=\"10\"",
            "permessage-deflate; client_max_window_bits=10",
        ),
        (
            "permessage-deflate ; server_max_window_bits = 15",
            "permessage-deflate; server_max_window_bits=15",
        ),
        (
            "permessage-deflate; server_max_window_bits=8; server_no_context_takeover; \
             client_no_context_takeover; client_max_window_bits=8",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=8; client_max_window_bits=8",
        ),
    ] {
        assert_eq!(answer(&[offer]).as_deref(), Some(expected), "{offer}");
    }
}

#[test]
fn an_offer_that_is_malformed_or_of_something_else_is_declined() {
    for offer in [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflat",
        "permessage-deflate; ",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=99999999999999999999",
        "permessage-deflate; client_max_window_bits=0",
        "permessage-deflate; client_max_window_bits=\"\"",
        "permessage-deflate; client_max_window_bits=\"9",
        "permessage-deflate; client_max_window_bits=\u{a0}9",
    ] {
        assert_eq!(answer(&[offer]), None, "{offer}");
    }
}

#[test]
fn the_first_offer_that_can_be_agreed_to_wins_over_all_lines_of_the_field() {
    let offers = [
        "foo, permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=12, permessage-deflate",
    ];
    let expected = "permessage-deflate; server_max_window_bits=12";
    assert_eq!(answer(&offers).as_deref(), Some(expected));
}

#[test]
fn a_client_that_cannot_shrink_its_window_as_far_as_the_server_wants_is_declined() {
    let wish = DeflateParams {
        client: side(false, 10),
        ..DeflateParams::default()
    };
    assert_eq!(accept(wish, &["permessage-deflate"]), None);
    let (agreed, field) = accept(wish, &["permessage-deflate; client_max_window_bits"]).unwrap();
    assert_eq!(agreed, wish);
    assert_eq!(field, "permessage-deflate; client_max_window_bits=10");
}

/// Every wish of a client against every wish of a server: 256 x 256 negotiations.
#[test]
fn whatever_a_server_answers_the_client_takes_and_both_agree_within_both_wishes() {
    let sides = || (0..16).map(|index| side(index % 2 == 1, 8 + index / 2));
    let wishes =
        || sides().flat_map(|server| sides().map(move |client| DeflateParams { server, client }));
    let fits = |agreed: DeflateSide, wish: DeflateSide| {
        agreed.max_window_bits <= wish.max_window_bits
            && (agreed.no_context_takeover || !wish.no_context_takeover)
    };
    for client in wishes() {
        let offer = client.offer();
        for server in wishes() {
            let headers = [(FIELD, offer.as_slice())].into_iter();
            // Our client always says that its window can be chosen, so it is never declined.
            let (agreed, field) = server.accept(headers).unwrap();
            let headers = [("Sec-WebSocket-Extensions", field.as_slice())].into_iter();
            assert_eq!(client.verify(headers), Ok(Some(agreed)));
            for wish in [client, server] {
                assert!(fits(agreed.server, wish.server) && fits(agreed.client, wish.client));
            }
            let least = client
                .server
                .max_window_bits
                .min(server.server.max_window_bits);
            assert_eq!(
                agreed.server.max_window_bits, least,
                "no smaller than asked for"
            );
        }
    }
}

#[test]
fn an_answer_that_the_offer_does_not_allow_fails_the_handshake() {
    let wish = DeflateParams {
        server: side(true, 12),
        client: side(false, 11),
    };
    let good = "permessage-deflate; server_no_context_takeover; server_max_window_bits=12";
    assert!(verify(wish, good).is_ok_and(|agreed| agreed.is_some()));
    assert_eq!(verify(wish, ""), Ok(None));
    for bad in [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits=12",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=13",
        &format!("{good}; client_max_window_bits"),
        &format!("{good}; client_max_window_bits=12"),
        &format!("{good}; unknown"),
        &format!("{good}, {good}"),
        "other",
    ] {
        assert_eq!(verify(wish, bad), Err(InvalidAnswer), "{bad}");
    }
}

#[test]
fn a_client_handshake_carries_the_offer_and_judges_the_answer() {
    let plain = ClientHandshake::new([7; 16], "").unwrap();
    let offering = plain.with_deflate(DeflateParams::default());
    let offer = offering.request_headers().find(|(name, _)| *name == FIELD);
    let expected = b"permessage-deflate; client_max_window_bits".as_slice();
    assert_eq!(offer, Some((FIELD, expected)));

    let accept = ws_proto::handshake::accept_key(b"BwcHBwcHBwcHBwcHBwcHBw==");
    let response = |extensions: &'static [u8]| {
        [
            ("upgrade", b"websocket".as_slice()),
            ("connection", b"upgrade"),
            ("sec-websocket-accept", &accept),
            (FIELD, extensions),
        ]
    };
    let judge = |handshake: &ClientHandshake<'_>, extensions| {
        let response = response(extensions);
        handshake.verify(101, response.into_iter())?;
        handshake.verify_deflate(response.into_iter())
    };
    assert_eq!(judge(&plain, b""), Ok(None));
    assert_eq!(judge(&offering, b""), Ok(None));
    let agreed = Ok(Some(DeflateParams::default()));
    assert_eq!(judge(&offering, b"permessage-deflate"), agreed);
    let extension = Err(HandshakeError::Extension);
    assert_eq!(judge(&plain, b"permessage-deflate"), extension);
    assert_eq!(judge(&offering, b"permessage-deflate; x"), extension);
}
