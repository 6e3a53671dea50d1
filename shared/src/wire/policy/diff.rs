//! What differs between two policies, in words: what was added, removed and changed, sorted by kind and name.
//! Called by the CLI, and where somebody applies a policy over another one than was expected. Order within documents, files and
//! spelling do not count: what was compiled is compared, and of the documents what is not compiled (descriptions, types).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::parse::Placed;
use super::{DefaultsSpec, Documents, FieldSpec, Policy, RoleSpec};
use crate::engine::{Subject, Then};
use crate::wire::table::{
    AutomaticItem, DecidingItem, FactorItem, PatternItem, PlaceWord, RuleItem, StageItem, SubjectItem, ThenItem,
    TicketItem, WordsItem,
};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `defaults`, `signal`, `service`, `action`, `role`, `binding`, `rule`, `deny rule`, `break-glass`, `person` or `group`.
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
const KINDS: [&str; 11] = [
    "defaults",
    "signal",
    "service",
    "action",
    "role",
    "binding",
    "rule",
    "deny rule",
    "break-glass",
    "person",
    "group",
];

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
            match (field.as_str(), value.as_object()) {
                // Documents say its parts one by one, and all principals by nothing.
                ("rollout", Some(rollout)) => {
                    for (field, value) in rollout.iter().filter(|(_, value)| value.as_u64() != Some(100)) {
                        fields.entry(camel(field)).or_default().extend(words(field, value));
                    }
                }
                _ => fields.entry(camel(field)).or_default().extend(words(field, value)),
            }
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
    for (kind, name, said) in said(documents) {
        add(kind, name, said);
    }
    for signal in &policy.signals {
        add("signal", signal.name.clone(), value(signal));
    }
    for person in &policy.people.people {
        let accounts: Vec<String> =
            person.accounts.iter().map(|account| format!("{} of {}", account.subject, account.issuer)).collect();
        let mut own = json!({ "accounts": accounts, "owner": person.owner });
        if let Some(fields) = own.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
            fields.extend(person.machine.then(|| ("machine".to_owned(), json!(true))));
        }
        add("person", person.name.clone(), own);
    }
    for group in &policy.people.groups {
        add("group", group.name.clone(), json!({ "editors": group.editors }));
    }
    for service in &policy.services {
        let mut own = value(service);
        if let Some(fields) = own.as_object_mut() {
            fields.retain(|field, _| {
                !matches!(field.as_str(), "actions" | "bindings" | "rules" | "denials" | "break_glass")
            });
        }
        add("service", service.name.clone(), own);
        for action in &service.actions {
            let mut own = value(action);
            if let Some(fields) = own.as_object_mut() {
                // With their types, which only documents have.
                fields.remove("fields");
                if let Some(selectors) = fields.remove("selectors") {
                    fields.insert("select".to_owned(), selectors);
                }
            }
            add("action", format!("{} {}", service.name, action.name), own);
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
            add("rule", format!("{} {}", service.name, rule.name), ruled(rule));
        }
        for denial in &service.denials {
            add("deny rule", format!("{} {}", service.name, denial.name), value(denial));
        }
        for right in &service.break_glass {
            add("break-glass", format!("{} {}", service.name, right.name), value(right));
        }
    }
    parts
}

/// A rule with what it takes to decide, as documents say it: one word for each stage.
fn ruled(rule: &RuleItem) -> Value {
    let mut own = value(rule);
    let Some(fields) = own.as_object_mut() else { return own };
    if let Some(Value::Object(workflow)) = fields.remove("workflow") {
        fields.extend(workflow);
    }
    fields.remove("deciding");
    if let Some(workflow) = rule.workflow.as_ref().filter(|workflow| !workflow.automatic.is_empty()) {
        fields.insert("automatic".to_owned(), json!(workflow.automatic.iter().map(automatic).collect::<Vec<_>>()));
    }
    let Some(deciding) = rule.workflow.as_ref().and_then(|workflow| workflow.deciding.as_deref()) else { return own };
    let DecidingItem { stages, denials, justification, ticket } = deciding;
    if !stages.is_empty() {
        // They stand in the place of these.
        fields.retain(|field, _| !matches!(field.as_str(), "reviewers" | "approvals"));
        let factor = |FactorItem { approvals, reviewers }: &FactorItem| {
            let reviewers: Vec<String> = reviewers.iter().map(|reviewer| word(&value(reviewer))).collect();
            format!("{approvals} of {}", reviewers.join(" or "))
        };
        let stage = |(number, stage): (usize, &StageItem)| {
            let factors: Vec<String> = stage.factors.iter().map(factor).collect();
            format!("{}. {}: {}", number.saturating_add(1), stage.name, factors.join(" and "))
        };
        let stages: Vec<String> = stages.iter().enumerate().map(stage).collect();
        fields.insert("stages".to_owned(), json!(stages));
    }
    fields.extend(denials.map(|denials| ("denials".to_owned(), json!(denials))));
    let pattern = |pattern: &Option<PatternItem>| pattern.as_ref().map(|pattern| pattern.source.clone());
    if let Some(WordsItem { min_chars, pattern: found }) = justification {
        fields.insert("justification".to_owned(), json!({ "minLength": min_chars, "pattern": pattern(found) }));
    }
    if let Some(TicketItem { required, pattern: found }) = ticket {
        fields.insert("ticket".to_owned(), json!({ "required": required, "pattern": pattern(found) }));
    }
    own
}

/// What a rule decides by itself, as one line.
fn automatic(AutomaticItem { name, when, then }: &AutomaticItem) -> String {
    let word = Then::from(*then).as_str();
    let then = match then {
        ThenItem::Require(approvals) => format!("{word} {approvals}"),
        ThenItem::Approve | ThenItem::Deny | ThenItem::Escalate => word.to_owned(),
    };
    let when = when.as_ref().map(|when| format!(" when {}", when.source.trim())).unwrap_or_default();
    format!("{name}: {then}{when}")
}

/// What documents say and filters do not need: descriptions, declared headers, fields with their types.
fn said(documents: &Documents) -> Vec<(&'static str, String, Value)> {
    let mut said = Vec::new();
    let described = |description: &Option<String>| match description {
        Some(text) => json!({ "description": text }),
        None => json!({}),
    };
    for Placed { document, .. } in &documents.services {
        let (service, spec) = (&document.metadata.name.value, &document.spec);
        said.push(("service", service.clone(), described(&spec.description)));
        let headers: Vec<&str> = spec.headers.iter().map(|header| header.value.as_str()).collect();
        if !headers.is_empty() {
            said.push(("service", service.clone(), json!({ "headers": headers })));
        }
        for action in &spec.actions {
            let name = format!("{service} {}", action.name.value);
            said.push(("action", name.clone(), described(&action.description)));
            if !action.fields.is_empty() {
                said.push(("action", name, json!({ "fields": action.fields.iter().map(field).collect::<Vec<_>>() })));
            }
        }
    }
    for Placed { document, .. } in &documents.roles {
        said.push(("role", document.metadata.name.value.clone(), described(&document.spec.description)));
    }
    for Placed { document, .. } in &documents.rules {
        let name = format!("{} {}", document.spec.service.value, document.metadata.name.value);
        said.push(("rule", name, described(&document.spec.description)));
    }
    for Placed { document, .. } in &documents.people {
        said.push(("person", document.metadata.name.value.clone(), described(&document.spec.description)));
    }
    for Placed { document, .. } in &documents.groups {
        let group = document.spec.group.as_ref().unwrap_or(&document.metadata.name);
        said.push(("group", group.value.clone(), described(&document.spec.description)));
    }
    for Placed { document, .. } in &documents.denials {
        let name = format!("{} {}", document.spec.service.value, document.metadata.name.value);
        said.push(("deny rule", name, described(&document.spec.description)));
    }
    for Placed { document, .. } in &documents.break_glass {
        let name = format!("{} {}", document.spec.service.value, document.metadata.name.value);
        said.push(("break-glass", name, described(&document.spec.description)));
    }
    said
}

/// A field, with what is meant where nothing is said.
fn field(spec: &FieldSpec) -> Value {
    let FieldSpec { name, place, pointer, kind, mask } = spec;
    let pointer = pointer.as_ref().map_or_else(|| format!("/{}", name.value), |pointer| pointer.value.clone());
    let mut field = json!({ "name": name.value, "in": place, "pointer": pointer });
    if let Some(fields) = field.as_object_mut() {
        match place {
            PlaceWord::Request => fields.insert("type".to_owned(), value(&kind.unwrap_or_default())),
            PlaceWord::Response => fields.insert("mask".to_owned(), value(mask)),
        };
    }
    field
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
        Value::String(all) if field == "actions" && all == "all" => vec!["*".to_owned()],
        Value::String(body) if field == "body" => vec![body.replace('_', "-")],
        Value::Array(list) => list.iter().map(word).collect(),
        other => vec![word(other)],
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => subject(value).unwrap_or_else(|| flow(value)),
        other => other.to_string(),
    }
}

/// The principal that a value is, as documents name it.
fn subject(value: &Value) -> Option<String> {
    let item = serde_json::from_value::<SubjectItem>(value.clone()).ok()?;
    Subject::try_from(item).ok().map(|subject| subject.to_string())
}

/// A value as documents write it on one line.
fn flow(value: &Value) -> String {
    if let Some(subject) = value.is_object().then(|| subject(value)).flatten() {
        return Value::String(subject).to_string();
    }
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name != "name");
            let fields = fields.into_iter().map(|(name, value)| format!("{}: {}", camel(name), flow(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether a text needs no quotes there.
fn is_plain(text: &str) -> bool {
    let inside = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.' | '/' | '+' | '~');
    !text.is_empty()
        && text.chars().all(inside)
        && text.parse::<f64>().is_err()
        && !matches!(text, "true" | "false" | "null" | "~")
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
