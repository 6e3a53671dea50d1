//! The files that the rules look at: what git tracks or would track, as text.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the repository.
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines without comments. Good enough for names: what follows `//` in a string is lost as well.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().map(|(number, line)| {
            let code = line.find("//").map_or(line, |at| line.get(..at).unwrap_or(line));
            (number, code)
        })
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }
}

/// Whether `word` stands in `text` on its own, not as a part of a longer name.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|tail| tail.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// All text files: tracked ones, and new ones that git does not ignore. None when git cannot list them.
pub(crate) fn of_the_repository() -> Vec<File> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut git = Command::new("git");
    git.current_dir(&root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = git.output().map(|output| output.stdout).unwrap_or_default();
    let list = String::from_utf8_lossy(&listed);
    let mut paths: Vec<&str> = list.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.into_iter().filter_map(|path| read(&root, path)).collect()
}

/// Nothing for a file that is deleted and not yet committed, or that is no text.
fn read(root: &Path, path: &str) -> Option<File> {
    let text = std::fs::read_to_string(root.join(path)).ok()?;
    Some(File::new(path, &text))
}

#[test]
fn words_have_borders() {
    assert!(has_word("use tokio::fs;", "tokio"));
    assert!(has_word("tokio", "tokio"));
    assert!(!has_word("my_tokio tokio2", "tokio"));
    assert!(has_word("tokio2 tokio", "tokio"));
}

#[test]
fn code_has_no_comments() {
    let file = File::new("a.rs", "//! sqlx\nlet a = 1; // sqlx\n");
    let code: Vec<(usize, &str)> = file.code().collect();
    assert_eq!(code, [(1, ""), (2, "let a = 1; ")]);
}
