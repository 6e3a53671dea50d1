//! What a table's grant says of the item that it came from. To tell two tables apart the hash of every item is needed when
//! the item goes; a million of them would take as much room as the grants. So the item is written anew from the grant, and
//! where that is not what came, byte for byte, its hash is noted with the grant.

use std::fmt::Write as _;

use super::{EngineItem, Item};
use crate::engine::{HeldGrant, Table};
use crate::id::GrantId;
use crate::wire::TableHash;

/// JSON as the items of grants are written in, by hand: what serde makes of a type is several times as large a part of a
/// module, and were this another form, no more than a hash would have to be noted.
#[derive(Default)]
struct Written(String);

impl Written {
    fn put(&mut self, name: &str, value: &dyn std::fmt::Display) {
        let comma = if self.0.ends_with('{') { "" } else { "," };
        // Texts take whatever is written.
        let _always = write!(self.0, "{comma}\"{name}\":{value}");
    }

    fn put_text(&mut self, name: &str, text: &str) {
        let needs_escapes = text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\');
        // What is escaped is not written in the right form, which is what a hash is noted for.
        let text = if needs_escapes { "" } else { text };
        self.put(name, &format_args!("\"{text}\""));
    }

    fn begin(&mut self, name: &str) {
        self.put(name, &"{");
    }
}

/// The body that a plain grant's item has, if nothing in it needs escapes.
fn body(grant: &HeldGrant<'_>) -> Option<String> {
    if !grant.is_plain() {
        return None;
    }
    let mut json = Written("{".to_owned());
    json.begin("grant");
    json.put_text("id", grant.id().as_str());
    json.put_text("request", grant.request().as_str());
    json.begin("holder");
    if let Some((issuer, subject)) = grant.user() {
        json.begin("user");
        json.put_text("issuer", issuer);
        json.put_text("subject", subject);
        json.0.push('}');
    }
    if let Some(workload) = grant.workload() {
        json.put_text("workload", workload);
    }
    json.0.push('}');
    json.put_text("service", grant.service());
    json.put_text("action", grant.action());
    json.put_text("resource", &grant.resource());
    json.put_text("rule", grant.rule());
    json.put("starts_at", &grant.starts_at().millis());
    json.put("expires_at", &grant.expires_at().millis());
    if let Some(uses) = grant.uses() {
        json.begin("uses");
        json.put("allowed", &uses.allowed);
        if uses.exhausted {
            json.put("exhausted", &true);
        }
        json.0.push('}');
    }
    if grant.break_glass() {
        json.put("break_glass", &true);
    }
    json.0.push_str("}}");
    Some(json.0)
}

impl EngineItem {
    /// Puts a grant into a table that can tell its item's hash afterwards; gives back what is no grant.
    #[must_use]
    pub fn put_grant_into(self, table: &mut Table, item: &Item, hash: TableHash) -> Option<Self> {
        let grant = match self {
            Self::Grant(grant) => grant,
            other => return Some(other),
        };
        let is_plain = grant.conditions.is_empty() && grant.bound.is_none() && grant.reveals.is_empty();
        if !is_plain {
            table.put_grant_noted(grant, &hash.to_bytes());
            return None;
        }
        let id = grant.id.clone();
        table.put_grant(grant);
        if table.grant(&id).and_then(|held| body(&held)).is_none_or(|body| body != item.body.get()) {
            // It was read once already, so it will be again.
            if let Ok(Self::Grant(grant)) = item.parse() {
                table.put_grant_noted(grant, &hash.to_bytes());
            }
        }
        None
    }
}

/// The hash of the item that a grant was put with.
#[must_use]
pub fn hash_of_grant(table: &Table, id: &GrantId) -> Option<TableHash> {
    let grant = table.grant(id)?;
    match grant.note() {
        Some(note) => Some(TableHash::from_bytes(note)),
        None => Some(TableHash::of_item(&format!("grant/{id}"), &body(&grant)?)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::*;
    use crate::id::RequestId;

    /// Puts an item in; whether its hash had to be noted.
    fn is_noted(body: &str) -> bool {
        let value: Value = serde_json::from_str(body).unwrap();
        let key = format!("grant/{}", value["grant"]["id"].as_str().unwrap());
        let item = Item { key, body: RawValue::from_string(body.to_owned()).unwrap() };
        let mut table = Table::default();
        assert!(item.parse().unwrap().put_grant_into(&mut table, &item, item.hash()).is_none());
        let id = item.key.strip_prefix("grant/").unwrap().parse().unwrap();
        assert_eq!(hash_of_grant(&table, &id), Some(item.hash()), "{body}");
        table.grant(&id).unwrap().note().is_some()
    }

    #[test]
    fn the_hash_of_every_grant_can_be_told_and_only_odd_ones_are_noted() {
        let plain = json!({"grant": {
            "id": GrantId::new(1_700_000_000_000, [7; 10]), "request": RequestId::new(1_699_999_000_000, [200; 10]),
            "holder": {"user": {"issuer": "https://id.example", "subject": "ann ü"}},
            "service": "payments", "action": "refund", "resource": "account/acc-1", "rule": "refunds",
            "starts_at": 1_700_000_000_100_i64, "expires_at": 1_700_000_600_100_i64,
        }});
        let written = |value: &Value| {
            let body: super::super::Body = serde_json::from_value(value.clone()).unwrap();
            serde_json::to_string(&body).unwrap()
        };
        let with = |name: &str, value: Value| {
            let mut changed = plain.clone();
            changed["grant"][name] = value;
            written(&changed)
        };
        let workload = "spiffe://mesh/ns/a";
        for body in [
            written(&plain),
            with("holder", json!({"workload": workload})),
            with("holder", json!({"user": {"issuer": "i", "subject": ""}, "workload": workload})),
            with("uses", json!({"allowed": 3})),
            with("uses", json!({"allowed": u32::MAX, "exhausted": true})),
            with("break_glass", json!(true)),
            with("starts_at", json!(-5)),
            with("resource", json!("")),
            with("resource", json!("a/b/c")),
        ] {
            assert!(!is_noted(&body), "{body}");
        }
        let reordered = plain.to_string();
        let escaped = ["a \"b\"", "a\\b", "a\nb"].map(|text| with("rule", json!(text)));
        let others = [reordered, with("reveals", json!(["card"])), written(&plain).replace(':', ": ")];
        for body in others.into_iter().chain(escaped) {
            assert!(is_noted(&body), "{body}");
        }
    }
}
