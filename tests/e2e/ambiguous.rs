//! Ambiguous: every call of the filter's table through real Envoy at each of its path settings. Whatever Envoy makes of a path
//! before the filter sees it, what is decided is what is forwarded, and what is ambiguous by then is refused and recorded.

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{ALICE, Mesh, Setup, play, raw};
use serde_json::{Value, json};

const TABLE: &str = include_str!("../../filter/src/flow/vectors.txt");

/// Envoy's settings for paths, and that callers choose the id of their call.
fn settings(config: &mut Value, normalise: bool, merge: bool, escaped: &str) {
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    if let Some(manager) = config.pointer_mut(manager) {
        manager["normalize_path"] = json!(normalise);
        manager["merge_slashes"] = json!(merge);
        manager["path_with_escaped_slashes_action"] = json!(escaped);
        manager["preserve_external_request_id"] = json!(true);
    }
}

#[test]
fn paths_as_they_come() {
    let change = |config: &mut Value, _: &std::path::Path| settings(config, false, false, "KEEP_UNCHANGED");
    play(Setup { change, ..Setup::default() }, async |mesh| every_vector(mesh, true).await);
}

#[test]
fn paths_normalised_by_envoy() {
    let change = |config: &mut Value, _: &std::path::Path| settings(config, true, false, "KEEP_UNCHANGED");
    play(Setup { change, ..Setup::default() }, async |mesh| every_vector(mesh, false).await);
}

#[test]
fn paths_normalised_merged_and_unescaped_by_envoy() {
    let change = |config: &mut Value, _: &std::path::Path| settings(config, true, true, "UNESCAPE_AND_FORWARD");
    play(Setup { change, ..Setup::default() }, async |mesh| every_vector(mesh, false).await);
}

/// `\xNN` is a byte.
fn unescaped(text: &str) -> Result<Vec<u8>> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).context("a byte has two digits")?;
        bytes.push(u8::from_str_radix(digits, 16)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Ok(bytes)
}

/// A line's call as bytes.
fn request(call: &str, id: &str, token: &str) -> Result<Vec<u8>> {
    let mut parts = call.split(" | ");
    let mut bytes = unescaped(parts.next().unwrap_or_default())?;
    let mut host = "host: payments.example.com";
    let mut rest = Vec::new();
    for header in parts {
        if header.starts_with("host: ") && !header.contains("other.") {
            host = header;
        } else {
            rest.push(header);
        }
    }
    bytes.extend_from_slice(format!(" HTTP/1.1\r\nconnection: close\r\nx-request-id: {id}\r\n").as_bytes());
    bytes.extend_from_slice(format!("authorization: Bearer {token}\r\ncontent-length: 0\r\n").as_bytes());
    for header in std::iter::once(host).chain(rest) {
        bytes.extend_from_slice(&unescaped(header)?);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}

/// `untouched`: Envoy hands paths on as they came, so that the table tells what becomes of each.
async fn every_vector(mesh: &mut Mesh, untouched: bool) -> Result<()> {
    mesh.grant("acc-42", "10m").await?;
    mesh.until_refund_is("acc-42", 200).await?;
    let token = mesh.control_plane.token(&ALICE).await?;
    let address = mesh.envoy()?.address();
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let vectors: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(" => ")).collect();
    let mut replies = Vec::new();
    for (number, (call, _)) in vectors.iter().enumerate() {
        replies.push(raw::exchange(address, &request(call, &format!("vector-{number}"), &token)?).await?);
    }
    let decisions = mesh.decisions().await?;
    let served = mesh.upstream.served();
    let mut refused_here = 0;
    for (number, ((call, expected), reply)) in vectors.iter().zip(&replies).enumerate() {
        let id = format!("vector-{number}");
        let got_through =
            served.iter().find(|call| call.headers.get("x-request-id").is_some_and(|value| value == &*id));
        let decision = decisions.get(&id);
        if let Some(got_through) = got_through {
            let decision = decision.with_context(|| format!("{call}: served and not recorded"))?;
            let path = got_through.target.split('?').next().unwrap_or_default();
            assert_eq!(decision["decision"], "allow", "{call}");
            assert_eq!(
                (decision["method"].as_str(), decision["path"].as_str()),
                (Some(&*got_through.method), Some(path)),
                "{call}"
            );
        } else {
            let text = reply.text();
            let is_refused =
                reply.status().is_none_or(|status| (400..500).contains(&status)) || text.contains("grpc-status:");
            ensure!(is_refused, "{call}: neither served nor refused: {text}");
            refused_here += usize::from(decision.is_some_and(|decision| decision["decision"] != "allow"));
        }
        if untouched {
            assert_eq!(got_through.is_some(), *expected == "allow", "{call}: {}", reply.text());
            if let Some(reason) = decision.filter(|_| got_through.is_none()).map(|decision| &decision["reasons"][0]) {
                let fits =
                    if *expected == "deny" { reason == "unmatched" || reason == "no_role" } else { reason == expected };
                assert!(fits, "{call}: expected {expected}, recorded {reason}");
            }
        }
    }
    // Some never get past Envoy itself: it refuses two hosts, or two tokens that it cannot verify.
    assert!(refused_here * 3 > vectors.len(), "{refused_here} of {} were refused by the filter", vectors.len());
    mesh.envoy()?.filter_is_unharmed().await
}
