//! Lists as tables for people.

use comfy_table::{Cell, Table};

use super::delegations::covered;
use super::locks::target;
use super::output::Tone;
use super::policy::versions::short;
use crate::http::bodies::{
    DelegationView, DeliveryView, LockView, OfflineView, PolicyVersionView, PostReviewView, SetView, SignalView,
};
use crate::http::standing::PostReviewMark;
use crate::http::view::{FilterView, GrantView, RequestView, UseView, UserView};

/// A cell with a state's word in its colour.
fn state(word: &str) -> Cell {
    let tone = tone(word);
    Cell::new(word).fg(tone.colour())
}

/// A cell with a state's word, marked where the glass was broken, and where nobody has looked at that in time.
fn broken_or_state(broken: bool, review: Option<&PostReviewMark>, word: &str) -> Cell {
    if !broken {
        return state(word);
    }
    let overdue = if review.is_some_and(|review| review.overdue) { ", post-review overdue" } else { "" };
    Cell::new(format!("{word} (break-glass{overdue})")).fg(Tone::Bad.colour())
}

/// How a state's word is shown.
pub(super) fn tone(word: &str) -> Tone {
    match word {
        "active" | "approved" | "accepted" | "live" | "acknowledged" | "delivered" => Tone::Good,
        "pending" | "scheduled" | "open" | "lease_expired" | "waiting" => Tone::Waiting,
        _ => Tone::Bad,
    }
}

fn head(names: &[&str]) -> Table {
    let mut table = Table::new();
    table.set_header(names.iter().map(|name| name.to_uppercase()));
    table
}

fn who(user: &UserView) -> &str {
    &user.subject
}

/// A time without what nobody reads: the fraction of its second.
pub(super) fn when(at: &str) -> String {
    match at.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => at.to_owned(),
    }
}

pub(super) fn policies(items: &[PolicyVersionView]) -> Table {
    let mut table = head(&["policy", "revision", "digest", "who", "applied", "services", "why"]);
    for item in items {
        table.add_row([
            Cell::new(&item.id),
            Cell::new(item.revision),
            Cell::new(short(item.digest.as_deref())),
            Cell::new(who(&item.author)),
            Cell::new(when(&item.applied_at)),
            Cell::new(shortened(&item.services.join(", "))),
            Cell::new(shortened(item.message.as_deref().unwrap_or_default())),
        ]);
    }
    table
}

pub(super) fn requests(items: &[RequestView]) -> Table {
    let mut table = head(&["request", "state", "who", "service", "action", "resource", "for", "filed", "why"]);
    for item in items {
        table.add_row([
            Cell::new(&item.id),
            broken_or_state(item.kind == "break_glass", item.post_review.as_ref(), &item.state),
            Cell::new(who(&item.requester)),
            Cell::new(&item.service),
            Cell::new(&item.action),
            Cell::new(&item.resource),
            Cell::new(if item.extends.is_some() { format!("+{}", item.duration) } else { item.duration.clone() }),
            Cell::new(when(&item.created_at)),
            Cell::new(shortened(&item.justification)),
        ]);
    }
    table
}

pub(super) fn grants(items: &[GrantView]) -> Table {
    let mut table = head(&["grant", "state", "who", "service", "action", "resource", "from", "until", "uses"]);
    for item in items {
        table.add_row([
            Cell::new(&item.id),
            broken_or_state(item.break_glass, item.post_review.as_ref(), &item.state),
            Cell::new(who(&item.holder)),
            Cell::new(&item.service),
            Cell::new(&item.action),
            Cell::new(&item.resource),
            Cell::new(when(&item.starts_at)),
            Cell::new(when(item.ended_at.as_ref().unwrap_or(&item.expires_at))),
            Cell::new(item.uses.map_or_else(|| "any".to_owned(), |uses| format!("{}/{}", uses.claimed, uses.allowed))),
        ]);
    }
    table
}

pub(super) fn uses(items: &[UseView]) -> Table {
    let mut table = head(&["use", "no", "outcome", "status", "taken", "decision", "node"]);
    for item in items {
        let tone = match item.outcome.as_str() {
            "answered" => Tone::Good,
            "unknown" => Tone::Waiting,
            _ => Tone::Bad,
        };
        table.add_row([
            Cell::new(&item.id),
            Cell::new(item.number),
            Cell::new(&item.outcome).fg(tone.colour()),
            Cell::new(item.status.map_or_else(String::new, |status| status.to_string())),
            Cell::new(when(&item.claimed_at)),
            Cell::new(&item.decision),
            Cell::new(&item.node),
        ]);
    }
    table
}

pub(super) fn post_reviews(items: &[PostReviewView]) -> Table {
    let mut table = head(&["post-review", "state", "who", "service", "action", "resource", "done", "due", "said"]);
    for item in items {
        let due = when(&item.due_at);
        let due =
            if item.overdue { Cell::new(format!("{due} overdue")).fg(Tone::Bad.colour()) } else { Cell::new(due) };
        table.add_row([
            Cell::new(&item.id),
            state(&item.state),
            Cell::new(who(&item.holder)),
            Cell::new(&item.service),
            Cell::new(&item.action),
            Cell::new(&item.resource),
            Cell::new(when(&item.opened_at)),
            due,
            Cell::new(shortened(&item.said)),
        ]);
    }
    table
}

pub(super) fn offline_tokens(items: &[OfflineView]) -> Table {
    let mut table = head(&["grant", "who", "service", "right", "actions", "until", "used", "why"]);
    for item in items {
        table.add_row([
            Cell::new(&item.grant),
            Cell::new(who(&item.holder)),
            Cell::new(&item.service),
            Cell::new(&item.right),
            Cell::new(item.actions.join(", ")),
            Cell::new(when(&item.expires_at)),
            Cell::new(item.used_at.as_deref().map(when).unwrap_or_default()),
            Cell::new(shortened(&item.reason)),
        ]);
    }
    table
}

pub(super) fn delegations(items: &[DelegationView]) -> Table {
    let mut table = head(&["delegation", "state", "in the place of", "reviews", "what", "from", "until", "why"]);
    for item in items {
        let until = item.ended_at.as_ref().unwrap_or(&item.ends_at);
        table.add_row([
            Cell::new(&item.id),
            state(&item.state),
            Cell::new(who(&item.delegator)),
            Cell::new(who(&item.delegate)),
            Cell::new(covered(item)),
            Cell::new(when(&item.starts_at)),
            Cell::new(when(until)),
            Cell::new(shortened(&item.reason)),
        ]);
    }
    table
}

pub(super) fn locks(items: &[LockView]) -> Table {
    let mut table = head(&["lock", "state", "blocks", "made by", "from", "until", "why"]);
    for item in items {
        let until = item.ended_at.as_ref().or(item.expires_at.as_ref());
        table.add_row([
            Cell::new(&item.id),
            state(&item.state),
            Cell::new(target(item)),
            Cell::new(who(&item.created_by)),
            Cell::new(when(&item.created_at)),
            Cell::new(until.map_or_else(|| "removed".to_owned(), |at| when(at))),
            Cell::new(shortened(&item.reason)),
        ]);
    }
    table
}

pub(super) fn signals(items: &[SignalView]) -> Table {
    let mut table = head(&["signal", "state", "set by", "until", "at most", "why"]);
    for item in items {
        let mut row = |set: Option<&SetView>| {
            let (state, tone) = if set.is_some() { ("set", Tone::Waiting) } else { ("not set", Tone::Good) };
            let of = set.and_then(|set| set.of.as_ref()).map(|of| format!(" of {}", shortened(of)));
            table.add_row([
                Cell::new(format!("{}{}", item.name, of.unwrap_or_default())),
                Cell::new(state).fg(tone.colour()),
                Cell::new(set.map_or("", |set| who(&set.set_by))),
                Cell::new(set.map_or_else(String::new, |set| when(&set.expires_at))),
                Cell::new(&item.max_duration),
                Cell::new(set.map_or_else(String::new, |set| shortened(&set.reason))),
            ]);
        };
        if item.said.is_empty() {
            row(item.set.as_ref());
        }
        item.said.iter().for_each(|set| row(Some(set)));
    }
    table
}

pub(super) fn deliveries(items: &[DeliveryView]) -> Table {
    let mut table = head(&["delivery", "state", "to", "what", "about", "tries", "due", "why not"]);
    for item in items {
        table.add_row([
            Cell::new(&item.id),
            state(&item.state),
            Cell::new(&item.endpoint),
            Cell::new(&item.kind),
            Cell::new(&item.about),
            Cell::new(item.attempts),
            Cell::new(when(item.ended_at.as_ref().unwrap_or(&item.due_at))),
            Cell::new(shortened(item.fault.as_deref().unwrap_or_default())),
        ]);
    }
    table
}

pub(super) fn fleet(items: &[FilterView]) -> Table {
    let mut table =
        head(&["vm", "node", "state", "services", "applied", "last seen", "records", "gaps", "queue", "lag"]);
    for item in items {
        let applied =
            item.applied.map_or_else(|| "nothing yet".to_owned(), |at| format!("{}/{}", at.epoch, at.revision));
        table.add_row([
            Cell::new(&item.vm),
            Cell::new(&item.node),
            state(&item.state),
            Cell::new(item.services.join(", ")),
            Cell::new(applied),
            Cell::new(when(&item.last_seen)),
            Cell::new(format!("{}/{}", item.records.received, item.records.made)),
            Cell::new(item.records.dropped.saturating_add(item.records.lost)),
            Cell::new(item.records.queued.map_or_else(String::new, |queued| queued.to_string())),
            Cell::new(item.records.lag.as_deref().unwrap_or_default()),
        ]);
    }
    table
}

/// The first line, at most 60 letters.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= 60 { line.to_owned() } else { line.chars().take(59).chain(['…']).collect() }
}
