//! What the log tells, folded: each entry is a step that the state before it allows, so that none is missing and none is
//! written twice.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tables::{self, State};
use crate::world::{World, aud};

/// The state, as far as the log was read.
#[derive(Debug, Default)]
pub(super) struct Fold {
    read: u64,
    state: State,
}

/// One entry.
struct Step<'s> {
    state: &'s mut State,
    entry: &'s Value,
}

impl Fold {
    pub(super) async fn read_on(&mut self, world: &World) {
        loop {
            let page = world.app.audit_entries(&aud(), self.read, 1_000).await.unwrap();
            if page.entries.is_empty() {
                return;
            }
            for entry in &page.entries {
                let entry = serde_json::from_str(&entry.entry).unwrap();
                Step { state: &mut self.state, entry: &entry }.take();
                self.read += 1;
            }
        }
    }

    /// Whether the log tells of any such thing.
    pub(super) fn has(&self, noun: &str) -> bool {
        self.state.get(noun).is_some_and(|those| !those.is_empty())
    }

    /// Whether the log tells that somebody decided such a thing in the place of somebody else.
    pub(super) fn has_in_anothers_place(&self, noun: &str) -> bool {
        let is_given = |decided: &Value| decided["on_behalf_of"].is_object();
        let reviews = |one: &Value| one["reviews"].as_array().is_some_and(|those| those.iter().any(is_given));
        self.state.get(noun).is_some_and(|those| those.values().any(|one| is_given(one) || reviews(one)))
    }

    /// Compares everything that the log tells with the tables.
    pub(super) async fn compare(&self, world: &World) -> Result<(), TestCaseError> {
        let tables = tables::read(world).await;
        let now = world.now().millis();
        let none = BTreeMap::new();
        for (noun, kept) in &tables {
            let told = self.state.get(noun).unwrap_or(&none);
            for (id, kept) in kept {
                prop_assert_eq!(told.get(id), Some(kept), "{} {}", noun, id);
            }
            // Of signals and tokens only those are listed whose time is not over.
            let lasts = |one: &&Value| {
                !matches!(*noun, "signals" | "tokens") || one["expires_at"].as_i64().is_some_and(|end| end > now)
            };
            prop_assert_eq!(told.values().filter(lasts).count(), kept.len(), "{}", noun);
        }
        // Filters have just what is in force, with the ends that it has, and what is exhausted until its time.
        let told = |noun| self.state.get(noun).unwrap_or(&none).iter();
        let forgotten = self.state.get("forgotten").unwrap_or(&none);
        let is_held = |(id, grant): &(&String, &Value)| match grant["state"].as_str() {
            Some("active") => true,
            Some("exhausted") => !forgotten.contains_key(*id),
            _ => false,
        };
        let grants = told("grants")
            .filter(is_held)
            .map(|(id, grant)| (format!("grant/{id}"), tables::of_grant(grant, grant["state"] == "exhausted")));
        let locks = told("locks").filter(|(_, lock)| lock["state"] == "active");
        let locks = locks.map(|(id, lock)| (format!("lock/{id}"), vec![lock["expires_at"].clone()]));
        // What is said of one user or ticket is not for filters.
        let signals = told("signals").filter_map(|(key, signal)| {
            let name = key.strip_suffix(" null")?;
            Some((format!("signal/{name}"), vec![signal["expires_at"].clone()]))
        });
        let in_force: BTreeMap<String, Vec<Value>> = grants.chain(locks).chain(signals).collect();
        prop_assert_eq!(tables::loaded(world).await, in_force);
        Ok(())
    }
}

impl Step<'_> {
    fn id(&self, name: &str) -> String {
        self.entry["ids"][name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.entry)).to_owned()
    }

    fn data(&self, name: &str) -> Value {
        self.entry["data"][name].clone()
    }

    fn at(&self) -> Value {
        self.entry["at"].clone()
    }

    /// Who did it, if it was somebody.
    fn actor(&self) -> Value {
        Some(self.entry["actor"].clone()).filter(Value::is_object).unwrap_or_default()
    }

    /// Something new.
    fn make(&mut self, noun: &'static str, id: String, value: Value) {
        let before = self.state.entry(noun).or_default().insert(id, value);
        assert_eq!(before, None, "made twice: {}", self.entry);
    }

    /// Something that is there, in one of these states.
    fn known(&mut self, noun: &'static str, id: &str, from: &[&str]) -> &mut Value {
        let entry = self.entry;
        let known = self.state.entry(noun).or_default().get_mut(id);
        let known = known.unwrap_or_else(|| panic!("not known: {entry}"));
        let state = known["state"].as_str().unwrap_or_default();
        assert!(from.is_empty() || from.contains(&state), "{state}: {entry}");
        known
    }

    /// The same, changed in some of its parts.
    fn change(&mut self, noun: &'static str, id: &str, from: &[&str], parts: &[(&str, Value)]) {
        let known = self.known(noun, id, from);
        for (name, value) in parts {
            assert!(known.get(*name).is_some(), "{name}");
            known[*name] = value.clone();
        }
    }

    fn take(&mut self) {
        let kind = self.entry["kind"].as_str().unwrap();
        match kind.split_once('.').unwrap_or((kind, "")) {
            ("request", step) => self.request(step),
            ("review", step) => self.review(step),
            ("grant", step) => self.grant(step),
            ("break_glass", _) => self.glass_broken(),
            ("post_review", step) => self.post_review(step),
            ("use", step) => self.usage(step),
            ("hold", step) => self.hold(step),
            ("lock", step) => self.lock(step),
            ("signal", step) => self.signal(step),
            ("delegation", step) => self.delegation(step),
            ("offline_token", _) => self.token(),
            ("policy", _) => self.policy(),
            _ => {}
        }
    }

    fn request(&mut self, step: &str) {
        let (id, at) = (self.id("request"), self.at());
        let pending = &["pending"];
        match step {
            "filed" => {
                let extends = self.data("extends") == true;
                let grant = self.entry["ids"]["grant"].clone();
                let mut filed = self.ask(if extends { "extension" } else { "grant" });
                filed["extends"] = grant;
                filed["requester"] = self.actor();
                self.make("requests", id, filed);
            }
            "automatic" => {
                let (decision, approvals) = (self.data("decision"), self.data("approvals"));
                let grant = self.entry["ids"]["grant"].clone();
                let state = match decision.as_str().unwrap() {
                    "approve" => "approved",
                    "deny" => "denied",
                    _ => "pending",
                };
                assert_eq!(grant.is_string(), state == "approved");
                let policy = self.id("policy");
                let automatic = json!({ "name": self.data("name"), "decision": decision, "approvals": approvals, "policy": policy });
                let mut parts = vec![("automatic", automatic), ("state", state.into()), ("grant", grant)];
                if state != "pending" {
                    parts.push(("at", at.clone()));
                }
                if decision == "escalate" {
                    parts.push(("escalated_at", at));
                }
                self.change("requests", &id, pending, &parts);
            }
            "reminded" => self.change("requests", &id, pending, &[("reminded_at", at)]),
            "escalated" => self.change("requests", &id, pending, &[("escalated_at", at)]),
            ended => {
                assert!(["timed_out", "withdrawn"].contains(&ended), "{ended}");
                if self.entry["actor"] == "filter" {
                    assert_eq!(ended, "withdrawn");
                    self.nobody_waits_for(&id);
                }
                self.change("requests", &id, pending, &[("state", ended.into()), ("at", at)]);
            }
        }
    }

    /// What is asked, as whatever entry it begins with tells it.
    fn ask(&self, kind: &str) -> Value {
        let data = |name| self.data(name);
        json!({
            "state": "pending", "at": null, "grant": null, "kind": kind, "extends": null, "requester": null,
            "groups": data("groups"), "service": data("service"), "action": data("action"),
            "resource": data("resource"), "rule": data("rule"), "justification": data("justification"),
            "ticket": data("ticket"), "duration_ms": data("duration_ms"), "uses": data("uses"),
            "starts_at": data("starts_at"), "remind_at": data("remind_at"), "escalate_at": data("escalate_at"),
            "reminded_at": null, "escalated_at": null, "policy": self.id("policy"), "created_at": self.at(),
            "times_out_at": data("times_out_at"), "digest": data("digest"), "approvals": data("approvals"),
            "automatic": null, "reviews": [],
        })
    }

    fn review(&mut self, step: &str) {
        let id = self.id("request");
        let (verdict, grant) = if step == "approved" { ("approve", "grant") } else { ("deny", "") };
        let of = self.on_behalf_of();
        let review = json!({
            "id": self.id("review"), "reviewer": self.actor(), "groups": self.data("groups"), "on_behalf_of": of,
            "verdict": verdict, "reason": self.data("reason"), "duration_ms": self.data("duration_ms"),
            "uses": self.data("uses"), "reveals": self.data("reveals"), "at": self.at(),
        });
        let grant = self.entry["ids"].get(grant).cloned().unwrap_or_default();
        let (approvals, at, digest) = (self.data("approvals"), self.at(), self.data("digest"));
        let known = self.known("requests", &id, &["pending"]);
        assert_eq!(known["digest"], digest);
        known["reviews"].as_array_mut().unwrap().push(review);
        known["approvals"] = approvals;
        let state = match verdict {
            "deny" => "denied",
            _ if grant.is_string() => "approved",
            _ => return,
        };
        (known["state"], known["grant"], known["at"]) = (state.into(), grant, at);
    }

    /// In whose place somebody decided.
    fn on_behalf_of(&mut self) -> Value {
        let Some(id) = self.entry["ids"]["delegation"].as_str() else { return Value::Null };
        let lent = self.known("delegations", id, &[]).clone();
        assert_eq!((&lent["delegator"], &lent["delegate"]), (&self.data("on_behalf_of"), &self.actor()));
        json!({ "delegation": id, "user": lent["delegator"], "groups": lent["groups"] })
    }

    /// A grant as the entry that makes it tells it.
    fn made(&self, state: &str) -> Value {
        let data = |name| self.data(name);
        json!({
            "state": state, "ended_at": null, "ended_by": null, "reason": null, "request": self.id("request"),
            "holder": data("holder"), "service": data("service"), "action": data("action"),
            "resource": data("resource"), "rule": data("rule"), "starts_at": data("starts_at"),
            "expires_at": data("expires_at"), "terms": data("terms"), "allowed": data("uses"), "claimed": 0,
            "break_glass": false, "revision": data("revision"),
        })
    }

    fn grant(&mut self, step: &str) {
        let (id, at, revision) = (self.id("grant"), self.at(), self.data("revision"));
        let data = |name| self.entry["data"][name].clone();
        let ended =
            |state: &str| vec![("state", state.into()), ("ended_at", at.clone()), ("revision", revision.clone())];
        match step {
            "issued" => self.make("grants", id, self.made("active")),
            "scheduled" => self.make("grants", id, self.made("scheduled")),
            "started" => {
                let parts = [
                    ("state", "active".into()),
                    ("starts_at", data("starts_at")),
                    ("expires_at", data("expires_at")),
                    ("allowed", data("uses")),
                    ("terms", data("terms")),
                    ("revision", revision),
                ];
                self.change("grants", &id, &["scheduled"], &parts);
            }
            "extended" => {
                assert_eq!(self.data("before"), self.known("grants", &id, &["active"])["expires_at"]);
                let parts = [("expires_at", data("expires_at")), ("terms", data("terms")), ("revision", revision)];
                self.change("grants", &id, &["active"], &parts);
            }
            "expiring" => {
                self.is_marked(&id);
                assert_eq!(self.data("expires_at"), self.known("grants", &id, &["active"])["expires_at"]);
            }
            "forgotten" => {
                self.change("grants", &id, &["exhausted"], &[("revision", revision)]);
                self.make("forgotten", id, at.clone());
            }
            "expired" | "released" => {
                self.is_marked(&id);
                self.change("grants", &id, &["scheduled", "active"], &ended(step));
            }
            "revoked" => {
                self.is_marked(&id);
                let mut parts = ended("revoked");
                parts.extend([("ended_by", self.actor()), ("reason", self.data("reason"))]);
                self.change("grants", &id, &["scheduled", "active", "exhausted"], &parts);
            }
            other => panic!("{other}"),
        }
    }

    /// An entry says whether its grant was given without an approval.
    fn is_marked(&mut self, grant: &str) {
        let marked = self.data("break_glass") == true;
        assert_eq!(self.known("grants", grant, &[])["break_glass"], marked);
    }

    fn glass_broken(&mut self) {
        let (request, grant, at) = (self.id("request"), self.id("grant"), self.at());
        let time = |name| self.entry["data"][name].as_i64().unwrap();
        let mut made = self.made("active");
        (made["rule"], made["break_glass"], made["allowed"]) = (self.data("right"), true.into(), Value::Null);
        let mut ask = self.ask("break_glass");
        (ask["state"], ask["at"], ask["grant"]) = ("approved".into(), at.clone(), grant.as_str().into());
        (ask["rule"], ask["requester"], ask["starts_at"]) = (self.data("right"), self.data("holder"), Value::Null);
        (ask["justification"], ask["approvals"]) = (self.data("reason"), 0.into());
        ask["duration_ms"] = (time("expires_at") - time("starts_at")).into();
        ask["times_out_at"] = self.data("expires_at");
        self.make("requests", request, ask);
        if let Some(token) = self.state.get_mut("tokens").and_then(|tokens| tokens.get_mut(&grant)) {
            assert_eq!(token["used_at"], Value::Null);
            token["used_at"] = at;
        }
        self.make("grants", grant, made);
    }

    fn post_review(&mut self, step: &str) {
        let (id, at) = (self.id("post_review"), self.at());
        match step {
            "opened" => {
                let (request, grant) = (self.id("request"), self.id("grant"));
                let ask = self.known("requests", &request, &["approved"]).clone();
                assert_eq!((&ask["grant"], &ask["kind"]), (&grant.into(), &"break_glass".into()));
                let opened = json!({
                    "state": "open", "at": null, "by": null, "on_behalf_of": null, "said": null, "request": request,
                    "grant": ask["grant"],
                    "holder": ask["requester"], "service": ask["service"], "action": ask["action"],
                    "resource": ask["resource"], "right": ask["rule"], "reason": ask["justification"],
                    "policy": ask["policy"], "opened_at": at, "due_at": self.data("due_at"),
                });
                self.make("post_reviews", id, opened);
            }
            "overdue" => assert_eq!(self.data("due_at"), self.known("post_reviews", &id, &["open"])["due_at"]),
            decided => {
                assert!(["accepted", "disputed"].contains(&decided), "{decided}");
                let (said, of) = (self.data("reason"), self.on_behalf_of());
                let parts =
                    [("state", decided.into()), ("at", at), ("by", self.actor()), ("on_behalf_of", of), ("said", said)];
                self.change("post_reviews", &id, &["open"], &parts);
            }
        }
    }

    fn usage(&mut self, step: &str) {
        let (id, grant, at) = (self.id("use"), self.id("grant"), self.at());
        if step == "ended" {
            let told = &self.entry["data"]["record"]["event"];
            let outcome = json!({ "word": told["outcome"], "status": told["status"], "at": at });
            assert_eq!(self.known("uses", &id, &[])["outcome"], Value::Null);
            return self.change("uses", &id, &[], &[("outcome", outcome)]);
        }
        let (number, last) = (self.data("number"), self.data("exhausted") == true);
        let mut parts = vec![("claimed", number.clone()), ("revision", self.data("revision"))];
        if last {
            parts.extend([("state", "exhausted".into()), ("ended_at", at.clone())]);
        }
        let before = self.known("grants", &grant, &["active"])["claimed"].as_u64().unwrap();
        assert_eq!(number, before + 1);
        self.change("grants", &grant, &["active"], &parts);
        let (decision, vm) = (self.id("decision"), self.id("vm"));
        let taken = json!({
            "grant": grant, "number": number, "decision": decision, "vm": vm, "node": self.data("node"), "at": at,
            "outcome": null,
        });
        self.make("uses", id, taken);
    }

    /// A call that a filter holds, and its end. It waits for a request of its caller's own for just what it is.
    fn hold(&mut self, step: &str) {
        let (decision, request, at) = (self.id("decision"), self.id("request"), self.at());
        let vm: Value = self.id("vm").into();
        if step == "ended" {
            let known = self.known("holds", &decision, &[]);
            assert_eq!((&known["ended"], &known["request"], &known["vm"]), (&Value::Null, &request.into(), &vm));
            let ended = json!([self.data("why"), at]);
            return self.change("holds", &decision, &[], &[("ended", ended)]);
        }
        assert_eq!(step, "began");
        let (event, filed) = (self.data("event"), self.data("filed"));
        let ask = self.known("requests", &request, &[]).clone();
        for part in ["service", "action", "resource"] {
            assert_eq!(ask[part], event[part], "{part}");
        }
        assert_eq!((&ask["requester"]["subject"], &event["id"]), (&event["subject"], &decision.as_str().into()));
        let held = self.state.get("holds").into_iter().flat_map(|holds| holds.values());
        let is_first = held.filter(|one| one["request"] == request.as_str()).count() == 0;
        // Only the first of a request can be what it was filed for, and that was then.
        assert!(filed == false || (is_first && ask["created_at"] == at), "{}", self.entry);
        let began = json!({
            "request": request, "filed": filed, "vm": vm, "node": self.data("node"), "since": at,
            "until": self.data("until"), "ended": null,
        });
        self.make("holds", decision, began);
    }

    /// A filter withdraws only what was filed for a call, when no call waits for it any more.
    fn nobody_waits_for(&self, request: &str) {
        let now = self.entry["at"].as_i64();
        let held = || self.state.get("holds").into_iter().flat_map(|holds| holds.values());
        let of_it = || held().filter(|one| one["request"] == request);
        let waits = |one: &Value| one["ended"].is_null() && one["until"].as_i64() > now;
        assert!(of_it().any(|one| one["filed"] == true), "{}", self.entry);
        assert!(!of_it().any(waits), "{}", self.entry);
    }

    fn lock(&mut self, step: &str) {
        let (id, at, revision) = (self.id("lock"), self.at(), self.data("revision"));
        let data = |name| self.data(name);
        if step == "created" {
            let made = json!({
                "state": "active", "at": null, "by": null, "said": null, "subject": data("subject"),
                "service": data("service"), "action": data("action"), "reason": data("reason"),
                "created_by": self.actor(), "created_at": at, "expires_at": data("expires_at"), "revision": revision,
            });
            return self.make("locks", id, made);
        }
        assert!(["removed", "expired"].contains(&step), "{step}");
        let parts = [
            ("state", step.into()),
            ("at", at),
            ("by", self.actor()),
            ("said", data("reason")),
            ("revision", revision),
        ];
        self.change("locks", &id, &["active"], &parts);
    }

    fn signal(&mut self, step: &str) {
        let key = format!("{} {}", self.data("signal").as_str().unwrap(), self.data("of"));
        let set = json!({
            "reason": self.data("reason"), "set_by": self.actor(), "set_at": self.at(),
            "expires_at": self.data("expires_at"), "revision": self.data("revision"),
        });
        let signals = self.state.entry("signals").or_default();
        let before = if step == "set" { signals.insert(key, set) } else { signals.remove(&key) };
        match step {
            // One whose time was over is not made longer, whether its end is in the log or not.
            "set" => {
                let lasted = before.filter(|one| one["expires_at"].as_i64() > self.entry["at"].as_i64());
                assert_eq!(lasted.map(|one| one["expires_at"].clone()).unwrap_or_default(), self.data("before"));
            }
            _ => assert!(before.is_some(), "not set: {}", self.entry),
        }
    }

    fn delegation(&mut self, step: &str) {
        let (id, at) = (self.id("delegation"), self.at());
        let data = |name| self.data(name);
        if step == "given" {
            let given = json!({
                "delegator": self.actor(), "groups": data("groups"), "delegate": data("to"),
                "service": data("service"), "rule": data("rule"), "reason": data("reason"), "created_at": at,
                "starts_at": data("starts_at"), "ends_at": data("ends_at"), "ended": null,
            });
            return self.make("delegations", id, given);
        }
        assert_eq!((step, &self.known("delegations", &id, &[])["ended"]), ("ended", &Value::Null));
        let ended = json!([at, self.actor()]);
        self.change("delegations", &id, &[], &[("ended", ended)]);
    }

    fn token(&mut self) {
        let data = |name| self.data(name);
        let token = json!({
            "holder": data("holder"), "groups": data("groups"), "service": data("service"), "right": data("right"),
            "actions": data("actions"), "reason": data("reason"), "policy": self.id("policy"),
            "max_duration_ms": data("max_duration_ms"), "review_within_ms": data("review_within_ms"),
            "issued_at": self.at(), "expires_at": data("expires_at"), "used_at": null,
        });
        self.make("tokens", self.id("grant"), token);
    }

    fn policy(&mut self) {
        let data = |name| self.data(name);
        let applied = json!({
            "id": self.id("policy"), "previous": data("previous"), "digest": data("digest"), "author": self.actor(),
            "message": data("message"), "at": self.at(), "services": data("services"), "files_hash": data("files_hash"),
        });
        let before = self.state.entry("policy").or_default().insert("in force".to_owned(), applied);
        assert_eq!(before.map(|one| one["id"].clone()).unwrap_or_default(), self.data("previous"));
    }
}
