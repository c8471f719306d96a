//! A blocking server on std sockets that counts, resumes, and keeps its clients alive:
//! `cargo run -p sse-proto --example server`, then `curl -N http://127.0.0.1:8080/`.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, thread, time::Duration};

use sse_proto::{EventId, Frame, KEEP_ALIVE, LAST_EVENT_ID, RESPONSE_HEADERS};

fn main() -> Result<()> {
    let address = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    for client in TcpListener::bind(address)?.incoming() {
        let client = client?;
        thread::spawn(move || serve(&client));
    }
    Ok(())
}

fn serve(mut client: &TcpStream) -> Result<()> {
    let mut last: u64 = 0;
    let request = BufReader::new(client).lines();
    for line in request.take_while(|line| !matches!(line, Ok(text) if text.is_empty())) {
        let line = line?;
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        if name.eq_ignore_ascii_case(LAST_EVENT_ID) {
            last = value.trim().parse().unwrap_or(0);
        }
    }
    let mut out = b"HTTP/1.1 200 OK\r\nconnection: close\r\n".to_vec();
    for (name, value) in RESPONSE_HEADERS {
        write!(out, "{name}: {value}\r\n")?;
    }
    out.extend_from_slice(b"\r\n");
    Frame::new().retry_ms(2000).encode_to(&mut out);
    loop {
        last += 1;
        let id = last.to_string();
        if let Ok(id) = EventId::new(&id) {
            Frame::new().id(id).data("tick").encode_to(&mut out);
        }
        client.write_all(&out)?;
        thread::sleep(Duration::from_secs(1));
        out = KEEP_ALIVE.to_vec();
    }
}
