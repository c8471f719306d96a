//! The client's state machine: when to connect, what to accept, when to try again.

mod action;
mod mode;
mod response;

pub use action::{Action, Connect, FailReason, State};
pub use mode::{Attempt, DEFAULT_RECONNECTION_TIME, Mode, Resilience, Sentinel, reconnection_time};
pub use response::{End, Response};

use alloc::string::String;
use core::time::Duration;

use crate::decode::{Decoder, Incomplete, Items};
use crate::event::{Event, EventRef, Item};
use crate::headers;

/// An `EventSource` without its sockets and timers (HTML standard, section 9.2): it is told what
/// happened and answers what to do next.
///
/// # The contract
///
/// Every `handle_*` returns the [`Action`] that now stands, and [`action`](Self::action) repeats it;
/// the first is [`Action::Connect`]. Do what it says:
///
/// * [`Connect`](Action::Connect): send the request, then call
///   [`handle_response`](Self::handle_response) when the response's head is there,
///   [`handle_redirect`](Self::handle_redirect) if it is a redirect, or
///   [`handle_end`](Self::handle_end) if there is none.
/// * [`Open`](Action::Open): [`push`](Self::push) each piece of the body and take the items, then
///   call [`handle_end`](Self::handle_end) when the body ends. In single-shot mode, look at
///   [`state`](Self::state) after each piece: the sentinel ends the stream before the body ends.
/// * [`WaitUntil`](Action::WaitUntil): the connection is lost. Drop what is left of it and call
///   [`handle_timeout`](Self::handle_timeout) at that time.
/// * [`Fail`](Action::Fail) and [`Closed`](Action::Closed): drop the connection; this is the end.
///
/// A call that does not fit the standing action (a response to a request that was given up, a
/// timer that fires early or after [`close`](Self::close)) changes nothing.
///
/// Times are durations since an origin of the caller's choice, the same for all calls, and must not
/// go backwards. `entropy` is 64 random bits, used for nothing but the delay policy's
/// [`Attempt::entropy`].
///
/// ```
/// use core::time::Duration;
/// use sse_proto::source::{Action, End, Mode, Response, Source, reconnection_time};
/// use sse_proto::Item;
///
/// let mut source = Source::new("https://example.org/events", Mode::Browser, reconnection_time);
/// let Action::Connect(connect) = source.action() else { panic!() };
/// assert_eq!(connect.last_event_id, None);
///
/// let response = Response::new(200).content_type(b"text/event-stream");
/// assert_eq!(source.handle_response(response, Duration::ZERO, 0), Action::Open);
/// let mut items = source.push(b"retry: 2000\nid: 7\ndata: hello\n\n");
/// while let Some(item) = items.next() {
///     if let Item::Event(event) = item {
///         assert_eq!(event.data, "hello");
///     }
/// }
///
/// // The server went away after ten seconds: two more until the next try.
/// let wait = source.handle_end(End::Eof, Duration::from_secs(10), 0);
/// assert_eq!(wait, Action::WaitUntil(Duration::from_secs(12)));
/// let Action::Connect(connect) = source.handle_timeout(Duration::from_secs(12)) else { panic!() };
/// assert_eq!(connect.last_event_id, Some(&b"7"[..]));
/// ```
#[derive(Clone, Debug)]
pub struct Source<P> {
    mode: Mode,
    policy: P,
    decoder: Decoder,
    /// What the application asked for; every reconnection begins here.
    url: String,
    /// Where redirects of this connection have led; empty if there was none.
    redirected: String,
    /// `redirects <= MAX_REDIRECTS`
    redirects: u8,
    phase: Phase,
    /// Tries that came to nothing since the last success.
    failures: u32,
}

impl<P: FnMut(Attempt) -> Option<Duration>> Source<P> {
    /// A source that is about to connect to `url`, which is opaque to it except for
    /// [`origin`](Self::origin).
    ///
    /// Before each further try `policy` names the delay, or `None` to give up;
    /// [`reconnection_time`] is the one of the standard. A delay below [`Attempt::at_least`] is
    /// raised to it. In [`Mode::SingleShot`] it is never asked: give `|_| None`.
    pub fn new(url: &str, mode: Mode, policy: P) -> Self {
        Self {
            mode,
            policy,
            decoder: Decoder::new(),
            url: String::from(url),
            redirected: String::new(),
            redirects: 0,
            phase: Phase::Connecting,
            failures: 0,
        }
    }

    /// Uses a decoder of your own: with limits, with comments, or with the last event ID of an
    /// earlier session.
    #[must_use]
    pub fn with_decoder(mut self, decoder: Decoder) -> Self {
        self.decoder = decoder;
        self
    }

    /// The head of the response is there.
    ///
    /// Opens on status 200 with the media type `text/event-stream` and fails on anything else
    /// (section 9.2.2), except that [`Mode::Resilient`] tries again after 429 and 5xx.
    pub fn handle_response(
        &mut self,
        response: Response<'_>,
        now: Duration,
        entropy: u64,
    ) -> Action<'_> {
        if self.phase != Phase::Connecting {
            return self.action();
        }
        if let Some(url) = response.url {
            self.redirect_to(url);
        }
        match (response.status, self.mode) {
            (200, _) if response.content_type.is_some_and(headers::is_event_stream) => {
                self.decoder.reset_connection();
                self.phase = Phase::Open { since: now };
            }
            (200, _) => self.fail(FailReason::ContentType),
            (204, _) => self.fail(FailReason::NoContent),
            (429 | 500..=599, Mode::Resilient(_)) => {
                let asked = response.retry_after.and_then(headers::retry_after);
                self.lose(asked.unwrap_or_default(), now, entropy);
            }
            (status, _) => self.fail(FailReason::Status(status)),
        }
        self.action()
    }

    /// The response redirects to `url`: its `Location`, resolved against the URL that was asked.
    ///
    /// Follows 301, 302, 303, 307 and 308, at most [`MAX_REDIRECTS`](Self::MAX_REDIRECTS) times per
    /// connection, and answers with a request to that URL. The next reconnection begins with the
    /// original URL again (section 9.2.3). In single-shot mode the request may have a body, and
    /// only 307 and 308 say to send it again: the others fail.
    pub fn handle_redirect(&mut self, status: u16, url: &str) -> Action<'_> {
        if self.phase == Phase::Connecting {
            match (status, self.mode) {
                (301..=303, Mode::SingleShot(_)) => self.fail(FailReason::Status(status)),
                (301..=303 | 307 | 308, _) if self.redirects < Self::MAX_REDIRECTS => {
                    self.redirects += 1;
                    self.redirect_to(url);
                }
                (301..=303 | 307 | 308, _) => self.fail(FailReason::Redirects),
                _ => self.fail(FailReason::Status(status)),
            }
        }
        self.action()
    }

    /// The connection ended, or could not be made.
    ///
    /// Leads to another try, except that an abort fails, and so does everything in single-shot mode
    /// but the end of a complete stream.
    pub fn handle_end(&mut self, end: End, now: Duration, entropy: u64) -> Action<'_> {
        let open = matches!(self.phase, Phase::Open { .. });
        if !open && self.phase != Phase::Connecting {
            return self.action();
        }
        let incomplete = self.decoder.finish();
        match (end, self.mode) {
            (End::Aborted, _) => self.fail(FailReason::Aborted),
            (_, Mode::SingleShot(_)) if !open => self.fail(FailReason::Network),
            (End::Eof, Mode::SingleShot(None)) if incomplete == Incomplete::No => self.close_now(),
            (_, Mode::SingleShot(_)) => self.fail(FailReason::Truncated),
            _ => self.lose(Duration::ZERO, now, entropy),
        }
        self.action()
    }

    /// The time has come that [`Action::WaitUntil`] named. Earlier it changes nothing.
    pub fn handle_timeout(&mut self, now: Duration) -> Action<'_> {
        if matches!(self.phase, Phase::Waiting { until } if now >= until) {
            self.redirected.clear();
            self.redirects = 0;
            self.phase = Phase::Connecting;
        }
        self.action()
    }

    /// Closes for good. What was received but not yet taken is not given out any more. Closing a
    /// source that has failed changes nothing.
    pub fn close(&mut self) -> Action<'_> {
        if !matches!(self.phase, Phase::Failed(_)) {
            self.close_now();
        }
        self.action()
    }

    /// Takes the next piece of the body, of any size. Call [`SourceItems::next`] until it is
    /// `None`. Gives out nothing unless the source is open.
    #[must_use = "nothing is read until the items are taken"]
    pub const fn push<'d, 'c>(&'d mut self, chunk: &'c [u8]) -> SourceItems<'d, 'c> {
        SourceItems {
            items: self.decoder.push(chunk),
            phase: &mut self.phase,
            failures: &mut self.failures,
            sentinel: match self.mode {
                Mode::SingleShot(sentinel) => sentinel,
                _ => None,
            },
        }
    }

    /// How many redirects of one connection are followed (Fetch standard, section 4.4).
    pub const MAX_REDIRECTS: u8 = 20;

    fn redirect_to(&mut self, url: &str) {
        self.redirected.clear();
        self.redirected.push_str(url);
    }

    /// Plans the next try.
    fn lose(&mut self, asked: Duration, now: Duration, entropy: u64) {
        let resilience = match self.mode {
            Mode::Resilient(resilience) => resilience,
            _ => Resilience::new(),
        };
        if let Phase::Open { since } = self.phase
            && now.saturating_sub(since) >= resilience.stable
        {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        let retry = self.decoder.retry();
        let at_least = match self.mode {
            Mode::Resilient(_) => resilience.bound(retry.unwrap_or_default().max(asked)),
            _ => retry.unwrap_or(DEFAULT_RECONNECTION_TIME),
        };
        let delay = (self.policy)(Attempt {
            failures: self.failures,
            at_least,
            entropy,
        });
        self.phase = match delay {
            Some(delay) => Phase::Waiting {
                until: now.saturating_add(delay.max(at_least)),
            },
            None => Phase::Failed(FailReason::GivenUp),
        };
    }
}

impl<P> Source<P> {
    /// What is to be done now.
    #[must_use]
    pub fn action(&self) -> Action<'_> {
        match self.phase {
            Phase::Connecting => Action::Connect(Connect {
                url: self.response_url(),
                last_event_id: headers::last_event_id_value(self.decoder.last_event_id()),
            }),
            Phase::Open { .. } => Action::Open,
            Phase::Waiting { until } => Action::WaitUntil(until),
            Phase::Failed(reason) => Action::Fail(reason),
            Phase::Closed => Action::Closed,
        }
    }

    /// The `readyState` of the standard.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Connecting | Phase::Waiting { .. } => State::Connecting,
            Phase::Open { .. } => State::Open,
            Phase::Failed(_) | Phase::Closed => State::Closed,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` while there is nothing to
    /// wait for.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Waiting { until } => Some(until),
            _ => None,
        }
    }

    /// The decoder: its last event ID and its reconnection time.
    #[must_use]
    pub const fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The URL that the source was made with.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL at which redirects have ended.
    #[must_use]
    pub fn response_url(&self) -> &str {
        if self.redirected.is_empty() {
            &self.url
        } else {
            &self.redirected
        }
    }

    /// The `origin` of events: scheme and authority of [`response_url`](Self::response_url).
    #[must_use]
    pub fn origin(&self) -> &str {
        let url = self.response_url();
        let authority = url.find("://").map_or(0, |at| at + "://".len());
        let tail = url.get(authority..).unwrap_or_default();
        let len = tail.find(['/', '?', '#']).unwrap_or(tail.len());
        url.get(..authority + len).unwrap_or(url)
    }

    fn close_now(&mut self) {
        self.phase = Phase::Closed;
    }

    fn fail(&mut self, reason: FailReason) {
        self.phase = Phase::Failed(reason);
    }
}

/// The items that one piece of the body completes. Made by [`Source::push`].
///
/// After dropping it early, push [`remaining`](Self::remaining) before anything else, or that part
/// of the stream is lost.
#[derive(Debug)]
pub struct SourceItems<'d, 'c> {
    items: Items<'d, 'c>,
    phase: &'d mut Phase,
    failures: &'d mut u32,
    sentinel: Option<Sentinel>,
}

impl<'c> SourceItems<'_, 'c> {
    /// The next item, or `None` once the whole piece has been read or the sentinel was met.
    #[expect(
        clippy::should_implement_trait,
        reason = "the items borrow from the decoder, which Iterator cannot express"
    )]
    pub fn next(&mut self) -> Option<Item<'_>> {
        if !matches!(self.phase, Phase::Open { .. }) {
            return None;
        }
        let item = self.items.next()?;
        if let Item::Event(EventRef { event, data, .. }) = item {
            *self.failures = 0;
            if !pass(self.phase, self.sentinel, event, data) {
                return None;
            }
        }
        Some(item)
    }

    /// As [`next`](Self::next), with events as [`Items::next_owned`] gives them.
    pub fn next_owned(&mut self) -> Option<Item<'_, Event>> {
        if !matches!(self.phase, Phase::Open { .. }) {
            return None;
        }
        let item = self.items.next_owned()?;
        if let Item::Event(Event { event, data, .. }) = &item {
            *self.failures = 0;
            if !pass(self.phase, self.sentinel, event, data) {
                return None;
            }
        }
        Some(item)
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn remaining(&self) -> &'c [u8] {
        self.items.remaining()
    }
}

/// Closes the source if the event is the sentinel. False if there is nothing else to it.
fn pass(phase: &mut Phase, sentinel: Option<Sentinel>, event: &str, data: &str) -> bool {
    match sentinel {
        Some(Sentinel::Data(end)) if data == end => {
            *phase = Phase::Closed;
            false
        }
        Some(Sentinel::Event(end)) if event == end => {
            *phase = Phase::Closed;
            true
        }
        _ => true,
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Connecting,
    Open { since: Duration },
    Waiting { until: Duration },
    Failed(FailReason),
    Closed,
}
