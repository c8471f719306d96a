//! The files of the repository, as Git knows them.

use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace::{Workspace, capture};

/// One text file.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every text file that is tracked, or new and not ignored.
pub(crate) fn read(workspace: &Workspace) -> Result<Vec<Source>> {
    let mut git = workspace.command("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let list = capture(&mut git).context("the rules are for the files that Git knows")?;
    let mut paths = list.split_terminator('\0').collect::<Vec<_>>();
    paths.sort_unstable();
    paths.dedup();
    let mut sources = Vec::new();
    for path in paths {
        let file = workspace.root.join(path);
        // One may be deleted and not yet committed so, or a link to a folder.
        if !file.is_file() {
            continue;
        }
        let bytes = fs::read(&file).with_context(|| format!("reading {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(sources)
}
