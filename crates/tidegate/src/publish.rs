//! `tidegate publish`: lines in, events out, in order.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use push_client::{Message, PublishOptions, Publisher};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::Ending;
use crate::args::Publish;
use crate::output::notice;
use crate::trust::{self, advise};

/// The longest line that is read, in bytes: what a source without line ends can cost in memory.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// How long a publish may take before its user is told that it waits.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: Publish) -> anyhow::Result<Ending> {
    let mut options = PublishOptions::default();
    if let Some(roots) = trust::roots(args.hub.ca.as_deref())? {
        options.roots(roots);
    }
    let publisher = Publisher::with_options(args.hub.url(), options)?;
    let mut source = Source::open(&args).await?;
    let mut tally = Tally::default();

    let ending = tokio::select! {
        published = publish_all(&publisher, &args, &mut source, &mut tally) => {
            published.map(|()| Ending::Done)
        }
        _ = tokio::signal::ctrl_c() => Ok(Ending::Interrupted),
    };
    tally.report();
    if tally.under_way {
        let name = source.name();
        notice(&format!("{name} was under way: the hub may have it or not"));
    }
    ending
}

async fn publish_all(
    publisher: &Publisher,
    args: &Publish,
    source: &mut Source,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    while let Some(data) = source.next().await? {
        let mut message = Message::new(data);
        message.event = args.event.clone();
        tally.under_way = true;
        let publishing = publisher.publish(&args.topic, message);
        tokio::pin!(publishing);
        let published = tokio::select! {
            biased;
            published = &mut publishing => published,
            () = tokio::time::sleep(PATIENCE) => {
                notice(&format!("waiting for the hub at {} (--log warn says why)", args.hub.url()));
                let published = publishing.await;
                if published.is_ok() {
                    notice("the hub is there, going on");
                }
                published
            }
        };
        tally.under_way = false;
        let published = published
            .map_err(advise)
            .with_context(|| format!("{} was not published", source.name()))?;
        tally.events += 1;
        tally.last_id = Some(published.id);
    }
    Ok(())
}

/// What was published so far.
#[derive(Debug, Default)]
struct Tally {
    events: u64,
    last_id: Option<String>,
    /// One more was sent and is not answered yet.
    under_way: bool,
}

impl Tally {
    fn report(&self) {
        let plural = if self.events == 1 { "" } else { "s" };
        match &self.last_id {
            Some(id) => notice(&format!(
                "published {} event{plural}, the last {id}",
                self.events
            )),
            None => notice("published nothing"),
        }
    }
}

/// Where events come from.
enum Source {
    One(Option<Bytes>),
    Lines {
        reader: Box<dyn AsyncBufRead + Send + Unpin>,
        number: u64,
    },
}

impl Source {
    async fn open(args: &Publish) -> anyhow::Result<Self> {
        if let Some(data) = &args.data {
            return Ok(Self::One(Some(data.clone().into())));
        }
        let reader: Box<dyn AsyncBufRead + Send + Unpin> = match args.file.as_deref() {
            Some(path) if path != Path::new("-") => {
                let file = tokio::fs::File::open(path)
                    .await
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Box::new(BufReader::with_capacity(64 * 1024, file))
            }
            _ => Box::new(BufReader::with_capacity(64 * 1024, tokio::io::stdin())),
        };
        Ok(Self::Lines { reader, number: 0 })
    }

    /// The data of the next event. A line's end, `\n` or `\r\n`, is not part of its event.
    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        let (reader, number) = match self {
            Self::One(data) => return Ok(data.take()),
            Self::Lines { reader, number } => (reader, number),
        };
        let mut line = Vec::new();
        let read = reader
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .await
            .context("cannot read the input")?;
        if read == 0 {
            return Ok(None);
        }
        *number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if line.len() as u64 == MAX_LINE {
            bail!(
                "line {number} is longer than {} MiB: does the input have lines?",
                MAX_LINE >> 20
            );
        }
        Ok(Some(line.into()))
    }

    /// Names the event that was read last.
    fn name(&self) -> String {
        match self {
            Self::One(_) => "the event".to_owned(),
            Self::Lines { number, .. } => format!("line {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let found = runtime.block_on(async {
            let reader = Box::new(std::io::Cursor::new(input.to_vec()));
            let mut source = Source::Lines { reader, number: 0 };
            let mut found = Vec::new();
            while let Some(data) = source.next().await.unwrap() {
                found.push(String::from_utf8(data.to_vec()).unwrap());
            }
            found
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn each_line_is_an_event_without_its_end() {
        check(b"", &[]);
        check(b"a\nb\n", &["a", "b"]);
        check(b"a\r\nb\r\n", &["a", "b"]);
        check(b"a\rb\n", &["a\rb"]);
    }

    #[test]
    fn an_empty_line_is_an_event_and_so_is_a_last_line_without_an_end() {
        check(b"\n\na", &["", "", "a"]);
        check(b"a\n\r\n", &["a", ""]);
        check(b"a\r", &["a\r"]);
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_bound() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let reader = Box::new(std::io::Cursor::new(vec![b'x'; MAX_LINE as usize + 1]));
        let mut source = Source::Lines { reader, number: 0 };
        let refused = runtime.block_on(source.next()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "line 1 is longer than 16 MiB: does the input have lines?"
        );
    }
}
