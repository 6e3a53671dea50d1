//! The log tells the whole story: folding its entries gives the state that the tables have, and every entry is a step that
//! the state before it allows, so that none is missing and none is written twice.

use std::collections::BTreeMap;

use grantmesh_control_plane::app::{Limits, RevokeFilter};
use grantmesh_control_plane::domain::{Actor, AskTarget, NewBreakGlass, NewRequest, PostVerdict};
use grantmesh_shared::id::{DecisionId, GrantId, PostReviewId, RequestId};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::claims::ClaimsRequest;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::db::Db;
use crate::records::{deny, identity, vm};
use crate::world::{ISSUER, POLICY, World, ann, approval, aud, bob, denial, lee, mia, olga, refund, someone};

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
"#;

fn policy() -> String {
    let rule = "defaultDuration: 15m\n  extension: { withoutReview: 30m }\n  timeouts: { remindAfter: 1h, escalateAfter: 2h, escalateTo: [\"group:managers\"] }\n  \
                automatic: [{ name: freeze, then: deny, when: 'signals.freeze && resource != \"account/acc-3\"' }, \
                { name: two, then: require, approvals: 2, when: 'signals.freeze' }, \
                { name: incident, then: approve, when: 'signals.incident && resource != \"account/acc-0\"' }, \
                { name: managers, then: escalate, when: 'signals.incident' }]";
    let signals =
        "signals: [{ name: incident, setters: [\"group:leads\"] }, { name: freeze, setters: [\"group:leads\"] }] }";
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
    Signal { name: &'static str, secs: Option<u64> },
}

fn people() -> [Actor; 5] {
    [ann(), bob(), lee(), mia(), someone("max", &["managers"])]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let which = || 0..8_usize;
    let op = prop_oneof![
        5 => (0..2_usize, 0..4_usize, proptest::option::weighted(0.3, 60..4_000_u64), proptest::option::weighted(0.4, 1..3_u32))
            .prop_map(|(who, account, later, uses)| Op::File { who, account, later, uses }),
        8 => (1..5_usize, which(), prop_oneof![6 => Just(true), 1 => Just(false)])
            .prop_map(|(who, which, yes)| Op::Review { who, which, yes }),
        1 => which().prop_map(|which| Op::Withdraw { which }),
        2 => which().prop_map(|which| Op::Revoke { which }),
        1 => (0..2_usize).prop_map(|who| Op::RevokeAll { who }),
        1 => which().prop_map(|which| Op::Release { which }),
        3 => (which(), 1..3_000_u64).prop_map(|(which, secs)| Op::Extend { which, secs }),
        3 => which().prop_map(|which| Op::Claim { which }),
        1 => (0..2_usize).prop_map(|who| Op::Break { who }),
        2 => (1..4_usize, which(), any::<bool>()).prop_map(|(who, which, yes)| Op::Post { who, which, yes }),
        4 => prop_oneof![3 => 1..1_000_u64, 1 => 1_000..9_000_u64].prop_map(|secs| Op::Wait { secs }),
        4 => Just(Op::Reconcile),
        1 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Op::Eligible),
        2 => (prop_oneof![3 => Just("incident"), 1 => Just("freeze")], proptest::option::weighted(0.8, 1..6_000_u64))
            .prop_map(|(name, secs)| Op::Signal { name, secs }),
    ];
    proptest::collection::vec(op, 1..40)
}

/// A grant as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Folded {
    state: &'static str,
    starts_at: i64,
    expires_at: i64,
    claimed: u32,
}

/// What the log tells.
#[derive(Debug, Default)]
struct Fold {
    read: u64,
    requests: BTreeMap<RequestId, &'static str>,
    grants: BTreeMap<GrantId, Folded>,
    post_reviews: BTreeMap<PostReviewId, &'static str>,
}

fn step<K: Ord + std::fmt::Debug + Clone>(
    states: &mut BTreeMap<K, &'static str>,
    id: &K,
    from: Option<&'static str>,
    to: &'static str,
) {
    assert_eq!(states.insert(id.clone(), to), from, "{id:?} became {to}");
}

impl Fold {
    async fn read_on(&mut self, world: &World) {
        loop {
            let page = world.app.audit_entries(&aud(), self.read, 1_000).await.unwrap();
            if page.entries.is_empty() {
                return;
            }
            for entry in &page.entries {
                self.entry(&serde_json::from_str(&entry.entry).unwrap());
                self.read += 1;
            }
        }
    }

    fn grant(&mut self, id: &GrantId, from: &[&str], to: Option<&'static str>) -> &mut Folded {
        let grant = self.grants.get_mut(id).unwrap_or_else(|| panic!("{id} is not known"));
        assert!(from.contains(&grant.state), "{id} was {} and became {to:?}", grant.state);
        grant.state = to.unwrap_or(grant.state);
        grant
    }

    fn entry(&mut self, entry: &Value) {
        let id = |name: &str| entry["ids"][name].as_str().map(str::to_owned);
        let request = || id("request").unwrap().parse::<RequestId>().unwrap();
        let grant = || id("grant").unwrap().parse::<GrantId>().unwrap();
        let post_review = || id("post_review").unwrap().parse::<PostReviewId>().unwrap();
        let time = |name: &str| entry["data"][name].as_i64().unwrap();
        let made = |state| Folded { state, starts_at: time("starts_at"), expires_at: time("expires_at"), claimed: 0 };
        let pending = Some("pending");
        match entry["kind"].as_str().unwrap() {
            "request.filed" => step(&mut self.requests, &request(), None, "pending"),
            "request.reminded" | "request.escalated" => step(&mut self.requests, &request(), pending, "pending"),
            "request.timed_out" => step(&mut self.requests, &request(), pending, "timed_out"),
            "request.withdrawn" => step(&mut self.requests, &request(), pending, "withdrawn"),
            "request.automatic" => {
                let state = match entry["data"]["decision"].as_str().unwrap() {
                    "approve" => "approved",
                    "deny" => "denied",
                    _ => "pending",
                };
                assert_eq!(id("grant").is_some(), state == "approved");
                step(&mut self.requests, &request(), pending, state);
            }
            "review.denied" => step(&mut self.requests, &request(), pending, "denied"),
            "review.approved" => {
                let state = if id("grant").is_some() { "approved" } else { "pending" };
                step(&mut self.requests, &request(), pending, state);
            }
            "break_glass.used" => {
                step(&mut self.requests, &request(), None, "approved");
                assert_eq!(self.grants.insert(grant(), made("active")), None);
            }
            "grant.issued" => assert_eq!(self.grants.insert(grant(), made("active")), None),
            "grant.scheduled" => assert_eq!(self.grants.insert(grant(), made("scheduled")), None),
            "grant.started" => {
                self.grant(&grant(), &["scheduled"], None);
                self.grants.insert(grant(), made("active"));
            }
            "grant.extended" => {
                let folded = self.grant(&grant(), &["active"], None);
                assert_eq!(folded.expires_at, time("before"));
                folded.expires_at = time("expires_at");
            }
            "grant.expiring" => {
                let folded = self.grant(&grant(), &["active"], None);
                assert_eq!(folded.expires_at, time("expires_at"));
            }
            "grant.expired" => drop(self.grant(&grant(), &["scheduled", "active"], Some("expired")).clone()),
            "grant.forgotten" => drop(self.grant(&grant(), &["exhausted"], None).clone()),
            "grant.revoked" => {
                drop(self.grant(&grant(), &["scheduled", "active", "exhausted"], Some("revoked")).clone());
            }
            "grant.released" => drop(self.grant(&grant(), &["scheduled", "active"], Some("released")).clone()),
            "use.claimed" => {
                let last = entry["data"]["exhausted"].as_bool().unwrap();
                let folded = self.grant(&grant(), &["active"], last.then_some("exhausted"));
                folded.claimed += 1;
                assert_eq!(entry["data"]["number"], folded.claimed);
            }
            "post_review.opened" => step(&mut self.post_reviews, &post_review(), None, "open"),
            "post_review.overdue" => step(&mut self.post_reviews, &post_review(), Some("open"), "open"),
            "post_review.accepted" => step(&mut self.post_reviews, &post_review(), Some("open"), "accepted"),
            "post_review.disputed" => step(&mut self.post_reviews, &post_review(), Some("open"), "disputed"),
            _ => {}
        }
    }

    /// Compares everything that the log tells with the tables.
    async fn compare(&self, world: &World) -> Result<(), TestCaseError> {
        for (id, state) in &self.requests {
            let request = world.app.request(&olga(), id).await.unwrap();
            prop_assert_eq!(request.state.word().as_str(), *state, "{}", id);
        }
        for (id, folded) in &self.grants {
            let grant = world.app.grant(&olga(), id).await.unwrap();
            let is = Folded {
                state: grant.state.word().as_str(),
                starts_at: grant.starts_at.millis(),
                expires_at: grant.expires_at.millis(),
                claimed: grant.uses.map_or(0, |uses| uses.claimed),
            };
            prop_assert_eq!(&is, folded, "{}", id);
        }
        for (id, state) in &self.post_reviews {
            let review = world.app.post_review(&olga(), id).await.unwrap();
            prop_assert_eq!(review.state.word().as_str(), *state, "{}", id);
        }
        // Filters have just what is in force, with the ends that it has.
        let (live, _) = world.keys().await;
        let live = live.iter().filter(|key| key.starts_with("grant/")).count();
        let in_force = self.grants.values().filter(|grant| grant.state == "active").count();
        prop_assert!(live >= in_force, "{} of {}", live, in_force);
        Ok(())
    }
}

async fn play(world: &World, history: &[Op], calls: &mut u64) {
    let (app, people) = (&world.app, people());
    let (mut requests, mut grants, mut reviews) = (Vec::new(), Vec::new(), Vec::new());
    for op in history {
        match *op {
            Op::File { who, account, later, uses } => {
                let starts_at = later.map(|secs| world.now().plus(Span::from_secs(secs)));
                let new = NewRequest { starts_at, uses, ..refund(&format!("acc-{account}")) };
                let Ok(filed) = app.file_request(&people[who], new, None).await else { continue };
                grants.extend(filed.request.state.grant().map(|grant| (grant.clone(), people[who].user.clone())));
                requests.push(filed.request.id);
            }
            Op::Review { who, which, yes } => {
                let Some(id) = requests.get(which) else { continue };
                let review = if yes { approval() } else { denial() };
                if let Ok(reviewed) = app.review(&people[who], id, &review).await {
                    grants.extend(reviewed.grant.map(|grant| (grant.id, grant.holder)));
                }
            }
            Op::Withdraw { which } => {
                let Some(id) = requests.get(which) else { continue };
                for who in &people {
                    app.withdraw(who, id).await.ok();
                }
            }
            Op::Revoke { which } => {
                let Some((id, _)) = grants.get(which) else { continue };
                app.revoke(&olga(), id, "so").await.ok();
            }
            Op::RevokeAll { who } => {
                let holder = Some(people[who].user.subject.to_string());
                app.revoke_many(&olga(), &RevokeFilter { holder, ..RevokeFilter::default() }, "so", false)
                    .await
                    .unwrap();
            }
            Op::Release { which } => {
                let Some((id, _)) = grants.get(which) else { continue };
                for who in &people {
                    app.release(who, id).await.ok();
                }
            }
            Op::Extend { which, secs } => {
                let Some((id, holder)) = grants.get(which) else { continue };
                let Some(who) = people.iter().find(|who| who.user == *holder) else { continue };
                if let Ok(grantmesh_control_plane::app::Extended::Asked(request)) =
                    app.extend(who, id, Span::from_secs(secs), Some("more")).await
                {
                    requests.push(request.id);
                }
            }
            Op::Claim { which } => {
                let Some((id, holder)) = grants.get(which) else { continue };
                let Ok(grant) = app.grant(&olga(), id).await else { continue };
                *calls += 1;
                let event = DecisionEvent {
                    decision: DecisionWord::Allow,
                    action: Some("refund.create".into()),
                    resource: Some(grant.resource.clone().into()),
                    method: "POST".into(),
                    path: "/".into(),
                    issuer: Some(ISSUER.into()),
                    subject: Some(holder.subject.to_string().into()),
                    grant: Some(id.clone()),
                    reasons: Vec::new(),
                    ..deny(DecisionId::new(*calls, [3; 10]))
                };
                let claims = vec![event];
                let asked = ClaimsRequest { v: PROTOCOL_VERSION, filter: vm(1), nonce: "0".repeat(32), claims };
                app.claim(&identity(), &asked).await.unwrap();
            }
            Op::Break { who } => {
                let target = AskTarget::Action {
                    service: "payments".to_owned(),
                    action: "refund.create".to_owned(),
                    resource: "account/acc-1".to_owned(),
                };
                let new = NewBreakGlass { target, reason: "fire".to_owned(), duration: None, right: None };
                if let Ok(broke) = app.break_glass(&people[who], &new).await {
                    grants.push((broke.grant.id, broke.grant.holder));
                    reviews.push(broke.post_review.id);
                }
            }
            Op::Post { who, which, yes } => {
                let Some(id) = reviews.get(which) else { continue };
                let verdict = if yes { PostVerdict::Accept(None) } else { PostVerdict::Dispute("no".to_owned()) };
                app.decide_post_review(&people[who], id, &verdict).await.ok();
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
            }
            Op::Signal { name, secs: Some(secs) } => {
                drop(app.set_signal(&lee(), (name, None), "so", Span::from_secs(secs)).await.unwrap());
            }
            Op::Signal { name, secs: None } => drop(app.clear_signal(&lee(), (name, None), None).await),
            Op::Eligible(yes) => {
                let text = policy();
                let text =
                    if yes { text } else { text.replace("eligible: [\"group:support\"]", "eligible: [\"group:x\"]") };
                world.apply(&[&text, RIGHT], None).await.unwrap();
            }
        }
    }
}

pub(crate) async fn the_log_tells_the_whole_story(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let runtime = tokio::runtime::Handle::current();
    let fold = tokio::task::block_in_place(|| {
        let state = std::cell::RefCell::new((Fold::default(), 0_u64));
        let cases = if world.db.is_postgres() { 20 } else { 60 };
        let config = Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
        let run = |history: Vec<Op>| {
            runtime.block_on(async {
                let (mut fold, mut calls) = state.take();
                world.apply(&[&policy(), RIGHT], None).await.unwrap();
                play(&world, &history, &mut calls).await;
                fold.read_on(&world).await;
                let compared = fold.compare(&world).await;
                state.replace((fold, calls));
                compared
            })
        };
        if let Err(error) = TestRunner::new(config).run(&ops(), run) {
            panic!("{error}");
        }
        state.into_inner().0
    });
    assert!(!fold.grants.is_empty(), "nothing happened in any history");
    assert_eq!(world.app.verify_log().await.unwrap().fault, None);
}
