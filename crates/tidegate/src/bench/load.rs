//! The stages of a run: joining, warming up, the load itself, catching up.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::crowd::{Crowd, Resume};
use super::progress::Progress;
use super::subscriber::State;

/// How fast to publish.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many messages on their way.
    Window(u32),
    /// So many messages a second, whatever happens.
    Rate(f64),
}

/// When to stop publishing, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    pub(crate) messages: u64,
}

/// How a stage of load went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stage {
    pub(crate) published: u64,
    /// Due by the end and not sent even some time after it, because the connections that publish were
    /// waiting for answers.
    pub(crate) unsent: u64,
    /// From the first publish to the last delivery.
    pub(crate) took: Duration,
    /// Nothing came any more although something was missing.
    pub(crate) gave_up: bool,
}

impl Crowd {
    /// Makes the topics, at hubs that want that.
    ///
    /// # Errors
    ///
    /// When one is refused.
    pub(crate) fn create(&mut self) -> anyhow::Result<()> {
        for topic in 0..self.published.len() as u32 {
            let Some(request) = self.target.create_request(topic) else {
                return Ok(());
            };
            let began = Instant::now();
            self.send(0, |out| request.clone_into(out));
            while !self.publishers[0].is_free() && began.elapsed() < self.patience {
                self.turn(Duration::from_millis(100))?;
            }
            if let Some(why) = &self.figures.first_failure {
                bail!("topic {} of {}: {why}", topic + 1, self.published.len());
            }
        }
        self.measure();
        Ok(())
    }

    /// Publishes until every subscriber has received what was published last: hubs do not say when
    /// a subscription holds.
    ///
    /// # Errors
    ///
    /// When one never does.
    pub(crate) fn join(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            // Nobody counts on what came before a subscription held.
            (self.expected, self.progress) = (0, 0);
            let one_each = Bounds {
                time: self.patience * 6,
                messages: self.published.len() as u64,
            };
            self.load(
                Pace::Window(u32::MAX),
                one_each,
                Duration::from_millis(500),
                None,
            )?;
            if let Some(why) = &self.figures.first_failure {
                let address = self.target.publish.address;
                bail!("the first publish to {address} failed: {why}");
            }
            let published = &self.published;
            let without = self.subscribers.iter().filter(|subscriber| {
                let last = published[subscriber.topic as usize];
                subscriber.state != State::Open || subscriber.check.next() != Some(last)
            });
            let without = without.count();
            if without == 0 {
                break;
            }
            if let Some(why) = &self.figures.first_end {
                bail!("a subscriber lost its connection before the load began: {why}");
            }
            if began.elapsed() > self.patience * 6 {
                bail!(
                    "{without} of {} subscribers do not receive what is published; do the URLs name \
                     the same topic? (the payload must arrive as it was sent)",
                    self.subscribers.len()
                );
            }
        }
        (self.expected, self.progress) = (0, 0);
        Ok(())
    }

    /// Publishes at `pace` within `bounds`, then waits for the rest to arrive, and at most `patience`
    /// after the last sign of life.
    ///
    /// # Errors
    ///
    /// When the poll fails. What fails on a connection is counted.
    pub(crate) fn load(
        &mut self,
        pace: Pace,
        bounds: Bounds,
        patience: Duration,
        mut progress: Option<&mut Progress>,
    ) -> anyhow::Result<Stage> {
        let began = Instant::now();
        self.last_progress = began;
        let (topics, publishers) = (self.published.len(), self.publishers.len());
        // A publisher's messages so far; its topics are those with its number modulo publishers.
        let mut sent = vec![0_u64; publishers];
        let mut stage = Stage::default();
        let fanout = self.live.iter().map(|live| u64::from(*live)).sum::<u64>() / topics as u64;
        let fanout = fanout.max(1);
        let due = |publisher: usize, sent: u64| match pace {
            Pace::Window(_) => Duration::ZERO,
            Pace::Rate(rate) => {
                let before = sent as f64 * publishers as f64 + publisher as f64;
                Duration::from_secs_f64(before / rate)
            }
        };
        // What falls due in time is sent though it be late: it may be this program that was held up. A hub
        // that is too slow for the rate gets no more time than one that says nothing.
        let end = match pace {
            Pace::Window(_) => bounds.time,
            Pace::Rate(_) => bounds.time + patience,
        };
        let mut silent = false;
        loop {
            let elapsed = began.elapsed();
            let mut wait = Duration::from_millis(100);
            let mut free = 0;
            let mut over = true;
            let publishing = |stage: &Stage| stage.published < bounds.messages;
            for (publisher, sent) in sent.iter_mut().enumerate() {
                let due = due(publisher, *sent);
                let in_time = publishing(&stage) && due < bounds.time && elapsed < end;
                over &= !in_time;
                if !self.publishers[publisher].is_free() {
                    continue;
                }
                free += 1;
                let way = self.expected.saturating_sub(self.progress);
                let room = match pace {
                    Pace::Window(window) => way + fanout <= u64::from(window) * fanout,
                    Pace::Rate(_) => true,
                };
                if !in_time || !room {
                    continue;
                }
                if due > elapsed {
                    wait = wait.min(due - elapsed);
                    continue;
                }
                let own = (topics - publisher).div_ceil(publishers) as u64;
                let topic = publisher + (*sent % own) as usize * publishers;
                let due = match pace {
                    Pace::Window(_) => Instant::now(),
                    Pace::Rate(_) => began + due,
                };
                *sent += 1;
                stage.published += 1;
                self.publish(publisher, topic as u32, due);
                free -= 1;
            }
            let all_there = self.expected <= self.progress && free == publishers;
            if over && all_there {
                break;
            }
            if silent && self.last_progress.elapsed() > patience && (over || !all_there) {
                stage.gave_up = true;
                break;
            }
            // The poll rounds up to milliseconds; a message that is due sooner is waited for awake.
            let wait = wait.saturating_sub(Duration::from_millis(1));
            silent = self.is_silent(Duration::from_millis(wait.as_millis() as u64))?;
            if let Some(progress) = &mut progress {
                progress.show(self, began.elapsed());
            }
        }
        stage.took = self.last_progress.saturating_duration_since(began);
        if let Pace::Rate(rate) = pace {
            let due = (bounds.time.as_secs_f64() * rate).ceil() as u64;
            stage.unsent = due.min(bounds.messages).saturating_sub(stage.published);
        }
        Ok(stage)
    }

    /// Takes a [`turn`](Self::turn), and whether it brought nothing. Only who has looked can say so: this
    /// program may be the one that was held up.
    fn is_silent(&mut self, timeout: Duration) -> anyhow::Result<bool> {
        let before = self.last_progress;
        self.turn(timeout)?;
        Ok(self.last_progress == before)
    }

    /// Lets time pass.
    pub(crate) fn idle(&mut self, time: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        while let Some(left) = time.checked_sub(began.elapsed()) {
            self.turn(left)?;
            if left < Duration::from_millis(1) {
                break;
            }
        }
        Ok(())
    }

    /// The cursor of the last message, as one subscriber, the only one, was told it.
    ///
    /// # Errors
    ///
    /// When no id can be found beside the message.
    pub(crate) fn learn_cursor(&mut self) -> anyhow::Result<Resume> {
        self.capture = Some(Vec::new());
        self.connect(1, None, |_| false)?;
        self.join()?;
        self.idle(Duration::from_millis(100))?;
        let capture = self.capture.take().unwrap_or_default();
        let text = String::from_utf8_lossy(&capture).replace("\r\n", "\n");
        let (before, behind) = self.target.id;
        let after = text.rsplit_once(before).and_then(|(_, rest)| {
            let (id, _) = rest.split_once(behind)?;
            Some(id.trim().to_owned())
        });
        let after =
            after.context("the hub sends no ids to resume from; give a cursor with --after")?;
        self.disperse();
        Ok(Resume {
            after,
            next: self.published[0],
        })
    }

    /// Connects `count` subscribers that missed something, and returns when each had caught up, in
    /// order of time; fewer when not all did.
    ///
    /// # Errors
    ///
    /// When one cannot connect.
    pub(crate) fn catch_up(&mut self, count: u32, from: &Resume) -> anyhow::Result<Vec<Duration>> {
        let began = Instant::now();
        self.connect(count, Some(from), |_| false)?;
        self.last_progress = Instant::now();
        let mut done = vec![None; self.subscribers.len()];
        let mut silent = false;
        loop {
            let now = began.elapsed();
            for (subscriber, done) in self.subscribers.iter().zip(&mut done) {
                if subscriber.check.next() == Some(self.published[0]) {
                    done.get_or_insert(now);
                }
            }
            let waiting = done.contains(&None) && self.figures.closed < u64::from(count);
            if !waiting || (silent && self.last_progress.elapsed() > self.patience) {
                break;
            }
            silent = self.is_silent(Duration::from_millis(50))?;
        }
        let mut times: Vec<Duration> = done.into_iter().flatten().collect();
        times.sort_unstable();
        Ok(times)
    }
}
