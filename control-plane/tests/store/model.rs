//! Random histories of use cases against a naive model of who may do what and what becomes of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use grantmesh_control_plane::app::AppError;
use grantmesh_control_plane::domain::{Actor, NewRequest};
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::time::Span;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::db::Db;
use crate::world::{World, ann, approval, ask, bob, denial, eve, lee, mia, olga};

#[derive(Debug, Clone)]
enum Op {
    File { who: usize, secs: u64 },
    Approve { who: usize, which: usize },
    Deny { who: usize, which: usize },
    Withdraw { who: usize, which: usize },
    Revoke { who: usize, which: usize },
    Release { who: usize, which: usize },
    Wait { secs: u64 },
    Reconcile,
}

/// Ann and Bob may ask, Bob, Lee and Mia review, Olga operates.
fn people() -> [Actor; 6] {
    [ann(), bob(), lee(), mia(), olga(), eve()]
}

const ASKERS: [usize; 2] = [0, 1];
const REVIEWERS: [usize; 3] = [1, 2, 3];
const OPERATOR: usize = 4;

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let who = || 0..6_usize;
    let which = || 0..6_usize;
    let op = prop_oneof![
        3 => (0..3_usize, prop_oneof![4 => 1..3_600_u64, 1 => 3_500..4_000_u64]).prop_map(|(who, secs)| Op::File { who, secs }),
        6 => (who(), which()).prop_map(|(who, which)| Op::Approve { who, which }),
        1 => (who(), which()).prop_map(|(who, which)| Op::Deny { who, which }),
        1 => (who(), which()).prop_map(|(who, which)| Op::Withdraw { who, which }),
        2 => (who(), which()).prop_map(|(who, which)| Op::Revoke { who, which }),
        2 => (who(), which()).prop_map(|(who, which)| Op::Release { who, which }),
        2 => prop_oneof![1..2_000_u64, 28_000..29_000_u64].prop_map(|secs| Op::Wait { secs }),
        1 => Just(Op::Reconcile),
    ];
    proptest::collection::vec(op, 1..40)
}

/// A request of the rule that takes two approvals, as the model knows it.
#[derive(Debug)]
struct Modelled {
    who: usize,
    secs: u64,
    times_out: u64,
    state: &'static str,
    approvals: BTreeSet<usize>,
    /// When the grant expires, and its state.
    grant: Option<(u64, &'static str)>,
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    requests: Vec<Modelled>,
}

impl Model {
    /// The outcome's word: `ok`, or the refusal's code.
    fn apply(&mut self, op: &Op) -> &'static str {
        let now = self.now;
        let which = match op {
            Op::File { who, secs } => return self.file(*who, *secs),
            Op::Wait { secs } => {
                self.now += secs;
                return "ok";
            }
            Op::Reconcile => {
                self.requests.iter_mut().for_each(|request| request.reconcile(now));
                return "ok";
            }
            Op::Approve { which, .. } | Op::Deny { which, .. } | Op::Withdraw { which, .. } => *which,
            Op::Revoke { which, .. } | Op::Release { which, .. } => *which,
        };
        let Some(request) = self.requests.get_mut(which) else {
            return "none";
        };
        match *op {
            Op::Approve { who, .. } => request.review(who, true, now),
            Op::Deny { who, .. } => request.review(who, false, now),
            Op::Withdraw { who, .. } => request.withdraw(who, now),
            Op::Revoke { who, .. } => request.end(who, "revoked", now),
            Op::Release { who, .. } => request.end(who, "released", now),
            _ => "none",
        }
    }

    fn file(&mut self, who: usize, secs: u64) -> &'static str {
        if !ASKERS.contains(&who) {
            return "not_eligible";
        }
        if secs > 3_600 {
            return "duration_over_maximum";
        }
        let times_out = self.now + 8 * 3_600;
        self.requests.push(Modelled {
            who,
            secs,
            times_out,
            state: "pending",
            approvals: BTreeSet::new(),
            grant: None,
        });
        "ok"
    }
}

impl Modelled {
    fn sees(&self, who: usize) -> bool {
        who == self.who || REVIEWERS.contains(&who) || who == OPERATOR
    }

    fn reconcile(&mut self, now: u64) {
        if self.state == "pending" && now >= self.times_out {
            self.state = "timed_out";
        }
        if let Some((expires, state @ "active")) = &mut self.grant
            && now >= *expires
        {
            *state = "expired";
        }
    }

    fn review(&mut self, who: usize, yes: bool, now: u64) -> &'static str {
        if !self.sees(who) {
            return "not_found";
        }
        if self.state == "pending" && now >= self.times_out {
            self.state = "timed_out";
            return "already_decided";
        }
        if who == self.who {
            return "self_approval";
        }
        if !REVIEWERS.contains(&who) {
            return "not_a_reviewer";
        }
        if self.state != "pending" {
            return "already_decided";
        }
        if self.approvals.contains(&who) {
            return "already_reviewed";
        }
        if !yes {
            self.state = "denied";
            return "ok";
        }
        self.approvals.insert(who);
        if self.approvals.len() == 2 {
            self.state = "approved";
            self.grant = Some((now + self.secs, "active"));
        }
        "ok"
    }

    fn withdraw(&mut self, who: usize, now: u64) -> &'static str {
        if !self.sees(who) {
            return "not_found";
        }
        if who != self.who {
            return "not_the_requester";
        }
        let was = self.state;
        self.state = match was {
            "pending" if now >= self.times_out => "timed_out",
            "pending" => "withdrawn",
            decided => decided,
        };
        if was == "pending" && self.state == "withdrawn" { "ok" } else { "already_decided" }
    }

    fn end(&mut self, who: usize, how: &'static str, now: u64) -> &'static str {
        if self.grant.is_none() {
            return "none";
        }
        if !self.sees(who) {
            return "not_found";
        }
        match how {
            "revoked" if who != OPERATOR && !REVIEWERS.contains(&who) => return "not_a_reviewer",
            "released" if who != self.who => return "not_the_holder",
            _ => {}
        }
        let Some((expires, state)) = &mut self.grant else {
            return "none";
        };
        if *state != "active" {
            return "already_ended";
        }
        if now >= *expires {
            *state = "expired";
            return "already_ended";
        }
        *state = how;
        "ok"
    }
}

static ACCOUNTS: AtomicU64 = AtomicU64::new(0);

/// The real thing, driven by the same operations.
struct Real<'w> {
    world: &'w World,
    requests: Vec<RequestId>,
    grants: Vec<Option<GrantId>>,
}

fn word<T>(result: Result<T, AppError>) -> &'static str {
    result.err().map_or("ok", |error| error.code())
}

impl Real<'_> {
    async fn apply(&mut self, op: &Op) -> &'static str {
        let (app, people) = (&self.world.app, people());
        match *op {
            Op::File { who, secs } => {
                // Each is for another account, since the same is asked once.
                let account = format!("acc-{}", ACCOUNTS.fetch_add(1, Ordering::Relaxed));
                let new = NewRequest { duration: Some(Span::from_secs(secs)), ..ask("account.close", &account) };
                let filed = app.file_request(&people[who], new).await;
                if let Ok(filed) = &filed {
                    self.requests.push(filed.request.id.clone());
                    self.grants.push(None);
                }
                word(filed)
            }
            Op::Approve { who, which } | Op::Deny { who, which } => {
                let Some(id) = self.requests.get(which) else {
                    return "none";
                };
                let review = if matches!(op, Op::Approve { .. }) { approval() } else { denial() };
                let reviewed = crate::world::review(app, &people[who], id, review).await;
                if let Ok(reviewed) = &reviewed {
                    self.grants[which] = reviewed.grant.as_ref().map(|grant| grant.id.clone());
                }
                word(reviewed)
            }
            Op::Withdraw { who, which } => match self.requests.get(which) {
                Some(id) => word(app.withdraw(&people[who], id).await),
                None => "none",
            },
            Op::Revoke { who, which } => match self.grants.get(which) {
                Some(Some(id)) => word(app.revoke(&people[who], id, "over").await),
                _ => "none",
            },
            Op::Release { who, which } => match self.grants.get(which) {
                Some(Some(id)) => word(app.release(&people[who], id).await),
                _ => "none",
            },
            Op::Wait { secs } => {
                self.world.clock.advance(Span::from_secs(secs));
                "ok"
            }
            Op::Reconcile => {
                app.time_out_requests().await.unwrap();
                app.expire_grants().await.unwrap();
                "ok"
            }
        }
    }

    /// Every request and grant, and what filters would load of them.
    async fn states(&self) -> Vec<(String, Option<String>, bool)> {
        let mut states = Vec::new();
        let (live, _) = self.world.keys().await;
        for (request, grant) in self.requests.iter().zip(&self.grants) {
            let request = self.world.app.request(&olga(), request).await.unwrap();
            let state = match grant {
                Some(grant) => Some(self.world.app.grant(&olga(), grant).await.unwrap().state.word().to_string()),
                None => None,
            };
            let pushed = grant.as_ref().is_some_and(|grant| live.contains(&format!("grant/{grant}")));
            states.push((request.state.word().to_string(), state, pushed));
        }
        states
    }
}

async fn check(world: &World, history: &[Op]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut real = Real { world, requests: Vec::new(), grants: Vec::new() };
    for (step, op) in history.iter().enumerate() {
        let (expected, is) = (model.apply(op), real.apply(op).await);
        prop_assert_eq!(is, expected, "step {}: {:?}", step, op);
    }
    let grant = |request: &Modelled| request.grant.map(|(_, state)| state.to_owned());
    let expected: Vec<_> = model
        .requests
        .iter()
        .map(|request| {
            (request.state.to_owned(), grant(request), request.grant.is_some_and(|(_, state)| state == "active"))
        })
        .collect();
    prop_assert_eq!(real.states().await, expected);
    prop_assert_eq!(world.app.verify_log().await.unwrap().fault, None);
    Ok(())
}

pub(crate) async fn random_histories_agree_with_a_naive_model(db: Db) {
    let world = World::new(db).await;
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let cases = if world.db.is_postgres() { 12 } else { 40 };
        let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
        let run = |history: Vec<Op>| runtime.block_on(check(&world, &history));
        if let Err(error) = TestRunner::new(config).run(&ops(), run) {
            panic!("{error}");
        }
    });
}
