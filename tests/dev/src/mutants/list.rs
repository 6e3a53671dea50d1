//! The list of mutants, `mutants.txt`: what is broken, where, and the tests that must notice. Read strictly; a test holds
//! it against the sources, so that it cannot fall behind them unnoticed.

use std::collections::BTreeSet;

/// The list.
const LIST: &str = include_str!("../mutants.txt");

/// One guard broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mutant {
    /// What is broken, in words.
    pub(crate) name: &'static str,
    /// The file, from the root.
    pub(crate) file: &'static str,
    /// What stands there exactly once.
    pub(crate) old: String,
    /// What stands there instead.
    pub(crate) new: String,
    /// The tests that must fail.
    pub(crate) tests: Vec<Test>,
}

/// A test as nextest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    /// The id of its binary: `grantmesh-shared` for the unit tests, `grantmesh-shared::bounds` for a file of `tests/`.
    pub(crate) binary: &'static str,
    /// Its name in the binary.
    pub(crate) name: &'static str,
}

impl Test {
    /// The package that it belongs to.
    pub(crate) fn package(self) -> &'static str {
        self.binary.split("::").next().unwrap_or(self.binary)
    }

    /// Its file in the package's `tests/`; nothing for unit tests.
    pub(crate) fn target(self) -> Option<&'static str> {
        self.binary.split_once("::").map(|(_, target)| target)
    }
}

impl Mutant {
    /// The text with this mutant's change, or what keeps it from being made.
    pub(crate) fn change(&self, text: &str) -> Result<String, String> {
        match text.matches(self.old.as_str()).count() {
            1 => Ok(text.replacen(self.old.as_str(), &self.new, 1)),
            count => Err(format!("what it replaces stands {count} times in {}", self.file)),
        }
    }
}

/// All mutants.
///
/// # Errors
/// The line that cannot be read.
pub(crate) fn all() -> Result<Vec<Mutant>, String> {
    read(LIST)
}

fn read(list: &'static str) -> Result<Vec<Mutant>, String> {
    let mut mutants: Vec<Mutant> = Vec::new();
    for (at, line) in list.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| format!("mutants.txt:{}: {what}: `{line}`", at + 1);
        let Some(detail) = line.strip_prefix("  ") else {
            mutants.push(Mutant { name: line, file: "", old: String::new(), new: String::new(), tests: Vec::new() });
            continue;
        };
        let mutant = mutants.last_mut().ok_or_else(|| wrong("a line of no mutant"))?;
        let (sign, text) = detail.split_at_checked(1).ok_or_else(|| wrong("no sign"))?;
        let text = text.strip_prefix(' ').unwrap_or(text);
        match sign {
            "@" => mutant.file = text,
            "-" => add_line(&mut mutant.old, text),
            "+" => add_line(&mut mutant.new, text),
            "!" => {
                let (binary, name) = text.split_once(' ').ok_or_else(|| wrong("a test is `BINARY NAME`"))?;
                mutant.tests.push(Test { binary, name });
            }
            _ => return Err(wrong("a line begins with `@`, `-`, `+` or `!`")),
        }
    }
    mutants.iter().try_for_each(whole)?;
    Ok(mutants)
}

/// Adds one of several lines, which all stand as they stand in the file.
fn add_line(lines: &mut String, line: &str) {
    if !lines.is_empty() {
        lines.push('\n');
    }
    lines.push_str(line);
}

fn whole(mutant: &Mutant) -> Result<(), String> {
    let Mutant { name, file, old, new, tests } = mutant;
    let lacks = [(file.is_empty(), "`@ FILE`"), (old.is_empty(), "`- TEXT`"), (tests.is_empty(), "`! BINARY TEST`")];
    if let Some((_, what)) = lacks.into_iter().find(|(lacks, _)| *lacks) {
        return Err(format!("mutants.txt: `{name}` has no {what}"));
    }
    if old == new {
        return Err(format!("mutants.txt: `{name}` changes nothing"));
    }
    let distinct: BTreeSet<Test> = tests.iter().copied().collect();
    if distinct.len() < tests.len() {
        return Err(format!("mutants.txt: `{name}` names a test twice"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    #[test]
    fn every_mutant_still_applies() {
        let mutants = all().unwrap();
        assert!(mutants.len() >= 30, "{} mutants", mutants.len());
        let names: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), mutants.len(), "two mutants have one name");
        let mut wrong = Vec::new();
        for mutant in &mutants {
            let text = fs::read_to_string(root().join(mutant.file)).unwrap_or_default();
            if let Err(why) = mutant.change(&text) {
                wrong.push(format!("{}: {why}", mutant.name));
            }
        }
        assert!(wrong.is_empty(), "write what stands there now:\n{}", wrong.join("\n"));
    }

    #[test]
    fn every_test_that_a_mutant_names_is_there() {
        let tests: BTreeSet<Test> = all().unwrap().into_iter().flat_map(|mutant| mutant.tests).collect();
        let mut wrong = Vec::new();
        for test in tests {
            let package = root().join(test.package().trim_start_matches("grantmesh-"));
            let folder = match test.target() {
                None => package.join("src"),
                Some("e2e" | "streams" | "tidy" | "uses") => package.clone(),
                Some(_) => package.join("tests"),
            };
            let name = test.name.rsplit("::").next().unwrap_or_default();
            if !mentions(&folder, name) {
                wrong.push(format!("{} {}", test.binary, test.name));
            }
        }
        assert!(wrong.is_empty(), "no such tests:\n{}", wrong.join("\n"));
    }

    /// Whether a Rust file below a folder has that name; some tests come of macros.
    fn mentions(folder: &Path, name: &str) -> bool {
        fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
            let path = entry.path();
            let is_rust = path.extension().is_some_and(|ending| ending == "rs");
            if path.is_dir() {
                mentions(&path, name)
            } else {
                is_rust && fs::read_to_string(&path).is_ok_and(|text| text.contains(name))
            }
        })
    }

    #[test]
    fn a_mutant_is_read_line_by_line() {
        let list = "# Why.\n\nIt is broken\n  @ a.rs\n  - one\n  -     two\n  + three\n  ! p::t m::n\n  ! p m::o\n";
        let expected = Mutant {
            name: "It is broken",
            file: "a.rs",
            old: "one\n    two".to_owned(),
            new: "three".to_owned(),
            tests: vec![Test { binary: "p::t", name: "m::n" }, Test { binary: "p", name: "m::o" }],
        };
        assert_eq!(expected.change("0 one\n    two"), Ok("0 three".to_owned()));
        assert!(expected.change("one\n    two one\n    two").unwrap_err().contains("stands 2 times"));
        let [first, second] = [expected.tests[0], expected.tests[1]];
        assert_eq!((first.package(), first.target(), second.target()), ("p", Some("t"), None));
        assert_eq!(read(list), Ok(vec![expected]));
        for (list, why) in [
            ("  @ a.rs\n", "no mutant"),
            ("X\n  @ a\n  - b\n", "`! BINARY TEST`"),
            ("X\n  @ a\n  ! p t\n", "`- TEXT`"),
            ("X\n  - a\n  ! p t\n", "`@ FILE`"),
            ("X\n  @ a\n  - b\n  + b\n  ! p t\n", "changes nothing"),
            ("X\n  @ a\n  - b\n  ! p t\n  ! p t\n", "twice"),
            ("X\n  @ a\n  - b\n  ! p\n", "BINARY NAME"),
            ("X\n  ? a\n", "begins with"),
        ] {
            let told = read(list).unwrap_err();
            assert!(told.contains(why), "{list}: {told}");
        }
    }
}
