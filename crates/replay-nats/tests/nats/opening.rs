//! Opening: what is refused, and with which words.

use std::time::Duration;

use async_nats::Client;
use futures::StreamExt as _;
use replay_nats::{NatsConfig, NatsStore, OpenError};
use replay_store::{After, Append, Limit, ReplayStore as _, Selector, Topic};
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
async fn each_reason_why_it_does_not_open_has_advice_of_its_own() {
    const USER: &str = "user: \"u\", password: \"p\"";
    const STORE: &str = "jetstream { store_dir: \"FOLDER\", max_file_store: ";
    let wide = format!("{STORE} 16GB }}");
    let reasons = [
        (String::new(), "jetstream {}"),
        (
            format!("{wide}\naccounts {{ A: {{ users: [ {{ {USER} }} ] }} }}"),
            "for the account",
        ),
        (format!("{STORE} 1MB }}"), "max_file_store"),
        (
            format!(
                "{wide}\naccounts {{ A: {{ users: [ {{ {USER} }} ], \
                 jetstream: {{ max_file: 1MB }} }} }}"
            ),
            "max_file_store",
        ),
        (
            format!(
                "{wide}\nauthorization {{ users: [ {{ {USER}, \
                 permissions: {{ publish: [\"$JS.API.STREAM.INFO.>\"] }} }} ] }}"
            ),
            "Publish to \"$JS.API.STREAM.CREATE.TIDEGATE\"; it needs permission",
        ),
        (
            format!(
                "{wide}\nauthorization {{ users: [ {{ {USER}, \
                 permissions: {{ subscribe: [\"a\"] }} }} ] }}"
            ),
            "Subscription to \"_INBOX.",
        ),
        (
            format!("{wide}\nauthorization {{ user: \"u\", password: \"other\" }}"),
            "name and password",
        ),
    ];
    for (settings, advice) in reasons {
        let server = Server::with_settings(&settings);
        let config = NatsConfig {
            servers: format!("nats://u:p@127.0.0.1:{}", server.port()),
            // Some say nothing at all, which takes so long to find out.
            timeout: Duration::from_secs(6),
            ..NatsConfig::default()
        };
        let error = refused(config).await.to_string();
        assert!(error.contains(advice), "{settings}: {error}");
        for other in ["does it run", "max_file_store", "jetstream {}"] {
            let means = advice == other || (other == "jetstream {}" && advice == "for the account");
            assert_eq!(error.contains(other), means, "{settings}: {error}");
        }
    }

    let nowhere = NatsConfig {
        servers: "nats://127.0.0.1:1".to_owned(),
        ..NatsConfig::default()
    };
    let error = refused(nowhere).await.to_string();
    assert!(error.contains("does it run"), "{error}");
}

#[tokio::test]
async fn the_permissions_that_are_asked_for_suffice() {
    let server = Server::with_settings(
        "jetstream { store_dir: \"FOLDER\", max_file_store: 16GB }
         authorization { users: [ { user: \"u\", password: \"p\", permissions: {
           publish: [\"$JS.API.>\", \"TIDEGATE.>\"], subscribe: [\"_INBOX.>\"] } } ] }",
    );
    let url = format!("nats://u:p@127.0.0.1:{}", server.port());
    let store = open(NatsConfig::from_url(&url).expect("valid")).await;
    let mut hints = store.hints().expect("it gives hints");
    // With the first one, what they come from is there.
    hints.next().await.expect("a hint");
    let topic = Topic::new("t").expect("a topic");
    let appended = store
        .append(vec![Append::new(topic, "one")])
        .await
        .expect("it is appended");
    let page = store
        .read(&Selector::all(), After::Earliest, Limit::default())
        .await
        .expect("it is read");
    assert_eq!(page.events.len(), 1);
    let hint = hints.next().await.expect("another");
    assert_eq!(hint.events[0].position, appended[0].position);
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
    assert!(matches!(error, OpenError::Credentials { .. }), "{error}");
    let right = format!("nats://u:p%2540%3Aw@127.0.0.1:{}", server.port());
    drop(open(NatsConfig::from_url(&right).expect("valid")).await);
}
