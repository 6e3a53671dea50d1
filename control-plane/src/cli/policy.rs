//! Commands about the policy: check and test files offline, apply them, show what is and was in force.

pub(super) mod apply;
pub(super) mod diff;
pub(super) mod explain;
mod files;
pub(super) mod generate;
mod junit;
pub(super) mod simulate;
pub(super) mod test;
pub(super) mod versions;

use std::fmt;

use grantmesh_shared::wire::policy::{self, Policy, PolicyFault, PolicyFile, parse};

use super::output::{Output, Tone};
use super::{Failure, PolicyCheckArgs};
use crate::app::{CheckedPolicy, compile_policy, examine_policy};
use crate::http::bodies::FaultsView;
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

pub(super) fn check(args: &PolicyCheckArgs, out: &mut Output) -> Result<(), Failure> {
    let files = policy_files(&args.paths)?;
    let CheckedPolicy { policy, digest, warnings } = examine_policy(&files);
    let (faults, digest) = (policy.err().unwrap_or_default(), digest.map(|digest| digest.to_string()));
    if args.json {
        out.json(&FaultsView { faults: faults.clone(), warnings: warnings.clone(), digest })?;
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
