//! Policies.

use backpressure::{Lag, Policy, Verdict};

const fn lag(events: u64, bytes: u64) -> Lag {
    Lag { events, bytes }
}

#[test]
fn a_policy_judges_what_is_over_either_bound() {
    let max = lag(10, 1000);
    let cases = [
        (lag(0, 0), false),
        (lag(10, 1000), false),
        (lag(11, 0), true),
        (lag(0, 1001), true),
        (lag(u64::MAX, u64::MAX), true),
    ];
    for (lag, over) in cases {
        for (policy, beyond) in [
            (Policy::replay(), Verdict::Disconnect),
            (Policy::disconnect(), Verdict::Disconnect),
            (Policy::drop_oldest(), Verdict::Jump),
            (Policy::conflate(), Verdict::Keep),
        ] {
            let expected = if over { beyond } else { Verdict::Keep };
            assert_eq!(
                policy.with_max(max).judge(lag),
                expected,
                "{policy}, {lag:?}"
            );
        }
    }
}

#[test]
fn a_policy_judges_an_eviction() {
    for (policy, verdict) in [
        (Policy::replay(), Verdict::FallBack),
        (Policy::disconnect(), Verdict::Disconnect),
        (Policy::drop_oldest(), Verdict::Jump),
        (Policy::conflate(), Verdict::Jump),
    ] {
        assert_eq!(policy.judge_evicted(), verdict, "{policy}");
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for (policy, max) in [
        (Policy::replay(), Policy::DEFAULT_MAX),
        (Policy::disconnect(), Policy::DEFAULT_MAX),
        (Policy::drop_oldest(), Policy::DEFAULT_MAX),
        (Policy::conflate(), lag(1_000, 1 << 20)),
    ] {
        assert_eq!(policy.as_str().parse(), Ok(policy));
        assert_eq!(policy.to_string(), policy.as_str());
        assert_eq!(policy.max(), max);
        let other = lag(1, 2);
        assert_eq!(policy.with_max(other).max(), other);
        assert_eq!(policy.with_max(other).as_str(), policy.as_str());
    }
    assert_eq!(Policy::DEFAULT_MAX, lag(100_000, 64 << 20));
    assert_eq!(Policy::default().as_str(), "replay");
    assert_eq!(Policy::drop_oldest().as_str(), "drop-oldest");
    for name in ["", "Replay", "drop_oldest", "block"] {
        assert!(name.parse::<Policy>().is_err(), "{name:?}");
    }
}
