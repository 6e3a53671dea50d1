//! Reviews in somebody else's place, over the API and the command line.

use serde_json::json;

use super::cli::Story;
use super::server::{ALICE, LEA, LEO, MALLORY, OLAF, Server};

#[tokio::test]
async fn reviews_are_delegated_and_both_names_are_told() {
    let server = Server::start().await;
    let body = json!({ "to": "mallory", "service": "payments", "reason": "on leave", "duration": "48h" });
    for (more, status, code) in [
        (json!({ "duration": null }), 400, "bad_value"),
        (json!({ "ends_at": "2027-01-16T08:00:00Z" }), 400, "bad_value"),
        (json!({ "starts_at": "soon" }), 400, "bad_value"),
        (json!({ "duration": "721h" }), 422, "duration_over_maximum"),
        (json!({ "service": "none" }), 422, "unknown_target"),
        (json!({ "to": "group:support" }), 422, "bad_subject"),
        (json!({ "to": "lea" }), 403, "self_delegation"),
    ] {
        let mut body = body.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.post(LEA, "/v1/delegations", &body).await.problem(status, code);
    }
    server
        .post(MALLORY, "/v1/delegations", &json!({ "to": "leo", "reason": "x", "duration": "1h" }))
        .await
        .problem(403, "nothing_to_delegate");
    let given = server.post(LEA, "/v1/delegations", &body).await.expect(201);
    assert_eq!((&given["state"], &given["ends_at"]), (&json!("active"), &json!("2027-01-17T08:00:00Z")));
    for who in [LEA, MALLORY, OLAF] {
        assert_eq!(server.get(who, "/v1/delegations").await.expect(200)["items"], json!([given]), "{who:?}");
    }
    assert_eq!(server.get(LEO, "/v1/delegations").await.expect(200)["items"], json!([]));

    let request = server.request().await;
    let listed = server.get(MALLORY, "/v1/requests?state=pending").await.expect(200);
    assert_eq!(listed["items"][0]["id"], json!(request));
    let path = format!("/v1/requests/{request}/reviews");
    let of = |name: &str| json!({ "verdict": "approve", "on_behalf_of": name });
    server.review(MALLORY, &path, &of("leo")).await.problem(403, "no_delegation");
    let reviewed = server.review(MALLORY, &path, &of("lea")).await.expect(201);
    let review = &reviewed["request"]["reviews"][0];
    assert_eq!(
        (&review["reviewer"]["subject"], &review["on_behalf_of"]["subject"]),
        (&json!("mallory"), &json!("lea"))
    );
    assert_eq!(reviewed["grant"]["state"], "active");

    let end = format!("/v1/delegations/{}/end", given["id"].as_str().unwrap());
    server.post(LEO, &end, &json!({})).await.problem(404, "not_found");
    let ended = server.post(MALLORY, &end, &json!({})).await.expect(200);
    assert_eq!((&ended["state"], &ended["ended_by"]["subject"]), (&json!("ended"), &json!("mallory")));
    server.post(LEA, &end, &json!({})).await.problem(409, "already_ended");
    let current = server.get(LEA, "/v1/delegations?current=true").await.expect(200);
    assert_eq!(current["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_delegates() {
    let story = Story::with(Server::start().await).await;
    assert!(story.say(LEA, "delegations").await.err.contains("no delegations"));
    let given = story.say(LEA, "delegate --to mallory --until 2027-01-16T08:00:00Z --service payments --rule refund-by-support --reason on_leave").await.fine();
    assert!(given.contains("is active"), "{given}");
    assert!(given.contains("mallory reviews refund-by-support of payments in the place of lea"), "{given}");
    assert!(story.say(MALLORY, "delegations").await.fine().contains("on leave"));
    let ask = "request --service payments --action refund.create --resource account/acc-42 --justification why";
    let asked = story.say(ALICE, ask).await.fine();
    let id = asked.split(' ').next().unwrap().replace('_', "~");
    let other = story.say(MALLORY, &format!("approve {id} --on-behalf-of leo")).await;
    assert!(other.code != 0 && other.err.contains("no_delegation"), "{other:?}");
    story.say(MALLORY, &format!("approve {id} --on-behalf-of lea")).await.fine();
    let shown = story.say(ALICE, &format!("request show {id}")).await.fine();
    assert!(shown.contains("approve by mallory on behalf of lea"), "{shown}");
    let delegation = given.split(' ').next().unwrap().replace('_', "~");
    assert!(story.say(LEA, &format!("delegations end {delegation}")).await.fine().contains("is ended"));
    assert!(story.say(LEA, "delegations --all --mine").await.fine().contains("ended"));
    assert!(
        story
            .say(LEA, "delegate --to leo --for 48h --from 2027-01-15T10:00:00Z --reason later")
            .await
            .fine()
            .contains("is scheduled")
    );
    let neither = story.say(LEA, "delegate --to mallory --reason on_leave").await;
    assert_eq!(neither.code, 2, "{neither:?}");
}
