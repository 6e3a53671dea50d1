//! What differs between two policies, in words: what was added, removed and changed, sorted by kind and name.
//! Called by the CLI. Order within documents, files and spelling do not count; what is compared is what was compiled.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::{DefaultsSpec, Documents, Policy, RoleSpec};
use crate::engine::Subject;
use crate::wire::table::SubjectItem;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `defaults`, `signal`, `service`, `action`, `role`, `binding`, `rule` or `deny rule`.
    pub kind: &'static str,
    /// Its name, with the service before it where it belongs to one.
    pub name: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// What exactly, field by field: all of it if it was added, nothing if it was removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// The kinds in the order in which they are told.
const KINDS: [&str; 8] = ["defaults", "signal", "service", "action", "role", "binding", "rule", "deny rule"];

/// Every part of a policy by kind and name, with its fields as sorted words.
type Parts = BTreeMap<(usize, String), BTreeMap<String, BTreeSet<String>>>;

/// What differs from one policy to another. Each is given as it was written and as it was compiled.
#[must_use]
pub fn diff(before: (&Documents, &Policy), after: (&Documents, &Policy)) -> Vec<Difference> {
    let (before, after) = (parts(before), parts(after));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let difference = |key: &(usize, String)| {
        let (kind, name) = (KINDS.get(key.0).copied().unwrap_or_default(), key.1.clone());
        let (change, fields) = match (before.get(key), after.get(key)) {
            (None, Some(now)) => ("added", now.iter().map(|(field, words)| stated(field, words)).collect()),
            (Some(_), None) => ("removed", Vec::new()),
            (Some(then), Some(now)) if then != now => ("changed", changed(then, now)),
            _ => return None,
        };
        Some(Difference { kind, name, change, fields })
    };
    keys.into_iter().filter_map(difference).collect()
}

fn parts((documents, policy): (&Documents, &Policy)) -> Parts {
    let mut parts = Parts::new();
    let mut add = |kind: &str, name: String, value: Value| {
        let place = KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len());
        let fields = parts.entry((place, name)).or_default();
        for (field, value) in value.as_object().into_iter().flatten().filter(|(field, _)| *field != "name") {
            fields.entry(camel(field)).or_default().extend(words(field, value));
        }
    };
    for placed in &documents.defaults {
        let DefaultsSpec { issuer, claims, .. } = &placed.document.spec;
        let claims: Vec<String> =
            claims.iter().map(|claim| format!("{}: {:?}", claim.name.value, claim.kind)).collect();
        let claims: Vec<String> = claims.into_iter().map(|claim| claim.to_lowercase()).collect();
        add(
            "defaults",
            "issuer and claims".to_owned(),
            serde_json::json!({ "issuer": issuer.value, "claims": claims }),
        );
    }
    for placed in &documents.roles {
        let RoleSpec { inherits, permissions, .. } = &placed.document.spec;
        let inherits: Vec<&str> = inherits.iter().map(|role| role.value.as_str()).collect();
        let gives = permissions.iter().flat_map(|permission| {
            let of = |what: &str, name: &str| format!("{} {what}{name}", permission.service.value);
            let actions = permission.actions.iter().map(|action| of("", &action.value)).collect::<Vec<_>>();
            let reveals = permission.reveals.iter().map(|field| of("reveals ", &field.value)).collect::<Vec<_>>();
            actions.into_iter().chain(reveals)
        });
        let value = serde_json::json!({ "inherits": inherits, "permissions": gives.collect::<Vec<_>>() });
        add("role", placed.document.metadata.name.value.clone(), value);
    }
    for signal in &policy.signals {
        add("signal", signal.name.clone(), value(signal));
    }
    for service in &policy.services {
        let mut own = value(service);
        if let Some(fields) = own.as_object_mut() {
            fields.retain(|field, _| !matches!(field.as_str(), "actions" | "bindings" | "rules" | "denials"));
        }
        add("service", service.name.clone(), own);
        for action in &service.actions {
            add("action", format!("{} {}", service.name, action.name), value(action));
        }
        for binding in &service.bindings {
            let mut own = value(binding);
            if let Some(fields) = own.as_object_mut() {
                // These are the role's.
                fields.retain(|field, _| !matches!(field.as_str(), "actions" | "reveals"));
            }
            add("binding", binding.name.clone(), own);
        }
        for rule in &service.rules {
            add("rule", format!("{} {}", service.name, rule.name), value(rule));
        }
        for denial in &service.denials {
            add("deny rule", format!("{} {}", service.name, denial.name), value(denial));
        }
    }
    parts
}

fn value(item: &impl Serialize) -> Value {
    serde_json::to_value(item).unwrap_or_default()
}

/// The name of a field in documents.
fn camel(field: &str) -> String {
    let mut words = field.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}

/// The words of a field's value.
fn words(field: &str, value: &Value) -> Vec<String> {
    if matches!(field, "condition" | "grant_condition") {
        let source = value.get("source").and_then(Value::as_str).unwrap_or_default();
        return vec![source.trim().to_owned()];
    }
    match value.get("named").unwrap_or(value) {
        Value::Array(list) => list.iter().map(word).collect(),
        other => vec![word(other)],
    }
}

fn word(value: &Value) -> String {
    let subject =
        || serde_json::from_value::<SubjectItem>(value.clone()).ok().and_then(|item| Subject::try_from(item).ok());
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => subject().map_or_else(|| value.to_string(), |subject| subject.to_string()),
        other => other.to_string(),
    }
}

fn stated(field: &str, words: &BTreeSet<String>) -> String {
    format!("{field}: {}", words.iter().cloned().collect::<Vec<_>>().join(", "))
}

fn changed(then: &BTreeMap<String, BTreeSet<String>>, now: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let none = BTreeSet::new();
    let fields: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let change = |field: &String| {
        let (before, after) = (then.get(field).unwrap_or(&none), now.get(field).unwrap_or(&none));
        if before == after {
            return None;
        }
        let only = |words: &BTreeSet<String>| words.iter().next().filter(|_| words.len() == 1).cloned();
        Some(match (only(before), only(after)) {
            (Some(one), Some(other)) => format!("{field}: {one} -> {other}"),
            _ => {
                let gone = before.difference(after).map(|word| format!("- {word}"));
                let new = after.difference(before).map(|word| format!("+ {word}"));
                format!("{field}: {}", gone.chain(new).collect::<Vec<_>>().join(", "))
            }
        })
    };
    fields.into_iter().filter_map(change).collect()
}
