//! The query string of `/events`: `topic` (repeatable), `last_event_id`, `policy`, `format`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::http::problem::Problem;

/// The pairs of a query string, decoded as forms encode them: `+` is a space.
pub(crate) fn pairs(
    query: &str,
) -> impl Iterator<Item = Result<(Cow<'_, str>, Cow<'_, str>), Problem>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(|decoded| Cow::Owned(decoded.into_owned()))
        .map_err(|_| Problem::QueryInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Result<&[(&str, &str)], Problem>) {
        let got: Result<Vec<_>, _> = pairs(query).collect();
        let expected = expected.map(|pairs| {
            pairs
                .iter()
                .map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)))
                .collect::<Vec<_>>()
        });
        assert_eq!(got, expected, "{query}");
    }

    #[test]
    fn pairs_are_decoded_like_forms() {
        check("", Ok(&[]));
        check("topic=a&topic=b", Ok(&[("topic", "a"), ("topic", "b")]));
        check("topic=a%2Fb+c", Ok(&[("topic", "a/b c")]));
        check("&&topic&x==", Ok(&[("topic", ""), ("x", "=")]));
        check("topic=%C3%A9", Ok(&[("topic", "\u{e9}")]));
        check("topic=100%", Ok(&[("topic", "100%")]));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused_rather_than_replaced() {
        check("topic=%FF", Err(Problem::QueryInvalid));
    }
}
