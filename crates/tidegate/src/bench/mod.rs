//! `tidegate bench`: a load generator that counts and checks every event, for any hub.
//!
//! One thread and one poll serve all connections, so that the generator costs little beside a server
//! on the same machine. What a hub sends is searched for the payload's marker, not understood.

mod check;
mod connection;
mod crowd;
mod figures;
mod framing;
mod head;
mod http2;
mod io;
mod load;
pub(crate) mod options;
mod payload;
mod process;
mod progress;
mod publisher;
mod report;
mod subscriber;
mod target;

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::descriptors;
use crate::output::{Output, notice};
use crowd::{Crowd, Resume};
use load::{Bounds, Pace};
use options::Bench;
use process::Processes;
use progress::Progress;
use report::{Connecting, Load, Memory, Replay, Report};
use target::Target;

/// A run whose subscribers did not get everything once and in order.
#[derive(Debug, thiserror::Error)]
#[error("not every event arrived exactly once and in order: {0}")]
pub(crate) struct NotExact(String);

/// # Errors
///
/// When the hub cannot be reached, when it refuses, or when a subscriber lost an event without a
/// gap, received one twice or out of order; the report is printed all the same then.
pub(crate) fn run(options: &Bench) -> anyhow::Result<()> {
    let connections = options.connections;
    if options.publishers > options.topics {
        bail!(
            "--publishers {} with --topics {}: a topic has one publisher, or its order would be \
             anybody's guess; ask for at least as many topics",
            options.publishers,
            options.topics
        );
    }
    if options.replay.is_some() && options.topics > 1 {
        bail!("--replay measures one topic; leave out --topics");
    }
    let streams = if options.http2 { options.streams } else { 1 };
    let sockets = connections.div_ceil(streams);
    descriptors::check(u64::from(sockets) + u64::from(options.publishers))?;
    let mut random = [0; 2];
    getrandom::fill(&mut random).context("no random bytes to be had")?;
    let run = u16::from_ne_bytes(random);
    let crowd = Crowd::new(Target::new(options, run)?, run, options)?;
    let mut bench = Run {
        options,
        crowd,
        server: Processes::new(&options.pid)?,
        progress: Progress::new(),
        report: Report::default(),
    };
    bench.crowd.create()?;
    let result = match options.replay {
        Some(missed) => bench.replay(missed),
        None => bench.fan_out(),
    };
    bench.progress.clear();
    result?;
    bench.print()
}

struct Run<'a> {
    options: &'a Bench,
    crowd: Crowd,
    server: Processes,
    progress: Progress,
    report: Report,
}

impl Run<'_> {
    fn stalls(&self) -> impl Fn(u32) -> bool + use<> {
        let share = self.options.stalled / 100.0;
        // Spread over the whole crowd.
        move |n| (f64::from(n + 1) * share).floor() > (f64::from(n) * share).floor()
    }

    fn fan_out(&mut self) -> anyhow::Result<()> {
        let before = self.server.rss();
        self.connect()?;
        self.crowd
            .idle(Duration::from_secs_f64(self.options.idle))?;
        if !self.server.is_empty() {
            let idle = self.server.rss();
            self.report.memory = Some(Memory {
                before,
                idle,
                peak: idle,
                after: idle,
            });
        }
        if self.options.seconds == 0.0 {
            return Ok(());
        }
        self.progress.say("joining");
        self.crowd.join()?;
        self.report.stalled = self.crowd.stall(self.stalls())?;
        self.warm_up()?;
        self.load()?;
        if let Some(memory) = &mut self.report.memory {
            (memory.peak, memory.after) = (self.server.peak(), self.server.rss());
        }
        Ok(())
    }

    fn connect(&mut self) -> anyhow::Result<()> {
        let connections = self.options.connections;
        self.progress
            .say(&format!("connecting {connections} subscribers"));
        let (began, cpu) = (Instant::now(), self.server.cpu());
        let stalls = self.stalls();
        self.crowd.connect(connections, None, stalls)?;
        self.report.connecting = Some(Connecting {
            took: began.elapsed(),
            cpu: self.server.cpu().saturating_sub(cpu),
        });
        Ok(())
    }

    fn warm_up(&mut self) -> anyhow::Result<()> {
        self.progress.say("warming up");
        let patience = self.crowd.patience;
        let bounds = Bounds {
            time: patience,
            messages: u64::from(self.options.warm_up) * u64::from(self.options.topics),
        };
        let window = Pace::Window(self.options.window);
        self.crowd.load(window, bounds, patience, None)?;
        self.crowd.measure();
        Ok(())
    }

    fn load(&mut self) -> anyhow::Result<()> {
        let pace = match self.options.rate {
            Some(rate) => Pace::Rate(rate),
            None => Pace::Window(self.options.window),
        };
        let bounds = Bounds {
            time: Duration::from_secs_f64(self.options.seconds),
            messages: self.options.messages.map_or(u64::MAX, u64::from),
        };
        let own = Processes::own();
        let (began, server, client) = (Instant::now(), self.server.cpu(), own.cpu());
        let progress = Some(&mut self.progress);
        let patience = self.crowd.patience;
        let stage = self.crowd.load(pace, bounds, patience, progress)?;
        self.report.load = Some(Load {
            stage,
            server: self.server.cpu().saturating_sub(server),
            client: own.cpu().saturating_sub(client),
            wall: began.elapsed(),
        });
        Ok(())
    }

    fn replay(&mut self, missed: u32) -> anyhow::Result<()> {
        let from = match &self.options.after {
            Some(after) => Resume {
                after: after.clone(),
                next: 0,
            },
            None => self.crowd.learn_cursor()?,
        };
        let before = self.server.rss();
        self.progress.say(&format!("publishing {missed} messages"));
        let bounds = Bounds {
            time: Duration::from_secs(60),
            messages: missed.into(),
        };
        let patience = self.crowd.patience;
        let published = self.crowd.load(Pace::Window(1), bounds, patience, None)?;
        if published.published < u64::from(missed) || self.crowd.figures.failed > 0 {
            let why = self.crowd.figures.first_failure.take();
            bail!(
                "published only {} of {missed} messages: {}",
                published.published,
                why.unwrap_or_else(|| "the time was over".to_owned())
            );
        }
        let stored = self.server.rss();
        self.crowd.measure();
        self.progress.say("catching up");
        let (cpu, own) = (self.server.cpu(), Processes::own());
        let client = own.cpu();
        let times = self.crowd.catch_up(self.options.connections, &from)?;
        self.report.replay = Some(Replay {
            missed,
            publishing: published.took,
            times,
            server: self.server.cpu().saturating_sub(cpu),
            client: own.cpu().saturating_sub(client),
        });
        if !self.server.is_empty() {
            self.report.memory = Some(Memory {
                before,
                idle: stored,
                peak: self.server.peak(),
                after: self.server.rss(),
            });
        }
        Ok(())
    }

    fn print(mut self) -> anyhow::Result<()> {
        self.crowd.close_the_books();
        let measured = !self.server.is_empty();
        let mut output = Output::new();
        if self.options.json {
            let object = self.report.json(self.options, &self.crowd, measured);
            output.line(object.to_string().as_bytes())?;
        } else {
            for line in self.report.text(self.options, &self.crowd, measured) {
                output.line(line.as_bytes())?;
            }
        }
        output.flush()?;
        for warning in self.report.warnings(&self.crowd) {
            notice(&warning);
        }
        let tally = &self.crowd.tally;
        if tally.is_bad() {
            let counts = report::bad(tally);
            return Err(NotExact(counts).into());
        }
        Ok(())
    }
}
