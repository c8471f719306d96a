//! `tidegate serve` with a certificate, met by curl over HTTP/2 and HTTP/1.1.

use crate::hub::{curl, tidegate};
use crate::program::{Program, run};

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
        let finished = run(tidegate(&[&bench[..], &crowd, version].concat()));
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
