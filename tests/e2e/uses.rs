//! A grant for a number of calls: no more than that many arrive at the service, whatever fails, retries or asks at once,
//! and each has its outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{
    ALICE, ANSWER, Api, Bodies, Database, Mesh, OLAF, PATIENCE, Setup, Weather, entries, play, proof_size, text, until,
    until_every,
};
use reqwest::Method;
use serde_json::{Value, json};

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/uses.yaml");

/// The route tries again whatever failed.
fn retries(config: &mut Value, _: &Path) {
    let route = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0/route";
    config.pointer_mut(route).expect("a route")["retry_policy"] = json!({
        "retry_on": "5xx,reset,connect-failure,retriable-4xx", "num_retries": 3,
        "retry_back_off": { "base_interval": "0.005s" },
    });
}

fn setup() -> Setup {
    Setup { policy: POLICY, bodies: Bodies::HeadFirst, change: retries, ..Setup::default() }
}

/// Alice's grant for so many payouts of this name.
async fn granted(mesh: &Mesh, payout: &str, uses: u32) -> Result<Value> {
    let ask = json!({
        "service": "payments", "action": "payout.create", "resource": format!("payout/{payout}"),
        "justification": "the customer waits", "uses": uses,
    });
    let request = mesh.control_plane.api(&ALICE).await?.post("/v1/requests", &ask).await?.expect(201)?;
    mesh.approve(&request).await
}

/// Alice with the token of an approval, so that no filter that is behind refuses her.
async fn caller(mesh: &mut Mesh, grant: &Value) -> Result<Api> {
    mesh.caller(&ALICE).await?.carrying("x-grantmesh-revision", text(grant, "/revision")?)
}

async fn payout(caller: &Api, payout: &str) -> Result<grantmesh_tests::Reply> {
    caller.reconnected()?.send(Method::POST, &format!("/v1/payouts/{payout}"), None).await
}

/// The uses of a grant once each has its outcome.
async fn told(mesh: &Mesh, grant: &Value, count: usize) -> Result<Vec<Value>> {
    let (api, path) = (mesh.control_plane.api(&ALICE).await?, format!("/v1/grants/{}/uses", text(grant, "/id")?));
    until("every use has its outcome", PATIENCE, async || {
        let uses = api.get(&path).await?.expect(200)?["uses"].take();
        let uses = uses.as_array().context("no list")?.clone();
        Ok((uses.len() == count && uses.iter().all(|taken| taken["told_at"].is_string())).then_some(uses))
    })
    .await
}

#[test]
fn as_many_calls_go_through_as_were_approved() {
    play(setup(), counted);
}

#[test]
fn as_many_calls_go_through_as_were_approved_on_postgres() {
    play(Setup { database: Database::Postgres, ..setup() }, counted);
}

async fn counted(mesh: &mut Mesh) -> Result<()> {
    let alice = mesh.caller(&ALICE).await?;
    let refused = payout(&alice, "p-1").await?.expect(403)?;
    assert_eq!(refused["decision"], "ask");
    let url = text(&refused, "/request_url")?;
    let ask = ["request", "--from-url", url, "--justification", "the customer waits", "--uses", "2", "--json"];
    let request = mesh.control_plane.cli(&ALICE, &ask).await?.json()?;
    assert_eq!(request["uses"], 2);
    let grant = mesh.approve(&request).await?;
    assert_eq!(grant["uses"], json!({ "allowed": 2, "claimed": 0 }));

    let alice = caller(mesh, &grant).await?;
    let before = mesh.upstream.count();
    for _ in 0..2 {
        let reply = payout(&alice.carrying("idempotency-key", "mine")?, "p-1").await?;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let third = payout(&alice, "p-1").await?.expect(403)?;
    let codes: Vec<&str> =
        third["reasons"].as_array().into_iter().flatten().filter_map(|reason| reason["code"].as_str()).collect();
    // As the filter knows it, or as the control plane told it before it did.
    let spent = codes.get(1).copied().unwrap_or_default();
    assert!(["grant_exhausted", "claim_refused"].contains(&spent), "{third}");
    assert_eq!((&third["decision"], codes), (&json!("ask"), vec!["no_role", spent, "may_ask"]));
    assert_eq!(mesh.upstream.count() - before, 2);

    // What the service was told is what the control plane knows.
    let uses = told(mesh, &grant, 2).await?;
    let keys: BTreeSet<String> = mesh.upstream.served()[before..]
        .iter()
        .map(|call| call.headers["idempotency-key"].to_str().map(str::to_owned))
        .collect::<Result<_, _>>()?;
    let ids: BTreeSet<String> =
        uses.iter().map(|taken| text(taken, "/id").map(str::to_owned)).collect::<Result<_>>()?;
    assert_eq!(keys, ids);
    for taken in &uses {
        assert_eq!((&taken["outcome"], &taken["status"]), (&json!("answered"), &json!(200)));
    }
    let (id, api) = (text(&grant, "/id")?.to_owned(), mesh.control_plane.api(&ALICE).await?);
    let after = api.get(&format!("/v1/grants/{id}")).await?.expect(200)?;
    assert_eq!((&after["state"], &after["uses"]), (&json!("exhausted"), &json!({ "allowed": 2, "claimed": 2 })));
    let table = mesh.control_plane.cli(&ALICE, &["uses", &id]).await?.success()?.to_owned();
    assert!(ids.iter().all(|id| table.contains(id)) && table.contains("answered"), "{table}");
    let table = mesh.control_plane.cli(&ALICE, &["grants"]).await?.success()?.to_owned();
    assert!(table.contains("exhausted") && table.contains("2/2"), "{table}");

    // The log has the claim, the decision and the outcome of each, under its id.
    let log = until("the log has it all", PATIENCE, async || {
        let log = entries(&mesh.control_plane.api(&OLAF).await?).await?;
        let told = |id: &String| {
            let kinds = log.iter().filter(|entry| entry["ids"]["use"] == id.as_str());
            let kinds: BTreeSet<&str> = kinds.filter_map(|entry| entry["kind"].as_str()).collect();
            kinds == BTreeSet::from(["use.claimed", "decision", "use.ended"])
        };
        Ok(ids.iter().all(told).then_some(log.clone()))
    })
    .await?;
    let claimed = log.iter().find(|entry| entry["kind"] == "use.claimed").context("no claim")?;
    assert_eq!(claimed["data"]["event"]["path"], "/v1/payouts/p-1");
    let decision = claimed["ids"]["decision"].as_str().context("no decision")?;
    assert!(log.iter().any(|entry| entry["kind"] == "decision" && entry["ids"]["decision"] == decision));
    mesh.envoy()?.filter_is_unharmed().await
}

#[test]
fn nothing_sends_a_use_twice() {
    play(setup(), async |mesh| {
        let fails = |status: u16| json!({ "status": status }).to_string();
        let alice = mesh.caller(&ALICE).await?.carrying(ANSWER, &fails(503))?;
        assert_eq!(alice.get("/v1/reports/r-1").await?.status, 503);
        assert_eq!(mesh.upstream.count(), 4, "the route tries again, as it is told to");

        let grant = granted(mesh, "p-1", 4).await?;
        let alice = caller(mesh, &grant).await?;
        for status in [503, 500, 409] {
            let asking = alice
                .carrying(ANSWER, &fails(status))?
                .carrying("x-envoy-max-retries", "9")?
                .carrying("x-envoy-retry-on", "5xx,retriable-4xx")?;
            let before = mesh.upstream.count();
            assert_eq!(payout(&asking, "p-1").await?.status, status);
            assert_eq!(mesh.upstream.count() - before, 1, "once: {status}");
        }
        // A caller that goes away while the service is at it: nobody knows.
        let silent = alice.carrying(ANSWER, &json!({ "never": true }).to_string())?;
        let before = mesh.upstream.count();
        let call = tokio::spawn(async move { payout(&silent, "p-1").await });
        until("the service has the call", PATIENCE, async || Ok((mesh.upstream.count() > before).then_some(())))
            .await?;
        call.abort();
        let uses = told(mesh, &grant, 4).await?;
        let told: Vec<_> = uses.iter().map(|taken| (taken["outcome"].clone(), taken["status"].clone())).collect();
        let expected =
            [("answered", json!(503)), ("answered", json!(500)), ("answered", json!(409)), ("unknown", Value::Null)];
        assert_eq!(told, expected.map(|(word, status)| (json!(word), status)));
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_lost_answer_loses_the_use_and_lets_nothing_through() {
    play(setup(), async |mesh| {
        let grant = granted(mesh, "p-1", 2).await?;
        let alice = caller(mesh, &grant).await?;
        mesh.cable.make(Weather::NoClaimAnswers);
        let refused = payout(&alice, "p-1").await?.expect(403)?;
        assert_eq!(text(&refused, "/reasons/0/code")?, "claim_unanswered", "{refused}");
        assert_eq!(mesh.upstream.count(), 0);
        mesh.cable.mend();
        let api = mesh.control_plane.api(&ALICE).await?;
        let path = format!("/v1/grants/{}", text(&grant, "/id")?);
        assert_eq!(api.get(&path).await?.expect(200)?["uses"], json!({ "allowed": 2, "claimed": 1 }), "it is burnt");
        let uses = api.get(&format!("{path}/uses")).await?.expect(200)?;
        assert_eq!((&uses["uses"][0]["outcome"], &uses["uses"][0]["told_at"]), (&json!("unknown"), &Value::Null));
        until("a call goes through", PATIENCE, async || Ok((payout(&alice, "p-1").await?.status == 200).then_some(())))
            .await?;
        assert_eq!(mesh.upstream.count(), 1);
        assert_eq!(payout(&alice, "p-1").await?.status, 403);

        // A use that comes for a call that is gone has been for nothing, and is told so.
        let grant = granted(mesh, "p-3", 2).await?;
        let alice = caller(mesh, &grant).await?;
        mesh.until_all_follow().await?;
        mesh.cable.make(Weather::Slow(Duration::from_secs(1)));
        let gone = alice.clone();
        let call = tokio::spawn(async move { payout(&gone, "p-3").await });
        let path = format!("/v1/grants/{}", text(&grant, "/id")?);
        until("its use is taken", PATIENCE, async || {
            Ok((api.get(&path).await?.expect(200)?["uses"]["claimed"] == 1).then_some(()))
        })
        .await?;
        call.abort();
        let uses = told(mesh, &grant, 1).await?;
        assert_eq!((&uses[0]["outcome"], &uses[0]["status"]), (&json!("unused"), &Value::Null));
        mesh.cable.mend();
        assert_eq!(mesh.upstream.count(), 1);

        // Without the control plane there are no uses at all.
        let grant = granted(mesh, "p-2", 2).await?;
        let alice = caller(mesh, &grant).await?;
        mesh.until_all_follow().await?;
        mesh.cable.cut();
        let refused = payout(&alice, "p-2").await?.expect(403)?;
        let reason = text(&refused, "/reasons/0/code")?;
        assert!(["claim_unanswered", "stale"].contains(&reason), "{refused}");
        assert_eq!(mesh.upstream.count(), 1);
        mesh.cable.mend();
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn what_cannot_be_counted_does_not_go_through() {
    play(Setup { bodies: Bodies::Unread, ..setup() }, async |mesh| {
        let grant = granted(mesh, "p-1", 2).await?;
        let alice = caller(mesh, &grant).await?;
        let refused = payout(&alice, "p-1").await?.expect(403)?;
        assert_eq!(text(&refused, "/reasons/0/code")?, "cannot_claim", "{refused}");
        assert!(refused.to_string().contains("grantmesh_filter_bodies.wasm"), "it says what to do: {refused}");
        assert_eq!(mesh.upstream.count(), 0);
        mesh.envoy()?.filter_is_unharmed().await
    });
}

/// How many entries the log has.
async fn log_size(api: &Api) -> Result<usize> {
    let page = api.get("/v1/audit/entries?from=0&limit=1").await?.expect(200)?;
    Ok(usize::try_from(page["size"].as_u64().context("no size")?)?)
}

/// What the callers at once share.
#[derive(Debug)]
struct Rush {
    /// The names of the payouts, each with a grant for as many calls.
    payouts: Vec<(String, u32)>,
    next: AtomicUsize,
    over: AtomicBool,
}

/// Many callers over many proxies, and a control plane that is killed again and again: the service never has more calls
/// than were approved.
#[test]
fn proof_of_no_more_uses_than_approved() {
    play(setup(), async |mesh| {
        let (proxies, callers) = (proof_size(2, 8), proof_size(12, 64));
        let (grants, kills) = (proof_size(40, 2_000), proof_size(4, 20));
        let mut others = Vec::new();
        for number in 1..proxies {
            others.push(mesh.another_envoy(&format!("envoy-{number}")).await?);
        }
        let mut payouts = Vec::new();
        let mut last = Value::Null;
        for number in 0..grants {
            let (name, uses) = (format!("p-{number}"), if number % 4 == 3 { 2 } else { 1 });
            last = granted(mesh, &name, uses).await?;
            payouts.push((name, uses));
        }
        let rush = Arc::new(Rush { payouts, next: AtomicUsize::new(0), over: AtomicBool::new(false) });
        let token = mesh.control_plane.token(&ALICE).await?;
        let revision = text(&last, "/revision")?.to_owned();
        let urls: Vec<String> =
            [mesh.envoy()?.url()].into_iter().chain(others.iter().map(|envoy| envoy.url())).collect();
        let tasks: Vec<_> = urls
            .iter()
            .flat_map(|url| (0..callers).map(move |_| url.clone()))
            .map(|url| {
                let (rush, token, revision) = (Arc::clone(&rush), token.clone(), revision.clone());
                tokio::spawn(async move {
                    let api = Api::new(&url, Some(token))?.carrying("x-grantmesh-revision", &revision)?;
                    let mut served = 0_usize;
                    while !rush.over.load(Ordering::Relaxed) {
                        let at = rush.next.fetch_add(1, Ordering::Relaxed) % rush.payouts.len();
                        let path = format!("/v1/payouts/{}", rush.payouts[at].0);
                        // A proxy that is overrun breaks connections; that is no use.
                        if let Ok(reply) = api.send(Method::POST, &path, None).await {
                            served += usize::from(reply.status == 200);
                        }
                    }
                    anyhow::Ok(served)
                })
            })
            .collect();
        let begun = log_size(&mesh.control_plane.api(&OLAF).await?).await?;
        let approved: usize = rush.payouts.iter().map(|(_, uses)| *uses as usize).sum();
        for kill in 1..=kills {
            // Some uses are lost with each kill, so that calls that arrive are no measure: every use is an entry.
            let enough = begun + approved * kill / (kills + 2);
            let api = mesh.control_plane.api(&OLAF).await?;
            until_every(Duration::from_millis(20), "uses are taken", PATIENCE * 20, async || {
                Ok((log_size(&api).await? >= enough).then_some(()))
            })
            .await?;
            mesh.control_plane.kill();
            mesh.control_plane.run().await?;
        }
        let operator = mesh.control_plane.api(&OLAF).await?;
        until("every use is taken", PATIENCE * 20, async || {
            let active = operator.get("/v1/grants?state=active&limit=1").await?.expect(200)?;
            Ok((active["items"] == json!([])).then_some(()))
        })
        .await?;
        rush.over.store(true, Ordering::Relaxed);
        let mut answered = 0;
        for task in tasks {
            answered += task.await??;
        }
        let mut hits: BTreeMap<String, u32> = BTreeMap::new();
        for call in mesh.upstream.served() {
            *hits.entry(call.target.trim_start_matches("/v1/payouts/").to_owned()).or_default() += 1;
        }
        for (name, uses) in &rush.payouts {
            let hits = hits.get(name).copied().unwrap_or(0);
            ensure!(hits <= *uses, "{name} was approved for {uses} calls and called {hits} times");
        }
        let hit: u32 = hits.values().sum();
        println!(
            "{approved} calls approved, {hit} arrived, {answered} were answered, over {proxies} proxies and {kills} kills"
        );
        ensure!(hit as usize * 10 > approved, "much of what is approved arrives");
        mesh.envoy()?.filter_is_unharmed().await
    });
}
