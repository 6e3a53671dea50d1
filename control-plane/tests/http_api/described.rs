//! Every answer that a test of this program gets is looked up in the API's description: its status, its media type, its
//! body; and so is the body of every request that was taken. A refusal's code must stand in `docs/errors.md` with its status.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use grantmesh_control_plane::http::openapi;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::server::Reply;

static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi);
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
const PAGE: &str = include_str!("../../../docs/errors.md");

/// Looks up one exchange.
#[track_caller]
pub(crate) fn check(method: &str, path: &str, sent: &[u8], reply: &Reply) {
    if reply.headers.get("content-type").is_some_and(|kind| kind == "application/problem+json") {
        documented_code(reply);
    }
    let Some((template, methods)) = operations(path) else { return };
    let Some(operation) = methods.get(method.to_ascii_lowercase()) else { return };
    let name = format!("{method} {template}");
    let status = reply.status.to_string();
    let described = &operation["responses"][&status];
    assert!(described.is_object(), "{name} answered {status}, which its description does not list: {}", reply.text());
    let content = &described["content"];
    if let Some(kind) = reply.headers.get("content-type") {
        let kind = kind.to_str().unwrap().split(';').next().unwrap().trim();
        let schema = &content[kind]["schema"];
        assert!(content[kind].is_object(), "{name} answered {status} as {kind}; described is {content}");
        if kind.ends_with("json") {
            fits(&format!("{name} {status} {kind}"), schema, &reply.body);
        }
    }
    let taken = &operation["requestBody"]["content"]["application/json"]["schema"];
    if (200..300).contains(&reply.status) && taken.is_object() {
        fits(&format!("{name} request"), taken, sent);
    }
}

/// The template that a path fits, a literal one before one with parameters, and its methods.
fn operations(path: &str) -> Option<(&'static str, &'static Value)> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |template: &str| {
        let (mut have, mut want) = (path.split('/'), template.split('/'));
        loop {
            match (have.next(), want.next()) {
                (None, None) => return true,
                (Some(have), Some(want)) if have == want || want.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let all = DOCUMENT["paths"].as_object()?.iter().filter(|(template, _)| fits(template));
    all.min_by_key(|(template, _)| template.matches('{').count())
        .map(|(template, methods)| (template.as_str(), methods))
}

#[track_caller]
fn fits(what: &str, schema: &Value, body: &[u8]) {
    let validator = {
        let mut known = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let whole = json!({ "components": DOCUMENT["components"], "allOf": [schema] });
            Arc::new(jsonschema::draft202012::new(&whole).unwrap_or_else(|error| panic!("{what}: {error}")))
        };
        Arc::clone(known.entry(what.to_owned()).or_insert_with(make))
    };
    let body: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{what}: {error}"));
    let faults: Vec<String> =
        validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(faults.is_empty(), "{what} is not as described: {}\n{body:#}", faults.join("\n"));
}

#[track_caller]
fn documented_code(reply: &Reply) {
    let problem = reply.json();
    let row = format!("| `{}` | ", problem["code"].as_str().unwrap());
    let statuses = PAGE.lines().filter_map(|line| line.strip_prefix(&row)?.split('|').next());
    let listed =
        statuses.flat_map(|statuses| statuses.split(',')).any(|status| status.trim() == reply.status.to_string());
    assert!(listed, "docs/errors.md does not have this code with this status: {problem}");
}
