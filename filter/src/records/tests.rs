//! The stream against a small control plane that keeps records, fails, and answers twice.

use ed25519_dalek::{Signer, SigningKey};
use grantmesh_shared::id::{DecisionId, VmId};
use grantmesh_shared::wire::records::{DecisionWord, Event, Record, RecordsRequest};
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A call that is let through: refusals alike are folded, these never.
fn event(number: usize, path: &str) -> Box<DecisionEvent<'static>> {
    let mut random = [0; 10];
    random.iter_mut().zip(number.to_le_bytes()).for_each(|(into, byte)| *into = byte);
    let (id, call) = (DecisionId::new(0, random), ("GET", path.to_owned()));
    Box::new(DecisionEvent::new(id, DecisionWord::Allow, "payments", call))
}

fn at(millis: u64) -> Mono {
    Mono::from_millis(millis)
}

/// Keeps every record once, and checks the chain over the exact bytes.
struct Server {
    key: SigningKey,
    next: u64,
    prev: Sha256Hash,
    kept: Vec<Record>,
}

impl Server {
    fn new() -> Self {
        Self { key: SigningKey::from_bytes(&[1; 32]), next: 0, prev: Sha256Hash::default(), kept: vec![] }
    }

    fn keep(&mut self, question: &Question) {
        let request: RecordsRequest = serde_json::from_slice(&question.body).unwrap();
        assert!(request.records.len() <= MAX_BATCH);
        for raw in &request.records {
            assert!(raw.get().len() <= MAX_RECORD_BYTES);
            let record: Record = serde_json::from_str(raw.get()).unwrap();
            if record.seq < self.next {
                continue;
            }
            assert_eq!((record.seq, record.prev), (self.next, self.prev));
            assert_eq!(raw.get(), serde_json::to_string(&record).unwrap());
            self.next += 1;
            self.prev = Sha256Hash::of(raw.get().as_bytes());
            self.kept.push(record);
        }
    }

    fn answer(&self, question: &Question, next_seq: u64) -> (Vec<u8>, String) {
        let nonce = serde_json::from_slice::<RecordsRequest>(&question.body).unwrap().nonce;
        let body = json!({"v": 1, "kind": "records", "nonce": nonce, "next_seq": next_seq}).to_string().into_bytes();
        let key = KeyId::of(self.key.verifying_key().as_bytes());
        let signature = Signature { key, bytes: self.key.sign(&signed_bytes(&body)).to_bytes() };
        (body, signature.to_string())
    }
}

struct Filter {
    records: Records,
    random: Random,
    identity: VmIdentity,
}

impl Filter {
    fn new() -> Self {
        let identity =
            VmIdentity { vm: VmId::new(0, [0; 10]), node: "n".to_owned(), services: vec!["payments".to_owned()] };
        Self { records: Records::default(), random: Random::new([4; 32]), identity }
    }

    fn due(&mut self, millis: u64) -> Option<Question> {
        let time = |mono: Mono| i64::try_from(mono.millis()).ok().map(Timestamp::from_millis);
        self.records.due(&self.identity, at(millis), &mut self.random, time)
    }

    fn tell(
        &mut self,
        server: &Server,
        body: &[u8],
        signature: Option<&str>,
        millis: u64,
    ) -> Result<u64, RecordsError> {
        let keys = [PinnedKey::new(server.key.verifying_key().as_bytes()).unwrap()];
        let answer = Answer { status: b"200", signature: signature.map(str::as_bytes), body };
        self.records.answered(&answer, &keys, at(millis), &mut self.random)
    }

    fn acknowledge(
        &mut self,
        server: &Server,
        question: &Question,
        next: u64,
        millis: u64,
    ) -> Result<u64, RecordsError> {
        let (body, signature) = server.answer(question, next);
        self.tell(server, &body, Some(&signature), millis)
    }
}

#[test]
fn a_batch_goes_after_a_second_or_when_it_is_large() {
    let mut filter = Filter::new();
    assert_eq!(filter.due(0), None);
    filter.records.push(event(0, "/"), at(0));
    assert_eq!(filter.due(999), None);
    assert!(filter.due(1_000).is_some());
    let mut filter = Filter::new();
    for number in 0..FLUSH_AT {
        assert_eq!(filter.due(1), None);
        filter.records.push(event(number, "/"), at(1));
    }
    assert!(filter.due(1).is_some());
}

#[test]
fn nothing_is_sealed_before_the_time_is_known() {
    let mut filter = Filter::new();
    filter.records.push(event(0, "/"), at(0));
    assert_eq!(filter.records.due(&filter.identity, at(5_000), &mut filter.random, |_| None), None);
    let batch = filter.due(6_000).unwrap();
    let mut server = Server::new();
    server.keep(&batch);
    assert_eq!(server.kept[0].at, Timestamp::from_millis(0), "it tells when it happened, not when it was sent");
}

#[test]
fn what_is_not_acknowledged_is_sent_again_in_the_same_bytes() {
    let (mut filter, mut server) = (Filter::new(), Server::new());
    filter.records.push(event(0, "/"), at(0));
    let first = filter.due(1_000).unwrap();
    server.keep(&first);
    assert!(matches!(filter.tell(&server, b"", None, 1_100), Err(RecordsError::Answer(AnswerError::Unreachable))));
    filter.records.push(event(1, "/"), at(1_200));
    assert_eq!(filter.due(1_101), None, "backed off");
    let second = filter.due(20_000).unwrap();
    let records = |question: &Question| -> Vec<String> {
        let request: RecordsRequest = serde_json::from_slice(&question.body).unwrap();
        request.records.iter().map(|raw| raw.get().to_owned()).collect()
    };
    assert_eq!(records(&second)[0], records(&first)[0]);
    server.keep(&second);
    assert_eq!(filter.acknowledge(&server, &second, 2, 20_001), Ok(2));
    assert_eq!((filter.records.kept(), server.kept.len()), (0, 2));
}

#[test]
fn an_answer_is_for_its_question_and_within_what_was_sent() {
    let server = Server::new();
    for (next, fine) in [(0, true), (1, true), (2, false), (u64::MAX, false)] {
        let mut filter = Filter::new();
        filter.records.push(event(0, "/"), at(0));
        let batch = filter.due(1_000).unwrap();
        assert_eq!(filter.acknowledge(&server, &batch, next, 1_001).is_ok(), fine, "{next}");
    }
    let mut filter = Filter::new();
    filter.records.push(event(0, "/"), at(0));
    let old = filter.due(1_000).unwrap();
    filter.acknowledge(&server, &old, 0, 1_001).unwrap();
    let _again = filter.due(1_002).unwrap();
    assert_eq!(filter.acknowledge(&server, &old, 1, 1_003), Err(RecordsError::Answer(AnswerError::Nonce)));
    assert_eq!(filter.records.kept(), 1);
    assert_eq!(
        filter.acknowledge(&server, &old, 1, 1_004),
        Err(RecordsError::Answer(AnswerError::Nonce)),
        "nobody asked"
    );
}

#[test]
fn what_is_dropped_is_counted_in_its_place() {
    let (mut filter, mut server) = (Filter::new(), Server::new());
    for number in 0..MAX_KEPT {
        assert_eq!(filter.records.push(event(number, "/"), at(0)), Pushed::Kept);
    }
    assert!(!filter.records.has_room());
    for number in 0..7 {
        assert_eq!(filter.records.push(event(number, "/dropped"), at(1)), Pushed::Dropped);
    }
    let batch = filter.due(2_000).unwrap();
    server.keep(&batch);
    let next = server.next;
    filter.acknowledge(&server, &batch, next, 2_001).unwrap();
    assert_eq!(filter.records.push(event(1, "/after"), at(2_002)), Pushed::Kept);
    let mut millis = 3_000;
    while let Some(batch) = filter.due(millis) {
        server.keep(&batch);
        let next = server.next;
        filter.acknowledge(&server, &batch, next, millis).unwrap();
        millis += 1_000;
    }
    let last: Vec<&Event> = server.kept.iter().rev().take(2).map(|record| &record.event).collect();
    assert_eq!(server.kept.len(), MAX_KEPT + 2);
    assert_eq!(last[1], &Event::Gap { dropped: 7 });
    assert!(matches!(last[0], Event::Decision(event) if event.path == "/after"));
}

fn refusal(subject: &str, reason: &str) -> Box<DecisionEvent<'static>> {
    let (subject, reasons) = (Some(subject.to_owned().into()), vec![reason.to_owned().into()]);
    Box::new(DecisionEvent { decision: DecisionWord::Deny, subject, reasons, ..*event(7, "/") })
}

/// Sends and keeps everything, tick by tick, for ten seconds.
fn deliver(filter: &mut Filter, server: &mut Server, from: u64) {
    for millis in (from..from + 10_000).step_by(100) {
        if let Some(batch) = filter.due(millis) {
            server.keep(&batch);
            let next = server.next;
            filter.acknowledge(server, &batch, next, millis).unwrap();
        }
    }
}

#[test]
fn refusals_alike_become_one_record_with_their_count() {
    let (mut filter, mut server) = (Filter::new(), Server::new());
    for _ in 0..100_000 {
        filter.records.push(refusal("mallory", "no_role"), at(10));
    }
    filter.records.push(refusal("mallory", "locked"), at(11));
    filter.records.push(refusal("ann", "no_role"), at(11));
    assert!(filter.records.kept() < 20 && filter.records.has_room());
    assert_eq!(filter.records.state(at(1_010)), StreamState { made: 100_002, kept: 100_002, lag_ms: 1_000 });
    deliver(&mut filter, &mut server, 20);
    let counts = |subject: &str, reason: &str| -> Vec<u64> {
        let events = server.kept.iter().filter_map(|record| match &record.event {
            Event::Decision(event) => Some(event),
            Event::Use(_) | Event::Gap { .. } => None,
        });
        let alike = events.filter(|event| event.subject.as_deref() == Some(subject) && event.reasons == [reason]);
        alike.map(|event| event.count).collect()
    };
    assert_eq!(counts("mallory", "no_role"), [[1; 8].as_slice(), &[99_992]].concat(), "some alone, the rest as one");
    assert_eq!((counts("mallory", "locked"), counts("ann", "no_role")), (vec![1], vec![1]));
    assert_eq!(filter.records.state(at(20_000)), StreamState { made: 100_002, kept: 0, lag_ms: 0 });
}

#[test]
fn no_flood_of_refusals_takes_the_place_of_those_who_are_let_through() {
    let (mut filter, mut server) = (Filter::new(), Server::new());
    for number in 0..3 * MAX_KEPT {
        filter.records.push(refusal(&number.to_string(), "no_role"), at(0));
    }
    assert_eq!(filter.records.kept(), MAX_KEPT_FOR_REFUSALS.0 + 1, "and one gap");
    let ending = decision(&refusal("ann", "grant_ended"));
    assert_eq!(filter.records.push_written(DecisionWord::Deny, ending, at(0)), Pushed::Dropped);
    for number in 0..MAX_KEPT - MAX_KEPT_FOR_REFUSALS.0 - 2 {
        assert!(filter.records.has_room());
        assert_eq!(filter.records.push(event(number, "/"), at(1)), Pushed::Kept);
    }
    let mut millis = 10;
    while filter.records.kept() > 0 {
        deliver(&mut filter, &mut server, millis);
        millis += 10_000;
    }
    let told: u64 = server.kept.iter().map(|record| record.event.decisions()).sum();
    assert_eq!(told, filter.records.state(at(millis)).made);
}

#[test]
fn what_a_call_waits_for_goes_at_once_and_is_acknowledged_by_its_own_seq() {
    let (mut filter, mut server) = (Filter::new(), Server::new());
    filter.records.push(event(0, "/"), at(0));
    assert_eq!(filter.due(1), None);
    let seq = filter.records.push_ahead(event(1, "/"), at(2));
    let batch = filter.due(2).expect("not after a second");
    server.keep(&batch);
    assert!(!filter.records.is_acknowledged(seq));
    filter.acknowledge(&server, &batch, 1, 3).unwrap();
    assert!(!filter.records.is_acknowledged(seq), "only the one before it is durable");
    let batch = filter.due(3).unwrap();
    server.keep(&batch);
    filter.acknowledge(&server, &batch, 2, 4).unwrap();
    assert!(filter.records.is_acknowledged(seq));
    assert!(
        matches!(&server.kept[usize::try_from(seq).unwrap()].event, Event::Decision(told) if told.id == event(1, "/").id)
    );
    // After a failure it does not wait as long as others would.
    filter.records.push(event(2, "/"), at(5));
    let batch = filter.due(2_000).unwrap();
    filter.tell(&server, b"", None, 2_001).unwrap_err();
    let _seq = filter.records.push_ahead(event(3, "/"), at(2_002));
    assert!(filter.due(2_051).is_none() && filter.due(2_052).is_some());
    drop(batch);
}

#[test]
fn a_record_too_long_to_send_is_a_gap() {
    let (mut filter, mut server) = (Filter::new(), Server::new());
    filter.records.push(event(0, &"x".repeat(MAX_RECORD_BYTES)), at(0));
    let batch = filter.due(1_000).unwrap();
    server.keep(&batch);
    assert_eq!(server.kept[0].event, Event::Gap { dropped: 1 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens to the batches, every record arrives once and in order.
    #[test]
    fn everything_arrives_once_and_in_order(steps in proptest::collection::vec((0_usize..300, 0_u8..5), 1..30)) {
        let (mut filter, mut server) = (Filter::new(), Server::new());
        let (mut pushed, mut millis) = (0_usize, 0_u64);
        for (count, fate) in steps.into_iter().chain(std::iter::repeat_n((0, 0), 40)) {
            for _ in 0..count {
                filter.records.push(event(pushed, "/"), at(millis));
                pushed += 1;
            }
            millis += 30_000;
            let Some(batch) = filter.due(millis) else { continue };
            if fate != 1 {
                server.keep(&batch);
            }
            match fate {
                // Lost on the way there, or on the way back, or never answered at all.
                1 | 2 => { let _failed = filter.tell(&server, b"", None, millis); }
                3 => {}
                4 => filter.records.forget_flight(),
                _ => { let next = server.next; filter.acknowledge(&server, &batch, next, millis).unwrap(); }
            }
        }
        prop_assert_eq!(filter.records.kept(), 0);
        let ids: Vec<String> = server.kept.iter().map(|record| match &record.event {
            Event::Decision(event) => event.id.to_string(),
            Event::Use(_) | Event::Gap { .. } => "gap".to_owned(),
        }).collect();
        let expected: Vec<String> = (0..pushed).map(|number| event(number, "/").id.to_string()).collect();
        prop_assert_eq!(ids, expected);
    }
}

/// A call that is let through under a grant, as `flow` and `plugin` keep it.
fn let_through(filter: &mut Filter, call: &Alike<'_>, number: usize, millis: u64) -> (Pushed, Written, u64) {
    let request_id = format!("r{number}");
    match filter.records.join(call, Some(&request_id), at(millis)) {
        Ok(Joined { told, call, .. }) => (Pushed::Folded, told, call),
        Err(key) => {
            let event = DecisionEvent { request_id: Some(request_id.into()), ..*event(number, call.path) };
            let told = decision(&event);
            (filter.records.push_allowed(Some(key), &told, at(millis)), told, 0)
        }
    }
}

#[test]
fn calls_alike_share_a_record_that_lists_each_of_them() {
    let (mut filter, mut server) = (Filter::new(), Server::new());
    let (one, other) = (Alike { path: "/a", ..Alike::default() }, Alike { path: "/b", ..Alike::default() });
    let calls: Vec<(Pushed, u64)> = [(&one, 0), (&other, 10), (&one, 20), (&one, 35), (&other, 40)]
        .into_iter()
        .enumerate()
        .map(|(number, (call, millis))| let_through(&mut filter, call, number, millis))
        .map(|(pushed, _, call)| (pushed, call))
        .collect();
    let (kept, folded) = (Pushed::Kept, Pushed::Folded);
    assert_eq!(calls, [(kept, 0), (kept, 0), (folded, 1), (folded, 2), (folded, 1)]);
    assert_eq!((filter.records.kept(), filter.records.state(at(50)).kept), (2, 5));
    let batch = filter.due(1_000).unwrap();
    server.keep(&batch);
    // What is sealed is as it is: the next call has a record of its own.
    assert_eq!(let_through(&mut filter, &one, 5, 1_001).0, Pushed::Kept);
    let told: Vec<(u64, Vec<(u64, String)>)> = server
        .kept
        .iter()
        .map(|record| {
            let Event::Decision(event) = &record.event else { panic!("{record:?}") };
            assert!(event.is_counted());
            let calls = event.more.iter().map(|call| (call.after_ms, call.request_id.clone().unwrap().into_owned()));
            (event.count, calls.collect())
        })
        .collect();
    let call = |after: u64, id: &str| (after, id.to_owned());
    assert_eq!(told, [(3, vec![call(20, "r2"), call(35, "r3")]), (2, vec![call(30, "r4")])]);
    assert_eq!(filter.acknowledge(&server, &batch, 2, 1_002), Ok(5));
    assert_eq!(filter.records.state(at(1_003)), StreamState { made: 6, kept: 1, lag_ms: 2 });
}

#[test]
fn a_record_that_is_full_is_followed_by_another_and_none_is_too_long() {
    let (mut filter, mut server) = (Filter::new(), Server::new());
    let call = Alike { path: "/a", ..Alike::default() };
    (0..5_000).for_each(|number| drop(let_through(&mut filter, &call, number, 0)));
    let batch = filter.due(1_000).unwrap();
    server.keep(&batch);
    assert_eq!(filter.acknowledge(&server, &batch, server.next, 1_001), Ok(5_000));
    assert!((10..100).contains(&server.kept.len()), "{}", server.kept.len());
    let ids: std::collections::HashSet<String> = server
        .kept
        .iter()
        .flat_map(|record| {
            let Event::Decision(event) = &record.event else { panic!("{record:?}") };
            let more = event.more.iter().filter_map(|call| call.request_id.as_deref());
            event.request_id.as_deref().into_iter().chain(more).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(ids.len(), 5_000, "each is told");
    assert_eq!(filter.records.state(at(1_002)).kept, 0);
}

#[test]
fn calls_that_differ_in_anything_have_records_of_their_own() {
    let base = Alike { service: "s", path: "/a", groups: &["x"], ..Alike::default() };
    let position = |revision| Some(grantmesh_shared::wire::sync::Position { epoch: 1, revision });
    let unlike = [
        base,
        Alike { service: "t", ..base },
        Alike { action: Some(""), ..base },
        Alike { action: Some("a"), ..base },
        Alike { resource: Some("a"), ..base },
        Alike { method: b"GET", ..base },
        Alike { path: "/b", ..base },
        Alike { user: Some(("i", "s")), ..base },
        Alike { user: Some(("is", "")), ..base },
        Alike { groups: &[], ..base },
        Alike { groups: &["x", "y"], ..base },
        Alike { groups: &["xy"], ..base },
        Alike { workload: Some("w"), ..base },
        Alike { grant: Some(0), ..base },
        Alike { grant: Some(1), ..base },
        Alike { break_glass: true, ..base },
        Alike { binding: Some("w"), ..base },
        Alike { position: position(0), ..base },
        Alike { position: position(1), ..base },
    ];
    for (place, one) in unlike.iter().enumerate() {
        for (other_place, other) in unlike.iter().enumerate() {
            let mut filter = Filter::new();
            let_through(&mut filter, one, 0, 0);
            let pushed = let_through(&mut filter, other, 1, 1).0;
            assert_eq!(pushed == Pushed::Folded, place == other_place, "{one:?} and {other:?}");
        }
    }
}

#[test]
fn the_bytes_of_what_waits_are_bounded_too() {
    let mut filter = Filter::new();
    let path = format!("/{}", "a".repeat(9_000));
    let most = MAX_KEPT_BYTES / 9_000;
    let kept =
        (0..most + 100).filter(|number| filter.records.push(event(*number, &path), at(0)) == Pushed::Kept).count();
    assert!((most - 100..=most).contains(&kept), "{kept} of {most}");
    assert!(!filter.records.has_room());
    let (mut server, mut millis) = (Server::new(), 1_000);
    while filter.records.state(at(millis)).kept > 0 {
        let batch = filter.due(millis).unwrap();
        server.keep(&batch);
        filter.acknowledge(&server, &batch, server.next, millis).unwrap();
        millis += 1_000;
    }
    assert!(filter.records.has_room());
    assert_eq!((filter.records.waiting_bytes, filter.records.bytes.len()), (0, 0));
}
