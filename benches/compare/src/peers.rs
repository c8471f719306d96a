//! The peers, each used as its documentation says.

use std::convert::Infallible;
use std::hint::black_box;

use benches::sse::{Answer, Row};
use bytes::Bytes;
use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use eventsource_stream::Eventsource;
use futures::executor::block_on_stream;
use futures::stream;
use launchdarkly_sdk_transport::{ByteStream, HttpTransport, ResponseFuture};

fn body(chunks: &[Bytes]) -> impl futures::Stream<Item = Result<Bytes, Infallible>> + Unpin {
    stream::iter(chunks.to_vec().into_iter().map(Ok))
}

pub fn sse_core(_: &Row, chunks: &[Bytes]) -> Answer {
    let mut decoder = sse_core::SseDecoder::with_limit((16 << 20).try_into().unwrap());
    let mut answer = Answer::default();
    for chunk in chunks {
        let mut chunk = chunk.as_ref();
        while let Some(event) = decoder.next(&mut chunk) {
            if let sse_core::SseEvent::Message(event) = black_box(event.unwrap()) {
                answer.add(&event.event, &event.data);
            }
        }
    }
    answer
}

pub fn sse_parse(_: &Row, chunks: &[Bytes]) -> Answer {
    let mut parser = sse_parse::SseParser::new();
    let mut answer = Answer::default();
    for chunk in chunks {
        parser.feed(chunk);
        while let Some(event) = parser.next_event() {
            let event = black_box(event);
            answer.add(&event.event, &event.data);
        }
    }
    answer
}

pub fn sse_stream(_: &Row, chunks: &[Bytes]) -> Answer {
    let mut answer = Answer::default();
    for event in block_on_stream(sse_stream::SseByteStream::new(body(chunks))) {
        let event = black_box(event.unwrap());
        if let Some(data) = &event.data {
            answer.add(event.event.as_deref().unwrap_or("message"), data);
        }
    }
    answer
}

pub fn eventsource_stream(_: &Row, chunks: &[Bytes]) -> Answer {
    let mut answer = Answer::default();
    for event in block_on_stream(body(chunks).eventsource()) {
        let event = black_box(event.unwrap());
        answer.add(&event.event, &event.data);
    }
    answer
}

/// Its parser is private: it is given a transport whose response is the stream.
pub fn eventsource_client(_: &Row, chunks: &[Bytes]) -> Answer {
    let client = ClientBuilder::for_url("http://localhost/")
        .unwrap()
        .reconnect(
            ReconnectOptions::reconnect(false)
                .retry_initial(false)
                .build(),
        )
        .build_with_transport(Replay(chunks.to_vec()));
    let mut answer = Answer::default();
    for item in block_on_stream(client.stream()) {
        match black_box(item) {
            Ok(SSE::Event(event)) => answer.add(&event.event_type, &event.data),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    answer
}

#[derive(Clone)]
struct Replay(Vec<Bytes>);

impl HttpTransport for Replay {
    fn request(&self, _: http::Request<Option<Bytes>>) -> ResponseFuture {
        let body: ByteStream = Box::pin(stream::iter(self.0.clone().into_iter().map(Ok)));
        Box::pin(async { Ok(http::Response::new(body)) })
    }
}
