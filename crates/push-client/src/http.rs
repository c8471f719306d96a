//! The hub's address, and HTTP/1.1 connections that are driven only while somebody waits for them.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderMap, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::error::{ClientError, ConfigError, ConnectionError, Problem};
use crate::signal::Failure;
use crate::tls::{Roots, Socket, Tls};

/// Where a hub listens.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
    authority: String,
    /// Begins with a slash and ends without one; empty for a hub at the root.
    base_path: String,
    tls: Option<Tls>,
}

impl Endpoint {
    /// `roots` vouch for a hub that speaks TLS; those of the system if there are none.
    pub(crate) fn parse(base_url: &str, roots: Option<&Roots>) -> Result<Self, ConfigError> {
        let url = base_url.to_owned();
        let parsed = match Url::parse(base_url) {
            Ok(parsed) => parsed,
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                return Err(ConfigError::UnsupportedScheme { url });
            }
            Err(source) => return Err(ConfigError::NotAUrl { url, source }),
        };
        let secure = match parsed.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(ConfigError::UnsupportedScheme { url }),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(ConfigError::Credentials);
        }
        for (part, text) in [("query", parsed.query()), ("fragment", parsed.fragment())] {
            if let Some(text) = text {
                return Err(ConfigError::Extra {
                    part,
                    text: text.to_owned(),
                });
            }
        }
        // All four schemes are special to the URL standard: they always have a host and a port.
        let no_host = || ConfigError::NotAUrl {
            url,
            source: url::ParseError::EmptyHost,
        };
        let host = parsed.host().ok_or_else(no_host)?;
        let authority = parsed
            .port()
            .map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        let host = match host {
            Host::Ipv6(address) => address.to_string(),
            host => host.to_string(),
        };
        let tls = secure.then(|| Tls::new(&host, roots)).transpose()?;
        Ok(Self {
            host,
            port: parsed.port_or_known_default().unwrap_or(80),
            authority,
            base_path: parsed.path().trim_end_matches('/').to_owned(),
            tls,
        })
    }

    /// A request without a body for `name` under the base URL.
    pub(crate) fn request(
        &self,
        method: Method,
        name: &str,
        query: &[(&str, &str)],
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        // RFC 3986 §2.3: the unreserved characters, and `/`, which topics are full of.
        const KEPT: &AsciiSet = &NON_ALPHANUMERIC
            .remove(b'-')
            .remove(b'.')
            .remove(b'_')
            .remove(b'~')
            .remove(b'/');
        let mut target = format!("{}/{name}", self.base_path);
        for (index, (key, value)) in query.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(key);
            target.push('=');
            target.extend(utf8_percent_encode(value, KEPT));
        }
        Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, &self.authority)
            .header(
                USER_AGENT,
                concat!("push-client/", env!("CARGO_PKG_VERSION")),
            )
            .body(Full::default())
            .map_err(|error| ClientError::Request {
                detail: error.to_string(),
            })
    }

    fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

type Driver = http1::Connection<TokioIo<Socket>, Full<Bytes>>;

/// One HTTP/1.1 connection. There is no task behind it: bytes move only inside its methods, so
/// nothing is read while nobody asks, and dropping it closes the socket.
pub(crate) struct HttpConnection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    /// The driver must not be polled again once it is done.
    done: bool,
}

/// The most that one connection holds of what it read.
pub(crate) const READ_BUFFER: usize = 64 * 1024;

impl HttpConnection {
    pub(crate) async fn open(endpoint: &Endpoint) -> Result<Self, Failure> {
        let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port))
            .await
            .and_then(|socket| socket.set_nodelay(true).map(|()| socket))
            .map_err(|source| ConnectionError::Connect {
                address: endpoint.address(),
                source,
            })?;
        let socket = match &endpoint.tls {
            Some(tls) => tls.connect(socket, || endpoint.address()).await?,
            None => Socket::Plain(socket),
        };
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(READ_BUFFER)
            .handshake(TokioIo::new(socket))
            .await?;
        Ok(Self {
            sender,
            driver,
            done: false,
        })
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut response = pin!(self.sender.send_request(request));
        poll_fn(|cx| {
            drive(&mut self.driver, &mut self.done, cx);
            response.as_mut().poll(cx)
        })
        .await
    }

    /// The next bytes of a response's body; `None` at its end.
    pub(crate) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        loop {
            // Polling the body tells the driver that there is room for a chunk, and a driver that
            // found one has it here at the second look.
            let mut polled = Pin::new(&mut *body).poll_frame(cx);
            if polled.is_pending() {
                drive(&mut self.driver, &mut self.done, cx);
                polled = Pin::new(&mut *body).poll_frame(cx);
            }
            match ready!(polled) {
                Some(Ok(frame)) => {
                    // Trailers are of no interest.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// The whole body of an answer, or what there is of it up to `limit`.
    pub(crate) async fn read(
        &mut self,
        mut body: Incoming,
        limit: usize,
    ) -> Result<Vec<u8>, hyper::Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = poll_fn(|cx| self.poll_body(&mut body, cx)).await {
            let chunk = chunk?;
            let room = limit.saturating_sub(bytes.len());
            bytes.extend(chunk.iter().take(room));
            if chunk.len() > room {
                break;
            }
        }
        Ok(bytes)
    }

    /// The socket after a 101 answer, and what was read from it beyond that answer.
    pub(crate) async fn into_socket(mut self) -> Result<(Socket, Bytes), hyper::Error> {
        if !self.done {
            poll_fn(|cx| self.driver.poll_without_shutdown(cx)).await?;
        }
        let parts = self.driver.into_parts();
        Ok((parts.io.into_inner(), parts.read_buf))
    }

    /// Says what an answer that is not the wanted one means for whoever wants a stream.
    pub(crate) async fn explain(&mut self, response: Response<Incoming>) -> Failure {
        let (head, body) = response.into_parts();
        match head.status {
            StatusCode::NO_CONTENT => Failure::Ended,
            status if is_transient(status) => Failure::Retry {
                after: retry_after(&head.headers),
                why: ConnectionError::Unavailable(self.problem(status, body).await),
            },
            status if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED => {
                Failure::Stop(ClientError::Refused(self.problem(status, body).await))
            }
            status => Failure::Stop(unexpected(status, &head.headers)),
        }
    }

    async fn problem(&mut self, status: StatusCode, body: Incoming) -> Problem {
        #[derive(Default, Deserialize)]
        struct Document {
            code: Option<String>,
            detail: Option<String>,
        }
        let bytes = self.read(body, READ_BUFFER).await.unwrap_or_default();
        let document: Document = serde_json::from_slice(&bytes).unwrap_or_default();
        Problem {
            status: Some(status.as_u16()),
            code: document.code,
            detail: document.detail,
        }
    }
}

fn drive(driver: &mut Driver, done: &mut bool, cx: &mut Context<'_>) {
    // A failure also reaches whoever waits for the response or its body.
    if !*done && driver.poll_without_shutdown(cx).is_ready() {
        *done = true;
    }
}

/// Whether the same request may succeed later.
fn is_transient(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    ) || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// `Retry-After` in seconds; the date form is not read, since it needs the right time of day.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

pub(crate) fn unexpected(status: StatusCode, headers: &HeaderMap) -> ClientError {
    let location = status
        .is_redirection()
        .then(|| headers.get(LOCATION))
        .flatten()
        .map(|location| String::from_utf8_lossy(location.as_bytes()).into_owned());
    ClientError::UnexpectedStatus {
        status: status.as_u16(),
        location,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `url` and compares where it leads: the address to connect to, the `Host` field, and
    /// the target of a request for `events`.
    #[track_caller]
    fn check(url: &str, address: &str, host: &str, target: &str) {
        let endpoint = Endpoint::parse(url, None).unwrap();
        let request = endpoint
            .request(
                Method::GET,
                "events",
                &[("topic", "a/b c"), ("policy", "x&y")],
            )
            .unwrap();
        assert_eq!(endpoint.address(), address);
        assert_eq!(request.headers()[HOST], host);
        assert_eq!(request.uri(), target);
    }

    #[track_caller]
    fn check_refused(url: &str, expected: &str) {
        let error = Endpoint::parse(url, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    const QUERY: &str = "?topic=a/b%20c&policy=x%26y";

    #[test]
    fn an_address_is_read_from_the_url() {
        let root = format!("/events{QUERY}");
        let below = format!("/push/hub/events{QUERY}");
        check(
            "http://127.0.0.1:8080",
            "127.0.0.1:8080",
            "127.0.0.1:8080",
            &root,
        );
        check(
            "ws://127.0.0.1:8080/",
            "127.0.0.1:8080",
            "127.0.0.1:8080",
            &root,
        );
        check("http://[::1]:81", "[::1]:81", "[::1]:81", &root);
        check("http://[::1]", "[::1]:80", "[::1]", &root);
        check(
            "HTTP://Example.org/push/hub/",
            "example.org:80",
            "example.org",
            &below,
        );
        check(
            "http://example.org:80/push/hub",
            "example.org:80",
            "example.org",
            &below,
        );
    }

    #[test]
    fn a_wrong_url_is_refused_with_what_to_do() {
        check_refused("ftp://example.org", "does not begin with http:// or ws://");
        check_refused("127.0.0.1:8080", "write it like http://127.0.0.1:8080");
        check_refused("localhost:8080", "write it like http://localhost:8080");
        check_refused("", "does not begin with http://");
        check_refused("http://", "empty host");
        check_refused("http://a b", "\"http://a b\" is not a URL");
        check_refused("http://example.org:99999", "invalid port");
        check_refused("http://user:secret@example.org", "user name or password");
        check_refused("http://example.org/?topic=a", "has a query (\"topic=a\")");
        check_refused("http://example.org/#a", "has a fragment (\"a\")");
    }

    #[test]
    fn a_request_longer_than_http_allows_is_refused_not_cut() {
        let endpoint = Endpoint::parse("http://example.org", None).unwrap();
        let topic = "x".repeat(70_000);
        let result = endpoint.request(Method::GET, "events", &[("topic", &topic)]);
        assert!(
            matches!(result, Err(ClientError::Request { .. })),
            "{result:?}"
        );
    }
}
