//! The state machine against a small control plane that signs, and against everything that one must not do.

use std::collections::BTreeMap;

use ed25519_dalek::{Signer, SigningKey};
use grantmesh_shared::id::VmId;
use grantmesh_shared::wire::TableHash;
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use grantmesh_shared::wire::table::{Body, Item, LockItem};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod pages;
mod steps;

const BOUNDS: [(Criticality, u64); 3] =
    [(Criticality::Critical, 5_000), (Criticality::Standard, 30_000), (Criticality::Low, 300_000)];

fn at(millis: u64) -> Mono {
    Mono::from_millis(millis)
}

fn lock(number: u8) -> Item {
    let id = grantmesh_shared::id::LockId::new(u64::from(number), [0; 10]);
    let lock = LockItem { id, subject: None, service: None, action: None, reason: "r".to_owned(), expires_at: None };
    Body::Lock(lock).into_item().unwrap()
}

fn hash_of<'a>(items: impl IntoIterator<Item = &'a Item>) -> TableHash {
    items.into_iter().fold(TableHash::default(), |hash, item| hash.plus(item.hash()))
}

/// A control plane of a few locks.
struct Server {
    key: SigningKey,
    epoch: u64,
    revision: u64,
    items: BTreeMap<String, Item>,
    now: i64,
}

impl Server {
    fn new() -> Self {
        let mut server = Self {
            key: SigningKey::from_bytes(&[1; 32]),
            epoch: 1,
            revision: 1,
            items: BTreeMap::new(),
            now: 1_000_000,
        };
        server.put(1);
        server
    }

    fn put(&mut self, number: u8) -> Item {
        let item = lock(number);
        self.items.insert(item.key.clone(), item.clone());
        self.revision += 1;
        item
    }

    fn position(&self) -> Value {
        json!({"epoch": self.epoch, "revision": self.revision})
    }

    fn nonce(question: &Question) -> Value {
        serde_json::from_slice::<Value>(&question.body).unwrap()["nonce"].clone()
    }

    fn sync(&self, question: &Question, change: Value) -> Value {
        json!({
            "v": 1, "kind": "sync", "nonce": Self::nonce(question), "position": self.position(),
            "table_hash": hash_of(self.items.values()), "server_time": self.now,
            "freshness": {"critical_ms": 5_000, "standard_ms": 30_000, "low_ms": 300_000}, "change": change,
        })
    }

    fn snapshot(&self, question: &Question) -> Value {
        let puts: Vec<&Item> = self.items.values().collect();
        self.sync(question, json!({"snapshot": {"index": 0, "last": true, "puts": puts}}))
    }

    fn heartbeat(&self, question: &Question) -> Value {
        json!({
            "v": 1, "kind": "heartbeat", "nonce": Self::nonce(question), "position": self.position(),
            "table_hash": hash_of(self.items.values()), "server_time": self.now,
            "freshness": {"critical_ms": 5_000, "standard_ms": 30_000, "low_ms": 300_000},
        })
    }

    fn sign(&self, body: &[u8]) -> String {
        let key = KeyId::of(self.key.verifying_key().as_bytes());
        Signature { key, bytes: self.key.sign(&signed_bytes(body)).to_bytes() }.to_string()
    }
}

struct Filter {
    sync: Sync,
    random: Random,
}

impl Filter {
    fn new(server: &Server) -> Self {
        let keys = vec![PinnedKey::new(server.key.verifying_key().as_bytes()).unwrap()];
        let filter =
            VmIdentity { vm: VmId::new(0, [0; 10]), node: "n".to_owned(), services: vec!["payments".to_owned()] };
        Self { sync: Sync::new(filter, keys), random: Random::new([9; 32]) }
    }

    /// One that has applied the server's table; sent at 0, answered at 10.
    fn ready(server: &Server) -> Self {
        let mut filter = Self::new(server);
        let poll = filter.poll(0);
        filter.tell(server, Topic::Sync, &server.snapshot(&poll), 10).unwrap();
        filter
    }

    fn due(&mut self, millis: u64) -> Vec<Question> {
        self.sync.due(at(millis), &mut self.random)
    }

    fn the(&mut self, topic: Topic, millis: u64) -> Question {
        let due = self.due(millis);
        due.into_iter().find(|question| question.topic == topic).expect("it is due")
    }

    fn poll(&mut self, millis: u64) -> Question {
        self.the(Topic::Sync, millis)
    }

    fn tell(&mut self, server: &Server, topic: Topic, answer: &Value, millis: u64) -> Result<Progress, SyncError> {
        let body = answer.to_string().into_bytes();
        let signature = server.sign(&body);
        self.tell_raw(topic, b"200", Some(&signature), &body, millis)
    }

    fn tell_raw(
        &mut self,
        topic: Topic,
        status: &[u8],
        signature: Option<&str>,
        body: &[u8],
        millis: u64,
    ) -> Result<Progress, SyncError> {
        let answer = Answer { status, signature: signature.map(str::as_bytes), body };
        self.sync.answered(topic, &answer, at(millis), &mut self.random)
    }

    fn fresh(&self, millis: u64) -> [bool; 3] {
        BOUNDS.map(|(criticality, _)| self.sync.is_fresh(criticality, at(millis)))
    }
}

fn applied(question: &Question) -> Value {
    serde_json::from_slice::<Value>(&question.body).unwrap()["applied"].clone()
}

#[test]
fn a_cold_start_has_nothing_until_the_snapshot_is_there() {
    let server = Server::new();
    let mut filter = Filter::new(&server);
    let poll = filter.poll(0);
    assert_eq!((poll.path, applied(&poll), poll.timeout), (SYNC_PATH, Value::Null, POLL_TIMEOUT));
    assert!(filter.due(5_000).is_empty(), "one poll at a time, and no heartbeat without a table");
    assert!(filter.sync.table().is_none() && filter.sync.now(at(1)).is_none());
    assert_eq!(filter.fresh(1), [false; 3]);
    assert_eq!(filter.tell(&server, Topic::Sync, &server.snapshot(&poll), 10), Ok(Progress::Snapshot));
    assert!(filter.sync.table().is_some());
    assert_eq!(filter.sync.item_count(), 1);
    assert_eq!(filter.fresh(10), [true; 3]);
    let acknowledging = filter.poll(10);
    assert_eq!(applied(&acknowledging)["position"], server.position());
    assert_eq!(applied(&acknowledging)["table_hash"], json!(hash_of(server.items.values())));
}

#[test]
fn a_delta_is_applied_and_acknowledged_at_once() {
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    let poll = filter.poll(10);
    let new = server.put(2);
    let gone = server.items.keys().next().unwrap().clone();
    server.items.remove(&gone);
    let answer = server.sync(&poll, json!({"delta": {"puts": [new], "removes": [gone]}}));
    assert_eq!(filter.tell(&server, Topic::Sync, &answer, 20), Ok(Progress::Delta));
    assert_eq!(applied(&filter.poll(20))["table_hash"], json!(hash_of(server.items.values())));
    assert_eq!(filter.sync.item_count(), 1);
}

/// Changes an answer to a poll of a ready filter; the state must be as before, and `error` be the reason.
#[track_caller]
fn refused(change: impl FnOnce(&mut Server, &Question) -> Value, error: &str) {
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    let before = (filter.sync.position(), filter.sync.contents.hash(), filter.sync.item_count());
    let poll = filter.poll(10);
    let answer = change(&mut server, &poll);
    let refused = filter.tell(&server, Topic::Sync, &answer, 20_000).unwrap_err();
    assert_eq!(refused.code(), error, "{refused}");
    assert_eq!((filter.sync.position(), filter.sync.contents.hash(), filter.sync.item_count()), before);
    assert_eq!(filter.fresh(10_000), [false, true, true], "it counts for nothing");
    let polls = filter.due(20_000).into_iter().any(|question| question.topic == Topic::Sync);
    assert!(!polls, "and is backed off from");
}

#[test]
fn answers_that_must_not_count_do_not() {
    let delta = |server: &Server, poll: &Question, puts: Value, removes: Value| {
        server.sync(poll, json!({"delta": {"puts": puts, "removes": removes}}))
    };
    let with = |mut answer: Value, pointer: &str, value: Value| {
        *answer.pointer_mut(pointer).unwrap() = value;
        answer
    };
    let unchanged = |server: &Server, poll: &Question| server.sync(poll, json!("unchanged"));
    refused(|server, poll| with(unchanged(server, poll), "/nonce", json!("0".repeat(32))), "nonce");
    refused(|server, poll| with(unchanged(server, poll), "/v", json!(2)), "malformed");
    refused(|server, poll| with(unchanged(server, poll), "/kind", json!("heartbeat")), "malformed");
    refused(|server, poll| with(unchanged(server, poll), "/position/revision", json!(1)), "rollback");
    refused(|server, poll| with(server.snapshot(poll), "/position/epoch", json!(0)), "rollback");
    refused(|server, poll| with(unchanged(server, poll), "/table_hash", json!("0".repeat(64))), "table_hash");
    refused(|server, poll| with(unchanged(server, poll), "/change", json!({"everything": {}})), "malformed");
    refused(
        |server, poll| {
            server.put(2);
            delta(server, poll, json!([]), json!([]))
        },
        "table_hash",
    );
    refused(
        |server, poll| {
            let item = server.put(2);
            delta(server, poll, json!([item, item]), json!([]))
        },
        "twice",
    );
    refused(
        |server, poll| {
            let item = server.put(2);
            delta(server, poll, json!([item]), json!([item.key]))
        },
        "twice",
    );
    refused(
        |server, poll| {
            let item = server.put(2);
            delta(server, poll, json!([item, {"key": "quota/x", "body": {"quota": {}}}]), json!([]))
        },
        "item",
    );
    refused(|server, poll| delta(server, poll, json!([]), json!(["quota/x"])), "item");
    refused(|server, poll| with(server.snapshot(poll), "/change/snapshot/index", json!(1)), "unexpected");
    refused(|server, poll| with(server.snapshot(poll), "/table_hash", json!("0".repeat(64))), "table_hash");
}

#[test]
fn forged_and_missing_answers_are_the_same_as_none() {
    let server = Server::new();
    let other = Server { key: SigningKey::from_bytes(&[2; 32]), ..Server::new() };
    let mut filter = Filter::ready(&server);
    let poll = filter.poll(10);
    let body = server.sync(&poll, json!("unchanged")).to_string().into_bytes();
    for (signature, status, code) in [
        (None, &b"503"[..], "unreachable"),
        (None, b"", "unreachable"),
        (None, b"200", "unreachable"),
        (Some(other.sign(&body)), b"200", "unknown_key"),
        (Some(server.sign(b"{}")), b"200", "signature"),
        (Some(server.sign(&body)), b"401", "refused"),
    ] {
        let mut filter = Filter { sync: Filter::ready(&server).sync, random: Random::new([9; 32]) };
        let _poll = filter.poll(10);
        let error = filter.tell_raw(Topic::Sync, status, signature.as_deref(), &body, 20).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(!filter.sync.wants_snapshot, "the table is as good as before");
    }
    filter.tell_raw(Topic::Sync, b"200", Some(&server.sign(&body)), &body, 20).unwrap();
    let again = filter.tell_raw(Topic::Sync, b"200", Some(&server.sign(&body)), &body, 21);
    assert_eq!(again, Err(SyncError::Unexpected), "nobody asked");
}

#[test]
fn an_old_answer_does_not_fit_a_new_question() {
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    let old = filter.poll(10);
    let replayed = server.sync(&old, json!("unchanged"));
    filter.tell(&server, Topic::Sync, &replayed, 20).unwrap();
    let _new = filter.poll(2_000);
    server.now += 1;
    assert_eq!(filter.tell(&server, Topic::Sync, &replayed, 2_010), Err(SyncError::Answer(AnswerError::Nonce)));
}

#[test]
fn after_a_wrong_hash_a_snapshot_is_asked_for_and_heals() {
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    let [poll, heartbeat] = filter.due(10).try_into().unwrap();
    server.put(2);
    let lost = server.sync(&poll, json!({"delta": {"puts": [], "removes": []}}));
    assert_eq!(filter.tell(&server, Topic::Sync, &lost, 20), Err(SyncError::TableHash));
    let mut current = server.heartbeat(&heartbeat);
    current["position"]["revision"] = json!(server.revision - 1);
    assert_eq!(filter.tell(&server, Topic::Heartbeat, &current, 30), Ok(Progress::Behind), "it is not to be trusted");
    let poll = filter.poll(31_000);
    assert_eq!(applied(&poll), Value::Null);
    assert_eq!(filter.tell(&server, Topic::Sync, &server.snapshot(&poll), 31_001), Ok(Progress::Snapshot));
    assert_eq!(filter.sync.item_count(), 2);
}

#[test]
fn freshness_ends_exactly_at_its_bound() {
    let server = Server::new();
    let mut filter = Filter::ready(&server);
    for (place, (_, bound)) in BOUNDS.iter().enumerate() {
        assert!(filter.fresh(bound - 1)[place]);
        assert!(!filter.fresh(*bound)[place]);
    }
    let heartbeat = filter.the(Topic::Heartbeat, 3_000);
    assert_eq!(heartbeat.path, HEARTBEAT_PATH);
    filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 4_900).unwrap();
    assert!(filter.fresh(7_999)[0], "age counts from sending");
    assert!(!filter.fresh(8_000)[0]);
}

#[test]
fn a_heartbeat_behind_news_confirms_nothing() {
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    let heartbeat = filter.the(Topic::Heartbeat, 2_500);
    server.put(2);
    assert_eq!(filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 2_510), Ok(Progress::Behind));
    assert!(!filter.fresh(5_000)[0]);
}

#[test]
fn a_poll_that_is_stuck_is_given_up_when_a_heartbeat_tells_of_news() {
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    let [stuck, first] = filter.due(10).try_into().unwrap();
    filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&first), 11).unwrap();
    let heartbeat = filter.the(Topic::Heartbeat, 2_600);
    server.put(2);
    assert_eq!(filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 2_610), Ok(Progress::Behind));
    let again = filter.poll(2_610);
    assert_ne!(again.body, stuck.body);
    filter.tell(&server, Topic::Sync, &server.snapshot(&again), 2_620).unwrap();
    assert_eq!(filter.fresh(2_620), [true; 3]);
}

#[test]
fn heartbeats_come_twice_within_the_tightest_bound() {
    let server = Server::new();
    let mut filter = Filter::ready(&server);
    let mut sent = vec![];
    for millis in 10..20_000 {
        for question in filter.due(millis).into_iter().filter(|question| question.topic == Topic::Heartbeat) {
            sent.push(millis);
            filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&question), millis + 1).unwrap();
        }
    }
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] <= 2_500 && pair[1] - pair[0] >= 2_000), "{sent:?}");
}

#[test]
fn polls_back_off_and_come_back_at_once_when_a_heartbeat_gets_through() {
    let server = Server::new();
    let mut filter = Filter::ready(&server);
    let mut waits = vec![];
    let mut millis = 10;
    for _ in 0..12 {
        while !filter.due(millis).iter().any(|question| question.topic == Topic::Sync) {
            millis += 10;
        }
        waits.push(millis);
        filter.sync.failed(Topic::Sync, at(millis), &mut filter.random);
    }
    let gaps: Vec<u64> = waits.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (1_000..=30_010).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap > 5_000), "{gaps:?}");
    let heartbeat = Question { topic: Topic::Heartbeat, path: HEARTBEAT_PATH, body: vec![], timeout: WAIT };
    let nonce = filter.sync.heartbeat.as_ref().unwrap().nonce.clone();
    let mut answer =
        server.heartbeat(&Question { body: json!({"nonce": nonce}).to_string().into_bytes(), ..heartbeat });
    answer["nonce"] = json!(nonce);
    filter.tell(&server, Topic::Heartbeat, &answer, millis + 1).unwrap();
    assert_eq!(filter.poll(millis + 1).topic, Topic::Sync);
}

#[test]
fn a_question_that_is_never_answered_is_asked_again() {
    let server = Server::new();
    let mut filter = Filter::new(&server);
    let first = filter.poll(0);
    assert!(filter.due(39_999).is_empty());
    assert!(filter.due(40_000).is_empty(), "lost: backed off");
    assert_ne!(filter.poll(71_000).body, first.body);
}

#[test]
fn a_new_service_is_not_fresh_before_its_snapshot() {
    let server = Server::new();
    let mut filter = Filter::ready(&server);
    let keys = filter.sync.keys().to_vec();
    filter.sync.retarget(vec!["payments".to_owned()], keys.clone(), Mono::default());
    assert_eq!(filter.fresh(20), [true; 3], "only the questions under way are forgotten");
    filter.sync.retarget(vec!["payments".to_owned(), "ledger".to_owned()], keys, Mono::default());
    assert_eq!(filter.fresh(20), [false; 3]);
    let poll = filter.poll(20);
    assert_eq!(applied(&poll), Value::Null);
    filter.tell(&server, Topic::Sync, &server.snapshot(&poll), 30).unwrap();
    assert_eq!(filter.fresh(30), [true; 3]);
}

#[test]
fn after_a_sleep_only_a_question_asked_since_confirms() {
    let server = Server::new();
    let mut filter = Filter::ready(&server);
    let asked = filter.due(10);
    filter.sync.doubt(Mono::default());
    assert_eq!(filter.fresh(11), [false; 3]);
    for question in &asked {
        let answer = match question.topic {
            Topic::Heartbeat => server.heartbeat(question),
            _ => server.sync(question, json!("unchanged")),
        };
        assert_eq!(filter.tell(&server, question.topic, &answer, 12), Err(SyncError::Unexpected));
    }
    assert_eq!(filter.fresh(12), [false; 3]);
    let heartbeat = filter.the(Topic::Heartbeat, 13);
    filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 14).unwrap();
    assert_eq!(filter.fresh(14), [true; 3]);
}

#[test]
fn what_runs_already_outlives_a_doubt_that_is_settled_at_once_and_no_other() {
    let server = Server::new();
    let mut filter = Filter::ready(&server);
    let may_run_on = |filter: &Filter, millis| {
        let (sync, all) = (&filter.sync, [Criticality::Critical, Criticality::Standard, Criticality::Low]);
        all.map(|criticality| sync.may_run_on(criticality, at(millis)))
    };
    filter.sync.doubt(at(1_000));
    assert_eq!((filter.fresh(1_899), may_run_on(&filter, 1_899)), ([false; 3], [true; 3]));
    // A doubt upon a doubt gives no more time.
    filter.sync.doubt(at(1_800));
    assert_eq!(may_run_on(&filter, 1_900), [false; 3]);
    let heartbeat = filter.the(Topic::Heartbeat, 2_000);
    filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 2_001).unwrap();
    assert_eq!(may_run_on(&filter, 2_001), [true; 3]);
    assert_eq!(may_run_on(&filter, 7_000), filter.fresh(7_000), "without a doubt its age counts");
    assert!(!may_run_on(&filter, 7_000)[0], "too old for what is critical");
}

#[test]
fn after_a_sleep_that_the_clock_did_not_see_no_old_bound_of_the_time_counts() {
    let mut server = Server::new();
    let mut filter = Filter::ready(&server);
    assert!(filter.sync.latest(at(20)).unwrap() < Timestamp::from_millis(1_000_100));
    // 50 ms of sleep that the monotonic clock does not know of, then a poll that is answered at once.
    server.now += 20 + 50;
    filter.sync.doubt(Mono::default());
    let poll = filter.poll(20);
    filter.tell(&server, Topic::Sync, &server.sync(&poll, json!("unchanged")), 21).unwrap();
    assert!(filter.sync.latest(at(21)).unwrap() >= Timestamp::from_millis(server.now), "late by nothing");
}

#[test]
fn a_restored_history_is_taken_only_under_a_new_epoch_and_only_whole() {
    let mut server = Server::new();
    server.put(2);
    let restored = Server { items: server.items.clone(), ..Server::new() };
    server.put(3);
    let mut filter = Filter::ready(&server);
    // The same epoch, an earlier revision: never.
    let [poll, heartbeat] = filter.due(10).try_into().unwrap();
    let error = filter.tell(&server, Topic::Sync, &restored.snapshot(&poll), 20).unwrap_err();
    assert_eq!(error, SyncError::Rollback(Position { epoch: 1, revision: restored.revision }));
    filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 20).unwrap();
    // A new epoch: not as a step.
    let restored = Server { epoch: 2, ..restored };
    let poll = filter.poll(40_000);
    let step = restored.sync(&poll, json!({"delta": {"puts": [], "removes": []}}));
    assert_eq!(filter.tell(&server, Topic::Sync, &step, 40_001), Err(SyncError::Unexpected));
    let poll = filter.poll(80_000);
    filter.tell(&server, Topic::Sync, &restored.snapshot(&poll), 80_001).unwrap();
    assert_eq!(filter.sync.position(), Some(Position { epoch: 2, revision: restored.revision }));
    // And there is no way back, whatever its revision.
    let poll = filter.poll(80_002);
    let error = filter.tell(&server, Topic::Sync, &server.snapshot(&poll), 80_003).unwrap_err();
    assert_eq!(error.code(), "rollback");
    let heartbeat = filter.the(Topic::Heartbeat, 120_000);
    let error = filter.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 120_001).unwrap_err();
    assert_eq!(error.code(), "rollback");
}

#[test]
fn what_another_vm_has_heard_of_holds_for_a_new_one() {
    let mut server = Server::new();
    let old = server.revision;
    server.put(2);
    let mut veteran = Filter::ready(&server);
    let heartbeat = veteran.the(Topic::Heartbeat, 20);
    veteran.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 21).unwrap();
    let kept = veteran.sync.point_to_keep().unwrap().to_vec();

    let mut young = Filter::new(&server);
    young.sync.read_point(&kept);
    let poll = young.poll(0);
    let mut restored = Server::new();
    restored.revision = old;
    assert_eq!(young.tell(&server, Topic::Sync, &restored.snapshot(&poll), 10).unwrap_err().code(), "rollback");
    assert!(young.sync.table().is_none());
    let poll = young.poll(40_000);
    young.tell(&server, Topic::Sync, &server.snapshot(&poll), 40_001).unwrap();
}

#[test]
fn a_kept_table_is_taken_if_it_was_signed_and_counts_for_nothing_until_it_is_confirmed() {
    let mut server = Server::new();
    let mut veteran = Filter::ready(&server);
    let kept = veteran.sync.take_table_to_keep().unwrap();
    assert_eq!(veteran.sync.take_table_to_keep(), None, "told once");

    let mut forged = kept.clone();
    *forged.last_mut().unwrap() = b' ';
    for bad in [forged, kept[1..].to_vec(), b"x\n{}".to_vec(), Vec::new()] {
        let mut young = Filter::new(&server);
        assert!(!young.sync.begin_with(&bad));
        assert!(young.sync.table().is_none());
    }
    let mut young = Filter::new(&server);
    assert!(young.sync.begin_with(&kept) && !young.sync.begin_with(&kept));
    assert_eq!((young.sync.item_count(), young.fresh(0)), (1, [false; 3]));
    // Something happened since: the heartbeat confirms nothing, the poll brings the step.
    let new = server.put(2);
    let [poll, heartbeat] = young.due(10).try_into().unwrap();
    assert_eq!(young.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 11), Ok(Progress::Behind));
    assert_eq!(young.fresh(12), [false; 3]);
    let step = server.sync(&poll, json!({"delta": {"puts": [new], "removes": []}}));
    assert_eq!(young.tell(&server, Topic::Sync, &step, 13), Ok(Progress::Delta));
    assert_eq!((young.sync.item_count(), young.fresh(13)), (2, [true; 3]));
}

#[test]
fn a_kept_table_from_before_what_was_heard_of_is_confirmed_by_nobody() {
    let mut server = Server::new();
    let mut veteran = Filter::ready(&server);
    let table = veteran.sync.take_table_to_keep().unwrap();
    let restored = Server { items: server.items.clone(), revision: server.revision, ..Server::new() };
    let new = server.put(2);
    let heartbeat = veteran.the(Topic::Heartbeat, 20);
    veteran.tell(&server, Topic::Heartbeat, &server.heartbeat(&heartbeat), 21).unwrap();
    let point = veteran.sync.point_to_keep().unwrap().to_vec();

    // A control plane that went back finds its own table there, by position and hash.
    let mut young = Filter::new(&server);
    young.sync.read_point(&point);
    assert!(young.sync.begin_with(&table));
    let [poll, heartbeat] = young.due(10).try_into().unwrap();
    let confirming = restored.heartbeat(&heartbeat);
    assert_eq!(young.tell(&server, Topic::Heartbeat, &confirming, 11), Ok(Progress::Behind));
    let unchanged = restored.sync(&poll, json!("unchanged"));
    assert_eq!(young.tell(&server, Topic::Sync, &unchanged, 12).unwrap_err().code(), "rollback");
    assert_eq!(young.fresh(12), [false; 3]);
    let poll = young.poll(40_000);
    let step = server.sync(&poll, json!({"delta": {"puts": [new], "removes": []}}));
    assert_eq!(young.tell(&server, Topic::Sync, &step, 40_001), Ok(Progress::Delta));
    assert_eq!(young.fresh(40_001), [true; 3]);
}

#[test]
fn a_signed_table_of_other_services_is_found_out() {
    let server = Server::new();
    let mut other = Server::new();
    other.put(9);
    let kept = Filter::ready(&other).sync.take_table_to_keep().unwrap();
    let mut filter = Filter::new(&server);
    assert!(filter.sync.begin_with(&kept), "the key has signed it");
    let heartbeat = filter.the(Topic::Heartbeat, 10);
    let mut answer = server.heartbeat(&heartbeat);
    answer["position"]["revision"] = json!(other.revision);
    assert_eq!(filter.tell(&server, Topic::Heartbeat, &answer, 11), Err(SyncError::TableHash));
    assert_eq!(filter.fresh(11), [false; 3]);
    assert_eq!(applied(&filter.poll(12)), Value::Null, "everything is asked for");
}

/// What a network and a control plane may do with a question.
#[derive(Debug, Clone)]
enum Fate {
    Answered { delay: u64, changed_before: bool },
    Stale { delay: u64 },
    Failed { delay: u64 },
    Lost,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => (0_u64..6_000, any::<bool>()).prop_map(|(delay, changed_before)| Fate::Answered { delay, changed_before }),
        1 => (0_u64..6_000).prop_map(|delay| Fate::Stale { delay }),
        2 => (0_u64..6_000).prop_map(|delay| Fate::Failed { delay }),
        1 => Just(Fate::Lost),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens to the questions: the table is never called fresh beyond the bound after the state of the control
    /// plane was last the table's, and the applied position never goes back.
    #[test]
    fn never_fresh_beyond_the_bound(fates in proptest::collection::vec(fate(), 1..60)) {
        let mut server = Server::new();
        let mut filter = Filter::new(&server);
        let mut fates = fates.into_iter();
        let mut under_way: Vec<(u64, Topic, Result<Value, ()>)> = vec![];
        // Up to when the table was known to be the server's, by position.
        let mut changed_at: BTreeMap<u64, u64> = BTreeMap::new();
        let mut position = None;
        let mut number = 10_u8;
        for millis in (0_u64..120_000).step_by(50) {
            server.now = 1_000_000 + i64::try_from(millis).unwrap();
            for question in filter.due(millis) {
                let Some(fate) = fates.next() else { continue };
                let asked = applied(&question);
                let answer = |server: &Server| match question.topic {
                    Topic::Heartbeat => server.heartbeat(&question),
                    _ if asked["position"] == server.position() => server.sync(&question, json!("unchanged")),
                    _ => server.snapshot(&question),
                };
                match fate {
                    Fate::Answered { delay, changed_before } => {
                        if changed_before {
                            changed_at.insert(server.revision, millis);
                            number = number.wrapping_add(1);
                            server.put(number);
                        }
                        under_way.push((millis + delay, question.topic, Ok(answer(&server))));
                    }
                    Fate::Stale { delay } => {
                        // Answered, and then something changes before the answer is there.
                        under_way.push((millis + delay, question.topic, Ok(answer(&server))));
                        changed_at.insert(server.revision, millis);
                        number = number.wrapping_add(1);
                        server.put(number);
                    }
                    Fate::Failed { delay } => under_way.push((millis + delay, question.topic, Err(()))),
                    Fate::Lost => {}
                }
            }
            let (arrived, rest) = under_way.into_iter().partition(|(when, ..)| *when <= millis);
            under_way = rest;
            for (_, topic, answer) in Vec::from_iter::<Vec<(u64, Topic, Result<Value, ()>)>>(arrived) {
                // An answer that came too late for its question is refused, and that is fine.
                match answer {
                    Ok(answer) => { let _used = filter.tell(&server, topic, &answer, millis); }
                    Err(()) => filter.sync.failed(topic, at(millis), &mut filter.random),
                }
            }
            prop_assert!(filter.sync.position() >= position);
            position = filter.sync.position();
            for (criticality, bound) in BOUNDS {
                if !filter.sync.is_fresh(criticality, at(millis)) {
                    continue;
                }
                let applied = filter.sync.position().unwrap().revision;
                // The table was the server's until the first change after the applied revision.
                let good_until = changed_at.range(applied..).next().map_or(millis, |(_, when)| *when);
                prop_assert!(millis - good_until <= bound, "{criticality:?} at {millis}, good until {good_until}");
            }
            if let Some(now) = filter.sync.now(at(millis)) {
                prop_assert!(now.earliest.millis() <= server.now && server.now <= now.latest.millis());
            }
        }
    }
}
