//! What else could guard the call: Envoy's own RBAC, a script, and a server that is asked for each call (ext_authz).
//!
//! Each lets the measured call through by its method, its path and its caller, except the server, which allows everything: no
//! real one can cost less.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use grantmesh_tests::{ALICE, PATIENCE, Process, until};
use serde_json::{Map, Value, json};

use crate::config::{CLAIMS, cluster, typed};
use crate::variants::{Chain, GRANTED};

/// The server that is asked, a process of its own: its CPU can be read.
#[derive(Debug)]
pub(crate) struct AlwaysAllow {
    process: Process,
    address: SocketAddr,
}

impl AlwaysAllow {
    /// Starts it.
    ///
    /// # Errors
    /// If it was not built, or does not start.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let program = std::env::var_os("GRANTMESH_ALWAYS_ALLOW")
            .context("`GRANTMESH_ALWAYS_ALLOW` is not set\nrun `cargo dev bench overhead`")?;
        let log = folder.join("always-allow.log");
        let mut process = Process::start("the ext_authz server", &mut Command::new(program), &log)?;
        let address = until("the ext_authz server tells its address", PATIENCE, async || {
            process.alive()?;
            let told = process.log();
            Ok(told.split_once('\n').and_then(|(address, _)| address.parse().ok()))
        })
        .await?;
        Ok(Self { process, address })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Envoy's clusters for it.
    pub(crate) fn clusters(&self) -> [Value; 2] {
        let options = json!({ "explicit_http_config": { "http2_protocol_options": {} } });
        let mut grpc = cluster("authz-grpc", self.address);
        grpc["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
                typed("envoy.extensions.upstreams.http.v3.HttpProtocolOptions", options)
        });
        [cluster("authz-http", self.address), grpc]
    }
}

/// The filter of a peer; nothing for what is not one.
pub(crate) fn filter(chain: Chain) -> Option<Value> {
    let (kind, config) = match chain {
        Chain::Nothing | Chain::Again | Chain::Trivial | Chain::Grantmesh => return None,
        Chain::RbacList(policies) => ("rbac.v3.RBAC", rbac_list(policies)),
        Chain::RbacTree(paths) => ("rbac.v3.RBAC", rbac_tree(paths)),
        Chain::Lua => ("lua.v3.Lua", json!({ "default_source_code": { "inline_string": lua() } })),
        Chain::ExtAuthzHttp => ("ext_authz.v3.ExtAuthz", ext_authz_http()),
        Chain::ExtAuthzGrpc => ("ext_authz.v3.ExtAuthz", ext_authz_grpc()),
    };
    let config = typed(&format!("envoy.extensions.filters.http.{kind}"), config);
    Some(json!({ "name": "peer", "typed_config": config }))
}

fn measured() -> (&'static str, &'static str) {
    GRANTED.split_once(' ').unwrap_or((GRANTED, ""))
}

/// As many paths as there are grants in the filter's table; that of the call stands in the middle, where a list finds it on average.
fn paths(count: usize) -> impl Iterator<Item = String> {
    let (_, measured) = measured();
    let path = move |number| {
        if number == count / 2 { measured.to_owned() } else { format!("/v1/accounts/other-{number}/refunds") }
    };
    (0..count).map(path)
}

/// A list of policies, each for one caller, method and path, as grants are.
fn rbac_list(count: usize) -> Value {
    let (method, _) = measured();
    let caller = json!({ "metadata": {
        "filter": CLAIMS,
        "path": [{ "key": "jwt_payload" }, { "key": "sub" }],
        "value": { "string_match": { "exact": ALICE.name } },
    } });
    let policy = |path: String| {
        let method = json!({ "header": { "name": ":method", "string_match": { "exact": method } } });
        let path = json!({ "url_path": { "path": { "exact": path } } });
        json!({ "permissions": [{ "and_rules": { "rules": [method, path] } }], "principals": [caller] })
    };
    // Envoy asks them in the order of their names.
    let policies: Map<String, Value> =
        paths(count).enumerate().map(|(number, path)| (format!("grant-{number:08}"), policy(path))).collect();
    json!({ "rules": { "action": "ALLOW", "policies": policies } })
}

fn input(name: &str, kind: &str, config: Value) -> Value {
    json!({ "name": name, "typed_config": typed(kind, config) })
}

fn header(name: &str) -> Value {
    input(name, "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", json!({ "header_name": name }))
}

/// A map from paths to the method and the caller that may.
fn rbac_tree(count: usize) -> Value {
    let (method, _) = measured();
    let allow = json!({ "action": input("allow", "envoy.config.rbac.v3.Action", json!({ "name": "grant", "action": "ALLOW" })) });
    let claim = input(
        "claim",
        "envoy.extensions.matching.common_inputs.network.v3.DynamicMetadataInput",
        json!({ "filter": CLAIMS, "path": [{ "key": "jwt_payload" }, { "key": "sub" }] }),
    );
    let is_caller = input(
        "is-caller",
        "envoy.extensions.matching.input_matchers.metadata.v3.Metadata",
        json!({ "value": { "string_match": { "exact": ALICE.name } } }),
    );
    let caller = json!({ "single_predicate": { "input": claim, "custom_match": is_caller } });
    let method = json!({ "single_predicate": { "input": header(":method"), "value_match": { "exact": method } } });
    let both = json!({ "and_matcher": { "predicate": [method, caller] } });
    let whose = json!({ "matcher": { "matcher_list": { "matchers": [{ "predicate": both, "on_match": allow }] } } });
    let map: Map<String, Value> = paths(count).map(|path| (path, whose.clone())).collect();
    json!({ "matcher": { "matcher_tree": { "input": header(":path"), "exact_match_map": { "map": map } } } })
}

fn lua() -> String {
    let (method, path) = measured();
    let caller = ALICE.name;
    format!(
        r#"function envoy_on_request(call)
  local headers = call:headers()
  local claims = call:streamInfo():dynamicMetadata():get("{CLAIMS}")
  if claims == nil or claims["jwt_payload"]["sub"] ~= "{caller}"
    or headers:get(":method") ~= "{method}" or headers:get(":path") ~= "{path}" then
    call:respond({{[":status"] = "403"}}, "not allowed")
  end
end"#
    )
}

fn ext_authz_http() -> Value {
    let server = json!({ "uri": "http://authz", "cluster": "authz-http", "timeout": "1s" });
    json!({ "http_service": { "server_uri": server }, "transport_api_version": "V3" })
}

fn ext_authz_grpc() -> Value {
    let service = json!({ "envoy_grpc": { "cluster_name": "authz-grpc" }, "timeout": "1s" });
    json!({ "grpc_service": service, "transport_api_version": "V3" })
}
