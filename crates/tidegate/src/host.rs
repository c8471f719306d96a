//! `tidegate dev` and `tidegate serve`: a hub behind a listener, from its start to its end.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use http::{Method, Request, Response, StatusCode};
use push_server::{Access, Hub, HubBody, HubConfig, Server, Tls};
use replay_store::ReplayStore;
use tokio::net::TcpListener;

use crate::args::{Dev, HubOptions, Serve};
use crate::page;
use crate::store::StoreChoice;

pub(crate) async fn dev(args: Dev) -> anyhow::Result<()> {
    let host = Host {
        command: "dev",
        listen: args.listen,
        access: Access::Loopback,
        store: args.store,
        options: args.options,
        // Whoever tries things out does not want to wait.
        drain: Duration::ZERO,
        tls: None,
        ws_over_h2: false,
        page: true,
    };
    host.run().await
}

pub(crate) async fn serve(args: Serve) -> anyhow::Result<()> {
    if !args.open && !args.listen.ip().is_loopback() {
        return Err(anyhow!(OPEN_REFUSED).context(format!("refused to listen on {}", args.listen)));
    }
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(read_tls(cert, key)?),
        _ => None,
    };
    let host = Host {
        command: "serve",
        listen: args.listen,
        access: if args.open {
            Access::SameHost
        } else {
            Access::Loopback
        },
        store: args.store,
        options: args.options,
        drain: Duration::from_secs(args.drain.into()),
        tls,
        ws_over_h2: args.ws_over_h2,
        page: false,
    };
    host.run().await
}

const OPEN_REFUSED: &str = "\
    this version has no access rules, so whoever can reach that address could read, publish and \
    purge everything. Listen on loopback, such as 127.0.0.1:8080, and put a proxy that asks who \
    they are before it; or, where only trusted machines reach the address, add --open";

/// A hub to be run.
fn read_tls(cert: &Path, key: &Path) -> anyhow::Result<Tls> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    Tls::from_pem(&read(cert)?, &read(key)?).with_context(|| {
        format!(
            "cannot offer TLS with {} and {}",
            cert.display(),
            key.display()
        )
    })
}

struct Host {
    /// Names the command in what is said to its user.
    command: &'static str,
    listen: SocketAddr,
    access: Access,
    store: StoreChoice,
    options: HubOptions,
    drain: Duration,
    tls: Option<Tls>,
    ws_over_h2: bool,
    /// Whether the demo page is served.
    page: bool,
}

impl Host {
    async fn run(self) -> anyhow::Result<()> {
        // Taken before the store is opened: what already listens there may have the file open, too.
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(|error| explain_bind(self.command, self.listen, error))?;
        let address = listener.local_addr()?;
        // A store over a network may take long to answer; it must not hold up a signal.
        let interrupted = interrupted()?;
        let mut interrupted = std::pin::pin!(interrupted);
        let store = tokio::select! {
            opened = self.store.open(&self.options.retain) => opened?,
            () = &mut interrupted => return Ok(()),
        };
        let mut config = HubConfig::new();
        config
            .access(self.access.clone())
            .compression(self.options.compression.into())
            .drain(self.drain);
        let hub = Hub::start(config, store.clone())
            .await
            .context("cannot start on this store")?;

        greet(&Greeting {
            host: &self,
            address,
        });
        let mut server = Server::new(hub).extended_connect(self.ws_over_h2);
        if let Some(tls) = self.tls {
            server = server.tls(tls);
        }
        if self.page {
            server = server.pages(pages);
        }
        server.serve(listener, interrupted).await;
        store
            .close()
            .await
            .context("the store did not close in order")?;
        tracing::info!("ended");
        Ok(())
    }
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

fn explain_bind(command: &str, address: SocketAddr, error: io::Error) -> anyhow::Error {
    let port = address.port();
    let ip = address.ip();
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is in use, perhaps by another hub; stop that, choose another port, or let \
             the system choose one: tidegate {command} --listen {}",
            SocketAddr::new(ip, 0)
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {port} needs privileges; choose one from 1024 on: tidegate {command} --listen {}",
            SocketAddr::new(ip, 8080)
        ),
        io::ErrorKind::AddrNotAvailable => format!("{ip} is not an address of this machine"),
        _ => return anyhow!(error).context(format!("cannot listen on {address}")),
    };
    anyhow!("cannot listen on {address}: {hint}")
}

/// What is printed once the hub takes connections. Each line can be pasted into a shell.
struct Greeting<'a> {
    host: &'a Host,
    address: SocketAddr,
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address } = self;
        let lasting = if host.store.is_lost_at_the_end() {
            "events are gone when the hub ends; --store sqlite:PATH keeps them"
        } else {
            "events survive a restart"
        };
        let scheme = if host.tls.is_some() { "https" } else { "http" };
        writeln!(f, "Tidegate is up: {scheme}://{address}/")?;
        writeln!(f, "Store: {} ({lasting})", host.store)?;
        if host.access != Access::Loopback {
            writeln!(
                f,
                "Open: whoever reaches it may read, publish and purge everything"
            )?;
        }
        if host.page {
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
        }
        writeln!(f, "Ctrl-C ends it.")
    }
}

/// A closed standard output is no reason for a hub not to run.
fn greet(greeting: &Greeting<'_>) {
    let mut stdout = io::stdout().lock();
    let _ = write!(stdout, "{greeting}").and_then(|()| stdout.flush());
}
