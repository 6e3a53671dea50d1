//! `grantmesh doctor`: reads the configuration of a proxy and tells what would make the filter in it worth less than it
//! promises. Works on files alone; never prints what is secret in them.

mod checks;
mod document;
mod plugin;
mod routes;
mod timeouts;

use std::path::{Path, PathBuf};

use clap::Args;
use grantmesh_shared::time::Span;
use serde_json::json;

use super::Failure;
use super::output::{Output, Tone};
use checks::{Finding, Severity, Told};
use document::DocumentError;

/// The largest file that is looked at; a dump of a busy proxy has some megabytes.
const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// The most files of one call.
const MAX_FILES: usize = 64;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Envoy's bootstrap (YAML or JSON), an answer of its `/config_dump`, or an Istio manifest; may be several
    #[arg(long = "envoy-config", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// A route of actions whose grants are for a number of uses: no mirrors, hedges or retries there; may be repeated
    #[arg(long = "single-use-route", value_name = "ROUTE")]
    single_use: Vec<String>,
    /// The longest `hold` of the policy's rules: a proxy that ends a call that stands still before that is at fault
    #[arg(long, value_name = "DURATION")]
    hold: Option<Span>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Why the doctor is not content.
#[derive(Debug, thiserror::Error)]
enum DoctorError {
    #[error("`{}` cannot be read", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    #[error("`{}` has over 32 MiB\nleave out what is not the proxy's own configuration", .0.display())]
    TooLarge(PathBuf),
    #[error("there are over {MAX_FILES} files\ncheck them in several calls")]
    TooMany,
    #[error("`{}` is not a configuration", .0.display())]
    Document(PathBuf, #[source] DocumentError),
    /// They are told already.
    #[error("the configuration has {0} fault(s) that make the filter unsafe")]
    Faults(usize),
}

pub(super) fn run(args: &DoctorArgs, out: &mut Output) -> Result<(), Failure> {
    if args.files.len() > MAX_FILES {
        return Err(DoctorError::TooMany.into());
    }
    let mut findings: Vec<(&Path, Finding)> = Vec::new();
    for file in &args.files {
        let text = read(file)?;
        let document = document::parse(&text).map_err(|error| DoctorError::Document(file.clone(), error))?;
        let mut found = checks::check(&document, &Told { single_use: &args.single_use, hold: args.hold });
        if checks::holds_credential(&document) && is_readable_by_all(file) {
            found.push(Finding {
                severity: Severity::Warning,
                code: "readable_by_all",
                place: String::new(),
                message: "everybody on this machine can read the file, and the filter's credential is in it".to_owned(),
                help: "chmod o-r, and issue a new credential if others use the machine".to_owned(),
            });
        }
        found.sort_by_key(|finding| finding.severity);
        findings.extend(found.into_iter().map(|finding| (file.as_path(), finding)));
    }
    tell(&findings, args.json, out)?;
    match findings.iter().filter(|(_, finding)| finding.severity == Severity::Fault).count() {
        0 => Ok(()),
        faults => Err(DoctorError::Faults(faults).into()),
    }
}

fn read(file: &Path) -> Result<String, DoctorError> {
    use std::io::Read as _;
    let failed = |error| DoctorError::Read(file.to_owned(), error);
    let mut bytes = Vec::new();
    let source = std::fs::File::open(file).map_err(failed)?;
    source.take(MAX_BYTES.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(DoctorError::TooLarge(file.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| DoctorError::Document(file.to_owned(), DocumentError::NotText))
}

#[cfg(unix)]
fn is_readable_by_all(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|about| about.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_all(_: &Path) -> bool {
    false
}

fn tell(findings: &[(&Path, Finding)], as_json: bool, out: &mut Output) -> Result<(), serde_json::Error> {
    if as_json {
        let view = |(file, finding): &(&Path, Finding)| {
            json!({
                "severity": finding.severity.as_str(), "code": finding.code, "file": file.display().to_string(),
                "place": finding.place, "message": finding.message, "help": finding.help,
            })
        };
        return out.json(&json!({ "findings": findings.iter().map(view).collect::<Vec<_>>() }));
    }
    for (file, finding) in findings {
        let tone = if finding.severity == Severity::Fault { Tone::Bad } else { Tone::Waiting };
        let word = out.toned(tone, finding.severity.as_str());
        let place = if finding.place.is_empty() { String::new() } else { format!(" {}", finding.place) };
        out.line(format_args!("{word}: {}{place}", file.display()));
        out.line(format_args!("  {} ({})", finding.message, finding.code));
        out.line(format_args!("  help: {}", finding.help));
    }
    if findings.is_empty() {
        out.line("ok: nothing found that would make the filter less than it promises");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
