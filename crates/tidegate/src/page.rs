//! The demo page and the browser client, embedded.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

/// The files of `web/`, by the path they are served at.
const FILES: [(&str, &str, &str); 5] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("../web/index.html"),
    ),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_str!("../web/page.css"),
    ),
    (
        "/page.js",
        "text/javascript; charset=utf-8",
        include_str!("../web/page.js"),
    ),
    (
        "/client.js",
        "text/javascript; charset=utf-8",
        include_str!("../web/client.js"),
    ),
    (
        "/icon.svg",
        "image/svg+xml",
        include_str!("../web/icon.svg"),
    ),
];

/// Sent with every file. The page loads nothing from elsewhere, runs no inline code, and cannot
/// be framed. Not every browser takes `'self'` to cover the WebSocket of the same host, so that
/// is named too.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self' ws://localhost:* ws://127.0.0.1:*; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
];

/// The answer to a request for a file of the page; `None` if there is no such file.
pub(crate) fn answer(method: &Method, path: &str) -> Option<Response<Bytes>> {
    let (_, content_type, content) = *FILES.iter().find(|(at, ..)| *at == path)?;
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    if !matches!(*method, Method::GET | Method::HEAD) {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return Some(response);
    }
    headers.extend(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if *method == Method::GET {
        *response.body_mut() = Bytes::from_static(content.as_bytes());
    } else {
        headers.insert(header::CONTENT_LENGTH, content.len().into());
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_page_names_is_served() {
        let named = ["icon.svg", "page.css", "page.js"];
        let (.., page) = FILES[0];
        for name in named {
            assert!(page.contains(&format!("\"{name}\"")), "{name} is not used");
            let response = answer(&Method::GET, &format!("/{name}")).unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert!(!response.body().is_empty());
        }
        assert!(answer(&Method::GET, "/client.js").is_some());
        assert!(answer(&Method::GET, "/events").is_none());
    }

    #[test]
    fn head_has_the_headers_of_get_and_no_body() {
        let head = answer(&Method::HEAD, "/").unwrap();
        let get = answer(&Method::GET, "/").unwrap();
        assert!(head.body().is_empty());
        assert_eq!(
            head.headers()[header::CONTENT_LENGTH],
            get.body().len().to_string()
        );
        assert_eq!(
            head.headers()[header::CONTENT_TYPE],
            get.headers()[header::CONTENT_TYPE]
        );
    }

    #[test]
    fn another_method_is_refused_with_what_is_allowed() {
        let response = answer(&Method::POST, "/").unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
    }
}
