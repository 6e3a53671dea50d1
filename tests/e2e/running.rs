//! Calls that run for long: events, downloads, WebSockets. They end within a second of the grant that let them through,
//! of its revocation, and of a lock; and opening a WebSocket is an action of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{ALICE, Mesh, OLAF, PATIENCE, Setup, play, text, until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/running.yaml");

/// The longest that a running call may outlive the filter's knowledge that it must end.
const BOUND: Duration = Duration::from_secs(1);

fn websockets(config: &mut Value, _: &Path) {
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    config.pointer_mut(manager).expect("a connection manager")["upgrade_configs"] =
        json!([{ "upgrade_type": "websocket" }]);
}

fn setup() -> Setup {
    Setup { policy: POLICY, change: websockets, ..Setup::default() }
}

/// Alice's grant of an action on acc-1.
async fn granted(mesh: &Mesh, action: &str, duration: &str) -> Result<Value> {
    let ask = json!({
        "service": "payments", "action": action, "resource": "account/acc-1", "justification": "watching",
        "duration": duration,
    });
    let request = mesh.control_plane.api(&ALICE).await?.post("/v1/requests", &ask).await?.expect(201)?;
    mesh.approve(&request).await
}

/// A call that runs: its bytes so far have been read, and nothing more will come.
enum Running {
    /// A connection of HTTP/1, with an answer or a WebSocket.
    One(TcpStream),
    /// A stream of HTTP/2.
    Two(Box<reqwest::Response>),
}

impl Running {
    /// Opens one on HTTP/1 and reads the head of its answer, which must have this status.
    async fn open(mesh: &mut Mesh, path: &str, more: &str, status: u16) -> Result<Self> {
        let token = mesh.control_plane.token(&ALICE).await?;
        let mut stream = TcpStream::connect(mesh.envoy()?.address()).await?;
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: payments.example.com\r\nauthorization: Bearer {token}\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut bytes = Vec::new();
        while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut bytes).await? > 0, "closed: {}", String::from_utf8_lossy(&bytes));
        }
        let told = String::from_utf8_lossy(&bytes).into_owned();
        ensure!(told.starts_with(&format!("HTTP/1.1 {status} ")), "expected {status}: {told}");
        Ok(Self::One(stream))
    }

    /// Opens events.
    async fn events(mesh: &mut Mesh) -> Result<Self> {
        Self::open(mesh, "/v1/accounts/acc-1/events", "", 200).await
    }

    /// Opens a WebSocket.
    async fn chat(mesh: &mut Mesh) -> Result<Self> {
        Self::open(mesh, "/v1/accounts/acc-1/chat", HANDSHAKE, 101).await
    }

    /// Waits until Envoy ends it, no longer than [`BOUND`].
    async fn ends(self) -> Result<()> {
        let read = async {
            match self {
                // An error is an end, too: the connection is reset.
                Self::One(mut stream) => {
                    let mut rest = Vec::new();
                    let _reset = stream.read_to_end(&mut rest).await;
                    ensure!(!rest.ends_with(b"0\r\n\r\n"), "the answer ended as if it were complete");
                    Ok(())
                }
                Self::Two(mut response) => loop {
                    match response.chunk().await {
                        Ok(Some(_)) => {}
                        Ok(None) => anyhow::bail!("the stream ended as if it were complete"),
                        Err(_) => return Ok(()),
                    }
                },
            }
        };
        tokio::time::timeout(BOUND, read).await.context("the call still runs")?
    }

    /// Whether it goes on: nothing comes, not even an end, for as long as an end would take.
    async fn goes_on(&mut self) -> bool {
        let mut bytes = Vec::new();
        let read = async {
            match self {
                Self::One(stream) => stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0),
                Self::Two(response) => response.chunk().await.is_ok_and(|chunk| chunk.is_some()),
            }
        };
        // What was still on its way may come; an end may not.
        tokio::time::timeout(BOUND, read).await.unwrap_or(true)
    }
}

const HANDSHAKE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Waits until a call of that path, with these header lines, is let through by some worker.
async fn until_open(mesh: &mut Mesh, path: &str, more: &str, status: u16) -> Result<()> {
    until("the grant has arrived", PATIENCE, async || Ok(Running::open(mesh, path, more, status).await.ok().map(drop)))
        .await
}

/// The records of resets, once there are so many: reason, and whether the decision that began it is in the log.
async fn resets(mesh: &Mesh, count: usize) -> Result<Vec<String>> {
    until("the resets are in the log", PATIENCE, async || {
        let ran = mesh.control_plane.cli(&OLAF, &["audit", "tail", "--limit", "200", "--json"]).await?;
        let entries: Vec<Value> = ran.success()?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let event = |entry: &Value| entry.pointer("/data/record/event").cloned().unwrap_or_default();
        let began: Vec<Value> = entries.iter().map(|entry| event(entry)["id"].clone()).collect();
        let ended: Vec<String> = entries
            .iter()
            .map(event)
            .filter(|event| event["ended"].is_string())
            .map(|event| {
                assert!(began.contains(&event["ended"]), "{event} ends what is not in the log");
                assert!(event["grant"].is_string(), "{event}");
                format!("{} {}", event["decision"], event["reasons"][0])
            })
            .collect();
        Ok((ended.len() >= count).then_some(ended))
    })
    .await
}

#[test]
fn a_revocation_ends_events_downloads_and_websockets() {
    play(setup(), async |mesh| {
        let (events, chat) = (granted(mesh, "events.watch", "10m").await?, granted(mesh, "chat.open", "10m").await?);
        until_open(mesh, "/v1/accounts/acc-1/events", "", 200).await?;
        until_open(mesh, "/v1/accounts/acc-1/chat", HANDSHAKE, 101).await?;
        let two = reqwest::Client::builder().http2_prior_knowledge().build()?;
        let url = format!("{}/v1/accounts/acc-1/events", mesh.envoy()?.url());
        let token = mesh.control_plane.token(&ALICE).await?;
        let open = async || anyhow::Ok(two.get(&url).bearer_auth(&token).send().await?.error_for_status()?);
        let mut streams = vec![Running::Two(Box::new(open().await?))];
        for _ in 0..4 {
            streams.push(Running::events(mesh).await?);
        }
        let mut chats = vec![Running::chat(mesh).await?, Running::chat(mesh).await?];

        mesh.revoke(&events, Some(PATIENCE)).await?;
        let count = streams.len();
        for stream in streams {
            stream.ends().await?;
        }
        for chat in &mut chats {
            assert!(chat.goes_on().await, "its own grant is not revoked");
        }
        mesh.revoke(&chat, Some(PATIENCE)).await?;
        for chat in chats {
            chat.ends().await?;
        }
        let told = resets(mesh, count + 2).await?;
        assert!(told.iter().all(|reset| reset == "\"deny\" \"grant_ended\""), "{told:?}");
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_running_call_ends_with_its_grants_time_and_with_a_lock() {
    play(setup(), async |mesh| {
        let grant = granted(mesh, "events.watch", "6s").await?;
        until_open(mesh, "/v1/accounts/acc-1/events", "", 200).await?;
        let mut running = Running::events(mesh).await?;
        let api = mesh.control_plane.api(&ALICE).await?;
        let path = format!("/v1/grants/{}", text(&grant, "/id")?);
        until("the grant has expired", PATIENCE, async || {
            Ok((api.get(&path).await?.expect(200)?["state"] == "expired").then_some(()))
        })
        .await?;
        running.ends().await?;

        granted(mesh, "events.watch", "10m").await?;
        until_open(mesh, "/v1/accounts/acc-1/events", "", 200).await?;
        running = Running::events(mesh).await?;
        let other = ["lock", "create", "--subject", "user:bob", "--reason", "not hers", "--wait"];
        mesh.control_plane.cli(&OLAF, &other).await?.success()?;
        assert!(running.goes_on().await, "another's lock");
        let lock = ["lock", "create", "--subject", "user:alice", "--reason", "laptop lost", "--wait"];
        mesh.control_plane.cli(&OLAF, &lock).await?.success()?;
        running.ends().await?;
        let told = resets(mesh, 2).await?;
        assert!(told.iter().any(|reset| reset.ends_with("\"grant_ended\"")), "{told:?}");
        assert!(told.iter().any(|reset| reset.ends_with("\"locked\"")), "{told:?}");
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn opening_a_websocket_is_an_action_of_its_own() {
    play(setup(), async |mesh| {
        granted(mesh, "events.watch", "10m").await?;
        until_open(mesh, "/v1/accounts/acc-1/events", "", 200).await?;
        // The grant is for the events, not for a WebSocket at their path; and a chat is not read by a plain call.
        Running::open(mesh, "/v1/accounts/acc-1/events", HANDSHAKE, 403).await?;
        granted(mesh, "chat.open", "10m").await?;
        until_open(mesh, "/v1/accounts/acc-1/chat", HANDSHAKE, 101).await?;
        Running::open(mesh, "/v1/accounts/acc-1/chat", "", 403).await?;
        let served = mesh.upstream.count();
        // The word of policies and records is no method of anybody's: Envoy knows none of that name.
        let spelled = mesh.call(&ALICE, Method::from_bytes(b"WEBSOCKET")?, "/v1/accounts/acc-1/chat").await?;
        assert_eq!(spelled.status, 400);
        assert_eq!(mesh.upstream.count(), served);
        mesh.envoy()?.filter_is_unharmed().await
    });
}
