//! Commands about notifications: list deliveries, and have those tried again that were given up.

use clap::{Args, Subcommand};

use super::client::Client;
use super::output::Output;
use super::{ClientArgs, Failure, segment, tables};
use crate::http::bodies::DeliveryView;
use crate::http::view::ListView;

#[derive(Debug, Subcommand)]
pub(super) enum NotificationCommand {
    /// List deliveries to the endpoints of the configuration, newest first
    List(ListArgs),
    /// Have deliveries tried again that were given up
    Resend(ResendArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only in this state: waiting, delivered or dead
    #[arg(long)]
    state: Option<String>,
    /// Only to this endpoint
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// How many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct ResendArgs {
    /// The deliveries
    #[arg(required = true)]
    deliveries: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(command: NotificationCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        NotificationCommand::List(args) => list(args, out).await,
        NotificationCommand::Resend(args) => resend(args, out).await,
    }
}

async fn list(ListArgs { state, endpoint, limit, client: args }: ListArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args)?;
    let mut query = vec![("limit", limit.to_string())];
    query.extend(state.map(|state| ("state", state)));
    query.extend(endpoint.map(|endpoint| ("endpoint", endpoint)));
    let answer = client.get("/v1/notifications", &query).await?;
    if args.json {
        return Ok(out.json(&answer)?);
    }
    let deliveries: ListView<DeliveryView> = client.read(&answer)?;
    if deliveries.items.is_empty() {
        out.remark("no notifications");
        return Ok(());
    }
    out.table(tables::deliveries(&deliveries.items));
    Ok(())
}

async fn resend(ResendArgs { deliveries, client: args }: ResendArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args)?;
    let mut again = Vec::new();
    for id in deliveries {
        let answer = client.act(&format!("/v1/notifications/{}/resend", segment(&id))).await?;
        if !args.json {
            let delivery: DeliveryView = client.read(&answer)?;
            out.line(format_args!("{} to {} is tried again", delivery.id, delivery.endpoint));
        }
        again.push(answer);
    }
    if args.json {
        out.json(&again)?;
    }
    Ok(())
}
