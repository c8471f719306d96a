//! What a WebSocket close code means for reconnecting.

use core::time::Duration;

/// The close code of a hub whose client has no valid token: missing, or expired. To be answered
/// with a new token, not with the same one again.
pub const TOKEN_REQUIRED: u16 = 4401;

/// What a client does after its WebSocket was closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Connect again after a backoff.
    Reconnect,
    /// Connect again after a backoff, and not before this delay, which the server asked for.
    ReconnectAfter(Duration),
    /// Connecting again would end the same way.
    Stop,
}

/// Whether to connect again after a close frame with this code (RFC 6455, section 7.4) and reason.
/// `None`: there was no close frame, or no code in it.
///
/// Codes that blame the client, and a normal end, are final. Everything else is worth another
/// attempt, unknown codes included: missing events is worse than a vain reconnect. 1012 (service
/// restart) may carry the delay in milliseconds as its reason.
#[must_use]
pub fn classify_close(code: Option<u16>, reason: &str) -> Verdict {
    match code {
        Some(1000 | 1002 | 1003 | 1007..=1010 | TOKEN_REQUIRED) => Verdict::Stop,
        Some(1012) if reason.bytes().all(|byte| byte.is_ascii_digit()) => {
            let ms = reason.parse().ok();
            ms.map_or(Verdict::Reconnect, |ms| {
                Verdict::ReconnectAfter(Duration::from_millis(ms))
            })
        }
        _ => Verdict::Reconnect,
    }
}
