//! Rules on single source files: their length, their head, and what must not be left in them.

use crate::files::{File, has_word};
use crate::{Finding, found, hold};

const MOST_LINES: usize = 800;

/// This test spells out what it looks for.
const OWN: &str = "tests/tidy/";

/// The one place where the harness pauses between two looks at a condition.
const PAUSE: &str = "tests/src/wait.rs";

fn too_long(files: &[File]) -> Vec<Finding> {
    let long = files.iter().filter(|file| file.is_rust() && file.lines().count() > MOST_LINES);
    long.map(|file| {
        let lines = file.lines().count();
        let what = format!("{lines} lines, {MOST_LINES} is the most: find out what it is two of");
        Finding::new(file, lines, what)
    })
    .collect()
}

fn mod_files(files: &[File]) -> Vec<Finding> {
    let named = |file: &&File| file.path == "mod.rs" || file.path.ends_with("/mod.rs");
    let found = files.iter().filter(named);
    found.map(|file| Finding::new(file, 1, "name it like its folder: `foo.rs` beside `foo/`")).collect()
}

/// What is unfinished, skipped or timed.
fn unfinished(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let kinds = [".rs", ".md", ".sh", ".sql", ".toml", ".yaml", ".yml", ".js", ".html", ".css"];
    let looked_at = |file: &&File| kinds.iter().any(|kind| file.path.ends_with(kind)) && !file.path.starts_with(OWN);
    for file in files.iter().filter(looked_at) {
        for (number, line) in file.lines() {
            for word in ["TODO", "FIXME", "XXX"] {
                if has_word(line, word) {
                    let what = format!("`{word}`: do it now, or say in the documents that it is not there");
                    findings.push(Finding::new(file, number, what));
                }
            }
            if !file.is_rust() {
                continue;
            }
            for (text, fix) in [
                ("todo!", "write it, or leave the function out"),
                ("unimplemented!", "write it, or leave the function out"),
                ("#[ignore", "make the test run, or remove it"),
                ("thread::sleep", "wait for the condition, with a deadline"),
            ] {
                if line.contains(text) {
                    findings.push(Finding::new(file, number, format!("`{text}`: {fix}")));
                }
            }
            if sleeps(line) && file.path != PAUSE {
                let fix = "wait for the condition; what runs on a period uses `interval` or `sleep_until`";
                findings.push(Finding::new(file, number, format!("`tokio::time::sleep`: {fix}")));
            }
        }
    }
    findings
}

/// `tokio::time::sleep`, called or imported; `sleep_until` is another word.
fn sleeps(line: &str) -> bool {
    let imported = line.trim_start().starts_with("use tokio::time::") && has_word(line, "sleep");
    let called = line.split("time::sleep").skip(1).any(|rest| !rest.starts_with('_'));
    imported || called
}

fn heads(files: &[File]) -> Vec<Finding> {
    let root = |file: &&File| {
        file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs") || file.path.contains("src/bin/")
    };
    let missing = files.iter().filter(root).filter(|file| file.is_rust() && !file.text.starts_with("//!"));
    missing
        .map(|file| Finding::new(file, 1, "begin with `//!`: what this crate promises, and a drawing where it helps"))
        .collect()
}

fn banners(files: &[File]) -> Vec<Finding> {
    let source = |file: &&File| {
        [".rs", ".sh", ".sql", ".toml", ".yaml", ".js", ".css", ".html"].iter().any(|kind| file.path.ends_with(kind))
            && !file.path.starts_with(OWN)
    };
    let mut findings = Vec::new();
    for file in files.iter().filter(source) {
        let head = file.lines().take(10);
        let banner = head.filter(|(_, line)| {
            ["SPDX-License-Identifier", "Copyright", "Licensed under"].iter().any(|mark| line.contains(mark))
        });
        findings.extend(
            banner.map(|(number, _)| {
                Finding::new(file, number, "remove the licence banner: LICENSE speaks for all files")
            }),
        );
    }
    findings
}

fn machine_paths(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.path.starts_with(OWN)) {
        for (number, line) in file.lines() {
            for path in ["/root/", "/home/", "/Users/"] {
                if starts_a_path(line, path) {
                    let what = format!(
                        "`{path}` is a path of one machine: use one relative to the checkout, or a temporary folder"
                    );
                    findings.push(Finding::new(file, number, what));
                }
            }
        }
    }
    findings
}

/// `/home/` as the beginning of a path, not inside `a/home/b`.
fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}~*".contains(c))
    })
}

#[test]
fn files_are_short() {
    hold(too_long);
}

#[test]
fn modules_are_named_like_their_folder() {
    hold(mod_files);
}

#[test]
fn nothing_is_unfinished_skipped_or_timed() {
    hold(unfinished);
}

#[test]
fn crates_begin_with_their_promise() {
    hold(heads);
}

#[test]
fn no_licence_banners() {
    hold(banners);
}

#[test]
fn no_paths_of_one_machine() {
    hold(machine_paths);
}

#[test]
fn planted_long_files_and_mod_files_are_found() {
    let (long, short) = ("\n".repeat(801), "\n".repeat(800));
    let planted = [("a.rs", long.as_str()), ("b.rs", short.as_str()), ("c.md", long.as_str())];
    assert_eq!(found(too_long, &planted), ["a.rs:801"]);
    let planted = [("a/src/b/mod.rs", ""), ("a/src/b_mod.rs", "")];
    assert_eq!(found(mod_files, &planted), ["a/src/b/mod.rs:1"]);
}

#[test]
fn planted_leftovers_are_found() {
    let bad = [
        "// TODO: later",
        "<!-- FIXME -->",
        "todo!()",
        "unimplemented!()",
        "#[ignore = \"slow\"]",
        "std::thread::sleep(d);",
        "tokio::time::sleep(d).await;",
        "time::sleep(d).await;",
        "use tokio::time::{interval, sleep};",
    ];
    for line in bad {
        assert_eq!(found(unfinished, &[("a.rs", line)]), ["a.rs:1"], "{line}");
    }
    let good = ["tokio::time::sleep_until(t)", "use tokio::time::{Instant, sleep_until};", "TODOS", "todo = \"deny\""];
    for line in good {
        assert!(found(unfinished, &[("a.rs", line)]).is_empty(), "{line}");
    }
    assert!(found(unfinished, &[(PAUSE, "tokio::time::sleep(d)")]).is_empty());
    assert_eq!(found(unfinished, &[("a.md", "\nXXX")]), ["a.md:2"]);
}

#[test]
fn planted_heads_banners_and_paths_are_found() {
    let planted = [("a/src/lib.rs", "use x;"), ("b/src/main.rs", "//! Fine."), ("a/src/c.rs", "")];
    assert_eq!(found(heads, &planted), ["a/src/lib.rs:1"]);
    let planted = [("a.rs", "// Copyright us"), ("LICENSE", "Copyright us"), ("b.rs", "//! Fine.")];
    assert_eq!(found(banners, &planted), ["a.rs:1"]);
    let planted = [("a.md", "see\n/root/x"), ("b.md", "in \"/home/x\""), ("c.md", "./home/x a/home/b ~/home/")];
    assert_eq!(found(machine_paths, &planted), ["a.md:2", "b.md:1"]);
}
