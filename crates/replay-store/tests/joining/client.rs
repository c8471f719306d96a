//! A subscriber of the model, from its first connection to its last, and everything it was sent.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures::future::{Either, select};
use replay_store::{
    After, AnyStore, Event, FeedHandle, Gap, Join, JoinError, Limit, Position, Selector, Step,
};

use crate::model::Model;
use crate::node::{Broken, Shared, TestReader, TestTail, yield_now};
use crate::verify::Verifier;

/// What a client is sent; every one of these but `Opened(None)` sets the id it resumes from.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Opened(Option<Position>),
    Gap(Gap),
    Event(Event),
    /// `$ready` or a heartbeat.
    Id(Position),
}

pub(crate) struct Client {
    pub(crate) selector: Selector,
    pub(crate) verifier: Verifier,
    /// Over all connections.
    pub(crate) received: Vec<Sent>,
    /// The next call of `Join::next` is dropped unfinished and made again.
    pub(crate) cancel: bool,
    /// A heartbeat is due.
    pub(crate) heartbeat: bool,
    pub(crate) live: bool,
}

impl Client {
    pub(crate) fn new(selector: Selector) -> Self {
        let verifier = Verifier::new(selector.clone());
        Self {
            selector,
            verifier,
            received: Vec::new(),
            cancel: false,
            heartbeat: false,
            live: false,
        }
    }
}

/// One connection. It ends when it is dropped, or when the store fails.
pub(crate) async fn connection(
    client: Shared<Client>,
    model: Shared<Model>,
    store: AnyStore,
    feed: FeedHandle<TestTail>,
    after: After,
    limit: Limit,
) {
    let send = |sent: Sent| {
        let mut client = client.lock().unwrap();
        client.verifier.receive(&sent, &model.lock().unwrap());
        client.received.push(sent);
    };
    client.lock().unwrap().verifier.connect(after);
    let selector = client.lock().unwrap().selector.clone();
    // What the connection has written last; while connected, a subscription is judged by this.
    let mut after = after;
    let mut first = true;
    loop {
        let mut join = Join::new(
            store.clone(),
            feed.clone(),
            selector.clone(),
            (),
            after,
            limit,
        );
        let (mut reader, from) = loop {
            match cancellable(&client, &mut join).await {
                Ok(Step::Start(opening)) => {
                    if std::mem::take(&mut first) {
                        send(Sent::Opened(opening));
                    }
                }
                Ok(Step::Gap(gap)) => {
                    first = false;
                    send(Sent::Gap(gap));
                }
                Ok(Step::Events(events)) => {
                    for event in events {
                        yield_now().await;
                        send(Sent::Event(event));
                    }
                }
                Ok(Step::Live { attachment, from }) => break (attachment, from),
                Err(JoinError::Store(_)) => return,
                Err(JoinError::Closed(closed)) => unreachable!("{closed}"),
            }
            yield_now().await;
        };
        client.lock().unwrap().live = true;
        send(Sent::Id(from));
        let mut position = from;
        while let Ok(event) = next_event(&client, &mut reader, &mut position, from, &send).await {
            position = event.position;
            send(Sent::Event(event));
            yield_now().await;
        }
        client.lock().unwrap().live = false;
        after = After::Position(position);
    }
}

/// Waits for the next event above `from`; sends heartbeats in between.
async fn next_event(
    client: &Shared<Client>,
    reader: &mut TestReader,
    position: &mut Position,
    from: Position,
    send: &impl Fn(Sent),
) -> Result<Event, Broken> {
    poll_fn(|cx| {
        loop {
            // Read before the reader is found empty.
            let watermark = reader.watermark();
            match reader.read() {
                Ok(Some(event)) if event.position.seq > from.seq => return Poll::Ready(Ok(event)),
                Ok(Some(_)) => {}
                Ok(None) => {
                    if std::mem::take(&mut client.lock().unwrap().heartbeat)
                        && watermark.seq > position.seq
                    {
                        *position = watermark;
                        send(Sent::Id(watermark));
                    }
                    reader.wake_me(cx.waker());
                    return Poll::Pending;
                }
                Err(broken) => return Poll::Ready(Err(broken)),
            }
        }
    })
    .await
}

/// `join.next()`, cut off and called again whenever the test wants it.
async fn cancellable(
    client: &Shared<Client>,
    join: &mut Join<TestTail>,
) -> Result<Step<TestReader>, JoinError> {
    loop {
        let cancelled = poll_fn(|_| {
            let cancel = std::mem::take(&mut client.lock().unwrap().cancel);
            if cancel {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        match select(pin!(join.next()), cancelled).await {
            Either::Left((step, _)) => return step,
            Either::Right(((), _)) => {}
        }
    }
}

pub(crate) type Connection = std::pin::Pin<Box<dyn Future<Output = ()>>>;

pub(crate) fn connect(
    client: &Shared<Client>,
    model: &Shared<Model>,
    store: &AnyStore,
    feed: &FeedHandle<TestTail>,
    after: After,
    limit: Limit,
) -> Connection {
    let (client, model) = (Arc::clone(client), Arc::clone(model));
    Box::pin(connection(
        client,
        model,
        store.clone(),
        feed.clone(),
        after,
        limit,
    ))
}
