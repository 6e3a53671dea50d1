//! Asked for and decided, by the command line and by the API: who may do what, and what is said to those who may not.

use anyhow::Result;
use grantmesh_tests::{ALICE, BOB, Database, LEA, MALLORY, Mesh, OLAF, Setup, play, text};
use reqwest::Method;
use serde_json::json;

const ASK: [&str; 10] = [
    "request",
    "--service",
    "payments",
    "--action",
    "refund.create",
    "--resource",
    "account/acc-42",
    "--justification",
    "the customer was charged twice",
    "--json",
];

#[test]
fn a_request_is_decided_once_by_somebody_who_may() {
    play(Setup { envoy: false, ..Setup::default() }, decided_once);
}

#[test]
fn a_request_is_decided_once_by_somebody_who_may_on_postgres() {
    play(Setup { envoy: false, database: Database::Postgres, ..Setup::default() }, decided_once);
}

async fn decided_once(mesh: &mut Mesh) -> Result<()> {
    let grantmesh = &mesh.control_plane;
    let request = grantmesh.cli(&ALICE, &ASK).await?.json()?;
    let id = text(&request, "/id")?;
    assert_eq!(request["state"], "pending");
    assert_eq!(request["duration"], "15m", "the rule's default");

    let own = grantmesh.cli(&ALICE, &["approve", id]).await?;
    assert_eq!(own.code, 1, "{own:?}");
    assert!(own.err.contains("self_approval") || own.err.contains("own request"), "{own:?}");
    let review = json!({ "verdict": "approve", "reason": "me too" });
    let reviews = format!("/v1/requests/{id}/reviews");
    assert_eq!(grantmesh.api(&ALICE).await?.review(&reviews, &review).await?.problem(403)?, "self_approval");

    // A stranger does not even learn that it exists: the answer is that for an id that nobody has.
    let nobodys = "/v1/requests/req_00000000000000000000000000";
    for stranger in [&MALLORY, &BOB] {
        let api = grantmesh.api(stranger).await?;
        let forbidden = api.get(&format!("/v1/requests/{id}")).await?;
        let unknown = api.get(nobodys).await?;
        assert_eq!(forbidden.problem(404)?, unknown.problem(404)?);
        assert_eq!(forbidden.text().replace(id, ""), unknown.text().replace("req_00000000000000000000000000", ""));
        api.review(&reviews, &review).await?.problem(404)?;
        assert_eq!(api.get("/v1/requests").await?.expect(200)?["items"], json!([]));
    }

    let listed = grantmesh.cli(&LEA, &["requests", "--state", "pending", "--json"]).await?.success()?.to_owned();
    assert!(listed.contains(id), "the reviewer sees it: {listed}");
    grantmesh.cli(&LEA, &["approve", id, "--reason", "seen the ticket"]).await?.success()?;
    let decided = grantmesh.api(&ALICE).await?.get(&format!("/v1/requests/{id}")).await?.expect(200)?;
    assert_eq!(decided["state"], "approved");
    assert_eq!(text(&decided, "/reviews/0/reviewer/subject")?, "lea");
    assert!(text(&decided, "/grant")?.starts_with("grant_"));

    assert_eq!(grantmesh.api(&LEA).await?.review(&reviews, &review).await?.problem(409)?, "already_decided");
    let again = grantmesh.cli(&LEA, &["deny", id, "--reason", "changed my mind"]).await?;
    assert_eq!(again.code, 1, "{again:?}");
    Ok(())
}

#[test]
fn a_request_may_be_denied_or_withdrawn_and_is_never_reopened() {
    play(Setup { envoy: false, ..Setup::default() }, async |mesh| {
        let grantmesh = &mesh.control_plane;
        let (denied, withdrawn) = (mesh.ask("acc-1", "10m").await?, mesh.ask("acc-2", "10m").await?);
        let (denied, withdrawn) = (text(&denied, "/id")?, text(&withdrawn, "/id")?);
        grantmesh.cli(&LEA, &["deny", denied, "--reason", "no ticket"]).await?.success()?;
        assert_ne!(grantmesh.cli(&LEA, &["withdraw", withdrawn]).await?.code, 0, "only the requester withdraws");
        grantmesh.cli(&ALICE, &["withdraw", withdrawn]).await?.success()?;
        for (id, state) in [(denied, "denied"), (withdrawn, "withdrawn")] {
            let api = grantmesh.api(&LEA).await?;
            let reviews = format!("/v1/requests/{id}/reviews");
            assert_eq!(
                api.review(&reviews, &json!({ "verdict": "approve", "reason": "late" })).await?.problem(409)?,
                "already_decided"
            );
            assert_eq!(api.get(&format!("/v1/requests/{id}")).await?.expect(200)?["state"], state);
        }
        assert_eq!(grantmesh.api(&ALICE).await?.get("/v1/grants").await?.expect(200)?["items"], json!([]));
        Ok(())
    });
}

#[test]
fn what_breaks_a_rule_is_refused_with_the_rule() {
    play(Setup { envoy: false, ..Setup::default() }, async |mesh| {
        let good = json!({
            "service": "payments", "action": "refund.create", "resource": "account/acc-42",
            "justification": "the customer was charged twice", "duration": "15m",
        });
        let with = |name: &str, value: &str| {
            let mut body = good.clone();
            body[name] = json!(value);
            body
        };
        let alice = mesh.control_plane.api(&ALICE).await?;
        for (body, status, code) in [
            (with("duration", "2h"), 422, "duration_over_maximum"),
            (with("justification", ""), 422, "justification_required"),
            (with("action", "account.read"), 422, "not_eligible"),
        ] {
            assert_eq!(alice.post("/v1/requests", &body).await?.problem(status)?, code, "{body}");
        }
        for body in [with("duration", "soon"), with("hurry", "yes")] {
            alice.post("/v1/requests", &body).await?.problem(400)?;
        }
        assert_eq!(
            mesh.control_plane.api(&MALLORY).await?.post("/v1/requests", &good).await?.problem(422)?,
            "not_eligible"
        );
        assert_eq!(alice.get("/v1/requests").await?.expect(200)?["items"], json!([]), "nothing was filed");

        // The policy is the operator's, and a broken one changes nothing.
        let api = mesh.control_plane.api(&OLAF).await?;
        let before = api.get("/v1/policy").await?.expect(200)?;
        let broken = std::fs::read_to_string(grantmesh_tests::PAYMENTS)?.replace("refund.list]", "refund.lst]");
        let file = mesh.folder().join("broken.yaml");
        std::fs::write(&file, broken)?;
        let refused = mesh.control_plane.cli(&OLAF, &["policy", "apply", &file.display().to_string()]).await?;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused.err.contains("broken.yaml:") && refused.err.contains("refund.list"),
            "file, line and what was meant: {refused:?}"
        );
        assert_ne!(mesh.control_plane.cli(&ALICE, &["policy", "apply", grantmesh_tests::PAYMENTS]).await?.code, 0);
        assert_eq!(api.get("/v1/policy").await?.expect(200)?["id"], before["id"]);
        Ok(())
    });
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    play(Setup { envoy: false, ..Setup::default() }, async |mesh| {
        let client = reqwest::Client::new();
        let token = mesh.control_plane.token(&ALICE).await?;
        let body = json!({
            "service": "payments", "method": "POST", "path": "/v1/accounts/acc-42/refunds",
            "justification": "the customer was charged twice",
        });
        let mut ids = Vec::new();
        for _ in 0..2 {
            let url = format!("{}/v1/requests", mesh.control_plane.url());
            let sent =
                client.post(url).bearer_auth(&token).header("idempotency-key", "once").json(&body).send().await?;
            assert!(sent.status().is_success(), "{}", sent.status());
            let request: serde_json::Value = serde_json::from_slice(&sent.bytes().await?)?;
            assert_eq!(request["resource"], "account/acc-42");
            ids.push(text(&request, "/id")?.to_owned());
        }
        assert_eq!(ids[0], ids[1], "one key, one request");
        Ok(())
    });
}

#[test]
fn a_body_that_cannot_be_read_is_refused_with_its_place() {
    play(Setup { envoy: false, ..Setup::default() }, async |mesh| {
        let alice = mesh.control_plane.api(&ALICE).await?;
        let file = async |body: &[u8]| alice.send_bytes(Method::POST, "/v1/requests", Some(body.to_vec())).await;
        for body in [&b"{\n  \"service\": \"payments\",\n  oops\n}"[..], b"{", b"[]", b"\xff", b""] {
            let reply = file(body).await?;
            reply.problem(400)?;
            assert!(text(&reply.json()?, "/detail")?.contains("line"), "it says where: {}", reply.text());
        }
        assert!(
            text(&file(b"{\n  \"service\": \"payments\",\n  oops\n}").await?.json()?, "/detail")?.contains("line 3")
        );
        file(&[b' '; 65 * 1024]).await?.problem(413)?;

        let olaf = mesh.control_plane.api(&OLAF).await?;
        let large = json!({ "files": [{ "name": "policy.yaml", "text": "#".repeat(16 * 1024 * 1024) }] }).to_string();
        olaf.send_bytes(Method::POST, "/v1/policy", Some(large.into_bytes())).await?.problem(413)?;
        for path in [
            "/v1/requests/nonsense",
            "/v1/requests/req_00000000000000000000000000",
            "/v1/grants/req_00000000000000000000000000",
        ] {
            alice.get(path).await?.problem(404)?;
        }
        alice.get("/v1/requests?state=sleepy").await?.problem(400)?;
        Ok(())
    });
}
