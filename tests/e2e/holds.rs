//! A refused call that waits in the proxy while people decide: it goes on with its approval, is answered with its denial or
//! when its time is over, and nobody is asked for a caller who went away.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use grantmesh_tests::{
    ALICE, Api, Bodies, Database, LEA, Mesh, OLAF, PATIENCE, Reply, Setup, entries, play, text, until,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/holds.yaml");

fn setup() -> Setup {
    Setup { policy: POLICY, bodies: Bodies::Strict, ..Setup::default() }
}

/// A call that may wait, under way.
fn sent(caller: &Api, path: &str, body: Option<Value>) -> Result<JoinHandle<Result<Reply>>> {
    let (caller, path) = (caller.reconnected()?, path.to_owned());
    Ok(tokio::spawn(async move { caller.send(Method::POST, &path, body.as_ref()).await }))
}

/// The requests that Lea sees in this state, once there are so many.
async fn requests(mesh: &Mesh, state: &str, count: usize) -> Result<Vec<Value>> {
    let (lea, path) = (mesh.control_plane.api(&LEA).await?, format!("/v1/requests?state={state}"));
    until(&format!("{count} requests are {state}"), PATIENCE, async || {
        let listed = lea.get(&path).await?.expect(200)?["items"].take();
        let listed = listed.as_array().context("no list")?.clone();
        ensure!(listed.len() <= count, "more than {count} requests are {state}: {listed:?}");
        Ok((listed.len() == count).then_some(listed))
    })
    .await
}

async fn the_request(mesh: &Mesh) -> Result<Value> {
    requests(mesh, "pending", 1).await?.pop().context("no request")
}

fn codes(problem: &Value) -> Vec<&str> {
    problem["reasons"].as_array().into_iter().flatten().filter_map(|reason| reason["code"].as_str()).collect()
}

#[test]
fn a_call_waits_for_its_approval_and_goes_on() {
    play(setup(), approved);
}

#[test]
fn a_call_waits_for_its_approval_and_goes_on_over_postgres() {
    play(Setup { database: Database::Postgres, ..setup() }, approved);
}

async fn approved(mesh: &mut Mesh) -> Result<()> {
    let why = "the%20customer%20waits";
    let alice = mesh.caller(&ALICE).await?.carrying("x-grantmesh-justification", why)?;
    let body = json!({ "amount": 250.00, "to": "acc-7" });
    let waiting = sent(&alice, "/v1/transfers/acc-42?fast=1", Some(body.clone()))?;
    let request = the_request(mesh).await?;
    assert_eq!((&request["justification"], &request["rule"]), (&json!("the customer waits"), &json!("transfers")));
    assert_eq!(request["call"]["target"], "/v1/transfers/acc-42?fast=1");
    assert_eq!(request["requester"]["subject"], "alice");
    let id = text(&request, "/id")?.to_owned();
    let shown = mesh.control_plane.cli(&LEA, &["request", "show", &id]).await?.success()?.to_owned();
    assert!(shown.contains("a call waits for it at"), "{shown}");
    assert!(!waiting.is_finished() && mesh.upstream.count() == 0, "nothing of it has gone on");

    mesh.approve(&request).await?;
    let reply = waiting.await??;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let served = mesh.upstream.served();
    assert_eq!((served.len(), served[0].body.as_slice()), (1, body.to_string().as_bytes()));

    // The same call goes on at once now; another one is another request.
    let again = sent(&alice, "/v1/transfers/acc-42?fast=1", Some(body))?.await??;
    assert_eq!(again.status, 200);
    let other = sent(&alice, "/v1/transfers/acc-42?fast=1", Some(json!({ "amount": 251 })))?;
    let second = the_request(mesh).await?;
    assert_ne!(second["id"], request["id"]);
    mesh.approve(&second).await?;
    assert_eq!(other.await??.status, 200);

    // One decision from its beginning to its end: it was held, and then it allowed.
    let log = until("the log has it all", PATIENCE, async || {
        let log = entries(&mesh.control_plane.api(&OLAF).await?).await?;
        let began = log.iter().find(|entry| entry["kind"] == "hold.began" && entry["ids"]["request"] == id.as_str());
        let decision = began.context("no hold")?["ids"]["decision"].clone();
        let of = log.iter().filter(|entry| entry["ids"]["decision"] == decision);
        let kinds: Vec<String> = of.filter_map(|entry| entry["kind"].as_str()).map(str::to_owned).collect();
        Ok((kinds.len() == 3).then_some((kinds, log.clone(), decision)))
    })
    .await?;
    let (mut kinds, log, decision) = log;
    kinds.sort();
    assert_eq!(kinds, ["decision", "hold.began", "hold.ended"]);
    let allowed = log.iter().find(|entry| entry["kind"] == "decision" && entry["ids"]["decision"] == decision);
    assert_eq!(allowed.context("no decision")?["data"]["record"]["event"]["decision"], "allow");
    assert!(mesh.envoy()?.stat("grantmesh.holds.result=.=approved").await? >= 2);
    mesh.envoy()?.filter_is_unharmed().await
}

#[test]
fn a_critical_call_that_is_counted_waits_for_one_thing_after_another() {
    play(setup(), async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        let waiting = sent(&alice, "/v1/payouts/p-1", None)?;
        let request = the_request(mesh).await?;
        mesh.approve(&request).await?;
        assert_eq!(waiting.await??.status, 200);
        // Its one use is taken: the next asks anew.
        let waiting = sent(&alice, "/v1/payouts/p-1", None)?;
        let next = the_request(mesh).await?;
        assert_ne!(next["id"], request["id"]);
        mesh.control_plane.cli(&LEA, &["deny", text(&next, "/id")?, "--reason", "once is enough"]).await?.success()?;
        assert_eq!(waiting.await??.status, 403);
        assert_eq!(mesh.upstream.count(), 1);
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_call_that_waits_in_vain_is_told_how_it_stands() {
    play(setup(), async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        let waiting = sent(&alice, "/v1/transfers/acc-1", Some(json!({ "amount": 1 })))?;
        let request = the_request(mesh).await?;
        let id = text(&request, "/id")?.to_owned();
        mesh.control_plane.cli(&LEA, &["deny", &id, "--reason", "not today"]).await?.success()?;
        let problem = waiting.await??.expect(403)?;
        assert_eq!((&problem["decision"], &problem["request"]), (&json!("ask"), &json!(id)));
        assert_eq!(codes(&problem), ["no_role", "may_ask", "hold_denied"]);
        assert!(problem["request_url"].is_string() && problem["bound"].is_object(), "{problem}");

        // Nobody decides within two seconds: the call is answered, the request stays, and the next call goes through.
        let problem = sent(&alice, "/v1/notes/acc-2", None)?.await??.expect(403)?;
        assert_eq!(codes(&problem), ["no_role", "may_ask", "hold_over"]);
        let request = the_request(mesh).await?;
        assert_eq!(request["id"], problem["request"]);
        let grant = mesh.approve(&request).await?;
        let alice = alice.carrying("x-grantmesh-revision", text(&grant, "/revision")?)?;
        assert_eq!(alice.send(Method::POST, "/v1/notes/acc-2", None).await?.status, 200);

        // A filter whose control plane is gone holds the call, and has nothing to show for it.
        mesh.cable.cut();
        let problem = sent(&alice, "/v1/notes/acc-3", None)?.await??.expect(403)?;
        assert_eq!(codes(&problem).last(), Some(&"hold_not_filed"), "{problem}");
        mesh.cable.mend();
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_caller_who_goes_away_leaves_nobody_with_a_question() {
    play(setup(), async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        let (one, two) = (json!({ "amount": 1 }), json!({ "amount": 1 }));
        let first = sent(&alice, "/v1/transfers/acc-1", Some(one))?;
        let request = the_request(mesh).await?;
        let second = sent(&alice, "/v1/transfers/acc-1", Some(two))?;
        let (api, path) =
            (mesh.control_plane.api(&LEA).await?, format!("/v1/requests/{}/holds", text(&request, "/id")?));
        let waiting = async |state: &str, count: usize| {
            until(&format!("{count} calls are {state}"), PATIENCE, async || {
                let holds = api.get(&path).await?.expect(200)?["holds"].take();
                let of = holds.as_array().into_iter().flatten().filter(|hold| hold["state"] == state).count();
                Ok((of == count).then_some(()))
            })
            .await
        };
        waiting("waiting", 2).await?;
        first.abort();
        waiting("gone", 1).await?;
        assert_eq!(the_request(mesh).await?["id"], request["id"], "another call waits for it");
        second.abort();
        let withdrawn = requests(mesh, "withdrawn", 1).await?;
        assert_eq!(withdrawn[0]["id"], request["id"]);
        assert_eq!(mesh.upstream.count(), 0);
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn as_many_calls_of_one_caller_are_held_as_fit() {
    play(setup(), async |mesh| {
        let alice = mesh.caller(&ALICE).await?;
        // Two workers hold eight each.
        let calls: Vec<_> = (0..24)
            .map(|_| sent(&alice, "/v1/transfers/acc-1", Some(json!({ "amount": 1 }))))
            .collect::<Result<_>>()?;
        until("the calls that do not fit are refused", PATIENCE, async || {
            Ok((calls.iter().filter(|call| call.is_finished()).count() >= 8).then_some(()))
        })
        .await?;
        mesh.approve(&the_request(mesh).await?).await?;
        let replies = join_all(calls).await.into_iter().map(|reply| reply?).collect::<Result<Vec<Reply>>>()?;
        let (held, refused): (Vec<&Reply>, Vec<&Reply>) = replies.iter().partition(|reply| reply.status == 200);
        assert!(!held.is_empty() && held.len() <= 16, "{} were held", held.len());
        for reply in refused {
            assert_eq!(codes(&reply.expect(403)?), ["no_role", "may_ask"]);
        }
        assert_eq!(requests(mesh, "approved", 1).await?.len(), 1, "one question for all of them");
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn nothing_but_the_wait_is_lost_with_a_proxy_or_a_control_plane() {
    play(setup(), async |mesh| {
        // The control plane dies while a call waits: the call still waits, and goes on.
        let alice = mesh.caller(&ALICE).await?;
        let waiting = sent(&alice, "/v1/transfers/acc-1", Some(json!({ "amount": 1 })))?;
        let request = the_request(mesh).await?;
        mesh.control_plane.kill();
        mesh.control_plane.run().await?;
        assert_eq!(the_request(mesh).await?["id"], request["id"]);
        mesh.approve(&request).await?;
        assert_eq!(waiting.await??.status, 200);

        // One that begins while there is none is filed when there is one.
        mesh.control_plane.kill();
        let waiting = sent(&alice, "/v1/transfers/acc-2", Some(json!({ "amount": 2 })))?;
        mesh.control_plane.run().await?;
        mesh.approve(&the_request(mesh).await?).await?;
        assert_eq!(waiting.await??.status, 200);

        // The proxy dies: the call is gone, the question is not, and its answer is good for the next call.
        let lost = sent(&alice, "/v1/transfers/acc-3", Some(json!({ "amount": 3 })))?;
        let request = the_request(mesh).await?;
        mesh.kill_envoy();
        assert!(tokio::time::timeout(Duration::from_secs(10), lost).await??.is_err(), "its connection is cut");
        let grant = mesh.approve(&request).await?;
        mesh.start_envoy().await?;
        let alice = mesh.caller(&ALICE).await?.carrying("x-grantmesh-revision", text(&grant, "/revision")?)?;
        until("the new proxy lets the call through", PATIENCE, async || {
            let call = json!({ "amount": 3 });
            let reply = alice.reconnected()?.send(Method::POST, "/v1/transfers/acc-3", Some(&call)).await?;
            Ok((reply.status == 200).then_some(()))
        })
        .await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}
