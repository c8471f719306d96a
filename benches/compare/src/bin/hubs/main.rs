//! Hubs to measure ours against, through sockets: `hubs NAME` prints where it listens and serves until
//! it is ended. `cargo xtask bench compare` starts them; `/sub/TOPIC` subscribes, `POST /pub/TOPIC`
//! publishes.

mod floor;
mod peers;

const NAMES: &str = "floor floor-batch axum-sse axum-ws tokio-websockets fastwebsockets";

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let result = match name.as_str() {
        "floor" => floor::run(floor::Way::OneEach),
        "floor-batch" => floor::run(floor::Way::AllPending),
        "axum-sse" | "axum-ws" | "tokio-websockets" | "fastwebsockets" => peers::run(&name),
        _ => {
            eprintln!("usage: hubs NAME, one of {NAMES}");
            std::process::exit(2);
        }
    };
    if let Err(error) = result {
        eprintln!("hubs: {error}");
        std::process::exit(1);
    }
}
