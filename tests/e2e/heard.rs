//! Read your approval: a call that carries the token of an approval waits for a filter that is behind, and gains nothing else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use grantmesh_tests::{ALICE, LEA, MALLORY, Mesh, PATIENCE, Setup, Weather, play, text, until};
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const TOKEN: &str = "x-grantmesh-revision";
const FUTURE: &str = "99999999999999.0";
const REFUND: &str = "/v1/accounts/acc-42/refunds";

/// What a call waits at most, but for the tick.
const BOUND: Duration = Duration::from_millis(500);

/// More than a call waits even on a loaded machine.
const LOADED: Duration = Duration::from_secs(4);

#[test]
fn a_call_right_after_its_approval_is_not_refused() {
    play(Setup::default(), async |mesh| {
        for lag in [0, 150, 300] {
            mesh.cable.make(Weather::Slow(Duration::from_millis(lag)));
            let account = format!("acc-{lag}");
            let request = mesh.ask(&account, "10m").await?;
            let caller = mesh.caller(&ALICE).await?;
            let path = format!("/v1/accounts/{account}/refunds");
            assert_eq!(caller.send(Method::POST, &path, None).await?.status, 403);

            let reviews = format!("/v1/requests/{}/reviews", text(&request, "/id")?);
            let approval = json!({ "verdict": "approve", "reason": "seen the ticket" });
            let approved = mesh.control_plane.api(&LEA).await?.review(&reviews, &approval).await?;
            let token = approved.headers.get(TOKEN).context("no token")?.to_str()?.to_owned();
            assert_eq!(text(&approved.expect(201)?, "/grant/revision")?, token);
            // At once, from both workers, and each knows by now or waits.
            let hasty = caller.carrying(TOKEN, &token)?;
            for _ in 0..8 {
                let reply = hasty.reconnected()?.send(Method::POST, &path, None).await?;
                assert_eq!(reply.status, 200, "with a lag of {lag} ms: {}", reply.text());
            }
        }
        mesh.cable.mend();
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_token_never_lets_through_and_never_holds_up_for_long() {
    play(Setup::default(), async |mesh| {
        let served = mesh.upstream.count();
        let caller = mesh.caller(&MALLORY).await?;
        for token in [FUTURE, "18446744073709551615.18446744073709551615"] {
            let begun = Instant::now();
            let reply = caller.carrying(TOKEN, token)?.send(Method::POST, REFUND, None).await?;
            assert_eq!(reply.status, 403, "{}", reply.text());
            assert!((BOUND..LOADED).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        }
        for token in ["0.0", "1.1", "x", "99999999999999", "-1.0", "1e9.1"] {
            let begun = Instant::now();
            let reply = caller.carrying(TOKEN, token)?.send(Method::POST, REFUND, None).await?;
            assert_eq!(reply.status, 403, "{}", reply.text());
            println!("`{token}` was refused after {} ms", begun.elapsed().as_millis());
        }
        let waited = mesh.envoy()?.stat("grantmesh.waits.begun").await?;
        assert_eq!(waited, 2, "only what may be a point to come is waited for");

        // Many at once: of one principal 32 wait in each VM, the others are refused at once.
        let (address, token) = (mesh.envoy()?.address(), mesh.control_plane.token(&MALLORY).await?);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..200 {
            calls.spawn(leave(address, token.clone(), LOADED));
        }
        let envoy = mesh.envoy()?;
        until("the counts are handed over", PATIENCE, async || {
            Ok((envoy.stat("grantmesh.waits.(late|full)").await? >= 202).then_some(()))
        })
        .await?;
        assert!(envoy.stat("grantmesh.waits.full").await? > 0);
        assert_eq!(mesh.upstream.count(), served);
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn callers_who_go_away_while_they_wait_harm_nobody() {
    play(Setup::default(), go_away);
}

async fn go_away(mesh: &mut Mesh) -> Result<()> {
    mesh.grant("acc-42", "10m").await?;
    mesh.until_refund_is("acc-42", 200).await?;
    let served = mesh.upstream.count();
    let (address, token) = (mesh.envoy()?.address(), mesh.control_plane.token(&MALLORY).await?);
    for round in 0..6_u64 {
        let mut calls = tokio::task::JoinSet::new();
        for number in 0..60_u64 {
            // Most leave around the moment at which the proxy would answer them.
            let stays =
                Duration::from_millis(if number % 4 == 0 { number } else { 480 + (number * 7 + round * 3) % 140 });
            calls.spawn(leave(address, token.clone(), stays));
        }
        while let Some(left) = calls.join_next().await {
            left??;
        }
    }
    let envoy = mesh.envoy()?;
    until("nobody is waited for any more", PATIENCE, async || {
        let begun = envoy.stat("grantmesh.waits.begun").await?;
        let over = envoy.stat("grantmesh.waits.(late|gone|settled)").await?;
        Ok((begun > 0 && begun == over).then_some(()))
    })
    .await?;
    assert!(envoy.stat("grantmesh.waits.gone").await? > 0, "some left before their time");
    assert_eq!(mesh.upstream.count(), served);
    assert_eq!(mesh.refund("acc-42").await?.status, 200);
    mesh.envoy()?.filter_is_unharmed().await
}

/// A call that waits, whose caller closes the connection after a while.
async fn leave(address: SocketAddr, token: String, stays: Duration) -> Result<()> {
    let mut caller = TcpStream::connect(address).await?;
    let call = format!(
        "POST {REFUND} HTTP/1.1\r\nhost: payments\r\nauthorization: Bearer {token}\r\n{TOKEN}: {FUTURE}\r\ncontent-length: 0\r\n\r\n"
    );
    caller.write_all(call.as_bytes()).await?;
    // Reading until then instead of sleeping: an answer may come first.
    let _elapsed = tokio::time::timeout(stays, async {
        let mut answer = [0; 1_024];
        while tokio::io::AsyncReadExt::read(&mut caller, &mut answer).await.is_ok_and(|count| count > 0) {}
        std::future::pending::<()>().await;
    })
    .await;
    Ok(())
}
