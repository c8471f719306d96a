//! What a source is told.

/// The head of a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Response<'a> {
    pub(super) status: u16,
    pub(super) content_type: Option<&'a [u8]>,
    pub(super) retry_after: Option<&'a [u8]>,
    pub(super) url: Option<&'a str>,
}

impl<'a> Response<'a> {
    /// A response with this status and no headers.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            retry_after: None,
            url: None,
        }
    }

    /// The `Content-Type` header; if there are several, joined by commas.
    #[must_use]
    pub const fn content_type(mut self, value: &'a [u8]) -> Self {
        self.content_type = Some(value);
        self
    }

    /// The `Retry-After` header. Only seconds are understood: a date cannot be without a clock.
    #[must_use]
    pub const fn retry_after(mut self, value: &'a [u8]) -> Self {
        self.retry_after = Some(value);
        self
    }

    /// The URL that answered, if the HTTP client followed redirects by itself.
    #[must_use]
    pub const fn url(mut self, url: &'a str) -> Self {
        self.url = Some(url);
        self
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The body came to its regular end.
    Eof,
    /// Anything else went wrong: no route, a refused or reset connection, a timeout of the
    /// caller's, a body cut short.
    Network,
    /// The user or the platform stopped the request. There will be no further try.
    Aborted,
}
