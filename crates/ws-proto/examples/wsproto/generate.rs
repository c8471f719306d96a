//! Cases out of a seed.

use ws_proto::handshake::{DeflateSide, WindowBits};
use ws_proto::{Config, Connection, Deflater, Fragment, Header, Kind, Parsed, Role, apply_mask};

use crate::peer::hex;
use crate::{AnyError, CODES};

/// What one end receives.
#[derive(Debug)]
pub(crate) struct Case {
    /// Whether the end is a server.
    pub(crate) server: bool,
    /// What was agreed on for the other end.
    pub(crate) deflate: Option<DeflateSide>,
    pub(crate) pieces: Vec<Vec<u8>>,
    /// What it must see, if nothing was spoilt.
    pub(crate) expected: Option<Vec<String>>,
}

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// Compression in one direction, or none. wsproto has no window of 8 bits.
    pub(crate) fn deflate(&mut self) -> Option<DeflateSide> {
        let bits = u8::try_from(9 + self.below(7)).unwrap_or(15);
        (self.below(2) == 0).then_some(DeflateSide {
            no_context_takeover: self.below(2) == 0,
            max_window_bits: WindowBits::new(bits).unwrap_or(WindowBits::MAX),
        })
    }

    /// Words that come again, so that compression has something to do.
    pub(crate) fn message(&mut self) -> (Kind, Vec<u8>) {
        const WORDS: [&str; 6] = [
            "a",
            "\u{e9}",
            "\u{20ac}",
            "\u{1f30a}",
            "{\"seq\":",
            "tidegate ",
        ];
        let times = if self.below(20) == 0 { 400 } else { 8 };
        let count = self.below(times);
        if self.below(2) == 0 {
            let text = (0..count).map(|_| WORDS[self.below(WORDS.len())]);
            (Kind::Text, text.collect::<String>().into_bytes())
        } else {
            let noise = self.bytes(count);
            (Kind::Binary, noise.repeat(1 + self.below(3)))
        }
    }

    /// The bytes in pieces.
    pub(crate) fn cut(&mut self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let most = [1, 7, 4000][self.below(3)];
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(1 + self.below(most)));
            pieces.push(piece.to_vec());
            bytes = rest;
        }
        pieces
    }
}

impl Case {
    /// What an end may receive: messages and control frames as the other end sends them, or these
    /// spoilt, or frames that nobody sends.
    pub(crate) fn read(random: &mut Random) -> Self {
        let server = random.below(2) == 0;
        let deflate = random.deflate();
        let (mut wire, expected) = if random.below(4) == 0 {
            (nonsense(server, deflate, random), None)
        } else if server {
            let seed = random.next().to_be_bytes();
            let masks = move || [seed[0], seed[1], seed[2], seed[3]];
            script(
                Connection::client(Config::default(), masks),
                deflate,
                random,
            )
        } else {
            script(Connection::server(Config::default()), deflate, random)
        };
        let spoilt = random.below(2) == 0 && !wire.is_empty();
        if spoilt {
            for _ in 0..1 + random.below(3) {
                spoil(&mut wire, random);
            }
        }
        Self {
            server,
            deflate,
            pieces: random.cut(&wire),
            expected: expected.filter(|_| !spoilt),
        }
    }
}

fn spoil(wire: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(wire.len().max(1));
    match random.below(4) {
        0 => wire.truncate(at),
        1 => wire.insert(at, random.byte()),
        _ => {
            if let Some(byte) = wire.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

/// What an end of ours sends, and what of it the other must see.
fn script<R: Role>(
    mut connection: Connection<R>,
    deflate: Option<DeflateSide>,
    random: &mut Random,
) -> (Vec<u8>, Option<Vec<String>>) {
    let mut deflater = deflate.map(Deflater::new);
    let (mut wire, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..random.below(5) {
        let (kind, payload) = random.message();
        let letter = if kind == Kind::Text { 'T' } else { 'B' };
        let message = format!("{letter}:{}", hex(&payload));
        let compressed = random.below(4) > 0;
        let (head, tail) = payload.split_at(random.below(1 + payload.len()));
        let parts = match random.below(2) {
            0 => vec![(Fragment::Last, &payload[..])],
            _ => vec![(Fragment::More, head), (Fragment::Last, tail)],
        };
        let whole = parts.len() == 1;
        for (fragment, part) in parts {
            let sent = match &mut deflater {
                Some(deflater) if compressed && whole => {
                    connection.send_compressed(kind, part, deflater, &mut wire)
                }
                Some(deflater) if compressed => {
                    connection.send_fragment_compressed(kind, fragment, part, deflater, &mut wire)
                }
                _ if whole => connection.send(kind, part, &mut wire),
                _ => connection.send_fragment(kind, fragment, part, &mut wire),
            };
            sent.expect("it is open, and text is text");
            // A control frame, which may be between fragments.
            if random.below(4) == 0 {
                let len = random.below(126);
                let payload = random.bytes(len);
                let ping = (fragment == Fragment::More, format!("P:{}", hex(&payload)));
                connection.ping(&payload).expect("it is open");
                connection.poll_transmit(&mut wire);
                match ping {
                    (true, ping) => seen.push(ping),
                    (false, ping) => seen.extend([message.clone(), ping]),
                }
            } else if fragment == Fragment::Last {
                seen.push(message.clone());
            }
        }
    }
    if random.below(3) == 0 {
        let code = CODES[random.below(CODES.len())];
        let closed = connection.close(code, "", core::time::Duration::ZERO);
        closed.expect("it is open");
        connection.poll_transmit(&mut wire);
        seen.push(format!("C:{code}:"));
    }
    (wire, Some(seen))
}

/// Frames of any kind with any bits.
fn nonsense(server: bool, deflate: Option<DeflateSide>, random: &mut Random) -> Vec<u8> {
    const FIRST: [u8; 14] = [
        0x81, 0x82, 0x01, 0x02, 0x80, 0x00, 0x89, 0x8a, 0x88, 0x88, 0xc1, 0xc2, 0x41, 0x42,
    ];
    // "Hello" in a block that is the last one, then an empty block.
    const LAST_BLOCK: [u8; 8] = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let mut wire = Vec::new();
    for _ in 0..1 + random.below(5) {
        let mut first = FIRST[random.below(FIRST.len())];
        if random.below(30) == 0 {
            first = random.byte();
        }
        if deflate.is_none() && random.below(20) > 0 {
            first &= 0xbf;
        }
        let payload = match random.below(7) {
            _ if first == 0x88 => {
                let code = u16::try_from(998 + random.below(20)).unwrap_or(0);
                [&code.to_be_bytes()[..], b"why"].concat()
            }
            0 => LAST_BLOCK.to_vec(),
            1 => vec![0x00],
            3 => b"cut within \xf0\x9f\x8c".to_vec(),
            2 => {
                let len = random.below(200);
                random.bytes(len)
            }
            _ => random.message().1,
        };
        let right = random.below(30) > 0;
        let mask = (server == right).then(|| [random.byte(), 0, random.byte(), 7]);
        frame(first, mask, &payload, &mut wire);
    }
    wire
}

/// Appends a frame with this first byte.
pub(crate) fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8], out: &mut Vec<u8>) {
    let mut header = Header::new(ws_proto::OpCode::Binary, payload.len() as u64);
    header.mask = mask;
    let start = out.len();
    out.extend_from_slice(&header.encode());
    out[start] = first;
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        apply_mask(&mut out[start..], key, 0);
    }
}

/// The payloads of unmasked frames, one after the other.
pub(crate) fn payloads(mut frames: &[u8]) -> Result<Vec<u8>, AnyError> {
    let mut out = Vec::new();
    while !frames.is_empty() {
        let Parsed::Done { header, used } = Header::parse(frames)? else {
            return Err("a frame that we wrote is not whole".into());
        };
        let (payload, rest) = frames[used..].split_at(usize::try_from(header.len)?);
        out.extend_from_slice(payload);
        frames = rest;
    }
    Ok(out)
}
