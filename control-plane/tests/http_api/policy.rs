//! `/v1/policy`: checked, applied over what was expected, shown, and proven at every filter.

use std::sync::Arc;

use grantmesh_shared::wire::sync::Change;
use serde_json::{Value, json};

use super::filters::{applied, load, question, sync};
use super::server::{ALICE, LEA, MALLORY, OLAF, POLICY, Server};

fn files(text: &str) -> Value {
    json!({ "files": [{ "name": "p.yaml", "text": text }] })
}

#[tokio::test]
async fn a_policy_is_checked_applied_and_shown() {
    let server = Server::start().await;
    let reply = server.get(OLAF, "/v1/policy").await;
    let (tag, policy) = (reply.headers["etag"].to_str().unwrap().to_owned(), reply.expect(200));
    assert_eq!((&policy["services"], &policy["previous"]), (&json!(["payments"]), &Value::Null));
    assert_eq!(json!(tag.trim_matches('"')), policy["id"]);
    let broken = files(&POLICY.replace("refund.list]", "refund.lst]"));
    let faults = server.post(MALLORY, "/v1/policy/check", &broken).await.expect(200);
    assert_eq!(faults["faults"][0]["file"], "p.yaml");
    let refused = server.apply(OLAF, ("if-match", "*"), &broken).await.problem(422, "policy_invalid");
    assert!(refused["reasons"][0]["detail"].as_str().unwrap().starts_with("p.yaml:"), "{refused}");

    // The same content, wherever it stands, is there already.
    let same = files(&format!("# moved\n{POLICY}"));
    let checked = server.post(MALLORY, "/v1/policy/check", &same).await.expect(200);
    assert_eq!(checked["digest"], policy["digest"]);
    let again = server.apply(OLAF, ("if-match", &tag), &same).await.expect(200);
    assert_eq!((&again["changed"], &again["policy"]["id"]), (&json!(false), &policy["id"]));

    let mut new = files(&POLICY.replace("maxDuration: 1h", "maxDuration: 2h"));
    new["message"] = json!("longer");
    server.post(OLAF, "/v1/policy", &new).await.problem(428, "precondition_required");
    server.apply(OLAF, ("if-match", "p1"), &new).await.problem(400, "bad_value");
    server.apply(LEA, ("if-match", &tag), &new).await.problem(403, "not_operator");
    let reply = server.apply(OLAF, ("if-match", &tag), &new).await;
    let (next, applied) = (reply.headers["etag"].to_str().unwrap().to_owned(), reply.expect(201));
    assert_eq!((&applied["changed"], &applied["policy"]["previous"]), (&json!(true), &policy["id"]));
    assert_ne!(applied["policy"]["digest"], policy["digest"]);

    // Who did not see that is told what changed.
    let other = files(&POLICY.replace("maxDuration: 1h", "maxDuration: 3h"));
    let refused = server.apply(OLAF, ("if-match", &tag), &other).await.problem(412, "policy_changed");
    assert_eq!(refused["reasons"][0]["code"], "changed");
    let detail = refused["reasons"][0]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("changed: rule payments refund-by-support\n") && detail.contains("maxDuration"),
        "{detail}"
    );
    assert!(refused["detail"].as_str().unwrap().contains("applied by `olaf`"), "{refused}");
    server.apply(OLAF, ("if-none-match", "*"), &other).await.problem(412, "policy_changed");
    server.apply(OLAF, ("if-match", &next), &other).await.expect(201);

    let history = server.get(OLAF, "/v1/policy/versions?limit=2").await.expect(200);
    assert_eq!(
        (&history["items"][1]["id"], &history["items"][1]["message"]),
        (&applied["policy"]["id"], &json!("longer"))
    );
    assert_eq!(history["items"][0]["files"], Value::Null);
    let cursor = history["next_cursor"].as_str().unwrap();
    let oldest = server.get(OLAF, &format!("/v1/policy/versions?cursor={cursor}")).await.expect(200);
    assert_eq!(oldest["items"][0]["id"], policy["id"]);
    let shown = server.get(OLAF, &format!("/v1/policy/versions/{}", policy["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(shown, policy);
    assert_eq!(server.get(OLAF, &format!("/v1/policy?revision={}", policy["revision"])).await.expect(200), policy);
    server.get(OLAF, "/v1/policy?revision=0").await.problem(404, "not_found");
    server.get(OLAF, "/v1/policy/versions/nonsense").await.problem(404, "not_found");
    for path in ["/v1/policy", "/v1/policy/versions", "/v1/policy/versions/policy_00000000000000000000000000"] {
        server.get(ALICE, path).await.problem(403, "not_auditor");
    }
}

#[tokio::test]
async fn only_a_few_policies_are_checked_at_once() {
    let server = Server::start().await;
    let tool = |at: usize| format!("  - {{name: t{at}, method: POST, path: /mcp, mcpTool: t{at}, body: strict}}\n");
    let tools: String = (0..2_000).map(tool).collect();
    let costly = files(&format!(
        "apiVersion: grantmesh.dev/v1\nkind: Service\nmetadata: {{ name: s }}\nspec:\n  actions:\n{tools}"
    ));
    let checks = (0..6).map(|_| server.post(ALICE, "/v1/policy/check", &costly));
    let (mut done, mut busy) = (0, 0);
    for reply in futures_util::future::join_all(checks).await {
        if reply.status == 200 {
            done += 1;
        } else {
            reply.problem(429, "busy");
            assert_eq!(reply.headers["retry-after"], "1");
            busy += 1;
        }
    }
    assert!(done >= 2 && busy > 0, "{done} checked, {busy} refused");
    server.post(ALICE, "/v1/policy/check", &costly).await.expect(200);
}

#[tokio::test]
async fn a_policy_is_proven_at_every_filter() {
    let server = Arc::new(Server::start().await);
    let known = load(&server, 1).await;
    let new = |wait: &str| {
        let mut new = files(&POLICY.replace("group:support", "group:helpers"));
        new["wait"] = json!(wait);
        new
    };
    server.apply(OLAF, ("if-match", "*"), &new("11m")).await.problem(400, "bad_value");
    let waiting = tokio::spawn({
        let (server, new) = (Arc::clone(&server), new("60s"));
        async move { server.apply(OLAF, ("if-match", "*"), &new).await.expect(201) }
    });
    let told = sync(&server, &question(1, known, 30_000)).await;
    let Change::Delta { puts, .. } = &told.change else { panic!("{told:?}") };
    assert_eq!(puts[0].key, "service/payments");
    assert!(!waiting.is_finished(), "the filter has not acknowledged");
    sync(&server, &question(1, applied(&told), 0)).await;
    let answer = waiting.await.unwrap();
    assert_eq!(
        (&answer["arrival"]["complete"], &answer["arrival"]["filters"][0]["state"]),
        (&json!(true), &json!("acknowledged"))
    );
    // Applied again: nothing to do, and it is proven all the same.
    let again = server.apply(OLAF, ("if-match", "*"), &new("60s")).await.expect(200);
    assert_eq!((&again["changed"], &again["arrival"]["complete"]), (&json!(false), &json!(true)));
}

#[tokio::test]
async fn a_policy_of_several_megabytes_is_applied() {
    let server = Server::start().await;
    let file = |at: usize| {
        let rule = |number: usize| {
            format!(
                "apiVersion: grantmesh.dev/v1\nkind: DenyRule\nmetadata: {{ name: d{at}-{number} }}\nspec:\n  description: {}\n  \
                 service: payments\n  actions: [refund.create]\n  subjects: [\"user:u{number}\"]\n  reason: not here\n---\n",
                "x".repeat(8_000)
            )
        };
        json!({ "name": format!("{at}.yaml"), "text": (0..100).map(rule).collect::<String>() })
    };
    let mut files: Vec<Value> = (0..4).map(file).collect();
    files.push(json!({ "name": "p.yaml", "text": POLICY }));
    let applied = server.apply(OLAF, ("if-match", "*"), &json!({ "files": files })).await.expect(201);
    let shown = server.get(OLAF, "/v1/policy").await.expect(200);
    assert_eq!((&shown["id"], shown["files"].as_array().map(Vec::len)), (&applied["policy"]["id"], Some(5)));
    assert!(shown.to_string().len() > 3 << 20);
}
