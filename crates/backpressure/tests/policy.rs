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
        let verdict = |policy: Policy| policy.with_max(max).judge(lag);
        let expected = |verdict| if over { verdict } else { Verdict::Keep };
        assert_eq!(
            verdict(Policy::replay()),
            expected(Verdict::Disconnect),
            "{lag:?}"
        );
        assert_eq!(
            verdict(Policy::drop_oldest()),
            expected(Verdict::Jump),
            "{lag:?}"
        );
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for policy in [Policy::replay(), Policy::drop_oldest()] {
        assert_eq!(policy.as_str().parse(), Ok(policy));
        assert_eq!(policy.to_string(), policy.as_str());
        assert_eq!(policy.max(), lag(100_000, 64 << 20));
    }
    assert_eq!(Policy::default().as_str(), "replay");
    assert_eq!(Policy::drop_oldest().as_str(), "drop-oldest");
    for name in ["", "Replay", "drop_oldest", "conflate"] {
        assert!(name.parse::<Policy>().is_err(), "{name:?}");
    }
}
