//! `cargo dev mutants`: tests that prove tests. Breaks one guard at a time in a copy of the checkout, builds, runs the tests
//! that must notice, and demands that each of them fails. A mutant that survives is a test that is missing.
//!
//! Which ones is a matter of the list beside this file, not of this code.

mod list;
mod scratch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::process::{self, Ended};
use crate::report::{Failure, step};
use crate::setup::{self, Runner};
use crate::suite::Parts;
use crate::wasm;
use crate::workspace::Workspace;
use list::{Mutant, Test};
use scratch::Scratch;

/// How nextest ends when tests failed. What cannot be built ends otherwise.
const TESTS_FAILED: i32 = 100;

/// The stories play on the filter's module, which has to be built from the broken copy, too.
const STORIES: &str = "grantmesh-tests::e2e";

/// What became of a mutant.
enum Fate {
    /// Every test noticed.
    Killed,
    /// These did not.
    Survived(Vec<Test>),
    /// It does not build: it proves nothing.
    Unbuilt(Failure),
    /// It does not apply.
    Unfit(String),
}

/// Breaks what the arguments name, or everything.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let mutants = chosen(arguments)?;
    let Runner::Nextest(nextest) = setup::runner(workspace)? else {
        return Err(Failure::new("mutants need cargo-nextest, which tells what became of each test")
            .help("cargo install --locked cargo-nextest"));
    };
    let scratch = step("copying the checkout", || Scratch::of(workspace))?;
    let stories = mutants.iter().flat_map(|mutant| &mutant.tests).any(|test| test.binary == STORIES);
    let parts = if stories { Parts::all(scratch.workspace()) } else { Parts::only_database(scratch.workspace()) }?;
    let lab = Lab { scratch, nextest, parts };
    let tests: BTreeSet<Test> = mutants.iter().flat_map(|mutant| mutant.tests.iter().copied()).collect();
    let tests: Vec<Test> = tests.into_iter().collect();
    step("everything as it is: the tests pass", || lab.all_pass(&tests))?;

    let mut alive = 0_usize;
    for (at, mutant) in mutants.iter().enumerate() {
        let begun = Instant::now();
        let fate = lab.fate(mutant)?;
        let (word, more) = told(&fate);
        println!(
            "{word:<9} {:>5.1} s  {:>3}/{}  {}",
            begun.elapsed().as_secs_f64(),
            at + 1,
            mutants.len(),
            mutant.name
        );
        more.lines().for_each(|line| println!("            {line}"));
        alive += usize::from(!matches!(fate, Fate::Killed));
    }
    println!("{} mutants, {} killed", mutants.len(), mutants.len() - alive);
    if alive == 0 {
        return Ok(());
    }
    Err(Failure::new(format!("{alive} of {} mutants were not killed", mutants.len()))
        .help("write the test that notices, name it in tests/dev/src/mutants.txt, and run: cargo dev mutants WORD"))
}

/// The mutants whose names have all of the words.
fn chosen(words: &[String]) -> Result<Vec<Mutant>, Failure> {
    let mut mutants = list::all().map_err(Failure::new)?;
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    mutants.retain(|mutant| words.iter().all(|word| mutant.name.to_lowercase().contains(word)));
    if mutants.is_empty() {
        return Err(Failure::new(format!("no mutant has `{}` in its name", words.join(" ")))
            .help("tests/dev/src/mutants.txt lists them"));
    }
    Ok(mutants)
}

/// What is said of it in one word, and what more there is to say.
fn told(fate: &Fate) -> (&'static str, String) {
    match fate {
        Fate::Killed => ("killed", String::new()),
        Fate::Survived(tests) => {
            let tests: Vec<String> = tests.iter().map(|test| format!("{} {}", test.binary, test.name)).collect();
            ("SURVIVED", format!("these did not notice:\n{}", tests.join("\n")))
        }
        Fate::Unbuilt(failure) => ("UNBUILT", failure.to_string()),
        Fate::Unfit(why) => ("UNFIT", why.clone()),
    }
}

/// Where mutants live and die.
struct Lab {
    scratch: Scratch,
    nextest: PathBuf,
    parts: Parts,
}

/// What became of tests: built, and then which of them passed.
type Ran = Result<Vec<Test>, Failure>;

impl Lab {
    fn all_pass(&self, tests: &[Test]) -> Result<(), Failure> {
        // The filter was built with the other parts.
        self.build_program(tests)?;
        let passed = self.passed(tests)??;
        let failed: Vec<String> = tests
            .iter()
            .filter(|test| !passed.contains(test))
            .map(|test| format!("{} {}", test.binary, test.name))
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(Failure::new("these tests do not pass as it is, or are not there").output(failed.join("\n")))
    }

    fn fate(&self, mutant: &Mutant) -> Result<Fate, Failure> {
        let live = || match self.build_filter(&mutant.tests).and_then(|()| self.build_program(&mutant.tests)) {
            Ok(()) => self.passed(&mutant.tests),
            Err(failure) => Ok(Err(failure)),
        };
        let lived = self.scratch.broken(mutant.file, |text| mutant.change(text), live)?;
        Ok(match lived {
            Err(why) => Fate::Unfit(why),
            Ok(Err(failure)) => Fate::Unbuilt(failure),
            Ok(Ok(passed)) if passed.is_empty() => Fate::Killed,
            Ok(Ok(passed)) => Fate::Survived(passed),
        })
    }

    /// Stories play on the filter's modules.
    fn build_filter(&self, tests: &[Test]) -> Result<(), Failure> {
        if !tests.iter().any(|test| test.binary == STORIES) {
            return Ok(());
        }
        wasm::filters(self.scratch.workspace()).map(drop)
    }

    /// And on the control plane's program.
    fn build_program(&self, tests: &[Test]) -> Result<(), Failure> {
        if !tests.iter().any(|test| test.binary == STORIES) {
            return Ok(());
        }
        let mut cargo = self.scratch.workspace().cargo();
        cargo.args(["build", "--quiet", "--locked", "-p", "grantmesh-control-plane", "--bin", "grantmesh"]);
        process::capture(lean(&mut cargo)).map(drop)
    }

    /// Builds and runs tests; gives those that passed.
    fn passed(&self, tests: &[Test]) -> Result<Ran, Failure> {
        let mut packages: BTreeMap<&str, Vec<Test>> = BTreeMap::new();
        for test in tests {
            packages.entry(test.package()).or_default().push(*test);
        }
        let mut passed = Vec::new();
        // Package by package: each is always built alone, so that features are unified alike.
        for (package, tests) in packages {
            let mut nextest = self.scratch.workspace().command(&self.nextest);
            nextest.args(["nextest", "run", "--profile", "mutants", "--locked", "--color", "never", "-p", package]);
            let mut targets: Vec<Option<&str>> = tests.iter().map(|test| test.target()).collect();
            targets.sort_unstable();
            targets.dedup();
            for target in targets {
                match target {
                    None => nextest.arg("--lib"),
                    Some(target) => nextest.args(["--test", target]),
                };
            }
            let filter = |test: &Test| format!("(binary_id(={}) & test(={}))", test.binary, test.name);
            nextest.args(["-E", &tests.iter().map(filter).collect::<Vec<_>>().join(" | ")]);
            nextest.env("INSTA_UPDATE", "no").env("RUST_BACKTRACE", "0");
            let Ended { code, output } = process::end(self.parts.tell(lean(&mut nextest)))?;
            if code != Some(0) && code != Some(TESTS_FAILED) {
                return Ok(Err(Failure::new(format!("{package} was not built or not run")).output(last(&output, 30))));
            }
            passed.extend(tests.into_iter().filter(|test| says_passed(&output, *test)));
        }
        Ok(Ok(passed))
    }
}

/// Whether nextest's lines say that a test passed. Whatever else it says of it is a failure.
fn says_passed(output: &str, test: Test) -> bool {
    let named = format!("{} {}", test.binary, test.name);
    output.lines().any(|line| line.trim_start().starts_with("PASS ") && line.trim_end().ends_with(&format!(" {named}")))
}

fn last(output: &str, count: usize) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(count)).copied().collect::<Vec<_>>().join("\n")
}

/// Nobody looks at these builds with a debugger.
fn lean(command: &mut Command) -> &mut Command {
    command.env("CARGO_PROFILE_DEV_DEBUG", "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nextest_says_is_read() {
        let output = "    Starting 2 tests\n        PASS [   0.008s] ( 1/11) p::t a::b\n        FAIL [   0.1s] (2/2) p::t a::c\n\
                      \x20    TIMEOUT [  60.0s] p d\n        PASS [   0.008s] p e\n";
        let says = |binary, name| says_passed(output, Test { binary, name });
        assert!(says("p::t", "a::b") && says("p", "e"));
        assert!(!says("p::t", "a::c") && !says("p", "d") && !says("p", "b") && !says("p::t", "e"));
        assert_eq!(last("a\nb\nc", 2), "b\nc");
    }

    #[test]
    fn words_choose_mutants_by_their_names() {
        let all = chosen(&[]).unwrap().len();
        let some = chosen(&["signature".to_owned()]).unwrap().len();
        assert!(some > 0 && some < all, "{some} of {all}");
        assert!(chosen(&["no such thing".to_owned()]).is_err());
    }
}
