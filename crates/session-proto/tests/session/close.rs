//! One table of close codes.

use std::time::Duration;

use session_proto::{TOKEN_REQUIRED, Verdict, classify_close};

#[test]
fn each_close_code_says_whether_to_connect_again() {
    let after = |ms| Verdict::ReconnectAfter(Duration::from_millis(ms));
    let cases = [
        (None, "", Verdict::Reconnect),
        (Some(1000), "", Verdict::Stop),
        (Some(1001), "", Verdict::Reconnect),
        (Some(1002), "", Verdict::Stop),
        (Some(1003), "", Verdict::Stop),
        (Some(1005), "", Verdict::Reconnect),
        (Some(1006), "", Verdict::Reconnect),
        (Some(1007), "", Verdict::Stop),
        (Some(1008), "", Verdict::Stop),
        (Some(1009), "", Verdict::Stop),
        (Some(1010), "", Verdict::Stop),
        (Some(1011), "", Verdict::Reconnect),
        (Some(1012), "", Verdict::Reconnect),
        (Some(1012), "1500", after(1500)),
        (Some(1012), "0", after(0)),
        (Some(1012), "+5", Verdict::Reconnect),
        (Some(1012), "soon", Verdict::Reconnect),
        (Some(1012), "99999999999999999999", Verdict::Reconnect),
        (Some(1011), "1500", Verdict::Reconnect),
        (Some(1013), "", Verdict::Reconnect),
        (Some(1014), "", Verdict::Reconnect),
        (Some(1015), "", Verdict::Reconnect),
        (Some(TOKEN_REQUIRED), "", Verdict::Stop),
        (Some(4000), "", Verdict::Reconnect),
    ];
    for (code, reason, verdict) in cases {
        assert_eq!(classify_close(code, reason), verdict, "{code:?} {reason:?}");
    }
}
