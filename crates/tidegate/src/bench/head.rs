//! The head of an HTTP/1.1 response, as far as a load generator needs it.

/// The longest head that is read.
const LONGEST: usize = 32 * 1024;

/// What a response's head says.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Its bytes, the empty line included.
    pub(crate) bytes: usize,
    pub(crate) content_length: Option<u64>,
    pub(crate) content_type: String,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
    pub(crate) websocket_accept: String,
}

impl Head {
    /// Reads a head at the beginning of `bytes`; `None` while it is not complete.
    ///
    /// # Errors
    ///
    /// When it is none, or too long.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            if bytes.len() > LONGEST {
                return Err("the head of the response is over 32 KiB");
            }
            return Ok(None);
        };
        let text = str::from_utf8(&bytes[..end]).map_err(|_| "the answer is not HTTP/1.1")?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| {
            let rest = line.strip_prefix("HTTP/1.")?;
            rest.get(2..5)?.parse().ok()
        });
        let mut head = Self {
            status: status.ok_or("the answer is not HTTP/1.1")?,
            bytes: end + 4,
            close: text.starts_with("HTTP/1.0"),
            ..Self::default()
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            head.field(&name.to_ascii_lowercase(), value.trim());
        }
        Ok(Some(head))
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "content-length" => self.content_length = value.parse().ok(),
            "content-type" => self.content_type = value.to_ascii_lowercase(),
            "transfer-encoding" => self.chunked = value.to_ascii_lowercase().contains("chunked"),
            "connection" if value.eq_ignore_ascii_case("close") => self.close = true,
            "sec-websocket-accept" => value.clone_into(&mut self.websocket_accept),
            _ => {}
        }
    }

    /// Whether a response with this head has no body.
    pub(crate) fn is_all(&self) -> bool {
        matches!(self.status, 100..200 | 204 | 304) || self.content_length == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n\
                    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(Head::read(&text.as_bytes()[..end]), Ok(None));
        }
        let head = Head::read(format!("{text}body").as_bytes())
            .unwrap()
            .unwrap();
        let expected = Head {
            status: 200,
            bytes: text.len(),
            content_type: "text/event-stream; charset=utf-8".to_owned(),
            chunked: true,
            close: true,
            ..Head::default()
        };
        assert_eq!(head, expected);
        assert!(!head.is_all());
    }

    #[test]
    fn a_response_without_body_is_known() {
        let all = |text: &str| Head::read(text.as_bytes()).unwrap().unwrap().is_all();
        assert!(all("HTTP/1.1 204 No Content\r\n\r\n"));
        assert!(all("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(!all("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        assert!(Head::read(b"SSH-2.0\r\n\r\n").is_err());
        assert!(Head::read(b"HTTP/1.1 abc\r\n\r\n").is_err());
        assert!(Head::read(&[b'x'; LONGEST + 1]).is_err());
    }
}
