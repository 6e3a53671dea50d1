//! The state that the tables have, as the use cases read it, in the form in which the log tells it.

use std::collections::BTreeMap;

use grantmesh_control_plane::app::{GrantFilter, Page, PostReviewFilter, RequestFilter};
use grantmesh_control_plane::domain::{
    About, Delegation, Grant, GrantState, Hold, Lock, LockState, Offline, OnBehalfOf, PolicyVersion, PostReview,
    Request, RequestState, Review, Signal, Terms, Use,
};
use grantmesh_shared::engine::User;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::table::SubjectItem;
use serde_json::{Value, json};

use crate::world::{World, olga};

/// What there is, by noun and id.
pub(super) type State = BTreeMap<&'static str, BTreeMap<String, Value>>;

/// All pages of a list.
macro_rules! all {
    ($page:ident => $list:expr) => {{
        let (mut all, mut $page) = (Vec::new(), Page::default());
        loop {
            let listed = $list.await.unwrap();
            all.extend(listed.items);
            match listed.next {
                Some(next) => $page.cursor = Some(next),
                None => break all,
            }
        }
    }};
}

pub(super) async fn read(world: &World) -> State {
    let (app, who) = (&world.app, &olga());
    let requests = all!(page => app.requests(who, &RequestFilter::default(), &page));
    let grants = all!(page => app.grants(who, &GrantFilter::default(), &page));
    let reviews = all!(page => app.post_reviews(who, &PostReviewFilter::default(), &page));
    let locks = all!(page => app.locks(who, None, &page));
    let lent = all!(page => app.delegations(who, (false, false), &page));
    let tokens = all!(page => app.offline_tokens(who, &page));
    let mut uses = BTreeMap::new();
    for grant in grants.iter().filter(|grant| grant.uses.is_some()) {
        let taken = app.uses(who, &grant.id).await.unwrap().into_iter();
        uses.extend(taken.map(|taken| (taken.id.to_string(), usage(&taken))));
    }
    let mut holds = BTreeMap::new();
    for request in &requests {
        let held = app.holds_of(who, &request.id).await.unwrap().into_iter();
        holds.extend(held.map(|one| (one.decision.to_string(), hold(&one))));
    }
    let signals = app.signals(who).await.unwrap().into_iter();
    let set = signals.flat_map(|signal| signal.set.into_iter().chain(signal.said));
    let in_force = app.policy(who).await.unwrap().unwrap();
    BTreeMap::from([
        ("requests", requests.iter().map(|one| (one.id.to_string(), request(one))).collect()),
        ("grants", grants.iter().map(|one| (one.id.to_string(), grant(one))).collect()),
        ("uses", uses),
        ("holds", holds),
        ("post_reviews", reviews.iter().map(|one| (one.id.to_string(), post_review(one))).collect()),
        ("locks", locks.iter().map(|one| (one.id.to_string(), lock(one))).collect()),
        ("delegations", lent.iter().map(|one| (one.id.to_string(), delegation(one))).collect()),
        ("tokens", tokens.iter().map(|one| (one.grant.to_string(), token(one))).collect()),
        ("signals", set.map(|one| (signal_key(&one), signal(&one))).collect()),
        ("policy", BTreeMap::from([("in force".to_owned(), policy(&in_force))])),
    ])
}

/// What filters have of grants, locks and signals, by its key.
pub(super) async fn loaded(world: &World) -> BTreeMap<String, Vec<Value>> {
    let items = world.app.items_since(0).await.unwrap().items.into_iter();
    let bodies = items.filter_map(|item| Some((item.key, serde_json::from_str::<Value>(&item.body?).unwrap())));
    let told = |(key, body): (String, Value)| {
        let parts = match key.split_once('/')?.0 {
            "grant" => of_grant(&body["grant"], body["grant"]["uses"]["exhausted"] == true),
            noun @ ("lock" | "signal") => vec![body[noun]["expires_at"].clone()],
            _ => return None,
        };
        Some((key, parts))
    };
    bodies.filter_map(told).collect()
}

/// What filters and the log both have of a grant.
pub(super) fn of_grant(grant: &Value, is_exhausted: bool) -> Vec<Value> {
    let parts = ["request", "service", "action", "resource", "rule", "starts_at", "expires_at"];
    let words = [grant["break_glass"] == true, is_exhausted].map(Value::Bool);
    parts.iter().map(|part| grant[part].clone()).chain(words).collect()
}

fn user(user: &User) -> Value {
    json!({ "issuer": &*user.issuer, "subject": &*user.subject })
}

fn hold(hold: &Hold) -> Value {
    let Hold { decision: _, request, filed, vm, node, since, until, ended } = hold;
    json!({
        "request": request,
        "filed": filed,
        "vm": vm,
        "node": node,
        "since": since,
        "until": until,
        "ended": ended.map(|(why, at)| json!([why.as_str(), at])),
    })
}

fn request(request: &Request) -> Value {
    let Request { id: _, ask, approvals_needed, reviews, waited, automatic, state } = request;
    let at: Option<Timestamp> = match state {
        RequestState::Pending => None,
        RequestState::Approved { at, .. }
        | RequestState::Denied { at }
        | RequestState::TimedOut { at }
        | RequestState::Withdrawn { at } => Some(*at),
    };
    json!({
        "state": state.word().as_str(),
        "at": at,
        "grant": state.grant(),
        "kind": ask.kind.as_str(),
        "extends": ask.kind.extended(),
        "requester": user(&ask.requester),
        "groups": ask.requester_groups,
        "service": ask.service,
        "action": ask.action,
        "resource": ask.resource,
        "rule": ask.rule,
        "justification": ask.justification,
        "ticket": ask.ticket,
        "duration_ms": ask.duration.millis(),
        "uses": ask.uses,
        "starts_at": ask.starts_at,
        "remind_at": ask.timers.remind_at,
        "escalate_at": ask.timers.escalate_at,
        "reminded_at": waited.reminded_at,
        "escalated_at": waited.escalated_at,
        "policy": ask.policy,
        "created_at": ask.created_at,
        "times_out_at": ask.times_out_at,
        "digest": ask.digest(),
        "approvals": approvals_needed,
        "automatic": automatic.as_ref().map(|automatic| json!({
            "name": automatic.name,
            "decision": automatic.word(),
            "approvals": automatic.required(),
            "policy": automatic.policy,
        })),
        "reviews": reviews.iter().map(review).collect::<Vec<_>>(),
    })
}

fn review(review: &Review) -> Value {
    let Review { id, reviewer, reviewer_groups, on_behalf_of: of, verdict, reason, duration, uses, reveals, at } =
        review;
    json!({
        "id": id,
        "reviewer": user(reviewer),
        "groups": reviewer_groups,
        "on_behalf_of": of.as_ref().map(on_behalf_of),
        "verdict": verdict.as_str(),
        "reason": reason,
        "duration_ms": duration.map(|duration| duration.millis()),
        "uses": uses,
        "reveals": reveals,
        "at": at,
    })
}

fn on_behalf_of(of: &OnBehalfOf) -> Value {
    json!({ "delegation": of.delegation, "user": user(&of.user), "groups": of.groups })
}

fn grant(grant: &Grant) -> Value {
    let (by, reason) = match &grant.state {
        GrantState::Revoked { by, reason, .. } => (by.as_ref().map(user), Some(reason)),
        _ => (None, None),
    };
    let terms = (grant.terms != Terms::default()).then(|| serde_json::to_vec(&grant.terms).unwrap());
    json!({
        "state": grant.state.word().as_str(),
        "ended_at": grant.state.ended_at(),
        "ended_by": by,
        "reason": reason,
        "request": grant.request,
        "holder": user(&grant.holder),
        "service": grant.service,
        "action": grant.action,
        "resource": grant.resource,
        "rule": grant.rule,
        "starts_at": grant.starts_at,
        "expires_at": grant.expires_at,
        "terms": terms.map(|terms| Sha256Hash::of(&terms)),
        "allowed": grant.uses.map(|uses| uses.allowed),
        "claimed": grant.uses.map_or(0, |uses| uses.claimed),
        "break_glass": grant.break_glass,
        "revision": grant.revision,
    })
}

fn usage(taken: &Use) -> Value {
    let Use { id: _, grant, number, decision, vm, node, claimed_at, outcome } = taken;
    json!({
        "grant": grant,
        "number": number,
        "decision": decision,
        "vm": vm,
        "node": node,
        "at": claimed_at,
        "outcome": outcome.map(|told| json!({ "word": told.word, "status": told.status, "at": told.at })),
    })
}

fn post_review(review: &PostReview) -> Value {
    let decided = review.state.decided();
    json!({
        "state": review.state.word().as_str(),
        "at": decided.map(|(at, ..)| at),
        "by": decided.map(|(_, by, _)| user(by)),
        "on_behalf_of": review.state.on_behalf_of().map(on_behalf_of),
        "said": decided.and_then(|(.., said)| said),
        "request": review.request,
        "grant": review.grant,
        "holder": user(&review.holder),
        "service": review.service,
        "action": review.action,
        "resource": review.resource,
        "right": review.rule,
        "reason": review.reason,
        "policy": review.policy,
        "opened_at": review.opened_at,
        "due_at": review.due_at,
    })
}

fn lock(lock: &Lock) -> Value {
    let (by, said) = match &lock.state {
        LockState::Removed { by, reason, .. } => (Some(user(by)), reason.as_ref()),
        LockState::Active | LockState::Expired { .. } => (None, None),
    };
    json!({
        "state": lock.state.word().as_str(),
        "at": lock.state.ended_at(),
        "by": by,
        "said": said,
        "subject": lock.subject.clone().map(SubjectItem::from),
        "service": lock.service,
        "action": lock.action,
        "reason": lock.reason,
        "created_by": user(&lock.created_by),
        "created_at": lock.created_at,
        "expires_at": lock.expires_at,
        "revision": lock.revision,
    })
}

fn delegation(lent: &Delegation) -> Value {
    json!({
        "delegator": user(&lent.delegator),
        "groups": lent.delegator_groups,
        "delegate": user(&lent.delegate),
        "service": lent.service,
        "rule": lent.rule,
        "reason": lent.reason,
        "created_at": lent.created_at,
        "starts_at": lent.starts_at,
        "ends_at": lent.ends_at,
        "ended": lent.ended.as_ref().map(|(at, by)| json!([at, user(by)])),
    })
}

fn token(token: &Offline) -> Value {
    json!({
        "holder": user(&token.holder.user),
        "groups": token.holder.groups,
        "service": token.service,
        "right": token.right,
        "actions": token.actions,
        "reason": token.reason,
        "policy": token.policy,
        "max_duration_ms": token.max_duration.millis(),
        "review_within_ms": token.review_within.millis(),
        "issued_at": token.issued_at,
        "expires_at": token.expires_at,
        "used_at": token.used_at,
    })
}

/// By what the log names a signal.
fn signal_key(signal: &Signal) -> String {
    let of = signal.about.as_ref().map(|about| match about {
        About::User(who) => json!({ "user": user(who) }),
        About::Ticket(ticket) => json!({ "ticket": ticket }),
    });
    format!("{} {}", signal.name, of.unwrap_or(Value::Null))
}

fn signal(signal: &Signal) -> Value {
    json!({
        "reason": signal.reason,
        "set_by": user(&signal.set_by),
        "set_at": signal.set_at,
        "expires_at": signal.expires_at,
        "revision": signal.revision,
    })
}

fn policy(PolicyVersion { about, files }: &PolicyVersion) -> Value {
    let files: Vec<(&str, &str)> = files.iter().map(|file| (&*file.name, &*file.text)).collect();
    json!({
        "id": about.id,
        "previous": about.previous,
        "digest": about.digest,
        "author": user(&about.author),
        "message": about.message,
        "at": about.applied_at,
        "services": about.services.len(),
        "files_hash": Sha256Hash::of(json!(files).to_string().as_bytes()),
    })
}
