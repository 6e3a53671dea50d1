//! What crosses the network, byte for byte: a change of these files is a change of the protocol.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]

use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::claims::{ClaimOutcome, ClaimRefusal, ClaimResult, ClaimsAnswer, ClaimsRequest};
use grantmesh_shared::wire::holds::{EndedHold, HoldEnd, HoldItem, HoldResult, HoldState, HoldsAnswer, HoldsRequest};
use grantmesh_shared::wire::policy::{PolicyFile, compile, parse};
use grantmesh_shared::wire::problem::{Challenge, Problem, ProblemReason};
use grantmesh_shared::wire::records::{
    DecisionEvent, DecisionWord, Event, MoreCall, Record, RecordsRequest, StreamState, UseEvent, UseOutcome,
};
use grantmesh_shared::wire::shown::ShownCall;
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::{
    Applied, Change, Freshness, HeartbeatAnswer, HeartbeatRequest, PageRequest, Position, SyncAnswer, SyncRequest,
    VmIdentity,
};
use grantmesh_shared::wire::table::{Body, GrantItem, HolderItem, Item, LockItem, SubjectItem, UserItem};
use grantmesh_shared::wire::{PROTOCOL_VERSION, TableHash};
use serde::{Serialize, de::DeserializeOwned};

const ISSUER: &str = "https://id.example";
const AT: Timestamp = Timestamp::from_millis(1_772_366_400_000);
const NONCE: &str = "000102030405060708090a0b0c0d0e0f";
const POSITION: Position = Position { epoch: 1_772_366_400_000, revision: 17 };

/// The JSON of a value, after checking that it reads back to the same JSON and that an unknown field is refused.
fn golden<Value: Serialize + DeserializeOwned>(value: &Value) -> String {
    let json = serde_json::to_string_pretty(value).unwrap();
    let back: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string_pretty(&back).unwrap(), json);
    json
}

fn refuses_unknown_fields<Value: Serialize + DeserializeOwned>(value: &Value) {
    let mut json = serde_json::to_value(value).unwrap();
    json.as_object_mut().unwrap().insert("surprise".to_owned(), true.into());
    assert!(serde_json::from_str::<Value>(&json.to_string()).is_err(), "{json}");
}

fn filter() -> VmIdentity {
    VmIdentity {
        vm: "vm_00000000000000000000000001".parse().unwrap(),
        node: "payments-7d9f".to_owned(),
        services: vec!["payments".to_owned()],
    }
}

fn grant() -> Item {
    let user = UserItem { issuer: ISSUER.to_owned(), subject: "alice".to_owned() };
    Body::Grant(GrantItem {
        id: "grant_00000000000000000000000002".parse().unwrap(),
        request: "req_00000000000000000000000003".parse().unwrap(),
        holder: HolderItem { user: Some(user), workload: None },
        service: "payments".to_owned(),
        action: "refund.create".to_owned(),
        resource: "account/acc-42".to_owned(),
        rule: "refund-by-support".to_owned(),
        starts_at: AT,
        expires_at: Timestamp::from_millis(AT.millis() + 900_000),
        conditions: Vec::new(),
        bound: None,
        reveals: Vec::new(),
        uses: None,
        break_glass: false,
    })
    .into_item()
    .unwrap()
}

fn answer(change: Change) -> SyncAnswer {
    SyncAnswer {
        v: PROTOCOL_VERSION,
        kind: Default::default(),
        nonce: NONCE.to_owned(),
        position: POSITION,
        table_hash: grant().hash(),
        server_time: AT,
        freshness: Freshness::default(),
        change,
    }
}

#[test]
fn items() {
    let text = include_str!("../policies/payments/policy.yaml").to_owned();
    let policy = compile(&parse(&[PolicyFile { name: "policy.yaml".to_owned(), text }]).unwrap()).unwrap();
    let service = Body::Service(policy.services[0].for_filters());
    let lock = Body::Lock(LockItem {
        id: "lock_00000000000000000000000004".parse().unwrap(),
        subject: Some(SubjectItem::Group { issuer: ISSUER.to_owned(), name: "contractors".to_owned() }),
        service: Some("payments".to_owned()),
        action: None,
        reason: "audit in progress".to_owned(),
        expires_at: Some(AT),
    });
    insta::assert_snapshot!([golden(&service), golden(&grant()), golden(&lock)].join("\n"));
    for item in [service.into_item().unwrap(), grant(), lock.into_item().unwrap()] {
        item.parse().unwrap();
        let other_key = Item { key: format!("{}x", item.key), ..item.clone() };
        assert!(other_key.parse().is_err(), "an item under another key must be refused");
        assert_ne!(other_key.hash(), item.hash());
        refuses_unknown_fields(&item);
    }
    let more = grant().body.get().replace("\"rule\"", "\"bytes\":1,\"rule\"");
    let newer = Item { key: grant().key, body: serde_json::value::RawValue::from_string(more).unwrap() };
    assert!(newer.parse().is_err(), "a grant with a limit that this build does not know must be refused");
}

fn removes() -> Vec<String> {
    vec!["lock/lock_00000000000000000000000004".to_owned()]
}

#[test]
fn sync() {
    let applied = Applied { position: POSITION, table_hash: TableHash::default() };
    let question = SyncRequest {
        v: PROTOCOL_VERSION,
        filter: filter(),
        nonce: NONCE.to_owned(),
        applied: Some(applied),
        page: Some(PageRequest { position: POSITION, index: 1, cut: 7, pause_ms: 5 }),
        in_pages: true,
        wait_ms: 25_000,
    };
    let heartbeat = HeartbeatRequest {
        v: PROTOCOL_VERSION,
        filter: filter(),
        nonce: NONCE.to_owned(),
        applied: None,
        stream: StreamState { made: 12, kept: 2, lag_ms: 740 },
    };
    let heartbeat_answer = HeartbeatAnswer {
        v: PROTOCOL_VERSION,
        kind: Default::default(),
        nonce: NONCE.to_owned(),
        position: POSITION,
        table_hash: TableHash::default(),
        server_time: AT,
        freshness: Freshness::default(),
    };
    let answers = [
        Change::Unchanged,
        Change::Delta { puts: vec![grant()], removes: removes(), index: 0, more: false, with_next: false, cut: 0 },
        Change::Delta { puts: vec![], removes: removes(), index: 1, more: true, with_next: true, cut: 7 },
        Change::Snapshot { index: 0, last: false, puts: vec![grant()] },
    ]
    .map(answer);
    let mut texts = vec![golden(&question), golden(&heartbeat), golden(&heartbeat_answer)];
    texts.extend(answers.iter().map(golden));
    insta::assert_snapshot!(texts.join("\n"));
    refuses_unknown_fields(&question);
    refuses_unknown_fields(&heartbeat);
    refuses_unknown_fields(&heartbeat_answer);
    answers.iter().for_each(refuses_unknown_fields);
}

fn decision() -> DecisionEvent<'static> {
    let id = "dec_00000000000000000000000005".parse().unwrap();
    let call = ("POST", "/v1/accounts/acc-42/refunds");
    DecisionEvent {
        action: Some("refund.create".into()),
        resource: Some("account/acc-42".into()),
        issuer: Some(ISSUER.into()),
        subject: Some("alice".into()),
        groups: Some(vec!["support".into()]),
        grant: Some("grant_00000000000000000000000002".parse().unwrap()),
        request_id: Some("9b2f".into()),
        position: Some(POSITION),
        ..DecisionEvent::new(id, DecisionWord::Allow, "payments", call)
    }
}

#[test]
fn claims() {
    let question =
        ClaimsRequest { v: PROTOCOL_VERSION, filter: filter(), nonce: NONCE.to_owned(), claims: vec![decision()] };
    let outcomes = [
        ClaimOutcome::Claimed("use_00000000000000000000000006".parse().unwrap()),
        ClaimOutcome::Refused(ClaimRefusal::Exhausted),
        ClaimOutcome::Refused(ClaimRefusal::Ended),
        ClaimOutcome::Refused(ClaimRefusal::NotYours),
    ];
    let results = outcomes.map(|outcome| ClaimResult { decision: decision().id, outcome });
    let answer = ClaimsAnswer {
        v: PROTOCOL_VERSION,
        kind: Default::default(),
        nonce: NONCE.to_owned(),
        results: results.into_iter().collect(),
    };
    let used = DecisionEvent { use_id: Some("use_00000000000000000000000006".parse().unwrap()), ..decision() };
    let outcome = UseEvent {
        id: "use_00000000000000000000000006".parse().unwrap(),
        grant: "grant_00000000000000000000000002".parse().unwrap(),
        outcome: UseOutcome::Answered,
        status: Some(201),
    };
    let events = [Event::Decision(Box::new(used)), Event::Use(Box::new(outcome))];
    let mut texts = vec![golden(&question), golden(&answer)];
    texts.extend(events.iter().map(golden));
    insta::assert_snapshot!(texts.join("\n"));
    refuses_unknown_fields(&question);
    refuses_unknown_fields(&answer);
    events.iter().for_each(refuses_unknown_fields);
}

#[test]
fn holds() {
    let request = || "req_00000000000000000000000003".parse().unwrap();
    let call =
        ShownCall { method: Some("GET".to_owned()), target: Some("/v1/a?b=c".to_owned()), ..ShownCall::default() };
    let item = HoldItem {
        event: DecisionEvent { decision: DecisionWord::Ask, grant: None, ..decision() },
        rule: "refunds".to_owned(),
        call: Some(call),
        justification: Some("the customer waits".to_owned()),
        until: Timestamp::from_millis(1_700_000_000_000),
    };
    let plain = HoldItem { call: None, justification: None, ..item.clone() };
    let end = |why| EndedHold { decision: decision().id, why };
    let question = HoldsRequest {
        v: PROTOCOL_VERSION,
        filter: filter(),
        nonce: NONCE.to_owned(),
        file: vec![item, plain],
        ask: vec![decision().id],
        end: vec![end(HoldEnd::Over), end(HoldEnd::Gone)],
    };
    let position = Position { epoch: 1, revision: 8 };
    let states = [
        HoldState::Pending,
        HoldState::Approved(position),
        HoldState::Denied,
        HoldState::TimedOut,
        HoldState::Withdrawn,
        HoldState::Refused("no rule".to_owned()),
    ];
    let result = |state: HoldState| {
        let request = (!matches!(state, HoldState::Refused(_))).then(request);
        HoldResult { decision: decision().id, request, state }
    };
    let results = states.map(result).into_iter().collect();
    let answer = HoldsAnswer { v: PROTOCOL_VERSION, kind: Default::default(), nonce: NONCE.to_owned(), results };
    insta::assert_snapshot!([golden(&question), golden(&answer)].join("\n"));
    refuses_unknown_fields(&question);
    refuses_unknown_fields(&answer);
}

#[test]
fn records() {
    let decision = decision();
    let folded = DecisionEvent {
        decision: DecisionWord::Deny,
        count: 4_000,
        grant: None,
        reasons: vec!["record_unacknowledged".into()],
        instead_of: Some(decision.id.clone()),
        ended: Some(decision.id.clone()),
        ..decision.clone()
    };
    let more =
        vec![MoreCall { after_ms: 12, request_id: Some("9b30".into()) }, MoreCall { after_ms: 15, request_id: None }];
    let several = DecisionEvent { count: 3, more, ..decision.clone() };
    for (event, is_counted) in [
        (&decision, true),
        (&several, true),
        (&folded, true),
        (&DecisionEvent { count: 2, ..several.clone() }, false),
        (&DecisionEvent { count: 3, ..decision.clone() }, false),
        (&DecisionEvent { decision: DecisionWord::Deny, ..several.clone() }, false),
    ] {
        assert_eq!(event.is_counted(), is_counted, "{event:?}");
    }
    let record = Record { seq: 0, prev: Sha256Hash::default(), at: AT, event: Event::Decision(Box::new(decision)) };
    let gap = Record { seq: 1, prev: Sha256Hash([7; 32]), at: AT, event: Event::Gap { dropped: 3 } };
    let folded = Record { seq: 2, prev: Sha256Hash([8; 32]), at: AT, event: Event::Decision(Box::new(folded)) };
    let several = Record { seq: 3, prev: Sha256Hash([9; 32]), at: AT, event: Event::Decision(Box::new(several)) };
    assert_eq!([&record, &gap, &folded, &several].map(|record| record.event.decisions()), [1, 3, 4_000, 3]);
    let raw = [&record, &gap].map(|record| serde_json::value::to_raw_value(record).unwrap());
    let batch = RecordsRequest {
        v: PROTOCOL_VERSION,
        filter: filter(),
        nonce: NONCE.to_owned(),
        stream: StreamState::default(),
        records: raw.into_iter().collect(),
    };
    insta::assert_snapshot!([&record, &gap, &folded, &several].map(golden).join("\n") + "\n" + &golden(&batch));
    refuses_unknown_fields(&record);
    refuses_unknown_fields(&several);
    refuses_unknown_fields(&batch);
}

#[test]
fn problem() {
    let mut problem =
        Problem::new(403, "grant_required", "a grant is required").detail("no role gives you `refund.create`");
    problem
        .reasons
        .push(ProblemReason { code: "no_role".to_owned(), detail: "no role gives you `refund.create`".to_owned() });
    problem.challenge = Some(Challenge {
        decision: "ask".to_owned(),
        decision_id: "dec_00000000000000000000000005".to_owned(),
        service: "payments".to_owned(),
        action: Some("refund.create".to_owned()),
        resource: Some("account/acc-42".to_owned()),
        rules: vec!["refund-by-support".to_owned()],
        request_url: Some("https://grantmesh.example/v1/requests/new?service=payments".to_owned()),
        bound: None,
        request: None,
    });
    insta::assert_snapshot!([golden(&problem), golden(&Problem::new(404, "not_found", "not found"))].join("\n"));
}
