//! Noise: bytes of every kind on raw connections, HTTP/1 and HTTP/2, half sensible and half not. No VM is lost, honest callers do
//! not notice, no answer is the proxy's own failure, and nothing is let through that no role or grant allows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{ALICE, Api, BOB, Bodies, Dice, Latencies, MALLORY, Mesh, Setup, noise, play, proof_size};
use reqwest::Method;
use tokio::sync::Semaphore;

const WITH_BODIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/noise.yaml");

/// Connections at the same time.
const AT_ONCE: usize = 64;

/// What an honest call may take on a machine that is busy with all this.
const BOUND: Duration = Duration::from_secs(5);

#[test]
fn proof_that_bytes_of_any_kind_harm_nothing() {
    play(Setup { max_request_headers_kb: 192, ..Setup::default() }, harmless);
}

#[test]
fn proof_that_bytes_of_any_kind_harm_nothing_where_bodies_are_read_and_masked() {
    play(
        Setup { max_request_headers_kb: 192, bodies: Bodies::Strict, policy: WITH_BODIES, ..Setup::default() },
        harmless,
    );
}

async fn harmless(mesh: &mut Mesh) -> Result<()> {
    mesh.grant("acc-42", "1h").await?;
    mesh.until_refund_is("acc-42", 200).await?;
    let served_before = mesh.upstream.count();
    let mut tokens = Vec::new();
    for person in [&ALICE, &BOB, &MALLORY] {
        tokens.push(format!("Bearer {}", mesh.control_plane.token(person).await?));
    }
    let tokens: [String; 3] = tokens.try_into().ok().context("three tokens")?;

    let done = Arc::new(AtomicBool::new(false));
    let honest = tokio::spawn(honest_calls(mesh.caller(&BOB).await?, Arc::clone(&done)));
    let mut dice = Dice::new(0x6e6f_6973_6521);
    let (address, at_once) = (mesh.envoy()?.address(), Arc::new(Semaphore::new(AT_ONCE)));
    let messages = proof_size(3_000, 100_000);
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..messages {
        let bytes = noise::message(&mut dice, &tokens);
        let permit = Arc::clone(&at_once).acquire_owned().await?;
        running.spawn(async move {
            let seen = noise::throw(address, &bytes).await;
            drop(permit);
            seen
        });
        while let Some(ended) = running.try_join_next() {
            *statuses.entry(ended??).or_default() += 1;
        }
    }
    while let Some(ended) = running.join_next().await {
        *statuses.entry(ended??).or_default() += 1;
    }
    done.store(true, Ordering::Relaxed);
    let latencies = honest.await??;
    println!("{messages} messages: {statuses:?}; honest calls meanwhile: {}", latencies.to_json());
    assert!(latencies.quantile(1.0) < BOUND, "honest callers waited: {}", latencies.to_json());

    // 501 is the answer to a transfer coding that Envoy does not have.
    let failures: Vec<_> = statuses.keys().filter(|seen| seen.starts_with('5') && *seen != "501").collect();
    ensure!(failures.is_empty(), "unexplained: {statuses:?}");
    for call in mesh.upstream.served().iter().skip(served_before) {
        let path = call.target.split('?').next().unwrap_or_default();
        let bearer = call.headers.get("authorization").map(|value| value.as_bytes()).unwrap_or_default();
        let reads = matches!(call.method.as_str(), "GET" | "HEAD") && path.starts_with("/v1/accounts/");
        let allowed = if bearer == tokens[0].as_bytes() {
            reads || (call.method == "POST" && path == "/v1/accounts/acc-42/refunds")
        } else {
            reads && bearer == tokens[1].as_bytes()
        };
        ensure!(allowed, "nobody allowed this: {call:?}");
    }
    assert!(mesh.upstream.count() > served_before, "some of it is a call that is allowed");
    mesh.until_refund_is("acc-42", 200).await?;
    mesh.until_all_follow().await?;
    mesh.envoy()?.filter_is_unharmed().await
}

/// Calls one after the other until the noise is over; how long each took.
async fn honest_calls(caller: Api, done: Arc<AtomicBool>) -> Result<Latencies> {
    let mut taken = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let reply = caller.send(Method::GET, "/v1/accounts/acc-1", None).await?;
        ensure!(reply.status == 200, "an honest call was refused: {}", reply.text());
        taken.push(begun.elapsed());
    }
    Ok(taken.into_iter().collect())
}
