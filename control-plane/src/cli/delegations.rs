//! Commands about delegations: give, list, end.

use clap::{Args, Subcommand};
use grantmesh_shared::time::{Span, Timestamp};

use super::client::Client;
use super::output::Output;
use super::{ClientArgs, Failure, requests, segment, tables};
use crate::http::bodies::{DelegationBody, DelegationView};
use crate::http::view::ListView;

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("end").args(["lasting", "until"]).required(true)))]
pub(super) struct DelegateArgs {
    /// Who is to review in your place
    #[arg(long, value_name = "USER")]
    to: String,
    /// From when on, as a time or as a length of time from now; at once if left out
    #[arg(long, value_name = "TIME", value_parser = requests::start)]
    from: Option<Timestamp>,
    /// For how long, at most 720h
    #[arg(long = "for", value_name = "DURATION")]
    lasting: Option<Span>,
    /// Until when, as a time or as a length of time from now
    #[arg(long, value_name = "TIME", value_parser = requests::start)]
    until: Option<Timestamp>,
    /// Only requests of this service, and what was done by its break-glass rights
    #[arg(long)]
    service: Option<String>,
    /// Only requests under this rule of the service, or what was done by this break-glass right of it
    #[arg(long, requires = "service")]
    rule: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum DelegationsCommand {
    /// End a delegation that you gave or have
    End(EndArgs),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DelegationsArgs {
    #[command(subcommand)]
    end: Option<DelegationsCommand>,
    /// Only those that you gave or have
    #[arg(long)]
    mine: bool,
    /// Those that are over, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct EndArgs {
    /// The delegation
    delegation: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn delegate(args: DelegateArgs, out: &mut Output) -> Result<(), Failure> {
    let DelegateArgs { to, from, lasting, until, service, rule, reason, client: args } = args;
    let client = Client::new(&args)?;
    let (starts_at, ends_at) = (from.map(|at| at.to_string()), until.map(|at| at.to_string()));
    let body = DelegationBody { to, service, rule, reason, starts_at, ends_at, duration: lasting };
    let answer = client.post("/v1/delegations", &body).await?;
    tell(&client, &answer, args.json, out)
}

pub(super) async fn list(args: DelegationsArgs, out: &mut Output) -> Result<(), Failure> {
    let DelegationsArgs { end, mine, all, client: args } = args;
    if let Some(DelegationsCommand::End(EndArgs { delegation, client: args })) = end {
        let client = Client::new(&args)?;
        let answer = client.act(&format!("/v1/delegations/{}/end", segment(&delegation))).await?;
        return tell(&client, &answer, args.json, out);
    }
    let client = Client::new(&args)?;
    let query = [("mine", mine.to_string()), ("current", (!all).to_string())];
    let answer = requests::pages(&client, "/v1/delegations", &query).await?;
    if args.json {
        return Ok(out.json(&answer)?);
    }
    let delegations: ListView<DelegationView> = client.read(&answer)?;
    if delegations.items.is_empty() {
        out.remark("no delegations");
        return Ok(());
    }
    out.table(tables::delegations(&delegations.items));
    Ok(())
}

fn tell(client: &Client, answer: &serde_json::Value, as_json: bool, out: &mut Output) -> Result<(), Failure> {
    if as_json {
        return Ok(out.json(answer)?);
    }
    let delegation: DelegationView = client.read(answer)?;
    let DelegationView { id, state, delegator, delegate, starts_at, ends_at, .. } = &delegation;
    out.line(format_args!("{id} is {}", out.toned(tables::tone(state), state)));
    out.line(format_args!(
        "  {} reviews {} in the place of {}",
        delegate.subject,
        covered(&delegation),
        delegator.subject
    ));
    out.line(format_args!("  from {} until {}", tables::when(starts_at), tables::when(ends_at)));
    Ok(())
}

/// What a delegation is for, for people.
pub(super) fn covered(delegation: &DelegationView) -> String {
    match (&delegation.service, &delegation.rule) {
        (Some(service), Some(rule)) => format!("{rule} of {service}"),
        (Some(service), None) => service.clone(),
        (None, _) => "everything".to_owned(),
    }
}
