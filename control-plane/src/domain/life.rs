//! The life cycle of a request and its grant against a small reference that knows numbers and words, over 100,000 histories:
//! what a rule decides by itself, reviews in stages and by factors, several denials, escalation, policies that change, starts,
//! extensions, uses and every way to an end, in any order and at any time.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use grantmesh_shared::engine::{Course, Deciding, Extension, Factor, Rule, Stage, Subject, Timeouts, Workflow};
use grantmesh_shared::id::{GrantId, PolicyId, RequestId, ReviewId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::table::{Body, ThenItem};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::samples::{ISSUER, group};
use super::*;

/// What the policy in force says, against when the request was filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Same,
    Stricter,
    /// The requester may no longer ask.
    Lost,
    /// There is no such rule any more.
    Gone,
}

impl Policy {
    const fn max(self) -> u64 {
        if matches!(self, Self::Stricter) { 300 } else { 1_000 }
    }

    const fn total(self) -> u64 {
        if matches!(self, Self::Stricter) { 700 } else { 2_000 }
    }

    const fn free(self) -> u64 {
        if matches!(self, Self::Stricter) { 400 } else { 1_200 }
    }

    fn rule(self, shape: Shape) -> Option<Rule> {
        let eligible = if self == Self::Lost { "others" } else { "askers" };
        let extension = Extension {
            max_total: Some(Span::from_secs(self.total())),
            without_review: Some(Span::from_secs(self.free())),
        };
        let workflow = Workflow {
            deciding: shape.deciding(),
            max_duration: Span::from_secs(self.max()),
            default_duration: Span::from_secs(60),
            max_uses: Some(3),
            automatic: Vec::new(),
            request_timeout: Span::from_secs(5_000),
            course: Course { extension, timeouts: shape.timeouts(), ..Course::default() },
        };
        let rule = Rule { eligible: vec![group(eligible)], ..samples::rule(workflow) };
        (self != Self::Gone).then_some(rule)
    }
}

/// What it takes to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Two leads; one of them denies.
    Plain,
    /// A lead, and then another lead together with a keeper, or with a manager once it is escalated; two deny.
    Staged,
}

/// After so many seconds it is escalated.
const ESCALATES: u64 = 1_500;

impl Shape {
    const fn denials(self) -> usize {
        if matches!(self, Self::Staged) { 2 } else { 1 }
    }

    fn deciding(self) -> Deciding {
        let factor = |name: &str| Factor { approvals: 1, reviewers: vec![group(name)] };
        let stage = |name: &str, factors| Stage { name: name.into(), factors };
        match self {
            Self::Plain => Deciding::by(vec![group("leads")], 2),
            Self::Staged => Deciding {
                stages: vec![
                    stage("first", vec![factor("leads")]),
                    stage("second", vec![factor("leads"), factor("keepers")]),
                ],
                denials: 2,
                ..Deciding::default()
            },
        }
    }

    fn timeouts(self) -> Timeouts {
        let escalate_to: Vec<Subject> = if self == Self::Staged { vec![group("managers")] } else { Vec::new() };
        Timeouts { escalate_after: Some(Span::from_secs(ESCALATES)), escalate_to, ..Timeouts::default() }
    }
}

/// Who somebody is in the reference: the requester and the fifth are nobody who reviews.
const LEADS: [u8; 4] = [1, 2, 3, 5];
/// One of the leads is a keeper, too, and can sit in either place.
const KEEPERS: [u8; 2] = [5, 6];
const MANAGERS: [u8; 1] = [7];

#[derive(Debug, Clone, Copy)]
enum Op {
    Review {
        who: u8,
        yes: bool,
    },
    Withdraw,
    /// Others are asked, too, if its time has come.
    Escalate,
    Wait(u64),
    Reconcile,
    Revoke,
    Release,
    Claim,
    Extend(u64),
    Apply(Policy),
    /// Whether the rule would approve by itself from now on.
    Signal(bool),
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    shape: Shape,
    secs: u64,
    uses: Option<u32>,
    start: Option<u64>,
    by_itself: Option<ThenItem>,
}

fn ops() -> impl Strategy<Value = (Asked, Vec<Op>)> {
    let policy = prop_oneof![
        3 => Just(Policy::Same), 2 => Just(Policy::Stricter), 1 => Just(Policy::Lost), 1 => Just(Policy::Gone),
    ];
    let op = prop_oneof![
        10 => (0..8_u8, prop_oneof![7 => Just(true), 1 => Just(false)]).prop_map(|(who, yes)| Op::Review { who, yes }),
        1 => Just(Op::Withdraw),
        2 => Just(Op::Escalate),
        6 => prop_oneof![4 => 1..500_u64, 1 => 500..6_000_u64].prop_map(Op::Wait),
        3 => Just(Op::Reconcile),
        1 => Just(Op::Revoke),
        1 => Just(Op::Release),
        4 => Just(Op::Claim),
        3 => (1..1_500_u64).prop_map(Op::Extend),
        2 => policy.prop_map(Op::Apply),
        1 => any::<bool>().prop_map(Op::Signal),
    ];
    let by_itself = prop_oneof![
        4 => Just(None),
        2 => Just(Some(ThenItem::Approve)),
        1 => Just(Some(ThenItem::Deny)),
        1 => Just(Some(ThenItem::Require(3))),
        1 => Just(Some(ThenItem::Escalate)),
    ];
    let shape = prop_oneof![Just(Shape::Plain), Just(Shape::Staged)];
    let asked = (shape, 1..1_000_u64, proptest::option::of(1..4_u32), proptest::option::of(1..2_000_u64), by_itself);
    let asked = asked.prop_map(|(shape, secs, uses, start, by_itself)| Asked { shape, secs, uses, start, by_itself });
    (asked, proptest::collection::vec(op, 1..20))
}

/// The reference. Times are in seconds.
#[derive(Debug)]
struct Model {
    now: u64,
    policy: Policy,
    signal: bool,
    asked: Asked,
    state: &'static str,
    escalated: bool,
    /// Who approved, in their order; those of the first stage have no place in the second.
    votes: Vec<u8>,
    denials: BTreeSet<u8>,
    grant: Option<ModelGrant>,
}

#[derive(Debug, Clone, Copy)]
struct ModelGrant {
    state: &'static str,
    from: u64,
    until: u64,
    uses: Option<(u32, u32)>,
}

impl Model {
    fn new(asked: Asked) -> Self {
        let (votes, denials, grant) = (Vec::new(), BTreeSet::new(), None);
        let escalated = asked.by_itself == Some(ThenItem::Escalate);
        let (now, policy, state) = (0, Policy::Same, "pending");
        let mut model = Self { now, policy, signal: true, asked, state, escalated, votes, denials, grant };
        match asked.by_itself {
            Some(ThenItem::Approve) => model.approve(),
            Some(ThenItem::Deny) => model.state = "denied",
            _ => {}
        }
        model
    }

    fn overdue(&mut self) -> bool {
        let overdue = self.state == "pending" && self.now >= 5_000;
        if overdue {
            self.state = "timed_out";
        }
        overdue
    }

    fn apply(&mut self, op: Op) {
        let (now, policy) = (self.now, self.policy);
        match op {
            Op::Wait(secs) => self.now += secs,
            Op::Apply(policy) => self.policy = policy,
            Op::Signal(signal) => self.signal = signal,
            Op::Review { who, yes } => self.review(who, yes),
            Op::Withdraw => {
                if !self.overdue() && self.state == "pending" {
                    self.state = "withdrawn";
                }
            }
            Op::Escalate => {
                let waits = self.state == "pending" && now < 5_000;
                self.escalated |= waits && now >= ESCALATES;
            }
            Op::Reconcile => {
                self.overdue();
                self.settle();
            }
            Op::Revoke | Op::Release => {
                self.settle();
                let Some(grant) = &mut self.grant else { return };
                let lingers = grant.state == "exhausted" && now < grant.until;
                match (op, grant.state) {
                    (Op::Revoke, "scheduled" | "active") => grant.state = "revoked",
                    (Op::Revoke, _) if lingers => grant.state = "revoked",
                    (Op::Release, "scheduled" | "active") => grant.state = "released",
                    _ => {}
                }
            }
            Op::Claim => {
                let Some(grant) = self.grant.as_mut().filter(|grant| grant.state == "active") else { return };
                let Some((allowed, claimed)) = &mut grant.uses else { return };
                if now < grant.until && claimed < allowed {
                    *claimed += 1;
                    grant.state = if claimed == allowed { "exhausted" } else { "active" };
                }
            }
            Op::Extend(secs) => {
                self.settle();
                let Some(grant) = self.grant.as_mut().filter(|grant| grant.state == "active") else { return };
                let total = policy.total().min(Policy::Same.total());
                let free = policy.free().min(Policy::Same.free()).min(total);
                // Over the total it is refused, over what is free it would be reviewed.
                if policy != Policy::Gone && grant.until + secs <= grant.from + free.min(total) {
                    grant.until += secs;
                }
            }
        }
    }

    /// In which places of the open stage somebody could sit.
    fn places(&self, who: u8) -> Vec<&'static str> {
        let is_backup = self.asked.shape == Shape::Staged && self.escalated && MANAGERS.contains(&who);
        let kinds = match self.asked.shape {
            Shape::Plain => [("lead", LEADS.contains(&who)), ("keeper", false)],
            Shape::Staged => [("lead", LEADS.contains(&who)), ("keeper", KEEPERS.contains(&who))],
        };
        kinds.into_iter().filter(|(_, is_it)| *is_it || is_backup).map(|(kind, _)| kind).collect()
    }

    /// Whether each of these people can sit in another place of the second stage.
    fn seats(&self, people: &[u8]) -> bool {
        let sits = |who: u8, place: &str| self.places(who).contains(&place);
        match people {
            [] => true,
            [one] => sits(*one, "lead") || sits(*one, "keeper"),
            [one, two] => (sits(*one, "lead") && sits(*two, "keeper")) || (sits(*one, "keeper") && sits(*two, "lead")),
            _ => false,
        }
    }

    /// Whether approvals pass all stages; nothing if the last of them is not needed where it is.
    fn passed(&self, votes: &[u8]) -> Option<bool> {
        if self.asked.shape == Shape::Plain {
            return Some(votes.len() >= 2);
        }
        let (first, second) = votes.split_first()?;
        // What comes when all stages are passed is one more of those that are required.
        let second = second.get(..2).unwrap_or(second);
        let fit = self.places(*first).contains(&"lead") && self.seats(second);
        fit.then_some(second.len() == 2)
    }

    fn review(&mut self, who: u8, yes: bool) {
        // Who reviews nothing of the rule is told so before anything else.
        let reviews = match self.asked.shape {
            Shape::Plain => LEADS.contains(&who),
            Shape::Staged => LEADS.contains(&who) || KEEPERS.contains(&who) || !self.places(who).is_empty(),
        };
        if self.overdue() || self.state != "pending" || !reviews || self.policy == Policy::Gone {
            return;
        }
        if self.votes.contains(&who) || self.denials.contains(&who) {
            return;
        }
        if !yes {
            self.denials.insert(who);
            if self.denials.len() >= self.asked.shape.denials() {
                self.state = "denied";
            }
            return;
        }
        if self.policy == Policy::Lost {
            return;
        }
        let with: Vec<u8> = self.votes.iter().copied().chain([who]).collect();
        let Some(passed) = self.passed(&with) else { return };
        self.votes = with;
        let required = if let Some(ThenItem::Require(needed)) = self.asked.by_itself { needed as usize } else { 0 };
        if passed && self.votes.len() >= required {
            self.approve();
        }
    }

    fn approve(&mut self) {
        self.state = "approved";
        let Asked { secs, uses, start, .. } = self.asked;
        let from = start.map_or(self.now, |start| start.max(self.now));
        let until = from + secs.min(self.policy.max()).min(Policy::Same.max());
        let state = if from > self.now { "scheduled" } else { "active" };
        // A rule that counts uses lets nobody have any number.
        self.grant = Some(ModelGrant { state, from, until, uses: uses.or(Some(3)).map(|uses| (uses, 0)) });
    }

    fn settle(&mut self) {
        let (now, policy) = (self.now, self.policy);
        let Some(grant) = &mut self.grant else { return };
        match grant.state {
            "scheduled" if now >= grant.until => grant.state = "expired",
            "scheduled" if now >= grant.from && matches!(policy, Policy::Lost | Policy::Gone) => {
                grant.state = "revoked"
            }
            // What nobody has looked at starts only if it would be approved then.
            "scheduled" if now >= grant.from && self.asked.by_itself == Some(ThenItem::Approve) && !self.signal => {
                grant.state = "revoked"
            }
            "scheduled" if now >= grant.from => {
                let length = (grant.until - grant.from).min(policy.max());
                *grant = ModelGrant { state: "active", from: now, until: now + length, ..*grant };
            }
            "active" if now >= grant.until => grant.state = "expired",
            _ => {}
        }
    }
}

/// The domain, driven by the same operations as `app` drives it.
struct Real {
    now: Timestamp,
    revision: u64,
    then: Rule,
    rule: Option<Rule>,
    signal: bool,
    shape: Shape,
    request: Request,
    grant: Option<Grant>,
}

fn rules<'r>(then: &'r Rule, now: Option<&'r Rule>, escalated: bool) -> RulesAtReview<'r> {
    static NOBODY: LazyLock<People> = LazyLock::new(People::default);
    RulesAtReview {
        then: Some(then),
        now,
        people: PeopleAtReview { then: &NOBODY, now: &NOBODY },
        escalated,
        delegations: &[],
    }
}

fn by_itself(then: ThenItem) -> Automatic {
    Automatic { name: "it".to_owned(), then, policy: PolicyId::new(0, [0; 10]) }
}

fn person(who: u8) -> Actor {
    let groups: &[&str] = match who {
        0 => &["askers", "leads"],
        1..=3 => &["leads"],
        5 => &["leads", "keepers"],
        6 => &["keepers"],
        7 => &["managers"],
        _ => &["guests"],
    };
    Actor::new(ISSUER, &format!("p{who}"), groups.iter().map(|group| (*group).to_owned()).collect())
}

impl Real {
    fn new(asked: Asked, then: Rule) -> Self {
        let at = |secs: u64| Timestamp::default().plus(Span::from_secs(secs));
        let ask = Ask {
            duration: Span::from_secs(asked.secs),
            uses: asked.uses,
            starts_at: asked.start.map(at),
            times_out_at: at(5_000),
            timers: Timers { remind_at: None, escalate_at: Some(at(ESCALATES)) },
            ..samples::ask()
        };
        let ids = (RequestId::new(0, [0; 10]), GrantId::new(0, [0; 10]));
        let automatic = asked.by_itself.map(by_itself);
        let (request, grant) = Request::filed(
            ids,
            ask,
            then.workflow.deciding.approvals(),
            automatic,
            rules(&then, Some(&then), false),
            (at(0), 1),
        );
        let (rule, shape) = (Some(then.clone()), asked.shape);
        Self { now: at(0), revision: 1, rule, signal: true, shape, then, request, grant }
    }

    fn settle(&mut self) {
        let Some(grant) = self.grant.take() else { return };
        let rules = rules(&self.then, self.rule.as_ref(), self.request.waited.escalated_at.is_some());
        self.grant = Some(if grant.is_due(self.now) {
            let today = self.signal.then(|| by_itself(ThenItem::Approve));
            grant.start(&self.request, rules, today.as_ref(), (self.now, self.revision)).unwrap()
        } else if grant.is_over(self.now) {
            grant.expire(self.now, self.revision).unwrap()
        } else {
            grant
        });
    }

    fn overdue(&mut self) -> bool {
        let overdue = self.request.is_overdue(self.now);
        if overdue {
            self.request = self.request.clone().time_out(self.now).unwrap();
        }
        overdue
    }

    fn apply(&mut self, op: Op) {
        self.revision += 1;
        let (now, revision) = (self.now, self.revision);
        match op {
            Op::Wait(secs) => self.now = now.plus(Span::from_secs(secs)),
            Op::Apply(policy) => self.rule = policy.rule(self.shape),
            Op::Signal(signal) => self.signal = signal,
            // As the store does it: once, of what is pending and not overdue.
            Op::Escalate => {
                let due = self.request.ask.timers.escalate_at.is_some_and(|at| now >= at);
                let waits = self.request.state == RequestState::Pending && !self.request.is_overdue(now);
                if due && waits && self.request.waited.escalated_at.is_none() {
                    self.request.waited.escalated_at = Some(now);
                }
            }
            Op::Review { who, yes } => {
                if self.overdue() {
                    return;
                }
                let rules = rules(&self.then, self.rule.as_ref(), self.request.waited.escalated_at.is_some());
                let verdict = if yes { Verdict::Approve } else { Verdict::Deny };
                let new = NewReview {
                    verdict,
                    reason: Some("so".to_owned()),
                    duration: None,
                    uses: None,
                    reveals: None,
                    digest: self.request.ask.digest(),
                    on_behalf_of: None,
                };
                let ids = (ReviewId::new(revision, [0; 10]), GrantId::new(0, [0; 10]));
                if let Ok(outcome) = self.request.clone().review(&person(who), &new, rules, ids, now, revision) {
                    self.request = outcome.request;
                    self.grant = self.grant.take().or(outcome.grant);
                }
            }
            Op::Withdraw => {
                if !self.overdue()
                    && let Ok(request) = self.request.clone().withdraw(now)
                {
                    self.request = request;
                }
            }
            Op::Reconcile => {
                self.overdue();
                self.settle();
            }
            Op::Revoke | Op::Release => {
                self.settle();
                let by = match op {
                    Op::Release => EndedBy::Holder,
                    _ => EndedBy::Revoker(person(4).user, Text::new("so", "reason").unwrap()),
                };
                if let Some(Ok(ended)) = self.grant.clone().map(|grant| grant.end(by, now, revision)) {
                    self.grant = Some(ended);
                }
            }
            Op::Claim => {
                if let Some(Ok((grant, _))) = self.grant.clone().map(|grant| grant.claim(now, revision)) {
                    self.grant = Some(grant);
                }
            }
            Op::Extend(secs) => {
                self.settle();
                let rules = rules(&self.then, self.rule.as_ref(), self.request.waited.escalated_at.is_some());
                let (Some(grant), Some(cap)) = (self.grant.clone(), ExtensionCap::of(rules)) else { return };
                let by = Span::from_secs(secs);
                if grant.may_extend(by, cap, now) == Ok(false) {
                    self.grant = Some(grant.extend(by, rules, now, revision).unwrap());
                }
            }
        }
    }

    fn seen(&self) -> (String, Option<(String, u64, u64, u32)>) {
        let secs = |at: Timestamp| at.since(Timestamp::default()).millis() / 1_000;
        let grant = self.grant.as_ref().map(|grant| {
            let claimed = grant.uses.map_or(0, |uses| uses.claimed);
            (grant.state.word().to_string(), secs(grant.starts_at), secs(grant.expires_at), claimed)
        });
        (self.request.state.word().to_string(), grant)
    }
}

fn check(asked: Asked, history: &[Op], reached: &Reached) -> Result<(), TestCaseError> {
    let then = Policy::Same.rule(asked.shape).unwrap();
    // What the rule counts is asked for in numbers: that much `Ask::new` sees to.
    let asked = Asked { uses: asked.uses.or(Some(3)), ..asked };
    let mut real = Real::new(asked, then);
    let mut model = Model::new(asked);
    for (step, op) in history.iter().enumerate() {
        let before = real.seen();
        model.apply(*op);
        real.apply(*op);
        let after = real.seen();
        let expected = model.grant.map(|grant| {
            (grant.state.to_owned(), grant.from, grant.until, grant.uses.map_or(0, |(_, claimed)| claimed))
        });
        prop_assert_eq!(&after, &(model.state.to_owned(), expected), "step {}: {:?}", step, op);
        // What ended stays as it is, but for calls that still run.
        if let (Some((was, ..)), Some((is, ..))) = (&before.1, &after.1) {
            let ended = ["expired", "revoked", "released"].contains(&was.as_str());
            prop_assert!(!ended || was == is, "step {}: {} -> {}", step, was, is);
        }
        // What filters would get has the same ends as what is kept.
        if let Some(grant) = &real.grant {
            let Body::Grant(item) = grant.body() else { panic!("a grant is a grant") };
            prop_assert_eq!((item.starts_at, item.expires_at), (grant.starts_at, grant.expires_at));
        }
    }
    reached.note(&model);
    Ok(())
}

/// How many histories had what they are about.
#[derive(Debug, Default)]
struct Reached {
    staged_approvals: Cell<u32>,
    approvals_by_managers: Cell<u32>,
    second_denials: Cell<u32>,
    one_denial_that_did_not: Cell<u32>,
}

impl Reached {
    fn note(&self, model: &Model) {
        let staged = model.asked.shape == Shape::Staged;
        let approved = staged && model.state == "approved" && !model.votes.is_empty();
        let counts = [
            (&self.staged_approvals, approved),
            (&self.approvals_by_managers, approved && model.votes.contains(&MANAGERS[0])),
            (&self.second_denials, staged && model.denials.len() == 2),
            (&self.one_denial_that_did_not, approved && model.denials.len() == 1),
        ];
        counts.into_iter().filter(|(_, reached)| *reached).for_each(|(count, _)| count.set(count.get() + 1));
    }
}

#[test]
fn every_history_ends_as_the_reference_says() {
    let config = ProptestConfig { cases: 100_000, failure_persistence: None, ..ProptestConfig::default() };
    let reached = Reached::default();
    let run = |(asked, history): (Asked, Vec<Op>)| check(asked, &history, &reached);
    if let Err(error) = TestRunner::new(config).run(&ops(), run) {
        panic!("{error}");
    }
    let Reached { staged_approvals, approvals_by_managers, second_denials, one_denial_that_did_not } = &reached;
    for count in [staged_approvals, approvals_by_managers, second_denials, one_denial_that_did_not] {
        assert!(count.get() > 100, "histories have too little of everything: {reached:?}");
    }
}
