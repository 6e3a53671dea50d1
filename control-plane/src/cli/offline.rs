//! Commands about break-glass tokens for times without a control plane.

use clap::{Args, Subcommand};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::offline::OFFLINE_HEADER;

use super::client::Client;
use super::output::Output;
use super::{ClientArgs, Failure, tables};
use crate::http::bodies::{OfflineBody, OfflineIssuedView, OfflineView};
use crate::http::view::ListView;

#[derive(Debug, Subcommand)]
pub(super) enum OfflineCommand {
    /// Have a token signed now, for a time when the control plane cannot be reached
    Issue(IssueArgs),
    /// List the tokens that are still good
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct IssueArgs {
    /// The service
    #[arg(long)]
    service: String,
    /// By which break-glass right; the first that lets tokens be signed if left out
    #[arg(long)]
    right: Option<String>,
    /// Why it is needed; whoever reviews its use reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long it is good; as long as the right gives if left out
    #[arg(long)]
    duration: Option<Span>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(command: OfflineCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        OfflineCommand::Issue(args) => issue(args, out).await,
        OfflineCommand::List(args) => list(&args.client, out).await,
    }
}

async fn issue(args: IssueArgs, out: &mut Output) -> Result<(), Failure> {
    let IssueArgs { service, right, reason, duration, client: args } = args;
    let client = Client::new(&args)?;
    let answer = client.post("/v1/offline-tokens", &OfflineBody { service, right, reason, duration }).await?;
    if args.json {
        return Ok(out.json(&answer)?);
    }
    let OfflineIssuedView { about, token } = client.read(&answer)?;
    let until = tables::when(&about.expires_at);
    out.line(format_args!("good until {until} for {} of {}", about.actions.join(", "), about.service));
    out.remark("keep it like a password: it is shown only now, and a lock is what takes it back");
    out.line(format_args!("{OFFLINE_HEADER}: {token}"));
    Ok(())
}

async fn list(args: &ClientArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(args)?;
    let answer = super::requests::pages(&client, "/v1/offline-tokens", &[]).await?;
    if args.json {
        return Ok(out.json(&answer)?);
    }
    let list: ListView<OfflineView> = client.read(&answer)?;
    if list.items.is_empty() {
        out.remark("no tokens");
    } else {
        out.table(tables::offline_tokens(&list.items));
    }
    Ok(())
}
