//! The life cycle of a request and its grant against a small reference that knows numbers and words, over 100,000 histories:
//! what a rule decides by itself, reviews, policies that change, starts, extensions, uses and every way to an end, in any order and at any time.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use grantmesh_shared::engine::{Course, Deciding, Extension, Rule, Workflow};
use grantmesh_shared::id::{GrantId, PolicyId, RequestId, ReviewId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::table::{Body, ThenItem};
use proptest::prelude::*;

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

    fn rule(self) -> Option<Rule> {
        let eligible = if self == Self::Lost { "others" } else { "askers" };
        let extension = Extension {
            max_total: Some(Span::from_secs(self.total())),
            without_review: Some(Span::from_secs(self.free())),
        };
        let workflow = Workflow {
            deciding: Deciding::by(vec![group("leads")], 2),
            max_duration: Span::from_secs(self.max()),
            default_duration: Span::from_secs(60),
            max_uses: Some(3),
            automatic: Vec::new(),
            request_timeout: Span::from_secs(5_000),
            course: Course { extension, ..Course::default() },
        };
        let rule = Rule { eligible: vec![group(eligible)], ..samples::rule(workflow) };
        (self != Self::Gone).then_some(rule)
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Review {
        who: u8,
        yes: bool,
    },
    Withdraw,
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
        8 => (0..5_u8, prop_oneof![9 => Just(true), 1 => Just(false)]).prop_map(|(who, yes)| Op::Review { who, yes }),
        1 => Just(Op::Withdraw),
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
    let asked = (1..1_000_u64, proptest::option::of(1..4_u32), proptest::option::of(1..2_000_u64), by_itself);
    let asked = asked.prop_map(|(secs, uses, start, by_itself)| Asked { secs, uses, start, by_itself });
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
    votes: BTreeSet<u8>,
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
        let (votes, grant) = (BTreeSet::new(), None);
        let mut model = Self { now: 0, policy: Policy::Same, signal: true, asked, state: "pending", votes, grant };
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

    fn review(&mut self, who: u8, yes: bool) {
        if self.overdue() || self.state != "pending" || !(1..4).contains(&who) || self.policy == Policy::Gone {
            return;
        }
        if self.votes.contains(&who) {
            return;
        }
        if !yes {
            self.state = "denied";
            return;
        }
        if self.policy == Policy::Lost {
            return;
        }
        self.votes.insert(who);
        let needed = if let Some(ThenItem::Require(needed)) = self.asked.by_itself { needed as usize } else { 2 };
        if self.votes.len() >= needed {
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
    request: Request,
    grant: Option<Grant>,
}

fn rules<'r>(then: &'r Rule, now: Option<&'r Rule>) -> RulesAtReview<'r> {
    static NOBODY: LazyLock<People> = LazyLock::new(People::default);
    RulesAtReview {
        then: Some(then),
        now,
        people: PeopleAtReview { then: &NOBODY, now: &NOBODY },
        escalated: false,
        delegations: &[],
    }
}

fn by_itself(then: ThenItem) -> Automatic {
    Automatic { name: "it".to_owned(), then, policy: PolicyId::new(0, [0; 10]) }
}

fn person(who: u8) -> Actor {
    let groups: &[&str] = match who {
        0 => &["askers", "leads"],
        1..4 => &["leads"],
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
            ..samples::ask()
        };
        let ids = (RequestId::new(0, [0; 10]), GrantId::new(0, [0; 10]));
        let automatic = asked.by_itself.map(by_itself);
        let (request, grant) = Request::filed(ids, ask, 2, automatic, rules(&then, Some(&then)), (at(0), 1));
        Self { now: at(0), revision: 1, rule: Some(then.clone()), signal: true, then, request, grant }
    }

    fn settle(&mut self) {
        let Some(grant) = self.grant.take() else { return };
        let rules = rules(&self.then, self.rule.as_ref());
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
            Op::Apply(policy) => self.rule = policy.rule(),
            Op::Signal(signal) => self.signal = signal,
            Op::Review { who, yes } => {
                if self.overdue() {
                    return;
                }
                let rules = rules(&self.then, self.rule.as_ref());
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
                let rules = rules(&self.then, self.rule.as_ref());
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

fn check(asked: Asked, history: &[Op]) -> Result<(), TestCaseError> {
    let then = Policy::Same.rule().unwrap();
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
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_ends_as_the_reference_says((asked, history) in ops()) {
        check(asked, &history)?;
    }
}
