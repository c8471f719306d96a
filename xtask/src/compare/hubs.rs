//! What is compared.

/// A server, and how the generator speaks to it.
pub(super) struct Hub {
    pub(super) name: &'static str,
    pub(super) groups: &'static str,
    pub(super) server: Server,
    pub(super) options: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Server {
    Ours,
    /// Ours, with a certificate.
    OursTls,
    DurableStreams,
    /// A program that was named on the command line.
    Given(&'static str),
    /// A server of `benches/compare`'s `hubs`.
    Compared(&'static str),
    Nchan,
    /// A script in `benches/compare/hubs`.
    Node(&'static str),
    UWebSockets,
    Pushpin,
}

/// What `SUB` and `PUB` stand for are the addresses for subscribing and publishing.
const PLAIN: &[&str] = &[
    "--hub",
    "nchan",
    "--subscribe-url",
    "http://SUB/sub/{topic}",
];
const PLAIN_WS: &[&str] = &[
    "--hub",
    "nchan",
    "--ws",
    "--subscribe-url",
    "http://SUB/sub/{topic}",
];

const PLAIN_H2: &[&str] = &[
    "--http2",
    "--hub",
    "nchan",
    "--subscribe-url",
    "http://SUB/sub/{topic}",
];

pub(super) const HUBS: [Hub; 21] = [
    hub("floor", "floor", Server::Compared("floor"), PLAIN),
    hub(
        "floor-batch",
        "floor",
        Server::Compared("floor-batch"),
        PLAIN,
    ),
    hub("tidegate SSE", "ours", Server::Ours, &[]),
    hub("tidegate WebSocket", "ours", Server::Ours, &["--ws"]),
    // `Expect` keeps a connection in hyper: what framework users get.
    hub(
        "tidegate SSE, in hyper",
        "ours",
        Server::Ours,
        &["--subscribe-header", "Expect: 100-continue"],
    ),
    hub("tidegate SSE, HTTP/2", "h2", Server::Ours, &["--http2"]),
    hub(
        "tidegate WebSocket, HTTP/2",
        "h2",
        Server::Ours,
        &["--http2", "--ws"],
    ),
    hub("tidegate SSE, TLS", "tls", Server::OursTls, &[]),
    hub(
        "axum SSE, HTTP/2",
        "h2",
        Server::Compared("axum-sse"),
        PLAIN_H2,
    ),
    hub(
        "durable-streams",
        "rust",
        Server::DurableStreams,
        &[
            "--subscribe-url",
            "http://SUB/v1/stream/{topic}?offset=now&live=sse",
            "--publish-url",
            "http://PUB/v1/stream/{topic}",
            "--create-url",
            "http://PUB/v1/stream/{topic}",
        ],
    ),
    hub("nchan SSE", "nchan replay", Server::Nchan, PLAIN),
    hub("nchan WebSocket", "nchan", Server::Nchan, PLAIN_WS),
    hub("axum SSE", "rust", Server::Compared("axum-sse"), PLAIN),
    hub(
        "axum WebSocket",
        "rust",
        Server::Compared("axum-ws"),
        PLAIN_WS,
    ),
    hub(
        "tokio-websockets",
        "rust",
        Server::Compared("tokio-websockets"),
        PLAIN_WS,
    ),
    hub(
        "fastwebsockets",
        "rust",
        Server::Compared("fastwebsockets"),
        PLAIN_WS,
    ),
    hub("uWebSockets", "rust", Server::UWebSockets, PLAIN_WS),
    hub("Pushpin", "node", Server::Pushpin, PLAIN),
    hub("better-sse", "node", Server::Node("better-sse.cjs"), PLAIN),
    hub("ws", "node", Server::Node("ws.cjs"), PLAIN_WS),
    hub(
        "socket.io",
        "node",
        Server::Node("socket.io.cjs"),
        &[
            "--hub",
            "nchan",
            "--ws",
            "--subscribe-url",
            "http://SUB/socket.io/?EIO=4&transport=websocket&topic={topic}",
            "--ws-send",
            "40",
        ],
    ),
];

const fn hub(
    name: &'static str,
    groups: &'static str,
    server: Server,
    options: &'static [&'static str],
) -> Hub {
    Hub {
        name,
        groups,
        server,
        options,
    }
}

impl Hub {
    /// One that was named on the command line. The program prints `listening PUBLISH SUBSCRIBE`, two
    /// addresses, and serves `POST /pub/TOPIC` at the first, WebSocket `/sub/TOPIC` at the second.
    pub(super) const fn given(name: &'static str, program: &'static str) -> Self {
        hub(name, "rust", Server::Given(program), PLAIN_WS)
    }
}

/// One worker, no log, room for the 10,000 messages of the replay rows.
pub(super) const NGINX: &str = "\
load_module MODULE;
user root;
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid DIR/nginx.pid;
error_log DIR/error.log crit;
events { worker_connections 19900; }
http {
  access_log off;
  tcp_nodelay on;
  keepalive_requests 100000000;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  nchan_shared_memory_size 512m;
  nchan_message_buffer_length 20000;
  server {
    listen 127.0.0.1:PORT backlog=4096;
    location ~ ^/pub/(.+)$ { nchan_publisher; nchan_channel_id $1; }
    location ~ ^/sub/(.+)$ {
      nchan_subscriber;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
    }
  }
}
";
