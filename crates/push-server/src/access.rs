//! Which websites may talk to the hub: the `Host` and `Origin` checks.
//!
//! A hub on a developer's machine is reachable by every page that the developer's browser opens.
//! `Origin` tells such a page apart from our own (RFC 6454 section 7); `Host` defeats DNS
//! rebinding, where a foreign name is made to resolve to the loopback address.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

/// Which requests are let in, by their `Host` and `Origin` headers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Access {
    /// Only requests that name a loopback host (`localhost`, `127.0.0.0/8`, `[::1]`), and, where
    /// an `Origin` is sent, only from a page of that same host and port.
    #[default]
    Loopback,
    /// Any host; where an `Origin` is sent, it must be the requested host and port.
    SameHost,
    /// Any host; where an `Origin` is sent, it must be in this list (`https://app.example`),
    /// compared without regard to case.
    Origins(Vec<String>),
    /// Any host and any origin: every website may read and publish.
    Open,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    Host,
    Origin,
}

impl Access {
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if *self == Self::Open {
            return Ok(());
        }
        let host = single(headers, HOST).ok_or(Refusal::Host)?;
        if *self == Self::Loopback && !is_loopback(host) {
            return Err(Refusal::Host);
        }
        if !headers.contains_key(ORIGIN) {
            return Ok(());
        }
        let origin = single(headers, ORIGIN).ok_or(Refusal::Origin)?;
        let allowed = match self {
            Self::Origins(list) => list.iter().any(|each| each.eq_ignore_ascii_case(origin)),
            _ => authority(origin).is_some_and(|it| it.eq_ignore_ascii_case(host)),
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal::Origin)
        }
    }
}

/// The header's value, if it was sent exactly once and is plain text.
fn single(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn authority(origin: &str) -> Option<&str> {
    let rest = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))?;
    (!rest.is_empty()).then_some(rest)
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if port.is_empty() || port.starts_with(':') => name,
            _ => return false,
        },
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    // What most clients say comes first.
    name == "127.0.0.1"
        || name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(access: &Access, host: &[&str], origin: &[&str], expected: Result<(), Refusal>) {
        let mut headers = HeaderMap::new();
        for value in host {
            headers.append(HOST, value.parse().unwrap());
        }
        for value in origin {
            headers.append(ORIGIN, value.parse().unwrap());
        }
        assert_eq!(access.check(&headers), expected, "{host:?} {origin:?}");
    }

    #[test]
    fn loopback_refuses_foreign_names_and_foreign_pages() {
        let rule = Access::Loopback;
        for host in [
            "localhost:8080",
            "127.0.0.1:8080",
            "127.8.0.1",
            "[::1]:80",
            "LocalHost",
        ] {
            check(&rule, &[host], &[], Ok(()));
        }
        for host in [
            "evil.example:8080",
            "10.0.0.1:8080",
            "localhost.evil.example",
            "[::1]x",
            "",
        ] {
            check(&rule, &[host], &[], Err(Refusal::Host));
        }
        check(&rule, &[], &[], Err(Refusal::Host));
        check(&rule, &["localhost", "localhost"], &[], Err(Refusal::Host));
        let host = &["127.0.0.1:8080"][..];
        check(&rule, host, &["http://127.0.0.1:8080"], Ok(()));
        for origin in [
            "http://evil.example",
            "http://127.0.0.1:3000",
            "http://localhost:8080",
            "null",
            "http://",
            "",
        ] {
            check(&rule, host, &[origin], Err(Refusal::Origin));
        }
        let twice = ["http://127.0.0.1:8080", "http://127.0.0.1:8080"];
        check(&rule, host, &twice, Err(Refusal::Origin));
    }

    #[test]
    fn a_list_of_origins_is_taken_literally() {
        let rule = Access::Origins(vec!["https://app.example".to_owned()]);
        check(&rule, &["hub.example"], &["https://APP.example"], Ok(()));
        check(
            &rule,
            &["hub.example"],
            &["http://app.example"],
            Err(Refusal::Origin),
        );
        check(&rule, &["hub.example"], &[], Ok(()));
    }

    #[test]
    fn same_host_and_open_do_what_their_names_say() {
        check(
            &Access::SameHost,
            &["hub.example"],
            &["https://hub.example"],
            Ok(()),
        );
        check(
            &Access::SameHost,
            &["hub.example"],
            &["https://x.example"],
            Err(Refusal::Origin),
        );
        check(&Access::Open, &[], &["https://x.example"], Ok(()));
    }
}
