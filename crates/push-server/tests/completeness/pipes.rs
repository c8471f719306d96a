//! Over pipes in memory and with virtual time: hyper's connections and WebSocket sessions.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use push_server::{Hub, websocket};
use tokio::sync::watch;

use crate::member::{Dial, Io, Transport, member};
use crate::setting;
use crate::sockets::{Plan, hub, judge, publish};

/// A connection whose other end is the hub's.
fn pipe(hub: &Hub, transport: Transport, small: bool) -> Box<dyn Io> {
    let (ours, theirs) = tokio::io::duplex(if small { 300 } else { 16 * 1024 });
    let hub = hub.clone();
    match transport {
        Transport::Sse => tokio::spawn(async move {
            let service = service_fn(move |request| {
                let hub = hub.clone();
                async move { Ok::<_, std::convert::Infallible>(hub.handle(request).await) }
            });
            let mut builder = http1::Builder::new();
            builder.max_buf_size(8 * 1024);
            let _cut = builder
                .serve_connection(TokioIo::new(theirs), service)
                .await;
        }),
        Transport::WebSocket { .. } => tokio::spawn(websocket(hub, theirs, None)),
    };
    Box::new(ours)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_subscribers_that_are_cut_anywhere_miss_nothing_unannounced() {
    let plan = Plan {
        members: setting("TIDEGATE_MEMBERS", 10_000) as usize,
        events: setting("TIDEGATE_EVENTS", 250),
        every: Duration::from_millis(200),
        pause: Duration::from_secs(6),
        padding: 300,
        seed: setting("TIDEGATE_SEED", 1),
    };
    let started = std::time::Instant::now();
    let hub = hub(Duration::from_secs(15), 8 * 1024).await;
    let (ended, last) = watch::channel(None);
    let dial: Arc<Dial> = {
        let hub = hub.clone();
        Arc::new(move |transport, small| {
            let io = pipe(&hub, transport, small);
            Box::pin(async move { io })
        })
    };
    let members = (0..plan.members).map(|n| {
        let transport = match n / 10 % 2 {
            0 => Transport::Sse,
            _ => Transport::WebSocket { handshake: false },
        };
        tokio::spawn(member(n, plan.seed, plan.pause, transport, &dial, &last).run())
    });
    let members: Vec<_> = members.collect();
    let log = publish(&hub, &plan).await;
    ended.send_replace(log.events.last().map(|event| event.seq));
    let tally = judge(&plan, &log, members).await;
    println!("{tally:?} in {:?}", started.elapsed());
    assert!(tally.resumes > 2 * plan.members as u64, "{tally:?}");
    assert!(tally.gaps > 100 && tally.superseded > 50, "{tally:?}");
}
