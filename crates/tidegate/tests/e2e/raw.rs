//! HTTP/1.1 and WebSocket by hand, for what no client library lets a test do.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::PATIENCE;

/// No test needs one connection for so long. Heartbeats would keep who waits for something else waiting.
const LONGEST: Duration = Duration::from_secs(600);

/// One kept-alive connection.
pub(crate) struct Http {
    stream: TcpStream,
    opened: Instant,
    host: String,
    buffer: Vec<u8>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Name, in lower case, and value.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(it, _)| it == name)
            .map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }
}

impl Http {
    #[track_caller]
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the hub listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            opened: Instant::now(),
            host: address.to_owned(),
            buffer: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the hub reads");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    #[track_caller]
    pub(crate) fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        self.send(head.as_bytes());
        self.send(body);
        self.answer()
    }

    /// Reads an answer with a length.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer
            .header("content-length")
            .map_or(0, |text| text.parse().unwrap());
        while self.buffer.len() < length {
            assert!(self.fill() > 0, "the answer ends early");
        }
        answer.body = self.buffer.drain(..length).collect();
        answer
    }

    /// Reads the head of an answer; what follows it stays to be read.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill() > 0, "the connection ended within a head");
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).expect("heads are ASCII here");
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Answer {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// Publishes one event and returns its id.
    #[track_caller]
    pub(crate) fn publish(&mut self, topic: &str, data: &str) -> String {
        let answer = self.request(
            "POST",
            &format!("/events?topic={topic}"),
            &[],
            data.as_bytes(),
        );
        assert_eq!(
            answer.status,
            200,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Upgrades to WebSocket.
    #[track_caller]
    pub(crate) fn websocket(mut self) -> WebSocket {
        let head = format!(
            "GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: tidegate.v1+json\r\n\r\n",
            self.host
        );
        self.send(head.as_bytes());
        let answer = self.head();
        assert_eq!(answer.status, 101);
        // RFC 6455 section 1.3 gives this answer to that key.
        assert_eq!(
            answer.header("sec-websocket-accept"),
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
        assert_eq!(
            answer.header("sec-websocket-protocol"),
            Some("tidegate.v1+json")
        );
        WebSocket { http: self }
    }

    /// Whatever arrives next; nothing at the connection's end.
    pub(crate) fn read(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.fill();
        }
        std::mem::take(&mut self.buffer)
    }

    #[track_caller]
    fn fill(&mut self) -> usize {
        let mut chunk = [0; 16 * 1024];
        let read = loop {
            match self.stream.read(&mut chunk) {
                Ok(read) => break read,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break 0,
                // This process was stopped for a while.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the hub sends nothing: {error}"),
            }
        };
        self.buffer.extend_from_slice(&chunk[..read]);
        assert!(self.opened.elapsed() < LONGEST, "it never came");
        read
    }
}

/// A client's end of a WebSocket connection.
pub(crate) struct WebSocket {
    http: Http,
}

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

impl WebSocket {
    /// Sends one whole, masked message or control frame.
    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ ..=125 => frame.push(0x80 | length as u8),
            length @ ..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(
            payload
                .iter()
                .zip(MASK.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.http.send(&frame);
    }

    pub(crate) fn into_http(self) -> Http {
        self.http
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.http.send(bytes);
    }

    /// The next frame's opcode and payload; `None` at the connection's end.
    pub(crate) fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.take(2)?;
        assert_eq!(first[1] & 0x80, 0, "a server does not mask");
        let length = match first[1] {
            126 => u16::from_be_bytes(self.take(2)?.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.take(8)?.try_into().unwrap()),
            short => short.into(),
        };
        Some((first[0] & 0x0f, self.take(length as usize)?))
    }

    /// The next text message as JSON.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Value {
        loop {
            match self.receive().expect("the connection is open") {
                (TEXT, payload) => return serde_json::from_slice(&payload).unwrap(),
                (PING, payload) => self.send(PONG, &payload),
                (other, payload) => panic!("opcode {other} with {payload:?}"),
            }
        }
    }

    /// The close code of the connection's end, past whatever comes before it.
    #[track_caller]
    pub(crate) fn close_code(&mut self) -> u16 {
        loop {
            match self.receive() {
                Some((CLOSE, payload)) => return u16::from_be_bytes([payload[0], payload[1]]),
                Some(_) => {}
                None => panic!("the connection ended without a close frame"),
            }
        }
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.http.buffer.len() < length {
            if self.http.fill() == 0 {
                return None;
            }
        }
        Some(self.http.buffer.drain(..length).collect())
    }
}
