//! The context of a call decides in a real Envoy: signals, claims, where a call comes from and when, how critical it is; and
//! what is in shadow, for a share of people, or recorded as a sample is what the documents say.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use grantmesh_shared::engine::{Mode, Percent, Principal, Rollout};
use grantmesh_tests::{ALICE, Api, Delivery, LEA, MALLORY, Mesh, OLAF, PATIENCE, Person, Reply, Setup, play, until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::bodies::reason;

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/context/policy.yaml");

const ISSUER: &str = "https://dev-issuer.grantmesh.invalid";

fn setup() -> Setup {
    Setup { policy: POLICY, delivery: Delivery::Discovery, ..Setup::default() }
}

/// So many new connections that each worker takes some.
const CONNECTIONS: usize = 16;

/// Whether every worker answers a call with this status.
async fn all_answer(caller: &Api, method: &Method, path: &str, status: u16) -> Result<bool> {
    for _ in 0..CONNECTIONS {
        if caller.reconnected()?.send(method.clone(), path, None).await?.status != status {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits until every worker answers a call with this status.
async fn until_all_answer(caller: &Api, method: Method, path: &str, status: u16) -> Result<()> {
    until(&format!("{method} {path} is answered with {status}"), PATIENCE, async || {
        Ok(all_answer(caller, &method, path, status).await?.then_some(()))
    })
    .await
}

#[test]
fn what_is_so_of_a_call_decides_it() {
    play(setup(), async |mesh| {
        signals_flip_decisions_and_end_by_themselves(mesh).await?;
        claims_are_the_tokens(mesh).await?;
        the_hour_is_the_control_planes(mesh).await?;
        where_it_comes_from_is_what_the_trusted_proxy_says(mesh).await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}

/// Sets a signal as Lea, and waits for the proof that every filter knows of it.
async fn set(mesh: &Mesh, signal: &str, duration: &str) -> Result<()> {
    let arguments = ["signal", "set", signal, "--reason", "PAY-7", "--duration", duration, "--wait"];
    mesh.control_plane.cli(&LEA, &arguments).await?.success().map(drop)
}

async fn signals_flip_decisions_and_end_by_themselves(mesh: &mut Mesh) -> Result<()> {
    let (alice, olaf) = (mesh.caller(&ALICE).await?, mesh.caller(&OLAF).await?);
    let (payouts, restarts) = ("/v1/payouts", "/v1/restarts");
    ensure!(all_answer(&alice, &Method::POST, payouts, 200).await?, "nothing is frozen");
    let refused = alice.send(Method::POST, restarts, None).await?;
    assert_eq!(reason(&refused, 403)?, "no_role", "no incident is open: {}", refused.text());
    let stranger = ["signal", "set", "freeze.active", "--reason", "mine", "--duration", "1h"];
    assert!(mesh.control_plane.cli(&ALICE, &stranger).await?.success().is_err(), "not hers to set");

    // What is proven has arrived: no worker needs to be waited for.
    set(mesh, "freeze.active", "1h").await?;
    set(mesh, "incident.open", "1h").await?;
    ensure!(all_answer(&alice, &Method::POST, payouts, 403).await?, "payouts are frozen");
    ensure!(all_answer(&alice, &Method::POST, restarts, 200).await?, "an incident is open");
    let frozen = alice.send(Method::POST, payouts, None).await?;
    assert_eq!(reason(&frozen, 403)?, "deny_rule");
    assert!(frozen.text().contains("payouts are frozen until the incident is over"), "{}", frozen.text());
    ensure!(all_answer(&olaf, &Method::POST, payouts, 200).await?, "the freeze has an exception");

    // A shorter time replaces the longer one; then nobody says anything, and both are over.
    set(mesh, "freeze.active", "3s").await?;
    set(mesh, "incident.open", "3s").await?;
    until_all_answer(&alice, Method::POST, payouts, 200).await?;
    until_all_answer(&alice, Method::POST, restarts, 403).await
}

/// A caller whose token has further claims.
async fn claiming(mesh: &mut Mesh, claims: &[String]) -> Result<Api> {
    let arguments: Vec<&str> = claims.iter().flat_map(|claim| ["--claim", claim]).collect();
    let token = mesh.control_plane.token_with(&ALICE, &arguments).await?;
    Api::new(&mesh.envoy()?.url(), Some(token))
}

fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

async fn claims_are_the_tokens(mesh: &mut Mesh) -> Result<()> {
    let assistant = "act={\"sub\":\"assistant\"}";
    let proved = |ago: i64| Ok::<_, anyhow::Error>(format!("auth_time={}", now()? - ago));
    let (fresh, old) = (proved(60)?, proved(16 * 60)?);
    for (method, path, claims, status) in [
        (Method::GET, "/v1/ledger", vec!["department=finance", "level=3"], 200),
        (Method::GET, "/v1/ledger", vec!["department=finance", "level=2.5"], 403),
        (Method::GET, "/v1/ledger", vec!["department=sales", "level=3"], 403),
        (Method::GET, "/v1/ledger", vec!["department=finance", "level=\"3\""], 403),
        (Method::GET, "/v1/ledger", vec!["department=finance"], 403),
        (Method::POST, "/v1/mails", vec![assistant, &fresh], 200),
        (Method::POST, "/v1/mails", vec![assistant, &old], 403),
        (Method::POST, "/v1/mails", vec!["act={\"sub\":\"somebody\"}", &fresh], 403),
        (Method::POST, "/v1/mails", vec![&fresh], 403),
        (Method::POST, "/v1/mails", vec![assistant], 403),
    ] {
        let claims: Vec<String> = claims.into_iter().map(str::to_owned).collect();
        let reply = claiming(mesh, &claims).await?.send(method, path, None).await?;
        assert_eq!(reply.status, status, "{path} with {claims:?}: {}", reply.text());
    }
    let envoy = mesh.envoy()?;
    until("what could not be judged is counted by its kind", PATIENCE, async || {
        let counted = async |error: &str| envoy.stat(&format!("grantmesh.condition_errors.error=.=.*{error}")).await;
        Ok((counted("wrong_type").await? >= 1 && counted("missing").await? >= 3).then_some(()))
    })
    .await
}

/// In India, which is half an hour off the full ones and has no summer time.
fn is_before_noon() -> Result<bool> {
    Ok((now()? + 5 * 3_600 + 1_800) % 86_400 < 12 * 3_600)
}

async fn the_hour_is_the_control_planes(mesh: &mut Mesh) -> Result<()> {
    let alice = mesh.caller(&ALICE).await?;
    let statuses = until("noon does not pass meanwhile", PATIENCE, async || {
        let before = is_before_noon()?;
        let early = alice.get("/v1/shifts/early").await?.status;
        let late = alice.get("/v1/shifts/late").await?.status;
        Ok((before == is_before_noon()?).then_some((before, early, late)))
    })
    .await?;
    assert!(matches!(statuses, (true, 200, 403) | (false, 403, 200)), "{statuses:?}");
    Ok(())
}

/// Gives the filter a configuration with these members in place of the ones before, and waits until a call shows it.
async fn configured(mesh: &mut Mesh, generation: u64, members: &Value, shows: &Api, status: u16) -> Result<()> {
    mesh.envoy()?.swap_filter(|plugin| {
        plugin["generation"] = json!(generation);
        for (name, member) in members.as_object().into_iter().flatten() {
            plugin[name] = member.clone();
        }
    })?;
    until_all_answer(shows, Method::GET, "/v1/desk", status).await
}

async fn where_it_comes_from_is_what_the_trusted_proxy_says(mesh: &mut Mesh) -> Result<()> {
    let alice = mesh.caller(&ALICE).await?;
    let forwarded = |value: &str| alice.carrying("x-forwarded-for", value);
    let asked = async |caller: &Api, path: &str| -> Result<Reply> { caller.get(path).await };
    let errs = |reply: &Reply| reply.status == 403 && reply.text().contains("condition_errs");

    // Nobody vouches for anything: not even what Envoy itself has added counts.
    for caller in [alice.clone(), forwarded("198.51.100.7")?] {
        let reply = asked(&caller, "/v1/desk").await?;
        assert!(errs(&reply), "{}", reply.text());
    }
    let reply = asked(&alice.carrying("x-country", "DE")?, "/v1/offers").await?;
    assert!(errs(&reply), "{}", reply.text());

    // A balancer in front adds whom it saw, Envoy adds the balancer. What stands before these two the caller wrote.
    let trusting = json!({
        "source": { "header": "x-forwarded-for", "trusted_hops": 2 }, "country": { "header": "x-country" },
    });
    configured(mesh, 2, &trusting, &forwarded("198.51.100.7")?, 200).await?;
    for (value, status) in [
        ("198.51.100.7", 200),
        ("203.0.113.9, 198.51.100.7", 200),
        ("198.51.100.7, 203.0.113.9", 403),
        ("198.51.100.7,203.0.113.9", 403),
        ("198.51.100.7, unknown", 403),
        ("::ffff:198.51.100.7", 200),
    ] {
        let reply = asked(&forwarded(value)?, "/v1/desk").await?;
        assert_eq!(reply.status, status, "{value}: {}", reply.text());
    }
    for (value, status) in [("DE", 200), ("US", 403)] {
        assert_eq!(asked(&alice.carrying("x-country", value)?, "/v1/offers").await?.status, status, "{value}");
    }
    let twice = alice.carrying("x-country", "US")?.carrying("x-country", "DE")?;
    assert_eq!(reason(&asked(&twice, "/v1/offers").await?, 400)?, "two_values");
    let reply = asked(&alice, "/v1/offers").await?;
    assert!(errs(&reply), "{}", reply.text());

    // Where only Envoy itself vouches, the caller is this machine, whatever it writes.
    let edge = json!({ "source": { "header": "x-forwarded-for", "trusted_hops": 1 } });
    configured(mesh, 3, &edge, &forwarded("198.51.100.7")?, 403).await?;
    let reply = asked(&forwarded("198.51.100.7, 198.51.100.8")?, "/v1/desk").await?;
    assert!(reply.status == 403 && reply.text().contains("condition_fails"), "{}", reply.text());
    Ok(())
}

#[test]
fn shadow_shares_samples_and_criticality_are_as_documents_say() {
    play(setup(), async |mesh| {
        criticality_follows_the_method(mesh).await?;
        shadow_lets_through(mesh).await?;
        a_share_of_people_is_enforced_and_stays_so(mesh).await?;
        let list = mesh.caller(&ALICE).await?;
        for _ in 0..LISTS {
            ensure!(list.get("/v1/lists").await?.status == 200);
        }
        records_tell_of_it(mesh).await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}

async fn criticality_follows_the_method(mesh: &mut Mesh) -> Result<()> {
    let alice = mesh.caller(&ALICE).await?;
    assert_eq!(alice.get("/v1/drafts/d-1").await?.status, 200, "reading is low");
    assert_eq!(alice.send(Method::PUT, "/v1/drafts/d-1", None).await?.status, 403, "writing is not");
    let envoy = mesh.envoy()?;
    let counted = async |outcome: &str, criticality: &str| -> Result<bool> {
        let name = format!("grantmesh.decisions.*outcome=.=.*{outcome}.*criticality=.=.*{criticality}");
        Ok(envoy.stat(&name).await? > 0)
    };
    until("decisions are counted by criticality", PATIENCE, async || {
        Ok((counted("allow", "low").await? && counted("deny", "standard").await?).then_some(()))
    })
    .await
}

async fn shadow_lets_through(mesh: &mut Mesh) -> Result<()> {
    let mallory = mesh.caller(&MALLORY).await?;
    assert_eq!(mallory.send(Method::POST, "/v1/trials", None).await?.status, 200, "whatever would become of it");
    assert_eq!(mallory.send(Method::POST, "/v1/restarts", None).await?.status, 403, "that action and no other");
    // What is ambiguous leads to no action that is in shadow.
    let twisted = mallory.send(Method::POST, "/v1/trials/", None).await?;
    assert_eq!(reason(&twisted, 400)?, "trailing_slash");
    Ok(())
}

const CROWD: [&str; 20] = [
    "ada", "bea", "cem", "dan", "eli", "fay", "gus", "hal", "ida", "jon", "kai", "lou", "mia", "nia", "ola", "pia",
    "quo", "ria", "sam", "tea",
];

/// Who of the crowd is refused; checked against the engine's own word.
async fn refused(mesh: &mut Mesh, percent: u8) -> Result<Vec<&'static str>> {
    let rollout = Rollout { mode: Mode::Enforce, percent: Percent::new(percent).context("a share")? };
    let mut refused = Vec::new();
    for name in CROWD {
        let status = mesh.call(&Person { name, groups: &[] }, Method::POST, "/v1/rollouts").await?.status;
        let enforced = rollout.enforces("payments", &Principal::user(ISSUER, name, &[]));
        assert_eq!(status, if enforced { 403 } else { 200 }, "{name} at {percent} %");
        refused.extend(enforced.then_some(name));
    }
    Ok(refused)
}

async fn a_share_of_people_is_enforced_and_stays_so(mesh: &mut Mesh) -> Result<()> {
    let few = refused(mesh, 40).await?;
    assert!((4..=12).contains(&few.len()), "40 % of 20 people: {few:?}");
    let grown = std::fs::read_to_string(POLICY)?.replace("percent: 40", "percent: 80");
    let file = mesh.folder().join("grown.yaml");
    std::fs::write(&file, grown)?;
    mesh.control_plane.cli(&OLAF, &["policy", "apply", &file.display().to_string(), "--wait"]).await?.success()?;
    let many = refused(mesh, 80).await?;
    assert!(many.len() > few.len() && few.iter().all(|name| many.contains(name)), "{few:?} of {many:?}");
    Ok(())
}

/// Of so many calls about a tenth is recorded.
const LISTS: usize = 300;

async fn records_tell_of_it(mesh: &mut Mesh) -> Result<()> {
    let decisions = mesh.decisions().await?;
    let of = |action: &str| decisions.values().filter(|event| event["action"] == action).collect::<Vec<_>>();
    let sampled = of("list.read").len();
    // Within ten standard deviations of 30, which chance never leaves.
    assert!((1..=82).contains(&sampled), "{sampled} of {LISTS} were recorded");
    let trials = of("trial.run");
    let [trial] = trials.as_slice() else { anyhow::bail!("one call was in shadow: {trials:?}") };
    assert_eq!((&trial["decision"], &trial["shadow"]), (&json!("deny"), &json!(true)), "{trial}");
    for event in of("rollout.run") {
        let name = event["subject"].as_str().context("a caller")?;
        assert_eq!(event["decision"], "deny", "{event}");
        ensure!(CROWD.contains(&name), "{event}");
    }
    let in_shadow = of("rollout.run").iter().filter(|event| event["shadow"] == true).count();
    assert!((1..40).contains(&in_shadow), "some were in shadow: {in_shadow}");
    Ok(())
}
