//! Who is told, is told everything, whatever becomes of the control plane; and nobody is told a secret.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use grantmesh_tests::{ALICE, ControlPlane, LEA, OLAF, PATIENCE, Parts, text, until};
use serde_json::{Value, json};

const POLICY: &str = include_str!("../../shared/policies/payments/policy.yaml");
const SECRET: &str = "whsec_QmFzZTY0T2ZBU2VjcmV0VGhhdElzUGxhbnRlZA==";

/// An endpoint that can be away.
#[derive(Clone, Default)]
struct Hook {
    away: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<(String, Value)>>>,
}

async fn receive(State(hook): State<Hook>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if hook.away.load(Ordering::Acquire) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let signed = headers.get("webhook-signature").and_then(|text| text.to_str().ok()).unwrap_or_default();
    if !signed.starts_with("v1,") {
        return StatusCode::UNAUTHORIZED;
    }
    let event = serde_json::from_slice(&body).unwrap_or_default();
    hook.told.lock().unwrap_or_else(PoisonError::into_inner).push((id, event));
    StatusCode::NO_CONTENT
}

impl Hook {
    async fn listen(&self) -> Result<SocketAddr> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/hook", post(receive)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }

    /// The requests of which one kind of event was told.
    fn requests(&self, kind: &str) -> BTreeSet<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let of_kind = told.iter().filter(|(_, event)| event["type"] == kind);
        of_kind.filter_map(|(_, event)| event["data"]["request"]["id"].as_str().map(str::to_owned)).collect()
    }
}

/// A control plane that tells the hook, with the policy in force.
async fn telling(folder: &Path, hook: &Hook, log: &str) -> Result<ControlPlane> {
    let address = hook.listen().await?;
    let (secret, config) = (folder.join("secret"), folder.join("grantmesh.yaml"));
    std::fs::write(&secret, format!("{SECRET}\n"))?;
    let webhook = format!(
        "webhooks:\n  - name: hook\n    url: http://{address}/hook\n    secret-file: {}\n    allow: [127.0.0.0/8]\n",
        secret.display()
    );
    std::fs::write(&config, webhook)?;
    let words = ["--config", &config.display().to_string(), "--log", log].map(str::to_owned);
    // The harness keeps arguments for as long as the program lives.
    let words: Vec<&'static str> = words.into_iter().map(|word| &*Box::leak(word.into_boxed_str())).collect();
    let control_plane = ControlPlane::start(
        &Parts::from_environment()?,
        &folder.join("control-plane"),
        None,
        Box::leak(words.into_boxed_slice()),
        None,
    )
    .await?;
    let policy = json!({ "files": [{ "name": "policy.yaml", "text": POLICY }] });
    let olaf = control_plane.api(&OLAF).await?.carrying("if-none-match", "*")?;
    olaf.post("/v1/policy", &policy).await?.expect(201)?;
    Ok(control_plane)
}

fn ask(why: &str) -> Value {
    ask_for("acc-42", why)
}

fn ask_for(account: &str, why: &str) -> Value {
    let resource = format!("account/{account}");
    json!({ "service": "payments", "action": "refund.create", "resource": resource, "justification": why })
}

fn run(story: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(story)
}

#[test]
fn a_control_plane_that_is_killed_over_and_over_loses_no_event() -> Result<()> {
    run(async {
        let folder = tempfile::tempdir()?;
        let hook = Hook::default();
        let mut control_plane = telling(folder.path(), &hook, "info").await?;
        let mut filed = BTreeSet::new();
        for round in 0..4 {
            // Two rounds with an endpoint that is away, two with one that is there.
            hook.away.store(round < 2, Ordering::Release);
            let alice = control_plane.api(&ALICE).await?;
            for number in 0..8 {
                let ask = ask_for(&format!("acc-{round}-{number}"), "charged twice");
                let request = alice.post("/v1/requests", &ask).await?.expect(201)?;
                filed.insert(text(&request, "/id")?.to_owned());
            }
            control_plane.kill();
            control_plane.run().await?;
        }
        // What was tried when it was killed is tried again after a while, and what failed later each time.
        until("every filed request was told", Duration::from_secs(120), async || {
            Ok((hook.requests("request.filed") == filed).then_some(()))
        })
        .await?;
        let olaf = control_plane.api(&OLAF).await?;
        until("nothing waits", PATIENCE, async || {
            let waiting = olaf.get("/v1/notifications?state=waiting").await?.expect(200)?;
            Ok(waiting["items"].as_array().is_some_and(Vec::is_empty).then_some(()))
        })
        .await
    })
}

#[test]
fn a_planted_secret_reaches_no_sink() -> Result<()> {
    run(async {
        let folder = tempfile::tempdir()?;
        let hook = Hook::default();
        let control_plane = telling(folder.path(), &hook, "trace").await?;
        let (token, credential) = (control_plane.token(&ALICE).await?, control_plane.filter_credential("node").await?);
        let (alice, lea, olaf) =
            (control_plane.api(&ALICE).await?, control_plane.api(&LEA).await?, control_plane.api(&OLAF).await?);
        let mut answers = Vec::new();
        // Written where people write: refused, before it is kept anywhere.
        for secret in [token.as_str(), &credential, SECRET] {
            let refused = alice.post("/v1/requests", &ask(&format!("because of {secret}"))).await?;
            ensure!(refused.problem(422)? == "secret_in_text", "{}", refused.text());
            answers.push(refused.text());
            let mut elsewhere = ask("charged twice");
            elsewhere["ticket"] = json!(format!("PAY-1 {secret}"));
            answers.push(alice.post("/v1/requests", &elsewhere).await?.text());
            answers.push(alice.post("/v1/requests", &ask_for(secret, "charged twice")).await?.text());
            let lock = json!({ "subject": "user:mallory", "reason": format!("has {secret}") });
            let delegation = json!({ "to": "leo", "duration": "1h", "reason": format!("with {secret}") });
            for (who, path, body) in [(&olaf, "/v1/locks", lock), (&lea, "/v1/delegations", delegation)] {
                let refused = who.post(path, &body).await?;
                ensure!(refused.problem(422)? == "secret_in_text", "{path}: {}", refused.text());
                answers.push(refused.text());
            }
        }
        // As people write it who mean well.
        let told = alice.post("/v1/requests", &ask("the login is password=hunter2-and-more")).await?;
        ensure!(told.problem(422)? == "secret_in_text", "{}", told.text());
        answers.push(told.text());
        // Written where nobody should: as a value of a parameter, a path, a header, a body that is none.
        answers.push(alice.get(&format!("/v1/requests?state={token}")).await?.text());
        answers.push(alice.get(&format!("/v1/requests/{credential}")).await?.text());
        answers.push(alice.get(&format!("/{token}")).await?.text());
        answers.push(alice.carrying("idempotency-key", &token)?.post("/v1/requests", &ask("x")).await?.text());
        answers.push(alice.post("/v1/requests", &json!({ token.clone(): credential })).await?.text());
        let filed = alice.post("/v1/requests", &ask("charged twice")).await?.expect(201)?;
        let reviews = format!("/v1/requests/{}/reviews", text(&filed, "/id")?);
        let leaked = lea.review(&reviews, &json!({ "verdict": "deny", "reason": format!("Bearer {token}") })).await?;
        answers.push(leaked.text());
        lea.review(&reviews, &json!({ "verdict": "deny", "reason": "not this one" })).await?.expect(201)?;
        until(
            "the denial was told",
            PATIENCE,
            async || Ok((!hook.requests("request.denied").is_empty()).then_some(())),
        )
        .await?;
        let audit = olaf.get("/v1/audit/entries").await?.text();
        let mut lists = String::new();
        for list in ["requests", "grants", "locks", "signals", "delegations", "notifications", "policy", "post-reviews"]
        {
            lists.push_str(&olaf.get(&format!("/v1/{list}")).await?.text());
            lists.push_str(&alice.get(&format!("/v1/{list}")).await?.text());
        }
        for command in
            [&["requests"][..], &["grants"], &["notifications", "list"], &["audit", "tail"], &["approve", &token]]
        {
            let said = control_plane.cli(&OLAF, command).await?;
            lists.push_str(&format!("{}{}", said.out, said.err));
        }
        let told = format!("{:?}", hook.told.lock().unwrap_or_else(PoisonError::into_inner));
        let log = control_plane.log();
        ensure!(log.contains("TRACE") && log.contains("answered"), "the log is not at its finest: {log}");
        // Half of a token is one too: its claims can be read, its signature can be used.
        let claims = token.split('.').nth(1).context("a token has claims")?;
        let signature = token.split('.').nth(2).context("a token is signed")?;
        for (sink, said) in
            [("log", &log), ("webhooks", &told), ("audit", &audit), ("lists", &lists), ("problems", &answers.concat())]
        {
            for secret in [token.as_str(), claims, signature, &credential, SECRET, "hunter2-and-more"] {
                ensure!(!said.contains(secret), "a secret is in {sink}: {secret}");
            }
        }
        Ok(())
    })
}
