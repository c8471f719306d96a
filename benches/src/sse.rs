//! Event streams: the rows of `docs/benchmarks.md`.

use sse_proto::{Decoder, Frame, Item};

/// One event stream, the pieces it arrives in, and what must be found in it.
#[derive(Clone, Debug)]
pub struct Row {
    /// As in the table.
    pub name: &'static str,
    /// What it is like.
    pub what: &'static str,
    /// The pieces.
    pub chunks: Vec<Vec<u8>>,
    /// What a time is divided by: events, or keep-alives where there are no events.
    pub units: usize,
    /// What a decoder must find.
    pub answer: Answer,
}

/// What a decoder found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// Events.
    pub events: usize,
    /// Bytes of their data.
    pub data: usize,
    /// Bytes of their types, `message` not counted: not every decoder tells it from none.
    pub types: usize,
}

impl Answer {
    /// Counts one more event.
    pub fn add(&mut self, event: &str, data: &str) {
        self.events += 1;
        self.data += data.len();
        if event != "message" {
            self.types += event.len();
        }
    }
}

impl Row {
    fn new(name: &'static str, what: &'static str, block: &Block, times: usize, cut: Cut) -> Self {
        let stream = block.bytes.repeat(times);
        let size = match cut {
            Cut::Events => block.bytes.len(),
            Cut::Every(size) => size,
        };
        Self {
            name,
            what,
            chunks: stream.chunks(size).map(<[u8]>::to_vec).collect(),
            units: times,
            answer: Answer {
                events: times * usize::from(block.is_event),
                data: times * block.data,
                types: times * block.types,
            },
        }
    }

    /// Bytes of the stream.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }
}

#[derive(Clone, Copy)]
enum Cut {
    Events,
    Every(usize),
}

struct Block {
    bytes: Vec<u8>,
    is_event: bool,
    data: usize,
    types: usize,
}

fn block(event: &str, data: &str) -> Block {
    let mut bytes = Vec::new();
    let mut types = 0;
    if !event.is_empty() {
        bytes.extend_from_slice(format!("event: {event}\n").as_bytes());
        types = event.len();
    }
    Frame::new().data(data).encode_to(&mut bytes);
    Block {
        bytes,
        is_event: true,
        data: data.len(),
        types,
    }
}

/// All rows.
#[must_use]
pub fn rows() -> Vec<Row> {
    let openai = block("", OPENAI);
    let mut crlf = block("", OPENAI);
    crlf.bytes.truncate(crlf.bytes.len() - 2);
    crlf.bytes.extend_from_slice(b"\r\n\r\n");
    let multibyte = block("", &"é日本語x y z ".repeat(10));
    let anthropic = block("content_block_delta", ANTHROPIC);
    let large = block("", &"0123456789abcdef".repeat(1 << 16));
    let quarter = block("", &"0123456789abcdef".repeat(1 << 14));
    let lines = block("", &vec!["x".repeat(74); 800].join("\n"));
    let keep_alive = Block {
        bytes: sse_proto::KEEP_ALIVE.to_vec(),
        is_event: false,
        data: 0,
        types: 0,
    };
    let every = Cut::Every;
    vec![
        Row::new(
            "A1",
            "OpenAI, 219 B, one event a piece",
            &openai,
            2000,
            Cut::Events,
        ),
        Row::new(
            "A2",
            "OpenAI, 219 B, pieces of 16 KiB",
            &openai,
            2000,
            every(16384),
        ),
        Row::new(
            "A3",
            "OpenAI, 219 B, pieces of 1460 B",
            &openai,
            2000,
            every(1460),
        ),
        Row::new("A4", "OpenAI, 219 B, pieces of 7 B", &openai, 400, every(7)),
        Row::new("A2r", "as A2, lines end in CRLF", &crlf, 2000, every(16384)),
        Row::new(
            "A2u",
            "as A2, half of it not ASCII",
            &multibyte,
            2000,
            every(16384),
        ),
        Row::new(
            "B",
            "Anthropic, type and data, pieces of 16 KiB",
            &anthropic,
            2000,
            every(16384),
        ),
        Row::new("C1", "1 MiB, pieces of 16 KiB", &large, 8, every(16384)),
        Row::new("C2", "256 KiB, pieces of 64 B", &quarter, 4, every(64)),
        Row::new(
            "D",
            "9 B, pieces of 16 KiB",
            &block("", "x"),
            8000,
            every(16384),
        ),
        Row::new(
            "E",
            "60 KiB in 800 lines, pieces of 16 KiB",
            &lines,
            8,
            every(16384),
        ),
        Row::new(
            "F",
            "keep-alives, pieces of 16 KiB",
            &keep_alive,
            8000,
            every(16384),
        ),
    ]
}

/// Decodes a row, each event borrowed.
#[must_use]
pub fn borrowed(row: &Row) -> Answer {
    let mut decoder = Decoder::new();
    let mut answer = Answer::default();
    for chunk in &row.chunks {
        let mut items = decoder.push(chunk);
        while let Some(item) = items.next() {
            if let Item::Event(event) = item {
                answer.add(event.event, event.data);
            }
        }
    }
    answer
}

/// Decodes a row, each event owned.
#[must_use]
pub fn owned(row: &Row) -> Answer {
    let mut decoder = Decoder::new();
    let mut answer = Answer::default();
    for chunk in &row.chunks {
        let mut items = decoder.push(chunk);
        while let Some(item) = items.next_owned() {
            if let Item::Event(event) = item {
                let event = std::hint::black_box(event);
                answer.add(&event.event, &event.data);
            }
        }
    }
    answer
}

/// The floor: finds the end of every line and does nothing about it. Gives the number of lines.
#[must_use]
pub fn walk(row: &Row) -> usize {
    let ends = |chunk: &Vec<u8>| memchr::memchr2_iter(b'\n', b'\r', chunk).count();
    row.chunks.iter().map(ends).sum()
}

/// Data to be encoded: what it is like, and the text.
#[must_use]
pub fn texts() -> Vec<(&'static str, String)> {
    vec![
        ("200 B", "x".repeat(200)),
        ("1 MiB", "0123456789abcdef".repeat(1 << 16)),
        ("60 KiB in 800 lines", vec!["x".repeat(74); 800].join("\n")),
    ]
}

/// Encodes one event into a buffer that is used again. Gives the number of bytes.
pub fn encode(text: &str, out: &mut Vec<u8>) -> usize {
    out.clear();
    Frame::new().data(text).encode_to(out);
    out.len()
}

const OPENAI: &str = r#"{"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012","object":"chat.completion.chunk","created":1732200000,"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":" the token is"},"finish_reason":null}]} "#;

const ANTHROPIC: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" the next few words of the answer"}}"#;
