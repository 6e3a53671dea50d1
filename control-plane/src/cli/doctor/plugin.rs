//! Our filter where it is configured: as Envoy's wasm filter, however it is delivered, and as Istio's WasmPlugin.

use grantmesh_shared::wire::signature::from_hex;
use serde_json::Value;

use super::checks::Findings;
use super::document::{at, field, is_on, list, text, walk};

/// The end of the type of Envoy's wasm filter.
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

/// The plugin's part of a wasm filter's configuration, if this object is one and ours.
pub(super) fn of_envoy(object: &Value) -> Option<&Value> {
    let is_wasm = ["@type", "type_url"].iter().filter_map(|name| text(object, name)).any(|name| name.ends_with(WASM));
    // A `TypedStruct` has the message as a value.
    let message = if text(object, "type_url").is_some() { field(object, "value")? } else { object };
    field(message, "config").filter(|plugin| is_wasm && is_ours(plugin))
}

/// The `spec` of a WasmPlugin that is ours.
pub(super) fn of_istio(object: &Value) -> Option<&Value> {
    let kind = text(object, "kind") == Some("WasmPlugin");
    let spec = field(object, "spec").filter(|_| kind)?;
    let named = [at(object, &["metadata", "name"]), field(spec, "plugin_name"), field(spec, "url")];
    let is_named = named.into_iter().flatten().filter_map(Value::as_str).any(|name| name.contains("grantmesh"));
    (is_named || field(spec, "plugin_config").is_some_and(looks_like_ours)).then_some(spec)
}

fn is_ours(plugin: &Value) -> bool {
    let names = [field(plugin, "name"), field(plugin, "root_id"), at(plugin, &["vm_config", "vm_id"])];
    names.into_iter().flatten().filter_map(Value::as_str).any(|name| name.contains("grantmesh"))
        || configuration(plugin).is_some_and(|text| looks_like_ours(&text))
}

fn looks_like_ours(configuration: &Value) -> bool {
    ["services", "keys", "credential"].iter().all(|name| configuration.get(name).is_some())
}

/// The plugin's own configuration, which Envoy carries as a text or as a structure.
fn configuration(plugin: &Value) -> Option<Value> {
    let carried = field(plugin, "configuration")?;
    match field(carried, "value") {
        Some(Value::String(text)) => serde_json::from_str(text).ok(),
        Some(value) => Some(value.clone()),
        None => Some(carried.clone()),
    }
}

/// What a plugin of ours is configured with, wherever it stands.
pub(super) fn own_configuration(object: &Value) -> Option<Value> {
    of_envoy(object)
        .and_then(configuration)
        .or_else(|| of_istio(object).and_then(|spec| field(spec, "plugin_config")).cloned())
}

/// Whether a plugin of ours is told that no caller has a certificate.
fn knows_no_workloads(configuration: &Value) -> bool {
    text(configuration, "peer") == Some("none")
}

/// Checks a filter chain whose listener asks for certificates: our filter must read them.
pub(super) fn check_peers(chain: &Value, place: &str, found: &mut Findings) {
    let asks =
        at(chain, &["transport_socket", "typed_config"]).is_some_and(|tls| is_on(tls, "require_client_certificate"));
    let mut is_told_none = false;
    walk(chain, "", &mut |object, _| {
        is_told_none |= own_configuration(object).is_some_and(|own| knows_no_workloads(&own));
    });
    if asks && is_told_none {
        found.fault(
            "peers_not_read",
            place,
            "callers show certificates here, and the filter is told that there are none: what the policy and locks say of \
             workloads does not apply"
                .to_owned(),
            "remove `\"peer\": \"none\"` from the plugin's configuration",
        );
    }
}

/// Checks a plugin of ours in Envoy's form.
pub(super) fn check_envoy(plugin: &Value, place: &str, found: &mut Findings) {
    let policy = field(plugin, "failure_policy");
    let is = |name: &str, number: u64| {
        policy.is_some_and(|policy| policy.as_str() == Some(name) || policy.as_u64() == Some(number))
    };
    if is_on(plugin, "fail_open") || is("FAIL_OPEN", 3) {
        found.fault(
            "fail_open",
            place,
            "a filter that is broken lets every call through".to_owned(),
            "write `failure_policy: FAIL_RELOAD`, and remove `fail_open`",
        );
    } else if !is("FAIL_RELOAD", 1) {
        found.warning(
            "no_reload",
            place,
            "a VM that was lost is never replaced: its worker refuses every call until the proxy is started anew"
                .to_owned(),
            "write `failure_policy: FAIL_RELOAD`",
        );
    }
    match configuration(plugin) {
        Some(configuration) => {
            check_own(&configuration, place, found);
            if holds_heads(&configuration) && !is_on(plugin, "allow_on_headers_stop_iteration") {
                found.fault(
                    "heads_not_held",
                    place,
                    "the filter is told that it may hold heads, and the proxy shows it no bodies then: calls that depend on \
                     their bodies would all be refused after 30 s"
                        .to_owned(),
                    "write `allow_on_headers_stop_iteration: true` beside `vm_config`, or remove `bodies.hold_heads`",
                );
            }
        }
        None => found.fault(
            "configuration",
            place,
            "the plugin's configuration is missing or is not JSON".to_owned(),
            "write it as the text of a `google.protobuf.StringValue`, like in deploy/envoy/envoy.yaml",
        ),
    }
}

/// Checks a plugin of ours in Istio's form.
pub(super) fn check_istio(spec: &Value, place: &str, found: &mut Findings) {
    if text(spec, "fail_strategy") == Some("FAIL_OPEN") {
        found.fault(
            "fail_open",
            place,
            "a filter that is broken lets every call through".to_owned(),
            "write `failStrategy: FAIL_CLOSE`, or leave it out",
        );
    }
    if text(spec, "phase") == Some("AUTHN") {
        found.warning(
            "before_identity",
            place,
            "in the phase AUTHN the filter runs before the mesh has verified who calls".to_owned(),
            "write `phase: AUTHZ`",
        );
    }
    match field(spec, "plugin_config") {
        Some(configuration) => {
            check_own(configuration, place, found);
            if knows_no_workloads(configuration) {
                found.warning(
                    "peers_not_read",
                    place,
                    "the filter is told that callers have no certificates, which in a mesh all workloads have: what the \
                     policy and locks say of workloads does not apply"
                        .to_owned(),
                    "remove `peer: none`, unless this is a gateway that nothing in the mesh calls",
                );
            }
            if holds_heads(configuration) {
                found.fault(
                    "heads_not_held",
                    place,
                    "a WasmPlugin cannot hold heads: calls that depend on their bodies would all be refused after 30 s"
                        .to_owned(),
                    "remove `bodies.hold_heads`, and write `body: head-first` in the policy",
                );
            }
        }
        None => found.fault(
            "configuration",
            place,
            "the plugin has no configuration".to_owned(),
            "write `pluginConfig` with `services`, `keys`, `credential` and `public_url`",
        ),
    }
}

fn holds_heads(configuration: &Value) -> bool {
    at(configuration, &["bodies", "hold_heads"]).and_then(Value::as_bool) == Some(true)
}

/// What the filter would refuse at its start, as far as it shows from outside.
fn check_own(configuration: &Value, place: &str, found: &mut Findings) {
    for name in ["services", "keys", "credential", "public_url"] {
        let given = configuration.get(name);
        let empty = given.is_none_or(|value| value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty));
        if empty {
            found.fault(
                "configuration",
                place,
                format!("`{name}` is missing in the plugin's configuration"),
                "deploy/envoy/envoy.yaml says where each value comes from",
            );
        }
    }
    for key in list(configuration, "keys") {
        if key.as_str().and_then(from_hex::<32>).is_none() {
            found.fault(
                "key",
                place,
                "`keys` has something that is not a public key".to_owned(),
                "write the 64 hexadecimal digits that `grantmesh keygen` prints",
            );
        }
    }
    if text(configuration, "method_override") == Some("ignored") {
        found.warning(
            "method_override",
            place,
            "calls that ask to be taken for one of another method pass".to_owned(),
            "leave `method_override` out unless no service behind this proxy honours them",
        );
    }
}
