//! `policy explain`: one call, the whole decision, and everything that the policy says about the action. With files it is decided
//! here, by them alone; without, by the server, from all that is in force.

use std::path::PathBuf;

use clap::Args;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::cases::{
    Case, CaseFacts, Considered, ConsideredAutomatic, Explanation, Stage, StepKind, Word, read_caller, read_fact,
};
use grantmesh_shared::wire::policy::{PolicyFault, PolicyFile};
use serde_json::json;

use super::compiled;
use super::files::policy_files;
use crate::cli::client::Client;
use crate::cli::output::{Output, Tone};
use crate::cli::{ClientArgs, Failure};
use crate::clock::{Clock as _, SystemClock};
use crate::http::bodies::{ExplainBody, ExplainedView};

/// What `policy explain` takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// The policy's files or folders, which then decide alone; if none is named, the server decides from the policy, grants, locks
    /// and signals in force
    paths: Vec<PathBuf>,
    /// The call's method
    #[arg(long)]
    method: String,
    /// The call's path, with its query
    #[arg(long)]
    path: String,
    /// Who calls, as cases name it: `alice[support]`, `workload:ID`, `alice[support]+workload:ID` or `nobody`
    #[arg(long = "as", value_name = "CALLER")]
    caller: String,
    /// The service; needed if the policy has several
    #[arg(long)]
    service: Option<String>,
    /// When; now if left out
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// A fact of the call, as cases state it: `header x-ticket INC-1`, `body amount 90`; may be repeated
    #[arg(long = "fact", value_name = "FACT")]
    facts: Vec<String>,
    /// A signal that is set; may be repeated
    #[arg(long = "signal", value_name = "NAME")]
    signals: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// What was stated is no call of this policy.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", .0.message, .0.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default())]
struct Misstated(PolicyFault);

pub(in crate::cli) async fn run(args: ExplainArgs, out: &mut Output) -> Result<(), Failure> {
    if args.paths.is_empty() {
        return in_force(args, out).await;
    }
    let files: Vec<PolicyFile> = policy_files(&args.paths)?;
    let (policy, issuer) = compiled(&files, out)?;
    let mut stage = Stage::new(&policy, &issuer)?;
    for name in &args.signals {
        stage.take(&StepKind::Signal { name: name.clone(), until: None }).map_err(Misstated)?;
    }
    let mut facts = CaseFacts::default();
    for fact in &args.facts {
        read_fact(&mut facts, fact).map_err(Misstated)?;
    }
    let case = Case {
        service: args.service,
        method: args.method,
        target: args.path,
        caller: read_caller(&args.caller).map_err(Misstated)?,
        at: args.at.unwrap_or_else(|| SystemClock.now()),
        facts,
    };
    let explanation = stage.explain(&case).map_err(Misstated)?;
    if args.client.json {
        return Ok(
            out.json(&json!({ "call": case.to_string(), "at": case.at.to_string(), "explanation": explanation }))?
        );
    }
    show((&case.to_string(), &case.at.to_string()), &explanation, out);
    Ok(())
}

/// Lets the server decide.
async fn in_force(args: ExplainArgs, out: &mut Output) -> Result<(), Failure> {
    let ExplainArgs { paths: _, method, path, caller, service, at, facts, signals, client: args } = args;
    let client = Client::new(&args)?;
    let at = at.map(|at| at.to_string());
    let body = ExplainBody { service, method, path, caller, at, facts, signals };
    let answer = client.post("/v1/policy/explain", &body).await?;
    if args.json {
        return Ok(out.json(&answer)?);
    }
    let ExplainedView { policy, position, call, at, explanation } = client.read(&answer)?;
    show((&call, &at), &explanation, out);
    let revision = position.revision;
    out.line(format_args!("decided from {policy} with the grants, locks and signals in force at revision {revision}"));
    Ok(())
}

fn show((call, at): (&str, &str), explanation: &Explanation, out: &mut Output) {
    let Explanation { outcome, considered } = explanation;
    out.line(format_args!("{call}, at {at}"));
    if let (Some(action), Some(resource)) = (&outcome.action, &outcome.resource) {
        out.line(format_args!("is `{action}` on `{resource}`"));
    }
    let tone = match outcome.decision {
        Word::Allow => Tone::Good,
        Word::Ask => Tone::Waiting,
        Word::Deny | Word::Ambiguous => Tone::Bad,
    };
    let word = out.toned(tone, outcome.decision.as_str());
    match &outcome.basis {
        Some(basis) => out.line(format_args!("{word}, by {basis}")),
        None => out.line(format_args!("{word}, because")),
    }
    outcome.reasons.iter().for_each(|told| out.line(format_args!("  - {} ({})", told.text, told.code)));
    if !outcome.masked.is_empty() {
        out.line(format_args!("the response's fields {} are masked", outcome.masked.join(", ")));
    }
    outcome.errors.iter().for_each(|error| out.line(format_args!("could not be judged: {error}")));
    outcome.unread.iter().for_each(|fact| out.line(format_args!("nothing reads the fact `{fact}`")));
    if considered.is_empty() {
        return;
    }
    out.line("what the policy says about it:");
    for part in considered {
        let Considered { kind, name, subjects, except, for_caller, condition, verdict, reviewers, automatic } = part;
        let whom = if subjects.is_empty() { "everyone".to_owned() } else { subjects.join(", ") };
        let is_for = if *for_caller { "" } else { ", not this caller" };
        out.line(format_args!("  {kind} {name}: for {whom}{is_for}"));
        if !except.is_empty() {
            out.line(format_args!("    except {}", except.join(", ")));
        }
        if let (Some(condition), Some(verdict)) = (condition, verdict) {
            let said = told(verdict);
            out.line(format_args!("    if {}", condition.trim().replace('\n', "\n       ")));
            out.line(format_args!("    which {said}"));
        }
        if !reviewers.is_empty() {
            out.line(format_args!("    decided by {}", reviewers.join(", ")));
        }
        for ConsideredAutomatic { name, then, when, verdict, decides } in automatic.iter().filter(|_| *for_caller) {
            let when = when.as_ref().map(|when| format!(" when {}", when.trim().replace('\n', " ")));
            let decides = if *decides { ": this one decides a request by itself" } else { "" };
            out.line(format_args!("    {name}: {then}{}, which {}{decides}", when.unwrap_or_default(), told(verdict)));
        }
    }
}

fn told(verdict: &str) -> String {
    match verdict {
        "holds" | "fails" => verdict.to_owned(),
        "unsure" => "depends on what exactly the time is".to_owned(),
        code => format!("cannot be judged: {code}"),
    }
}
