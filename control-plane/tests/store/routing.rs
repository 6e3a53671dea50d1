//! Whom requests are brought to: who is on call first, then who has the fewest to look at, and never whoever asks.

use grantmesh_control_plane::app::{Limits, Reviewers};
use grantmesh_control_plane::domain::{Actor, Lasting, NewDelegation, Request};
use serde_json::Value;

use crate::db::Db;
use crate::world::{POLICY, World, ann, approval, bob, code, denial, eve, lee, mia, olga, signal, someone, span};

fn policy() -> String {
    let signals = "signals: [{ name: on.call, of: user, setters: [\"group:sre\"] }] }";
    let rule = "requestTimeout: 8h\n  timeouts: { remindAfter: 1h, escalateAfter: 2h, escalateTo: [\"user:max\"] }\n  \
                routing: { suggest: 1, onCall: on.call }\n---";
    POLICY.replace("\"https://id.example\" }", &format!("\"https://id.example\", {signals}")).replacen(
        "requestTimeout: 8h\n---",
        rule,
        1,
    )
}

async fn world(db: Db) -> World {
    let world = World::bare(db, Limits::default()).await;
    world.apply(&[&policy()], None).await.unwrap();
    world
}

/// Names with how many requests wait for each, in the order in which they are asked; with a star who is suggested.
async fn routed(world: &World, request: &Request) -> Vec<String> {
    let Reviewers { known: reviewers, suggested, .. } = world.app.reviewers_of(&olga(), &request.id).await.unwrap();
    assert!(suggested.iter().all(|user| reviewers.iter().any(|one| one.user == *user)), "{suggested:?}");
    let named = |one: &grantmesh_control_plane::domain::Reviewer| {
        let star = if suggested.contains(&one.user) { "*" } else { "" };
        let on_call = if one.on_call { " on call" } else { "" };
        format!("{star}{} {}{on_call}", one.user.subject, one.waiting)
    };
    reviewers.iter().map(named).collect()
}

/// Whom the last event of a kind names.
async fn told(world: &World, kind: &str) -> Vec<String> {
    let events = world.app.events_after(&olga(), 0).await.unwrap().events;
    let event = events.iter().rev().find(|event| event.kind == kind).unwrap();
    let body: Value = serde_json::from_str(&event.body).unwrap();
    let notify = body["data"]["notify"].as_array().unwrap();
    notify.iter().map(|user| user["subject"].as_str().unwrap().to_owned()).collect()
}

async fn reviewed(world: &World, who: &Actor) {
    let request = world.asked().await;
    world.review(who, &request.id, approval()).await.unwrap();
}

pub(crate) async fn who_is_on_call_comes_first_then_who_has_least(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    // Nobody of the group is known yet, which keeps nobody from reviewing.
    let first = world.asked().await;
    let none = app.reviewers_of(&ann(), &first.id).await.unwrap();
    assert_eq!((none.known.len(), none.awaited[0].to_string()), (0, "group:leads".to_owned()));
    assert!(told(&world, "request.filed").await.is_empty());
    assert_eq!(code(app.reviewers_of(&eve(), &first.id).await), "not_found");
    world.review(&lee(), &first.id, denial()).await.unwrap();
    reviewed(&world, &mia()).await;

    let one = world.asked().await;
    let two = world.asked().await;
    let (by_one, by_two) = (routed(&world, &one).await, routed(&world, &two).await);
    assert_eq!((by_one.len(), by_two.len()), (2, 2));
    let star = |those: &[String]| those.iter().find(|one| one.starts_with('*')).unwrap().clone();
    assert!(star(&by_one) != star(&by_two), "{by_one:?} {by_two:?}: each has one to look at");
    let name = star(&by_two).trim_start_matches('*').split(' ').next().unwrap().to_owned();
    assert_eq!(told(&world, "request.filed").await, [name]);

    // On call, Mia comes first, however many wait for her; unless it is whoever asks who says so.
    app.set_signal(&someone("ann", &["sre"]), signal("on.call", Some("mia")), "so", span("1h")).await.unwrap();
    let three = world.asked().await;
    assert!(!routed(&world, &three).await.concat().contains("on call"));
    app.withdraw(&ann(), &three.id).await.unwrap();
    app.set_signal(&someone("sam", &["sre"]), signal("on.call", Some("mia")), "so", span("1h")).await.unwrap();
    let four = world.asked().await;
    assert_eq!(routed(&world, &four).await, ["*mia 2 on call", "lee 1"]);
    assert_eq!(told(&world, "request.filed").await, ["mia"]);
    world.advance("1h");
    assert_eq!(routed(&world, &four).await, ["lee 1", "*mia 2"]);

    // Who has reviewed, and what is decided or taken back, waits for nobody.
    let hers = if star(&by_one).contains("mia") { &one } else { &two };
    world.review(&lee(), &hers.id, denial()).await.unwrap();
    let mut alike = routed(&world, &four).await;
    alike.sort();
    assert_eq!(alike, ["*mia 1", "lee 1"]);
    assert!(routed(&world, hers).await.is_empty());
    world.advance("8h");
    app.time_out_requests().await.unwrap();
    let five = world.asked().await;
    let waiting: u64 = app.reviewers_of(&ann(), &five.id).await.unwrap().known.iter().map(|one| one.waiting).sum();
    assert_eq!(waiting, 1, "the one that was just filed");
}

pub(crate) async fn nobody_is_asked_about_what_they_may_not_review(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    for who in [lee(), mia(), bob()] {
        reviewed(&world, &who).await;
    }
    // Bob reviews, but not what he asks for himself.
    let his = app.file_request(&bob(), world.refund()).await.unwrap().request;
    let names = async |request: &Request| {
        let reviewers = app.reviewers_of(&olga(), &request.id).await.unwrap().known;
        let mut names: Vec<String> = reviewers.iter().map(|one| one.user.subject.to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&his).await, ["lee", "mia"]);
    let hers = world.asked().await;
    assert_eq!(names(&hers).await, ["bob", "lee", "mia"]);
    // A reminder names who is asked now, and an escalation knows of others.
    world.advance("1h");
    app.remind_reviewers().await.unwrap();
    assert_eq!(told(&world, "request.reminded").await.len(), 1);
    world.advance("1h");
    app.escalate_requests().await.unwrap();
    assert_eq!(names(&hers).await, ["bob", "lee", "max", "mia"]);
    // Who has approved one of two has done what they can.
    world
        .apply(
            &[&policy().replacen("reviewers: [\"group:leads\"]", "reviewers: [\"group:leads\"]\n  approvals: 2", 1)],
            None,
        )
        .await
        .unwrap();
    let twice = world.asked().await;
    world.review(&lee(), &twice.id, approval()).await.unwrap();
    assert_eq!(names(&twice).await, ["bob", "mia"]);
    assert!(app.reviewers_of(&olga(), &twice.id).await.unwrap().suggested.iter().all(|user| &*user.subject != "lee"));
}

pub(crate) async fn people_are_known_however_much_was_decided_without_them(db: Db) {
    let world = world(db).await;
    reviewed(&world, &mia()).await;
    for _ in 0..201 {
        let request = world.asked().await;
        world.app.withdraw(&ann(), &request.id).await.unwrap();
    }
    assert_eq!(routed(&world, &world.asked().await).await, ["*mia 1"]);
}

pub(crate) async fn the_next_stage_is_brought_to_those_whom_it_needs(db: Db) {
    let world = world(db).await;
    let stages = "stages:\n    - { name: one, factors: [{ reviewers: [\"user:lee\"] }] }\n    \
                  - { name: two, factors: [{ reviewers: [\"user:mia\"] }] }";
    world.apply(&[&policy().replacen("reviewers: [\"group:leads\"]", stages, 1)], None).await.unwrap();
    let request = world.asked().await;
    assert_eq!(routed(&world, &request).await, ["*lee 1"]);
    world.review(&lee(), &request.id, approval()).await.unwrap();
    assert_eq!(routed(&world, &request).await, ["*mia 1"]);
    world.review(&mia(), &request.id, approval()).await.unwrap();
    assert_eq!(routed(&world, &request).await, [""; 0]);
}

pub(crate) async fn everybody_who_is_on_call_and_known_is_listed(db: Db) {
    let world = world(db).await;
    let (app, sam) = (&world.app, someone("sam", &["sre"]));
    // They have asked for something themselves, by which their groups are known, those of the latest time.
    for number in 0..60 {
        let name = format!("oncall-{number:02}");
        app.file_request(&someone(&name, &["support"]), world.refund()).await.unwrap();
        world.advance("1s");
        app.file_request(&someone(&name, &["support", "leads"]), world.refund()).await.unwrap();
        app.set_signal(&sam, signal("on.call", Some(&*name)), "so", span("1h")).await.unwrap();
    }
    app.set_signal(&sam, signal("on.call", Some("nobody-knows")), "so", span("1h")).await.unwrap();
    let request = world.asked().await;
    let known = app.reviewers_of(&olga(), &request.id).await.unwrap().known;
    assert_eq!((known.len(), known.iter().all(|one| one.on_call)), (60, true), "{known:?}");
}

pub(crate) async fn who_stands_in_for_a_reviewer_is_listed_with_them(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    reviewed(&world, &lee()).await;
    let request = world.asked().await;
    let lend = async |to: &str, rule: Option<&str>| {
        let (service, rule) = (rule.map(|_| "payments".to_owned()), rule.map(str::to_owned));
        let lasting = Lasting::For(span("2h"));
        let new = NewDelegation { to: to.to_owned(), service, rule, reason: "x".to_owned(), starts_at: None, lasting };
        app.delegate(&lee(), &new).await.unwrap()
    };
    let dan = lend("dan", None).await;
    lend("kim", Some("closing")).await;
    lend("ann", None).await;
    let seen = app.reviewers_of(&ann(), &request.id).await.unwrap();
    let names: Vec<(&str, &str)> = seen.delegates.iter().map(|(of, by)| (&*of.subject, &*by.subject)).collect();
    assert_eq!(names, [("lee", "dan")], "not for another rule, and not whoever asks");
    // Suggested is whose right it is.
    assert!(seen.suggested.iter().all(|user| *user == lee().user));
    app.end_delegation(&lee(), &dan.id).await.unwrap();
    assert!(app.reviewers_of(&ann(), &request.id).await.unwrap().delegates.is_empty());
}

pub(crate) async fn only_who_may_decide_by_it_is_listed_as_standing_in_and_once(db: Db) {
    let world = world(db).await;
    let app = &world.app;
    let two = policy().replacen("reviewers: [\"group:leads\"]", "reviewers: [\"group:leads\"]\n  approvals: 2", 1);
    let closers = two.replace(
        "actions: [account.close]\n  eligible: [\"group:support\"]\n  reviewers: [\"group:leads\"]",
        "actions: [account.close]\n  eligible: [\"group:support\"]\n  reviewers: [\"group:closers\"]",
    );
    assert!(closers != two && two != policy());
    let machine = "---\napiVersion: grantmesh.dev/v1\nkind: Person\nmetadata: { name: bot }\nspec: { accounts: [{ subject: bot }], machine: true }\n\
                   ---\napiVersion: grantmesh.dev/v1\nkind: Person\nmetadata: { name: dan }\nspec: { accounts: [{ subject: dan }, { subject: dan-admin }] }\n";
    world.apply(&[&policy()], None).await.unwrap();
    reviewed(&world, &lee()).await;
    reviewed(&world, &mia()).await;
    world.apply(&[&closers], None).await.unwrap();
    let lend = async |from: &Actor, to: &str, rule: Option<&str>| {
        let (service, rule) = (rule.map(|_| "payments".to_owned()), rule.map(str::to_owned));
        let lasting = Lasting::For(span("2h"));
        let new = NewDelegation { to: to.to_owned(), service, rule, reason: "x".to_owned(), starts_at: None, lasting };
        world.advance("1s");
        app.delegate(from, &new).await.unwrap()
    };
    // By two delegations, and by two accounts.
    lend(&lee(), "dan", None).await;
    lend(&lee(), "dan", Some("refunds")).await;
    lend(&lee(), "dan-admin", None).await;
    // A machine by now; the one who asks lets them review; what was given reviews something else only; who has voted.
    lend(&lee(), "bot", None).await;
    lend(&lee(), "kim", None).await;
    lend(&someone("lee", &["closers"]), "zed", None).await;
    lend(&lee(), "mia", None).await;
    world.apply(&[&(closers.clone() + machine)], None).await.unwrap();
    let his = app.file_request(&bob(), world.refund()).await.unwrap().request;
    let lent = lend(&bob(), "kim", None).await;
    let listed = async || -> Vec<(String, String)> {
        let seen = app.reviewers_of(&olga(), &his.id).await.unwrap().delegates;
        seen.iter().map(|(of, by)| (of.subject.to_string(), by.subject.to_string())).collect()
    };
    let pairs = |those: &[(&str, &str)]| those.iter().map(|(of, by)| ((*of).into(), (*by).into())).collect::<Vec<_>>();
    assert_eq!(listed().await, pairs(&[("lee", "dan"), ("lee", "mia")]));
    // It is the same that a review by each is told.
    for (who, told) in [("kim", "self_approval"), ("zed", "not_found"), ("bot", "machine")] {
        assert_eq!(code(world.review(&someone(who, &[]), &his.id, approval()).await), told, "{who}");
    }
    world.advance("1m");
    app.end_delegation(&bob(), &lent.id).await.unwrap();
    assert_eq!(listed().await, pairs(&[("lee", "dan"), ("lee", "mia")]), "since it was filed");
    world.review(&mia(), &his.id, approval()).await.unwrap();
    assert_eq!(listed().await, pairs(&[("lee", "dan")]));
    world.review(&someone("dan", &[]), &his.id, approval()).await.unwrap();
    assert!(listed().await.is_empty(), "it is decided");
}

pub(crate) async fn others_are_asked_only_if_others_are_needed(db: Db) {
    let world = world(db).await;
    let (app, sam) = (&world.app, someone("sam", &["sre"]));
    for who in [lee(), mia(), bob()] {
        reviewed(&world, &who).await;
    }
    let two = policy().replacen("reviewers: [\"group:leads\"]", "reviewers: [\"group:leads\"]\n  approvals: 2", 1);
    world.apply(&[&two], None).await.unwrap();
    let suggested = async |request: &Request| -> Vec<String> {
        let those = app.reviewers_of(&olga(), &request.id).await.unwrap().suggested;
        those.iter().map(|user| user.subject.to_string()).collect()
    };
    let on_call = async |name: &str| {
        app.set_signal(&sam, signal("on.call", Some(name)), "so", span("1h")).await.unwrap();
    };
    on_call("mia").await;
    let (one, other) = (world.asked().await, world.asked().await);
    assert_eq!((suggested(&one).await, suggested(&other).await), (vec!["mia".to_owned()], vec!["mia".to_owned()]));
    app.clear_signal(&sam, signal("on.call", Some("mia")), None).await.unwrap();
    on_call("bob").await;
    // Another one's approval changes nothing about who is to look at it: Mia has been told, and is needed as before.
    world.review(&lee(), &one.id, approval()).await.unwrap();
    assert_eq!(suggested(&one).await, ["mia"]);
    // Hers does: she has said her word.
    world.review(&mia(), &other.id, approval()).await.unwrap();
    assert_eq!(suggested(&other).await, ["bob"]);
}
