//! Commands about the policy: check and test files offline, apply them, show what is in force.

pub(super) mod diff;
pub(super) mod explain;
mod files;
mod junit;
pub(super) mod simulate;
pub(super) mod test;

use std::fmt;

use grantmesh_shared::wire::policy::{self, Policy, PolicyFault, PolicyFile, parse};
use serde_json::json;

use super::client::{Client, ClientError};
use super::output::{Output, Tone};
use super::{ClientArgs, Failure, PolicyApplyArgs, PolicyCheckArgs, PolicyShowArgs, tables};
use crate::app::{CheckedPolicy, compile_policy, examine_policy};
use crate::http::view::{PolicyFileView, PolicyView};
use files::{FilesError, policy_files};

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

/// The policy of files, and its issuer; its faults are told.
fn compiled(files: &[PolicyFile], out: &mut Output) -> Result<(Policy, String), FilesError> {
    let issuer = |files| parse(files).map(|documents| documents.issuer().unwrap_or_default().to_owned());
    match compile_policy(files).and_then(|policy| Ok((policy, issuer(files)?))) {
        Ok(compiled) => Ok(compiled),
        Err(faults) => {
            tell(&faults, files, out);
            Err(FilesError::Faults(faults.len()))
        }
    }
}

/// The files of the policy in force.
async fn in_force(args: &ClientArgs) -> Result<Vec<PolicyFile>, ClientError> {
    let client = Client::new(args)?;
    let policy: PolicyView = client.read(&client.get("/v1/policy", &[]).await?)?;
    Ok(policy.files.into_iter().map(|PolicyFileView { name, text }| PolicyFile { name, text }).collect())
}

pub(super) fn check(args: &PolicyCheckArgs, out: &mut Output) -> Result<(), Failure> {
    let files = policy_files(&args.paths)?;
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

pub(super) fn schema(out: &mut Output) -> Result<(), Failure> {
    Ok(out.json(&policy::schema())?)
}

pub(super) async fn apply(args: PolicyApplyArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let files = policy_files(&args.paths)?;
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
