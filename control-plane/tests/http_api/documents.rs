//! What the API says of itself is what it does.

use std::collections::BTreeSet;

use grantmesh_control_plane::domain::EventKind;
use grantmesh_control_plane::http::openapi;
use grantmesh_shared::wire::policy::{MAX_USES, PolicyFile, compile, parse};
use serde_json::Value;

use super::cli::grantmesh;
use super::server::{ALICE, Server};

#[tokio::test]
async fn the_description_is_generated_and_served() {
    let server = Server::bare().await;
    let served = server.get(ALICE, "/openapi.json").await.expect(200);
    assert_eq!(served, serde_json::to_value(openapi()).unwrap());
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = served["paths"].as_object().unwrap();
    let listed: Vec<String> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    insta::assert_snapshot!(listed.join("\n"), @r"
    GET /dev/jwks.json
    POST /filter/v1/claims
    POST /filter/v1/heartbeat
    POST /filter/v1/holds
    POST /filter/v1/records
    POST /filter/v1/sync
    GET /healthz
    GET /metrics
    GET /readyz
    GET /v1/audit/checkpoint
    GET /v1/audit/entries
    POST /v1/break-glass
    GET /v1/delegations
    POST /v1/delegations
    POST /v1/delegations/{id}/end
    GET /v1/events
    GET /v1/fleet
    GET /v1/grants
    POST /v1/grants/revoke
    GET /v1/grants/{id}
    POST /v1/grants/{id}/extend
    GET /v1/grants/{id}/ledger
    POST /v1/grants/{id}/release
    POST /v1/grants/{id}/revoke
    GET /v1/grants/{id}/uses
    GET /v1/locks
    POST /v1/locks
    DELETE /v1/locks/{id}
    GET /v1/notifications
    POST /v1/notifications/{id}/resend
    GET /v1/offline-tokens
    POST /v1/offline-tokens
    GET /v1/policy
    POST /v1/policy
    POST /v1/policy/check
    POST /v1/policy/explain
    GET /v1/policy/schema
    POST /v1/policy/simulate
    GET /v1/policy/versions
    GET /v1/policy/versions/{id}
    GET /v1/post-reviews
    GET /v1/post-reviews/{id}
    POST /v1/post-reviews/{id}/review
    GET /v1/requests
    POST /v1/requests
    GET /v1/requests/new
    GET /v1/requests/{id}
    GET /v1/requests/{id}/holds
    GET /v1/requests/{id}/reviewers
    POST /v1/requests/{id}/reviews
    POST /v1/requests/{id}/withdraw
    GET /v1/signals
    DELETE /v1/signals/{name}
    PUT /v1/signals/{name}
    ");
}

#[tokio::test]
async fn the_schema_of_policies_is_served_to_everyone() {
    let server = Server::bare().await;
    let request = axum::http::Request::get("/v1/policy/schema").body(axum::body::Body::empty()).unwrap();
    let served = server.send(request).await;
    assert_eq!(served.headers["content-type"], "application/schema+json");
    assert_eq!(served.expect(200), grantmesh_shared::wire::policy::schema());
    let printed = grantmesh(&["policy", "schema"], &[]).await.fine();
    let written = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/policies/schema.json");
    assert_eq!(printed, std::fs::read_to_string(written).unwrap());
}

#[tokio::test]
async fn every_reference_in_it_leads_somewhere() {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

/// A list without pages says how long it can be, and no longer than what bounds it.
#[test]
fn lists_without_pages_are_bounded() {
    let document = serde_json::to_value(openapi()).unwrap();
    let most = |schema: &str, list: &str| {
        let schema = &document["components"]["schemas"][schema];
        assert!(schema["description"].as_str().unwrap().contains("no pages"), "{schema}");
        schema["properties"][list]["maxItems"].as_u64()
    };
    assert_eq!(most("GrantUsesView", "uses"), Some(MAX_USES.into()));
    assert_eq!(most("RequestHoldsView", "holds"), Some(1_000));
    let signals = most("SignalsView", "signals").unwrap();
    let declared = |count: u64| {
        let names: Vec<String> =
            (0..count).map(|number| format!("{{ name: s{number}, setters: [\"group:leads\"] }}")).collect();
        let spec = format!("issuer: https://id.example, signals: [{}]", names.join(", "));
        let text = format!(
            "apiVersion: grantmesh.dev/v1\nkind: Defaults\nmetadata: {{ name: defaults }}\nspec: {{ {spec} }}\n"
        );
        let documents = parse(&[PolicyFile { name: "policy.yaml".to_owned(), text }]).unwrap();
        compile(&documents).is_err()
    };
    assert_eq!((declared(signals), declared(signals + 1)), (false, true), "whether a policy is refused");
}

#[test]
fn every_event_is_named_where_people_look() {
    let readme = include_str!("../../../README.md");
    let (_, told) = readme.split_once("Events are `").unwrap();
    let (told, _) = told.split_once(". Each").unwrap();
    for kind in EventKind::ALL {
        assert!(told.contains(kind.as_str()), "README.md does not name {}", kind.as_str());
    }
}

fn collect(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        _ => {}
    }
}
