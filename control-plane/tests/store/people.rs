//! Who is who: the accounts of one person, machines, and groups that a requester can edit.

use grantmesh_control_plane::app::Limits;
use grantmesh_control_plane::domain::{Actor, Ask, NewReview, RequestStateWord, Text};

use crate::db::Db;
use crate::world::{ISSUER, POLICY, World, ann, approval, ask, bob, code, denial, lee, mia, refund, someone};

/// Lee has three accounts, of which one is a machine's and one of another issuer; the deploy bot belongs to nobody.
const PEOPLE: &str = r#"
---
apiVersion: grantmesh.dev/v1
kind: Person
metadata: { name: lee }
spec: { accounts: [{ subject: lee }, { subject: lee-admin }, { subject: lee, issuer: "https://other.example" }] }
---
apiVersion: grantmesh.dev/v1
kind: Person
metadata: { name: nightly }
spec: { accounts: [{ subject: svc-nightly }], machine: true, owner: lee }
---
apiVersion: grantmesh.dev/v1
kind: Person
metadata: { name: deployer }
spec: { accounts: [{ subject: svc-deploy }], machine: true }
"#;

fn with(more: &str) -> String {
    format!("{POLICY}{PEOPLE}{more}")
}

async fn world(db: Db, more: &str) -> World {
    let world = World::bare(db, Limits::default()).await;
    world.apply(&[&with(more)], None).await.unwrap();
    world
}

pub(crate) async fn nobody_approves_their_own_request_under_any_account(db: Db) {
    let world = world(db, "").await;
    let both = |name: &str| someone(name, &["support", "leads"]);
    // Whichever account asks, none of the person's decides, nor does the owner of a machine.
    for asker in ["lee", "lee-admin", "svc-nightly"] {
        let request = world.app.file_request(&both(asker), world.refund()).await.unwrap().request;
        for reviewer in ["lee", "lee-admin"] {
            for review in [approval(), denial()] {
                assert_eq!(code(world.review(&both(reviewer), &request.id, review).await), "self_approval");
            }
        }
        assert!(world.review(&mia(), &request.id, approval()).await.unwrap().grant.is_some());
    }
    // Machines may ask, never decide, whatever groups they have and whoever asks.
    let request = world.app.file_request(&both("svc-deploy"), world.refund()).await.unwrap().request;
    assert_eq!(code(world.review(&both("svc-deploy"), &request.id, approval()).await), "self_approval");
    for machine in ["svc-nightly", "svc-deploy"] {
        let request = world.asked().await;
        for review in [approval(), denial()] {
            assert_eq!(code(world.review(&both(machine), &request.id, review).await), "machine");
        }
    }
    // What an account is said to be counts for what was asked before, and no longer being said so does not help.
    let request = world.app.file_request(&both("kim"), world.refund()).await.unwrap().request;
    let alias = "---\napiVersion: grantmesh.dev/v1\nkind: Person\nmetadata: { name: kim }\nspec: { accounts: [{ subject: kim }, { subject: kim2 }] }\n";
    world.apply(&[&with(alias)], None).await.unwrap();
    assert_eq!(code(world.review(&both("kim2"), &request.id, approval()).await), "self_approval");
    let request = world.app.file_request(&both("kim"), world.refund()).await.unwrap().request;
    world.apply(&[POLICY], None).await.unwrap();
    assert_eq!(code(world.review(&both("kim2"), &request.id, approval()).await), "self_approval");
}

pub(crate) async fn one_person_has_one_vote_over_all_accounts(db: Db) {
    let world = world(db, "").await;
    let closing = async || world.app.file_request(&ann(), ask("account.close", "acc-42")).await.unwrap().request;
    let admin = someone("lee-admin", &["leads"]);
    let request = closing().await;
    world.review(&lee(), &request.id, approval()).await.unwrap();
    assert_eq!(code(world.review(&admin, &request.id, approval()).await), "already_reviewed");
    assert_eq!(code(world.review(&admin, &request.id, denial()).await), "already_reviewed");
    assert!(world.review(&mia(), &request.id, approval()).await.unwrap().grant.is_some());
    // Two accounts that voted before it was said that they are one person's count once.
    world.apply(&[POLICY], None).await.unwrap();
    let request = closing().await;
    world.apply(&[&POLICY.replace("approvals: 2", "approvals: 3")], None).await.unwrap();
    world.review(&lee(), &request.id, approval()).await.unwrap();
    world.review(&admin, &request.id, approval()).await.unwrap();
    world.apply(&[&with("")], None).await.unwrap();
    let third = world.review(&mia(), &request.id, approval()).await.unwrap();
    assert_eq!((third.grant, third.request.state.word()), (None, RequestStateWord::Pending));
    let last = world.review(&someone("nia", &["leads"]), &request.id, approval()).await.unwrap();
    assert!(last.grant.is_some());
}

pub(crate) async fn a_group_that_the_requester_can_edit_names_nobody(db: Db) {
    let group = |name: &str, editors: &str| {
        format!(
            "---\napiVersion: grantmesh.dev/v1\nkind: Group\nmetadata: {{ name: {name} }}\nspec: {{ editors: [{editors}] }}\n"
        )
    };
    let ask = async |world: &World, actor: &Actor| world.app.file_request(actor, world.refund()).await.unwrap().request;
    // Ann edits the group of the leads herself; Bob by a group that edits another one that does.
    let groups = [
        group("leads", "\"user:ann\", \"group:managers\""),
        group("managers", "\"group:helpdesk\""),
        group("helpdesk", "\"user:bob\", \"user:lee-admin\""),
    ];
    let world = world(db, &groups.concat()).await;
    let support = |name: &str| someone(name, &["support"]);
    for asker in [ann(), bob(), someone("cleo", &["support", "helpdesk"]), support("lee")] {
        let request = ask(&world, &asker).await;
        assert_eq!(code(world.review(&mia(), &request.id, approval()).await), "only_by_requester", "{asker:?}");
        assert_eq!(code(world.review(&mia(), &request.id, denial()).await), "only_by_requester");
        let standing = world.app.standing(&request).await.unwrap();
        assert!(standing.awaited.is_empty(), "nobody can bring it on");
    }
    // Others are decided by them as ever.
    let request = ask(&world, &support("dan")).await;
    assert!(world.review(&mia(), &request.id, approval()).await.unwrap().grant.is_some());
    // Whoever is named otherwise counts.
    let named = POLICY.replace("reviewers: [\"group:leads\"]", "reviewers: [\"group:leads\", \"user:mia\"]");
    world.apply(&[&format!("{named}{}", groups.concat())], None).await.unwrap();
    let request = ask(&world, &ann()).await;
    assert_eq!(code(world.review(&lee(), &request.id, approval()).await), "only_by_requester");
    assert!(world.review(&mia(), &request.id, approval()).await.unwrap().grant.is_some());
    // An account of another issuer is nobody's here, unless a document says so.
    let other = Actor::new("https://other.example", "mia", vec!["leads".to_owned()]);
    let request = ask(&world, &support("dan")).await;
    assert_ne!(ISSUER, "https://other.example");
    assert_eq!(code(world.review(&other, &request.id, approval()).await), "not_found");
}

pub(crate) async fn words_are_what_the_rule_wants(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let wants = POLICY.replacen(
        "  requestTimeout: 8h",
        "  requestTimeout: 8h\n  justification: { minLength: 12, pattern: 'refund' }\n  ticket: { required: true, pattern: '^PAY-[0-9]+$' }",
        1,
    );
    world.apply(&[&wants], None).await.unwrap();
    let file = async |justification: &str, ticket: Option<&str>| {
        let mut new = world.refund();
        new.justification = justification.to_owned();
        new.ticket = ticket.map(str::to_owned);
        world.app.file_request(&ann(), new).await
    };
    let why = "a refund for a double booking";
    for (justification, ticket, expected) in [
        ("refund it", Some("PAY-7"), "justification_falls_short"),
        ("a booking that was double", Some("PAY-7"), "justification_falls_short"),
        (" ", Some("PAY-7"), "justification_required"),
        (why, None, "ticket_required"),
        (why, Some("  "), "ticket_required"),
        (why, Some("PAY-7 or so"), "ticket_does_not_fit"),
        (why, Some("PAY-\u{202e}7"), "bad_text"),
        (why, Some("PAY-7\n"), ""),
    ] {
        match expected {
            "" => assert_eq!(file(justification, ticket).await.unwrap().request.ask.ticket.unwrap().as_str(), "PAY-7"),
            expected => assert_eq!(code(file(justification, ticket).await), expected, "{justification:?} {ticket:?}"),
        }
    }
    assert_eq!(code(file(why, Some(&format!("PAY-{}", "7".repeat(125)))).await), "bad_text");
    let filed = file(why, Some("PAY-7")).await.unwrap().request;
    assert_eq!(world.app.request(&lee(), &filed.id).await.unwrap(), filed);
    let other = Ask { ticket: Some(Text::new("PAY-8", "ticket").unwrap()), ..filed.ask.clone() };
    assert_ne!(filed.ask.digest(), other.digest());
    let prefill = world.app.prefill(&ann(), &refund("acc-42").target, None).await.unwrap();
    assert!(prefill.ticket.required && prefill.justification.min_chars == 12);
    assert!(world.review(&lee(), &filed.id, approval()).await.unwrap().grant.is_some());

    // What the policy wants by now is wanted of what waits, too; it can still be denied.
    world.apply(&[POLICY], None).await.unwrap();
    let request = world.asked().await;
    world.apply(&[&wants], None).await.unwrap();
    assert_eq!(code(world.review(&lee(), &request.id, approval()).await), "words_fall_short");
    world.review(&lee(), &request.id, denial()).await.unwrap();
}

pub(crate) async fn reviewers_leave_out_revealed_fields(db: Db) {
    let world = World::bare(db, Limits::default()).await;
    let policy = POLICY
        .replace(
            "refunds\", resource: \"account/{account}\" }",
            "refunds\", resource: \"account/{account}\", fields: [{ name: iban, in: response, mask: true }, { name: card, in: response, mask: true }, { name: pin, in: response, mask: true }] }",
        )
        .replacen("requestTimeout: 8h", "requestTimeout: 8h\n  approvals: 2\n  reveals: [iban, card]", 1);
    world.apply(&[&policy], None).await.unwrap();
    let only = |fields: &[&str]| NewReview {
        reveals: Some(fields.iter().map(|field| (*field).to_owned()).collect()),
        ..approval()
    };
    let request = world.asked().await;
    assert_eq!(code(world.review(&lee(), &request.id, only(&["iban", "pin"])).await), "reveals_widened");
    let reveals = async |one: NewReview, other: NewReview| {
        let request = world.asked().await;
        world.review(&lee(), &request.id, one).await.unwrap();
        let reviewed = world.review(&mia(), &request.id, other).await.unwrap();
        // The requester sees who narrowed what.
        assert_eq!(world.app.request(&ann(), &request.id).await.unwrap(), reviewed.request);
        reviewed.grant.unwrap().terms.reveals
    };
    assert_eq!(reveals(approval(), approval()).await, ["iban", "card"]);
    assert_eq!(reveals(only(&["iban"]), approval()).await, ["iban"]);
    assert_eq!(reveals(only(&["iban"]), only(&["card", "iban"])).await, ["iban"]);
    assert_eq!(reveals(only(&["iban"]), only(&["card"])).await, Vec::<String>::new());
    assert_eq!(reveals(approval(), only(&[])).await, Vec::<String>::new());
}
