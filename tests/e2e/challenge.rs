//! Refused, with everything that is needed to ask.

use anyhow::Result;
use grantmesh_tests::{ALICE, Api, LEA, MALLORY, Reply, Setup, member, play, text};
use reqwest::Method;
use serde_json::{Value, json};

fn reasons(problem: &Value) -> Vec<&str> {
    let reasons = problem["reasons"].as_array().map(Vec::as_slice).unwrap_or_default();
    reasons.iter().filter_map(|reason| reason["code"].as_str()).collect()
}

fn refused(reply: &Reply) -> Result<Value> {
    reply.problem(403)?;
    reply.json()
}

#[test]
fn a_refusal_says_why_and_its_url_files_the_very_request() {
    play(Setup::default(), async |mesh| {
        let problem = refused(&mesh.refund("acc-42").await?)?;
        assert_eq!(reasons(&problem), ["no_role", "may_ask"], "{problem}");
        assert_eq!(problem["decision"], "ask");
        assert_eq!(problem["service"], "payments");
        assert_eq!(problem["action"], "refund.create");
        assert_eq!(problem["resource"], "account/acc-42");
        assert_eq!(problem["rules"], json!(["refund-by-support"]));
        assert!(text(&problem, "/type")?.starts_with("urn:grantmesh:problem:"));
        assert!(!text(&problem, "/title")?.is_empty() && !text(&problem, "/decision_id")?.is_empty());

        let alice = mesh.control_plane.api(&ALICE).await?;
        let prefilled = alice.get(text(&problem, "/request_url")?).await?.expect(200)?;
        let mut body = member(&prefilled, "/body")?.clone();
        assert_eq!(body["resource"], "account/acc-42");
        body["justification"] = json!("the customer was charged twice");
        let request = alice.post(text(&prefilled, "/post")?, &body).await?.expect(201)?;
        assert_eq!((text(&request, "/state")?, text(&request, "/resource")?), ("pending", "account/acc-42"));
        assert_eq!(text(&request, "/requester/subject")?, "alice");

        assert_eq!(mesh.upstream.count(), 0, "nothing got through: {:?}", mesh.upstream.served());
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn only_those_whom_a_rule_names_may_ask() {
    play(Setup::default(), async |mesh| {
        for person in [&MALLORY, &LEA] {
            let problem = refused(&mesh.call(person, Method::POST, "/v1/accounts/acc-42/refunds").await?)?;
            assert_eq!(reasons(&problem), ["no_role", "not_eligible"], "{problem}");
            assert_eq!(problem["decision"], "deny");
            assert_eq!(problem.get("request_url"), None);
        }
        let stranger = mesh.control_plane.api(&MALLORY).await?;
        let url = "/v1/requests/new?service=payments&action=refund.create&resource=account%2Facc-42";
        stranger.get(url).await?.problem(404)?;
        Ok(())
    });
}

#[test]
fn who_has_no_token_or_a_bad_one_is_refused() {
    play(Setup::default(), async |mesh| {
        let alice = mesh.control_plane.token(&ALICE).await?;
        let (head, signature) = alice.rsplit_once('.').unwrap_or_default();
        let forged: String = signature.chars().rev().collect();
        let wrong_audience = mesh.control_plane.token_with(&ALICE, &["--audience", "somebody-else"]).await?;
        let bad = [
            ("no token", None),
            ("forged", Some(format!("{head}.{forged}"))),
            ("wrong audience", Some(wrong_audience)),
        ];
        for (what, token) in bad {
            let caller = Api::new(&mesh.envoy()?.url(), token.clone())?;
            let reply = caller.get("/v1/accounts/acc-42").await?;
            assert!([401, 403].contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
            let caller = Api::new(&mesh.control_plane.url(), token)?;
            assert_eq!(caller.get("/v1/requests").await?.problem(401)?, "bad_token", "{what}");
        }
        let served = mesh.call(&ALICE, Method::GET, "/v1/accounts/acc-42").await?;
        assert_eq!(served.status, 200, "with a good token it is served");
        assert_eq!(mesh.upstream.count(), 1);
        Ok(())
    });
}
