//! Opening: what is refused, and with which words.

use async_nats::Client;
use replay_nats::{NatsConfig, NatsStore, OpenError};
use serde_json::{Value, json};

use crate::server::{Server, open};

async fn refused(config: NatsConfig) -> OpenError {
    match NatsStore::open(config, || 7).await {
        Ok(_) => panic!("it must be refused"),
        Err(error) => error,
    }
}

async fn ask(client: &Client, subject: &str, query: &Value) -> Value {
    let answer = client
        .request(subject.to_owned(), query.to_string().into())
        .await
        .expect("JetStream answers");
    serde_json::from_slice(&answer.payload).expect("JSON")
}

#[tokio::test]
async fn a_server_that_is_not_there_or_keeps_nothing_is_told() {
    let config = NatsConfig {
        servers: "nats://127.0.0.1:1".to_owned(),
        ..NatsConfig::default()
    };
    let error = refused(config).await;
    assert!(matches!(error, OpenError::Connect { .. }), "{error}");

    let plain = Server::without_jetstream();
    let error = refused(plain.config()).await;
    assert!(matches!(error, OpenError::JetStream { .. }), "{error}");
    assert!(error.to_string().contains("JetStream on"), "{error}");
}

#[tokio::test]
async fn a_stream_that_would_lose_events_is_refused_and_left_as_it_was() {
    let server = Server::start();
    drop(server.open().await);
    let client = async_nats::connect(server.config().servers)
        .await
        .expect("it connects");
    let made = ask(&client, "$JS.API.STREAM.INFO.TIDEGATE", &json!({})).await["config"].clone();
    for (number, (name, value)) in [
        ("max_msgs_per_subject", json!(3)),
        ("allow_rollup_hdrs", json!(true)),
        ("deny_delete", json!(false)),
        ("deny_purge", json!(false)),
        ("retention", json!("interest")),
        ("subjects", json!(["OTHER.>"])),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = format!("S{number}");
        let mut settings = made.clone();
        settings["name"] = json!(stream);
        settings["subjects"] = json!([format!("{stream}.epochs"), format!("{stream}.t.>")]);
        if name == "allow_rollup_hdrs" {
            settings["deny_purge"] = json!(false);
        }
        settings[name] = value.clone();
        let create = format!("$JS.API.STREAM.CREATE.{stream}");
        let created = ask(&client, &create, &settings).await;
        assert!(created.get("error").is_none(), "{created}");
        let error = refused(NatsConfig {
            stream: stream.clone(),
            ..server.config()
        })
        .await;
        assert!(matches!(error, OpenError::Unsafe { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("nats stream edit {stream}")),
            "{error}"
        );
        let info = format!("$JS.API.STREAM.INFO.{stream}");
        assert_eq!(ask(&client, &info, &json!({})).await["config"][name], value);
    }
    drop(open(server.config()).await);
}

#[tokio::test]
async fn a_stream_that_becomes_unsafe_is_read_no_more() {
    use replay_store::{After, Limit, ReplayStore as _, Selector};
    let server = Server::start();
    let store = server.open().await;
    let client = async_nats::connect(server.config().servers)
        .await
        .expect("it connects");
    let mut settings =
        ask(&client, "$JS.API.STREAM.INFO.TIDEGATE", &json!({})).await["config"].clone();
    settings["max_msgs_per_subject"] = json!(3);
    let edited = ask(&client, "$JS.API.STREAM.UPDATE.TIDEGATE", &settings).await;
    assert!(edited.get("error").is_none(), "{edited}");
    let read = store
        .read(&Selector::all(), After::Earliest, Limit::default())
        .await;
    let error = read.expect_err("it is unsafe now").to_string();
    assert!(error.contains("max_msgs_per_subject"), "{error}");
}

#[test]
fn a_url_names_servers_and_the_stream() {
    let config = NatsConfig::from_url("nats://u:p@a:1,b:2/EVENTS").expect("valid");
    assert_eq!(config.servers, "nats://u:p@a:1,b:2");
    assert_eq!(config.stream, "EVENTS");
    let config = NatsConfig::from_url("nats://a/").expect("valid");
    assert_eq!(
        (config.servers.as_str(), config.stream.as_str()),
        ("nats://a", "TIDEGATE")
    );
    for (url, said) in [
        ("tls://a", "TLS is not built in"),
        ("nats://", "a host is missing"),
        ("nats:///S", "a host is missing"),
        ("nats://a/b.c", "1 to 64 letters"),
        ("nats://a/b/c", "1 to 64 letters"),
    ] {
        let error = NatsConfig::from_url(url).expect_err(url).to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn name_and_password_of_the_url_are_used() {
    let server = Server::with_password("u", "p%40:w");
    let wrong = NatsConfig {
        servers: format!("nats://u:x@127.0.0.1:{}", server.port()),
        ..NatsConfig::default()
    };
    let error = refused(wrong).await;
    assert!(matches!(error, OpenError::Connect { .. }), "{error}");
    let right = format!("nats://u:p%2540%3Aw@127.0.0.1:{}", server.port());
    drop(open(NatsConfig::from_url(&right).expect("valid")).await);
}
