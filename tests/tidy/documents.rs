//! Rules on the documents: every file that they name exists, every relative link leads somewhere.

use crate::files::File;
use crate::{Finding, found, hold};

/// The documents whose backticks are promises about the layout.
const MAPS: [&str; 2] = ["ARCHITECTURE.md", "README.md"];

fn named_files(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for map in files.iter().filter(|file| MAPS.contains(&file.path.as_str())) {
        for (number, line) in prose(map) {
            for name in line.split('`').skip(1).step_by(2) {
                if looks_like_a_path(name, files) && !exists(name, files) {
                    let what = format!("`{name}` is not in the repository: name the file as it is now");
                    findings.push(Finding::new(map, number, what));
                }
            }
        }
    }
    findings
}

/// The lines outside fenced blocks, which hold commands, output and drawings.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    file.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// A source file by its ending, or something below a folder of the root. Routes, media types and ids are neither.
fn looks_like_a_path(name: &str, files: &[File]) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if !name.chars().all(plain) || name.starts_with(['/', '-']) || name.contains("//") {
        return false;
    }
    if made_by_tools(name) {
        return false;
    }
    let endings = [".rs", ".md", ".toml", ".sql", ".sh", ".yaml", ".yml"];
    let file = endings.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending));
    let below_root = name.split_once('/').is_some_and(|(top, _)| {
        files.iter().any(|file| file.path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')))
    });
    file || below_root
}

fn made_by_tools(name: &str) -> bool {
    name.starts_with("target/") || name.starts_with(".tools/")
}

/// A file or folder of that path, or of that ending: `store/grants.rs` may stand for the file in its package.
fn exists(name: &str, files: &[File]) -> bool {
    let name = name.trim_start_matches("./").trim_end_matches('/');
    let inside = format!("/{name}");
    let folder = format!("{name}/");
    let inner_folder = format!("/{name}/");
    files.iter().any(|file| {
        file.path == name
            || file.path.ends_with(&inside)
            || file.path.starts_with(&folder)
            || file.path.contains(&inner_folder)
    })
}

fn broken_links(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for document in files.iter().filter(|file| file.is_markdown()) {
        for (number, line) in prose(document) {
            for target in links(line) {
                let path = target.split(['#', '?']).next().unwrap_or_default();
                let elsewhere = path.contains(':') || path.is_empty();
                if !elsewhere && !leads_somewhere(&document.path, path, files) {
                    let what =
                        format!("the link to `{target}` leads nowhere: it is relative to the folder of this document");
                    findings.push(Finding::new(document, number, what));
                }
            }
        }
    }
    findings
}

/// The targets of `[text](target)` in a line. What stands in backticks is no link, though it may be the text of one.
fn links(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for text in line.split('`').step_by(2) {
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            found.push(target.trim_start_matches('<').trim_end_matches('>'));
        }
    }
    found
}

fn leads_somewhere(document: &str, target: &str, files: &[File]) -> bool {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." | "" => {}
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            other => parts.push(other),
        }
    }
    let path = parts.join("/");
    let folder = format!("{path}/");
    path.is_empty() || files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
}

#[test]
fn documents_name_files_that_exist() {
    hold(named_files);
}

#[test]
fn links_lead_somewhere() {
    hold(broken_links);
}

#[test]
fn planted_names_of_missing_files_are_found() {
    let text = "`filter/src/gone.rs` `gone.rs` `filter/gone/`\n\
                `filter/src/host.rs` `src/host.rs` `host.rs` `filter/` `filter`\n\
                `application/problem+json` `/v1/grants` `account/acc-42` `cargo dev test` `target/wasm/x.wasm`\n\
                ```\n`gone.rs`\n```\n";
    let planted = [("ARCHITECTURE.md", text), ("filter/src/host.rs", ""), ("OTHER.md", "`gone.rs`")];
    assert_eq!(found(named_files, &planted), ["ARCHITECTURE.md:1"; 3]);
}

#[test]
fn planted_broken_links_are_found() {
    let good =
        "[a](b.md) [a](b.md#there) [a](../README.md) [a](#here) [a](https://example.com/x) [`a`](b.md) [a](..)\n";
    let bad = "[a](gone.md)\n[`a`](../gone.md)\n[a](../../README.md)\n";
    let text = format!("{good}{bad}");
    let planted = [("docs/a.md", text.as_str()), ("docs/b.md", ""), ("README.md", "")];
    assert_eq!(found(broken_links, &planted), ["docs/a.md:2", "docs/a.md:3", "docs/a.md:4"]);
}
