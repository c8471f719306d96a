//! WebSocket: the rows of `docs/benchmarks.md`.

use core::time::Duration;

use ws_proto::handshake::DeflateSide;
use ws_proto::{
    Client, Config, Connection, Deflater, Event, Header, Kind, OpCode, Prepared, Server, apply_mask,
};

/// How much one read may bring where nothing else is said.
pub const READ: usize = 64 * 1024;

/// The buffer that `ws-proto` and the floor are given to read into: it fits into the first level cache.
/// The other libraries choose their own.
pub const BUFFER: usize = 16 * 1024;

/// What arrives at a server, the reads it arrives in, and what must be found in it.
#[derive(Clone, Debug)]
pub struct Row {
    /// As in the table.
    pub name: &'static str,
    /// What it is like.
    pub what: &'static str,
    /// Masked frames, each a message.
    pub wire: Vec<u8>,
    /// The size of a read.
    pub read: usize,
    /// Whether the messages are text.
    pub text: bool,
    /// What a decoder must find.
    pub answer: Answer,
}

/// What a decoder found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// Messages.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The sum of their first bytes, which tells whether they were unmasked.
    pub firsts: usize,
}

impl Answer {
    /// Counts one more message.
    pub fn add(&mut self, payload: &[u8]) {
        self.messages += 1;
        self.add_part(true, payload);
    }

    /// Counts a part of a message.
    pub fn add_part(&mut self, first: bool, payload: &[u8]) {
        self.bytes += payload.len();
        if let (true, Some(byte)) = (first, payload.first()) {
            self.firsts += usize::from(*byte);
        }
    }
}

impl Row {
    fn new(name: &'static str, what: &'static str, text: bool, payload: &[u8], one: bool) -> Self {
        let count = (256 * 1024 / (payload.len() + 8)).clamp(2, 4096);
        let (mut wire, mut answer) = (Vec::new(), Answer::default());
        for key in 0..count as u32 {
            let opcode = if text { OpCode::Text } else { OpCode::Binary };
            let mut header = Header::new(opcode, payload.len() as u64);
            let key = key.wrapping_mul(0x9e37_79b9).to_le_bytes();
            header.mask = Some(key);
            wire.extend_from_slice(&header.encode());
            let start = wire.len();
            wire.extend_from_slice(payload);
            apply_mask(&mut wire[start..], key, 0);
            answer.add(payload);
        }
        let read = if one { wire.len() / count } else { READ };
        Self {
            name,
            what,
            wire,
            read,
            text,
            answer,
        }
    }
}

/// All rows.
#[must_use]
pub fn rows() -> Vec<Row> {
    let bytes = |len| vec![0xa5; len];
    let ascii = |len| vec![b'a'; len];
    let other = |len| "påskeøl med én å ".repeat(len).into_bytes()[..len].to_vec();
    // Cut between characters.
    let other = |len| {
        let mut text: Vec<u8> = other(len);
        while core::str::from_utf8(&text).is_err() {
            text.pop();
        }
        text
    };
    vec![
        Row::new("B16", "16 B", false, &bytes(16), false),
        Row::new("B125", "125 B", false, &bytes(125), false),
        Row::new("B1K", "1 KiB", false, &bytes(1024), false),
        Row::new("B16K", "16 KiB", false, &bytes(16 * 1024), false),
        Row::new("B1M", "1 MiB", false, &bytes(1024 * 1024), false),
        Row::new("S16", "16 B, one a read", false, &bytes(16), true),
        Row::new("S125", "125 B, one a read", false, &bytes(125), true),
        Row::new("T16", "text, 16 B", true, &ascii(16), false),
        Row::new("T1K", "text, 1 KiB", true, &ascii(1024), false),
        Row::new("T16K", "text, 16 KiB", true, &ascii(16 * 1024), false),
        Row::new("U1K", "text not ASCII, 1 KiB", true, &other(1024), false),
        Row::new(
            "U16K",
            "text not ASCII, 16 KiB",
            true,
            &other(16 * 1024),
            false,
        ),
    ]
}

/// Decodes a row as a server does: each read is copied into the buffer that it would arrive in.
///
/// # Panics
/// If the row breaks the protocol.
#[must_use]
pub fn decode(row: &Row, connection: &mut Connection<Server>, buffer: &mut [u8]) -> Answer {
    let mut answer = Answer::default();
    for read in row.wire.chunks(row.read.min(buffer.len())) {
        let bytes = &mut buffer[..read.len()];
        bytes.copy_from_slice(read);
        let mut events = connection.push(bytes, Duration::ZERO);
        while let Some(event) = events.next() {
            if let Event::Data(chunk) = event.expect("the row keeps to the protocol") {
                answer.messages += usize::from(chunk.last);
                answer.add_part(chunk.first, chunk.payload);
            }
        }
    }
    answer
}

/// The floor under every decoder: each read copied, and every byte changed.
#[must_use]
pub fn copy_and_xor(row: &Row, buffer: &mut [u8]) -> usize {
    let mut seen = 0;
    for read in row.wire.chunks(row.read.min(buffer.len())) {
        let bytes = &mut buffer[..read.len()];
        bytes.copy_from_slice(read);
        for byte in &mut *bytes {
            *byte ^= 0x5c;
        }
        seen += core::hint::black_box(bytes).len();
    }
    seen
}

/// The lengths of the rows on masks alone.
pub const MASK_LENGTHS: [usize; 9] = [4, 8, 16, 31, 64, 125, 1024, 16 * 1024, 64 * 1024];

/// Where payloads lie that are masked in turn: in the first level cache, and not aligned.
#[must_use]
pub fn mask_arena(len: usize) -> (Vec<u8>, usize) {
    let count = (24 * 1024 / (len + 6)).max(1);
    (vec![0x11; count * (len + 6)], count)
}

/// Masks every payload of an arena with `mask`.
pub fn mask_all(arena: &mut [u8], len: usize, mut mask: impl FnMut(&mut [u8], [u8; 4])) {
    let mut key = 0x0102_0304_u32;
    for frame in arena.chunks_exact_mut(len + 6) {
        key = key.wrapping_add(0x0101);
        mask(&mut frame[6..], key.to_le_bytes());
    }
}

/// Masks that need no randomness, for what is measured beside them.
#[must_use]
pub fn next_mask() -> [u8; 4] {
    [0x37, 0xfa, 0x21, 0x3d]
}

/// A server's connection, with room for the largest row.
#[must_use]
pub fn server() -> Connection<Server> {
    let mut config = Config::default();
    config.max_frame(1 << 24).max_message(1 << 24);
    Connection::server(config)
}

/// Where the client of the benchmarks takes its masks from.
pub type Masks = fn() -> [u8; 4];

/// A client's connection, to send on.
#[must_use]
pub fn client() -> Connection<Client<Masks>> {
    Connection::client(Config::default(), next_mask)
}

/// Encodes `count` binary messages into `out`, emptied before; returns how long they are.
///
/// # Panics
/// If the connection is closing.
pub fn encode<R: ws_proto::Role>(
    connection: &mut Connection<R>,
    payload: &[u8],
    count: usize,
    out: &mut Vec<u8>,
) -> usize {
    out.clear();
    for _ in 0..count {
        connection
            .send(Kind::Binary, payload, out)
            .expect("it is open");
    }
    out.len()
}

/// Sends a prepared message `count` times, as references; returns their length.
///
/// # Panics
/// If the connection is closing.
pub fn send_prepared(
    connection: &mut Connection<Server>,
    message: &Prepared,
    count: usize,
) -> usize {
    let mut len = 0;
    for _ in 0..count {
        let frame = connection.send_prepared(message, None).expect("it is open");
        len += core::hint::black_box(frame).len();
    }
    len
}

/// Price ticks of about 290 bytes, alike as such messages are.
#[must_use]
pub fn ticks() -> Vec<String> {
    let tick = |n: u64| {
        let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let (price, size) = (10_000 + random % 977, random % 89 * 10);
        format!(
            "{{\"type\":\"event\",\"id\":\"9f3a51c04e77d210-{n}\",\"seq\":{n},\"prev\":{},\
             \"time\":{},\"topic\":\"prices/eu/DE0007164600\",\"event\":\"tick\",\"data\":{{\
             \"bid\":\"{}.{:02}\",\"ask\":\"{}.{:02}\",\"bid_size\":{size},\"ask_size\":{},\
             \"venue\":\"XETR\",\"currency\":\"EUR\",\"state\":\"continuous\"}}}}",
            n - 1,
            1_790_000_000_000 + n * 137,
            price / 100,
            price % 100,
            (price + 3) / 100,
            (price + 3) % 100,
            size + 10,
        )
    };
    (1000..1512).map(tick).collect()
}

/// A compressor that keeps its context.
#[must_use]
pub fn deflater() -> Deflater {
    Deflater::new(DeflateSide::default())
}

/// Compresses each text into a frame; returns how long they all are.
///
/// # Panics
/// If the connection is closing.
pub fn deflate(
    connection: &mut Connection<Server>,
    deflater: &mut Deflater,
    texts: &[String],
    out: &mut Vec<u8>,
) -> usize {
    out.clear();
    for text in texts {
        connection
            .send_compressed(Kind::Text, text.as_bytes(), deflater, out)
            .expect("it is open");
    }
    out.len()
}
