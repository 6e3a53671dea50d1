//! `policy simulate`: what a candidate policy would have made of the decisions that were recorded.

use std::path::PathBuf;

use clap::Args;
use grantmesh_shared::time::Span;
use serde_json::json;

use super::compiled;
use super::files::policy_files;
use crate::app::{Changed, NotJudged, Reviewing, Simulation};
use crate::cli::client::Client;
use crate::cli::output::{Output, Tone};
use crate::cli::{ClientArgs, Failure};

/// What `policy simulate` takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateArgs {
    /// The candidate's files, or folders with .yaml, .yml and .json files: together the whole policy
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The time before now whose recorded decisions are judged again
    #[arg(long, default_value = "24h", value_name = "DURATION")]
    since: Span,
    #[command(flatten)]
    client: ClientArgs,
}

pub(in crate::cli) async fn run(args: SimulateArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let files = policy_files(&args.paths)?;
    // Faults are told here with their lines; the server checks again.
    compiled(&files, out)?;
    let body = json!({ "files": files, "since": args.since });
    let answer = client.post("/v1/policy/simulate", &body).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    show(&client.read(&answer)?, out);
    Ok(())
}

fn show(simulation: &Simulation, out: &mut Output) {
    let Simulation { from, until, entries, complete, decisions, same, changed, .. } = simulation;
    let Simulation { not_by_policy, not_judged, not_judged_because, changes, changed_untold, .. } = simulation;
    let Simulation { asks, requests, requests_a_day, reviews, unrecorded, .. } = simulation;
    out.line(format_args!("{decisions} recorded decision(s) from {from} to {until}"));
    if !complete {
        out.line(format_args!("not all of that time: only the latest {entries} entries of the log were read"));
    }
    out.line("calls of which there is no record are not among them: `audit: counted`, and those left out of a sample");
    if *unrecorded > 0 {
        out.line(format_args!("nor are {unrecorded} decision(s) of that time that filters dropped or lost"));
    }
    let tone = if *changed == 0 { Tone::Good } else { Tone::Waiting };
    let word = out.toned(tone, format_args!("{changed} would change"));
    out.line(format_args!("  {word}, {same} would be the same"));
    out.line(format_args!(
        "  {not_by_policy} were not the policy's: a lock, an ambiguous call, a filter that was not ready"
    ));
    out.line(format_args!("  {not_judged} cannot be judged again, because they depend on what records do not hold"));
    for NotJudged { fact, decisions } in not_judged_because {
        out.line(format_args!("    {fact}: {decisions}"));
    }
    for Changed { principal, service, action, recorded, simulated, decisions } in changes {
        let action = if action.is_empty() { "no action" } else { action };
        out.line(format_args!("{decisions} x {principal}, {service} {action}: {recorded} -> {simulated}"));
    }
    if *changed_untold > 0 {
        out.line(format_args!("{changed_untold} more change(s) are not told one by one"));
    }
    let a_day = requests_a_day.map_or_else(
        || "and how many a day is not known, because not all of the time was looked at".to_owned(),
        |requests| format!("{requests} a day"),
    );
    out.line(format_args!("{asks} call(s) would be asked for: {requests} request(s), {a_day}"));
    for Reviewing { service, rule, reviewers, approvals, requests, automatic, automatic_not_judged } in reviews {
        let reviewers = reviewers.join(", ");
        out.line(format_args!("  {requests} under {service} {rule}, each for {approvals} of {reviewers}"));
        for (decision, requests) in automatic {
            out.line(format_args!("    {requests} decided by the rule itself: {decision}"));
        }
        if *automatic_not_judged > 0 {
            out.line(format_args!("    {automatic_not_judged} by what records do not hold: claims, signals"));
        }
    }
}
