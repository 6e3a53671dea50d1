//! The parts of Envoy's configuration that all variants share.

use std::net::SocketAddr;

use grantmesh_tests::ALICE;
use serde_json::{Value, json};

/// Where jwt_authn puts claims, and so the bench.
pub(crate) const CLAIMS: &str = "envoy.filters.http.jwt_authn";

pub(crate) fn typed(kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/{kind}"));
    config
}

pub(crate) fn address(socket: SocketAddr) -> Value {
    json!({ "socket_address": { "address": socket.ip().to_string(), "port_value": socket.port() } })
}

pub(crate) fn cluster(name: &str, to: SocketAddr) -> Value {
    let endpoint = json!({ "endpoint": { "address": address(to) } });
    json!({ "name": name, "connect_timeout": "1s", "type": "STATIC", "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] } })
}

/// The identity, put where jwt_authn puts it, in all variants alike: so that verifying tokens is not what is measured.
fn identity() -> Value {
    let payload = json!({ "jwt_payload": { "iss": "https://dev-issuer.grantmesh.invalid", "sub": ALICE.name, "groups": ALICE.groups, "aud": "grantmesh" } });
    let metadata = json!([{ "metadata_namespace": CLAIMS, "value": payload, "allow_overwrite": true }]);
    let config = typed("envoy.extensions.filters.http.set_metadata.v3.Config", json!({ "metadata": metadata }));
    json!({ "name": "identity", "typed_config": config })
}

pub(crate) fn wasm(name: &str, file: &str, configuration: &str) -> Value {
    let vm = json!({ "vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": { "local": { "filename": file } } });
    let text = typed("google.protobuf.StringValue", json!({ "value": configuration }));
    let plugin = json!({ "name": name, "vm_config": vm, "configuration": text, "failure_policy": "FAIL_RELOAD" });
    let config = typed("envoy.extensions.filters.http.wasm.v3.Wasm", json!({ "config": plugin }));
    json!({ "name": name, "typed_config": config })
}

/// The listener of a place, with a filter between the identity and the router.
pub(crate) fn listener(place: usize, filter: Option<Value>) -> Value {
    let router =
        json!({ "name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({})) });
    let chain: Vec<Value> = std::iter::once(identity()).chain(filter).chain(std::iter::once(router)).collect();
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } });
    let manager = json!({
        "stat_prefix": format!("bench-{place}"),
        "http_filters": chain,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    let manager = typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", manager);
    json!({
        "name": format!("bench-{place}"),
        "address": address(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    })
}

/// The address of the listener of a place, from the answer of Envoy's `/listeners`.
pub(crate) fn listening(listeners: &Value, place: usize) -> Option<SocketAddr> {
    let name = format!("bench-{place}");
    let all = listeners.get("listener_statuses")?.as_array()?;
    let socket = all.iter().find(|status| status["name"] == name.as_str())?.pointer("/local_address/socket_address")?;
    format!("{}:{}", socket["address"].as_str()?, socket["port_value"]).parse().ok()
}
