//! Commands about locks: create, remove, list.

use clap::{Args, Subcommand};
use grantmesh_shared::time::Span;

use super::client::Client;
use super::output::Output;
use super::{ClientArgs, Failure, WaitArgs, arrival, segment, tables};
use crate::http::bodies::{LockBody, LockChangedView, LockView};
use crate::http::view::ListView;

#[derive(Debug, Subcommand)]
pub(super) enum LockCommand {
    /// Block a principal, a service or an action above every grant and role
    Create(CreateArgs),
    /// End a lock
    Remove(RemoveArgs),
    /// List locks
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Only this principal: `user:NAME`, `group:NAME` or `workload:spiffe://…`
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only this service
    #[arg(long)]
    service: Option<String>,
    /// Only this action of the service
    #[arg(long, requires = "service")]
    action: Option<String>,
    /// Every call of every service
    #[arg(long, conflicts_with_all = ["subject", "service"], required_unless_present_any = ["subject", "service"])]
    everything: bool,
    /// Why; refused callers read it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long; until it is removed if left out
    #[arg(long)]
    duration: Option<Span>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The lock
    lock: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only in this state: active, expired or removed
    #[arg(long)]
    state: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(command: LockCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        LockCommand::Create(args) => create(args, out).await,
        LockCommand::Remove(args) => remove(args, out).await,
        LockCommand::List(args) => list(args, out).await,
    }
}

async fn create(args: CreateArgs, out: &mut Output) -> Result<(), Failure> {
    let CreateArgs { subject, service, action, everything, reason, duration, wait, client: args } = args;
    let client = Client::new(&args)?;
    let body = LockBody { subject, service, action, everything, reason, duration, wait: wait.wait };
    let answer = client.post_waiting("/v1/locks", &body, wait.duration()).await?;
    tell(&client.read(&answer)?, &answer, args.json, out)
}

async fn remove(args: RemoveArgs, out: &mut Output) -> Result<(), Failure> {
    let RemoveArgs { lock, reason, wait, client: args } = args;
    let client = Client::new(&args)?;
    let answer =
        client.delete_waiting(&format!("/v1/locks/{}", segment(&lock)), &[("reason", reason)], wait.wait).await?;
    tell(&client.read(&answer)?, &answer, args.json, out)
}

fn tell(changed: &LockChangedView, answer: &serde_json::Value, as_json: bool, out: &mut Output) -> Result<(), Failure> {
    let LockChangedView { lock, arrival } = changed;
    if as_json {
        out.json(answer)?;
    } else {
        let state = out.toned(tables::tone(&lock.state), &lock.state);
        out.line(format_args!("{} is {state}: {}", lock.id, target(lock)));
        arrival::tell(arrival.as_ref(), "no filter is concerned now", out);
    }
    arrival::judge(arrival.as_ref(), format!("the lock is {}", lock.state))
}

/// What a lock blocks, for people.
pub(super) fn target(lock: &LockView) -> String {
    let parts = [lock.subject.as_deref(), lock.service.as_deref(), lock.action.as_deref()];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "everything".to_owned() } else { parts.join(" ") }
}

async fn list(args: ListArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = super::requests::pages(
        &client,
        "/v1/locks",
        &args.state.map(|state| ("state", state)).into_iter().collect::<Vec<_>>(),
    )
    .await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let locks: ListView<LockView> = client.read(&answer)?;
    if locks.items.is_empty() {
        out.remark("no locks");
        return Ok(());
    }
    out.table(tables::locks(&locks.items));
    Ok(())
}
