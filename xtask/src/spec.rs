//! Documents that describe source files word for word, and the hash that keeps the two together.
//!
//! A document says `<!-- source: PATH fnv1a64:HEX -->` for each file or folder that it specifies.
//! A change of that source fails `tidy` until somebody has read the document again and blessed it.

use crate::sources::Source;

/// What must be specified, and where.
const REQUIRED: [(&str, &str); 2] = [
    (
        "docs/resume-protocol.md",
        "crates/session-proto/src/envelope",
    ),
    ("docs/resume-protocol.md", "crates/push-server/src/sse.rs"),
];

/// The findings for all documents.
pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, line, said) in marks(sources) {
        let Some((of, hash)) = said else {
            findings.push(format!(
                "{path}:{line}: write <!-- source: PATH fnv1a64:HEX -->"
            ));
            continue;
        };
        match hash_of(of, sources) {
            None => findings.push(format!("{path}:{line}: there is no source {of}")),
            Some(is) if is != hash => findings.push(format!(
                "{path}:{line}: {of} has changed: make {path} say what it does now, \
                 then run `cargo xtask tidy --bless`"
            )),
            Some(_) => {}
        }
    }
    for (document, of) in REQUIRED {
        let mut said = marks(sources).filter_map(|(path, _, said)| Some((path, said?.0)));
        if !said.any(|mark| mark == (document, of)) {
            findings.push(format!(
                "{document}: it must specify <!-- source: {of} fnv1a64:HEX -->"
            ));
        }
    }
    findings
}

/// The documents whose hashes are not the present ones, with the present ones.
pub(crate) fn bless(sources: &[Source]) -> Vec<(&str, String)> {
    let documents = sources.iter().filter(|source| is_document(source));
    let blessed = documents.filter_map(|source| {
        let line = |line: &str| match parse(line) {
            Some(Some((of, hash))) => {
                hash_of(of, sources).map_or_else(|| line.to_owned(), |is| line.replace(hash, &is))
            }
            _ => line.to_owned(),
        };
        let text = source
            .text
            .split('\n')
            .map(line)
            .collect::<Vec<_>>()
            .join("\n");
        (text != source.text).then_some((source.path.as_str(), text))
    });
    blessed.collect()
}

type Mark<'a> = Option<(&'a str, &'a str)>;

fn marks(sources: &[Source]) -> impl Iterator<Item = (&str, usize, Mark<'_>)> {
    sources
        .iter()
        .filter(|source| is_document(source))
        .flat_map(|source| {
            let lines = source.text.lines().zip(1..);
            lines.filter_map(|(line, number)| Some((source.path.as_str(), number, parse(line)?)))
        })
}

fn is_document(source: &Source) -> bool {
    source.path.starts_with("docs/") && source.path.ends_with(".md")
}

/// `None`: no mark. `Some(None)`: a broken one.
fn parse(line: &str) -> Option<Mark<'_>> {
    let rest = line.trim().strip_prefix("<!-- source:")?;
    let inner = rest.strip_suffix("-->").map(str::trim);
    Some(inner.and_then(|inner| inner.split_once(" fnv1a64:")))
}

/// FNV-1a over the names and texts of a file, or of the Rust files in a folder.
fn hash_of(of: &str, sources: &[Source]) -> Option<String> {
    let folder = format!("{of}/");
    let within = |path: &str| path.starts_with(&folder) && path.ends_with(".rs");
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut found = false;
    for Source { path, text } in sources.iter().filter(|s| s.path == of || within(&s.path)) {
        found = true;
        for byte in path.bytes().chain([0]).chain(text.bytes()).chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    found.then(|| format!("{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(document: &str, envelope: &str) -> Vec<Source> {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        vec![
            source("crates/push-server/src/sse.rs", "//! Sse.\n"),
            source("crates/session-proto/src/envelope/mod.rs", envelope),
            source("docs/resume-protocol.md", document),
        ]
    }

    const DOCUMENT: &str = "# Wire\n\
        <!-- source: crates/session-proto/src/envelope fnv1a64:0 -->\n\
        <!-- source: crates/push-server/src/sse.rs fnv1a64:0 -->\n";

    #[test]
    fn a_blessed_document_passes_until_its_source_changes() {
        let unblessed = tree(DOCUMENT, "//! One.\n");
        assert_eq!(check(&unblessed).len(), 2);
        let (path, text) = bless(&unblessed).pop().unwrap();
        assert_eq!(path, "docs/resume-protocol.md");
        assert_eq!(check(&tree(&text, "//! One.\n")), [""; 0]);
        assert_eq!(bless(&tree(&text, "//! One.\n")), []);
        assert_eq!(
            check(&tree(&text, "//! Two.\n")),
            [
                "docs/resume-protocol.md:2: crates/session-proto/src/envelope has changed: make \
              docs/resume-protocol.md say what it does now, then run `cargo xtask tidy --bless`"
            ]
        );
    }

    #[test]
    fn a_mark_that_is_broken_missing_or_names_nothing_is_found() {
        let document = "<!-- source: crates/push-server/src/sse.rs -->\n\
            <!-- source: crates/gone.rs fnv1a64:0 -->\n";
        assert_eq!(
            check(&tree(document, "")),
            [
                "docs/resume-protocol.md:1: write <!-- source: PATH fnv1a64:HEX -->",
                "docs/resume-protocol.md:2: there is no source crates/gone.rs",
                "docs/resume-protocol.md: it must specify \
                 <!-- source: crates/session-proto/src/envelope fnv1a64:HEX -->",
                "docs/resume-protocol.md: it must specify \
                 <!-- source: crates/push-server/src/sse.rs fnv1a64:HEX -->",
            ]
        );
    }

    #[test]
    fn the_hash_is_the_published_fnv_1a() {
        // Over "a", NUL, "b", NUL; by the reference algorithm in another language.
        let sources = [Source {
            path: "a".to_owned(),
            text: "b".to_owned(),
        }];
        assert_eq!(hash_of("a", &sources).as_deref(), Some("ab40d7820d408076"));
    }
}
