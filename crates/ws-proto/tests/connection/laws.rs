//! What holds for any input, any cut and any message.

use proptest::collection::vec;
use proptest::prelude::*;
use ws_proto::{CloseCode, Config, Connection, Fragment, Header, Kind, OpCode, Parsed, apply_mask};

use crate::oracle::{self, Limits};
use crate::{ORIGIN, Seen, client, read, server, transmit};

const SMALL: Limits = Limits {
    frame: 200,
    message: 300,
    fragments: 4,
};

fn small() -> Config {
    let mut config = Config::default();
    config.max_frame(200).max_message(300).max_fragments(4);
    config
}

/// A frame to be, whose first byte depends on what went before.
#[derive(Clone, Debug)]
struct Draft {
    first: First,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
    /// In how many bytes the length is written at least.
    form: usize,
}

#[derive(Clone, Copy, Debug)]
enum First {
    /// Whatever this is.
    Byte(u8),
    /// Data of this opcode, or a continuation where one is due.
    Data { fin: bool, opcode: u8 },
}

impl Draft {
    fn encode(&self, is_open: &mut bool) -> Vec<u8> {
        let first = match self.first {
            First::Byte(byte) => byte,
            First::Data { fin, opcode } => {
                let opcode = if *is_open { 0 } else { opcode };
                *is_open = !fin;
                if fin { 0x80 | opcode } else { opcode }
            }
        };
        let bit = if self.mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![first];
        let len = self.payload.len();
        match (self.form, u8::try_from(len)) {
            (0, Ok(len @ ..126)) => bytes.push(bit | len),
            (0 | 2, _) => {
                bytes.push(bit | 126);
                bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(bit | 127);
                bytes.extend(u64::try_from(len).unwrap().to_be_bytes());
            }
        }
        bytes.extend(self.mask.iter().flatten());
        let key = self.mask.unwrap_or_default();
        let keys = key.iter().cycle();
        bytes.extend(self.payload.iter().zip(keys).map(|(byte, key)| byte ^ key));
        bytes
    }
}

/// Bytes that are mostly frames and mostly right, so that something interesting happens.
fn wire(masked: bool) -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        20 => (any::<bool>(), 1..=2_u8).prop_map(|(fin, opcode)| First::Data { fin, opcode }),
        8 => prop::sample::select(vec![0x89, 0x8a, 0x8a, 0x88]).prop_map(First::Byte),
        1 => prop::sample::select(vec![0x81, 0x01, 0x82, 0x02, 0x00, 0x80]).prop_map(First::Byte),
        1 => any::<u8>().prop_map(First::Byte),
    ];
    let mask = (any::<[u8; 4]>(), prop::bool::weighted(0.97))
        .prop_map(move |(key, is_right)| (masked == is_right).then_some(key));
    let payload = prop_oneof![
        4 => "[a\u{e9}\u{20ac}\u{1f30a}]{0,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..12),
        2 => (1000..1016_u16, "[a\u{e9}]{0,5}")
            .prop_map(|(code, reason)| [&code.to_be_bytes(), reason.as_bytes()].concat()),
        2 => (100..210_usize).prop_map(|len| vec![b'x'; len]),
    ];
    let form = prop_oneof![40 => Just(0), 1 => Just(2), 1 => Just(8)];
    let draft = (first, mask, payload, form).prop_map(|(first, mask, payload, form)| Draft {
        first,
        mask,
        payload,
        form,
    });
    (vec(draft, 0..12), 0..4_usize).prop_map(|(drafts, cut)| {
        let mut is_open = false;
        let frames: Vec<_> = drafts
            .iter()
            .map(|draft| draft.encode(&mut is_open))
            .collect();
        let mut bytes = frames.concat();
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    })
}

/// The pieces of `bytes` when it is cut at these points.
fn cut<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut points: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    points.extend([0, bytes.len()]);
    points.sort_unstable();
    points
        .windows(2)
        .map(|ends| &bytes[ends[0]..ends[1]])
        .collect()
}

/// Something to send.
#[derive(Clone, Debug)]
enum Outgoing {
    Message(Kind, Vec<u8>),
    Fragments(Kind, Vec<Vec<u8>>),
    Ping(Vec<u8>),
}

fn outgoing() -> impl Strategy<Value = Outgoing> {
    let text = "\\PC{0,40}".prop_map(String::into_bytes);
    let binary = prop_oneof![vec(any::<u8>(), 0..300), Just(vec![7; 70_000])];
    let message = prop_oneof![
        text.prop_map(|payload| (Kind::Text, payload)),
        binary.prop_map(|payload| (Kind::Binary, payload)),
    ]
    .boxed();
    prop_oneof![
        message
            .clone()
            .prop_map(|(kind, payload)| Outgoing::Message(kind, payload)),
        (message, vec(any::<prop::sample::Index>(), 0..4)).prop_map(|((kind, payload), cuts)| {
            let pieces = cut(&payload, &cuts)
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect();
            Outgoing::Fragments(kind, pieces)
        }),
        vec(any::<u8>(), 0..=125).prop_map(Outgoing::Ping),
    ]
}

fn seen(kind: Kind, payload: Vec<u8>) -> Seen {
    match kind {
        Kind::Text => Seen::Text(String::from_utf8(payload).expect("text was generated")),
        Kind::Binary => Seen::Binary(payload),
    }
}

/// Sends everything from one end and returns the bytes and what the other end must see.
fn send<R: ws_proto::Role>(
    connection: &mut Connection<R>,
    script: &[Outgoing],
) -> (Vec<u8>, Vec<Seen>) {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for outgoing in script {
        match outgoing {
            Outgoing::Message(kind, payload) => {
                connection.send(*kind, payload, &mut out).unwrap();
                expected.push(seen(*kind, payload.clone()));
            }
            Outgoing::Fragments(kind, pieces) => {
                let (last, more) = pieces.split_last().unwrap();
                for piece in more {
                    connection
                        .send_fragment(*kind, Fragment::More, piece, &mut out)
                        .unwrap();
                }
                connection
                    .send_fragment(*kind, Fragment::Last, last, &mut out)
                    .unwrap();
                expected.push(seen(*kind, pieces.concat()));
            }
            Outgoing::Ping(payload) => {
                connection.ping(payload).unwrap();
                connection.poll_transmit(&mut out);
                expected.push(Seen::Ping(payload.clone()));
            }
        }
    }
    connection.close(CloseCode::NORMAL, "done", ORIGIN).unwrap();
    out.extend(transmit(connection));
    expected.push(crate::close(1000, "done"));
    (out, expected)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn a_server_sees_what_the_oracle_sees_however_the_bytes_are_cut(
        wire in prop_oneof![9 => wire(true), 1 => vec(any::<u8>(), 0..40)],
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let expected = oracle::interpret(&wire, true, &SMALL);
        let seen = read(&mut Connection::server(small()), &cut(&wire, &cuts));
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_client_sees_what_the_oracle_sees_however_the_bytes_are_cut(
        wire in prop_oneof![9 => wire(false), 1 => vec(any::<u8>(), 0..40)],
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let expected = oracle::interpret(&wire, false, &SMALL);
        let seen = read(&mut Connection::client(small(), || [0; 4]), &cut(&wire, &cuts));
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn any_header_is_parsed_as_it_was_encoded(
        fin: bool,
        opcode in prop::sample::select(&[OpCode::Continuation, OpCode::Text, OpCode::Binary][..]),
        len in prop_oneof![0..200_u64, 65_500..65_600_u64, 0..(1_u64 << 63)],
        mask: Option<[u8; 4]>,
    ) {
        let mut header = Header::new(opcode, len);
        header.fin = fin;
        header.mask = mask;
        let bytes = header.encode();
        prop_assert_eq!(Header::parse(&bytes), Ok(Parsed::Done { header, used: bytes.len() }));
        for have in 0..bytes.len() {
            let Ok(Parsed::Need(need)) = Header::parse(&bytes[..have]) else {
                return Err(TestCaseError::fail("a part is not the whole"));
            };
            prop_assert!(have < need && need <= bytes.len());
        }
    }

    #[test]
    fn a_mask_is_applied_byte_by_byte_however_the_payload_is_cut(
        payload in vec(any::<u8>(), 0..100),
        key: [u8; 4],
        cuts in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let expected: Vec<u8> =
            payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        let mut phase = 0;
        let mut masked = Vec::new();
        for piece in cut(&payload, &cuts) {
            let mut piece = piece.to_vec();
            phase = apply_mask(&mut piece, key, phase);
            masked.extend(piece);
        }
        prop_assert_eq!(phase, payload.len() % 4);
        prop_assert_eq!(&masked, &expected);
        apply_mask(&mut masked, key, 0);
        prop_assert_eq!(masked, payload);
    }
}

proptest! {
    #[test]
    fn what_a_server_sends_is_what_a_client_sees(
        script in vec(outgoing(), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (bytes, expected) = send(&mut server(), &script);
        prop_assert_eq!(read(&mut client(), &cut(&bytes, &cuts)), expected);
    }

    #[test]
    fn what_a_client_sends_is_what_a_server_sees(
        script in vec(outgoing(), 0..6),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
        mut seed: u32,
    ) {
        let masks = move || {
            seed = seed.wrapping_mul(0x9e37_79b9).wrapping_add(1);
            seed.to_be_bytes()
        };
        let (bytes, expected) = send(&mut Connection::client(Config::default(), masks), &script);
        prop_assert_eq!(read(&mut server(), &cut(&bytes, &cuts)), expected);
    }
}
