//! Documents that specify source files, and the hash that keeps the two together.
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
    ("docs/resume-protocol.md", "crates/push-server/src/form.rs"),
];

/// The findings for all documents.
pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut specified = Vec::new();
    for Source {
        path: document,
        text,
    } in documents(sources)
    {
        for (line, number) in text.lines().zip(1..) {
            let Some((source, hash)) = parse(line) else {
                continue;
            };
            specified.push((document.as_str(), source));
            let what = match hash_of(source, sources) {
                Some(present) if present == hash => continue,
                Some(_) => {
                    "has changed: say here what it does now, then `cargo xtask tidy --bless`"
                }
                None => "is not there",
            };
            findings.push(format!("{document}:{number}: {source} {what}"));
        }
    }
    for (document, source) in REQUIRED
        .iter()
        .filter(|required| !specified.contains(required))
    {
        findings.push(format!(
            "{document}: say <!-- source: {source} -->, then bless"
        ));
    }
    findings
}

/// The documents whose hashes are not the present ones, with the present ones.
pub(crate) fn bless(sources: &[Source]) -> Vec<(&str, String)> {
    let bless = |line: &str| {
        let (source, _) = parse(line)?;
        Some(format!(
            "<!-- source: {source} fnv1a64:{} -->",
            hash_of(source, sources)?
        ))
    };
    let mut blessed = Vec::new();
    for Source { path, text } in documents(sources) {
        let lines = text
            .split('\n')
            .map(|line| bless(line).unwrap_or_else(|| line.to_owned()));
        let new = lines.collect::<Vec<_>>().join("\n");
        if new != *text {
            blessed.push((path.as_str(), new));
        }
    }
    blessed
}

fn documents(sources: &[Source]) -> impl Iterator<Item = &Source> {
    sources
        .iter()
        .filter(|source| source.path.starts_with("docs/") && source.path.ends_with(".md"))
}

/// The source that a line names, and its hash, which is empty in a mark that nobody has blessed.
fn parse(line: &str) -> Option<(&str, &str)> {
    let said = line.strip_prefix("<!-- source: ")?.strip_suffix(" -->")?;
    Some(said.split_once(" fnv1a64:").unwrap_or((said, "")))
}

/// FNV-1a over the names and texts of a file, or of the Rust files in a folder.
fn hash_of(of: &str, sources: &[Source]) -> Option<String> {
    let folder = format!("{of}/");
    let mut hash = None;
    for Source { path, text } in sources {
        if path == of || path.starts_with(&folder) && path.ends_with(".rs") {
            let bytes = path.bytes().chain([0]).chain(text.bytes()).chain([0]);
            hash = Some(
                bytes.fold(hash.unwrap_or(0xcbf2_9ce4_8422_2325_u64), |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                }),
            );
        }
    }
    hash.map(|hash| format!("{hash:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: &str = "crates/session-proto/src/envelope/mod.rs";

    fn tree(document: &str, envelope: &str) -> Vec<Source> {
        let files = [
            ("crates/push-server/src/form.rs", "//! Form.\n"),
            (ENVELOPE, envelope),
            ("docs/resume-protocol.md", document),
        ];
        files
            .map(|(path, text)| Source {
                path: path.to_owned(),
                text: text.to_owned(),
            })
            .into()
    }

    #[test]
    fn a_blessed_document_passes_until_its_source_changes() {
        let document = REQUIRED.map(|(_, source)| format!("<!-- source: {source} -->\n"));
        let unblessed = tree(&document.concat(), "//! One.\n");
        assert_eq!(check(&unblessed).len(), 2);
        let (path, text) = bless(&unblessed).pop().unwrap();
        assert_eq!(path, "docs/resume-protocol.md");
        assert_eq!(check(&tree(&text, "//! One.\n")), [""; 0]);
        assert_eq!(bless(&tree(&text, "//! One.\n")), []);
        let [finding] = &check(&tree(&text, "//! Two.\n"))[..] else {
            panic!("one finding")
        };
        assert!(finding.contains("envelope has changed"), "{finding}");
    }

    #[test]
    fn a_mark_that_names_nothing_and_one_that_is_missing_are_found() {
        assert_eq!(
            check(&tree(
                "# Wire\n<!-- source: crates/gone.rs fnv1a64:0 -->\n",
                ""
            )),
            [
                "docs/resume-protocol.md:2: crates/gone.rs is not there",
                "docs/resume-protocol.md: say \
                 <!-- source: crates/session-proto/src/envelope -->, then bless",
                "docs/resume-protocol.md: say <!-- source: crates/push-server/src/form.rs -->, then bless",
            ]
        );
    }

    #[test]
    fn the_hash_is_fnv_1a_as_another_implementation_computes_it() {
        let sources = [Source {
            path: "a".to_owned(),
            text: "b".to_owned(),
        }];
        assert_eq!(hash_of("a", &sources).as_deref(), Some("ab40d7820d408076"));
    }
}
