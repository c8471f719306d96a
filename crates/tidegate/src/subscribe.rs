//! `tidegate subscribe`: events out, one line each.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use push_client::{Delivery, GapNotice, ReceivedEvent, SubscribeOptions, Subscriber, Transport};
use serde_json::Value;

use crate::args::Subscribe;
use crate::output::{Output, notice, reader_gone};
use crate::trust::{self, advise};

pub(crate) async fn run(args: Subscribe) -> anyhow::Result<()> {
    let mut options = SubscribeOptions::new(&args.topics);
    options.after(&args.after);
    if args.ws {
        options.transport(Transport::WebSocket);
    }
    if let Some(roots) = trust::roots(args.hub.ca.as_deref())? {
        options.roots(roots);
    }
    let subscriber = Subscriber::new(args.hub.url(), options)?;
    let printer = Printer {
        output: Output::new(),
        json: args.json,
        events: 0,
        lost: false,
    };
    tokio::select! {
        result = follow(subscriber, printer, args.count) => result,
        () = reader_gone() => Ok(()),
    }
}

async fn follow(
    mut subscriber: Subscriber,
    mut printer: Printer,
    count: Option<u64>,
) -> anyhow::Result<()> {
    while count != Some(printer.events) {
        let delivery = tokio::select! {
            biased;
            delivery = subscriber.next() => delivery,
            // Nothing more is at hand, so what was printed must be seen before the wait.
            () = std::future::ready(()) => {
                printer.output.flush()?;
                subscriber.next().await
            }
        };
        match delivery {
            Some(Ok(delivery)) => printer.print(delivery)?,
            Some(Err(error)) if error.is_final() => {
                printer.output.flush()?;
                return Err(advise(error)).context("the subscription ended");
            }
            Some(Err(error)) => notice(&error.to_string()),
            None => break,
        }
    }
    printer.output.flush()?;
    Ok(())
}

struct Printer {
    output: Output,
    json: bool,
    /// How many events were printed.
    events: u64,
    /// Whether the connection was lost and is not back yet.
    lost: bool,
}

impl Printer {
    fn print(&mut self, delivery: Delivery) -> anyhow::Result<()> {
        match delivery {
            Delivery::Event(event) if !self.json && event.event.as_deref() == Some("$end") => {
                self.say(&format!("{} has ended", event.topic))?;
            }
            Delivery::Event(event) => {
                self.events += 1;
                if self.json {
                    self.object(&event_object(&event))?;
                } else {
                    self.output.line(&event.data)?;
                }
            }
            Delivery::Gap(gap) if self.json => self.object(&gap_object(&gap))?,
            Delivery::Gap(gap) => {
                let skipped = gap
                    .skipped
                    .map_or_else(String::new, |n| format!(", {n} skipped"));
                self.say(&format!(
                    "gap: {}{skipped}; going on after {}",
                    gap.reason.as_str(),
                    gap.id
                ))?;
            }
            Delivery::Ready { id } if self.json => self.object(&ready_object(&id))?,
            Delivery::Disconnected { retry_in, why } => {
                self.lost = true;
                let seconds = retry_in.as_secs_f32();
                self.say(&format!("{why}; trying again in {seconds:.1} s"))?;
            }
            Delivery::Connected if self.lost => {
                self.lost = false;
                self.say("connected again")?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Says something beside the data, after the data that came before it.
    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.output.flush()?;
        notice(text);
        Ok(())
    }

    fn object(&mut self, object: &Value) -> anyhow::Result<()> {
        Ok(self.output.line(object.to_string().as_bytes())?)
    }
}

/// The event with the fields that the envelope `tidegate.v1+json` gives it.
fn event_object(event: &ReceivedEvent) -> Value {
    let (data, encoding) = match str::from_utf8(&event.data) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (BASE64.encode(&event.data), Some("base64")),
    };
    object([
        ("type", Some("event".into())),
        ("id", Some(event.id.as_str().into())),
        ("seq", Some(event.seq.into())),
        ("prev", event.prev.map(Value::from)),
        ("time", event.time.map(Value::from)),
        ("topic", Some(event.topic.as_str().into())),
        ("event", event.event.as_deref().map(Value::from)),
        ("data", Some(data.into())),
        ("encoding", encoding.map(Value::from)),
    ])
}

fn gap_object(gap: &GapNotice) -> Value {
    object([
        ("type", Some("gap".into())),
        ("reason", Some(gap.reason.as_str().into())),
        ("after", gap.after.as_deref().map(Value::from)),
        ("id", Some(gap.id.as_str().into())),
        ("skipped", gap.skipped.map(Value::from)),
    ])
}

fn ready_object(id: &str) -> Value {
    object([("type", Some("ready".into())), ("id", Some(id.into()))])
}

/// An object of the fields that have a value.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let present = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_are_left_out() {
        let fields = [("a", Some(1.into())), ("b", None)];
        assert_eq!(object(fields).to_string(), r#"{"a":1}"#);
    }
}
