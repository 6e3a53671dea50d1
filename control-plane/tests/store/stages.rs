//! Stages and factors: what is passed in which order, by whom, also when fifty come at once or the rule changes meanwhile.

use grantmesh_control_plane::domain::{Actor, RequestStateWord, StageWord, Standing};

use crate::db::Db;
use crate::races::{all_at_once, codes};
use crate::world::{POLICY, World, ann, approval, code, denial, lee, mia, olga, refund, review, someone};

/// The refunds of the scenarios, decided by a lead and then by two of security and one of finance.
fn staged() -> String {
    let stages = r#"stages:
    - { name: team, factors: [{ reviewers: ["group:leads"] }] }
    - name: release
      factors:
        - { approvals: 2, reviewers: ["group:security"] }
        - { reviewers: ["group:finance"] }
  denials: 2"#;
    assert!(POLICY.contains("reviewers: [\"group:leads\"]\n  maxDuration"));
    POLICY.replacen("reviewers: [\"group:leads\"]\n  maxDuration", &format!("{stages}\n  maxDuration"), 1)
}

fn sam() -> Actor {
    someone("sam", &["security"])
}

fn words(standing: &Standing) -> Vec<(&str, StageWord, Vec<usize>)> {
    let got = |factors: &[grantmesh_control_plane::domain::FactorStanding]| {
        factors.iter().map(|factor| factor.approvals.len()).collect()
    };
    standing.stages.iter().map(|stage| (stage.name.as_str(), stage.word, got(&stage.factors))).collect()
}

fn awaited(standing: &Standing) -> Vec<String> {
    standing.awaited.iter().map(ToString::to_string).collect()
}

pub(crate) async fn stages_are_passed_in_order(db: Db) {
    use StageWord::{Open, Passed, Waiting};
    let world = World::bare(db, grantmesh_control_plane::app::Limits::default()).await;
    world.apply(&[&staged()], None).await.unwrap();
    let request = world.asked().await;
    assert_eq!(request.approvals_needed, 4);
    let standing = async || {
        let now = world.app.request(&ann(), &request.id).await.unwrap();
        world.app.standing(&now).await.unwrap()
    };
    let first = standing().await;
    assert_eq!(words(&first), [("team", Open, vec![0]), ("release", Waiting, vec![0, 0])]);
    assert_eq!((awaited(&first), first.denials_needed), (vec!["group:leads".to_owned()], 2));
    // Reviewers of a later stage see it and wait; they may deny.
    assert_eq!(code(world.review(&sam(), &request.id, approval()).await), "stage_needs_others");
    assert_eq!(code(world.review(&olga(), &request.id, approval()).await), "not_a_reviewer");
    world.review(&lee(), &request.id, approval()).await.unwrap();
    assert_eq!(code(world.review(&mia(), &request.id, approval()).await), "stage_needs_others");
    // One who has voted has voted for every stage.
    let both = someone("lee", &["leads", "security"]);
    assert_eq!(code(world.review(&both, &request.id, approval()).await), "already_reviewed");
    // Whoever is of both sits where they are needed, in whatever order people come.
    let kim = someone("kim", &["security", "finance"]);
    world.review(&kim, &request.id, approval()).await.unwrap();
    let fin = someone("fin", &["finance"]);
    world.review(&fin, &request.id, approval()).await.unwrap();
    let second = standing().await;
    assert_eq!(words(&second), [("team", Passed, vec![1]), ("release", Open, vec![1, 1])]);
    assert_eq!(awaited(&second), ["group:security"]);
    assert_eq!(code(world.review(&someone("fay", &["finance"]), &request.id, approval()).await), "stage_needs_others");
    let reviewed = world.review(&sam(), &request.id, approval()).await.unwrap();
    assert!(reviewed.grant.is_some());
    let last = standing().await;
    assert_eq!(words(&last), [("team", Passed, vec![1]), ("release", Passed, vec![2, 1])]);
    assert_eq!((awaited(&last), last.at_request.len()), (Vec::new(), 0));
    assert_eq!(
        world.story_of(request.id.as_str()).await,
        ["request.filed", "review.approved", "review.approved", "review.approved", "review.approved", "grant.issued"]
    );

    // Two denials deny, from whatever stage.
    let request = world.asked().await;
    let one = world.review(&sam(), &request.id, denial()).await.unwrap();
    assert_eq!(one.request.state.word(), RequestStateWord::Pending);
    assert_eq!(code(world.review(&sam(), &request.id, denial()).await), "already_reviewed");
    let two = world.review(&lee(), &request.id, denial()).await.unwrap();
    assert_eq!(two.request.state.word(), RequestStateWord::Denied);
    assert_eq!(world.story_of(request.id.as_str()).await, ["request.filed", "review.denied", "review.denied"]);
    // Filters know nothing of who decides.
    let items = world.app.all_items().await.unwrap().items;
    let service = items.iter().find(|item| item.key == "service/payments").and_then(|item| item.body.as_deref());
    assert!(service.is_some_and(|body| body.contains("refunds") && !body.contains("security")), "{service:?}");
}

pub(crate) async fn each_review_tells_how_far_the_request_has_come(db: Db) {
    let world = World::bare(db, grantmesh_control_plane::app::Limits::default()).await;
    world.apply(&[&staged()], None).await.unwrap();
    let begun = world.app.last_event().await.unwrap().0;
    let told = async |who: Actor| -> Vec<serde_json::Value> {
        let events = world.app.events_after(&who, begun).await.unwrap().events;
        events.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect()
    };
    let request = world.asked().await;
    world.review(&lee(), &request.id, approval()).await.unwrap();
    let sam_says_no = world.review(&sam(), &request.id, denial()).await.unwrap();
    assert_eq!(sam_says_no.request.state.word(), RequestStateWord::Pending);
    for who in [ann(), sam(), lee()] {
        let told = told(who).await;
        let kinds: Vec<&str> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["request.filed", "request.reviewed", "request.reviewed"]);
        // The next stage is open, and whoever passes it is told so.
        let data = &told[1]["data"];
        let stage = |name: &str, state: &str, approvals: u32, needed: u32| serde_json::json!({ "name": name, "state": state, "approvals": approvals, "needed": needed });
        assert_eq!(data["stages"], serde_json::json!([stage("team", "passed", 1, 1), stage("release", "open", 0, 3)]));
        assert_eq!(data["awaited"], serde_json::json!(["group:security", "group:finance"]));
        assert_eq!(data["request"]["reviews"][0]["reviewer"]["subject"], "lee");
        assert!(data["notify"].is_array(), "{data}");
        assert_eq!(told[2]["data"]["request"]["reviews"][1]["verdict"], "deny");
    }
    // The review that decides is told as the decision, and as nothing else.
    world.review(&someone("sid", &["security"]), &request.id, denial()).await.unwrap();
    let last = told(ann()).await.pop().unwrap();
    assert_eq!((last["type"].as_str(), told(ann()).await.len()), (Some("request.denied"), 4));
}

pub(crate) async fn fifty_approvals_pass_two_stages_once(db: Db) {
    let world = World::bare(db, grantmesh_control_plane::app::Limits::default()).await;
    world.apply(&[&staged()], None).await.unwrap();
    let request = world.asked().await;
    let groups = [&["leads"][..], &["security"], &["finance"], &["security", "finance"], &["leads", "security"]];
    let round = async |number: usize| {
        let approve = |who: usize| {
            let (app, id) = (world.app.clone(), request.id.clone());
            let actor = someone(&format!("r{number}-{who}"), groups[who % groups.len()]);
            async move { review(&app, &actor, &id, approval()).await }
        };
        all_at_once((0..50).map(approve)).await
    };
    let mut taken = 0;
    let mut grants = 0;
    for number in 0..3 {
        let results = round(number).await;
        grants += results.iter().flatten().filter(|reviewed| reviewed.grant.is_some()).count();
        taken += results.iter().flatten().count();
        let refused = codes(&results);
        assert!(refused.iter().all(|code| matches!(*code, "stage_needs_others" | "already_decided")), "{refused:?}");
    }
    // Exactly as many as there are places, and one grant.
    assert_eq!((taken, grants), (4, 1));
    let story = world.story_of(request.id.as_str()).await;
    assert_eq!(story.iter().filter(|kind| *kind == "review.approved").count(), 4);
    assert_eq!(story.iter().filter(|kind| *kind == "grant.issued").count(), 1);
}

pub(crate) async fn a_change_of_stages_meanwhile_is_strict(db: Db) {
    let world = World::new(db).await;
    // Filed under one stage, decided under two: the leads of both, and nobody who was no reviewer then.
    let request = world.asked().await;
    world.apply(&[&staged()], None).await.unwrap();
    let first = world.review(&lee(), &request.id, approval()).await.unwrap();
    assert_eq!((first.grant, first.request.approvals_needed), (None, 4));
    assert_eq!(code(world.review(&sam(), &request.id, approval()).await), "not_a_reviewer");
    let standing = world.app.standing(&first.request).await.unwrap();
    assert_eq!((standing.stages.len(), standing.at_request.len()), (2, 1));
    assert_eq!(standing.at_request[0].word, StageWord::Passed);
    // Filed under two, decided under one: what it took then is still needed.
    let request = world.asked().await;
    world.apply(&[POLICY], None).await.unwrap();
    let lead = |name: &str| someone(name, &["leads", "security", "finance"]);
    for name in ["lou", "max", "nia"] {
        let reviewed = world.review(&lead(name), &request.id, approval()).await.unwrap();
        assert_eq!(reviewed.grant, None);
    }
    assert!(world.review(&lead("oli"), &request.id, approval()).await.unwrap().grant.is_some());
}

pub(crate) async fn operators_decide_nothing(db: Db) {
    let world = World::bare(db, grantmesh_control_plane::app::Limits::default()).await;
    world.apply(&[&staged()], None).await.unwrap();
    let request = world.asked().await;
    let theirs = world.app.file_request(&olga(), refund("acc-42")).await;
    assert_eq!(code(theirs), "not_eligible");
    for review in [approval(), denial()] {
        assert_eq!(code(world.review(&olga(), &request.id, review).await), "not_a_reviewer");
    }
    // Nor do they by putting themselves into the policy: not for what was asked before.
    world.apply(&[&staged().replacen("group:leads", "user:olga", 1)], None).await.unwrap();
    assert_eq!(code(world.review(&olga(), &request.id, approval()).await), "not_a_reviewer");
    world.apply(&[&staged().replace("group:support", "user:olga")], None).await.unwrap();
    let theirs = world.app.file_request(&olga(), refund("acc-42")).await.unwrap().request;
    let named = staged().replace("group:support", "user:olga").replace("group:leads", "user:olga\", \"group:leads");
    world.apply(&[&named], None).await.unwrap();
    assert_eq!(code(world.review(&olga(), &theirs.id, approval()).await), "self_approval");
}
