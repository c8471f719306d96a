//! WebSocket.

use std::time::Duration;

use ws_proto::handshake::{
    ClientHandshake, DeflateParams, DeflateSide, OriginPolicy, WindowBits, check_connect,
    check_request,
};
use ws_proto::{
    Assembler, Chunk, CloseCode, Config, Connection, Eof, Event, Header, Inflater, Kind, Message,
    Parsed, Role, Rule, apply_mask,
};

/// Any bytes as a header: each prefix of it asks for more or is refused for good, and what is whole is
/// written as it was read. Then as a payload: masked in pieces or byte by byte is the same.
pub fn frame(input: &[u8]) {
    let whole = Header::parse(input);
    let mut refused = false;
    for len in 0..input.len().min(15) {
        match Header::parse(&input[..len]) {
            Ok(Parsed::Need(need)) => assert!(!refused && len < need && need <= 14),
            Ok(Parsed::Done { header, used }) => {
                assert!(!refused && used <= len);
                assert_eq!(whole, Ok(Parsed::Done { header, used }));
            }
            Err(violation) => {
                assert_eq!(whole, Err(violation));
                refused = true;
            }
        }
    }
    if let Ok(Parsed::Done { header, used }) = whole {
        assert_eq!(*header.encode(), input[..used]);
    }
    let Some((key, payload)) = input.split_first_chunk::<4>() else {
        return;
    };
    let expected = payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b);
    let expected = expected.collect::<Vec<_>>();
    let mut masked = payload.to_vec();
    let at = usize::from(key[0]) % (masked.len() + 1);
    let (head, tail) = masked.split_at_mut(at);
    let phase = apply_mask(head, *key, 0);
    assert_eq!(apply_mask(tail, *key, phase), payload.len() % 4);
    assert_eq!(masked, expected);
}

/// Any bytes in any pieces: what an end sees does not depend on the pieces, keeps to the limits, and
/// what it answers breaks no rule at the other end. The first two bytes say which end and limits, the
/// third where the pieces end.
pub fn connection(input: &[u8]) {
    let [how, more, cut, wire @ ..] = input else {
        return;
    };
    let limit = if how & 1 == 0 { 1 << 16 } else { 40 };
    let mut config = Config::default();
    config.max_frame(limit).max_message(limit);
    config.compressed(how & 2 != 0);
    if how & 4 != 0 {
        config.max_fragments(3).max_pings(4);
    }
    let side = side(*more);
    let size = usize::from(cut % 32) + 1;
    let (head, tail) = wire.split_at(wire.len() * usize::from(*cut) / 256);
    let pieces: [Vec<&[u8]>; 3] = [vec![wire], wire.chunks(size).collect(), vec![head, tail]];
    let seen = pieces.map(|pieces| {
        if how & 8 == 0 {
            let peer = Connection::client(Config::default(), || [1, 2, 3, 4]);
            see(Connection::server(config), peer, side, limit, &pieces)
        } else {
            let own = Connection::client(config, || [1, 2, 3, 4]);
            let peer = Connection::server(Config::default());
            see(own, peer, side, limit, &pieces)
        }
    });
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
}

/// What an agreement in one byte is.
fn side(byte: u8) -> DeflateSide {
    DeflateSide {
        no_context_takeover: byte & 8 != 0,
        max_window_bits: WindowBits::new(8 + byte % 8).expect("8 to 15"),
    }
}

fn see<R: Role, P: Role>(
    mut connection: Connection<R>,
    mut peer: Connection<P>,
    side: DeflateSide,
    limit: usize,
    pieces: &[&[u8]],
) -> Vec<String> {
    let now = Duration::from_secs(1);
    let mut assembler = Assembler::new(limit).inflating(Inflater::new(side));
    let mut seen = Vec::new();
    let mut is_open = false;
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut events = connection.push(&mut bytes, now);
        let mut broken = None;
        while let Some(event) = events.next() {
            assert!(broken.is_none(), "a violation is the last event");
            match event {
                Ok(Event::Data(chunk)) => {
                    assert_eq!(chunk.first, !is_open);
                    is_open = !chunk.last;
                    match assembler.push(chunk) {
                        Ok(None) => {}
                        Ok(Some(message)) => {
                            let len = match &message {
                                Message::Text(text) => text.len(),
                                Message::Binary(bytes) => bytes.len(),
                            };
                            assert!(len <= limit);
                            seen.push(format!("{message:?}"));
                        }
                        Err(violation) => {
                            broken = Some(violation);
                            break;
                        }
                    }
                }
                Ok(event) => seen.push(format!("{event:?}")),
                Err(violation) => {
                    seen.push(format!("{violation:?}"));
                    broken = Some(violation);
                }
            }
        }
        if let Some(violation) = broken
            && !connection.is_closing()
        {
            seen.push(format!("{violation:?}"));
            let closed = connection.close(violation.code, violation.rule.as_str(), now);
            closed.expect("a violation's code may be sent");
            break;
        }
    }
    let mut answer = Vec::new();
    connection.poll_transmit(&mut answer);
    let mut events = peer.push(&mut answer, now);
    while let Some(event) = events.next() {
        event.expect("the answer breaks no rule");
    }
    connection.handle_timeout(now + Duration::from_secs(100));
    connection.poll_transmit(&mut answer);
    connection.handle_timeout(now + Duration::from_secs(200));
    connection.handle_eof(Eof::Clean);
    let closed = connection.closed().expect("it is over");
    assert_eq!(connection.poll_timeout(), None);
    assert!(closed.unsent == 0 || closed.sent.is_none());
    seen
}

/// Any fields: whoever accepts says what a client may accept, no answer has more than one line, and
/// what two ends agree on is within both of their wishes.
pub fn handshake(input: &[u8]) {
    let [how, wish, asked, lines @ ..] = input else {
        return;
    };
    let fields = lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b':')?;
        Some((str::from_utf8(&line[..at]).ok()?, &line[at + 1..]))
    });
    let fields = fields.collect::<Vec<_>>();
    let fields = || fields.iter().copied();
    let policy = match how % 3 {
        0 => OriginPolicy::SameHost,
        1 => OriginPolicy::AllowList(&["https://a.test"]),
        _ => OriginPolicy::Any { reason: "fuzzed" },
    };
    let supported = ["chat", "tidegate.v1+json"];
    let upgraded = check_request("GET", fields(), &policy, &supported);
    let connected = check_connect("websocket", "a.test", fields(), &policy, &supported);
    for accepted in [upgraded, connected].into_iter().flatten() {
        assert!(
            accepted
                .subprotocol
                .is_none_or(|name| supported.contains(&name))
        );
        for (_, value) in accepted.response_headers() {
            assert!(!value.iter().any(u8::is_ascii_control));
        }
    }
    let client = ClientHandshake::new([*how; 16], "chat").expect("a token");
    let client = client.with_deflate(params(*asked));
    for outcome in [
        client.verify(101, fields()),
        client.verify_connect(200, fields()),
    ] {
        assert!(outcome.is_err() || outcome.is_ok_and(|name| name.is_none_or(|it| it == "chat")));
    }

    // Whatever was offered, the answer keeps to the wish.
    let (wish, asked) = (params(*wish), params(*asked));
    if let Some((agreed, field)) = wish.accept(fields()) {
        assert!(is_within(agreed, wish));
        assert!(field.is_ascii() && !field.iter().any(u8::is_ascii_control));
    }
    if let Ok(Some(agreed)) = asked.verify(fields()) {
        assert!(is_within(agreed, asked));
    }
    // Two ends of ours agree on the same.
    let offer = asked.offer();
    if let Some((agreed, field)) = wish.accept([("Sec-WebSocket-Extensions", &*offer)].into_iter())
    {
        let answer = [("sec-websocket-extensions", &*field)].into_iter();
        assert_eq!(asked.verify(answer), Ok(Some(agreed)));
        assert!(is_within(agreed, wish) && is_within(agreed, asked));
    }
}

fn params(byte: u8) -> DeflateParams {
    DeflateParams {
        server: side(byte),
        client: side(byte >> 4),
    }
}

fn is_within(agreed: DeflateParams, wish: DeflateParams) -> bool {
    let is_within = |agreed: DeflateSide, wish: DeflateSide| {
        agreed.max_window_bits <= wish.max_window_bits
            && (agreed.no_context_takeover || !wish.no_context_takeover)
    };
    is_within(agreed.server, wish.server) && is_within(agreed.client, wish.client)
}

/// Any bytes as compressed messages, in any chunks, through a buffer of any size, and put together:
/// the same comes of them, or the same rule is broken, within the limits. The first bytes say which
/// limits and pieces, and where messages end.
pub fn inflate(input: &[u8]) {
    let [how, cut, ends, payload @ ..] = input else {
        return;
    };
    let limit = [100, 5000, 1 << 17, 1 << 20][usize::from(how % 4)];
    let ratio = [2, 20, 256, u32::MAX][usize::from(how / 4 % 4)];
    let kind = if how & 16 == 0 {
        Kind::Text
    } else {
        Kind::Binary
    };
    let messages = payload
        .chunks(usize::from(*ends) * 16 + 1)
        .collect::<Vec<_>>();
    let new = || {
        Inflater::new(side(how >> 4))
            .max_ratio(ratio)
            .max_message(limit)
    };
    let whole = stream(new(), &messages, usize::MAX, 1 << 16, kind, limit);
    let size = usize::from(cut % 64) + 1;
    for (size, buffer) in [(1, 1), (size, size * 7), (usize::MAX, 3), (size, 1 << 13)] {
        assert_eq!(stream(new(), &messages, size, buffer, kind, limit), whole);
    }
    let mut assembler = Assembler::new(limit).inflating(new());
    let (mut put_together, mut broken) = (Vec::new(), None);
    'all: for message in messages {
        for chunk in chunks(message, size, kind) {
            match assembler.push(chunk) {
                Ok(message) => put_together.extend(message.map(|message| match message {
                    Message::Text(text) => text.into_bytes(),
                    Message::Binary(bytes) => bytes,
                })),
                Err(violation) => {
                    broken = Some(violation.rule);
                    break 'all;
                }
            }
        }
    }
    assert_eq!((put_together, broken), whole);
}

fn chunks(message: &[u8], size: usize, kind: Kind) -> impl Iterator<Item = Chunk<'_>> {
    let count = message.len().div_ceil(size);
    message
        .chunks(size)
        .enumerate()
        .map(move |(index, payload)| Chunk {
            kind,
            payload,
            compressed: true,
            first: index == 0,
            last: index + 1 == count,
        })
}

fn stream(
    mut inflater: Inflater,
    messages: &[&[u8]],
    size: usize,
    buffer: usize,
    kind: Kind,
    limit: usize,
) -> (Vec<Vec<u8>>, Option<Rule>) {
    let mut buffer = vec![0; buffer];
    let mut whole = Vec::new();
    for message in messages {
        let mut open = Vec::new();
        for chunk in chunks(message, size, kind) {
            let mut pieces = inflater.push(chunk, &mut buffer);
            while let Some(piece) = pieces.next() {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(violation) => {
                        assert_ne!(violation.code, CloseCode::PROTOCOL);
                        return (whole, Some(violation.rule));
                    }
                };
                open.extend_from_slice(piece.payload);
                assert!(open.len() <= limit);
                if piece.last {
                    whole.push(std::mem::take(&mut open));
                }
            }
        }
    }
    (whole, None)
}
