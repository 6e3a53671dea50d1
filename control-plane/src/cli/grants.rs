//! Commands about grants and about the filters that enforce them: list, revoke, release, fleet.

use super::client::Client;
use super::output::Output;
use super::requests::pages;
use super::{
    ClientArgs, ExtendArgs, Failure, FleetArgs, GrantShowArgs, GrantsArgs, GrantsCommand, ReleaseArgs, RevokeArgs,
    UsesArgs, WaitArgs, arrival, segment, tables,
};
use crate::http::bodies::{
    ApprovedPathsView, ExtendBody, ExtendedView, FleetView, GrantUsesView, LedgerView, RevokeBody, RevokeManyBody,
    RevokedManyView, RevokedView,
};
use crate::http::standing::PostReviewMark;
use crate::http::view::{GrantView, ListView};

pub(super) async fn list(args: GrantsArgs, out: &mut Output) -> Result<(), Failure> {
    if let Some(GrantsCommand::Show(args)) = args.show {
        return show(&args, out).await;
    }
    let client = Client::new(&args.client)?;
    let mut query = args.only.query();
    query.extend(args.holder.map(|name| ("holder", name)));
    query.extend(args.state.map(|state| ("state", state)));
    query.extend(args.unused.then(|| ("used", false.to_string())));
    query.push(("mine", args.mine.to_string()));
    let answer = pages(&client, "/v1/grants", &query).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let grants: ListView<GrantView> = client.read(&answer)?;
    if grants.items.is_empty() {
        out.remark("no grants");
        return Ok(());
    }
    out.table(tables::grants(&grants.items));
    Ok(())
}

pub(super) async fn uses(args: UsesArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = client.get(&format!("/v1/grants/{}/uses", segment(&args.grant)), &[]).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let uses: GrantUsesView = client.read(&answer)?;
    if uses.uses.is_empty() {
        out.remark("no uses");
        return Ok(());
    }
    out.table(tables::uses(&uses.uses));
    Ok(())
}

pub(super) async fn revoke(args: RevokeArgs, out: &mut Output) -> Result<(), Failure> {
    let RevokeArgs { grant, all_of, service, action, rule, dry_run, reason, wait, client: args } = args;
    let client = Client::new(&args)?;
    let Some(grant) = grant else {
        let which = RevokeManyBody { holder: all_of, service, action, rule, reason, dry_run, wait: wait.wait };
        return revoke_many(&client, which, wait, &args, out).await;
    };
    let path = format!("/v1/grants/{}/revoke", segment(&grant));
    let answer = client.post_waiting(&path, &RevokeBody { reason, wait: wait.wait }, wait.duration()).await?;
    let revoked: RevokedView = client.read(&answer)?;
    if args.json {
        out.json(&answer)?;
    } else {
        tell_grant(&revoked.grant, out);
        arrival::tell(revoked.arrival.as_ref(), "no filter enforces this service now", out);
    }
    arrival::judge(revoked.arrival.as_ref(), "the grant is revoked")
}

pub(super) async fn extend(args: ExtendArgs, out: &mut Output) -> Result<(), Failure> {
    let ExtendArgs { grant, duration, justification, client: args } = args;
    let client = Client::new(&args)?;
    let path = format!("/v1/grants/{}/extend", segment(&grant));
    let answer = client.post(&path, &ExtendBody { duration, justification }).await?;
    if args.json {
        return Ok(out.json(&answer)?);
    }
    let extended: ExtendedView = client.read(&answer)?;
    if let Some(grant) = &extended.grant {
        out.line(format_args!("{} lasts until {}", grant.id, tables::when(&grant.expires_at)));
    }
    if let Some(request) = &extended.request {
        super::requests::tell(request, out);
    }
    Ok(())
}

async fn revoke_many(
    client: &Client,
    body: RevokeManyBody,
    wait: WaitArgs,
    args: &ClientArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let answer = client.post_waiting("/v1/grants/revoke", &body, wait.duration()).await?;
    let revoked: RevokedManyView = client.read(&answer)?;
    if args.json {
        out.json(&answer)?;
    } else if revoked.grants.is_empty() {
        out.remark("no grants of that kind that you may end");
    } else {
        out.table(tables::grants(&revoked.grants));
        let (count, word) = (revoked.grants.len(), if revoked.grants.len() == 1 { "grant" } else { "grants" });
        let what = if revoked.dry_run { "would be revoked" } else { "revoked" };
        out.line(format_args!("{count} {word} {what}"));
        arrival::tell(revoked.arrival.as_ref(), "no filter enforces this service now", out);
    }
    arrival::judge(revoked.arrival.as_ref(), "the grants are revoked")
}

/// So many calls are shown one by one.
const SHOWN_CALLS: usize = 20;

async fn show(args: &GrantShowArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = client.get(&format!("/v1/grants/{}/ledger", segment(&args.grant)), &[]).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let ledger: LedgerView = client.read(&answer)?;
    let grant = &ledger.grant;
    tell_grant(grant, out);
    out.line(format_args!(
        "  {} has {} on {} of {}, rule {}",
        grant.holder.subject, grant.action, grant.resource, grant.service, grant.rule
    ));
    out.line(format_args!("  from {} until {}", tables::when(&grant.starts_at), tables::when(&grant.expires_at)));
    if grant.break_glass {
        out.line(out.toned(super::output::Tone::Bad, "  given at once, without an approval"));
    }
    post_review(grant.post_review.as_ref(), out);
    if let Some(uses) = grant.uses {
        out.line(format_args!("  {} of {} calls taken", uses.claimed, uses.allowed));
    }
    if ledger.unused {
        out.line("  never used");
    } else {
        let more = if ledger.complete { "" } else { " at least" };
        out.line(format_args!("  {} calls{more}, to {} paths:", ledger.calls, ledger.distinct_paths));
    }
    approved_paths(&ledger, out);
    for path in &ledger.paths {
        out.line(format_args!("    {} x {} {}", path.calls, path.method, path.path));
    }
    for call in ledger.entries.iter().take(SHOWN_CALLS) {
        let several = if call.count > 1 { format!("{} x ", call.count) } else { String::new() };
        let (at, outcome) = (tables::when(&call.at), &call.outcome);
        out.line(format_args!("  {at} {outcome} {several}{} {}", call.method, call.path));
    }
    if let Some(next) = &ledger.narrower {
        out.line(format_args!("  next time this would do: {}", next.command));
    }
    Ok(())
}

/// How much of what was approved was used.
fn approved_paths(ledger: &LedgerView, out: &mut Output) {
    let Some(ApprovedPathsView { method, path, possible }) = &ledger.approved_paths else { return };
    let used = ledger.distinct_paths;
    match possible {
        Some(possible) if used <= *possible => {
            out.line(format_args!("    used {used} of {possible} approved paths: {method} {path}"));
        }
        _ => out.line(format_args!("    used {used} of any number of approved paths: {method} {path}")),
    }
}

/// How the review of what was done without an approval stands.
pub(super) fn post_review(review: Option<&PostReviewMark>, out: &mut Output) {
    let Some(PostReviewMark { id, state, due_at, overdue }) = review else { return };
    let due = tables::when(due_at);
    if *overdue {
        let told = format!("  {id} is {state}, overdue since {due}");
        out.line(out.toned(super::output::Tone::Bad, &told));
    } else if state == "open" {
        out.line(format_args!("  {id} is {state}, due {due}"));
    } else {
        let state = out.toned(tables::tone(state), state);
        out.line(format_args!("  {id} is {state}"));
    }
}

fn tell_grant(grant: &GrantView, out: &mut Output) {
    let state = out.toned(tables::tone(&grant.state), &grant.state);
    out.line(format_args!("{} is {state}", grant.id));
}

pub(super) async fn release(args: ReleaseArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = client.act(&format!("/v1/grants/{}/release", segment(&args.grant))).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    tell_grant(&client.read(&answer)?, out);
    Ok(())
}

pub(super) async fn fleet(args: FleetArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let mut fleet = FleetView { filters: Vec::new(), next_cursor: None };
    loop {
        let query: Vec<_> = fleet.next_cursor.take().map(|cursor| ("cursor", cursor)).into_iter().collect();
        let page: FleetView = client.read(&client.get("/v1/fleet", &query).await?)?;
        fleet.filters.extend(page.filters);
        fleet.next_cursor = page.next_cursor;
        if fleet.next_cursor.is_none() {
            break;
        }
    }
    if args.client.json {
        return Ok(out.json(&serde_json::json!(fleet))?);
    }
    if fleet.filters.is_empty() {
        out.remark("no filters");
        return Ok(());
    }
    out.table(tables::fleet(&fleet.filters));
    Ok(())
}
