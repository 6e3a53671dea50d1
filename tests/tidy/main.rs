//! Tidiness: what the layout promises and no compiler holds, as tests.
//!
//! Each rule is a function from the files of the repository to findings; one test holds it against the real files, another
//! plants a violation and sees it found. Rules read files and nothing else: they build nothing and start only `git`.

mod codes;
mod documents;
mod files;
mod imports;
mod manifests;
mod metrics;
mod pages;
mod sources;

use std::fmt;

use files::File;

/// A place that breaks a rule, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Holds a rule against the files of the repository.
fn hold(rule: impl Fn(&[File]) -> Vec<Finding>) {
    let files = files::of_the_repository();
    assert!(
        files.len() > 10,
        "`git ls-files` lists {} files, and the rules look at those: call it in the checkout",
        files.len()
    );
    let findings = rule(&files);
    let list: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "\n{}\n", list.join("\n"));
}

/// The lines that a rule finds in planted files, as `path:line`.
fn found(rule: impl Fn(&[File]) -> Vec<Finding>, planted: &[(&str, &str)]) -> Vec<String> {
    let files: Vec<File> = planted.iter().map(|(path, text)| File::new(path, text)).collect();
    rule(&files).iter().map(|finding| format!("{}:{}", finding.path, finding.line)).collect()
}
