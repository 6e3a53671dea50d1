//! What the policy's rules hold people to.

use grantmesh_control_plane::domain::{RequestStateWord, Verdict};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::signature::Sha256Hash;

use crate::db::Db;
use crate::world::{POLICY, World, ann, approval, ask, bob, code, denial, eve, lee, mia, refund, someone, span};

pub(crate) async fn asks_that_break_the_rule_are_refused(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let size = app.head().await.unwrap().log_size;
    let file = async |change: fn(&mut grantmesh_control_plane::domain::NewRequest)| {
        let mut new = refund("acc-42");
        change(&mut new);
        code(app.file_request(&ann(), new).await)
    };
    assert_eq!(code(app.file_request(&eve(), refund("acc-42")).await), "not_eligible");
    assert_eq!(code(app.file_request(&ann(), ask("nothing", "acc-42")).await), "not_eligible");
    assert_eq!(file(|new| new.rule = Some("closing".to_owned())).await, "not_eligible");
    assert_eq!(file(|new| new.duration = Some(span("1h1s"))).await, "duration_over_maximum");
    assert_eq!(file(|new| new.duration = Some(Span::default())).await, "duration_too_short");
    assert_eq!(file(|new| new.justification = "  ".to_owned()).await, "justification_required");
    assert_eq!(file(|new| new.justification = "a\u{202e}b".to_owned()).await, "bad_text");
    assert_eq!(file(|new| new.justification = "x".repeat(2_001)).await, "bad_text");
    assert_eq!(app.head().await.unwrap().log_size, size, "a refusal leaves nothing behind");
    // The longest that is taken still fits an entry of the log.
    let mut longest = refund(&"\"".repeat(1_990));
    longest.justification = "\u{10ffff}".repeat(2_000);
    let filed = app.file_request(&ann(), longest).await.unwrap().request;
    assert_eq!(app.request(&ann(), &filed.id).await.unwrap(), filed);
    assert_eq!(code(app.file_request(&ann(), refund(&"é".repeat(1_100))).await), "bad_text");
}

pub(crate) async fn reviewers_narrow_and_never_widen(db: Db) {
    let world = World::new(db).await;
    let request = world.asked().await;
    let wide =
        |duration: &str| grantmesh_control_plane::domain::NewReview { duration: Some(span(duration)), ..approval() };
    assert_eq!(code(world.review(&lee(), &request.id, wide("16m")).await), "duration_over_maximum");
    assert_eq!(code(world.review(&lee(), &request.id, wide("0s")).await), "duration_over_maximum");
    let mut other = approval();
    other.digest = Sha256Hash::of(b"something else");
    assert_eq!(code(world.app.review(&lee(), &request.id, &other).await), "digest_differs");
    let grant = world.review(&lee(), &request.id, wide("5m")).await.unwrap().grant.unwrap();
    assert_eq!(grant.expires_at.since(grant.starts_at), span("5m"));
}

pub(crate) async fn two_approvals_are_two_people(db: Db) {
    let world = World::new(db).await;
    let request = world.app.file_request(&ann(), ask("account.close", "acc-42")).await.unwrap().request;
    assert_eq!(request.approvals_needed, 2);
    let first = world.review(&lee(), &request.id, approval()).await.unwrap();
    assert_eq!((first.request.state.word(), first.grant), (RequestStateWord::Pending, None));
    assert_eq!(code(world.review(&lee(), &request.id, approval()).await), "already_reviewed");
    assert_eq!(code(world.review(&lee(), &request.id, denial()).await), "already_reviewed");
    // One subject of two issuers is two people, and the other issuer's groups are not this policy's.
    let impostor =
        grantmesh_control_plane::domain::Actor::new("https://other.example", "lee", vec!["leads".to_owned()]);
    assert_eq!(code(world.review(&impostor, &request.id, approval()).await), "not_found");
    let second = world.review(&mia(), &request.id, approval()).await.unwrap();
    assert_eq!(second.request.state.word(), RequestStateWord::Approved);
    assert_eq!(second.request.reviews.len(), 2);
    assert_eq!(world.app.request(&ann(), &request.id).await.unwrap(), second.request);
}

pub(crate) async fn the_stricter_policy_applies(db: Db) {
    let world = World::new(db).await;
    let with = |from: &str, to: &str| {
        assert!(POLICY.contains(from), "{from}");
        POLICY.replace(from, to)
    };
    // Someone who became a reviewer after the request was filed does not review it, nor someone who is none any more.
    let request = world.asked().await;
    world
        .apply(&[&with("reviewers: [\"group:leads\"]", "reviewers: [\"group:bosses\", \"user:lee\"]")], None)
        .await
        .unwrap();
    let boss = someone("kim", &["bosses"]);
    assert_eq!(code(world.review(&boss, &request.id, approval()).await), "not_a_reviewer");
    assert_eq!(code(world.review(&mia(), &request.id, approval()).await), "not_found");
    assert!(world.review(&lee(), &request.id, approval()).await.unwrap().grant.is_some());

    // Who may no longer ask does not get a grant; the request can still be denied.
    world.apply(&[POLICY], None).await.unwrap();
    let request = world.asked().await;
    world.apply(&[&with("eligible: [\"group:support\"]", "eligible: [\"group:staff\"]")], None).await.unwrap();
    assert_eq!(code(world.review(&lee(), &request.id, approval()).await), "not_eligible");
    assert_eq!(world.review(&lee(), &request.id, denial()).await.unwrap().review.verdict, Verdict::Deny);

    // More approvals and a shorter maximum count as soon as they are in force.
    world.apply(&[POLICY], None).await.unwrap();
    let request = world.asked().await;
    let stricter = with("maxDuration: 1h\n  defaultDuration: 15m", "maxDuration: 10m\n  approvals: 2");
    world.apply(&[&stricter], None).await.unwrap();
    let first = world.review(&lee(), &request.id, approval()).await.unwrap();
    assert_eq!((first.grant, first.request.approvals_needed), (None, 2));
    let grant = world.review(&mia(), &request.id, approval()).await.unwrap().grant.unwrap();
    assert_eq!(grant.expires_at.since(grant.starts_at), span("10m"));

    // An approval by someone who is no reviewer any more no longer counts.
    let request = world.asked().await;
    world.review(&lee(), &request.id, approval()).await.unwrap();
    world.apply(&[&stricter.replace("group:leads", "group:bosses")], None).await.unwrap();
    let both = someone("mia", &["leads", "bosses"]);
    assert_eq!(world.review(&both, &request.id, approval()).await.unwrap().grant, None);

    // Without the rule nobody reviews, and less strict rules of today do not widen those of then.
    world.apply(&[&stricter], None).await.unwrap();
    let request = world.asked().await;
    world.apply(&[POLICY], None).await.unwrap();
    assert_eq!(world.review(&lee(), &request.id, approval()).await.unwrap().grant, None);
    let gone = POLICY
        .replace("actions: [refund.create]", "actions: [account.close]")
        .replace("name: closing", "name: closing-2");
    world.apply(&[&gone], None).await.unwrap();
    assert_eq!(code(world.review(&bob(), &request.id, approval()).await), "not_a_reviewer");
}

pub(crate) async fn a_grant_has_the_stricter_terms_of_both_policies(db: Db) {
    let world = World::new(db).await;
    let service = POLICY.replace(
        "refunds\", resource: \"account/{account}\" }",
        "refunds\", resource: \"account/{account}\", fields: [{ name: iban, in: response, mask: true }, { name: card, in: response, mask: true }] }",
    );
    let with = |more: &str| service.replace("requestTimeout: 8h\n---", &format!("requestTimeout: 8h\n{more}\n---"));
    let method = "  grantCondition: 'request.method == \"POST\"'";
    let path = "  grantCondition: 'request.path.startsWith(\"/v1/\")'";
    let approved = async |then: &str, now: &str| {
        world.apply(&[&with(then)], None).await.unwrap();
        let request = world.asked().await;
        world.apply(&[&with(now)], None).await.unwrap();
        world.review(&lee(), &request.id, approval()).await
    };
    let terms = async |then: &str, now: &str| {
        let terms = approved(then, now).await.unwrap().grant.unwrap().terms;
        let conditions: Vec<String> = terms.conditions.iter().map(|condition| condition.source.clone()).collect();
        (conditions, terms.reveals)
    };
    let (one, other) = ("request.method == \"POST\"", "request.path.startsWith(\"/v1/\")");
    // What either of them demands of a call is demanded; one that did not change is demanded once.
    assert_eq!(terms(method, "").await.0, [one]);
    assert_eq!(terms("", method).await.0, [one]);
    assert_eq!(terms(method, path).await.0, [one, other]);
    assert_eq!(terms(method, method).await.0, [one]);
    // Only what both reveal is revealed.
    assert_eq!(terms("  reveals: [iban, card]", "  reveals: [card]").await.1, ["card"]);
    assert_eq!(terms("  reveals: [card]", "  reveals: [iban, card]").await.1, ["card"]);
    assert_eq!(terms("", "  reveals: [iban]").await.1, Vec::<String>::new());
    // A condition on asking that was not there then cannot be judged any more; one that is gone was met.
    let condition = "  condition: '\"support\" in principal.groups'";
    assert_eq!(code(approved("", condition).await), "not_eligible");
    assert!(approved(condition, "").await.is_ok() && approved(condition, condition).await.is_ok());
    // Nor was the call shown to which grants are bound now.
    assert_eq!(code(approved("", "  bind: { exact: true }").await), "not_eligible");

    // Who waited longer than requests may wait now is not approved, and can still be denied; a longer time then does not count.
    for (then, now, waited, expected) in
        [("8h", "1h", "1h", "waited_too_long"), ("8h", "1h", "59m", ""), ("1h", "8h", "1h", "already_decided")]
    {
        world.apply(&[&POLICY.replace("8h", then)], None).await.unwrap();
        let request = world.asked().await;
        world.apply(&[&POLICY.replace("8h", now)], None).await.unwrap();
        world.advance(waited);
        match expected {
            "" => assert!(world.review(&lee(), &request.id, approval()).await.unwrap().grant.is_some()),
            expected => assert_eq!(code(world.review(&lee(), &request.id, approval()).await), expected),
        }
        if expected == "waited_too_long" {
            assert_eq!(world.review(&lee(), &request.id, denial()).await.unwrap().review.verdict, Verdict::Deny);
        }
    }
}
