//! Commands about requests: file, list, approve, deny, withdraw.

use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::shown::ShownCall;
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::REVISION_HEADER;
use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, ClientError, shown_url};
use super::output::Output;
use super::{
    ApproveArgs, DenyArgs, Failure, RequestArgs, RequestCommand, RequestsArgs, ShowArgs, WithdrawArgs, decision, tables,
};
use crate::clock::{Clock as _, SystemClock};
use crate::http::bodies::{
    FileBody, PrefillView, RequestHoldsView, ReviewBody, ReviewedView, ReviewerView, ReviewersView, SuggestionView,
};
use crate::http::standing::{AutomaticView, StageView};
use crate::http::view::{ListView, RequestView, ReviewView};

pub(super) async fn file(args: RequestArgs, out: &mut Output) -> Result<(), Failure> {
    let RequestArgs {
        show,
        from_url,
        service,
        action,
        resource,
        method,
        path,
        rule,
        justification,
        ticket,
        duration,
        uses,
        start,
        wait,
        ..
    } = args;
    let (args, justification) = (args.client, justification.unwrap_or_default());
    if let Some(RequestCommand::Show(args)) = show {
        return self::show(&args, out).await;
    }
    let starts_at = start.map(|at| at.to_string());
    let (client, body) = match from_url {
        Some(url) => {
            let (client, body, suggestion) =
                prefilled(&url, &args, (justification, ticket), rule, (duration, uses)).await?;
            if let Some(suggestion) = suggestion.filter(|_| duration.is_none() && uses.is_none()) {
                suggest(&suggestion, out);
            }
            (client, FileBody { starts_at, ..body })
        }
        None => {
            let service = service.unwrap_or_default();
            let call = None;
            let body = FileBody {
                service,
                action,
                resource,
                method,
                path,
                rule,
                justification,
                ticket,
                duration,
                uses,
                call,
                starts_at,
            };
            (Client::new(&args)?, body)
        }
    };
    let answer = client.post("/v1/requests", &body).await?;
    let Some(most) = wait else {
        if args.json {
            return Ok(out.json(&answer)?);
        }
        tell(&client.read(&answer)?, out);
        return Ok(());
    };
    let filed: RequestView = client.read(&answer)?;
    let (request, code) = decision::wait(&client, &filed.id, most, out).await?;
    out.end_with(code);
    if args.json {
        return Ok(out.json(&request)?);
    }
    tell(&request, out);
    Ok(())
}

/// A time, or a length of time from now.
pub(super) fn start(text: &str) -> Result<Timestamp, String> {
    let later = text.parse::<Span>().map(|span| SystemClock.now().plus(span));
    later
        .or_else(|_| text.parse())
        .map_err(|_| "write a time like `2026-03-01T12:00:00Z`, or a length of time like `2h`".to_owned())
}

/// Files what a challenge's URL names; gives the server's answer.
pub(super) async fn file_from_url(
    url: &str,
    args: &super::ClientArgs,
    words: (String, Option<String>),
    how_much: (Option<Span>, Option<u32>),
) -> Result<(Client, Value), ClientError> {
    let (client, body, _) = prefilled(url, args, words, None, how_much).await?;
    let answer = client.post("/v1/requests", &body).await?;
    Ok((client, answer))
}

/// The body that a challenge's URL gives, completed.
async fn prefilled(
    url: &str,
    args: &super::ClientArgs,
    (justification, ticket): (String, Option<String>),
    rule: Option<String>,
    (duration, uses): (Option<Span>, Option<u32>),
) -> Result<(Client, FileBody, Option<SuggestionView>), ClientError> {
    let client = Client::of_url(url, args)?;
    let prefill: PrefillView = client.read(&client.get_url(url).await?)?;
    let call = shown_call(url)?;
    let mut body = FileBody { justification, ticket, call, ..prefill.body };
    body.rule = rule.or(body.rule);
    body.duration = duration.or(body.duration);
    body.uses = uses.or(body.uses);
    Ok((client, body, prefill.suggestion))
}

/// Says that less was enough the last time; what is asked for is what was said.
fn suggest(SuggestionView { grant, duration, uses }: &SuggestionView, out: &mut Output) {
    let duration = duration.as_ref().map(|duration| format!("--duration {duration}"));
    let less: Vec<String> = duration.into_iter().chain(uses.map(|uses| format!("--uses {uses}"))).collect();
    out.remark(format_args!("less was enough the last time ({grant}): {}", less.join(" ")));
}

/// The call that stands behind the `#` of a challenge's URL, where a rule binds one.
fn shown_call(url: &str) -> Result<Option<ShownCall>, ClientError> {
    let wrong = || ClientError::url(url);
    let parsed = reqwest::Url::parse(url).map_err(|_| wrong())?;
    let Some(fragment) = parsed.fragment() else { return Ok(None) };
    // The fragment is spelled as a query is.
    let mut as_query = parsed.clone();
    as_query.set_fragment(None);
    as_query.set_query(Some(fragment));
    let call = as_query.query_pairs().find(|(name, _)| name == "call").map(|(_, call)| call.into_owned());
    call.map(|call| serde_json::from_str(&call).map_err(|_| ClientError::Fragment(shown_url(url)))).transpose()
}

async fn show(args: &ShowArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = client.get(&path(&args.request, ""), &[]).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let request: RequestView = client.read(&answer)?;
    tell(&request, out);
    for review in &request.reviews {
        let reason = review.reason.as_deref().map(|reason| format!(": {}", reason.escape_debug())).unwrap_or_default();
        let of = review.on_behalf_of.as_ref().map(|of| format!(" on behalf of {}", of.subject)).unwrap_or_default();
        let by = &review.reviewer.subject;
        out.line(format_args!("  {} by {by}{of}{}{reason}", review.verdict, narrowed(review)));
    }
    out.line(format_args!("  digest: {}", request.digest));
    if request.state == "pending" {
        let answer = client.get(&path(&args.request, "/reviewers"), &[]).await?;
        reviewers(&client.read(&answer)?, out);
    }
    let holds: RequestHoldsView = client.read(&client.get(&path(&args.request, "/holds"), &[]).await?)?;
    for hold in holds.holds.iter().filter(|hold| hold.state == "waiting") {
        out.line(format_args!("  a call waits for it at {}, until {}", hold.node.escape_debug(), hold.until));
    }
    Ok(())
}

/// Who is suggested, and who else is known to review.
fn reviewers(ReviewersView { reviewers, .. }: &ReviewersView, out: &mut Output) {
    let named = |ReviewerView { user, delegates, on_call, waiting, .. }: &ReviewerView| {
        let on_call = if *on_call { "on call, " } else { "" };
        let by: Vec<String> = delegates.iter().map(|by| by.subject.escape_debug().to_string()).collect();
        let by = if by.is_empty() { String::new() } else { format!(", in their place {}", by.join(" or ")) };
        format!("{} ({on_call}{waiting} waiting{by})", user.subject.escape_debug())
    };
    let suggested: Vec<String> = reviewers.iter().filter(|one| one.suggested).map(named).collect();
    if !suggested.is_empty() {
        out.line(format_args!("  suggested: {}", suggested.join(", ")));
    }
    let others: Vec<String> = reviewers.iter().filter(|one| !one.suggested).map(named).collect();
    if !others.is_empty() {
        out.line(format_args!("  or: {}", others.join(", ")));
    }
}

/// What a reviewer approved less of than was asked for.
fn narrowed(review: &ReviewView) -> String {
    let duration = review.duration.as_ref().map(|duration| format!("{duration} at most"));
    let uses = review.uses.map(|uses| format!("{uses} {} at most", if uses == 1 { "call" } else { "calls" }));
    let reveals = review.reveals.as_ref().map(|fields| match fields.as_slice() {
        [] => "revealing nothing".to_owned(),
        fields => format!("revealing only {}", fields.join(" ")),
    });
    let narrowed: Vec<String> = [duration, uses, reveals].into_iter().flatten().collect();
    if narrowed.is_empty() { String::new() } else { format!(", for {}", narrowed.join(", ")) }
}

pub(super) fn tell(request: &RequestView, out: &mut Output) {
    let state = out.toned(tables::tone(&request.state), &request.state);
    out.line(format_args!("{} is {state}", request.id));
    out.line(format_args!(
        "  {} asks for {} on {} of {}, for {}",
        request.requester.subject, request.action, request.resource, request.service, request.duration
    ));
    if let Some(grant) = &request.extends {
        out.line(format_args!("  more, for {grant}"));
    }
    if let Some(uses) = request.uses {
        out.line(format_args!("  for {uses} {} at most", if uses == 1 { "call" } else { "calls" }));
    }
    if let Some(start) = &request.starts_at {
        out.line(format_args!("  from {} on", tables::when(start)));
    }
    out.line(format_args!("  why: {}", request.justification.replace('\n', "\n       ")));
    if let Some(ticket) = &request.ticket {
        out.line(format_args!("  ticket: {}", ticket.escape_debug()));
    }
    if let Some(call) = &request.call {
        out.line(format_args!("  for calls with exactly:"));
        for (name, value) in call.parts() {
            out.line(format_args!("    {name} = {value}"));
        }
    }
    if let Some(AutomaticView { name, decision, approvals, policy }) = &request.automatic {
        let approvals = approvals.map(|approvals| format!(" {approvals} approvals")).unwrap_or_default();
        out.line(format_args!("  decided by the rule itself: {decision}{approvals}, by `{name}` of {policy}"));
    }
    let approvals = request.reviews.iter().filter(|review| review.verdict == "approve").count();
    out.line(format_args!("  approvals: {approvals} of {}, rule {}", request.approvals_needed, request.rule));
    super::grants::post_review(request.post_review.as_ref(), out);
    standing(request, out);
}

/// What each stage takes and has, where there is more to it than a number of approvals, and who may bring the request on.
fn standing(request: &RequestView, out: &mut Output) {
    let simple = request.stages.len() <= 1 && request.stages.iter().all(|stage| stage.factors.len() <= 1);
    if !simple || !request.stages_at_request.is_empty() {
        request.stages.iter().for_each(|stage| tell_stage(stage, "stage", out));
        request.stages_at_request.iter().for_each(|stage| tell_stage(stage, "stage when it was filed", out));
    }
    if let Some(needed) = request.denials_needed.filter(|needed| *needed > 1) {
        let denials = request.reviews.iter().filter(|review| review.verdict == "deny").count();
        out.line(format_args!("  denials: {denials} of {needed}"));
    }
    if !request.awaited.is_empty() {
        out.line(format_args!("  waits for: {}", request.awaited.join(", ")));
    }
}

fn tell_stage(stage: &StageView, what: &str, out: &mut Output) {
    out.line(format_args!("  {what} {}: {}", stage.name, stage.state));
    for factor in &stage.factors {
        let by: Vec<&str> = factor.approvals.iter().map(|user| user.subject.as_str()).collect();
        let by = if by.is_empty() { String::new() } else { format!(": {}", by.join(", ")) };
        let reviewers = factor.reviewers.join(", ");
        out.line(format_args!("    {} of {} from {reviewers}{by}", factor.approvals.len(), factor.needed));
    }
}

pub(super) async fn list(args: RequestsArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let mut query = args.only.query();
    query.extend(args.requester.map(|name| ("requester", name)));
    query.extend(args.state.map(|state| ("state", state)));
    query.push(("mine", args.mine.to_string()));
    let answer = pages(&client, "/v1/requests", &query).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let requests: ListView<RequestView> = client.read(&answer)?;
    if requests.items.is_empty() {
        out.remark("no requests");
        return Ok(());
    }
    out.table(tables::requests(&requests.items));
    Ok(())
}

/// The most pages that a list follows.
const MAX_PAGES: usize = 50;

/// Every page of a list as one answer.
pub(super) async fn pages(
    client: &Client,
    path: &str,
    narrowed: &[(&'static str, String)],
) -> Result<Value, ClientError> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..MAX_PAGES {
        let mut query = narrowed.to_vec();
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: ListView<Value> = client.read(&client.get(path, &query).await?)?;
        items.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    Ok(serde_json::json!({ "items": items, "next_cursor": cursor }))
}

pub(super) async fn approve(args: ApproveArgs, out: &mut Output) -> Result<(), Failure> {
    let ApproveArgs { request, digest, reason, duration, uses, reveal, reveal_nothing, on_behalf_of, client } = args;
    let reveals = (reveal_nothing || !reveal.is_empty()).then_some(reveal);
    let verdict = "approve".to_owned();
    let review = |digest| ReviewBody { verdict, reason, duration, uses, reveals, digest, on_behalf_of };
    decide(&request, digest, review, &client, out).await
}

pub(super) async fn deny(args: DenyArgs, out: &mut Output) -> Result<(), Failure> {
    let DenyArgs { request, digest, reason, on_behalf_of, client } = args;
    let (verdict, reason) = ("deny".to_owned(), Some(reason));
    let review =
        |digest| ReviewBody { verdict, reason, duration: None, uses: None, reveals: None, digest, on_behalf_of };
    decide(&request, digest, review, &client, out).await
}

/// What of a request a review says.
#[derive(Deserialize)]
struct Shown {
    digest: Sha256Hash,
}

/// Reviews a request as it was shown: before, by its digest, or now.
async fn decide(
    request: &str,
    digest: Option<Sha256Hash>,
    review: impl FnOnce(Sha256Hash) -> ReviewBody,
    args: &super::ClientArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let client = Client::new(args)?;
    let digest = match digest {
        Some(digest) => digest,
        None => {
            let Shown { digest } = client.read(&client.get(&path(request, ""), &[]).await?)?;
            digest
        }
    };
    let answer = client.post(&path(request, "/reviews"), &review(digest)).await?;
    if args.json {
        return Ok(out.json(&answer)?);
    }
    let reviewed: ReviewedView = client.read(&answer)?;
    tell(&reviewed.request, out);
    if let Some(grant) = reviewed.grant {
        let state = out.toned(tables::tone(&grant.state), &grant.state);
        let (from, until) = (tables::when(&grant.starts_at), tables::when(&grant.expires_at));
        if grant.state == "scheduled" {
            out.line(format_args!("{} is {state} from {from} until {until}", grant.id));
            return Ok(());
        }
        out.line(format_args!("{} is {state} until {until}", grant.id));
        out.line(format_args!(
            "  a call right now: with the header `{REVISION_HEADER}: {}` it waits for filters to hear of this",
            grant.revision
        ));
    }
    Ok(())
}

pub(super) async fn withdraw(args: WithdrawArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = client.act(&path(&args.request, "/withdraw")).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    tell(&client.read(&answer)?, out);
    Ok(())
}

fn path(request: &str, rest: &str) -> String {
    format!("/v1/requests/{}{rest}", super::segment(request))
}
