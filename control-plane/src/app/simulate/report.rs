//! The sums of a simulation, each bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use grantmesh_shared::engine::Principal;
use grantmesh_shared::id::DecisionId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::cases::{Outcome, Word};
use grantmesh_shared::wire::policy::{Replay, Replayed, reviewers};
use grantmesh_shared::wire::records::DecisionEvent;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most changes, missing facts and rules that are told one by one.
const MOST_TOLD: usize = 500;

/// A day in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// What a candidate policy would have made of recorded decisions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// From when on entries were looked at.
    pub from: String,
    /// Until when.
    pub until: String,
    /// How many entries of the log were read.
    pub entries: u64,
    /// Whether all of that time was looked at; if not, there are more entries than are read at once, and only the latest were.
    pub complete: bool,
    /// How many recorded decisions there were. Calls of which there is no record (`audit: counted`, those left out of a sample,
    /// those of services without a policy then) are not among them.
    pub decisions: u64,
    /// How many decisions of that time the log has no record of, because filters dropped or lost them.
    pub unrecorded: u64,
    /// How many would be the same.
    pub same: u64,
    /// How many would be another.
    pub changed: u64,
    /// How many were made by something else than the policy: a lock, an ambiguous call, a filter that was not ready.
    pub not_by_policy: u64,
    /// How many could not be judged again.
    pub not_judged: u64,
    /// Why not, the most frequent first.
    pub not_judged_because: Vec<NotJudged>,
    /// What would be another decision, the most frequent first.
    pub changes: Vec<Changed>,
    /// Changed decisions that are not among `changes`, which are too many to tell.
    pub changed_untold: u64,
    /// Recorded calls that would be refused and could be asked for, of the entries that were read.
    pub asks: u64,
    /// The same, counted once for each caller, action, resource and day.
    pub requests: u64,
    /// The same, for each day of the time that was looked at; nothing unless all of it was (`complete`).
    pub requests_a_day: Option<f64>,
    /// Who would review them, rule by rule.
    pub reviews: Vec<Reviewing>,
}

/// A fact that records do not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotJudged {
    /// What it is.
    pub fact: String,
    /// How many decisions depend on it.
    pub decisions: u64,
}

/// Decisions that would be others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// Who called.
    pub principal: String,
    /// The service.
    pub service: String,
    /// The action that the call would be, or the recorded one.
    pub action: String,
    /// What was recorded.
    pub recorded: String,
    /// What it would be, with what makes it so.
    pub simulated: String,
    /// How many.
    pub decisions: u64,
}

/// The asks that would come to reviewers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reviewing {
    /// The service.
    pub service: String,
    /// The rule.
    pub rule: String,
    /// Who decides.
    pub reviewers: Vec<String>,
    /// How many approvals each needs.
    pub approvals: u32,
    /// How many would be asked for, counted once for each caller, action, resource and day.
    pub requests: u64,
    /// How many of those the rule would decide by itself, decision by decision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub automatic: BTreeMap<String, u64>,
    /// Of how many that depends on what records do not hold: claims of the token, and which signals were set.
    #[serde(default)]
    pub automatic_not_judged: u64,
}

/// The sums while they are made.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sums: Simulation,
    missing: BTreeMap<String, u64>,
    changes: BTreeMap<[String; 5], u64>,
    /// Hashes of what is one request; as many at most as entries are read.
    requests: BTreeSet<u64>,
    /// Decisions that later ones replace; as many at most as entries are read.
    replaced: BTreeSet<DecisionId>,
    /// Decisions that filters dropped or lost, and those of them that came back.
    gone: u64,
    recovered: u64,
    reviews: BTreeMap<(String, String), Reviewing>,
}

impl Tally {
    /// Whether a decision is told already by a later record, which replaces it or tells of its end.
    pub(super) fn is_told(&mut self, event: &DecisionEvent<'_>) -> bool {
        if let Some(replaced) = &event.instead_of {
            self.replaced.insert(replaced.clone());
        }
        // The end of a call is no other call.
        event.ended.is_some() || self.replaced.remove(&event.id)
    }

    /// Decisions that filters could not deliver, or did after all.
    pub(super) fn unrecorded(&mut self, decisions: u64, came_back: bool) {
        let gone = if came_back { &mut self.recovered } else { &mut self.gone };
        *gone = gone.saturating_add(decisions);
    }

    /// A record that this build does not understand.
    pub(super) fn unreadable(&mut self) {
        self.sums.decisions += 1;
        self.unknown(&BTreeSet::from(["a record of another version".to_owned()]), 1);
    }

    fn unknown(&mut self, facts: &BTreeSet<String>, times: u64) {
        self.sums.not_judged += times;
        for fact in facts {
            count(&mut self.missing, fact.clone(), times);
        }
    }

    pub(super) fn add(&mut self, event: &DecisionEvent<'_>, replayed: &Replayed, at: Timestamp, replay: &Replay) {
        // One record may stand for several refusals alike.
        let times = event.count;
        self.sums.decisions += times;
        let outcome = match replayed {
            Replayed::NotByPolicy => return self.sums.not_by_policy += times,
            Replayed::Unknown(facts) => return self.unknown(facts, times),
            Replayed::Decided(outcome) => outcome,
        };
        if outcome.decision == Word::Ask {
            self.ask(event, outcome, at, replay);
        }
        if Word::from(event.decision) == outcome.decision {
            self.sums.same += times;
            return;
        }
        self.sums.changed += times;
        let action = outcome.action.clone().or_else(|| event.action.as_deref().map(str::to_owned)).unwrap_or_default();
        let recorded = event.decision.as_str().to_owned();
        let key = [principal(event), event.service.to_string(), action, recorded, outcome.text()];
        if !count(&mut self.changes, key, times) {
            self.sums.changed_untold += times;
        }
    }

    fn ask(&mut self, event: &DecisionEvent<'_>, outcome: &Outcome, at: Timestamp, replay: &Replay) {
        self.sums.asks += event.count;
        let day = at.millis().div_euclid(DAY_MS);
        let what = (principal(event), &event.issuer, &event.service, &outcome.action, &outcome.resource, day);
        if !self.requests.insert(BuildHasherDefault::<DefaultHasher>::default().hash_one(what)) {
            return;
        }
        self.sums.requests += 1;
        // The first rule is the one that is asked under if none is named.
        let Some(rule) = outcome.rules.first().and_then(|name| replay.rule(&event.service, name)) else { return };
        let key = (event.service.to_string(), rule.name.to_string());
        if self.reviews.len() >= MOST_TOLD && !self.reviews.contains_key(&key) {
            return;
        }
        let begin = || Reviewing {
            service: event.service.to_string(),
            rule: rule.name.to_string(),
            reviewers: reviewers(rule),
            approvals: rule.workflow.deciding.approvals(),
            requests: 0,
            automatic: BTreeMap::new(),
            automatic_not_judged: 0,
        };
        let of = (outcome.action.as_deref().unwrap_or_default(), outcome.resource.as_deref().unwrap_or_default());
        let reviewing = self.reviews.entry(key).or_insert_with(begin);
        reviewing.requests += 1;
        match replay.automatic(event, rule, of, at) {
            Ok(None) => {}
            Ok(Some(decided)) => {
                let word = format!("{} by {}", decided.then.as_str(), decided.name);
                *reviewing.automatic.entry(word).or_default() += 1;
            }
            Err(_) => reviewing.automatic_not_judged += 1,
        }
    }

    /// The sums of the time from one point to another.
    pub(super) fn report(self, (from, until): (Timestamp, Timestamp), (entries, complete): (u64, bool)) -> Simulation {
        let Self { sums, missing, changes, reviews, gone, recovered, .. } = self;
        let mut not_judged_because: Vec<NotJudged> =
            missing.into_iter().map(|(fact, decisions)| NotJudged { fact, decisions }).collect();
        not_judged_because.sort_by_key(|missing| std::cmp::Reverse(missing.decisions));
        let change = |([principal, service, action, recorded, simulated], decisions): ([String; 5], u64)| Changed {
            principal,
            service,
            action,
            recorded,
            simulated,
            decisions,
        };
        let mut changes: Vec<Changed> = changes.into_iter().map(change).collect();
        changes.sort_by_key(|change| std::cmp::Reverse(change.decisions));
        let days = f64::from(u32::try_from(until.since(from).millis() / 1_000).unwrap_or(u32::MAX)) / 86_400.0;
        let requests = f64::from(u32::try_from(sums.requests).unwrap_or(u32::MAX));
        // What was read of a part of the time says nothing about a day.
        let a_day = (complete && days > 0.0).then(|| (requests / days * 10.0).round() / 10.0);
        Simulation {
            from: from.to_string(),
            until: until.to_string(),
            entries,
            complete,
            not_judged_because,
            changes,
            requests_a_day: a_day,
            unrecorded: gone.saturating_sub(recovered),
            reviews: reviews.into_values().collect(),
            ..sums
        }
    }
}

/// Counts more of a key; false if the key is new and there are too many.
fn count<Key: Ord>(counts: &mut BTreeMap<Key, u64>, key: Key, more: u64) -> bool {
    let has_room = counts.len() < MOST_TOLD;
    match counts.get_mut(&key) {
        Some(count) => *count += more,
        None if has_room => {
            counts.insert(key, more);
        }
        None => return false,
    }
    true
}

fn principal(event: &DecisionEvent<'_>) -> String {
    let user = event.issuer.as_deref().zip(event.subject.as_deref());
    Principal { user, groups: &[], workload: event.workload.as_deref() }.to_string()
}
