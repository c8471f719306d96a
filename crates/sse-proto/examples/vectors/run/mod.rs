//! The vectors against this crate. Also a module of the tests.

mod client;
mod encoder;
mod parser;

use serde_json::Value;

/// What a file of vectors came to.
#[derive(Debug)]
pub(crate) struct Report {
    /// How many parser, encoder and client vectors were run.
    pub(crate) counts: [usize; 3],
    /// One line each: the vector's name and what is wrong.
    pub(crate) mismatches: Vec<String>,
}

/// Runs all vectors of a file; an error if it is no such file.
pub(crate) fn run(text: &str) -> Result<Report, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let schema = text_of(&file, "schema")?;
    if schema != "sse-vectors/1" {
        return Err(format!(
            "the schema is {schema:?}, this is for sse-vectors/1"
        ));
    }
    type Check = fn(&Value) -> Result<(), String>;
    let sections: [(&str, Check); 3] = [
        ("vectors", parser::check),
        ("encoder_vectors", encoder::check),
        ("client_vectors", client::check),
    ];
    let mut report = Report {
        counts: [0; 3],
        mismatches: Vec::new(),
    };
    for ((section, check), count) in sections.into_iter().zip(&mut report.counts) {
        let vectors = list_of(&file, section)?;
        *count = vectors.len();
        for vector in vectors {
            if let Err(why) = check(vector) {
                let name = vector["name"].as_str().unwrap_or("(without a name)");
                report.mismatches.push(format!("{section} {name}: {why}"));
            }
        }
    }
    if report.counts == [0; 3] {
        return Err("there is no vector in it".to_owned());
    }
    Ok(report)
}

fn text_of<'v>(value: &'v Value, field: &str) -> Result<&'v str, String> {
    value[field]
        .as_str()
        .ok_or_else(|| format!("`{field}` is not a string"))
}

fn list_of<'v>(value: &'v Value, field: &str) -> Result<&'v Vec<Value>, String> {
    value[field]
        .as_array()
        .ok_or_else(|| format!("`{field}` is not a list"))
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: found {found:?}, expected {expected:?}"))
    }
}
