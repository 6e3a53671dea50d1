//! `policy test`: plays the cases beside a policy, tells those that come out otherwise and what of the policy none touches.

use std::path::PathBuf;

use clap::Args;
use grantmesh_shared::wire::policy::PolicyFault;
use grantmesh_shared::wire::policy::cases::{Cases, Coverage, Covered, Outcome, Played, Stage, play, read_cases};
use serde::Serialize;
use serde_json::json;

use super::files::{FilesError, policy_and_cases};
use super::{compiled, junit, tell};
use crate::cli::Failure;
use crate::cli::output::{Output, Tone};

/// What `policy test` takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    /// The policy's files or folders, and files of cases (.txt); `cases.txt` and `NAME.cases.txt` of a folder are found
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Fail if the cases touch less of the actions, bindings, rules and deny rules
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_coverage: Option<u8>,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// Why the cases do not pass; what is wrong is told already.
#[derive(Debug, thiserror::Error)]
enum TestError {
    /// Decisions that are not as expected.
    #[error("{failed} of {all} case(s) came out otherwise than they state")]
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
    /// Too little is touched.
    #[error("the cases touch {percent} % of the policy, less than {min} %\nadd cases for what is named as missed")]
    Coverage {
        /// What is touched.
        percent: usize,
        /// What must be.
        min: usize,
    },
    /// The report cannot be written.
    #[error("`{}` cannot be written", .0.display())]
    Junit(PathBuf, #[source] std::io::Error),
}

/// A case's result.
#[derive(Debug, Serialize)]
pub(super) struct CaseResult {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) call: String,
    pub(super) expected: String,
    pub(super) passed: bool,
    pub(super) found: String,
    pub(super) outcome: Outcome,
}

impl CaseResult {
    fn of(file: &str, played: Played<'_>) -> Self {
        let passed = played.is_right();
        let Played { line, case, expected, outcome } = played;
        let (call, expected, found) = (case.to_string(), expected.text.clone(), outcome.text());
        Self { file: file.to_owned(), line, call, expected, passed, found, outcome }
    }

    /// Why the case failed, line by line.
    pub(super) fn why(&self) -> Vec<String> {
        let mut lines = vec![format!("expected: {}", self.expected), format!("found:    {}", self.found)];
        lines.extend(self.outcome.reasons.iter().map(|told| format!("  - {}", told.text)));
        let unread = &self.outcome.unread;
        lines.extend(unread.iter().map(|fact| format!("  - no condition of this call reads `{fact}`: leave it out")));
        lines
    }
}

pub(in crate::cli) fn run(args: &TestArgs, out: &mut Output) -> Result<(), Failure> {
    let (files, cases) = policy_and_cases(&args.paths)?;
    let (policy, issuer) = compiled(&files, out)?;
    let mut coverage = Coverage::of(&policy);
    let mut results = Vec::new();
    let mut faults: Vec<PolicyFault> = Vec::new();
    for file in &cases {
        let read = read_cases(&file.name, &file.text);
        // Each file begins with nothing but the policy.
        let mut stage = Stage::new(&policy, &issuer)?;
        match read.and_then(|cases| played(&cases, &mut stage, &mut coverage)) {
            Ok(mut played) => results.append(&mut played),
            Err(mut found) => faults.append(&mut found),
        }
    }
    if !faults.is_empty() {
        tell(&faults, &cases, out);
        return Err(FilesError::CaseFaults(faults.len()).into());
    }
    if let Some(path) = &args.junit {
        let text = junit::report(&results)?;
        std::fs::write(path, text).map_err(|error| TestError::Junit(path.clone(), error))?;
    }
    let (failed, all) = (results.iter().filter(|result| !result.passed).count(), results.len());
    let (percent, kinds) = (coverage.percent(), coverage.kinds());
    if args.json {
        let coverage = json!({ "percent": percent, "kinds": kinds });
        out.json(&json!({ "passed": all - failed, "failed": failed, "cases": results, "coverage": coverage }))?;
    } else {
        show(&results, (percent, &kinds), out);
    }
    if failed > 0 {
        return Err(TestError::Failed { failed, all }.into());
    }
    let min = args.min_coverage.map_or(0, usize::from);
    if percent < min {
        return Err(TestError::Coverage { percent, min }.into());
    }
    Ok(())
}

fn played(cases: &Cases, stage: &mut Stage, coverage: &mut Coverage) -> Result<Vec<CaseResult>, Vec<PolicyFault>> {
    let played = play(cases, stage, coverage)?;
    Ok(played.into_iter().map(|played| CaseResult::of(&cases.file, played)).collect())
}

fn show(results: &[CaseResult], (percent, kinds): (usize, &[Covered]), out: &mut Output) {
    for result in results.iter().filter(|result| !result.passed) {
        let word = out.toned(Tone::Bad, "failed");
        out.line(format_args!("{word}: {}:{}: {}", result.file, result.line, result.call));
        result.why().iter().for_each(|line| out.line(format_args!("  {line}")));
    }
    let passed = results.iter().filter(|result| result.passed).count();
    let tone = if passed == results.len() { Tone::Good } else { Tone::Bad };
    let word = out.toned(tone, format_args!("{passed} of {}", results.len()));
    out.line(format_args!("{word} case(s) passed; they touch {percent} % of the policy"));
    for Covered { kind, touched, all, missed } in kinds.iter().filter(|covered| covered.all > 0) {
        out.line(format_args!("  {kind}: {touched} of {all}"));
        missed.iter().for_each(|part| out.line(format_args!("    missed: {part}")));
    }
}
