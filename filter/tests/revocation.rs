//! Linearizable revocation, over many runs of a small world in simulated time: real filters, a model of the control plane's
//! proof (`control-plane/src/push/fleet.rs`), and a network, machines and a control plane that fail. Once a revocation
//! is proven, no filter admits under what it ended, at any criticality.
//!
//! `cargo dev prove` plays thousands of runs instead of a few.

#![cfg(test)]

use std::collections::BTreeMap;

use ed25519_dalek::{Signer as _, SigningKey};
use grantmesh_filter::clock::Mono;
use grantmesh_filter::config::Config;
use grantmesh_filter::plugin::Plugin;
use grantmesh_filter::pulse::Wall;
use grantmesh_filter::question::{Answer, Question, Topic};
use grantmesh_shared::engine::Criticality;
use grantmesh_shared::id::LockId;
use grantmesh_shared::wire::TableHash;
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use grantmesh_shared::wire::table::{Body, Item, LockItem};
use serde_json::{Value, json};

const FILTERS: usize = 4;
const STEP: u64 = 20;
const LENGTH: u64 = 30_000;
const LEASE: u64 = 4_000;

/// SplitMix64: a run is known by its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// How long something is under way: a moment, or one time in ten up to six seconds.
    fn delay(&mut self) -> u64 {
        let most = if self.chance(100) { 6_000 } else { 60 };
        self.roll(most)
    }

    fn chance(&mut self, in_thousand: u64) -> bool {
        self.roll(1_000) < in_thousand
    }
}

/// What the control plane remembers of a filter.
#[derive(Clone, Copy, Default)]
struct Known {
    applied: u64,
    last_answer: u64,
}

/// A control plane whose every revision ends something.
struct ControlPlane {
    key: SigningKey,
    items: Vec<Item>,
    known: [Known; FILTERS],
    /// Revisions whose proof is waited for.
    open: Vec<u64>,
    /// Everything up to here is proven.
    proven: Vec<u64>,
}

fn lock(number: u64) -> Item {
    let id = LockId::new(number, [0; 10]);
    let lock = LockItem { id, subject: None, service: None, action: None, reason: "r".to_owned(), expires_at: None };
    Body::Lock(lock).into_item().unwrap()
}

impl ControlPlane {
    fn revision(&self) -> u64 {
        self.items.len() as u64
    }

    fn hash(&self) -> TableHash {
        self.items.iter().fold(TableHash::default(), |hash, item| hash.plus(item.hash()))
    }

    fn revoke(&mut self) {
        self.items.push(lock(self.revision()));
        self.open.push(self.revision());
    }

    /// As `Fleet::arrival`: acknowledged, or the lease is over.
    fn prove(&mut self, now: u64) {
        let known = self.known;
        let arrived = |revision: &u64| {
            known
                .iter()
                .all(|known| known.applied >= *revision || now >= known.last_answer + LEASE + LEASE.div_ceil(100))
        };
        let (proven, open) = std::mem::take(&mut self.open).into_iter().partition::<Vec<_>, _>(arrived);
        self.open = open;
        self.proven.extend(proven);
    }

    fn answer(&mut self, number: usize, question: &Question, now: u64) -> Vec<u8> {
        let asked: Value = serde_json::from_slice(&question.body).unwrap();
        let applied = asked["applied"]["position"]["revision"].as_u64();
        self.known[number].applied = self.known[number].applied.max(applied.unwrap_or(0));
        self.known[number].last_answer = now;
        let mut answer = json!({
            "v": 1, "nonce": asked["nonce"], "position": {"epoch": 1, "revision": self.revision()},
            "table_hash": self.hash(), "server_time": 1_000_000 + now,
            "freshness": {"critical_ms": 1_000, "standard_ms": 2_000, "low_ms": LEASE},
        });
        if question.topic == Topic::Heartbeat {
            answer["kind"] = json!("heartbeat");
        } else {
            answer["kind"] = json!("sync");
            answer["change"] = match applied {
                Some(applied) if applied == self.revision() => json!("unchanged"),
                Some(applied) => {
                    json!({"delta": {"puts": &self.items[usize::try_from(applied).unwrap()..], "removes": []}})
                }
                None => json!({"snapshot": {"index": 0, "last": true, "puts": self.items}}),
            };
        }
        answer.to_string().into_bytes()
    }

    fn sign(&self, body: &[u8]) -> String {
        let key = KeyId::of(self.key.verifying_key().as_bytes());
        Signature { key, bytes: self.key.sign(&signed_bytes(body)).to_bytes() }.to_string()
    }
}

/// A filter on a machine of its own.
struct Node {
    plugin: Plugin,
    /// Its monotonic clock in nanoseconds, and how much faster it runs, in parts of a million.
    mono: u64,
    drift: i64,
    /// It sleeps until then; its monotonic clock may run meanwhile.
    asleep: u64,
    runs_asleep: bool,
    /// The network is gone until then.
    cut: u64,
    /// Question and answer under way, by the time of their arrival.
    questions: Vec<(u64, Question)>,
    answers: Vec<(u64, Topic, Vec<u8>, String)>,
    applied: u64,
}

impl Node {
    fn new(config: &Config, seed: u64, dice: &mut Dice) -> Self {
        let mono = dice.roll(1_000_000_000_000);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            plugin: Plugin::new(config, "n".to_owned(), bytes, Mono::from_nanos(mono)),
            mono,
            drift: i64::try_from(dice.roll(1_999)).unwrap() - 999,
            asleep: 0,
            runs_asleep: dice.chance(500),
            cut: 0,
            questions: Vec::new(),
            answers: Vec::new(),
            applied: 0,
        }
    }

    fn pass(&mut self, millis: u64, awake: bool) {
        if awake || self.runs_asleep {
            let nanos = i64::try_from(millis * 1_000_000).unwrap();
            self.mono += u64::try_from(nanos + nanos / 1_000_000 * self.drift).unwrap();
        }
    }

    fn mono(&self) -> Mono {
        Mono::from_nanos(self.mono)
    }

    /// Whether it would admit at this moment under what a revision ended.
    fn admits(&mut self, revision: u64, wall: Wall) -> bool {
        let mono = self.mono();
        self.plugin.look(wall, mono);
        let sync = self.plugin.sync();
        let any = [Criticality::Critical, Criticality::Standard, Criticality::Low];
        let fresh = any.into_iter().any(|criticality| sync.is_fresh(criticality, mono));
        fresh && sync.position().is_some_and(|position| position.revision < revision)
    }
}

/// One run; gives how many revocations were proven and how often something was admitted.
fn run(seed: u64) -> (usize, u64) {
    let mut dice = Dice(seed);
    let key = SigningKey::from_bytes(&[1; 32]);
    let pin: String = key.verifying_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({"services": ["payments"], "keys": [pin], "credential": "c", "public_url": "http://cp"});
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    let mut server =
        ControlPlane { key, items: vec![lock(0)], known: Default::default(), open: Vec::new(), proven: Vec::new() };
    let mut nodes: Vec<Node> = (0..FILTERS).map(|at| Node::new(&config, seed + at as u64, &mut dice)).collect();
    let (mut down, mut admitted) = (0, 0);
    // What the control plane gave before, for a network that repeats it.
    let mut old: BTreeMap<usize, (Topic, Vec<u8>, String)> = BTreeMap::new();
    for now in (0..LENGTH).step_by(usize::try_from(STEP).unwrap()) {
        if dice.chance(15) {
            server.revoke();
        }
        if dice.chance(2) {
            down = now + dice.roll(3_000);
            // It comes back knowing whom it answered, but not until when nor what they have.
            server.known = [Known { applied: 0, last_answer: down.max(now) }; FILTERS];
        }
        for (number, node) in nodes.iter_mut().enumerate() {
            let awake = now >= node.asleep;
            node.pass(STEP, awake);
            if !awake {
                continue;
            }
            let wall = Wall::from_nanos(now * 1_000_000);
            node.plugin.tick(node.mono(), wall, node.mono());
            for proven in &server.proven {
                assert!(!node.admits(*proven, wall), "seed {seed}: filter {number} admits at {now} under {proven}");
            }
            admitted += u64::from(node.admits(u64::MAX, wall));
            let (come, rest) =
                std::mem::take(&mut node.answers).into_iter().partition::<Vec<_>, _>(|(at, ..)| *at <= now);
            node.answers = rest;
            for (_, topic, body, signature) in come {
                let answer = Answer { status: b"200", signature: Some(signature.as_bytes()), body: &body };
                let mono = node.mono();
                let _judged = node.plugin.answered(topic, &answer, mono);
            }
            let position = node.plugin.sync().position().map_or(0, |position| position.revision);
            assert!(position >= node.applied, "seed {seed}: filter {number} went back at {now}");
            node.applied = position;
            let mono = node.mono();
            for question in node.plugin.due(mono) {
                node.questions.push((now + dice.delay(), question));
            }
            if dice.chance(3) {
                node.cut = now + dice.roll(8_000);
            }
            if dice.chance(2) {
                node.asleep = now + dice.roll(6_000);
            }
            let (come, rest) =
                std::mem::take(&mut node.questions).into_iter().partition::<Vec<_>, _>(|(at, _)| *at <= now);
            node.questions = rest;
            for (_, question) in come {
                if now < node.cut || now < down || dice.chance(30) {
                    continue;
                }
                let body = server.answer(number, &question, now);
                let signature = server.sign(&body);
                let delay = now + dice.delay();
                if dice.chance(50) {
                    node.answers.push((delay + dice.roll(2_000), question.topic, body.clone(), signature.clone()));
                }
                if dice.chance(50)
                    && let Some((topic, body, signature)) = old.get(&number).cloned()
                {
                    node.answers.push((delay, topic, body, signature));
                }
                old.insert(number, (question.topic, body.clone(), signature.clone()));
                node.answers.push((delay, question.topic, body, signature));
            }
        }
        server.prove(now);
    }
    (server.proven.len(), admitted)
}

#[test]
fn proof_that_what_is_proven_to_have_ended_has_ended_everywhere() {
    #[expect(clippy::disallowed_methods, reason = "how much is to be proven is said by whoever runs this")]
    let runs = if std::env::var_os("GRANTMESH_PROVE").is_some() { 3_000 } else { 60_u64 };
    let (mut proven, mut admitted) = (0, 0);
    for seed in 0..runs {
        let (more, calls) = run(seed * 1_000_003);
        proven += more;
        admitted += calls;
    }
    println!("{runs} runs: {proven} revocations were proven, {admitted} looks found a filter that admits something");
    assert!(proven as u64 > runs && admitted > runs, "a world in which nothing happens proves nothing");
}
