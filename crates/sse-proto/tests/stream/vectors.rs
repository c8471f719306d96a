//! The conformance vectors, checked against Chromium and several independent parsers; and that the
//! program which runs them can find a mismatch.

use serde_json::{Value, json};

#[path = "../../examples/vectors/run/mod.rs"]
mod run;

const FILE: &str = include_str!("../vectors/sse_vectors.json");

#[test]
fn all_vectors_hold_in_any_chunking_where_they_are_streams() {
    let report = run::run(FILE).unwrap();
    assert_eq!(report.mismatches, [""; 0]);
    assert_eq!(report.counts, [175, 20, 38]);
}

/// Falsifies every expectation of the file, one at a time, and counts those that go unnoticed.
#[test]
fn each_expectation_is_really_checked() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let mut unnoticed = Vec::new();
    let mut falsified = 0;
    for section in ["vectors", "encoder_vectors", "client_vectors"] {
        for vector in file[section].as_array().unwrap() {
            // The byte-by-byte variants expect the same as the vectors they were made from.
            if vector["name"].as_str().unwrap().contains('@') {
                continue;
            }
            for (what, wrong) in falsifications(section, vector) {
                let mut one = json!({ "schema": "sse-vectors/1", "vectors": [],
                    "encoder_vectors": [], "client_vectors": [] });
                one[section] = json!([wrong]);
                falsified += 1;
                if run::run(&one.to_string()).unwrap().mismatches.len() != 1 {
                    unnoticed.push(format!("{}: {what}", vector["name"]));
                }
            }
        }
    }
    assert_eq!(unnoticed, [""; 0]);
    assert!(falsified > 300, "{falsified}");
}

fn falsifications(section: &str, vector: &Value) -> Vec<(String, Value)> {
    let mut wrong = Vec::new();
    let mut falsify = |what: &str, change: &dyn Fn(&mut Value)| {
        let mut changed = vector.clone();
        change(&mut changed);
        if changed != *vector {
            wrong.push((what.to_owned(), changed));
        }
    };
    match section {
        "vectors" => {
            falsify("last event ID", &|it| {
                it["expected_last_event_id"] = json!("wrong")
            });
            if vector["expected_retry"] != "any" {
                falsify("retry", &|it| it["expected_retry"] = json!(987_654));
            }
            falsify("one event more", &|it| {
                let more = json!({ "type": "message", "data": "wrong", "last_event_id": "" });
                it["expected_events"].as_array_mut().unwrap().push(more);
            });
            for field in ["type", "data", "last_event_id"] {
                falsify(field, &|it| {
                    if let Some(event) = it["expected_events"].get_mut(0) {
                        event[field] = json!("wrong");
                    }
                });
            }
        }
        "encoder_vectors" => {
            let other = if vector["expect"] == "ok" {
                "error"
            } else {
                "ok"
            };
            falsify("expect", &|it| it["expect"] = json!(other));
            falsify("data", &|it| {
                if let Some(event) = it.get_mut("parsed").and_then(|it| it.get_mut(0)) {
                    event["data"] = json!("wrong");
                }
            });
        }
        _ => {
            for (number, step) in vector["steps"].as_array().unwrap().iter().enumerate() {
                let Some(out) = step["out"].as_array() else {
                    continue;
                };
                for (at, words) in out.iter().enumerate() {
                    let words = words.as_str().unwrap();
                    let Some(lie) = lie(words) else { continue };
                    falsify(words, &|it| it["steps"][number]["out"][at] = json!(lie));
                }
                if out.is_empty() {
                    falsify("nothing", &|it| {
                        it["steps"][number]["out"] = json!(["error"])
                    });
                }
            }
        }
    }
    wrong
}

/// An expectation that cannot hold where `words` does.
fn lie(words: &str) -> Option<String> {
    Some(match words {
        "open" => "error fatal".into(),
        "error" | "error fatal" => "open".into(),
        "state=OPEN" | "state=CONNECTING" => "state=CLOSED".into(),
        "state=CLOSED" => "state=OPEN".into(),
        "no reconnect" | "cancel timer" => "connect".into(),
        "connect" => "connect{Last-Event-ID: wrong}".into(),
        "connect{accept:text/event-stream,no Last-Event-ID}" => {
            "connect{accept:text/html,no Last-Event-ID}".into()
        }
        "connect{no Last-Event-ID}" => "connect{Last-Event-ID: 7}".into(),
        _ if words.starts_with("connect{Last-Event-ID") => "connect{no Last-Event-ID}".into(),
        _ if words.starts_with("sleep ") => "sleep 98765ms".into(),
        _ if words.starts_with("message ") => "message wrong".into(),
        // Expectations that are one of a kind: without the words, there is nothing to vary.
        _ => return None,
    })
}
