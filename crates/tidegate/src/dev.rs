//! `tidegate dev`: a hub on loopback with a page to try it.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::{Context, anyhow};
use http::{Method, Request, Response, StatusCode};
use push_server::{Hub, HubBody, HubConfig, Server};
use replay_store::ReplayStore;
use tokio::net::TcpListener;

use crate::args::Dev;
use crate::page;
use crate::store::StoreChoice;

pub(crate) async fn run(args: Dev) -> anyhow::Result<()> {
    // Taken before the store is opened: what already listens there may have the file open, too.
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| explain_bind(args.listen, error))?;
    let address = listener.local_addr()?;
    let store = args.store.open()?;
    let mut config = HubConfig::new();
    config.compression(args.compression.into());
    let hub = Hub::start(config, store.clone())
        .await
        .context("cannot start on this store")?;

    let interrupted = interrupted()?;
    greet(&Greeting {
        address,
        store: &args.store,
    });
    let server = Server::new(hub).pages(pages);
    server.serve(listener, interrupted).await;
    store
        .close()
        .await
        .context("the store did not close in order")?;
    tracing::info!("ended");
    Ok(())
}

/// What the hub itself does not serve: the page, and the page's way to lose its connections.
fn pages<B>(request: &Request<B>, hub: &Hub) -> Option<Response<HubBody>> {
    let path = request.uri().path();
    if path == "/dev/drop" && request.method() == Method::POST {
        hub.drop_connections();
        let mut response = Response::new(HubBody::full(Default::default()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Some(response);
    }
    page::answer(request.method(), path).map(|response| response.map(HubBody::full))
}

/// Completes when the process is asked to end.
#[cfg(unix)]
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("ending");
    })
}

#[cfg(not(unix))]
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

fn explain_bind(address: SocketAddr, error: io::Error) -> anyhow::Error {
    let port = address.port();
    let ip = address.ip();
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is in use, perhaps by another hub; stop that, choose another port, or let \
             the system choose one: tidegate dev --listen {}",
            SocketAddr::new(ip, 0)
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {port} needs privileges; choose one from 1024 on: tidegate dev --listen {}",
            SocketAddr::new(ip, 8080)
        ),
        io::ErrorKind::AddrNotAvailable => format!("{ip} is not an address of this machine"),
        _ => return anyhow!(error).context(format!("cannot listen on {address}")),
    };
    anyhow!("cannot listen on {address}: {hint}")
}

/// What is printed once the hub takes connections. Each line can be pasted into a shell.
struct Greeting<'a> {
    address: SocketAddr,
    store: &'a StoreChoice,
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, store } = self;
        let lasting = match store {
            StoreChoice::Memory => {
                "events are gone when the hub ends; --store sqlite:PATH keeps them"
            }
            StoreChoice::Sqlite(_) => "events survive a restart",
        };
        writeln!(f, "Tidegate is up: http://{address}/")?;
        writeln!(f, "Store: {store} ({lasting})")?;
        writeln!(f)?;
        writeln!(f, "# watch a topic, publish to it")?;
        writeln!(f, "curl -N 'http://{address}/events?topic=demo'")?;
        writeln!(f, "curl -d 'hello' 'http://{address}/events?topic=demo'")?;
        writeln!(f)?;
        writeln!(
            f,
            "# publish what a program prints, follow it over WebSocket"
        )?;
        writeln!(
            f,
            "tail -f /var/log/dpkg.log | tidegate publish logs --url http://{address}"
        )?;
        writeln!(f, "tidegate subscribe logs --ws --url http://{address}")?;
        writeln!(f)?;
        writeln!(f, "Ctrl-C ends it.")
    }
}

/// A closed standard output is no reason for a hub not to run.
fn greet(greeting: &Greeting<'_>) {
    let mut stdout = io::stdout().lock();
    let _ = write!(stdout, "{greeting}").and_then(|()| stdout.flush());
}
