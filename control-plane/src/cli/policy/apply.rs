//! `policy apply`: over the version that was seen, told what that changes, and, with `--wait`, known to every filter.

use std::path::PathBuf;

use clap::Args;
use grantmesh_shared::wire::policy::{Difference, PolicyFile, compile, diff, parse};
use reqwest::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use super::files::{FilesError, policy_files};
use super::tell;
use super::versions::short;
use crate::app::compile_policy;
use crate::cli::client::{Client, ClientError};
use crate::cli::output::{Output, Tone};
use crate::cli::{ClientArgs, Failure, WaitArgs, arrival};
use crate::http::bodies::{ApplyBody, PolicyAppliedView, PolicyFileView, PolicyView};

/// So many differences are listed before a policy is applied.
const MAX_TOLD: usize = 20;

/// What `policy apply` takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArgs {
    /// Files, or folders with .yaml, .yml and .json files: together the whole policy
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Why; the history and the audit log keep it
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Only over this version, and not over the one in force when the command began
    #[arg(long, value_name = "POLICY", conflicts_with = "force")]
    expected: Option<String>,
    /// Over whatever is in force
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    client: ClientArgs,
}

pub(in crate::cli) async fn run(args: ApplyArgs, out: &mut Output) -> Result<(), Failure> {
    let ApplyArgs { paths, message, expected, force, wait, client: args } = args;
    let client = Client::new(&args)?;
    // Before the files are read: whoever applies in between is noticed.
    let seen = in_force(&client).await?;
    let files = policy_files(&paths)?;
    // Faults are told here with their lines; the server checks again.
    if let Err(faults) = compile_policy(&files) {
        tell(&faults, &files, out);
        return Err(FilesError::Faults(faults.len()).into());
    }
    if let Some(seen) = seen.as_ref().filter(|_| !args.json) {
        tell_changes(&seen.files, &files, out);
    }
    let over = over(force, expected, seen.as_ref());
    let files = files.into_iter().map(PolicyFileView::from).collect();
    let body = ApplyBody { files, message, wait: wait.wait };
    let answer = client.post_over("/v1/policy", over, &body, wait.duration()).await?;
    let applied: PolicyAppliedView = client.read(&answer)?;
    let PolicyAppliedView { policy, changed, arrival } = &applied;
    if args.json {
        out.json(&answer)?;
    } else if *changed {
        let word = out.toned(Tone::Good, "in force");
        let digest = short(policy.digest.as_deref());
        out.line(format_args!("{} is {word}, digest {digest}, for {}", policy.id, policy.services.join(", ")));
    } else {
        out.line(format_args!("nothing to apply: {}, which is in force, says the same", policy.id));
    }
    if !args.json {
        arrival::tell(arrival.as_ref(), "no filter follows now", out);
    }
    arrival::judge(arrival.as_ref(), "the policy is in force")
}

/// The policy in force, if there is one.
async fn in_force(client: &Client) -> Result<Option<PolicyView>, ClientError> {
    match client.get("/v1/policy", &[]).await {
        Ok(answer) => client.read(&answer).map(Some),
        Err(ClientError::Refused(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The header that says what must be in force.
fn over(force: bool, expected: Option<String>, seen: Option<&PolicyView>) -> (HeaderName, String) {
    let expected = expected.or_else(|| seen.map(|seen| seen.about.id.clone()));
    match expected {
        _ if force => (IF_MATCH, "*".to_owned()),
        Some(id) => (IF_MATCH, format!("\"{id}\"")),
        None => (IF_NONE_MATCH, "*".to_owned()),
    }
}

fn tell_changes(before: &[PolicyFileView], after: &[PolicyFile], out: &mut Output) {
    let before: Vec<PolicyFile> = before.iter().cloned().map(PolicyFile::from).collect();
    let read = |files| {
        let documents = parse(files).ok()?;
        let policy = compile(&documents).ok()?;
        Some((documents, policy))
    };
    let (Some(before), Some(after)) = (read(&before), read(after)) else {
        return out.remark("the policy in force cannot be compared: another version of grantmesh applied it");
    };
    let differences = diff((&before.0, &before.1), (&after.0, &after.1));
    for Difference { kind, name, change, .. } in differences.iter().take(MAX_TOLD) {
        let word = out.toned(super::diff::tone(change), change);
        out.line(format_args!("{word}: {kind} {name}"));
    }
    if let Some(more) = differences.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
        out.line(format_args!("and {more} more"));
    }
}
