//! Pages with a table that names everything of a kind there is: what both `codes` and `metrics` compare with the sources.

use std::collections::{BTreeMap, BTreeSet};

use crate::Finding;
use crate::files::File;

/// The rows of a section's tables: their lines, what stands in the first cell between `` ` ``, and the other cells.
pub(crate) fn rows<'f>(page: &'f File, title: &str) -> impl Iterator<Item = (usize, &'f str, &'f str)> {
    let inside = page.lines().skip_while(move |(_, line)| *line != title).skip(1);
    let section = inside.take_while(|(_, line)| !line.starts_with("## "));
    section.filter_map(|(number, line)| {
        let (name, rest) = line.strip_prefix("| `")?.split_once('`')?;
        Some((number, name, rest.trim_start_matches([' ', '|'])))
    })
}

/// What is written in the sources and not listed in the section, and the other way round. `kind` says what it is.
pub(crate) fn compare<'f>(
    page: &'f File,
    title: &str,
    kind: &str,
    listed: &BTreeMap<String, usize>,
    written: impl IntoIterator<Item = (&'f File, usize, String)>,
) -> Vec<Finding> {
    let (mut findings, mut there) = (Vec::new(), BTreeSet::new());
    for (file, line, name) in written {
        if !listed.contains_key(&name) {
            let what = format!("the {kind} `{name}` is not in {}: add a line there, under `{title}`", page.path);
            findings.push(Finding::new(file, line, what));
        }
        there.insert(name);
    }
    let gone = listed.iter().filter(|(name, _)| !there.contains(*name));
    findings.extend(gone.map(|(name, line)| {
        Finding::new(page, *line, format!("no source has the {kind} `{name}`: take the line away"))
    }));
    findings
}
