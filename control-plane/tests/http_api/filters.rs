//! What filters are answered: signed snapshots, deltas and held polls, heartbeats, records, and the proof of arrival.

use std::sync::Arc;
use std::time::Duration;

use grantmesh_shared::id::VmId;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::TableHash;
use grantmesh_shared::wire::records::{Event, Record, RecordsAnswer, RecordsRequest, StreamState};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::{Applied, Change, HeartbeatAnswer, Position, SyncAnswer};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::server::{LEA, OLAF, Reply, Server, until};

const NONCE: &str = "00112233445566778899aabbccddeeff";

fn vm(number: u64) -> Value {
    json!({ "vm": VmId::new(number, [0; 10]), "node": "node", "services": ["payments"] })
}

pub(crate) fn question(number: u64, applied: Option<Applied>, wait_ms: u64) -> Value {
    json!({ "v": 1, "filter": vm(number), "nonce": NONCE, "applied": applied, "page": null, "wait_ms": wait_ms })
}

async fn ask(server: &Server, path: &str, body: &Value) -> Reply {
    server.raw("POST", path, &server.credential(&["payments"]), body.to_string()).await
}

pub(crate) async fn sync(server: &Server, body: &Value) -> SyncAnswer {
    let reply = ask(server, "/filter/v1/sync", body).await;
    assert!(reply.signed_by(&server.signing), "{}", reply.text());
    let answer: SyncAnswer = reply.read();
    assert_eq!((answer.nonce.as_str(), answer.server_time), (NONCE, server.now()));
    answer
}

pub(crate) fn applied(answer: &SyncAnswer) -> Option<Applied> {
    Some(Applied { position: answer.position, table_hash: answer.table_hash })
}

/// Delivers records of a VM.
pub(crate) async fn deliver(server: &Server, records: &[Record]) -> Reply {
    let records = records.iter().map(|record| to_raw_value(record).unwrap()).collect();
    let filter = serde_json::from_value(vm(1)).unwrap();
    let stream = StreamState::default();
    // Written as it is: the bytes of a record are what is hashed.
    let batch =
        serde_json::to_string(&RecordsRequest { v: 1, filter, nonce: NONCE.to_owned(), stream, records }).unwrap();
    let reply = server.raw("POST", "/filter/v1/records", &server.credential(&["payments"]), batch).await;
    assert!(reply.signed_by(&server.signing));
    reply
}

/// A VM that has loaded everything.
pub(crate) async fn load(server: &Server, number: u64) -> Option<Applied> {
    applied(&sync(server, &question(number, None, 0)).await)
}

#[tokio::test]
async fn a_snapshot_then_deltas_then_nothing() {
    let server = Server::start().await;
    let first = sync(&server, &question(1, None, 30_000)).await;
    let Change::Snapshot { index: 0, last: true, puts } = &first.change else { panic!("{first:?}") };
    assert_eq!(puts.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["service/payments"]);
    assert_eq!(puts[0].hash(), first.table_hash);

    let grant = server.grant().await["id"].as_str().unwrap().to_owned();
    let second = sync(&server, &question(1, applied(&first), 30_000)).await;
    let Change::Delta { puts, removes, index: 0, more: false, .. } = &second.change else { panic!("{second:?}") };
    assert_eq!((puts[0].key.clone(), removes.len()), (format!("grant/{grant}"), 0));
    assert_eq!(first.table_hash.plus(puts[0].hash()), second.table_hash);
    puts[0].parse().unwrap();

    server.post(LEA, &format!("/v1/grants/{grant}/revoke"), &json!({ "reason": "done" })).await.expect(200);
    let third = sync(&server, &question(1, applied(&second), 30_000)).await;
    let Change::Delta { puts, removes, index: 0, more: false, .. } = &third.change else { panic!("{third:?}") };
    assert_eq!((puts.len(), removes.as_slice()), (0, &[format!("grant/{grant}")][..]));
    assert_eq!(third.table_hash, first.table_hash);
    assert!(matches!(sync(&server, &question(1, applied(&third), 0)).await.change, Change::Unchanged));

    // A filter that holds something else, or comes from another history, gets everything.
    let stray = Applied { position: third.position, table_hash: TableHash::of_item("grant/x", "{}") };
    assert!(matches!(sync(&server, &question(1, Some(stray), 0)).await.change, Change::Snapshot { .. }));
    let ahead =
        Applied { position: Position { epoch: third.position.epoch, revision: 9_999 }, table_hash: third.table_hash };
    let refused = ask(&server, "/filter/v1/sync", &question(1, Some(ahead), 0)).await;
    refused.problem(409, "filter_ahead");
    assert!(refused.signed_by(&server.signing), "refusals are signed too");
}

#[tokio::test]
async fn a_held_poll_wakes_on_a_change_and_on_the_stop() {
    let server = Arc::new(Server::start().await);
    let known = load(&server, 1).await;
    let poll = |known| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { sync(&server, &question(1, known, 30_000)).await })
    };
    let held = poll(known);
    until("the poll is held", || server.push.held() == 1).await;
    assert!(!held.is_finished());
    server.grant().await;
    let answer = held.await.unwrap();
    assert!(matches!(answer.change, Change::Delta { .. }));
    let held = poll(applied(&answer));
    until("the poll is held", || server.push.held() == 1).await;
    server.push.stop();
    assert!(matches!(held.await.unwrap().change, Change::Unchanged));
}

/// So many services that their snapshot has several pages: the credential of a filter that asks for it, and its question.
async fn many_services(server: &Server) -> (String, Value) {
    let services: Vec<String> = (0..30).map(|number| format!("s{number}")).collect();
    let actions: String = (0..400)
        .map(|number| {
            format!("    - {{ name: a{number}, method: GET, path: '/a{number}/{{x}}', resource: 'r/{{x}}' }}\n")
        })
        .collect();
    let document = |name: &str| {
        format!(
            "---\napiVersion: grantmesh.dev/v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  actions:\n{actions}"
        )
    };
    let text: String = services.iter().map(|name| document(name)).collect();
    let policy = json!({ "files": [{ "name": "p.yaml", "text": text }] });
    let applied = server.apply(OLAF, ("if-match", "*"), &policy).await;
    assert_eq!(applied.status, 201, "{}", applied.text());
    let names: Vec<&str> = services.iter().map(String::as_str).collect();
    let mut body = question(1, None, 0);
    body["filter"]["services"] = json!(services);
    (server.credential(&names), body)
}

#[tokio::test]
async fn the_next_page_of_a_snapshot_needs_no_question_to_the_store() {
    let mut server = Server::bare().await;
    let (credential, mut body) = many_services(&server).await;
    let first: SyncAnswer = server.raw("POST", "/filter/v1/sync", &credential, body.to_string()).await.read();
    server.follow_no_more();
    body["page"] = json!({ "position": first.position, "index": 1 });
    let next: SyncAnswer = server.raw("POST", "/filter/v1/sync", &credential, body.to_string()).await.read();
    assert!(matches!(next.change, Change::Snapshot { index: 1, .. }));
    // All else waits for the present state.
    body["page"] = Value::Null;
    let asked = server.raw("POST", "/filter/v1/sync", &credential, body.to_string());
    assert!(tokio::time::timeout(Duration::from_millis(100), asked).await.is_err());
}

#[tokio::test]
async fn many_services_come_in_pages() {
    let server = Server::bare().await;
    let (credential, mut body) = many_services(&server).await;
    let services = body["filter"]["services"].as_array().unwrap().len();
    let (mut items, mut hash) = (0, TableHash::default());
    for page in 0.. {
        let reply = server.raw("POST", "/filter/v1/sync", &credential, body.to_string()).await;
        assert!(reply.body.len() < 1024 * 1024, "{}", reply.body.len());
        let answer: SyncAnswer = reply.read();
        let Change::Snapshot { index, last, puts } = answer.change else { panic!("no page") };
        assert_eq!(index, page);
        items += puts.len();
        hash = puts.iter().fold(hash, |sum, item| sum.plus(item.hash()));
        if last {
            assert_eq!((hash, items), (answer.table_hash, services));
            assert!(page > 0, "it needed more than one page");
            break;
        }
        body["page"] = json!({ "position": answer.position, "index": page + 1 });
    }
    // A page is held back as long as the filter says, and no longer than a tenth of a second.
    for (pause, too_early) in [(60, 50), (u64::MAX, 90)] {
        body["page"] = json!({ "position": { "epoch": 1, "revision": 777 }, "index": 3, "pause_ms": pause });
        let asked = || server.raw("POST", "/filter/v1/sync", &credential, body.to_string());
        assert!(tokio::time::timeout(Duration::from_millis(too_early), asked()).await.is_err(), "{pause}");
        asked().await.read::<SyncAnswer>();
    }
    body["page"] = json!({ "position": { "epoch": 1, "revision": 777 }, "index": 3 });
    let fresh: SyncAnswer = server.raw("POST", "/filter/v1/sync", &credential, body.to_string()).await.read();
    assert!(matches!(fresh.change, Change::Snapshot { index: 0, .. }), "an unknown page begins anew");
}

#[tokio::test]
async fn a_step_of_many_changes_comes_in_pages_to_those_who_take_them() {
    let server = Server::start().await;
    let first = sync(&server, &question(1, None, 0)).await;
    let mut grants = Vec::new();
    for _ in 0..40 {
        grants.push(server.grant().await["id"].as_str().unwrap().to_owned());
    }
    let from = applied(&first);
    let whole = sync(&server, &question(1, from, 0)).await;
    let Change::Delta { puts, index: 0, more: false, .. } = &whole.change else { panic!("{whole:?}") };
    assert_eq!(puts.len(), 40);

    let mut asked = question(1, from, 0);
    asked["in_pages"] = json!(true);
    let page = async |page: Value| {
        let mut asked = asked.clone();
        asked["page"] = page;
        let answer = sync(&server, &asked).await;
        let Change::Delta { puts, removes, index, more, cut, with_next: false } = answer.change else {
            panic!("no step")
        };
        (puts, removes, (index, more, cut), (answer.position, answer.table_hash))
    };
    let (mut told, _, (index, more, cut), leads_to) = page(Value::Null).await;
    assert_eq!((index, more, leads_to), (0, true, (whole.position, whole.table_hash)));
    // What changes meanwhile is of the next step: these pages are of one point.
    server.post(LEA, &format!("/v1/grants/{}/revoke", grants[0]), &json!({ "reason": "done" })).await.expect(200);
    for index in 1.. {
        let (puts, _, place, same) = page(json!({ "position": leads_to.0, "index": index, "cut": cut })).await;
        assert_eq!((place.0, place.2, same), (index, cut, leads_to));
        told.extend(puts);
        if !place.1 {
            break;
        }
    }
    assert_eq!(told.iter().fold(first.table_hash, |hash, item| hash.plus(item.hash())), leads_to.1);
    // A page of a point that nobody has kept: the step is begun anew, to the present.
    let elsewhere = json!({ "position": first.position, "index": 1, "cut": cut });
    let (puts, removes, place, now) = page(elsewhere).await;
    assert!((place.0, place.1) == (0, true) && place.2 != cut && now.0 > leads_to.0, "{place:?}");
    assert!(removes.iter().chain(puts.iter().map(|item| &item.key)).any(|key| *key == format!("grant/{}", grants[0])));
    // One that all is told to is current.
    let caught_up = Some(Applied { position: leads_to.0, table_hash: leads_to.1 });
    let last = sync(&server, &question(1, caught_up, 0)).await;
    let Change::Delta { puts, removes, .. } = &last.change else { panic!("{last:?}") };
    assert_eq!((puts.len(), removes.len()), (0, 1));
}

#[tokio::test]
async fn what_comes_into_force_at_one_go_says_so_and_other_cuts_begin_anew() {
    let server = Server::start().await;
    let first = sync(&server, &question(1, None, 0)).await;
    for number in 0..40 {
        let lock = json!({ "subject": format!("user:u-{number}"), "reason": "r".repeat(400), "duration": "1h" });
        server.post(OLAF, "/v1/locks", &lock).await.expect(201);
    }
    server.grant().await;
    let mut asked = question(1, applied(&first), 0);
    asked["in_pages"] = json!(true);
    let page = async |page: Value| {
        let mut asked = asked.clone();
        asked["page"] = page;
        let answer = sync(&server, &asked).await;
        let Change::Delta { puts, index, more, cut, with_next, .. } = answer.change else { panic!("no step") };
        (puts.len(), index, (more, with_next), cut, answer.position)
    };
    let (count, _, flags, cut, position) = page(Value::Null).await;
    assert!(count > 5 && cut != 0 && flags == (true, true), "{count} {cut} {flags:?}");
    let mut all = Vec::new();
    for index in 1.. {
        let (_, told, flags, same, _) = page(json!({ "position": position, "index": index, "cut": cut })).await;
        assert_eq!((told, same), (index, cut));
        all.push(flags);
        if !flags.0 {
            break;
        }
    }
    // The grant is new.
    let (last, locks) = all.split_last().unwrap();
    let (with_them, others) = locks.split_last().unwrap();
    assert_eq!((*last, *with_them), ((false, false), (true, false)));
    assert!(others.iter().all(|flags| *flags == (true, true)), "{all:?}");
    // As another release might have cut it: its pages do not go with these.
    for other in [0, cut ^ 1] {
        let (_, index, _, told, _) = page(json!({ "position": position, "index": 1, "cut": other })).await;
        assert_eq!((index, told), (0, cut));
    }
}

#[tokio::test]
async fn a_heartbeat_tells_the_last_change_that_concerns_the_filter() {
    let server = Server::start().await;
    let known = load(&server, 1).await.unwrap();
    let beat = json!({ "v": 1, "filter": vm(1), "nonce": NONCE, "applied": known });
    let told = async || {
        let reply = ask(&server, "/filter/v1/heartbeat", &beat).await;
        assert!(reply.signed_by(&server.signing));
        reply.read::<HeartbeatAnswer>()
    };
    assert!(told().await.position <= known.position, "current");
    let grant = server.grant().await;
    assert_eq!(told().await.position.revision, grant["position"]["revision"].as_u64().unwrap());
}

#[tokio::test]
async fn filters_are_bound_to_their_credential() {
    let server = Server::start().await;
    let mut other = question(1, None, 0);
    other["filter"]["services"] = json!(["payments", "ledger"]);
    let refused = ask(&server, "/filter/v1/sync", &other).await;
    refused.problem(403, "service_not_covered");
    assert!(refused.signed_by(&server.signing));
    for (member, value, code) in
        [("v", json!(2), "unknown_version"), ("nonce", json!("xyz"), "bad_value"), ("extra", json!(1), "bad_value")]
    {
        let mut body = question(1, None, 0);
        body[member] = value;
        ask(&server, "/filter/v1/sync", &body).await.problem(400, code);
    }
    let user = server.token(LEA);
    let unsigned = server.raw("POST", "/filter/v1/sync", &user, question(1, None, 0).to_string()).await;
    unsigned.problem(401, "bad_token");
    assert!(unsigned.headers.get("grantmesh-signature").is_none(), "nothing is signed for strangers");
}

#[tokio::test]
async fn records_are_kept_once_and_holes_are_told() {
    let server = Server::start().await;
    let records: Vec<Record> = (0..3)
        .scan(Sha256Hash::default(), |prev, seq| {
            let record = Record { seq, prev: *prev, at: server.now(), event: Event::Gap { dropped: seq + 1 } };
            *prev = Sha256Hash::of(serde_json::to_string(&record).unwrap().as_bytes());
            Some(record)
        })
        .collect();
    let send = async |records: &[Record]| deliver(&server, records).await;
    let next = |reply: &Reply| reply.read::<RecordsAnswer>().next_seq;
    assert_eq!(next(&send(&records[..2]).await), 2);
    assert_eq!(next(&send(&records[..2]).await), 2, "sent again, kept once");
    let mut later = records[2].clone();
    later.seq = 5;
    assert_eq!(next(&send(&[later]).await), 2, "nothing is kept behind a hole");
    assert_eq!(next(&send(&records[2..]).await), 3);
    let mut forked = records[2].clone();
    (forked.seq, forked.prev) = (3, Sha256Hash::of(b"other"));
    send(&[forked]).await.problem(409, "records_wrong_prev");
    assert!(
        server.get(LEA, "/metrics").await.text().contains("grantmesh_decision_records_total{decision=\"dropped\"} 6")
    );
}

#[tokio::test]
async fn a_revocation_is_proven_by_acknowledgement_or_lease() {
    let server = Arc::new(Server::start().await);
    let grant = server.grant().await["id"].as_str().unwrap().to_owned();
    let (first, _second) = (load(&server, 1).await, load(&server, 2).await);
    let revoke = json!({ "reason": "done", "wait": "60s" });
    let waiting = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.post(LEA, &format!("/v1/grants/{grant}/revoke"), &revoke).await.expect(200) }
    });
    // The first VM is told by its held poll and acknowledges with the next one; the second is never heard of again.
    let told = sync(&server, &question(1, first, 30_000)).await;
    assert!(matches!(told.change, Change::Delta { .. }));
    sync(&server, &question(1, applied(&told), 0)).await;
    assert!(!waiting.is_finished(), "the second VM may still use the grant");
    server.clock.advance(Span::from_millis(302_999));
    sync(&server, &question(1, applied(&told), 0)).await;
    assert!(!waiting.is_finished());
    server.clock.advance(Span::from_millis(1));
    let ended = waiting.await.unwrap();
    assert_eq!(ended["arrival"]["complete"], true, "{ended}");
    let states: Vec<_> = ended["arrival"]["filters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|filter| filter["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["acknowledged", "lease_expired"]);

    let fleet = server.get(OLAF, "/v1/fleet").await.expect(200);
    assert_eq!(
        (&fleet["filters"][0]["state"], &fleet["filters"][1]["state"]),
        (&json!("live"), &json!("lease_expired"))
    );
    assert_eq!(fleet["filters"][0]["applied"]["revision"], told.position.revision);
    // Page by page it is the same.
    assert_eq!(fleet.get("next_cursor"), None);
    let first = server.get(OLAF, "/v1/fleet?limit=1").await.expect(200);
    assert_eq!(first["filters"], json!([fleet["filters"][0]]));
    assert_eq!(first["next_cursor"], fleet["filters"][0]["vm"]);
    let next = format!("/v1/fleet?limit=1&cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(server.get(OLAF, &next).await.expect(200), json!({ "filters": [fleet["filters"][1]] }));
    server.get(OLAF, "/v1/fleet?limit=0").await.problem(400, "bad_value");
}

#[tokio::test]
async fn a_wait_that_is_not_enough_says_who_is_missing() {
    let server = Server::start().await;
    let grant = server.grant().await["id"].as_str().unwrap().to_owned();
    load(&server, 1).await;
    let ended = server
        .post(LEA, &format!("/v1/grants/{grant}/revoke"), &json!({ "reason": "done", "wait": "20ms" }))
        .await
        .expect(200);
    assert_eq!(
        (&ended["arrival"]["complete"], &ended["arrival"]["filters"][0]["state"]),
        (&json!(false), &json!("pending"))
    );
    assert_eq!(ended["grant"]["state"], "revoked", "the grant is over all the same");
}
