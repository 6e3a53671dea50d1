//! Parsers: calls that are made to be read differently, through Envoy to servers that do read differently. No call is decided as
//! one action and served as another, on the same resource or any other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::backends::{BACKENDS, Backends, decoded, served, socket};
use grantmesh_tests::{ALICE, Dice, Mesh, Setup, play, proof_size, raw};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/backends/policy.yaml");

/// Calls at the same time.
const AT_ONCE: usize = 16;

const BASES: [(&str, &str); 12] = [
    ("GET", "/v1/accounts/acc-42"),
    ("GET", "/v1/accounts/acc-42"),
    ("HEAD", "/v1/accounts/acc-42"),
    ("GET", "/v1/accounts/me"),
    ("DELETE", "/v1/accounts/acc-42"),
    ("GET", "/v1/accounts/acc-42/refunds"),
    ("POST", "/v1/accounts/acc-42/refunds"),
    ("POST", "/v1/accounts/acc-42/refunds"),
    ("GET", "/files/a/b.txt"),
    ("GET", "/files/secret/key"),
    ("GET", "/admin"),
    ("GET", "/"),
];

/// What is put into paths.
const PIECES: &[&[u8]] = &[
    b"/",
    b"//",
    b".",
    b"..",
    b"/.",
    b"/..",
    b"/./",
    b"/../",
    b"/../me",
    b"/..;/",
    b"..;",
    b";",
    b";x=1",
    b"\\",
    b"\\..\\",
    b"%2f",
    b"%2F",
    b"%5c",
    b"%5C",
    b"%2e",
    b"%2E",
    b"%2e%2e",
    b"%2e%2e%2f",
    b"..%2f",
    b"..%5c",
    b"%252e",
    b"%252f",
    b"%25",
    b"%00",
    b"%0a",
    b"%0d%0a",
    b"%09",
    b"%20",
    b"+",
    b"%2b",
    b"%3b",
    b"%3f",
    b"%23",
    b"%26",
    b"%3d",
    b"%3a",
    b"%40",
    b"?",
    b"#",
    b"&",
    b"%",
    b"%4",
    b"%zz",
    b"%u002f",
    b"%c0%af",
    b"%C0%AE",
    b"%e0%80%af",
    b"%ff",
    b"%c3",
    b"%C3%A9",
    b"%c3%a9",
    b"\xc3\xa9",
    b"e%CC%81",
    b"%EF%BC%8F",
    b"\xef\xbc\x8f",
    b"%E2%80%AE",
    b"%61",
    b"%41",
    b"%7e",
    b"~",
    b"*",
    b":",
    b"@",
    b"!",
    b"$",
    b"'",
    b"(",
    b")",
    b",",
    b"=",
    b"|",
    b"%7C",
    b"\"",
    b"%22",
    b"<",
    b"^",
    b"`",
    b"{",
    b"[",
    b"%5B",
    b"me",
    b"ME",
    b"Me",
    b"secret",
    b"SECRET",
    b"Secret/",
    b"/secret/",
    b"admin",
    b"Admin",
    b"refunds",
    b"REFUNDS",
    b"files",
    b"v1",
    b"acc-42",
    b"/refunds",
    b"/admin",
    b"/files/secret/key",
    b"?_method=DELETE",
    b"?a=b&_method=GET",
    b"?%5fmethod=DELETE",
    b"?.method=DELETE",
    b"?next=/../admin",
    b"//admin",
    b"http://x/admin",
    b"\x80",
    b"%7F",
    b"\x7f",
];

/// What is put beside the usual headers.
const HEADERS: &[&str] = &[
    "x-http-method-override: DELETE",
    "X-HTTP-Method-Override: GET",
    "x_http_method_override: DELETE",
    "x-http_method_override: DELETE",
    "x-http-method: DELETE",
    "x-method-override: DELETE",
    "x-original-url: /admin",
    "x_original_url: /v1/accounts/me",
    "x-rewrite-url: /files/secret/key",
    "content-type: application/x-www-form-urlencoded",
    "content-type: application/json",
    "content-type: application/grpc",
    "x-forwarded-prefix: /admin",
    "x-forwarded-host: other.example",
    "transfer-encoding: identity",
];

/// A call as bytes, for one back end under one id.
fn call(dice: &mut Dice, backend: &str, id: &str, token: &str) -> Vec<u8> {
    let (method, base) = *dice.pick(&BASES).unwrap_or(&BASES[0]);
    let (mut method, mut path) = (method.as_bytes().to_vec(), base.as_bytes().to_vec());
    let changes = dice.below(4);
    for _ in 0..changes {
        change(dice, &mut path);
    }
    if dice.once_in(10) {
        let methods: [&[u8]; 9] = [b"get", b"Post", b"HEAD", b"OPTIONS", b"PUT", b"PATCH", b"TRACE", b"DELETE", b"GET"];
        method = dice.pick(&methods).map(|method| method.to_vec()).unwrap_or_default();
    }
    let hosts = ["payments.example.com", "PAYMENTS.example.com:80", "payments.example.com.", "payments.example.com:0"];
    let host = if dice.once_in(12) { dice.pick(&hosts).copied().unwrap_or(hosts[0]) } else { hosts[0] };
    let mut bytes = method;
    bytes.push(b' ');
    bytes.append(&mut path);
    let mut head = format!(
        " HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {token}\r\nx-backend: {backend}\r\nx-request-id: {id}\r\n"
    );
    let mut body = "";
    if dice.once_in(5)
        && let Some(header) = dice.pick(HEADERS)
    {
        head.push_str(header);
        head.push_str("\r\n");
        if header.starts_with("content-type") {
            body = "_method=DELETE";
        }
    }
    head.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    bytes.extend_from_slice(head.as_bytes());
    bytes
}

/// One change of a path.
fn change(dice: &mut Dice, path: &mut Vec<u8>) {
    let at = dice.below(path.len() + 1);
    match dice.below(8) {
        0 | 1 => {
            let piece = dice.pick(PIECES).copied().unwrap_or_default();
            path.splice(at..at, piece.iter().copied());
        }
        2 => {
            let piece = dice.pick(PIECES).copied().unwrap_or_default();
            path.extend_from_slice(piece);
        }
        3 => {
            if let Some(byte) = path.get(at).copied() {
                let escape = if dice.once_in(2) { format!("%{byte:02x}") } else { format!("%{byte:02X}") };
                path.splice(at..=at, escape.bytes());
            }
        }
        4 => {
            if let Some(byte) = path.get_mut(at) {
                *byte = if byte.is_ascii_lowercase() { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
            }
        }
        5 => {
            if at < path.len() {
                path.remove(at);
            }
        }
        6 => {
            let other = dice.pick(&BASES).map_or("", |(_, path)| path);
            path.extend_from_slice(other.as_bytes());
        }
        _ => {
            // After a slash, so that whole segments are tried as well.
            let slashes: Vec<usize> =
                path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1).collect();
            let at = dice.pick(&slashes).copied().unwrap_or(at);
            let piece = dice.pick(PIECES).copied().unwrap_or_default();
            path.splice(at..at, piece.iter().copied());
        }
    }
    path.retain(|byte| !matches!(byte, b' ' | b'\r' | b'\n'));
}

/// Each back end is a cluster of its own; the caller says which.
fn with_backends(config: &mut Value, folder: &Path) {
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let Some(routes) = config.pointer_mut(&format!("{manager}/route_config/virtual_hosts/0/routes")) else { return };
    for name in BACKENDS {
        let chosen = json!([{ "name": "x-backend", "string_match": { "exact": name } }]);
        let route = json!({ "match": { "prefix": "/", "headers": chosen }, "route": { "cluster": name } });
        routes.as_array_mut().into_iter().for_each(|routes| routes.insert(0, route.clone()));
    }
    config["static_resources"]["clusters"].as_array_mut().into_iter().for_each(|clusters| {
        clusters.extend(BACKENDS.map(|name| {
            let address = json!({ "pipe": { "path": socket(folder, name) } });
            json!({
                "name": name, "type": "STATIC", "connect_timeout": "5s",
                "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }] },
            })
        }));
    });
    if let Some(manager) = config.pointer_mut(manager) {
        manager["preserve_external_request_id"] = json!(true);
    }
}

#[test]
fn proof_that_what_is_decided_is_what_is_served() {
    play(Setup { policy: POLICY, change: with_backends, ..Setup::default() }, async |mesh| {
        compare(mesh, 0x6772_616e_746d_6573, proof_size(400, 20_000)).await
    });
}

async fn compare(mesh: &mut Mesh, seed: u64, calls: usize) -> Result<()> {
    let _backends = Backends::start(mesh.folder()).await?;
    let token = mesh.control_plane.token(&ALICE).await?;
    let (address, mut dice) = (mesh.envoy()?.address(), Dice::new(seed));
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut asked = Vec::new();
    for number in 0..calls {
        // Every back end gets the same call.
        for backend in BACKENDS {
            let id = format!("call-{number}-{backend}");
            let request = call(&mut dice.clone(), backend, &id, &token);
            let permit = Arc::clone(&at_once).acquire_owned().await?;
            asked.push((
                id,
                request.clone(),
                tokio::spawn(async move {
                    let reply = raw::exchange(address, &request).await;
                    drop(permit);
                    reply
                }),
            ));
        }
        call(&mut dice, "", "", "");
    }
    let mut replies = Vec::new();
    for (id, request, reply) in asked {
        replies.push((id, request, reply.await??));
    }
    let decisions = mesh.decisions().await?;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (id, request, reply) in &replies {
        let line = shown(request);
        let Some(header) = served_header(&reply.bytes) else {
            let status = reply.status();
            ensure!(
                status.is_none_or(|status| status != 200 || reply.text().contains("grpc-status")),
                "{id} {line}: {}",
                reply.text()
            );
            *seen.entry(format!("refused with {status:?}")).or_default() += 1;
            continue;
        };
        let (action, resource) = served(header)?;
        let decision = decisions.get(id);
        let allowed = decision.is_none_or(|decision| decision["decision"] == "allow");
        ensure!(allowed, "{id} {line}: served as `{action}` and recorded as {decision:?}");
        let decided = decision.and_then(|decision| decision["action"].as_str()).unwrap_or("none");
        ensure!(
            decided == action,
            "{id} {line}: decided as `{decided}` and served as `{action}` of {}",
            resource.escape_ascii()
        );
        let named = decision.and_then(|decision| decision["resource"].as_str()).unwrap_or_default();
        let named = decoded(named.split_once('/').map_or("", |(_, rest)| rest).as_bytes());
        ensure!(
            named == resource,
            "{id} {line}: decided on {} and served on {}",
            named.escape_ascii(),
            resource.escape_ascii()
        );
        ensure!(
            !["account.self", "account.close", "file.secret", "admin.read"].contains(&&*action),
            "{id} {line}: nobody may"
        );
        *seen.entry(format!("served as {action}")).or_default() += 1;
    }
    println!("{} calls: {seen:#?}", replies.len());
    for action in ["account.read", "refund.list", "refund.create", "file.read", "none"] {
        let count = seen.get(&format!("served as {action}")).copied().unwrap_or(0);
        assert!(count * 100 > calls, "{action} was hardly ever served: {seen:?}");
    }
    let refused = seen.get("refused with Some(400)").copied().context("nothing was ambiguous")?;
    assert!(refused > calls, "{seen:?}");
    mesh.envoy()?.filter_is_unharmed().await
}

/// The call without its token, which would only fill the page.
fn shown(request: &[u8]) -> String {
    let lines = request.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"authorization"));
    lines.map(|line| line.trim_ascii_end().escape_ascii().to_string()).collect::<Vec<_>>().join(" | ")
}

/// What a back end took the call for; nothing if none has seen it.
fn served_header(reply: &[u8]) -> Option<&[u8]> {
    let name = b"\r\nx-served: ";
    let at = reply.windows(name.len()).position(|window| window == name)?;
    let value = reply.get(at + name.len()..)?;
    value.split(|byte| *byte == b'\r').next()
}
