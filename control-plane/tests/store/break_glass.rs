//! Act now, answer later: who may, what it leaves behind, and who says whether it was right.

use grantmesh_control_plane::app::{Broke, GrantFilter, Limits, Page, PostReviewFilter};
use grantmesh_control_plane::domain::{
    Actor, AskTarget, EventKind, GrantState, Lasting, NewBreakGlass, NewDelegation, PostReview, PostReviewState,
    PostReviewWord, PostVerdict,
};
use grantmesh_shared::time::Timestamp;
use serde_json::Value;

use crate::db::Db;
use crate::outbox::Receiver;
use crate::world::{POLICY, World, ann, aud, bob, code, eve, lee, mia, olga, someone, span};

const RIGHT: &str = r#"
apiVersion: grantmesh.dev/v1
kind: BreakGlass
metadata: { name: emergency }
spec:
  service: payments
  actions: [refund.create]
  subjects: ["group:sre"]
  maxDuration: 30m
  reviewers: ["group:security", "group:sre"]
  reviewWithin: 24h
"#;

/// Has the right, and is among those who review it.
pub(crate) fn sam() -> Actor {
    someone("sam", &["sre"])
}

/// Reviews what is done by the right.
pub(crate) fn zoe() -> Actor {
    someone("zoe", &["security"])
}

async fn world(db: Db) -> World {
    let world = World::bare(db, Limits::default()).await;
    world.apply(&[POLICY, RIGHT], None).await.unwrap();
    world
}

fn refund() -> NewBreakGlass {
    let target = AskTarget::Action {
        service: "payments".to_owned(),
        action: "refund.create".to_owned(),
        resource: "account/acc-42".to_owned(),
    };
    NewBreakGlass { target, reason: "the bank is on fire".to_owned(), duration: None, right: None }
}

async fn broken(world: &World) -> Broke {
    world.app.break_glass(&sam(), &refund()).await.unwrap()
}

fn accept() -> PostVerdict {
    PostVerdict::Accept(None)
}

fn dispute(reason: &str) -> PostVerdict {
    PostVerdict::Dispute(reason.to_owned())
}

pub(crate) async fn whoever_has_the_right_has_a_grant_at_once(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    for other in [ann(), lee(), olga(), aud(), eve(), zoe()] {
        assert_eq!(code(app.break_glass(&other, &refund()).await), "no_break_glass");
    }
    let silent = NewBreakGlass { reason: "  ".to_owned(), ..refund() };
    assert_eq!(code(app.break_glass(&sam(), &silent).await), "justification_required");
    let long = NewBreakGlass { duration: Some(span("30m1s")), ..refund() };
    assert_eq!(code(app.break_glass(&sam(), &long).await), "duration_over_maximum");
    let other = NewBreakGlass { right: Some("refunds".to_owned()), ..refund() };
    assert_eq!(code(app.break_glass(&sam(), &other).await), "no_break_glass");
    let target = AskTarget::Action {
        service: "payments".to_owned(),
        action: "account.close".to_owned(),
        resource: "account/acc-42".to_owned(),
    };
    assert_eq!(code(app.break_glass(&sam(), &NewBreakGlass { target, ..refund() }).await), "no_break_glass");
    assert!(app.grants(&olga(), &GrantFilter::default(), &Page::default()).await.unwrap().items.is_empty());

    let Broke { request, grant, post_review, position } = broken(&world).await;
    assert_eq!((&grant.state, grant.break_glass), (&GrantState::Active, true));
    assert_eq!(grant.expires_at, world.now().plus(span("30m")));
    assert_eq!(position, app.position_of(&grant));
    assert_eq!((&post_review.state, post_review.due_at), (&PostReviewState::Open, world.now().plus(span("24h"))));
    assert_eq!(app.grant(&sam(), &grant.id).await.unwrap(), grant);
    assert_eq!(app.request(&sam(), &request.id).await.unwrap(), request);
    assert_eq!(app.post_review(&sam(), &post_review.id).await.unwrap(), post_review);
    // It is marked wherever it is: the filters' item, and the log.
    let items = app.all_items().await.unwrap().items;
    let item = items.into_iter().find(|item| item.key == format!("grant/{}", grant.id)).unwrap();
    let body: Value = serde_json::from_str(&item.body.unwrap()).unwrap();
    assert_eq!(body["grant"]["break_glass"], true);
    assert_eq!(world.story_of(grant.id.as_str()).await, ["break_glass.used", "post_review.opened"]);
    let entries = world.entries().await;
    let used = entries.iter().find(|entry| entry["kind"] == "break_glass.used").unwrap();
    assert_eq!((&used["data"]["reason"], &used["actor"]["subject"]), (&"the bank is on fire".into(), &"sam".into()));

    // It ends like any other, and nothing makes it longer.
    assert_eq!(code(app.extend(&sam(), &grant.id, span("1m"), Some("more")).await), "not_extendable");
    app.revoke(&zoe(), &grant.id, "enough").await.unwrap();
    assert_eq!(code(app.revoke(&lee(), &broken(&world).await.grant.id, "no").await), "not_found");
    world.advance("30m");
    assert_eq!(app.expire_grants().await.unwrap(), 1);
}

pub(crate) async fn it_is_marked_until_it_has_ended(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let grants = [broken(&world).await.grant, broken(&world).await.grant, broken(&world).await.grant];
    app.revoke(&zoe(), &grants[0].id, "enough").await.unwrap();
    app.release(&sam(), &grants[1].id).await.unwrap();
    world.advance("15m");
    let other = world.granted().await;
    world.advance("14m");
    app.warn_holders().await.unwrap();
    world.advance("1m");
    app.expire_grants().await.unwrap();
    let entries = world.entries().await;
    let marked = |id: &str| -> Vec<(String, bool)> {
        let its = entries.iter().filter(|entry| entry["ids"]["grant"] == id);
        let ends = its.filter(|entry| entry["kind"].as_str().unwrap().starts_with("grant."));
        ends.map(|entry| (entry["kind"].as_str().unwrap().to_owned(), entry["data"]["break_glass"] == true)).collect()
    };
    let told = |those: &[(&str, bool)]| those.iter().map(|(kind, is)| ((*kind).to_owned(), *is)).collect::<Vec<_>>();
    assert_eq!(marked(grants[0].id.as_str()), told(&[("grant.revoked", true)]));
    assert_eq!(marked(grants[1].id.as_str()), told(&[("grant.released", true)]));
    assert_eq!(marked(grants[2].id.as_str()), told(&[("grant.expiring", true), ("grant.expired", true)]));
    let plain = told(&[("grant.issued", false), ("grant.expiring", false), ("grant.expired", false)]);
    assert_eq!(marked(other.id.as_str()), plain);
}

pub(crate) async fn somebody_else_says_whether_it_was_right(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let (one, two) = (broken(&world).await.post_review, broken(&world).await.post_review);
    for stranger in [ann(), lee(), eve()] {
        assert_eq!(code(app.decide_post_review(&stranger, &one.id, (&accept(), None)).await), "not_found");
    }
    for (who, refused) in [(sam(), "self_review"), (olga(), "not_a_reviewer"), (aud(), "not_a_reviewer")] {
        assert_eq!(code(app.decide_post_review(&who, &one.id, (&accept(), None)).await), refused);
    }
    let accepted = app.decide_post_review(&zoe(), &one.id, (&accept(), None)).await.unwrap();
    assert_eq!(
        accepted.state,
        PostReviewState::Accepted { at: world.now(), by: zoe().user, on_behalf_of: None, reason: None }
    );
    assert_eq!(code(app.decide_post_review(&zoe(), &one.id, (&dispute("no"), None)).await), "already_decided");
    assert_eq!(code(app.decide_post_review(&zoe(), &two.id, (&dispute(" "), None)).await), "bad_text");
    // Another one of the same group may, as long as it is not their own doing.
    let tom = someone("tom", &["sre"]);
    let disputed = app.decide_post_review(&tom, &two.id, (&dispute("the bank was fine"), None)).await.unwrap();
    assert_eq!(disputed.state.word(), PostReviewWord::Disputed);
    assert_eq!(app.post_review(&sam(), &two.id).await.unwrap(), disputed);
    assert_eq!(world.story_of(two.id.as_str()).await, ["post_review.opened", "post_review.disputed"]);
    // Who reviewed when it was used still does where the right is gone; who is named only now does not.
    let open = broken(&world).await.post_review;
    let others = RIGHT.replace("\"group:security\", \"group:sre\"", "\"group:leads\"");
    world.apply(&[POLICY, &others], None).await.unwrap();
    assert_eq!(code(app.decide_post_review(&lee(), &open.id, (&accept(), None)).await), "not_a_reviewer");
    assert_eq!(code(app.decide_post_review(&zoe(), &open.id, (&accept(), None)).await), "not_a_reviewer");
    world.apply(&[POLICY], None).await.unwrap();
    assert_eq!(code(app.decide_post_review(&mia(), &open.id, (&accept(), None)).await), "not_found");
    app.decide_post_review(&zoe(), &open.id, (&accept(), None)).await.unwrap();
}

pub(crate) async fn one_word_on_a_post_review_counts(db: Db) {
    let world = world(db).await;
    let review = broken(&world).await.post_review;
    let replicas = [world.app.clone(), world.another().await];
    let words = (0..12_usize).map(|at| {
        let (app, id) = (replicas[at % 2].clone(), review.id.clone());
        let who = someone(&format!("zoe-{at}"), &["security"]);
        let verdict = if at % 3 == 0 { dispute("no") } else { accept() };
        tokio::spawn(async move { app.decide_post_review(&who, &id, (&verdict, None)).await.is_ok() })
    });
    let said = futures_util::future::join_all(words).await.into_iter().filter(|said| *said.as_ref().unwrap()).count();
    assert_eq!(said, 1);
    assert_eq!(world.story_of(review.id.as_str()).await.len(), 2);
}

pub(crate) async fn what_is_overdue_is_told_once_and_shown_until_it_is_decided(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let review = broken(&world).await.post_review;
    app.expire_grants().await.unwrap();
    let overdue = async || {
        let filter = PostReviewFilter { overdue: true, ..PostReviewFilter::default() };
        let listed = app.post_reviews(&zoe(), &filter, &Page::default()).await.unwrap();
        (listed.items.len() as u64, app.post_review_sums().await.unwrap().overdue)
    };
    world.advance("23h59m59s");
    assert_eq!((app.tell_overdue_post_reviews().await.unwrap(), overdue().await), (0, (0, 0)));
    world.advance("1s");
    assert_eq!(overdue().await, (1, 1));
    assert_eq!(
        (app.tell_overdue_post_reviews().await.unwrap(), app.tell_overdue_post_reviews().await.unwrap()),
        (1, 0)
    );
    assert!(app.post_review(&sam(), &review.id).await.unwrap().is_overdue(world.now()));
    world.advance("10d");
    assert_eq!(overdue().await, (1, 1));
    // Late is better than never.
    app.decide_post_review(&zoe(), &review.id, (&accept(), None)).await.unwrap();
    assert_eq!(overdue().await, (0, 0));
    let sums = app.post_review_sums().await.unwrap();
    assert_eq!((sums.all, sums.open), (1, 0));
    assert_eq!(
        world.story_of(review.id.as_str()).await,
        ["post_review.opened", "post_review.overdue", "post_review.accepted"]
    );
}

pub(crate) async fn everyone_concerned_is_told(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let receiver = Receiver::start(&[]).await;
    let courier = receiver.courier("pager", &EventKind::ALL);
    app.know_endpoint("pager").await.unwrap();
    let begun = app.last_event().await.unwrap().0;
    let Broke { grant, post_review, .. } = broken(&world).await;
    let told = async |who: Actor| app.events_after(&who, begun).await.unwrap().events;
    // Whoever did it, who reviews it, operators and auditors; and whatever is told by webhooks.
    for who in [sam(), zoe(), someone("tom", &["sre"]), olga(), aud()] {
        let kinds: Vec<String> = told(who).await.into_iter().map(|event| event.kind).collect();
        assert_eq!(kinds, ["break_glass.used", "post_review.opened"]);
    }
    for other in [ann(), lee(), eve()] {
        assert_eq!(told(other).await, []);
    }
    assert_eq!(courier.deliver(app).await.unwrap(), 2);
    assert_eq!(receiver.kinds(), ["break_glass.used", "post_review.opened"]);
    let body: Value = serde_json::from_str(&told(zoe()).await[0].body).unwrap();
    let (given, review) = (&body["data"]["grant"], &body["data"]["post_review"]);
    assert_eq!((&given["id"], &given["break_glass"]), (&grant.id.as_str().into(), &true.into()));
    assert_eq!(given["expires_at"].as_str().unwrap().parse::<Timestamp>().unwrap(), grant.expires_at);
    assert_eq!((&review["said"], &review["holder"]["subject"]), (&"the bank is on fire".into(), &"sam".into()));
    // What is written down may be read by many: it holds no secret.
    let secret = NewBreakGlass { reason: "with ghp_0123456789abcdefghijABCDEFGHIJ012345".to_owned(), ..refund() };
    assert_eq!(code(app.break_glass(&sam(), &secret).await), "secret_in_text");

    // Overdue is pushed, once; late and after the grant has ended, too.
    world.advance("24h");
    app.expire_grants().await.unwrap();
    app.tell_overdue_post_reviews().await.unwrap();
    app.tell_overdue_post_reviews().await.unwrap();
    let disputed =
        app.decide_post_review(&zoe(), &post_review.id, (&dispute("the bank was fine"), None)).await.unwrap();
    assert_eq!(courier.deliver(app).await.unwrap(), 3);
    assert_eq!(
        receiver.kinds().split_off(2),
        ["grant.ended", "post_review.overdue", "post_review.disputed"],
        "in their order"
    );
    let last = told(sam()).await.pop().unwrap();
    let body: Value = serde_json::from_str(&last.body).unwrap();
    let review = &body["data"]["post_review"];
    assert_eq!((&review["id"], &review["reason"]), (&disputed.id.as_str().into(), &"the bank was fine".into()));
    assert_eq!((&review["state"], &review["decided_by"]["subject"]), (&"disputed".into(), &"zoe".into()));
}

pub(crate) async fn post_reviews_are_listed_like_grants(db: Db) {
    use grantmesh_control_plane::app::Only;
    let world = world(db).await;
    let app = &world.app;
    let first = broken(&world).await.post_review;
    world.advance("1h");
    let second = broken(&world).await.post_review;
    app.decide_post_review(&zoe(), &first.id, (&accept(), None)).await.unwrap();
    let listed = async |who: Actor, filter: PostReviewFilter| -> Vec<_> {
        let listed = app.post_reviews(&who, &filter, &Page::default()).await.unwrap().items;
        listed.into_iter().map(|review| review.id).collect()
    };
    let (one, two) = (vec![first.id.clone()], vec![second.id.clone()]);
    let both: Vec<_> = [&two[..], &one[..]].concat();
    let all = PostReviewFilter::default;
    for (who, sees) in [(zoe(), true), (sam(), true), (olga(), true), (aud(), true), (ann(), false), (lee(), false)] {
        let expected = if sees { both.clone() } else { Vec::new() };
        assert_eq!(listed(who.clone(), all()).await, expected, "{who:?}");
    }
    let of = |only: Only| PostReviewFilter { only, ..all() };
    let service = || Some("payments".to_owned());
    for (filter, expected) in [
        (PostReviewFilter { state: Some(PostReviewWord::Open), ..all() }, &two),
        (PostReviewFilter { state: Some(PostReviewWord::Disputed), ..all() }, &Vec::new()),
        (of(Only { service: service(), rule: Some("emergency".to_owned()), ..Only::default() }), &both),
        (of(Only { service: service(), action: Some("account.close".to_owned()), ..Only::default() }), &Vec::new()),
        (of(Only { owner: Some("sam".to_owned()), since: Some(second.opened_at), ..Only::default() }), &two),
        (of(Only { owner: Some("zoe".to_owned()), ..Only::default() }), &Vec::new()),
        (of(Only { oldest_first: true, until: Some(second.opened_at), ..Only::default() }), &one),
        (of(Only { mine: true, ..Only::default() }), &Vec::new()),
    ] {
        assert_eq!(listed(zoe(), filter.clone()).await, *expected, "{filter:?}");
    }
    world.advance("1d");
    let overdue = |state| PostReviewFilter { overdue: true, state, ..all() };
    assert_eq!(listed(zoe(), overdue(None)).await, two);
    assert_eq!(listed(zoe(), overdue(Some(PostReviewWord::Open))).await, two);
    assert!(listed(zoe(), overdue(Some(PostReviewWord::Accepted))).await.is_empty());
    assert!(listed(lee(), overdue(None)).await.is_empty());
}

pub(crate) async fn an_empty_list_lets_nobody_break_it(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let nobody = RIGHT.replace("[\"group:sre\"]\n  maxDuration", "[]\n  maxDuration");
    assert_ne!(nobody, RIGHT);
    world.apply(&[POLICY, &nobody], None).await.unwrap();
    for who in [sam(), zoe(), olga(), bob(), eve(), someone("", &[])] {
        assert_eq!(code(world.app.break_glass(&who, &refund()).await), "no_break_glass");
    }
}

pub(crate) async fn the_alarm_is_raised_by_nothing_else(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let grant = world.granted().await;
    assert!(!grant.break_glass);
    app.release(&ann(), &grant.id).await.unwrap();
    world.granted().await;
    world.advance("1h");
    app.expire_grants().await.unwrap();
    app.tell_overdue_post_reviews().await.unwrap();
    code(app.break_glass(&ann(), &refund()).await);
    let kinds: Vec<String> =
        world.entries().await.iter().map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect();
    assert!(kinds.iter().all(|kind| !kind.starts_with("break_glass") && !kind.starts_with("post_review")), "{kinds:?}");
    assert_eq!(app.post_review_sums().await.unwrap(), Default::default());
    let told = app.events_after(&olga(), 0).await.unwrap().events;
    assert!(told.len() > 4 && told.iter().all(|event| !event.kind.contains("break") && !event.kind.contains("post_")));
    let items = app.items_since(0).await.unwrap().items;
    assert!(items.iter().all(|item| !item.body.as_deref().unwrap_or_default().contains("\"break_glass\":true")));
}

pub(crate) async fn nobody_makes_those_who_review_what_they_did(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let group = "---\napiVersion: grantmesh.dev/v1\nkind: Group\nmetadata: { name: security }\nspec: { editors: [\"user:sam\"] }\n";
    world.apply(&[POLICY, &(RIGHT.to_owned() + group)], None).await.unwrap();
    let review = broken(&world).await.post_review;
    assert_eq!(code(world.app.decide_post_review(&zoe(), &review.id, (&accept(), None)).await), "not_a_reviewer");
    let tom = someone("tom", &["sre"]);
    world.app.decide_post_review(&tom, &review.id, (&accept(), None)).await.unwrap();
}

pub(crate) async fn a_post_review_is_given_in_anothers_place(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let (dan, kim) = (someone("dan", &["guests"]), someone("kim", &["guests"]));
    let lend = async |from: &Actor, to: &str, rule: Option<&str>| {
        let new = NewDelegation {
            to: to.to_owned(),
            service: Some("payments".to_owned()),
            rule: rule.map(str::to_owned),
            reason: "on leave".to_owned(),
            starts_at: None,
            lasting: Lasting::For(span("48h")),
        };
        app.delegate(from, &new).await.unwrap()
    };
    let broke = async || broken(&world).await;
    let decide = async |who: &Actor, review: &PostReview, of: Option<&str>| {
        app.decide_post_review(who, &review.id, (&accept(), of)).await
    };
    let one = broke().await.post_review;
    assert_eq!(code(decide(&dan, &one, None).await), "not_found");
    // Who reviews nothing but what is done by the right may let somebody else do so; of all else that is nothing.
    let lent = lend(&zoe(), "dan", Some("emergency")).await;
    assert_eq!(app.post_review(&dan, &one.id).await.unwrap(), one);
    let listed = app.post_reviews(&dan, &PostReviewFilter::default(), &Page::default()).await.unwrap().items;
    assert_eq!(listed, std::slice::from_ref(&one));
    assert_eq!(
        app.ledger(&dan, &one.grant, None).await.unwrap().grant.id,
        one.grant,
        "what was done is what he judges"
    );
    assert_eq!(app.grant(&dan, &one.grant).await.unwrap().id, one.grant);
    assert_eq!(code(app.grant(&kim, &one.grant).await), "not_found");
    assert_eq!(code(app.revoke(&dan, &one.grant, "over").await), "not_a_reviewer", "to see is not to end");
    assert_eq!(code(app.release(&dan, &one.grant).await), "not_the_holder");
    assert_eq!(code(app.extend(&dan, &one.grant, span("1m"), None).await), "not_the_holder");
    assert_eq!(code(app.revoke(&kim, &one.grant, "over").await), "not_found");
    let events = app.events_after(&dan, 0).await.unwrap().events;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["post_review.opened", "delegation.given"]);
    assert_eq!(code(decide(&dan, &one, Some("kim")).await), "no_delegation");
    let accepted = decide(&dan, &one, None).await.unwrap();
    let of = accepted.state.on_behalf_of().unwrap();
    assert_eq!((&of.user, &of.delegation), (&zoe().user, &lent.id));
    assert_eq!(app.post_review(&sam(), &one.id).await.unwrap(), accepted);
    let entries = world.entries().await;
    let entry = entries.iter().find(|entry| entry["kind"] == "post_review.accepted").unwrap();
    assert_eq!((&entry["actor"]["subject"], &entry["data"]["on_behalf_of"]["subject"]), (&"dan".into(), &"zoe".into()));
    assert_eq!(world.story_of(lent.id.as_str()).await, ["delegation.given", "post_review.accepted"]);

    // Never for whoever did it: not they themselves in somebody's place, nor whoever stands in for them.
    let two = broke().await.post_review;
    lend(&zoe(), "sam", None).await;
    assert_eq!(code(decide(&sam(), &two, None).await), "self_review");
    assert_eq!(code(decide(&sam(), &two, Some("zoe")).await), "self_review");
    // Sam reviews what others do by another right, and is away: who stands in for him says nothing of what he did.
    let both = someone("sam", &["sre", "security"]);
    let by_sam = lend(&both, "dan", None).await;
    assert_eq!(code(decide(&dan, &two, Some("sam")).await), "self_review", "it is his own doing");
    assert_eq!(code(decide(&dan, &two, Some("zoe")).await), "self_review", "he stands in for whoever did it");
    world.advance("1s");
    app.end_delegation(&both, &by_sam.id).await.unwrap();
    assert_eq!(code(decide(&dan, &two, None).await), "self_review", "and did since it was done");
    world.advance("1m");
    let three = broke().await.post_review;
    let tom = someone("tom", &["security"]);
    lend(&tom, "dan", None).await;
    assert_eq!(code(decide(&dan, &three, None).await), "several_delegations");
    lend(&tom, "kim", None).await;
    // Who reviews other things lends no right to this.
    lend(&lee(), "kim", None).await;
    assert_eq!(code(decide(&kim, &three, Some("lee")).await), "not_a_reviewer");
    let disputed = app.decide_post_review(&kim, &three.id, (&dispute("no need"), None)).await.unwrap();
    assert_eq!(disputed.state.on_behalf_of().map(|of| &of.user), Some(&tom.user));
    assert_eq!(code(decide(&dan, &three, Some("zoe")).await), "already_decided");
}

pub(crate) async fn what_was_lent_is_reviewed_where_the_right_is_gone(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let (dan, kim) = (someone("dan", &["guests"]), someone("kim", &["guests"]));
    let lend = async |from: &Actor, to: &str, rule: Option<&str>| {
        let new = NewDelegation {
            to: to.to_owned(),
            service: Some("payments".to_owned()),
            rule: rule.map(str::to_owned),
            reason: "on leave".to_owned(),
            starts_at: None,
            lasting: Lasting::For(span("48h")),
        };
        app.delegate(from, &new).await.unwrap()
    };
    let lent = lend(&zoe(), "dan", Some("emergency")).await;
    // Of another rule, and by one who does not review what is done by the right.
    lend(&lee(), "kim", None).await;
    let (one, two) = (broken(&world).await, broken(&world).await);
    world.apply(&[POLICY], None).await.unwrap();
    // The delegate sees what the delegator sees, and decides as they would.
    for who in [zoe(), dan.clone()] {
        assert_eq!(app.post_review(&who, &one.post_review.id).await.unwrap(), one.post_review, "{who:?}");
        assert_eq!(app.grant(&who, &one.grant.id).await.unwrap().id, one.grant.id, "{who:?}");
        assert_eq!(app.ledger(&who, &one.grant.id, None).await.unwrap().grant.id, one.grant.id, "{who:?}");
    }
    for other in [kim, lee(), ann()] {
        assert_eq!(code(app.post_review(&other, &one.post_review.id).await), "not_found", "{other:?}");
        assert_eq!(code(app.grant(&other, &one.grant.id).await), "not_found", "{other:?}");
        assert_eq!(
            code(app.decide_post_review(&other, &one.post_review.id, (&accept(), None)).await),
            "not_found",
            "{other:?}"
        );
    }
    let accepted = app.decide_post_review(&dan, &one.post_review.id, (&accept(), None)).await.unwrap();
    assert_eq!(accepted.state.on_behalf_of().map(|of| &of.user), Some(&zoe().user));
    app.end_delegation(&zoe(), &lent.id).await.unwrap();
    assert_eq!(code(app.post_review(&dan, &two.post_review.id).await), "not_found", "it is lent no longer");
    app.decide_post_review(&zoe(), &two.post_review.id, (&accept(), None)).await.unwrap();
    // Where it names others by now, whoever reviewed then is told so.
    world.apply(&[POLICY, RIGHT], None).await.unwrap();
    let three = broken(&world).await.post_review;
    lend(&zoe(), "dan", Some("emergency")).await;
    let others = RIGHT.replace("\"group:security\", \"group:sre\"", "\"group:leads\"");
    world.apply(&[POLICY, &others], None).await.unwrap();
    for who in [zoe(), dan] {
        assert_eq!(code(app.post_review(&who, &three.id).await), "not_found", "{who:?}");
        assert_eq!(code(app.grant(&who, &three.grant).await), "not_found", "{who:?}");
        assert_eq!(code(app.decide_post_review(&who, &three.id, (&accept(), None)).await), "not_a_reviewer", "{who:?}");
    }
}
