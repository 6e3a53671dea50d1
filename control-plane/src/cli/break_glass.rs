//! Commands about acting now and answering later: break-glass, and the reviews of what was done by it.

use clap::{Args, Subcommand};
use grantmesh_shared::time::Span;

use super::client::Client;
use super::output::{Output, Tone};
use super::{ClientArgs, Failure, OnlyArgs, segment, tables};
use crate::http::bodies::{BreakGlassBody, BrokeView, PostReviewBody, PostReviewView};
use crate::http::view::ListView;

#[derive(Debug, Args)]
pub(super) struct BreakGlassArgs {
    /// The service
    #[arg(long)]
    service: String,
    /// The action
    #[arg(long, requires = "resource", conflicts_with_all = ["method", "path"], required_unless_present = "method")]
    action: Option<String>,
    /// What it touches
    #[arg(long, requires = "action")]
    resource: Option<String>,
    /// The method of the call, instead of action and resource
    #[arg(long, requires = "path")]
    method: Option<String>,
    /// The path of the call
    #[arg(long, requires = "method")]
    path: Option<String>,
    /// Why; whoever reviews it afterwards reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long; as long as the right gives if left out
    #[arg(long)]
    duration: Option<Span>,
    /// By which right; the first that fits if left out
    #[arg(long)]
    right: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum PostReviewCommand {
    /// List the reviews of what was done without an approval
    List(ListArgs),
    /// Show one
    Show(ShowArgs),
    /// Say that it was right
    Accept(AcceptArgs),
    /// Say that it was not
    Dispute(DisputeArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only in this state: open, accepted or disputed
    #[arg(long)]
    state: Option<String>,
    /// Only of what you did
    #[arg(long)]
    mine: bool,
    /// Only those that are overdue
    #[arg(long)]
    overdue: bool,
    /// Only those that this person did, by the subject of their tokens
    #[arg(long)]
    holder: Option<String>,
    #[command(flatten)]
    only: OnlyArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The post-review
    post_review: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct AcceptArgs {
    /// The post-review
    post_review: String,
    /// What there is to say
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// In whose place, if several have delegated their reviews to you
    #[arg(long, value_name = "USER")]
    on_behalf_of: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct DisputeArgs {
    /// The post-review
    post_review: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// In whose place, if several have delegated their reviews to you
    #[arg(long, value_name = "USER")]
    on_behalf_of: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn break_glass(args: BreakGlassArgs, out: &mut Output) -> Result<(), Failure> {
    let BreakGlassArgs { service, action, resource, method, path, reason, duration, right, client: args } = args;
    let client = Client::new(&args)?;
    let body = BreakGlassBody { service, action, resource, method, path, right, reason, duration };
    let answer = client.post("/v1/break-glass", &body).await?;
    if args.json {
        return Ok(out.json(&answer)?);
    }
    let BrokeView { grant, post_review } = client.read(&answer)?;
    let state = out.toned(tables::tone(&grant.state), &grant.state);
    out.line(format_args!("{} is {state} until {}", grant.id, tables::when(&grant.expires_at)));
    out.line(format_args!(
        "{} is open, due {}: somebody else reviews what you do",
        post_review.id,
        tables::when(&post_review.due_at)
    ));
    Ok(())
}

pub(super) async fn run(command: PostReviewCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        PostReviewCommand::List(args) => list(args, out).await,
        PostReviewCommand::Show(ShowArgs { post_review, client }) => {
            let args = client;
            let client = Client::new(&args)?;
            let answer = client.get(&path(&post_review, ""), &[]).await?;
            tell(&client, &answer, &args, out)
        }
        PostReviewCommand::Accept(AcceptArgs { post_review, reason, on_behalf_of, client }) => {
            let body = PostReviewBody { verdict: "accept".to_owned(), reason, on_behalf_of };
            decide(&post_review, body, &client, out).await
        }
        PostReviewCommand::Dispute(DisputeArgs { post_review, reason, on_behalf_of, client }) => {
            let body = PostReviewBody { verdict: "dispute".to_owned(), reason: Some(reason), on_behalf_of };
            decide(&post_review, body, &client, out).await
        }
    }
}

async fn list(args: ListArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let mut query = args.only.query();
    query.extend(args.holder.map(|name| ("holder", name)));
    query.extend(args.state.map(|state| ("state", state)));
    query.push(("mine", args.mine.to_string()));
    query.push(("overdue", args.overdue.to_string()));
    let answer = super::requests::pages(&client, "/v1/post-reviews", &query).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let reviews: ListView<PostReviewView> = client.read(&answer)?;
    if reviews.items.is_empty() {
        out.remark("no post-reviews");
        return Ok(());
    }
    out.table(tables::post_reviews(&reviews.items));
    Ok(())
}

async fn decide(id: &str, body: PostReviewBody, args: &ClientArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(args)?;
    let answer = client.post(&path(id, "/review"), &body).await?;
    tell(&client, &answer, args, out)
}

fn tell(client: &Client, answer: &serde_json::Value, args: &ClientArgs, out: &mut Output) -> Result<(), Failure> {
    if args.json {
        return Ok(out.json(answer)?);
    }
    let review: PostReviewView = client.read(answer)?;
    let state = out.toned(tables::tone(&review.state), &review.state);
    let overdue = if review.overdue { out.toned(Tone::Bad, ", overdue") } else { String::new() };
    out.line(format_args!("{} is {state}{overdue}", review.id));
    out.line(format_args!(
        "  {} took {} on {} of {}, by the right {}",
        review.holder.subject, review.action, review.resource, review.service, review.right
    ));
    out.line(format_args!("  said: {}", review.said));
    out.line(format_args!("  grant {}, due {}", review.grant, tables::when(&review.due_at)));
    if let Some(by) = &review.decided_by {
        let reason = review.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let of = review.on_behalf_of.as_ref().map(|of| format!(" on behalf of {}", of.subject)).unwrap_or_default();
        out.line(format_args!("  {} by {}{of}{reason}", review.state, by.subject));
    }
    Ok(())
}

fn path(id: &str, rest: &str) -> String {
    format!("/v1/post-reviews/{}{rest}", segment(id))
}
