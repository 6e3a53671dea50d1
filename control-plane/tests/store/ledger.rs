//! What a grant was used for, from the records of filters.

use grantmesh_control_plane::app::{GrantFilter, Ledger, Limits, Only, Suggestion};
use grantmesh_control_plane::domain::{Actor, ApprovedPaths, CallWord, Grant, GrantStateWord, Narrower, NewRequest};
use grantmesh_shared::id::{DecisionId, GrantId};
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::claims::ClaimsRequest;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, Event, MoreCall};

use crate::db::Db;
use crate::records::{Stream, deny, identity, vm};
use crate::world::{ISSUER, POLICY, World, ann, approval, ask, bob, code, eve, lee, olga, page, refund, span};

fn call(grant: &GrantId, number: u64, path: &str) -> DecisionEvent<'static> {
    DecisionEvent {
        decision: DecisionWord::Allow,
        action: Some("refund.create".into()),
        resource: Some("account/acc-42".into()),
        method: "POST".into(),
        path: path.to_owned().into(),
        issuer: Some(ISSUER.into()),
        subject: Some("ann".into()),
        grant: Some(grant.clone()),
        reasons: Vec::new(),
        ..deny(DecisionId::new(number, [1; 10]))
    }
}

/// Tells of calls at the world's time.
async fn told(world: &World, stream: &mut Stream, events: Vec<DecisionEvent<'static>>) {
    for event in events {
        stream.push_at(Event::Decision(Box::new(event)), world.now());
    }
    world.app.append_records(&identity(), &stream.batch(..)).await.unwrap();
}

async fn ledger(world: &World, who: &Actor, grant: &Grant) -> Ledger {
    world.app.ledger(who, &grant.id, None).await.unwrap()
}

const PATH: &str = "/v1/accounts/acc-42/refunds";

pub(crate) async fn a_grant_keeps_what_it_was_used_for(db: Db) {
    let world = World::bare(db, Limits { page: 3, ..Limits::default() }).await;
    world.apply(&[POLICY], None).await.unwrap();
    let grant = world.granted().await;
    let empty = ledger(&world, &ann(), &grant).await;
    assert!(empty.summary.is_unused && empty.is_complete && empty.calls.is_empty());
    assert_eq!(code(world.app.ledger(&eve(), &grant.id, None).await), "not_found");
    let mut stream = Stream::new(1);
    world.advance("1m");
    let other = GrantId::new(1, [9; 10]);
    let elsewhere = DecisionEvent { service: "ledger".into(), ..call(&grant.id, 8, PATH) };
    let ended = DecisionEvent {
        decision: DecisionWord::Deny,
        ended: Some(DecisionId::new(2, [1; 10])),
        ..call(&grant.id, 5, PATH)
    };
    let refused = DecisionEvent { decision: DecisionWord::Deny, ..call(&grant.id, 6, PATH) };
    let more = vec![
        call(&grant.id, 1, PATH),
        call(&grant.id, 2, PATH),
        call(&grant.id, 3, "/v1/accounts/acc-42/refunds/"),
        ended,
        refused,
        // What is said of grants that there are not, or of another service's, is kept in the log and not believed here.
        call(&other, 7, PATH),
        elsewhere,
    ];
    told(&world, &mut stream, more).await;
    let first = ledger(&world, &lee(), &grant).await;
    let words: Vec<CallWord> = first.calls.iter().map(|call| call.word).collect();
    assert_eq!(words, [CallWord::Refused, CallWord::Ended, CallWord::LetThrough]);
    assert_eq!(first.calls[1].about, Some(DecisionId::new(2, [1; 10])));
    let rest = world.app.ledger(&lee(), &grant.id, first.next).await.unwrap();
    let decisions: Vec<DecisionId> = rest.calls.iter().map(|call| call.decision.clone()).collect();
    assert_eq!(decisions, [DecisionId::new(2, [1; 10]), DecisionId::new(1, [1; 10])]);
    assert_eq!(rest.next, None);
    let summary = &first.summary;
    assert_eq!((summary.calls, summary.distinct_paths, summary.is_unused), (3, 2, false));
    assert_eq!((summary.paths[0].path.as_str(), summary.paths[0].calls), (PATH, 2));
    assert_eq!(summary.between, Some((world.now(), world.now())));
    assert_eq!(summary.narrower, None, "it is still in force");
    // It stays when the grant is over, and a repeated batch changes nothing.
    world.app.append_records(&identity(), &stream.batch(..)).await.unwrap();
    world.advance("1d");
    world.app.expire_grants().await.unwrap();
    let after = ledger(&world, &ann(), &grant).await;
    assert_eq!((after.calls, after.summary.calls), (first.calls, 3));
}

/// A record that tells of three calls, each with its time and request id.
pub(crate) async fn calls_that_share_a_record_are_counted(db: Db) {
    let world = World::new(db).await;
    let grant = world.granted().await;
    let more = vec![
        MoreCall { after_ms: 10, request_id: Some("r2".into()) },
        MoreCall { after_ms: 700, request_id: Some("r3".into()) },
    ];
    let several = DecisionEvent { count: 3, more, ..call(&grant.id, 1, PATH) };
    let mut stream = Stream::new(1);
    world.advance("1m");
    told(&world, &mut stream, vec![several.clone(), call(&grant.id, 2, PATH)]).await;
    let Ledger { summary, calls, .. } = ledger(&world, &ann(), &grant).await;
    let last = world.now().plus(span("700ms"));
    assert_eq!((summary.calls, summary.between), (4, Some((world.now(), last))));
    assert_eq!((summary.paths[0].calls, summary.distinct_paths), (4, 1));
    let told: Vec<_> = calls.iter().map(|call| (call.count, call.until)).collect();
    assert_eq!(told, [(1, world.now()), (3, last)]);
    let sums = world.app.stream_sums().await.unwrap();
    assert_eq!(sums.received, 4, "{sums:?}");
    // One that counts calls which it does not list hides them.
    for wrong in [DecisionEvent { count: 2, ..several }, DecisionEvent { count: 9, ..call(&grant.id, 3, PATH) }] {
        let mut stream = Stream::new(2);
        stream.push_at(Event::Decision(Box::new(wrong)), world.now());
        assert_eq!(code(world.app.append_records(&identity(), &stream.batch(..)).await), "malformed_record");
    }
}

pub(crate) async fn what_would_have_been_enough_is_proposed(db: Db) {
    let world = World::new(db).await;
    let mut stream = Stream::new(1);
    let grant = world.granted().await;
    world.advance("3m");
    told(&world, &mut stream, vec![call(&grant.id, 1, PATH)]).await;
    world.app.release(&ann(), &grant.id).await.unwrap();
    let narrower = ledger(&world, &ann(), &grant).await.summary.narrower;
    assert_eq!(narrower, Some(Narrower { duration: Some(span("5m")), uses: None }));
    // One that was used to its end proposes nothing, nor does one that was never used.
    let used_up = world.granted().await;
    world.advance("14m59s");
    told(&world, &mut stream, vec![call(&used_up.id, 2, PATH)]).await;
    let unused = world.granted().await;
    world.advance("15m");
    world.app.expire_grants().await.unwrap();
    assert_eq!(ledger(&world, &ann(), &used_up).await.summary.narrower, None);
    let unused = ledger(&world, &ann(), &unused).await.summary;
    assert_eq!((unused.is_unused, unused.narrower), (true, None));

    // Of one for a number of calls, the uses that were taken count, once each.
    let new = NewRequest { uses: Some(40), ..refund("acc-42") };
    let request = world.app.file_request(&ann(), new).await.unwrap().request;
    let counted = world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap();
    let claims = vec![call(&counted.id, 3, PATH), call(&counted.id, 4, PATH)];
    let asked = ClaimsRequest { v: PROTOCOL_VERSION, filter: vm(1), nonce: "0".repeat(32), claims };
    world.app.claim(&identity(), &asked).await.unwrap();
    told(&world, &mut stream, vec![call(&counted.id, 3, PATH)]).await;
    world.app.release(&ann(), &counted.id).await.unwrap();
    let ledger = ledger(&world, &ann(), &counted).await;
    assert_eq!(ledger.summary.calls, 2);
    assert_eq!(ledger.summary.narrower, Some(Narrower { duration: Some(span("5m")), uses: Some(2) }));
    let narrower = Narrower { duration: Some(span("5m")), uses: None };
    let suggestion = suggested(&world).await.map(|suggestion| suggestion.narrower);
    assert_eq!(suggestion, Some(narrower), "a rule that counts no uses is asked for none");
}

/// What is suggested to Ann for her next refund.
async fn suggested(world: &World) -> Option<Suggestion> {
    world.app.prefill(&ann(), &refund("acc-99").target, None).await.unwrap().suggestion
}

pub(crate) async fn what_was_enough_is_suggested_for_the_next_one(db: Db) {
    let world = World::new(db).await;
    let mut stream = Stream::new(1);
    assert_eq!(suggested(&world).await, None);
    let first = world.granted().await;
    world.advance("6m");
    told(&world, &mut stream, vec![call(&first.id, 1, PATH)]).await;
    assert_eq!(suggested(&world).await, None, "it is still in force");
    world.app.release(&ann(), &first.id).await.unwrap();
    let of_first = Suggestion { grant: first.id, narrower: Narrower { duration: Some(span("10m")), uses: None } };
    assert_eq!(suggested(&world).await.as_ref(), Some(&of_first));
    // One that nobody used says nothing, nor does one of another action, or somebody else's.
    let unused = world.granted().await;
    world.app.revoke(&lee(), &unused.id, "over").await.unwrap();
    let other = world.app.file_request(&bob(), world.refund()).await.unwrap().request;
    let other = world.review(&lee(), &other.id, approval()).await.unwrap().grant.unwrap();
    told(&world, &mut stream, vec![call(&other.id, 2, PATH)]).await;
    world.app.release(&bob(), &other.id).await.unwrap();
    assert_eq!(suggested(&world).await, Some(of_first));
    let closing = world.app.prefill(&ann(), &ask("account.close", "acc-99").target, None).await.unwrap();
    assert_eq!(closing.suggestion, None);
    // The last one counts, also if all of it was needed.
    let last = world.granted().await;
    world.advance("14m59s");
    told(&world, &mut stream, vec![call(&last.id, 3, PATH)]).await;
    world.advance("1s");
    world.app.expire_grants().await.unwrap();
    assert_eq!(suggested(&world).await, None);
}

/// The part of the migration that looks at the calls of before.
fn backfill(db: &Db) -> String {
    let text = if db.is_postgres() {
        include_str!("../../migrations/postgres/0028_used_grants.sql")
    } else {
        include_str!("../../migrations/sqlite/0028_used_grants.sql")
    };
    let from = text.find("UPDATE grants").unwrap();
    text[from..].split(';').next().unwrap().to_owned()
}

pub(crate) async fn what_nobody_used_is_a_list(db: Db) {
    let world = World::new(db).await;
    let mut stream = Stream::new(1);
    let mut grants = Vec::new();
    for number in 0..6_u32 {
        let new = NewRequest { uses: (number == 5).then_some(2), ..world.refund() };
        let request = world.app.file_request(&ann(), new).await.unwrap().request;
        grants.push(world.review(&lee(), &request.id, approval()).await.unwrap().grant.unwrap());
        world.advance("1s");
    }
    let ended = DecisionEvent {
        decision: DecisionWord::Deny,
        ended: Some(DecisionId::new(90, [1; 10])),
        ..call(&grants[2].id, 4, PATH)
    };
    let refused = DecisionEvent { decision: DecisionWord::Deny, ..call(&grants[3].id, 5, PATH) };
    let elsewhere = DecisionEvent { service: "ledger".into(), ..call(&grants[4].id, 6, PATH) };
    let events = vec![call(&grants[0].id, 1, PATH), call(&grants[0].id, 2, PATH), ended, refused, elsewhere];
    told(&world, &mut stream, events).await;
    let resource = Some(grants[5].resource.clone().into());
    let claims = vec![DecisionEvent { resource, ..call(&grants[5].id, 7, PATH) }];
    let asked = ClaimsRequest { v: PROTOCOL_VERSION, filter: vm(1), nonce: "0".repeat(32), claims };
    world.app.claim(&identity(), &asked).await.unwrap();
    world.app.revoke(&lee(), &grants[1].id, "over").await.unwrap();
    lists_say_what_ledgers_say(&world, &grants).await;
    // So they do of calls that there were before it was kept.
    world.db.tamper("UPDATE grants SET used = 0").await;
    assert_eq!(world.db.tamper(&backfill(&world.db)).await, 2);
    lists_say_what_ledgers_say(&world, &grants).await;
}

async fn lists_say_what_ledgers_say(world: &World, grants: &[Grant]) {
    for used in [Some(true), Some(false), None] {
        for state in [None, Some(GrantStateWord::Active), Some(GrantStateWord::Revoked)] {
            for oldest_first in [false, true] {
                let mut expected = Vec::new();
                for grant in grants {
                    let Ledger { grant, summary, .. } = ledger(world, &lee(), grant).await;
                    let fits = used.is_none_or(|used| used != summary.is_unused);
                    if fits && state.is_none_or(|state| grant.state.word() == state) {
                        expected.push(grant.id);
                    }
                }
                if !oldest_first {
                    expected.reverse();
                }
                let filter = GrantFilter { state, used, only: Only { oldest_first, ..Only::default() } };
                for who in [ann(), lee(), olga()] {
                    let (mut found, mut cursor) = (Vec::new(), None);
                    loop {
                        let listed = world.app.grants(&who, &filter, &page(2, cursor)).await.unwrap();
                        found.extend(listed.items.into_iter().map(|grant| grant.id));
                        cursor = listed.next;
                        if cursor.is_none() {
                            break;
                        }
                    }
                    assert_eq!(found, expected, "{} {filter:?}", who.user.subject);
                }
            }
        }
    }
}

/// Of an action whose path has more in it than its resource, any number of paths was approved.
pub(crate) async fn the_paths_that_were_approved_are_told(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let open = POLICY.replace("/v1/accounts/{account}/refunds\"", "/v1/accounts/{account}/refunds/{refund}\"");
    for (text, path, possible) in [
        (POLICY, "/v1/accounts/{account}/refunds", Some(1)),
        (open.as_str(), "/v1/accounts/{account}/refunds/{refund}", None),
    ] {
        world.apply(&[text], None).await.unwrap();
        let grant = world.granted().await;
        // What was approved stays that, whatever the policy says since.
        world.apply(&[&POLICY.replace("refunds\"", "others/{other}\"")], None).await.unwrap();
        let approved = ledger(&world, &lee(), &grant).await.approved;
        let expected = ApprovedPaths { method: "POST".to_owned(), path: path.to_owned(), possible };
        assert_eq!(approved, Some(expected));
    }
}
