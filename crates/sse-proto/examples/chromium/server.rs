//! A server that answers the first request for a vector with its chunks and the next one with 204,
//! which ends an `EventSource`. A vector with a seed is preceded by a stream that sets it.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::SEED_RETRY;
use crate::vector::Vector;

/// One request for a vector.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) accept: String,
    /// Empty if there was none.
    pub(crate) last_event_id: String,
    /// Since the end of the stream before.
    pub(crate) waited: Duration,
}

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// The bodies that each vector's requests are answered with, cut in pieces.
    bodies: Vec<Vec<Vec<Vec<u8>>>>,
    /// The requests so far, and when the last response ended.
    seen: Mutex<Vec<(Vec<Request>, Instant)>>,
}

impl Server {
    pub(crate) fn start(vectors: &[Vector]) -> Self {
        let bodies = |vector: &Vector| {
            let seed = vector.seed.as_ref().map(|id| {
                let retry = SEED_RETRY.as_millis();
                vec![format!("retry: {retry}\nid: {id}\n\n").into_bytes()]
            });
            seed.into_iter().chain([vector.chunks.clone()]).collect()
        };
        let shared = Arc::new(Shared {
            bodies: vectors.iter().map(bodies).collect(),
            seen: Mutex::new(vec![(Vec::new(), Instant::now()); vectors.len()]),
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&accepting);
                // A browser that goes away takes its connections along: nobody is left to tell.
                thread::spawn(move || shared.serve(&client).ok());
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The requests for each vector.
    pub(crate) fn requests(&self) -> Vec<Vec<Request>> {
        let seen = self.shared.seen.lock().expect("no thread panicked");
        seen.iter().map(|(requests, _)| requests.clone()).collect()
    }
}

impl Shared {
    fn serve(&self, mut client: &TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        let mut lines = BufReader::new(client).split(b'\n');
        let line = lines.next().transpose()?.unwrap_or_default();
        let target = String::from_utf8_lossy(&line).into_owned();
        let (mut accept, mut last_event_id) = (String::new(), String::new());
        for line in lines {
            let line = String::from_utf8_lossy(&line?).into_owned();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            match &*name.to_ascii_lowercase() {
                "accept" => accept = value.to_owned(),
                "last-event-id" => last_event_id = value.to_owned(),
                _ => {}
            }
        }
        let path = target.split(' ').nth(1).unwrap_or_default();
        let number = path
            .strip_prefix("/vector/")
            .and_then(|it| it.parse::<usize>().ok());
        let Some(number) = number.filter(|number| *number < self.bodies.len()) else {
            let status = if path == "/" {
                "200 OK"
            } else {
                "404 Not Found"
            };
            return write!(
                client,
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: text/html\r\n\r\n"
            );
        };
        let round = {
            let mut seen = self.seen.lock().expect("no thread panicked");
            let (requests, ended) = &mut seen[number];
            requests.push(Request {
                accept,
                last_event_id,
                waited: ended.elapsed(),
            });
            requests.len() - 1
        };
        let Some(chunks) = self.bodies[number].get(round) else {
            return client.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        };
        client.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\
              transfer-encoding: chunked\r\n\r\n",
        )?;
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
            client.write_all(&framed)?;
        }
        self.seen.lock().expect("no thread panicked")[number].1 = Instant::now();
        client.write_all(b"0\r\n\r\n")
    }
}
