//! `tidegate serve` with a certificate, met by curl over HTTP/2 and HTTP/1.1.

use std::path::Path;
use std::process::Command;

use testkit::{Tool, tool};

use crate::browser::Browser;
use crate::hub::{Hub, curl, free_address, tidegate};
use crate::program::{Program, run};
use crate::quick_start::code;

#[test]
fn a_hub_with_a_certificate_speaks_both_protocols() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());

    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "memory",
        "--drain",
        "0",
        "--tls-cert",
        cert,
        "--tls-key",
        key,
    ];
    let mut hub = Program::start(tidegate(&arguments));
    let greeting = hub.line();
    let port = greeting
        .strip_prefix("Tidegate is up: https://127.0.0.1:")
        .and_then(|rest| rest.strip_suffix('/'))
        .unwrap_or_else(|| panic!("{greeting}"));
    let url = format!("https://localhost:{port}/events?topic=demo");
    let trusting = || {
        let mut command = curl(&["--cacert", cert, "--resolve"]);
        command.arg(format!("localhost:{port}:127.0.0.1"));
        command
    };
    for (version, expected) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200")] {
        let mut subscribing = trusting();
        subscribing.args([version, "-N", "-D", "-", &url]);
        let subscriber = Program::start(subscribing);
        let status = subscriber.line();
        assert!(status.starts_with(expected), "{status}");
        while subscriber.line() != "event: $ready" {}
        let mut publishing = trusting();
        publishing.args([version, "-d", version, &url]);
        let published = run(publishing);
        assert!(
            published.stdout.contains("\"duplicate\":false"),
            "{}",
            published.stdout
        );
        while subscriber.line() != format!("data: {version}") {}
    }
    for version in [&["--ws"][..], &["--http2", "--streams", "7"], &[]] {
        let url = format!("https://localhost:{port}");
        let bench = ["bench", "--json", "--url", &url, "--ca", cert];
        let crowd = ["--connections", "20", "--messages", "50", "--window", "8"];
        // As long as a busy machine may take.
        let time = ["--seconds", "60", "--patience", "60"];
        let finished = run(tidegate(&[&bench[..], &crowd, &time, version].concat()));
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        let report: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
        assert_eq!(
            (&report["tls"], &report["deliveries"]),
            (&true.into(), &1000.into())
        );
    }
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let stranger = folder.path().join("stranger.pem");
    std::fs::write(&stranger, other.cert.pem()).unwrap();
    let url = format!("https://localhost:{port}");
    let bench = ["bench", "--url", &url, "--ca", stranger.to_str().unwrap()];
    let refused = run(tidegate(&bench));
    assert!(
        refused.stderr.contains("--ca names the certificates"),
        "{}",
        refused.stderr
    );

    hub.signal("TERM");
    assert!(hub.wait().0.success());
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = folder.path().join("nothing.pem");
    std::fs::write(&nothing, "").unwrap();
    let nothing = nothing.to_str().unwrap();
    for (cert, key, wanted) in [
        (nothing, nothing, "certificate chain"),
        ("missing.pem", nothing, "cannot read missing.pem"),
    ] {
        let arguments = [
            "serve",
            "--store",
            "memory",
            "--tls-cert",
            cert,
            "--tls-key",
            key,
        ];
        let output = tidegate(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(wanted), "{said}");
    }
    let output = tidegate(&["serve", "--tls-cert", nothing])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("--tls-key"));
}

/// A hub with a certificate of its own, and the lines that it printed.
fn own_certificate(arguments: &[&str]) -> (Program, Vec<String>) {
    let always = ["--listen", "127.0.0.1:0", "--store", "memory", "--tls"];
    let hub = Program::start(tidegate(&[arguments, &always].concat()));
    let mut greeting = vec![hub.line()];
    while greeting.last().is_some_and(|it| it != "Ctrl-C ends it.") {
        greeting.push(hub.line());
    }
    (hub, greeting)
}

fn after<'g>(greeting: &'g [String], prefix: &str) -> &'g str {
    let mut found = greeting.iter().filter_map(|it| it.strip_prefix(prefix));
    found
        .next()
        .unwrap_or_else(|| panic!("no {prefix} in {greeting:?}"))
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("exec {line}")])
        .env("no_proxy", "*");
    command
}

#[test]
fn a_hub_makes_its_own_certificate_and_prints_what_curl_needs_to_trust_it() {
    for arguments in [&["dev"][..], &["serve", "--drain", "0"]] {
        let (mut hub, greeting) = own_certificate(arguments);
        let lines: Vec<_> = greeting
            .iter()
            .filter(|it| it.starts_with("curl "))
            .collect();
        let [follow, publish] = lines[..] else {
            panic!("{greeting:?}");
        };
        for (version, expected) in [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200")] {
            let curl = |line: &str| line.replacen("curl ", &format!("curl -sS {version} "), 1);
            let subscriber = Program::start(shell(&format!("{} -D -", curl(follow))));
            let status = subscriber.line();
            assert!(status.starts_with(expected), "{status}");
            while subscriber.line() != "event: $ready" {}
            let published = run(shell(&curl(publish)));
            assert!(
                published.stdout.contains("\"duplicate\":false"),
                "{}",
                published.stderr
            );
            while subscriber.line() != "data: hello" {}
        }
        let path = after(&greeting, "Certificate: ").to_owned();
        let mut python = Command::new(tool(Tool::Python));
        let script = "import hashlib, ssl, sys\n\
            der = ssl.PEM_cert_to_DER_cert(open(sys.argv[1]).read())\n\
            print(hashlib.sha256(der).hexdigest())";
        python.args(["-c", script, &path]);
        let digest = after(&greeting, "SHA-256: ")
            .replace(':', "")
            .to_lowercase();
        assert_eq!(run(python).stdout.trim(), digest);
        // Without it, nobody trusts the hub.
        let address = after(&greeting, "Tidegate is up: ");
        assert_eq!(run(curl(&[address])).code, Some(60));
        hub.signal("TERM");
        assert!(hub.wait().0.success());
        assert!(!Path::new(&path).exists());
    }
}

#[test]
fn the_page_on_tls() {
    let [dev, serve, clients] = code(include_str!("../../../../docs/tls.md"), "sh")[..] else {
        panic!("three blocks");
    };
    let words = |line: &str| {
        let words = line.split_whitespace().skip(1);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let listening = |line: &str, folder: &Path| {
        let words: Vec<_> = words(&line.replace("0.0.0.0:443", "127.0.0.1:0"));
        let mut command = tidegate(&words.iter().map(String::as_str).collect::<Vec<_>>());
        command
            .current_dir(folder)
            .env("TIDEGATE_ADMIN", "127.0.0.1:0");
        command
    };
    let folder = tempfile::tempdir().unwrap();
    let mut trial = listening(dev.trim_end(), folder.path());
    trial.env("TIDEGATE_LISTEN", "127.0.0.1:0");
    assert!(Program::start(trial).line().contains("https://"));

    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = made.cert.pem();
    for name in ["fullchain.pem", "our-ca.pem"] {
        std::fs::write(folder.path().join(name), &certificate).unwrap();
    }
    let key = made.signing_key.serialize_pem();
    std::fs::write(folder.path().join("privkey.pem"), key).unwrap();
    let hub = Hub::run(listening(serve.trim_end(), folder.path()));
    let [subscribe, publish] = clients.lines().collect::<Vec<_>>()[..] else {
        panic!("two clients");
    };
    let client = |line: &str| {
        let line = line.replace("hub.example", hub.address());
        listening(&line.replace("hub.internal", hub.address()), folder.path())
    };
    let mut subscribing = client(subscribe);
    subscribing
        .env("SSL_CERT_FILE", "our-ca.pem")
        .env("TIDEGATE_AFTER", "earliest");
    let subscriber = Program::start(subscribing);
    let published = run(client(publish));
    assert_eq!(published.code, Some(0), "{}", published.stderr);
    assert_eq!(subscriber.line(), "hello");
}

#[test]
fn our_subscribers_and_publisher_resume_over_tls_when_the_hub_is_killed() {
    const LINES: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| folder.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (named("cert.pem"), named("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (address, store) = (free_address(), format!("sqlite:{}", named("events.db")));
    let start = || {
        let listening = ["serve", "--listen", &address, "--store", &store];
        let secure = ["--tls-cert", &cert, "--tls-key", &key];
        let hub = Program::start(tidegate(&[&listening[..], &secure].concat()));
        assert_eq!(hub.line(), format!("Tidegate is up: https://{address}/"));
        hub
    };
    let url = format!("https://{address}");
    let trusting = |arguments: &[&str]| {
        let hub = ["--url", &url, "--ca", &cert];
        tidegate(&[arguments, &hub].concat())
    };

    let mut hub = start();
    let subscribe = ["subscribe", "lines", "--after", "earliest"];
    let subscribers = [&[][..], &["--ws"]]
        .map(|transport| Program::start(trusting(&[&subscribe[..], transport].concat())));
    let mut publisher = Program::start(trusting(&["publish", "lines"]));
    for number in 0..LINES {
        publisher.write(&format!("line {number}\n"));
        if number == LINES / 2 {
            for subscriber in &subscribers {
                assert_eq!(subscriber.line(), "line 0");
            }
            hub.kill();
            hub = start();
        }
    }
    publisher.close_stdin();
    let (status, _) = publisher.wait();
    assert!(status.success(), "{status}: {}", publisher.stderr());
    for subscriber in &subscribers {
        for number in 1..LINES {
            assert_eq!(subscriber.line(), format!("line {number}"));
        }
    }
    // What the environment names stands for what the system trusts.
    let mut purge = tidegate(&["purge", "lines", "--url", &url]);
    purge.env("SSL_CERT_FILE", &cert);
    let purged = run(purge);
    assert_eq!(purged.code, Some(0), "{}", purged.stderr);
}

#[test]
fn a_hub_that_is_not_trusted_is_refused_with_what_to_do() {
    let (_hub, greeting) = own_certificate(&["dev"]);
    let url = after(&greeting, "Tidegate is up: ");
    for command in [
        &["subscribe", "a"][..],
        &["subscribe", "a", "--ws"],
        &["publish", "a", "--data", "x"],
        &["purge", "a"],
    ] {
        let refused = run(tidegate(&[command, &["--url", url]].concat()));
        assert_eq!(refused.code, Some(1), "{command:?}: {}", refused.stderr);
        let advice = "--ca FILE names the certificates to trust";
        assert!(refused.stderr.contains(advice), "{}", refused.stderr);

        let missing = ["--url", url, "--ca", "missing.pem"];
        let refused = run(tidegate(&[command, &missing].concat()));
        assert_eq!(refused.code, Some(1), "{command:?}: {}", refused.stderr);
        let said = "--ca missing.pem: No such file";
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}

#[test]
fn chromium_follows_a_topic_over_tls_on_both_transports() {
    let (_hub, greeting) = own_certificate(&["dev"]);
    let address = after(&greeting, "Tidegate is up: https://").trim_end_matches('/');
    let mut browser = Browser::start();
    browser.open(&format!("https://{address}/"));
    browser.evaluate(
        "(() => {
            window.got = []
            new EventSource('/events?topic=secret').onmessage = it => got.push('sse ' + it.data)
            const socket = new WebSocket(`wss://${location.host}/ws`, 'tidegate.v1+json')
            socket.onopen = () => socket.send('{\"type\":\"resume\",\"topics\":[\"secret\"]}')
            socket.onmessage = it => {
                const message = JSON.parse(it.data)
                if (message.type === 'event') got.push('ws ' + message.data)
            }
        })()",
    );
    // No event tells when both subscriptions have begun.
    browser.evaluate(
        "(async () => {
            while (!got.includes('sse x') || !got.includes('ws x')) {
                await fetch('/events?topic=secret', { method: 'POST', body: 'x' })
                await new Promise(done => setTimeout(done, 100))
            }
        })()",
    );
    let protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
    assert_eq!(browser.evaluate(protocol), "h2");
}

#[test]
fn a_certificate_of_its_own_is_for_loopback_only() {
    let arguments = ["serve", "--open", "--listen", "0.0.0.0:0", "--tls"];
    let refused = run(tidegate(&arguments));
    assert_eq!(refused.code, Some(1));
    for said in ["loopback", "--tls-cert"] {
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}
