//! The other libraries, each used as its documentation says.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use benches::ws::{Answer, READ, Row};
use bytes::{Bytes, BytesMut};
use futures::executor::block_on;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::{Decode, Subject};

const MOST: usize = 1 << 24;

/// The wire of a row again and again, in its reads. What is written to it is dropped.
#[derive(Debug)]
struct Wire {
    row: &'static Row,
    at: usize,
}

impl Wire {
    fn new(row: &'static Row) -> Self {
        Self { row, at: 0 }
    }

    /// The rest of the read that is under way, as much of it as there is room for.
    fn arrive(&mut self, room: usize) -> &'static [u8] {
        let wire = &self.row.wire;
        let end = (self.at / self.row.read + 1) * self.row.read;
        let end = end.min(wire.len()).min(self.at + room);
        let bytes = &wire[self.at..end];
        self.at = end % wire.len();
        bytes
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.arrive(buffer.len());
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = self.arrive(buffer.remaining());
        buffer.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(std::hint::black_box(bytes).len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A wire that nothing arrives on.
fn sink() -> Wire {
    static EMPTY: std::sync::OnceLock<Row> = std::sync::OnceLock::new();
    Wire::new(EMPTY.get_or_init(|| benches::ws::rows().remove(0)))
}

pub(crate) fn decoders(row: &'static Row) -> Vec<(&'static str, Decode)> {
    vec![
        ("tungstenite", tungstenite(row)),
        ("fastwebsockets", fastwebsockets(row)),
        ("tokio-websockets", tokio_websockets(row)),
        ("yawc", yawc(row)),
        ("nexus-web", nexus_web(row)),
        ("sockudo-ws", sockudo_ws(row)),
    ]
}

fn tungstenite(row: &'static Row) -> Decode {
    use tungstenite::Message;
    use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

    let config = WebSocketConfig::default()
        .max_message_size(Some(MOST))
        .max_frame_size(Some(MOST));
    let mut socket = WebSocket::from_raw_socket(Wire::new(row), Role::Server, Some(config));
    Box::new(move || {
        let mut answer = Answer::default();
        while answer.messages < row.answer.messages {
            match socket.read().unwrap() {
                Message::Text(text) => answer.add(text.as_bytes()),
                Message::Binary(bytes) => answer.add(&bytes),
                other => panic!("{other}"),
            }
        }
        answer
    })
}

fn fastwebsockets(row: &'static Row) -> Decode {
    use fastwebsockets::{FragmentCollector, Role, WebSocket};

    let mut socket = WebSocket::after_handshake(Wire::new(row), Role::Server);
    socket.set_max_message_size(MOST);
    let mut socket = FragmentCollector::new(socket);
    Box::new(move || {
        block_on(async {
            let mut answer = Answer::default();
            while answer.messages < row.answer.messages {
                let frame = socket.read_frame().await.unwrap();
                answer.add(&frame.payload);
            }
            answer
        })
    })
}

fn tokio_websockets(row: &'static Row) -> Decode {
    use tokio_websockets::{Limits, ServerBuilder};

    let limits = Limits::default().max_payload_len(Some(MOST));
    let mut socket = ServerBuilder::new().limits(limits).serve(Wire::new(row));
    Box::new(move || {
        block_on(async {
            let mut answer = Answer::default();
            while answer.messages < row.answer.messages {
                let message = socket.next().await.unwrap().unwrap();
                answer.add(message.as_payload());
            }
            answer
        })
    })
}

/// Its codec: whole frames, UTF-8 checked behind it as its `WebSocket` does with `with_utf8`.
fn yawc(row: &'static Row) -> Decode {
    let mut decoder = yawc::codec::Decoder::new(yawc::Role::Server, MOST);
    let mut buffer = BytesMut::with_capacity(READ);
    Box::new(move || {
        let mut answer = Answer::default();
        for read in row.wire.chunks(row.read) {
            buffer.extend_from_slice(read);
            while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                assert!(!row.text || frame.is_utf8());
                answer.add(frame.payload());
            }
        }
        answer
    })
}

fn nexus_web(row: &'static Row) -> Decode {
    use nexus_web::ws::{FrameReader, Message, Role};

    let mut builder = FrameReader::builder()
        .role(Role::Server)
        .max_frame_size(MOST as u64)
        .max_message_size(MOST);
    if row.answer.bytes / row.answer.messages >= 1 << 20 {
        // Its default, 1 MiB, is too small for the message and its header.
        builder = builder.buffer_capacity(4 << 20);
    }
    let mut reader = builder.build();
    Box::new(move || {
        let mut answer = Answer::default();
        for read in row.wire.chunks(row.read) {
            reader.read(read).unwrap();
            while let Some(message) = reader.next().unwrap() {
                match message {
                    Message::Text(text) => answer.add(text.as_bytes()),
                    Message::Binary(bytes) => answer.add(bytes),
                    other => panic!("{other:?}"),
                }
            }
        }
        answer
    })
}

fn sockudo_ws(row: &'static Row) -> Decode {
    use sockudo_ws::protocol::{Message, Protocol};

    let mut protocol = Protocol::new(sockudo_ws::Role::Server, MOST, MOST);
    let mut buffer = BytesMut::with_capacity(READ);
    let mut messages = Vec::new();
    Box::new(move || {
        let mut answer = Answer::default();
        for read in row.wire.chunks(row.read) {
            buffer.extend_from_slice(read);
            protocol.process_into(&mut buffer, &mut messages).unwrap();
            for message in messages.drain(..) {
                match &message {
                    Message::Text(bytes) | Message::Binary(bytes) => answer.add(bytes),
                    other => panic!("{other:?}"),
                }
            }
        }
        answer
    })
}

/// The maskers that are public. Those of tungstenite and tokio-websockets are not.
pub(crate) const MASKS: [(&str, fn(&mut [u8], [u8; 4])); 4] = [
    ("fastwebsockets", fastwebsockets::unmask),
    ("yawc", yawc::mask::apply_mask),
    ("nexus-web", nexus_web::ws::apply_mask),
    ("sockudo-ws", sockudo_ws::simd::apply_mask),
];

/// Each sends `count` messages in a run and flushes what it queues.
pub(crate) fn encoders(payload: &[u8], client: bool, count: usize) -> Vec<Subject> {
    let payload = Bytes::copy_from_slice(payload);
    vec![
        (
            "tungstenite",
            tungstenite_out(payload.clone(), client, count),
        ),
        (
            "fastwebsockets",
            fastwebsockets_out(payload.clone(), client, count),
        ),
        (
            "tokio-websockets",
            tokio_websockets_out(payload.clone(), client, count),
        ),
        ("yawc", yawc_out(payload.clone(), client, count)),
        ("nexus-web", nexus_web_out(payload.clone(), client, count)),
        ("sockudo-ws", sockudo_ws_out(payload, client, count)),
    ]
}

type Send = Box<dyn FnMut() -> usize>;

fn tungstenite_out(payload: Bytes, client: bool, count: usize) -> Send {
    use tungstenite::Message;
    use tungstenite::protocol::{Role, WebSocket};

    let role = if client { Role::Client } else { Role::Server };
    let mut socket = WebSocket::from_raw_socket(sink(), role, None);
    Box::new(move || {
        for _ in 0..count {
            socket.write(Message::Binary(payload.clone())).unwrap();
        }
        socket.flush().unwrap();
        count
    })
}

/// Has no queue: each frame is encoded for itself into a buffer that is used again.
fn fastwebsockets_out(payload: Bytes, client: bool, count: usize) -> Send {
    use fastwebsockets::{Frame, Payload, Role, WebSocket};

    let role = if client { Role::Client } else { Role::Server };
    let mut socket = WebSocket::after_handshake(sink(), role);
    Box::new(move || {
        block_on(async {
            for _ in 0..count {
                let frame = Frame::binary(Payload::Borrowed(&payload));
                socket.write_frame(frame).await.unwrap();
            }
            socket.flush().await.unwrap();
        });
        count
    })
}

fn tokio_websockets_out(payload: Bytes, client: bool, count: usize) -> Send {
    use tokio_websockets::{ClientBuilder, Message, ServerBuilder};

    let mut socket = if client {
        ClientBuilder::new().take_over(sink())
    } else {
        ServerBuilder::new().serve(sink())
    };
    Box::new(move || {
        block_on(async {
            for _ in 0..count {
                socket.feed(Message::binary(payload.clone())).await.unwrap();
            }
            socket.flush().await.unwrap();
        });
        count
    })
}

fn yawc_out(payload: Bytes, client: bool, count: usize) -> Send {
    let role = if client {
        yawc::Role::Client
    } else {
        yawc::Role::Server
    };
    let mut encoder = yawc::codec::Encoder::new(role);
    let mut out = BytesMut::new();
    Box::new(move || {
        out.clear();
        for _ in 0..count {
            encoder
                .encode(yawc::frame::Frame::binary(payload.clone()), &mut out)
                .unwrap();
        }
        assert!(out.len() > count * payload.len());
        count
    })
}

fn nexus_web_out(payload: Bytes, client: bool, count: usize) -> Send {
    use nexus_web::ws::{FrameWriter, Role};

    let role = if client { Role::Client } else { Role::Server };
    let mut writer = FrameWriter::new(role);
    let mut out = vec![0; count * (payload.len() + 14)];
    Box::new(move || {
        let mut len = 0;
        for _ in 0..count {
            len += writer.encode_binary(&payload, &mut out[len..]);
        }
        assert!(len > count * payload.len());
        std::hint::black_box(&out);
        count
    })
}

fn sockudo_ws_out(payload: Bytes, client: bool, count: usize) -> Send {
    use sockudo_ws::protocol::{Message, Protocol, Role};

    let role = if client { Role::Client } else { Role::Server };
    let mut protocol = Protocol::new(role, MOST, MOST);
    let mut out = BytesMut::new();
    Box::new(move || {
        out.clear();
        for _ in 0..count {
            protocol
                .encode_message(&Message::Binary(payload.clone()), &mut out)
                .unwrap();
        }
        assert!(out.len() > count * payload.len());
        count
    })
}

/// Compressors with context takeover; each run says to how many bytes the texts came. Those of yawc
/// are private.
pub(crate) fn compressors(
    texts: &'static [String],
) -> Vec<(&'static str, Box<dyn FnMut() -> usize>)> {
    let mut context = sockudo_ws::DeflateContext::server(sockudo_ws::DeflateConfig {
        compression_threshold: 0,
        ..sockudo_ws::DeflateConfig::default()
    });
    vec![(
        "sockudo-ws",
        Box::new(move || {
            let mut bytes = 0;
            for text in texts {
                let compressed = context.compress(text.as_bytes()).unwrap();
                bytes += compressed.map_or(text.len(), |bytes| bytes.len());
            }
            bytes
        }),
    )]
}
