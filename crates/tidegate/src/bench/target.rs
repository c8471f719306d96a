//! Which requests subscribe and publish, made from URL templates.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};

use super::framing::client_frame;
use super::http2::Request;
use super::io::Tls;
use super::options::{Bench, Preset};
use super::payload::{MARKER, Marker};
use super::subscriber::Transport;

/// The key of every handshake, and the answer that RFC 6455 prescribes for it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Where to subscribe and to publish, and with what words.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) transport: Transport,
    /// Subscribers on a connection.
    pub(crate) streams: u32,
    pub(crate) subscribe: Place,
    pub(crate) publish: Place,
    create: Option<Place>,
    publish_body: String,
    subscribe_headers: Vec<String>,
    publish_headers: Vec<String>,
    ws_send: Vec<String>,
    /// What names of topics begin with.
    prefix: String,
    /// The word by which this hub announces a gap.
    pub(crate) gap: &'static str,
    /// Put before and behind the data of an event's id.
    pub(crate) id: (&'static str, &'static str),
}

/// The address and the rest of a URL.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Tls>,
    host: String,
    path: String,
}

impl Target {
    /// # Errors
    ///
    /// When a URL is none, or names an address that was not allowed.
    pub(crate) fn new(options: &Bench, run: u16) -> anyhow::Result<Self> {
        let (subscribe, publish, body) = match (options.hub, options.ws) {
            (Preset::Tidegate, false) => {
                ("/events?topic={topic}", "/events?topic={topic}", "{data}")
            }
            (Preset::Tidegate, true) => ("/ws", "/events?topic={topic}", "{data}"),
            (Preset::Nchan, _) => ("/sub/{topic}", "/pub/{topic}", "{data}"),
            (Preset::Mercure, false) => (
                "/.well-known/mercure?topic={topic}",
                "/.well-known/mercure",
                "topic={topic}&data={data}",
            ),
            (Preset::Mercure, true) => bail!("Mercure has no WebSocket; leave out --ws"),
        };
        let base = options.hub_url.url.trim_end_matches('/');
        let place = |given: &Option<String>, path: &str, protocol: &str| {
            let url = given.clone().unwrap_or_else(|| format!("{base}{path}"));
            Place::parse(&url, options, protocol).with_context(|| format!("the URL {url}"))
        };
        let protocol = if options.http2 { "h2" } else { "http/1.1" };
        let mut target = Self {
            transport: Transport {
                ws: options.ws,
                http2: options.http2,
            },
            streams: if options.http2 { options.streams } else { 1 },
            subscribe: place(&options.subscribe_url, subscribe, protocol)?,
            publish: place(&options.publish_url, publish, "http/1.1")?,
            create: match &options.create_url {
                Some(_) => Some(place(&options.create_url, "", "http/1.1")?),
                None => None,
            },
            publish_body: options
                .publish_body
                .clone()
                .unwrap_or_else(|| body.to_owned()),
            subscribe_headers: headers(&options.subscribe_header)?,
            publish_headers: headers(&options.publish_header)?,
            ws_send: options.ws_send.clone(),
            prefix: match &options.topic {
                Some(prefix) => prefix.clone(),
                None => format!("bench-{run:04x}-"),
            },
            gap: if options.ws {
                r#""type":"gap""#
            } else {
                "event: $gap"
            },
            id: if options.ws {
                (r#""id":""#, "\"")
            } else {
                ("\nid:", "\n")
            },
        };
        let ours = options.hub == Preset::Tidegate && options.subscribe_url.is_none();
        if ours && options.ws {
            let protocol = "Sec-WebSocket-Protocol: tidegate.v1+json";
            target.subscribe_headers.push(protocol.to_owned());
            let resume = r#"{"type":"resume","after":"{after}","topics":["{topic}"]}"#;
            target.ws_send.insert(0, resume.to_owned());
        }
        if options.hub == Preset::Mercure {
            let form = "Content-Type: application/x-www-form-urlencoded";
            target.publish_headers.push(form.to_owned());
        }
        let elsewhere = |create: &Place| create.address != target.publish.address;
        if target.create.as_ref().is_some_and(elsewhere) {
            bail!(
                "--create-url and --publish-url name different servers; topics are made by publishers"
            );
        }
        if !target.publish_body.contains("{data}") {
            bail!("--publish-body has no {{data}}, so nobody would receive the payload");
        }
        Ok(target)
    }

    fn fill(&self, template: &str, topic: u32, after: Option<&str>) -> String {
        template
            .replace("{topic}", &format!("{}{topic}", self.prefix))
            .replace("{after}", after.unwrap_or("latest"))
    }

    /// What a subscriber of a topic writes first.
    pub(crate) fn subscribe_request(&self, topic: u32, after: Option<&str>) -> Vec<u8> {
        let path = self.fill(&self.subscribe.path, topic, after);
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.subscribe.host);
        if self.transport.ws {
            head.push_str("Connection: Upgrade\r\nUpgrade: websocket\r\n");
            head.push_str("Sec-WebSocket-Version: 13\r\n");
            head.push_str(&format!("Sec-WebSocket-Key: {KEY}\r\n"));
        } else {
            head.push_str("Accept: text/event-stream\r\n");
            if let Some(after) = after {
                head.push_str(&format!("Last-Event-ID: {after}\r\n"));
            }
        }
        end_head(&mut head, &self.subscribe_headers);
        head.into_bytes()
    }

    /// The same over HTTP/2 (RFC 8441 for WebSocket), and what the stream writes next.
    pub(crate) fn http2_request(&self, topic: u32, after: Option<&str>) -> Request {
        let scheme = if self.subscribe.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let path = self.fill(&self.subscribe.path, topic, after);
        let mut fields = Vec::new();
        let mut put = |name: &str, value: &str| fields.push((name.to_owned(), value.to_owned()));
        put(":method", if self.transport.ws { "CONNECT" } else { "GET" });
        put(":scheme", scheme);
        put(":path", &path);
        put(":authority", &self.subscribe.host);
        if self.transport.ws {
            put(":protocol", "websocket");
            put("sec-websocket-version", "13");
        } else {
            put("accept", "text/event-stream");
            if let Some(after) = after {
                put("last-event-id", after);
            }
        }
        for header in &self.subscribe_headers {
            if let Some((name, value)) = header.split_once(':') {
                put(&name.to_ascii_lowercase(), value.trim());
            }
        }
        let first = self.first_messages(topic, after);
        Request { fields, first }
    }

    /// What a WebSocket subscriber writes once it is upgraded.
    pub(crate) fn first_messages(&self, topic: u32, after: Option<&str>) -> Vec<u8> {
        let texts = self.ws_send.iter();
        texts
            .flat_map(|text| client_frame(1, self.fill(text, topic, after).as_bytes()))
            .collect()
    }

    /// What makes a topic, at hubs that want that.
    pub(crate) fn create_request(&self, topic: u32) -> Option<Vec<u8>> {
        let place = self.create.as_ref()?;
        Some(self.publisher_head("PUT", place, topic, 0).into_bytes())
    }

    fn publisher_head(&self, method: &str, place: &Place, topic: u32, length: usize) -> String {
        let path = self.fill(&place.path, topic, None);
        let host = &place.host;
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n");
        let typed = |header: &String| header.to_ascii_lowercase().starts_with("content-type:");
        if !self.publish_headers.iter().any(typed) {
            head.push_str("Content-Type: text/plain\r\n");
        }
        end_head(&mut head, &self.publish_headers);
        head
    }

    /// What publishes to a topic.
    pub(crate) fn publish_request(&self, topic: u32, size: usize) -> PublishRequest {
        let data = "x".repeat(size - MARKER) + &"m".repeat(MARKER);
        let body = self.fill(&self.publish_body, topic, None);
        let before = body.find("{data}").unwrap_or(0);
        let body = body.replace("{data}", &data);
        let head = self.publisher_head("POST", &self.publish, topic, body.len());
        let marker = head.len() + before + size - MARKER;
        PublishRequest {
            bytes: (head + &body).into_bytes(),
            marker,
        }
    }
}

fn end_head(head: &mut String, headers: &[String]) {
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
}

/// A publish that only lacks its marker.
#[derive(Debug)]
pub(crate) struct PublishRequest {
    bytes: Vec<u8>,
    marker: usize,
}

impl PublishRequest {
    pub(crate) fn write(&self, marker: &Marker, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        marker.write(&mut out[self.marker..]);
    }
}

impl Place {
    fn parse(url: &str, options: &Bench, protocol: &str) -> anyhow::Result<Self> {
        let secure = ["https://", "wss://"];
        let secure = secure.iter().find_map(|scheme| url.strip_prefix(scheme));
        let plain = ["http://", "ws://"];
        let plain = plain.iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = secure
            .or(plain)
            .context("want http://HOST:PORT/PATH or https://HOST:PORT/PATH")?;
        if rest.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            bail!("a space or control character in a URL; write it in per cent");
        }
        let (host, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let port = host.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        let named = if port {
            host.to_owned()
        } else {
            format!("{host}:{}", if secure.is_some() { 443 } else { 80 })
        };
        let address = named
            .to_socket_addrs()
            .with_context(|| format!("looking up {named}"))?
            .next()
            .with_context(|| format!("{named} has no address"))?;
        if !address.ip().is_loopback() && !options.yes_remote {
            bail!(
                "{} is not on this machine; load belongs only on servers that are yours, and then: \
                 --yes-remote",
                address.ip()
            );
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let tls = match (secure, &options.ca) {
            (None, _) => None,
            (Some(_), Some(ca)) => {
                let (name, _) = named.rsplit_once(':').unwrap_or((host, ""));
                let name = name.trim_start_matches('[').trim_end_matches(']');
                Some(Tls::new(ca, name, protocol)?)
            }
            (Some(_), None) => bail!("TLS wants --ca FILE, the certificates to trust, in PEM"),
        };
        Ok(Self {
            address,
            tls,
            host: host.to_owned(),
            path: format!("{slash}{path}"),
        })
    }
}

fn headers(given: &[String]) -> anyhow::Result<Vec<String>> {
    for header in given {
        let named = header.split_once(':').is_some_and(|(name, _)| {
            !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control())
        });
        if !named || header.contains(['\r', '\n']) {
            bail!("not a header: `{header}`; want `Name: value`");
        }
    }
    Ok(given.to_vec())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Command, CommandLine};

    fn target(arguments: &[&str]) -> anyhow::Result<Target> {
        let line = [&["tidegate", "bench"], arguments].concat();
        let Command::Bench(options) = CommandLine::try_parse_from(line).unwrap().command else {
            panic!("not a bench")
        };
        Target::new(&options, 0xab)
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    fn published(target: &Target) -> String {
        let marker = Marker {
            run: 0xab,
            topic: 3,
            seq: 1,
            time: 2,
        };
        let mut out = Vec::new();
        target.publish_request(3, 34).write(&marker, &mut out);
        text(out)
    }

    #[test]
    fn the_preset_of_tidegate_makes_its_requests() {
        let sse = target(&[]).unwrap();
        assert_eq!(
            text(sse.subscribe_request(3, Some("e-7"))),
            "GET /events?topic=bench-00ab-3 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
             Accept: text/event-stream\r\nLast-Event-ID: e-7\r\n\r\n"
        );
        assert_eq!(
            published(&sse),
            "POST /events?topic=bench-00ab-3 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
             Content-Length: 34\r\nContent-Type: text/plain\r\n\r\n\
             xx~00ab00000300000001000000000002_"
        );
        let ws = target(&["--ws"]).unwrap();
        let request = text(ws.subscribe_request(3, None));
        assert!(request.contains("GET /ws HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains("Protocol: tidegate.v1+json\r\n"),
            "{request}"
        );
        let resume = br#"{"type":"resume","after":"latest","topics":["bench-00ab-3"]}"#;
        assert_eq!(ws.first_messages(3, None), client_frame(1, resume));
    }

    #[test]
    fn over_http2_the_same_is_asked_in_fields() {
        let fields = |target: &Target| -> Vec<String> {
            let request = target.http2_request(3, Some("e-7"));
            let fields = request.fields.into_iter();
            fields
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        let sse = target(&["--http2", "--subscribe-header", "X-Who: me"]).unwrap();
        assert_eq!(sse.streams, 100);
        assert_eq!(
            fields(&sse),
            [
                ":method=GET",
                ":scheme=http",
                ":path=/events?topic=bench-00ab-3",
                ":authority=127.0.0.1:8080",
                "accept=text/event-stream",
                "last-event-id=e-7",
                "x-who=me",
            ]
        );
        let ws = target(&["--http2", "--ws"]).unwrap();
        assert_eq!(fields(&ws)[0], ":method=CONNECT");
        assert_eq!(
            fields(&ws)[4..6],
            [":protocol=websocket", "sec-websocket-version=13"]
        );
        assert_eq!(ws.http2_request(3, None).first, ws.first_messages(3, None));
    }

    #[test]
    fn templates_fill_urls_bodies_and_messages() {
        let target = target(&[
            "--ws",
            "--subscribe-url=ws://127.0.0.1:9/s?room={topic}",
            "--publish-url=http://127.0.0.1:9/p/{topic}",
            "--publish-body={\"to\":\"{topic}\",\"data\":\"{data}\"}",
            "--publish-header=Content-Type: application/json",
            "--ws-send=40",
            "--create-url=http://127.0.0.1:9/new/{topic}",
            "--topic=t",
        ])
        .unwrap();
        assert!(text(target.subscribe_request(3, None)).starts_with("GET /s?room=t3 "));
        assert_eq!(target.first_messages(3, None), client_frame(1, b"40"));
        let create = text(target.create_request(3).unwrap());
        assert!(create.starts_with("PUT /new/t3 HTTP/1.1\r\n"), "{create}");
        assert!(create.contains("Content-Length: 0\r\n"), "{create}");
        let request = published(&target);
        assert!(!request.contains("text/plain"), "{request}");
        let body = r#"{"to":"t3","data":"xx~00ab00000300000001000000000002_"}"#;
        assert!(request.ends_with(&format!("\r\n\r\n{body}")), "{request}");
        assert!(request.contains(&format!("Content-Length: {}\r\n", body.len())));
    }

    #[test]
    fn what_cannot_be_reached_is_refused_with_the_remedy() {
        let refused = |arguments: &[&str]| format!("{:#}", target(arguments).unwrap_err());
        assert!(refused(&["--url", "http://192.0.2.1:80"]).contains("--yes-remote"));
        assert!(target(&["--url", "http://192.0.2.1:80", "--yes-remote"]).is_ok());
        assert!(refused(&["--url", "https://127.0.0.1"]).contains("--ca FILE"));
        assert!(
            refused(&["--url", "https://127.0.0.1", "--ca", "/nowhere.pem"]).contains("/nowhere")
        );
        assert!(refused(&["--url", "127.0.0.1:80"]).contains("http://HOST:PORT"));
        assert!(refused(&["--publish-header", "no header"]).contains("Name: value"));
        let elsewhere = ["--create-url", "http://127.0.0.1:9/"];
        assert!(refused(&elsewhere).contains("different servers"));
        assert!(refused(&["--publish-body", "x"]).contains("{data}"));
        assert!(refused(&["--hub", "mercure", "--ws"]).contains("no WebSocket"));
    }
}
