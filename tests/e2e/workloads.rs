//! Which workload calls is what its certificate says, or what a waypoint's listener has noted, in a real Envoy; and where the
//! filter is told that no caller has a certificate, it knows none.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{Api, Authority, Delivery, Mesh, PATIENCE, Setup, play, until};
use serde_json::{Value, json};

use crate::bodies::reason;

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/workloads.yaml");

const AGENT: &str = "spiffe://mesh/ns/batch/sa/agent";

const ACCOUNT: &str = "/v1/accounts/acc-1";

/// Other workloads, one that is none, and why they are refused.
const OTHERS: [(&str, &str); 3] = [
    ("spiffe://mesh/ns/batch/sa/agent2", "no_role"),
    ("spiffe://mesh/ns/other/sa/agent", "no_role"),
    ("https://mesh/ns/batch/sa/agent", "no_principal"),
];

fn chain(config: &mut Value) -> &mut Value {
    config.pointer_mut("/static_resources/listeners/0/filter_chains/0").expect("a filter chain")
}

/// Has the listener ask for certificates, and leaves those of callers in the story's folder.
fn with_certificates(config: &mut Value, folder: &Path) {
    let authority = Authority::new().expect("an authority");
    chain(config)["transport_socket"] = authority.transport_socket().expect("a certificate");
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a file");
    write("authority.pem", authority.certificate());
    for (place, id) in [AGENT].into_iter().chain(OTHERS.map(|(id, _)| id)).enumerate() {
        let (certificate, key) = authority.workload(id).expect("a certificate");
        write(&format!("{place}.pem"), format!("{certificate}{key}"));
    }
}

/// The caller whose certificate has this place.
fn caller(mesh: &mut Mesh, place: usize) -> Result<Api> {
    let read = |name: &str| std::fs::read_to_string(mesh.folder().join(name)).with_context(|| name.to_owned());
    let (authority, certificate) = (read("authority.pem")?, read(&format!("{place}.pem"))?);
    let url = format!("https://{}", mesh.envoy()?.address());
    Api::with_certificate(&url, &authority, &certificate)
}

#[test]
fn a_workload_is_what_its_certificate_says() {
    let setup = Setup { policy: POLICY, delivery: Delivery::Discovery, change: with_certificates, ..Setup::default() };
    play(setup, async |mesh| {
        let agent = caller(mesh, 0)?;
        let reply = agent.carrying("x-request-id", "agent-1")?.get(ACCOUNT).await?;
        ensure!(reply.status == 200, "{}", reply.text());
        for (place, (other, why)) in OTHERS.into_iter().enumerate() {
            let refused = caller(mesh, place + 1)?.get(ACCOUNT).await?;
            assert_eq!(reason(&refused, 403)?, why, "{other}");
        }
        // A header says nothing about who calls.
        let claimed = format!("By=spiffe://mesh/x;URI={AGENT}");
        let liar = caller(mesh, 1)?.carrying("x-forwarded-client-cert", &claimed)?;
        assert_eq!(reason(&liar.get(ACCOUNT).await?, 403)?, "no_role");
        let decisions = mesh.decisions().await?;
        let told = decisions.values().filter(|event| event["workload"] == AGENT).count();
        ensure!(told == 1, "one decision is the agent's: {decisions:#?}");

        mesh.envoy()?.swap_filter(|plugin| (plugin["generation"], plugin["peer"]) = (json!(2), json!("none")))?;
        until("no workload is known", PATIENCE, async || {
            let reply = caller(mesh, 0)?.get(ACCOUNT).await?;
            Ok((reply.status == 403 && reason(&reply, 403)? == "no_principal").then_some(()))
        })
        .await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}

/// Has the listener note who calls as a waypoint's does; here by what a header says.
fn as_waypoint(config: &mut Value, _: &Path) {
    let filters = chain(config).pointer_mut("/filters/0/typed_config/http_filters").and_then(Value::as_array_mut);
    let filters = filters.expect("HTTP filters");
    for entry in filters.iter_mut().filter(|entry| entry["name"] == "grantmesh") {
        let text = &mut entry["typed_config"]["config"]["configuration"]["value"];
        let mut plugin: Value = serde_json::from_str(text.as_str().unwrap_or_default()).expect("a configuration");
        plugin["peer"] = json!("waypoint");
        *text = json!(plugin.to_string());
    }
    filters.insert(
        0,
        json!({
            "name": "envoy.filters.http.set_filter_state",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
                "on_request_headers": [{
                    "object_key": "io.istio.peer_principal",
                    "factory_key": "envoy.string",
                    "format_string": {
                        "text_format_source": { "inline_string": "%REQ(x-peer)%" },
                        "omit_empty_values": true,
                    },
                    "skip_if_empty": true,
                }],
            },
        }),
    );
}

#[test]
fn behind_a_waypoint_a_workload_is_what_its_listener_has_noted() {
    let setup = Setup { policy: POLICY, change: as_waypoint, ..Setup::default() };
    play(setup, async |mesh| {
        let nobody = Api::new(&mesh.envoy()?.url(), None)?;
        assert_eq!(reason(&nobody.get(ACCOUNT).await?, 403)?, "no_principal");
        for (other, why) in OTHERS {
            let refused = nobody.carrying("x-peer", other)?.get(ACCOUNT).await?;
            assert_eq!(reason(&refused, 403)?, why, "{other}");
        }
        let reply = nobody.carrying("x-peer", AGENT)?.get(ACCOUNT).await?;
        ensure!(reply.status == 200, "{}", reply.text());
        mesh.envoy()?.filter_is_unharmed().await
    });
}
