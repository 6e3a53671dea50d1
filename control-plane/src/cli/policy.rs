//! Commands about the policy: check files offline, apply them, show what is in force.

use std::fmt;
use std::path::{Path, PathBuf};

use grantmesh_shared::wire::policy::{PolicyFault, PolicyFile};
use serde_json::json;

use super::client::Client;
use super::output::{Output, Tone};
use super::{Failure, PolicyApplyArgs, PolicyCheckArgs, PolicyShowArgs, tables};
use crate::app::{CheckedPolicy, compile_policy, examine_policy};
use crate::http::view::PolicyView;

/// Policy files have one of these endings.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Why policy files could not be read or used.
#[derive(Debug, thiserror::Error)]
enum FilesError {
    /// A file or folder cannot be read.
    #[error("`{}` cannot be read", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// A folder without policy files.
    #[error("`{}` has no .yaml, .yml or .json file", .0.display())]
    Empty(PathBuf),
    /// The policy has faults; they are told already.
    #[error("the policy has {0} fault(s)")]
    Faults(usize),
    /// The policy has warnings, and none are wanted; they are told already.
    #[error("the policy has {0} warning(s), which `--deny-warnings` refuses")]
    Warnings(usize),
}

/// The files that some paths name; those of a folder by their names.
fn files(paths: &[PathBuf]) -> Result<Vec<PolicyFile>, FilesError> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let failed = |error| FilesError::Read(path.clone(), error);
        let entries = std::fs::read_dir(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let mut inside: Vec<PathBuf> =
            entries.into_iter().map(|entry| entry.path()).filter(|file| is_policy(file)).collect();
        if inside.is_empty() {
            return Err(FilesError::Empty(path.clone()));
        }
        inside.sort();
        found.append(&mut inside);
    }
    let read = |path: PathBuf| match std::fs::read_to_string(&path) {
        Ok(text) => Ok(PolicyFile { name: path.display().to_string(), text }),
        Err(error) => Err(FilesError::Read(path, error)),
    };
    found.into_iter().map(read).collect()
}

fn is_policy(path: &Path) -> bool {
    path.is_file()
        && path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending))
}

/// A fault with the line that it is in.
struct Shown<'a> {
    fault: &'a PolicyFault,
    /// What stands before the message.
    word: &'static str,
    line: Option<&'a str>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PolicyFault { file, line: number, column, message, help } = self.fault;
        write!(f, "{file}:{number}:{column}: {}{message}", self.word)?;
        if let Some(line) = self.line {
            let margin = number.to_string();
            let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
            // Tabs stay tabs, so that the caret stands under its letter.
            let indent: String =
                line.chars().take(before).map(|letter| if letter == '\t' { '\t' } else { ' ' }).collect();
            write!(f, "\n  {margin} | {line}\n  {} | {indent}^", " ".repeat(margin.len()))?;
        }
        help.iter().try_for_each(|help| write!(f, "\n  help: {help}"))
    }
}

fn tell(faults: &[PolicyFault], files: &[PolicyFile], out: &mut Output) {
    tell_as("", faults, files, out);
}

fn tell_as(word: &'static str, faults: &[PolicyFault], files: &[PolicyFile], out: &mut Output) {
    for fault in faults {
        let text = files.iter().find(|file| file.name == fault.file).map(|file| file.text.as_str());
        let number = usize::try_from(fault.line).ok().and_then(|line| line.checked_sub(1));
        let line = text.zip(number).and_then(|(text, number)| text.lines().nth(number));
        out.remark(Shown { fault, word, line });
    }
}

pub(super) fn check(args: &PolicyCheckArgs, out: &mut Output) -> Result<(), Failure> {
    let files = files(&args.paths)?;
    let CheckedPolicy { policy, warnings } = examine_policy(&files);
    let faults = policy.err().unwrap_or_default();
    if args.json {
        out.json(&json!({ "faults": faults, "warnings": warnings }))?;
    } else {
        tell(&faults, &files, out);
        tell_as("warning: ", &warnings, &files, out);
    }
    if !faults.is_empty() {
        return Err(FilesError::Faults(faults.len()).into());
    }
    if args.deny_warnings && !warnings.is_empty() {
        return Err(FilesError::Warnings(warnings.len()).into());
    }
    if !args.json {
        let word = out.toned(Tone::Good, "ok");
        let more = if warnings.is_empty() { String::new() } else { format!(", {} warning(s)", warnings.len()) };
        out.line(format_args!("{word}: {} file(s){more}", files.len()));
    }
    Ok(())
}

pub(super) async fn apply(args: PolicyApplyArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let files = files(&args.paths)?;
    // Faults are told here with their lines; the server checks again.
    if let Err(faults) = compile_policy(&files) {
        tell(&faults, &files, out);
        return Err(FilesError::Faults(faults.len()).into());
    }
    let mut body = json!({ "files": files });
    if let Some(body) = body.as_object_mut() {
        body.extend(args.message.map(|message| ("message".to_owned(), message.into())));
        body.extend(args.expected.map(|expected| ("expected".to_owned(), expected.into())));
    }
    let answer = client.post("/v1/policy", &body).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let applied: PolicyView = client.read(&answer)?;
    let word = out.toned(Tone::Good, "in force");
    out.line(format_args!("{} is {word}, for {}", applied.id, applied.services.join(", ")));
    Ok(())
}

pub(super) async fn show(args: PolicyShowArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = client.get("/v1/policy", &[]).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let policy: PolicyView = client.read(&answer)?;
    out.line(format_args!("# {} by {}, {}", policy.id, policy.author.subject, tables::when(&policy.applied_at)));
    if let Some(message) = &policy.message {
        out.line(format_args!("# {}", message.replace('\n', "\n# ")));
    }
    for file in &policy.files {
        out.line(format_args!("# file: {}\n{}", file.name, file.text.trim_end()));
    }
    Ok(())
}
