//! HTTP/2 (RFC 9113) as far as a client needs it that subscribes: frames in and out, heads by HPACK.

mod frame;
mod request;

use std::fmt;
use std::ops::Range;

use loona_hpack::Decoder;

use super::head::Head;
use frame::{ACK, END_HEADERS, END_STREAM, PADDED, PRIORITY, code, kind, write_frame};

pub(crate) use frame::{write_data, write_taken};
pub(crate) use request::Request;

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a stream may send before it hears that it was taken. Stalled streams are told nothing.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
pub(crate) const STALLED_WINDOW: u32 = 65_535;

/// A connection has all the window there is, and hears of what was taken after this much.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const CONNECTION_TAKEN: u32 = 1 << 24;

/// The longest payload that is gathered: of every frame but DATA, whose bytes are passed on.
const LONGEST: usize = 64 * 1024;

/// The reading side of a connection.
pub(crate) struct Http2 {
    /// The header of the frame under way, as far as it has come.
    header: [u8; 9],
    have: usize,
    /// Bytes of its payload, and of those its padding, that are still to come.
    left: usize,
    padding: usize,
    /// Whether the length of its padding is still to come.
    padding_unread: bool,
    /// The payload of a frame other than DATA.
    payload: Vec<u8>,
    /// The head that CONTINUATION goes on with: its stream, and whether the stream ends with it.
    head: Option<(u32, bool)>,
    block: Vec<u8>,
    hpack: Decoder<'static>,
    taken: u32,
    /// What is asked once the server's settings are there.
    requests: Vec<Request>,
}

/// Something for the subscribers.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// The answer to a stream's request.
    Head { stream: u32, head: Head, last: bool },
    /// Bytes of a stream, by their place in what was read.
    Data {
        stream: u32,
        bytes: Range<usize>,
        /// What they took of its window, padding included.
        taken: u32,
        last: bool,
    },
    /// A stream was reset.
    Reset { stream: u32, why: String },
}

impl Http2 {
    /// A connection that will ask `requests`; each request's stream is in the order of
    /// [`stream`]. What to write first goes to `out`.
    pub(crate) fn new(requests: Vec<Request>, window: u32, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(PREFACE);
        // No pushes; the window of a stream.
        let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
        settings.extend_from_slice(&window.to_be_bytes());
        write_frame(out, kind::SETTINGS, 0, 0, &settings);
        let more = CONNECTION_WINDOW - 65_535;
        write_frame(out, kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        Self {
            header: [0; 9],
            have: 0,
            left: 0,
            padding: 0,
            padding_unread: false,
            payload: Vec::new(),
            head: None,
            block: Vec::new(),
            hpack: Decoder::new(),
            taken: 0,
            requests,
        }
    }

    /// Reads `bytes` from `at` on, up to the next piece, and moves `at` behind it. What the protocol
    /// wants answered goes to `out`.
    ///
    /// # Errors
    ///
    /// When the connection is over, and why.
    pub(crate) fn next(
        &mut self,
        bytes: &[u8],
        at: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<Piece>, String> {
        loop {
            let had = self.have;
            if had < self.header.len() {
                let here = (self.header.len() - had).min(bytes.len() - *at);
                self.header[had..had + here].copy_from_slice(&bytes[*at..*at + here]);
                (self.have, *at) = (had + here, *at + here);
                if self.have < self.header.len() {
                    return Ok(None);
                }
                self.begin()?;
            }
            if self.kind() == kind::DATA {
                if let Some(data) = self.data(bytes, at, out) {
                    return Ok(Some(data));
                }
            } else {
                let here = self.left.min(bytes.len() - *at);
                self.payload.extend_from_slice(&bytes[*at..*at + here]);
                (self.left, *at) = (self.left - here, *at + here);
                if self.left == 0 {
                    self.have = 0;
                    if let Some(piece) = self.frame(out)? {
                        return Ok(Some(piece));
                    }
                }
            }
            if *at == bytes.len() && self.have > 0 {
                return Ok(None);
            }
        }
    }

    fn kind(&self) -> u8 {
        self.header[3]
    }

    fn has(&self, flag: u8) -> bool {
        self.header[4] & flag > 0
    }

    fn stream(&self) -> u32 {
        let [.., a, b, c, d] = self.header;
        u32::from_be_bytes([a & 0x7f, b, c, d])
    }

    /// A header is complete.
    fn begin(&mut self) -> Result<(), String> {
        let [a, b, c, ..] = self.header;
        self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        self.padding_unread = self.kind() == kind::DATA && self.has(PADDED);
        self.padding = 0;
        self.payload.clear();
        if self.kind() != kind::DATA && self.left > LONGEST {
            return Err("the answer is not HTTP/2, or a frame of absurd length".to_owned());
        }
        Ok(())
    }

    /// A part of a DATA frame, if there is any.
    fn data(&mut self, bytes: &[u8], at: &mut usize, out: &mut Vec<u8>) -> Option<Piece> {
        let before = *at;
        if self.padding_unread && self.left > 0 {
            let length = *bytes.get(*at)?;
            (*at, self.left, self.padding_unread) = (*at + 1, self.left - 1, false);
            self.padding = usize::from(length).min(self.left);
        }
        let here = (self.left - self.padding).min(bytes.len() - *at);
        let range = *at..*at + here;
        (*at, self.left) = (range.end, self.left - here);
        if self.left == self.padding {
            let here = self.left.min(bytes.len() - *at);
            (*at, self.left) = (*at + here, self.left - here);
            self.padding = self.left;
        }
        let taken = (*at - before) as u32;
        self.take(taken, out);
        let over = self.left == 0;
        if over {
            self.have = 0;
        }
        let last = over && self.has(END_STREAM);
        (taken > 0 || last).then(|| Piece::Data {
            stream: self.stream(),
            bytes: range,
            taken,
            last,
        })
    }

    /// Tells the server that the connection took more, once that is much.
    fn take(&mut self, more: u32, out: &mut Vec<u8>) {
        self.taken += more;
        if self.taken >= CONNECTION_TAKEN {
            write_frame(out, kind::WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
            self.taken = 0;
        }
    }

    /// A frame other than DATA is complete.
    fn frame(&mut self, out: &mut Vec<u8>) -> Result<Option<Piece>, String> {
        let stream = self.stream();
        match self.kind() {
            kind::HEADERS => {
                let mut payload = 0..self.payload.len();
                if self.has(PADDED) {
                    let padding = usize::from(*self.payload.first().unwrap_or(&0));
                    payload = 1..payload.end.saturating_sub(padding);
                }
                if self.has(PRIORITY) {
                    payload.start += 5;
                }
                let block = self.payload.get(payload);
                self.block = block.ok_or("HEADERS that are too short")?.to_vec();
                self.head = Some((stream, self.has(END_STREAM)));
                self.block_grew()
            }
            kind::CONTINUATION => {
                if self.block.len() + self.payload.len() > LONGEST {
                    return Err("the head of the response is over 64 KiB".to_owned());
                }
                self.block.extend_from_slice(&self.payload);
                self.block_grew()
            }
            kind::RST_STREAM => Ok(Some(Piece::Reset {
                stream,
                why: format!("the server reset the stream: {}", code(&self.payload)),
            })),
            kind::SETTINGS if !self.has(ACK) => {
                write_frame(out, kind::SETTINGS, ACK, 0, &[]);
                self.ask(out).map(|()| None)
            }
            kind::PING if !self.has(ACK) => {
                write_frame(out, kind::PING, ACK, 0, &self.payload);
                Ok(None)
            }
            kind::GOAWAY => {
                let why = code(self.payload.get(4..).unwrap_or_default());
                Err(format!("the server ends the connection: {why}"))
            }
            _ => Ok(None),
        }
    }

    fn block_grew(&mut self) -> Result<Option<Piece>, String> {
        if !self.has(END_HEADERS) {
            return Ok(None);
        }
        let (stream, last) = self.head.take().ok_or("CONTINUATION of nothing")?;
        let mut head = Head::default();
        let block = std::mem::take(&mut self.block);
        let decoded = self.hpack.decode_with_cb(&block, |name, value| {
            let value = String::from_utf8_lossy(&value);
            match &*name {
                b":status" => head.status = value.parse().unwrap_or(0),
                b"content-type" => head.content_type = value.to_ascii_lowercase(),
                _ => {}
            }
        });
        decoded.map_err(|error| format!("a head that is not HPACK: {error:?}"))?;
        // Informational, or trailers.
        if head.status < 200 {
            return Ok(None);
        }
        Ok(Some(Piece::Head { stream, head, last }))
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2")
            .field("header", &self.header)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// The stream of a connection's subscriber by its number.
pub(crate) fn stream(number: usize) -> u32 {
    u32::try_from(number * 2 + 1).unwrap_or(u32::MAX)
}

/// And back; the server opens no streams of its own.
pub(crate) fn number(stream: u32) -> Option<usize> {
    (stream % 2 == 1).then_some(stream as usize / 2)
}

#[cfg(test)]
mod tests {
    use loona_hpack::Encoder;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_frame(&mut out, kind, flags, stream, payload);
        out
    }

    /// What a piece means, wherever the input was cut: data is joined.
    #[derive(Debug, Default, Eq, PartialEq)]
    struct Heard {
        heads: Vec<(u32, u16, bool)>,
        data: Vec<(u32, Vec<u8>)>,
        taken: u32,
        ended: Vec<u32>,
        reset: Vec<(u32, String)>,
        answers: Vec<u8>,
        over: Option<String>,
    }

    fn hear(pieces: &[&[u8]], requests: &[Request]) -> Heard {
        let mut http2 = Http2::new(requests.to_vec(), 1000, &mut Vec::new());
        let mut heard = Heard::default();
        for bytes in pieces {
            let mut at = 0;
            loop {
                let piece = match http2.next(bytes, &mut at, &mut heard.answers) {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break,
                    Err(why) => {
                        heard.over = Some(why);
                        return heard;
                    }
                };
                match piece {
                    Piece::Head { stream, head, last } => {
                        heard.heads.push((stream, head.status, last));
                    }
                    Piece::Data {
                        stream,
                        bytes: range,
                        taken,
                        last,
                    } => {
                        heard.taken += taken;
                        match heard.data.last_mut() {
                            Some((of, data)) if *of == stream => data.extend(&bytes[range]),
                            _ => heard.data.push((stream, bytes[range].to_vec())),
                        }
                        heard.ended.extend(last.then_some(stream));
                    }
                    Piece::Reset { stream, why } => heard.reset.push((stream, why)),
                }
            }
            assert_eq!(at, bytes.len(), "all of it is read");
        }
        heard
    }

    /// Reads whole, byte by byte, and at every split.
    #[track_caller]
    fn check(wire: &[u8], requests: &[Request], expected: &Heard) {
        assert_eq!(hear(&[wire], requests), *expected, "whole");
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(hear(&bytes, requests), *expected, "byte by byte");
        for split in 0..wire.len() {
            let (first, second) = wire.split_at(split);
            assert_eq!(
                hear(&[first, second], requests),
                *expected,
                "split at {split}"
            );
        }
    }

    fn head(status: &str) -> Vec<u8> {
        let fields = [(":status", status), ("content-type", "text/event-stream")];
        Encoder::new().encode(
            fields
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes())),
        )
    }

    #[test]
    fn heads_and_data_are_handed_to_their_streams() {
        let mut wire = frame(kind::HEADERS, END_HEADERS, 1, &head("200"));
        let (first, second) = (head("404"), Vec::new());
        wire.extend(frame(kind::HEADERS, END_STREAM, 3, &first[..3]));
        wire.extend(frame(kind::CONTINUATION, 0, 3, &second));
        wire.extend(frame(kind::CONTINUATION, END_HEADERS, 3, &first[3..]));
        wire.extend(frame(kind::DATA, 0, 1, b"abc"));
        wire.extend(frame(kind::DATA, PADDED, 1, b"\x04defpppp"));
        wire.extend(frame(kind::DATA, 0, 5, b""));
        wire.extend(frame(kind::DATA, END_STREAM | PADDED, 5, b"\x02xpp"));
        wire.extend(frame(kind::RST_STREAM, 0, 7, &8_u32.to_be_bytes()));
        let expected = Heard {
            heads: vec![(1, 200, false), (3, 404, true)],
            data: vec![(1, b"abcdef".to_vec()), (5, b"x".to_vec())],
            taken: 3 + 8 + 4,
            ended: vec![5],
            reset: vec![(7, "the server reset the stream: CANCEL".to_owned())],
            ..Heard::default()
        };
        check(&wire, &[], &expected);
    }

    #[test]
    fn settings_and_pings_are_answered_and_the_end_is_told() {
        let mut wire = frame(kind::PING, 0, 0, b"12345678");
        wire.extend(frame(kind::SETTINGS, ACK, 0, b""));
        wire.extend(frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
        let goaway = [0, 0, 0, 0, 0, 0, 0, 11, b'n', b'o'];
        wire.extend(frame(kind::GOAWAY, 0, 0, &goaway));
        let expected = Heard {
            answers: frame(kind::PING, ACK, 0, b"12345678"),
            over: Some("the server ends the connection: ENHANCE_YOUR_CALM".to_owned()),
            ..Heard::default()
        };
        check(&wire, &[], &expected);
    }

    fn request(protocol: Option<&str>) -> Request {
        let mut fields = vec![(":method".to_owned(), "GET".to_owned())];
        fields.extend(protocol.map(|it| (":protocol".to_owned(), it.to_owned())));
        Request {
            fields,
            first: b"hi".to_vec(),
        }
    }

    fn settings(entries: &[(u16, u32)]) -> Vec<u8> {
        let bytes = entries
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
        frame(kind::SETTINGS, 0, 0, &bytes.collect::<Vec<_>>())
    }

    #[test]
    fn requests_wait_for_settings_that_allow_them() {
        let fields = [(":method", "GET")];
        let fields = || {
            fields
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        };
        let block = Encoder::new().encode(fields());
        let asks = |block: &[u8]| {
            let mut asked = frame(kind::SETTINGS, ACK, 0, b"");
            asked.extend(frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, block));
            asked.extend(frame(kind::DATA, 0, 1, b"hi"));
            asked
        };
        let expected = |answers: Vec<u8>| Heard {
            answers,
            ..Heard::default()
        };
        let plain = [request(None)];
        check(
            &settings(&[(3, 1), (1, 8192)]),
            &plain,
            &expected(asks(&block)),
        );
        // No table: said at the front of the first head (RFC 7541 section 4.2).
        let resized = [&[0x20], &block[..]].concat();
        check(&settings(&[(1, 0)]), &plain, &expected(asks(&resized)));
        let refused = |wire: Vec<u8>, requests: &[Request], why: &str| {
            let over = hear(&[&wire], requests).over.unwrap_or_default();
            assert!(over.contains(why), "{over}");
        };
        refused(
            settings(&[(3, 1)]),
            &[request(None), request(None)],
            "--streams",
        );
        refused(settings(&[]), &[request(Some("websocket"))], "RFC 8441");
        let offered = hear(&[&settings(&[(8, 1)])], &[request(Some("websocket"))]);
        assert_eq!(offered.over, None);
    }

    #[test]
    fn what_is_not_http2_is_refused() {
        let over = |wire: &[u8]| hear(&[wire], &[]).over.unwrap_or_default();
        assert!(over(b"HTTP/1.1 400 Bad Request\r\n\r\n").contains("not HTTP/2"));
        assert!(over(&frame(kind::CONTINUATION, END_HEADERS, 1, b"")).contains("CONTINUATION"));
        assert!(over(&frame(kind::HEADERS, PADDED | END_HEADERS, 1, b"\xff")).contains("HEADERS"));
        let garbage = frame(kind::HEADERS, END_HEADERS, 1, &[0xff; 12]);
        assert!(over(&garbage).contains("HPACK"));
    }
}
