//! `policy diff`: what differs between two policies in words, and in decisions over a file of cases.

use std::path::PathBuf;

use clap::Args;
use grantmesh_shared::wire::policy::cases::{Cases, Coverage, Stage, play, read_cases};
use grantmesh_shared::wire::policy::{Difference, Policy, PolicyFile, diff, parse};
use serde::Serialize;
use serde_json::json;

use super::files::{self, FilesError, policy_files};
use super::{compiled, tell};
use crate::cli::Failure;
use crate::cli::output::{Output, Tone};

/// What `policy diff` takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// The policy before: a file, or a folder with .yaml, .yml and .json files
    before: PathBuf,
    /// The policy after
    after: PathBuf,
    /// Calls to decide under both; what they expect does not matter. May be repeated
    #[arg(long = "cases", value_name = "FILE")]
    cases: Vec<PathBuf>,
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
    /// End with 3 if the policies differ: then 0 means that they say the same, 1 that it is not known, 2 wrong arguments
    #[arg(long)]
    exit_code: bool,
}

/// A call that is decided otherwise.
#[derive(Debug, Serialize)]
struct Decided {
    file: String,
    line: u64,
    call: String,
    before: String,
    after: String,
}

pub(in crate::cli) fn run(args: &DiffArgs, out: &mut Output) -> Result<(), Failure> {
    let before = policy_files(std::slice::from_ref(&args.before))?;
    let after = policy_files(std::slice::from_ref(&args.after))?;
    let (one, other) = (compiled(&before, out)?, compiled(&after, out)?);
    let (differences, is_same_text) = match (parse(&before), parse(&after)) {
        (Ok(before), Ok(after)) => {
            let digests = (before.digest().ok(), after.digest().ok());
            (diff((&before, &one.0), (&after, &other.0)), digests.0 == digests.1)
        }
        // Both were compiled from these documents.
        _ => (Vec::new(), true),
    };
    let (mut decided, mut all) = (Vec::new(), 0);
    for path in &args.cases {
        let file = files::read_cases(path.clone())?;
        let cases = read_cases(&file.name, &file.text).map_err(|faults| told(&faults, &file, out))?;
        let (before, after) = (outcomes(&cases, &one, &file, out)?, outcomes(&cases, &other, &file, out)?);
        all += before.len();
        let changed = before.into_iter().zip(after).filter(|(before, after)| before.2 != after.2);
        decided.extend(changed.map(|((line, call, before), (.., after))| Decided {
            file: file.name.clone(),
            line,
            call,
            before,
            after,
        }));
    }
    if args.exit_code && !(differences.is_empty() && decided.is_empty()) {
        out.end_with(crate::cli::exit::DIFFERS);
    }
    if args.json {
        let decisions = json!({ "calls": all, "changed": decided });
        return Ok(out.json(&json!({ "differences": differences, "decisions": decisions }))?);
    }
    show(&differences, is_same_text, out);
    if !args.cases.is_empty() {
        out.line(format_args!("{} of {all} call(s) are decided otherwise", decided.len()));
    }
    for Decided { file, line, call, before, after } in &decided {
        out.line(format_args!("{file}:{line}: {call}\n  before: {before}\n  after:  {after}"));
    }
    Ok(())
}

fn told(faults: &[grantmesh_shared::wire::policy::PolicyFault], file: &PolicyFile, out: &mut Output) -> FilesError {
    tell(faults, std::slice::from_ref(file), out);
    FilesError::CaseFaults(faults.len())
}

/// Line, call and decision of each case.
fn outcomes(
    cases: &Cases,
    (policy, issuer): &(Policy, String),
    file: &PolicyFile,
    out: &mut Output,
) -> Result<Vec<(u64, String, String)>, Failure> {
    let mut stage = Stage::new(policy, issuer)?;
    let played = play(cases, &mut stage, &mut Coverage::default()).map_err(|faults| told(&faults, file, out))?;
    Ok(played.into_iter().map(|played| (played.line, played.case.to_string(), played.outcome.text())).collect())
}

fn show(differences: &[Difference], is_same_text: bool, out: &mut Output) {
    let described = |field: &String| field.starts_with("description: ");
    if differences.is_empty() {
        let but = if is_same_text { "" } else { ", in other words: their digests differ" };
        out.line(format_args!("the policies say the same{but}"));
    } else if differences.iter().all(|one| one.change == "changed" && one.fields.iter().all(described)) {
        out.line("the policies differ in descriptions alone");
    }
    for Difference { kind, name, change, fields } in differences {
        let word = out.toned(tone(change), change);
        out.line(format_args!("{word}: {kind} {name}"));
        fields.iter().for_each(|field| out.line(format_args!("  {}", field.replace('\n', "\n  "))));
    }
}

/// How a change is shown.
pub(super) fn tone(change: &str) -> Tone {
    match change {
        "added" => Tone::Good,
        "removed" => Tone::Bad,
        _ => Tone::Waiting,
    }
}
