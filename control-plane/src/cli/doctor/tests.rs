//! Planted faults, one at a time, in the configuration that we ship and in the other forms that a configuration has.

use serde_json::{Value, json};

use super::*;

const SHIPPED: &str = include_str!("../../../../deploy/envoy/envoy.yaml");

const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/// The configuration that we ship, with something for every placeholder.
fn shipped() -> String {
    let mut parts = SHIPPED.split("${");
    let mut rendered = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap();
        rendered.push_str(match name {
            "FILTER_KEY" => KEY,
            name if name.ends_with("PORT") => "8080",
            name if name.ends_with("HOST") => "127.0.0.1",
            _ => "x",
        });
        rendered.push_str(rest);
    }
    rendered
}

fn codes(text: &str, single_use: &[&str]) -> Vec<String> {
    let single_use: Vec<String> = single_use.iter().map(|route| (*route).to_owned()).collect();
    let document = document::parse(text).unwrap();
    told(&document, &Told { single_use: &single_use, hold: None })
}

fn told(document: &Value, told: &Told<'_>) -> Vec<String> {
    let mut found = checks::check(document, told);
    found.sort_by_key(|finding| finding.severity);
    found.iter().map(|finding| format!("{} {}", finding.severity.as_str(), finding.code)).collect()
}

/// The shipped configuration with one line changed.
#[track_caller]
fn planted(from: &str, to: &str) -> Vec<String> {
    let text = shipped();
    assert!(text.contains(from), "`{from}` is no longer in deploy/envoy/envoy.yaml");
    codes(&text.replacen(from, to, 1), &[])
}

const POLICY: &str = "failure_policy: FAIL_RELOAD";
const JWT: &str = "                  - name: envoy.filters.http.jwt_authn";
const ROUTE: &str = "route: { cluster: upstream }";

#[test]
fn the_configuration_that_we_ship_is_fine() {
    assert_eq!(codes(&shipped(), &["payments"]), [""; 0]);
}

#[test]
fn whatever_lets_calls_through_is_a_fault() {
    for open in ["failure_policy: FAIL_OPEN", "failure_policy: 3", "fail_open: true", "failOpen: true"] {
        assert_eq!(planted(POLICY, open), ["fault fail_open"], "{open}");
    }
    assert_eq!(
        planted("  - name: grantmesh\n", "  - name: grantmesh\n                    disabled: true\n"),
        ["fault disabled"]
    );
    let off =
        format!("{ROUTE}\n                          typed_per_filter_config: {{ grantmesh: {{ disabled: true }} }}");
    assert_eq!(planted(ROUTE, &off), ["fault disabled"]);
    let off = "domains: [\"*\"]\n                      typedPerFilterConfig: { grantmesh: { disabled: true } }";
    assert_eq!(planted("domains: [\"*\"]", off), ["fault disabled"]);
}

#[test]
fn what_is_weaker_than_it_could_be_is_a_warning() {
    assert_eq!(planted(POLICY, "failure_policy: FAIL_CLOSED"), ["warning no_reload"]);
    assert_eq!(planted(POLICY, "root_id: grantmesh"), ["warning no_reload"]);
    let lua = "  - name: envoy.filters.http.lua\n                  - name: envoy.filters.http.router\n";
    assert_eq!(planted("  - name: envoy.filters.http.router\n", lua), ["warning changed_after"]);
    assert_eq!(planted(ROUTE, "route: { cluster: upstream, prefix_rewrite: /x }"), ["warning rewritten"]);
}

#[test]
fn copies_and_repetitions_of_calls_are_faults_on_named_routes() {
    for multiplier in [
        "request_mirror_policies: [{ cluster: upstream }]",
        "hedge_policy: { hedge_on_per_try_timeout: true }",
        "retry_policy: { retry_on: 5xx }",
        "retryPolicy: { retryOn: 5xx }",
    ] {
        let text = shipped().replace(
            ROUTE,
            &format!("name: once\n                          route: {{ cluster: upstream, {multiplier} }}"),
        );
        assert_eq!(codes(&text, &[]), ["warning multiplied"], "{multiplier}");
        assert_eq!(codes(&text, &["other"]), ["warning multiplied"], "{multiplier}");
        assert_eq!(codes(&text, &["once"]), ["fault multiplied"], "{multiplier}");
    }
    let everywhere = "route_config:\n                  request_mirror_policies: [{ cluster: upstream }]";
    let text = shipped().replace("route_config:", everywhere);
    assert_eq!(codes(&text, &["once"]), ["fault multiplied"]);
    assert_eq!(planted(ROUTE, "route: { cluster: upstream, request_mirror_policies: [] }"), [""; 0]);
}

#[test]
fn nothing_ends_a_call_before_its_hold_is_over() {
    let manager = "route_config:";
    for (bound, most) in [
        ("stream_idle_timeout: 30s", 30),
        ("streamIdleTimeout: 29.5s", 29),
        ("common_http_protocol_options: { max_stream_duration: { seconds: 30, nanos: 1 } }", 30),
        ("stream_idle_timeout: 0s", 0),
        ("stream_idle_timeout: 300s", 300),
        ("stream_idle_timeout: { seconds: 300 }", 300),
    ] {
        of_hold(manager, &format!("{bound}\n                {manager}"), most);
    }
    for (bound, most) in
        [("idle_timeout: 10s", 10), ("max_stream_duration: { maxStreamDuration: 60s }", 60), ("timeout: 1s", 0)]
    {
        of_hold(ROUTE, &format!("route: {{ cluster: upstream, {bound} }}"), most);
    }
}

/// The shipped configuration with a bound of so many seconds: told as a fault to whoever has said that calls are held for
/// longer, as a doubt to whoever has said nothing.
#[track_caller]
fn of_hold(from: &str, to: &str, most: u64) {
    let text = shipped();
    assert!(text.contains(from), "`{from}` is no longer in deploy/envoy/envoy.yaml");
    let document = document::parse(&text.replacen(from, to, 1)).unwrap();
    let held = |hold: Option<u64>| told(&document, &Told { single_use: &[], hold: hold.map(Span::from_secs) });
    assert_eq!(held(None), if most > 0 && most < 240 { vec!["warning ends_held_calls"] } else { vec![] }, "{to}");
    assert_eq!(held(Some(most.saturating_sub(1))), [""; 0], "{to}");
    assert_eq!(held(Some(most + 1)), if most > 0 { vec!["fault ends_held_calls"] } else { vec![] }, "{to}");
}

#[test]
fn users_come_before_the_filter() {
    let text = shipped();
    let (head, rest) = text.split_once(JWT).unwrap();
    let at = rest.find("                  - name: grantmesh").unwrap();
    let (jwt, rest) = rest.split_at(at);
    assert_eq!(codes(&format!("{head}{rest}"), &[]), ["warning no_users"]);
    let (ours, router) = rest.split_at(rest.find("                  - name: envoy.filters.http.router").unwrap());
    assert_eq!(codes(&format!("{head}{ours}{JWT}{jwt}{router}"), &[]), ["fault users_too_late"]);
}

#[test]
fn what_the_filter_itself_would_refuse_is_told_before() {
    assert_eq!(
        planted("    - name: grantmesh\n      type: STRICT_DNS", "    - name: other\n      type: STRICT_DNS"),
        ["fault no_cluster"]
    );
    assert_eq!(planted("\"cluster\": \"grantmesh\"", "\"cluster\": \"elsewhere\""), ["fault no_cluster"]);
    assert_eq!(planted(KEY, "no-key"), ["fault key"]);
    assert_eq!(planted("\"services\": [\"payments\"]", "\"services\": []"), ["fault configuration"]);
    assert_eq!(planted("\"generation\": 1,", "\"generation\" 1,"), ["fault configuration"]);
    assert_eq!(planted("\"generation\": 1,", "\"method_override\": \"ignored\","), ["warning method_override"]);
    assert_eq!(codes("static_resources: {}", &[]), ["fault no_filter"]);
    assert_eq!(codes("[]", &[]), ["fault no_filter"]);
}

#[test]
fn callers_with_certificates_are_read() {
    let Value::Array(mut documents) = document::parse(&shipped()).unwrap() else { panic!("no documents") };
    let mut bootstrap = documents.remove(0);
    let chain = bootstrap.pointer_mut("/static_resources/listeners/0/filter_chains/0").unwrap();
    chain["transport_socket"] = json!({ "name": "tls", "typed_config": { "require_client_certificate": true } });
    let told = |bootstrap: &Value| codes(&bootstrap.to_string(), &[]);
    assert_eq!(told(&bootstrap), [""; 0]);
    let without = bootstrap.to_string().replace("\\\"generation\\\": 1,", "\\\"peer\\\": \\\"none\\\",");
    assert_eq!(codes(&without, &[]), ["fault peers_not_read"]);
    assert_eq!(codes(&without.replace("true}", "false}"), &[]), [""; 0], "an ingress gateway");
}

fn manifest(spec: Value) -> String {
    let (api, metadata) = ("extensions.istio.io/v1alpha1", json!({ "name": "grantmesh" }));
    json!({ "apiVersion": api, "kind": "WasmPlugin", "metadata": metadata, "spec": spec }).to_string()
}

#[test]
fn manifests_for_istio_are_read() {
    let own = json!({ "services": ["payments"], "keys": [KEY], "credential": "c", "public_url": "https://g" });
    assert_eq!(codes(&manifest(json!({ "phase": "AUTHZ", "pluginConfig": own })), &[]), [""; 0]);
    let open = manifest(json!({ "failStrategy": "FAIL_OPEN", "pluginConfig": own }));
    assert_eq!(codes(&open, &[]), ["fault fail_open"]);
    assert_eq!(codes(&format!("kind: Namespace\n---\n{open}\n"), &[]), ["fault fail_open"], "one of several documents");
    assert_eq!(codes(&manifest(json!({ "phase": "AUTHN", "pluginConfig": own })), &[]), ["warning before_identity"]);
    assert_eq!(codes(&manifest(json!({})), &[]), ["fault configuration"]);
    let mut no_peer = own.clone();
    no_peer["peer"] = json!("none");
    assert_eq!(codes(&manifest(json!({ "phase": "AUTHZ", "pluginConfig": no_peer })), &[]), ["warning peers_not_read"]);
}

#[test]
fn a_dump_of_a_running_proxy_is_read() {
    let Value::Array(mut documents) = document::parse(&shipped()).unwrap() else { panic!("no documents") };
    let mut bootstrap = documents.remove(0);
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let routes = bootstrap.pointer_mut(manager).unwrap().as_object_mut().unwrap().remove("route_config").unwrap();
    bootstrap.pointer_mut(manager).unwrap()["rds"] = json!({ "route_config_name": "payments" });
    let dump = |bootstrap: &Value, routes: &Value| {
        let configs = json!([
            { "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump", "bootstrap": bootstrap },
            { "dynamic_route_configs": [{ "route_config": routes }] },
        ]);
        json!({ "configs": configs }).to_string()
    };
    assert_eq!(codes(&dump(&bootstrap, &routes), &[]), [""; 0]);
    let mut mirrored = routes.clone();
    mirrored["virtual_hosts"][0]["routes"][0]["route"]["request_mirror_policies"] = json!([{ "cluster": "x" }]);
    assert_eq!(codes(&dump(&bootstrap, &mirrored), &[]), ["warning multiplied"]);
    // The filter may come on its own: then only its entry is in the chain.
    let filters = bootstrap.pointer_mut(&format!("{manager}/http_filters")).unwrap();
    let ours = filters[1]["typed_config"].take();
    filters[1] = json!({ "name": "grantmesh", "config_discovery": {} });
    assert_eq!(codes(&dump(&bootstrap, &routes), &[]), ["warning delivered_apart"]);
    let apart = json!({ "configs": [bootstrap, { "ecds_filters": [{ "ecds_filter": { "name": "grantmesh", "typed_config": ours } }] }] });
    assert_eq!(codes(&apart.to_string(), &[]), ["fault no_cluster"; 0]);
}

#[test]
fn heads_are_held_only_where_the_proxy_allows_it() {
    let access = "\"access_log\": true,";
    let holds = "\"access_log\": true, \"bodies\": { \"hold_heads\": true },";
    assert_eq!(planted(access, holds), ["fault heads_not_held"]);
    let allowed = shipped()
        .replace(access, holds)
        .replace("# allow_on_headers_stop_iteration: true", "allow_on_headers_stop_iteration: true");
    assert_eq!(codes(&allowed, &[]), [""; 0]);
    let own = json!({
        "services": ["payments"], "keys": [KEY], "credential": "c", "public_url": "https://g", "bodies": { "hold_heads": true },
    });
    assert_eq!(codes(&manifest(json!({ "phase": "AUTHZ", "pluginConfig": own })), &[]), ["fault heads_not_held"]);
}

#[test]
fn what_is_no_configuration_is_told_and_bounded() {
    for text in ["{", "a: [", "\t- x: {", "{\"configs\": [}"] {
        assert!(document::parse(text).is_err(), "{text}");
    }
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(document::parse(&deep(20)).is_ok());
    assert!(document::parse(&deep(100_000)).is_err());
    let many: Vec<Value> = (0..1_000).map(|_| serde_json::from_str(&manifest(json!({}))).unwrap()).collect();
    assert_eq!(codes(&json!(many).to_string(), &[]).len(), 200);
    let secret =
        shipped().replace("\"credential\": \"x\"", "\"credential\": \"s3cret\"").replace(POLICY, "fail_open: true");
    let told = checks::check(&document::parse(&secret).unwrap(), &Told::default());
    assert!(!format!("{told:?}").contains("s3cret"));
}

#[test]
fn a_credential_that_everybody_can_read_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.yaml");
    std::fs::write(&file, shipped()).unwrap();
    assert!(checks::holds_credential(&document::parse(&shipped()).unwrap()));
    for (mode, told) in [(0o644, true), (0o640, false), (0o600, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(is_readable_by_all(&file), told, "{mode:o}");
    }
}
