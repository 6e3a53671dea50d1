//! Commands about grants and about the filters that enforce them: list, revoke, release, fleet.

use super::client::Client;
use super::output::Output;
use super::requests::pages;
use super::{ExtendArgs, Failure, FleetArgs, GrantsArgs, ReleaseArgs, RevokeArgs, UsesArgs, arrival, segment, tables};
use crate::http::bodies::{ExtendBody, ExtendedView, FleetView, GrantUsesView, RevokeBody, RevokedView};
use crate::http::view::{GrantView, ListView};

pub(super) async fn list(args: GrantsArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let mut query = args.only.query();
    query.extend(args.holder.map(|name| ("holder", name)));
    query.extend(args.state.map(|state| ("state", state)));
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
    let RevokeArgs { grant, reason, wait, client: args } = args;
    let client = Client::new(&args)?;
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
    let answer = client.get("/v1/fleet", &[]).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let fleet: FleetView = client.read(&answer)?;
    if fleet.filters.is_empty() {
        out.remark("no filters");
        return Ok(());
    }
    out.table(tables::fleet(&fleet.filters));
    Ok(())
}
