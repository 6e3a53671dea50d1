//! At most once, over every order in which things can happen: the filters' own `Claims` and the control plane's own
//! `Claim::judge` in a small world of three filters, two replicas and a grant of two uses. What is sent may arrive in any
//! order, twice or never; filters and replicas may be gone at any moment. Every state that can be reached is looked at.
//! What is lost needs no step of its own: a message that never arrives, or a replica that never goes on, is one that waits
//! for ever in the states that are looked at.
#![cfg(test)]

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::sync::LazyLock;

use ed25519_dalek::{Signer as _, SigningKey};
use grantmesh_control_plane::domain::{Claim, Grant, GrantState, Terms, Use, UseCount};
use grantmesh_filter::claims::{Claimed, Claims};
use grantmesh_filter::clock::Mono;
use grantmesh_filter::question::{Answer, PinnedKey, Question, Topic};
use grantmesh_filter::random::Random;
use grantmesh_shared::engine::User;
use grantmesh_shared::id::{DecisionId, GrantId, RequestId, UseId, VmId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::claims::{ClaimOutcome, ClaimResult, ClaimsAnswer, ClaimsKind, ClaimsRequest};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord};
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use grantmesh_shared::wire::sync::VmIdentity;
use grantmesh_tests::proof_size;

const FILTERS: usize = 3;
const REPLICAS: usize = 2;
const USES: u32 = 2;

/// How much may happen in one history.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Whether one filter has a second call, so that a use could be taken twice by one.
    second: bool,
    /// How often something may arrive twice.
    doubles: u32,
    /// How often a filter may be gone.
    crashes: u32,
}

/// What a broken control plane would forget: each must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// That the grant was read before another replica changed it.
    Guard,
    /// That a claim was answered before.
    Repeat,
}

/// A question on its way: from which filter, which of its questions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Asked {
    filter: usize,
    key: u32,
    body: Vec<u8>,
}

/// An answer on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Answered {
    filter: usize,
    key: u32,
    body: Vec<u8>,
    signature: String,
}

/// A replica that has read the grant and not yet written.
#[derive(Debug, Clone)]
struct Reading {
    asked: Asked,
    grant: Grant,
}

#[derive(Debug, Clone)]
struct Filter {
    claims: Claims,
    random: Random,
    /// The decision whose call waits; a filter has one call at a time, and two in all.
    waits: Option<DecisionId>,
    calls: u64,
}

#[derive(Debug, Clone)]
struct World {
    filters: [Filter; FILTERS],
    replicas: [Option<Reading>; REPLICAS],
    /// The database: the grant, and the use of each decision.
    grant: Grant,
    taken: BTreeMap<DecisionId, Use>,
    asked: BTreeSet<Asked>,
    answered: BTreeSet<Answered>,
    /// Calls that arrived at the service, by the use that they carried.
    hits: Vec<UseId>,
    doubles: u32,
    crashes: u32,
    bounds: Bounds,
}

fn grant() -> Grant {
    Grant {
        id: GrantId::new(1, [1; 10]),
        request: RequestId::new(1, [1; 10]),
        holder: User { issuer: "https://id.example".into(), subject: "ann".into() },
        service: "payments".to_owned(),
        action: "refund.create".to_owned(),
        resource: "account/acc-1".to_owned(),
        rule: "refunds".to_owned(),
        starts_at: Timestamp::from_millis(0),
        expires_at: Timestamp::from_millis(1_000),
        terms: Terms::default(),
        uses: Some(UseCount { allowed: USES, claimed: 0 }),
        revision: 1,
        break_glass: false,
        state: GrantState::Active,
    }
}

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[1; 32]));

static PINNED: LazyLock<[PinnedKey; 1]> = LazyLock::new(|| [PinnedKey::new(KEY.verifying_key().as_bytes()).unwrap()]);

fn signed(body: &[u8]) -> String {
    let key = KeyId::of(KEY.verifying_key().as_bytes());
    Signature { key, bytes: KEY.sign(&signed_bytes(body)).to_bytes() }.to_string()
}

fn identity(filter: usize) -> VmIdentity {
    VmIdentity { vm: VmId::new(filter as u64, [0; 10]), node: "n".to_owned(), services: vec!["payments".to_owned()] }
}

impl Filter {
    fn new(number: usize, life: u32) -> Self {
        let random = Random::new([(number as u8) * 16 + life as u8; 32]);
        Self { claims: Claims::default(), random, waits: None, calls: u64::from(life) * 10 }
    }
}

impl World {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            filters: std::array::from_fn(|number| Filter::new(number, 0)),
            replicas: [const { None }; REPLICAS],
            grant: grant(),
            taken: BTreeMap::new(),
            asked: BTreeSet::new(),
            answered: BTreeSet::new(),
            hits: Vec::new(),
            doubles: 0,
            crashes: 0,
        }
    }

    /// Everything that can happen next.
    fn next(&self, flaw: Flaw) -> Vec<Self> {
        let mut next = Vec::new();
        for filter in 0..FILTERS {
            next.extend(self.call(filter));
            next.extend(self.give_up(filter));
            next.extend(self.crash(filter));
        }
        for asked in &self.asked {
            for replica in 0..REPLICAS {
                next.extend(self.read(replica, asked));
            }
        }
        for replica in 0..REPLICAS {
            next.extend(self.write(replica, flaw));
        }
        for answered in &self.answered {
            next.extend(self.arrive(answered));
        }
        next
    }

    /// A call is decided by a filter that has not heard of any use, and its claim is sent.
    fn call(&self, filter: usize) -> Option<Self> {
        let mut world = self.clone();
        let this = &mut world.filters[filter];
        if this.waits.is_some() || this.calls % 10 > u64::from(self.bounds.second && filter == 0) {
            return None;
        }
        let id = DecisionId::new(this.calls, [filter as u8; 10]);
        this.calls += 1;
        let call = ("POST", "/v1/accounts/acc-1/refunds");
        let event = DecisionEvent {
            action: Some("refund.create".into()),
            resource: Some("account/acc-1".into()),
            issuer: Some("https://id.example".into()),
            subject: Some("ann".into()),
            grant: Some(self.grant.id.clone()),
            ..DecisionEvent::new(id.clone(), DecisionWord::Allow, "payments", call)
        };
        assert!(this.claims.claim(&event, &self.grant.id));
        this.waits = Some(id);
        for Question { topic, body, .. } in this.claims.due(&identity(filter), Mono::from_millis(0), &mut this.random) {
            let Topic::Claims(key) = topic else { panic!("{topic:?}") };
            world.asked.insert(Asked { filter, key, body });
        }
        Some(world)
    }

    /// The call has waited for too long, or its caller is gone.
    fn give_up(&self, filter: usize) -> Option<Self> {
        let mut world = self.clone();
        let id = world.filters[filter].waits.take()?;
        world.filters[filter].claims.forget(&id);
        Some(world)
    }

    /// The proxy is killed, and another begins in its place.
    fn crash(&self, filter: usize) -> Option<Self> {
        let mut world = self.clone();
        world.crashes += 1;
        world.filters[filter] = Filter::new(filter, world.crashes);
        (world.crashes <= self.bounds.crashes).then_some(world)
    }

    /// A replica reads what a question is about. It may stay under way and arrive again.
    fn read(&self, replica: usize, asked: &Asked) -> Vec<Self> {
        if self.replicas[replica].is_some() {
            return Vec::new();
        }
        let mut once = self.clone();
        once.replicas[replica] = Some(Reading { asked: asked.clone(), grant: self.grant.clone() });
        let mut twice = once.clone();
        once.asked.remove(asked);
        twice.doubles += 1;
        if twice.doubles <= self.bounds.doubles { vec![once, twice] } else { vec![once] }
    }

    /// A replica writes, if nothing has changed since it read, and answers.
    fn write(&self, replica: usize, flaw: Flaw) -> Option<Self> {
        let Reading { asked, grant } = self.replicas[replica].as_ref()?;
        if *grant != self.grant && flaw != Flaw::Guard {
            // It finds that the grant has moved, and begins anew: as if it read only then.
            return None;
        }
        let mut written = self.clone();
        written.replicas[replica] = None;
        let request: ClaimsRequest<'_> = serde_json::from_slice(&asked.body).unwrap();
        let mut results = Vec::new();
        for claim in &request.claims {
            let outcome = written.take(asked.filter, claim, grant, flaw);
            results.push(ClaimResult { decision: claim.id.clone(), outcome });
        }
        let answer = ClaimsAnswer { v: 1, kind: ClaimsKind::Claims, nonce: request.nonce, results };
        let body = serde_json::to_vec(&answer).unwrap();
        let signature = signed(&body);
        written.answered.insert(Answered { filter: asked.filter, key: asked.key, body, signature });
        Some(written)
    }

    /// Takes a use over what was read, as `App::claim` does.
    fn take(&mut self, filter: usize, claim: &DecisionEvent<'_>, read: &Grant, flaw: Flaw) -> ClaimOutcome {
        let VmIdentity { vm, services, .. } = identity(filter);
        let before = self.taken.get(&claim.id).filter(|_| flaw != Flaw::Repeat).cloned();
        let now = (Timestamp::from_millis(1), 2);
        match Claim::judge((&vm, &services), claim, before, Some(read.clone()), now) {
            Claim::Again(id) => ClaimOutcome::Claimed(id),
            Claim::Refused(why) => ClaimOutcome::Refused(why),
            Claim::Taken(grant, number) => {
                let id = UseId::new(self.taken.len() as u64, [filter as u8; 10]);
                let taken = Use {
                    id: id.clone(),
                    grant: grant.id.clone(),
                    number,
                    decision: claim.id.clone(),
                    vm,
                    node: "n".to_owned(),
                    claimed_at: now.0,
                    outcome: None,
                };
                self.grant = *grant;
                self.taken.insert(claim.id.clone(), taken);
                ClaimOutcome::Claimed(id)
            }
        }
    }

    /// An answer arrives; the call whose claim it settles goes on, or does not. It may arrive again.
    fn arrive(&self, answered: &Answered) -> Vec<Self> {
        let mut once = self.clone();
        once.answered.remove(answered);
        let this = &mut once.filters[answered.filter];
        let answer = Answer { status: b"200", signature: Some(answered.signature.as_bytes()), body: &answered.body };
        let _judged = this.claims.answered(answered.key, &answer, &*PINNED);
        if let Some(id) = this.waits.clone().filter(|id| this.claims.is_settled(id)) {
            this.waits = None;
            if let Claimed::Use(id) = this.claims.take(&id) {
                once.hits.push(id);
            }
        }
        let mut twice = once.clone();
        twice.answered.insert(answered.clone());
        twice.doubles += 1;
        if twice.doubles <= self.bounds.doubles { vec![once, twice] } else { vec![once] }
    }

    fn is_right(&self) -> bool {
        let different: BTreeSet<&UseId> = self.hits.iter().collect();
        let known = self.hits.iter().all(|hit| self.taken.values().any(|taken| taken.id == *hit));
        self.hits.len() <= USES as usize
            && different.len() == self.hits.len()
            && known
            && self.taken.len() <= USES as usize
    }

    /// The same for states that differ in nothing that matters: which replica does what, and which call arrived first.
    fn mark(&self) -> u64 {
        let mut hits = self.hits.clone();
        hits.sort();
        let mut replicas = self.replicas.each_ref().map(|reading| format!("{reading:?}"));
        replicas.sort();
        let mut hasher = DefaultHasher::new();
        (hits, replicas, self.doubles, self.crashes).hash(&mut hasher);
        (&self.asked, &self.answered).hash(&mut hasher);
        format!("{:?} {:?} {:?}", self.filters, self.grant.state, self.taken).hash(&mut hasher);
        hasher.finish()
    }
}

/// The histories that are looked at beside each other: each with something that the others have not.
const FEW: [Bounds; 3] = [
    Bounds { second: false, doubles: 1, crashes: 0 },
    Bounds { second: false, doubles: 0, crashes: 1 },
    Bounds { second: true, doubles: 0, crashes: 0 },
];

/// All of that at once.
const ALL: [Bounds; 1] = [Bounds { second: true, doubles: 2, crashes: 1 }];

/// Every state that can be reached: how many there are, and the most calls that arrive in one. Or one that is wrong.
fn explore(flaw: Flaw, bounds: Bounds) -> Result<(usize, usize), Box<World>> {
    let (mut seen, mut open, mut most) = (HashSet::new(), vec![World::new(bounds)], 0);
    while let Some(world) = open.pop() {
        most = most.max(world.hits.len());
        if !world.is_right() {
            return Err(Box::new(world));
        }
        open.extend(world.next(flaw).into_iter().filter(|next| seen.insert(next.mark())));
    }
    Ok((seen.len(), most))
}

#[test]
fn proof_that_no_order_of_events_lets_a_use_be_used_twice() {
    for bounds in if proof_size(0, 1) == 1 { &ALL[..] } else { &FEW[..] } {
        let (states, most) = explore(Flaw::None, *bounds).unwrap_or_else(|world| panic!("{world:#?}"));
        println!("{states} states, {bounds:?}");
        assert_eq!(most, USES as usize, "as many as are approved do arrive");
    }
}

#[test]
fn a_control_plane_that_forgets_one_of_its_guards_is_found_out() {
    for flaw in [Flaw::Guard, Flaw::Repeat] {
        assert!(FEW.iter().any(|bounds| explore(flaw, *bounds).is_err()), "{flaw:?}");
    }
}
