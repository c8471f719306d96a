//! Client vectors: an interpreter of the words in which their steps are written.
//!
//! A word it does not know is a mismatch: nothing is passed over.

use std::time::Duration;

use serde_json::Value;
use sse_proto::Item;
use sse_proto::source::{
    Action, Attempt, DEFAULT_RECONNECTION_TIME, End, Mode, Resilience, Response, Source, State,
    reconnection_time,
};

use super::{list_of, same, text_of};

const URL: &str = "https://first.test/events?a=b";
const REDIRECTED: &str = "https://second.test:8443/elsewhere";
const FLOOR: Duration = Duration::from_millis(700);
const NEVER: Duration = Duration::MAX;

/// Runs the vector's steps through a source and checks what each of them expects.
pub(crate) fn check(vector: &Value) -> Result<(), String> {
    // What the standard leaves to the client is marked as a policy.
    let note = vector["note"].as_str().unwrap_or_default();
    let mut client = if note.starts_with("policy") {
        let mode = Mode::Resilient(*Resilience::new().floor(FLOOR));
        Client::new(mode, doubling)
    } else {
        Client::new(Mode::Browser, reconnection_time)
    };
    let steps = list_of(vector, "steps")?;
    for (number, step) in steps.iter().enumerate() {
        let input = text_of(step, "in")?;
        let next = steps.get(number + 1).and_then(|step| step["in"].as_str());
        client.hold = next == Some(CLOSE_IN_HANDLER);
        let at = |why| format!("step {} `{input}`: {why}", number + 1);
        client.perform(input).map_err(at)?;
        let expectations = match &step["out"] {
            Value::Null => &Vec::new(),
            Value::Array(out) if out.is_empty() => {
                client.expect_nothing().map_err(at)?;
                out
            }
            Value::Array(out) => out,
            other => return Err(at(format!("`out` is {other}, not a list"))),
        };
        for expectation in expectations {
            let expectation = expectation.as_str().unwrap_or_default();
            let at = |why| at(format!("`{expectation}`: {why}"));
            client.expect(expectation).map_err(at)?;
        }
    }
    Ok(())
}

const CLOSE_IN_HANDLER: &str = "close during first message";

/// A policy that can be recognised: 100 ms, and twice as much after each further failure.
fn doubling(attempt: Attempt) -> Option<Duration> {
    Some(Duration::from_millis(100 << attempt.failures.min(20)))
}

struct Client {
    source: Source<fn(Attempt) -> Option<Duration>>,
    now: Duration,
    /// A delay began at this time.
    lost_at: Duration,
    /// The present step is followed by one that closes while its first message is handled.
    hold: bool,
    /// What was not read because of `hold`.
    held: Vec<u8>,
    /// What the application saw, from the first step on.
    messages: Vec<Message>,
    /// As much of `messages`, `actions` and `delays` came before the present step.
    seen: [usize; 3],
    actions: Vec<Seen>,
    delays: Vec<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
struct Message {
    data: String,
    id: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Connect {
        url: String,
        headers: Vec<(&'static str, Vec<u8>)>,
    },
    Open,
    Wait,
    Fail,
    Closed,
}

impl Client {
    fn new(mode: Mode, policy: fn(Attempt) -> Option<Duration>) -> Self {
        Self {
            source: Source::new(URL, mode, policy),
            now: Duration::from_secs(1000),
            lost_at: Duration::ZERO,
            hold: false,
            held: Vec::new(),
            messages: Vec::new(),
            seen: [0; 3],
            actions: Vec::new(),
            delays: Vec::new(),
        }
    }

    fn perform(&mut self, input: &str) -> Result<(), String> {
        self.seen = [self.messages.len(), self.actions.len(), self.delays.len()];
        if let Some(times) = input.strip_prefix("(200 then immediate eof) x") {
            let times: usize = times.parse().map_err(|_| "how often?".to_owned())?;
            for _ in 0..times {
                self.perform_one("200")?;
                self.perform_one("eof")?;
                self.perform_one("reconnect")?;
            }
            return Ok(());
        }
        if let Some(body) = input
            .strip_prefix("body '")
            .and_then(|it| it.strip_suffix('\''))
        {
            return self.receive(body);
        }
        if let Some((status, rest)) = split_redirect(input) {
            self.answer(|source, _| source.handle_redirect(status, REDIRECTED));
            return self.perform_one(&format!("response {rest}"));
        }
        let input = input.replace("200+eof", "200; eof");
        input.split("; ").try_for_each(|one| self.perform_one(one))
    }

    fn perform_one(&mut self, input: &str) -> Result<(), String> {
        self.now += Duration::from_millis(1);
        match input {
            "start" => self.note(),
            "200" => self.respond(200, Some("text/event-stream")),
            "eof" => self.end(End::Eof),
            "network error" => self.end(End::Network),
            "close" => self.answer(|source, _| source.close()),
            "reconnect" => {
                let at = self.source.poll_timeout();
                self.now = at.ok_or("it does not wait for a reconnection")?;
                self.answer(|source, now| source.handle_timeout(now));
            }
            "timer" => self.answer(|source, _| source.handle_timeout(NEVER)),
            CLOSE_IN_HANDLER => {
                self.answer(|source, _| source.close());
                let held = std::mem::take(&mut self.held);
                self.push(&held);
            }
            _ if input.starts_with("fetch aborted") => self.end(End::Aborted),
            _ if input.starts_with("response ") => {
                let (status, content_type) = split_response(input)?;
                self.respond(status, content_type);
            }
            _ if ["data:", "id:", "retry:", "event:", ":"]
                .iter()
                .any(|it| input.starts_with(it)) =>
            {
                return self.receive(input);
            }
            _ => return Err("a step in words that are not known here".to_owned()),
        }
        Ok(())
    }

    fn respond(&mut self, status: u16, content_type: Option<&str>) {
        let mut response = Response::new(status);
        if let Some(value) = content_type {
            response = response.content_type(value.as_bytes());
        }
        self.answer(|source, now| source.handle_response(response, now, 0));
    }

    fn end(&mut self, end: End) {
        self.lost_at = self.now;
        self.answer(|source, now| source.handle_end(end, now, 0));
    }

    fn receive(&mut self, body: &str) -> Result<(), String> {
        if self.source.state() != State::Open {
            return Err("a body, but no connection is open".to_owned());
        }
        let body = body.replace("\\n", "\n").replace("\\r", "\r");
        self.push(body.as_bytes());
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) {
        let mut items = self.source.push(bytes);
        while let Some(item) = items.next() {
            if let Item::Event(event) = item {
                self.messages.push(Message {
                    data: event.data.to_owned(),
                    id: event.id.to_owned(),
                });
                if self.hold {
                    self.held = items.remaining().to_vec();
                    return;
                }
            }
        }
    }

    fn answer(
        &mut self,
        call: impl FnOnce(&mut Source<fn(Attempt) -> Option<Duration>>, Duration) -> Action<'_>,
    ) {
        let before = format!("{:?}", self.source.action());
        let answer = format!("{:?}", call(&mut self.source, self.now));
        assert_eq!(answer, format!("{:?}", self.source.action()));
        if answer != before {
            self.note();
        }
    }

    /// Takes down the action that now stands.
    fn note(&mut self) {
        self.actions.push(match self.source.action() {
            Action::Connect(connect) => Seen::Connect {
                url: connect.url.to_owned(),
                headers: connect
                    .headers()
                    .map(|(name, value)| (name, value.to_vec()))
                    .collect(),
            },
            Action::Open => Seen::Open,
            Action::WaitUntil(at) => {
                self.delays.push(at.saturating_sub(self.lost_at));
                Seen::Wait
            }
            Action::Fail(_) => Seen::Fail,
            _ => Seen::Closed,
        });
    }

    fn expect_nothing(&self) -> Result<(), String> {
        same("actions", &self.step_actions(), &&[][..])?;
        same("messages", &self.step_messages(), &&[][..])
    }

    fn expect(&mut self, expectation: &str) -> Result<(), String> {
        if let Some(expected) = expectation.strip_prefix("connect") {
            return self.expect_connect(expected);
        }
        if let Some(expected) = expectation.strip_prefix("message ") {
            return self.expect_message(expected);
        }
        if let Some(expected) = expectation.strip_prefix("sleep ") {
            return self.expect_sleep(expected);
        }
        match expectation {
            "open" => self.expect_action(&Seen::Open),
            "error fatal" => self.expect_action(&Seen::Fail),
            "error" if self.step_actions().contains(&Seen::Fail) => Ok(()),
            "error" => self.expect_action(&Seen::Wait),
            "state=OPEN" => same("state", &self.source.state(), &State::Open),
            "state=CONNECTING" => same("state", &self.source.state(), &State::Connecting),
            "state=CLOSED" => same("state", &self.source.state(), &State::Closed),
            "no reconnect" | "cancel timer" => {
                same("timeout", &self.source.poll_timeout(), &None)?;
                self.source.handle_timeout(NEVER);
                same("state", &self.source.state(), &State::Closed)
            }
            "decode utf-8" => {
                self.push("data: \u{2026}\n\n".as_bytes());
                self.expect_message("\u{2026}")
            }
            "origin=final URL" => {
                same("origin", &self.source.origin(), &"https://second.test:8443")
            }
            "reconnect uses ORIGINAL url" => {
                self.perform_one("eof")?;
                self.perform_one("reconnect")?;
                match self.actions.last() {
                    Some(Seen::Connect { url, .. }) => same("url", &&**url, &URL),
                    other => Err(format!("found {other:?}")),
                }
            }
            "second message is not delivered" => {
                let data: Vec<&str> = self.messages.iter().map(|it| &*it.data).collect();
                same("messages", &data, &vec!["1"])
            }
            "delays grow; success counter is reset only after >=1 event or a stable period" => {
                self.expect_growing_delays()
            }
            _ => Err("an expectation in words that are not known here".to_owned()),
        }
    }

    fn step_actions(&self) -> &[Seen] {
        self.actions.get(self.seen[1]..).unwrap_or_default()
    }

    fn step_messages(&self) -> &[Message] {
        self.messages.get(self.seen[0]..).unwrap_or_default()
    }

    fn expect_action(&self, expected: &Seen) -> Result<(), String> {
        let found = self
            .step_actions()
            .iter()
            .filter(|it| *it == expected)
            .count();
        match found {
            1 => Ok(()),
            _ => Err(format!("found {:?}", self.step_actions())),
        }
    }

    /// `expected` is what follows the word `connect`: nothing, or conditions in braces.
    fn expect_connect(&mut self, expected: &str) -> Result<(), String> {
        if self.source.poll_timeout().is_some() {
            self.perform_one("reconnect")?;
        }
        let Some(Seen::Connect { headers, .. }) = self.step_actions().last() else {
            return Err(format!("found {:?}", self.step_actions()));
        };
        let header = |name: &str| {
            let found = headers.iter().find(|(of, _)| of.eq_ignore_ascii_case(name));
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let conditions = expected.trim_start_matches('{').trim_end_matches('}');
        for condition in conditions.split(',').filter(|it| !it.is_empty()) {
            match (condition.strip_prefix("no "), condition.split_once(':')) {
                (Some(name), _) => same(name, &header(name), &None)?,
                (None, Some((name, value))) => {
                    same(name, &header(name), &Some(value.trim().to_owned()))?;
                }
                (None, None) => return Err(format!("`{condition}` is not known here")),
            }
        }
        Ok(())
    }

    /// `expected` is the data, then perhaps `lastEventId=` and the id, or `only`.
    fn expect_message(&self, expected: &str) -> Result<(), String> {
        let (expected, all) = match expected.strip_suffix(" only") {
            Some(expected) => (expected, true),
            None => (expected, false),
        };
        let (data, id) = match expected.split_once(" lastEventId=") {
            Some((data, id)) => (data, Some(id)),
            None => (expected, None),
        };
        let messages = if all {
            &self.messages[..]
        } else {
            self.step_messages()
        };
        match messages {
            [message] if message.data == data && id.is_none_or(|id| message.id == id) => Ok(()),
            found => Err(format!("found {found:?}")),
        }
    }

    fn expect_sleep(&self, expected: &str) -> Result<(), String> {
        let delays = self.delays.get(self.seen[2]..).unwrap_or_default();
        let &[delay] = delays else {
            return Err(format!("found the delays {delays:?}"));
        };
        let milliseconds = expected.strip_suffix("ms").and_then(|ms| ms.parse().ok());
        match (expected, milliseconds) {
            (_, Some(ms)) => same("delay", &delay, &Duration::from_millis(ms)),
            ("reconnection_time(+backoff)", _) if delay >= DEFAULT_RECONNECTION_TIME => Ok(()),
            (">= configured floor", _) if delay >= FLOOR => Ok(()),
            _ => Err(format!("found {delay:?}")),
        }
    }

    fn expect_growing_delays(&mut self) -> Result<(), String> {
        let delays = self.delays.clone();
        // Up to the floor they are level.
        let grow = delays
            .windows(2)
            .all(|pair| pair[0] < pair[1] || pair[1] == FLOOR);
        if delays.len() < 5 || !grow || delays.last() <= delays.first() {
            return Err(format!("found the delays {delays:?}"));
        }
        self.perform("200; data: x\\n\\n; eof; reconnect")?;
        same("delay after an event", &self.delays.last(), &delays.first())?;
        for _ in 0..5 {
            self.perform("200; eof; reconnect")?;
        }
        self.perform("200")?;
        self.now += Duration::from_secs(3600);
        self.perform("eof")?;
        same("delay after an hour", &self.delays.last(), &delays.first())
    }
}

fn split_redirect(input: &str) -> Option<(u16, &str)> {
    let (status, rest) = input.strip_prefix("redirect ")?.split_once(" then ")?;
    Some((status.parse().ok()?, rest))
}

/// Status and content type of `response 200 text/event-stream`.
fn split_response(input: &str) -> Result<(u16, Option<&str>), String> {
    let rest = input.trim_start_matches("response ");
    let (status, content_type) = match rest.split_once(' ') {
        Some((status, content_type)) => (status, Some(content_type.trim_matches('\''))),
        None => (rest, None),
    };
    let status = status
        .parse()
        .map_err(|_| format!("the status is {status:?}"))?;
    Ok((status, content_type.filter(|it| *it != "(no content-type)")))
}
