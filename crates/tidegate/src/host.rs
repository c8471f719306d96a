//! `tidegate dev` and `tidegate serve`: a hub behind a listener, from its start to its end.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use http::{Method, Request, Response, StatusCode};
use push_server::{Access, Admin, Hub, HubBody, HubConfig, Server, Tls};
use replay_store::ReplayStore;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::args::{AdminChoice, Dev, HubOptions, Serve};
use crate::certificate::Certificate;
use crate::descriptors;
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
        max_connections: None,
        admin: args.admin,
        tls: own_tls(args.tls, args.listen)?,
        ws_over_h2: false,
        page: true,
    };
    host.run().await
}

pub(crate) async fn serve(args: Serve) -> anyhow::Result<()> {
    if !args.open && !args.listen.ip().is_loopback() {
        return Err(anyhow!(OPEN_REFUSED).context(format!("refused to listen on {}", args.listen)));
    }
    if args.tls && !args.listen.ip().is_loopback() {
        return Err(anyhow!(OWN_TLS_REFUSED).context("refused to make a certificate"));
    }
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(Encryption {
            tls: read_tls(cert, key)?,
            own: None,
        }),
        _ => own_tls(args.tls, args.listen)?,
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
        max_connections: args.max_connections,
        admin: args.admin,
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

const OWN_TLS_REFUSED: &str = "\
    nobody elsewhere has a reason to trust a certificate that the hub made for itself. Listen on \
    loopback, or give --tls-cert and --tls-key, such as those of an ACME client";

/// How a hub speaks TLS.
struct Encryption {
    tls: Tls,
    /// What it showed itself, if nobody else has.
    own: Option<Certificate>,
}

fn own_tls(wanted: bool, listen: SocketAddr) -> anyhow::Result<Option<Encryption>> {
    if !wanted {
        return Ok(None);
    }
    let (certificate, tls) = Certificate::make(listen.ip())?;
    Ok(Some(Encryption {
        tls,
        own: Some(certificate),
    }))
}

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

/// A hub to be run.
struct Host {
    /// Names the command in what is said to its user.
    command: &'static str,
    listen: SocketAddr,
    access: Access,
    store: StoreChoice,
    options: HubOptions,
    drain: Duration,
    max_connections: Option<u32>,
    admin: AdminChoice,
    tls: Option<Encryption>,
    ws_over_h2: bool,
    /// Whether the demo page is served.
    page: bool,
}

impl Host {
    async fn run(self) -> anyhow::Result<()> {
        descriptors::check(self.max_connections.unwrap_or(0).into())?;
        // Taken before the store is opened: what already listens there may have the file open, too.
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(|error| explain_bind(self.command, "--listen", self.listen, error))?;
        let address = listener.local_addr()?;
        let admin = self.admin().await?;
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

        if let Some(operators) = &admin {
            operators.pages.set_hub(hub.clone(), self.store.to_string());
        }
        greet(&Greeting {
            host: &self,
            address,
            admin: admin.as_ref().map(|it| it.address),
        });
        let mut server = Server::new(hub).extended_connect(self.ws_over_h2);
        if let Some(max) = self.max_connections {
            server = server.max_connections(usize::try_from(max)?);
        }
        // What is kept of it is the file that clients are told of.
        let mut own = None;
        if let Some(encryption) = self.tls {
            server = server.tls(encryption.tls);
            own = encryption.own;
        }
        if self.page {
            server = server.pages(pages);
        }
        server.serve(listener, interrupted).await;
        store
            .close()
            .await
            .context("the store did not close in order")?;
        drop((admin, own));
        tracing::info!("ended");
        Ok(())
    }

    /// Starts the pages for operators, which say that the hub is not ready until it is.
    async fn admin(&self) -> anyhow::Result<Option<Operators>> {
        let AdminChoice::At(address) = self.admin else {
            return Ok(None);
        };
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| explain_bind(self.command, "--admin", address, error))?;
        let address = listener.local_addr()?;
        let access = if address.ip().is_loopback() {
            Access::Loopback
        } else {
            Access::SameHost
        };
        let pages = Admin::new(env!("CARGO_PKG_VERSION"), access);
        let mut serving = JoinSet::new();
        serving.spawn(pages.clone().serve(listener));
        Ok(Some(Operators {
            pages,
            address,
            _serving: serving,
        }))
    }
}

/// The admin listener, until this is dropped.
struct Operators {
    pages: Admin,
    address: SocketAddr,
    _serving: JoinSet<()>,
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

fn explain_bind(
    command: &str,
    option: &str,
    address: SocketAddr,
    error: io::Error,
) -> anyhow::Error {
    let port = address.port();
    let ip = address.ip();
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is in use, perhaps by another hub; stop that, choose another port, or let \
             the system choose one: tidegate {command} {option} {}{}",
            SocketAddr::new(ip, 0),
            if option == "--admin" {
                " (or --admin off: no /metrics, /status, /livez and /readyz)"
            } else {
                ""
            }
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {port} needs privileges; choose one from 1024 on: tidegate {command} {option} {}",
            SocketAddr::new(ip, if option == "--admin" { 9090 } else { 8080 })
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
    admin: Option<SocketAddr>,
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            address,
            admin,
        } = self;
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
        if let Some(admin) = admin {
            writeln!(
                f,
                "Admin: http://{admin}/status (and /metrics, /livez, /readyz)"
            )?;
        }
        let own = host.tls.as_ref().and_then(|it| it.own.as_ref());
        let mut curl = "curl".to_owned();
        let mut ca = String::new();
        if let Some(certificate) = own {
            let path = certificate.path().display();
            writeln!(f, "Certificate: {path}")?;
            writeln!(f, "SHA-256: {}", certificate.fingerprint())?;
            curl = format!("curl --cacert '{path}'");
            ca = format!(" --ca '{path}'");
        }
        if host.page || own.is_some() {
            writeln!(f)?;
            writeln!(f, "# watch a topic, publish to it")?;
            writeln!(f, "{curl} -N '{scheme}://{address}/events?topic=demo'")?;
            writeln!(
                f,
                "{curl} -d 'hello' '{scheme}://{address}/events?topic=demo'"
            )?;
            writeln!(f)?;
        }
        if host.page {
            writeln!(
                f,
                "# publish what a program prints, follow it over WebSocket"
            )?;
            writeln!(
                f,
                "tail -f /var/log/dpkg.log | tidegate publish logs --url {scheme}://{address}{ca}"
            )?;
            writeln!(
                f,
                "tidegate subscribe logs --ws --url {scheme}://{address}{ca}"
            )?;
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
