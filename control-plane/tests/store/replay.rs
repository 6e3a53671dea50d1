//! The log tells the whole story: folding its entries gives the state that the tables have, and every entry is a step that
//! the state before it allows, so that none is missing and none is written twice.

mod fold;
mod tables;

use grantmesh_control_plane::app::{Limits, RevokeFilter};
use grantmesh_control_plane::domain::{
    Actor, AskTarget, Lasting, NewBreakGlass, NewDelegation, NewLock, NewOffline, NewRequest, NewReview, PostVerdict,
};
use grantmesh_shared::engine::User;
use grantmesh_shared::id::{DecisionId, DelegationId, GrantId, LockId, PostReviewId, RequestId};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::claims::{ClaimOutcome, ClaimsRequest};
use grantmesh_shared::wire::holds::{EndedHold, HoldEnd, HoldItem, HoldsRequest};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, Event, UseEvent, UseOutcome};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::db::Db;
use crate::records::{Stream, deny, identity, vm};
use crate::world::{ISSUER, POLICY, World, ann, approval, bob, denial, lee, mia, olga, refund, signal, someone};
use fold::Fold;

const RIGHT: &str = r#"
apiVersion: grantmesh.dev/v1
kind: BreakGlass
metadata: { name: emergency }
spec:
  service: payments
  actions: [refund.create]
  subjects: ["group:support"]
  maxDuration: 30m
  reviewers: ["group:leads"]
  reviewWithin: 1h
  offline: 2h
"#;

fn policy() -> String {
    let rule = "defaultDuration: 15m\n  hold: 30s\n  extension: { withoutReview: 30m }\n  timeouts: { remindAfter: 1h, escalateAfter: 2h, escalateTo: [\"group:managers\"] }\n  \
                automatic: [{ name: freeze, then: deny, when: 'signals.freeze && resource != \"account/acc-3\"' }, \
                { name: two, then: require, approvals: 2, when: 'signals.freeze' }, \
                { name: on-call, then: approve, when: 'signals[\"on.call\"] && resource == \"account/acc-3\"' }, \
                { name: incident, then: approve, when: 'signals.incident && resource != \"account/acc-0\"' }, \
                { name: managers, then: escalate, when: 'signals.incident' }]";
    let signals = "signals: [{ name: incident, setters: [\"group:leads\"] }, { name: freeze, setters: [\"group:leads\"] }, { name: on.call, of: user, setters: [\"group:leads\"] }] }";
    POLICY
        .replace("defaultDuration: 15m", rule)
        .replace("\"https://id.example\" }", &format!("\"https://id.example\", {signals}"))
}

#[derive(Debug, Clone)]
enum Op {
    File { who: usize, account: usize, later: Option<u64>, uses: Option<u32> },
    Review { who: usize, which: usize, yes: bool },
    Withdraw { which: usize },
    Revoke { which: usize },
    RevokeAll { who: usize },
    Release { which: usize },
    Extend { which: usize, secs: u64 },
    Claim { which: usize },
    Break { who: usize },
    Post { who: usize, which: usize, yes: bool },
    Wait { secs: u64 },
    Reconcile,
    Eligible(bool),
    Signal { name: &'static str, of: Option<&'static str>, secs: Option<u64> },
    Lock { who: Option<usize>, secs: Option<u64> },
    Unlock { which: usize },
    Lend { from: usize, to: usize, secs: u64 },
    TakeBack { which: usize },
    Issue { who: usize, secs: u64 },
    UseOffline { which: usize },
    Hold { who: usize, account: usize },
    EndHold { which: usize, why: HoldEnd },
}

fn people() -> [Actor; 6] {
    [ann(), bob(), lee(), mia(), someone("max", &["managers"]), someone("dan", &["guests"])]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let which = || 0..8_usize;
    let op = prop_oneof![
        5 => (0..2_usize, 0..4_usize, proptest::option::weighted(0.3, 60..4_000_u64), proptest::option::weighted(0.4, 1..3_u32))
            .prop_map(|(who, account, later, uses)| Op::File { who, account, later, uses }),
        8 => (1..6_usize, which(), prop_oneof![6 => Just(true), 1 => Just(false)])
            .prop_map(|(who, which, yes)| Op::Review { who, which, yes }),
        1 => which().prop_map(|which| Op::Withdraw { which }),
        2 => which().prop_map(|which| Op::Revoke { which }),
        1 => (0..2_usize).prop_map(|who| Op::RevokeAll { who }),
        1 => which().prop_map(|which| Op::Release { which }),
        3 => (which(), 1..3_000_u64).prop_map(|(which, secs)| Op::Extend { which, secs }),
        3 => which().prop_map(|which| Op::Claim { which }),
        1 => (0..2_usize).prop_map(|who| Op::Break { who }),
        2 => (1..6_usize, which(), any::<bool>()).prop_map(|(who, which, yes)| Op::Post { who, which, yes }),
        4 => prop_oneof![3 => 1..1_000_u64, 1 => 1_000..9_000_u64].prop_map(|secs| Op::Wait { secs }),
        4 => Just(Op::Reconcile),
        1 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Op::Eligible),
        3 => (
            prop_oneof![
                3 => Just(("incident", None)),
                1 => Just(("freeze", None)),
                2 => Just(("on.call", Some("ann"))),
                1 => Just(("on.call", Some("bob"))),
            ],
            proptest::option::weighted(0.8, 1..6_000_u64),
        )
            .prop_map(|((name, of), secs)| Op::Signal { name, of, secs }),
        1 => (proptest::option::of(0..2_usize), proptest::option::of(60..4_000_u64))
            .prop_map(|(who, secs)| Op::Lock { who, secs }),
        1 => which().prop_map(|which| Op::Unlock { which }),
        2 => (1..5_usize, 0..6_usize, 60..9_000_u64).prop_map(|(from, to, secs)| Op::Lend { from, to, secs }),
        1 => which().prop_map(|which| Op::TakeBack { which }),
        1 => (0..2_usize, 60..7_200_u64).prop_map(|(who, secs)| Op::Issue { who, secs }),
        1 => which().prop_map(|which| Op::UseOffline { which }),
        3 => (0..2_usize, 0..4_usize).prop_map(|(who, account)| Op::Hold { who, account }),
        2 => (which(), prop_oneof![2 => Just(HoldEnd::Gone), 1 => Just(HoldEnd::Over)])
            .prop_map(|(which, why)| Op::EndHold { which, why }),
    ];
    proptest::collection::vec(op, 1..40)
}

/// One history: what it made so far, by which its steps name things.
struct History<'w> {
    world: &'w World,
    people: [Actor; 6],
    requests: Vec<RequestId>,
    grants: Vec<(GrantId, User)>,
    post_reviews: Vec<PostReviewId>,
    locks: Vec<LockId>,
    lent: Vec<DelegationId>,
    tokens: Vec<(GrantId, User)>,
    holds: Vec<DecisionId>,
    /// Of all histories: no decision is made twice, and the stream of the filter that tells of them has no holes.
    calls: &'w mut u64,
    told: &'w mut Stream,
}

impl<'w> History<'w> {
    fn new(world: &'w World, (calls, told): (&'w mut u64, &'w mut Stream)) -> Self {
        let people = people();
        let (requests, grants, post_reviews) = (Vec::new(), Vec::new(), Vec::new());
        let (locks, lent, tokens, holds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { world, people, requests, grants, post_reviews, locks, lent, tokens, holds, calls, told }
    }

    /// A call that a filter lets through under a grant.
    fn call(&mut self, grant: &GrantId, holder: &User, resource: &str) -> DecisionEvent<'static> {
        *self.calls += 1;
        DecisionEvent {
            decision: DecisionWord::Allow,
            action: Some("refund.create".into()),
            resource: Some(resource.to_owned().into()),
            method: "POST".into(),
            path: "/".into(),
            issuer: Some(ISSUER.into()),
            subject: Some(holder.subject.to_string().into()),
            grant: Some(grant.clone()),
            reasons: Vec::new(),
            ..deny(DecisionId::new(*self.calls, [3; 10]))
        }
    }

    async fn play(&mut self, op: Op) {
        let (app, world) = (&self.world.app, self.world);
        match op {
            Op::File { who, account, later, uses } => {
                let starts_at = later.map(|secs| world.now().plus(Span::from_secs(secs)));
                let new = NewRequest { starts_at, uses, ..refund(&format!("acc-{account}")) };
                let Ok(filed) = app.file_request(&self.people[who], new).await else { return };
                let holder = self.people[who].user.clone();
                self.grants.extend(filed.request.state.grant().map(|grant| (grant.clone(), holder)));
                self.requests.push(filed.request.id);
            }
            Op::Review { who, which, yes } => {
                let Some(id) = self.requests.get(which) else { return };
                let review = if yes { approval() } else { denial() };
                let fewer = NewReview { duration: Some(Span::from_secs(120)), ..review.clone() };
                let review = if which % 2 == 0 { review } else { fewer };
                if let Ok(reviewed) = crate::world::review(app, &self.people[who], id, review.clone()).await {
                    self.grants.extend(reviewed.grant.map(|grant| (grant.id, grant.holder)));
                }
            }
            Op::Withdraw { which } => {
                let Some(id) = self.requests.get(which) else { return };
                for who in &self.people {
                    app.withdraw(who, id).await.ok();
                }
            }
            Op::Revoke { which } => {
                let Some((id, _)) = self.grants.get(which) else { return };
                app.revoke(&olga(), id, "so").await.ok();
            }
            Op::RevokeAll { who } => {
                let holder = Some(self.people[who].user.subject.to_string());
                let those = RevokeFilter { holder, ..RevokeFilter::default() };
                app.revoke_many(&olga(), &those, "so", false).await.unwrap();
            }
            Op::Release { which } => {
                let Some((id, _)) = self.grants.get(which) else { return };
                for who in &self.people {
                    app.release(who, id).await.ok();
                }
            }
            Op::Extend { which, secs } => {
                let Some((id, holder)) = self.grants.get(which) else { return };
                let Some(who) = self.people.iter().find(|who| who.user == *holder) else { return };
                if let Ok(grantmesh_control_plane::app::Extended::Asked(request)) =
                    app.extend(who, id, Span::from_secs(secs), Some("more")).await
                {
                    self.requests.push(request.id);
                }
            }
            Op::Claim { which } => self.claim(which).await,
            Op::Break { who } => {
                let target = AskTarget::Action {
                    service: "payments".to_owned(),
                    action: "refund.create".to_owned(),
                    resource: "account/acc-1".to_owned(),
                };
                let new = NewBreakGlass { target, reason: "fire".to_owned(), duration: None, right: None };
                if let Ok(broke) = app.break_glass(&self.people[who], &new).await {
                    self.grants.push((broke.grant.id, broke.grant.holder));
                    self.post_reviews.push(broke.post_review.id);
                }
            }
            Op::Post { who, which, yes } => {
                let Some(id) = self.post_reviews.get(which) else { return };
                let verdict = if yes { PostVerdict::Accept(None) } else { PostVerdict::Dispute("no".to_owned()) };
                app.decide_post_review(&self.people[who], id, (&verdict, None)).await.ok();
            }
            Op::Wait { secs } => world.clock.advance(Span::from_secs(secs)),
            Op::Reconcile => {
                app.start_grants().await.unwrap();
                app.warn_holders().await.unwrap();
                app.expire_grants().await.unwrap();
                app.remind_reviewers().await.unwrap();
                app.escalate_requests().await.unwrap();
                app.time_out_requests().await.unwrap();
                app.tell_overdue_post_reviews().await.unwrap();
                app.expire_signals().await.unwrap();
                app.expire_locks().await.unwrap();
            }
            Op::Signal { name, of, secs: Some(secs) } => {
                drop(app.set_signal(&lee(), signal(name, of), "so", Span::from_secs(secs)).await.unwrap());
            }
            Op::Signal { name, of, secs: None } => drop(app.clear_signal(&lee(), signal(name, of), None).await),
            Op::Eligible(yes) => {
                let text = policy();
                let text =
                    if yes { text } else { text.replace("eligible: [\"group:support\"]", "eligible: [\"group:x\"]") };
                world.apply(&[&text, RIGHT], None).await.unwrap();
            }
            Op::Hold { .. } | Op::EndHold { .. } => self.hold(op).await,
            Op::Lock { .. } | Op::Unlock { .. } | Op::Lend { .. } | Op::TakeBack { .. } => self.stand_by(op).await,
            Op::Issue { who, secs } => {
                let duration = Some(Span::from_secs(secs));
                let new =
                    NewOffline { service: "payments".to_owned(), right: None, reason: "on call".to_owned(), duration };
                if let Ok(token) = app.issue_offline(&self.people[who], &new).await {
                    self.tokens.push((token.grant, token.holder.user));
                }
            }
            Op::UseOffline { which } => {
                let Some((grant, holder)) = self.tokens.get(which).cloned() else { return };
                let call = self.call(&grant, &holder, "account/acc-1");
                self.tell(Event::Decision(Box::new(DecisionEvent { break_glass: true, offline: true, ..call }))).await;
                self.grants.push((grant, holder));
            }
        }
    }

    /// Locks and delegations.
    async fn stand_by(&mut self, op: Op) {
        let app = &self.world.app;
        match op {
            Op::Lock { who, secs } => {
                let new = NewLock {
                    subject: who.map(|who| format!("user:{}", self.people[who].user.subject)),
                    service: Some("payments".to_owned()),
                    action: who.map(|_| "refund.create".to_owned()),
                    everything: false,
                    reason: "so".to_owned(),
                    duration: secs.map(Span::from_secs),
                };
                self.locks.push(app.create_lock(&olga(), &new).await.unwrap().lock.id);
            }
            Op::Unlock { which } => {
                let Some(id) = self.locks.get(which) else { return };
                app.remove_lock(&olga(), id, (which % 2 == 0).then_some("so")).await.ok();
            }
            Op::Lend { from, to, secs } => {
                let new = NewDelegation {
                    to: self.people[to].user.subject.to_string(),
                    service: Some("payments".to_owned()),
                    rule: (from % 2 == 0).then(|| "refunds".to_owned()),
                    reason: "on leave".to_owned(),
                    starts_at: None,
                    lasting: Lasting::For(Span::from_secs(secs)),
                };
                self.lent.extend(app.delegate(&self.people[from], &new).await.ok().map(|lent| lent.id));
            }
            Op::TakeBack { which } => {
                let Some(id) = self.lent.get(which) else { return };
                app.end_delegation(&olga(), id).await.ok();
            }
            _ => {}
        }
    }

    /// Calls that a filter holds, and what it tells of their ends.
    async fn hold(&mut self, op: Op) {
        let mut question = HoldsRequest {
            v: PROTOCOL_VERSION,
            filter: vm(1),
            nonce: "0".repeat(32),
            file: Vec::new(),
            ask: Vec::new(),
            end: Vec::new(),
        };
        match op {
            Op::Hold { who, account } => {
                *self.calls += 1;
                let Actor { user, groups, claims: _ } = &self.people[who];
                let event = DecisionEvent {
                    decision: DecisionWord::Ask,
                    action: Some("refund.create".into()),
                    resource: Some(format!("account/acc-{account}").into()),
                    issuer: Some(ISSUER.into()),
                    subject: Some(user.subject.to_string().into()),
                    groups: Some(groups.iter().map(|group| group.clone().into()).collect()),
                    ..deny(DecisionId::new(*self.calls, [3; 10]))
                };
                let until = self.world.now().plus(Span::from_secs(60));
                let rule = "refunds".to_owned();
                question.file.push(HoldItem { event, rule, call: None, justification: None, until });
            }
            Op::EndHold { which, why } => {
                let Some(decision) = self.holds.get(which).cloned() else { return };
                question.end.push(EndedHold { decision, why });
            }
            _ => {}
        }
        for result in self.world.app.holds(&identity(), &question).await.unwrap() {
            if let Some(request) = result.request {
                self.holds.push(result.decision);
                self.requests.push(request);
            }
        }
    }

    /// A use, of every other of which the outcome is told.
    async fn claim(&mut self, which: usize) {
        let Some((id, holder)) = self.grants.get(which).cloned() else { return };
        let Ok(grant) = self.world.app.grant(&olga(), &id).await else { return };
        let claims = vec![self.call(&id, &holder, &grant.resource)];
        let asked = ClaimsRequest { v: PROTOCOL_VERSION, filter: vm(1), nonce: "0".repeat(32), claims };
        let results = self.world.app.claim(&identity(), &asked).await.unwrap();
        let ClaimOutcome::Claimed(taken) = results[0].outcome.clone() else { return };
        if self.calls.is_multiple_of(2) {
            let told = UseEvent { id: taken, grant: id, outcome: UseOutcome::Answered, status: Some(200) };
            self.tell(Event::Use(Box::new(told))).await;
        }
    }

    async fn tell(&mut self, event: Event<'static>) {
        self.told.push_at(event, self.world.now());
        self.world.app.append_records(&identity(), &self.told.last()).await.unwrap();
    }
}

/// A history that has something of everything, so that nothing is alike only because there is none of it.
fn something_of_everything() -> Vec<Op> {
    vec![
        Op::Lend { from: 2, to: 5, secs: 4_000 },
        Op::File { who: 0, account: 0, later: None, uses: Some(3) },
        Op::Review { who: 5, which: 0, yes: true },
        Op::Claim { which: 0 },
        Op::Claim { which: 0 },
        Op::Break { who: 1 },
        Op::Post { who: 2, which: 0, yes: false },
        Op::Lend { from: 3, to: 5, secs: 4_000 },
        Op::Break { who: 1 },
        Op::Post { who: 5, which: 1, yes: true },
        Op::Issue { who: 0, secs: 4_000 },
        Op::UseOffline { which: 0 },
        Op::Lock { who: Some(0), secs: Some(4_000) },
        Op::Signal { name: "on.call", of: Some("ann"), secs: Some(4_000) },
        Op::Signal { name: "incident", of: None, secs: Some(1) },
        Op::File { who: 0, account: 3, later: None, uses: None },
        Op::TakeBack { which: 0 },
        Op::Signal { name: "incident", of: None, secs: None },
        Op::Hold { who: 1, account: 2 },
        Op::Hold { who: 1, account: 2 },
        Op::EndHold { which: 0, why: HoldEnd::Gone },
        Op::EndHold { which: 1, why: HoldEnd::Gone },
        Op::Hold { who: 1, account: 2 },
        Op::EndHold { which: 2, why: HoldEnd::Over },
        Op::Hold { who: 1, account: 1 },
    ]
}

pub(crate) async fn the_log_tells_the_whole_story(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let state = std::cell::RefCell::new(Some((Fold::default(), 0_u64, Stream::new(1))));
        let cases = if world.db.is_postgres() { 20 } else { 60 };
        let config = Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
        let run = |history: Vec<Op>| {
            runtime.block_on(async {
                let (mut fold, mut calls, mut told) = state.take().unwrap();
                world.apply(&[&policy(), RIGHT], None).await.unwrap();
                let mut playing = History::new(&world, (&mut calls, &mut told));
                for op in history {
                    playing.play(op).await;
                }
                fold.read_on(&world).await;
                let compared = fold.compare(&world).await;
                state.replace(Some((fold, calls, told)));
                compared
            })
        };
        run(something_of_everything()).unwrap();
        let told = state.take().unwrap();
        for noun in [
            "requests",
            "grants",
            "uses",
            "post_reviews",
            "locks",
            "signals",
            "delegations",
            "tokens",
            "policy",
            "holds",
        ] {
            assert!(told.0.has(noun), "no history had any of the {noun}");
        }
        for noun in ["requests", "post_reviews"] {
            assert!(told.0.has_in_anothers_place(noun), "no history had {noun} that somebody decided for another");
        }
        state.replace(Some(told));
        if let Err(error) = TestRunner::new(config).run(&ops(), run) {
            panic!("{error}");
        }
    });
    assert_eq!(world.app.verify_log().await.unwrap().fault, None);
}
