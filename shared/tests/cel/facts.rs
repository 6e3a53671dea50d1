//! The facts that conditions are judged by, once as the engine takes them and once as variables of CEL.

use std::collections::HashMap;

use cel::{Context as Variables, Program, Value};
use grantmesh_shared::engine::Condition;
use grantmesh_shared::engine::{
    BodyFacts, Call, Context, Criticality, EvalError, FactValue, Facts, Form, Fuel, Now, Principal, Signal, Table,
    Verdict,
};
use grantmesh_shared::time::Timestamp;

use crate::dice::Dice;
use crate::expression::{TEXTS, TIMES};

/// A value of a fact.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given {
    Text(&'static str),
    Number(&'static str),
    Bool(bool),
    Texts(&'static [&'static str]),
    Time(&'static str),
}

const LISTS: [&[&str]; 5] = [&[], &["a"], &["ann", "b"], &["b", "a", "ab"], &["GET", "héé"]];
const NUMBERS: [&str; 7] = ["0", "1.5", "2", "2.0", "-0.5", "100.25", "1000"];

/// Facts by their names; what is not there is missing.
#[derive(Debug, Clone)]
pub(crate) struct World {
    facts: Vec<(&'static str, Given)>,
    time: &'static str,
    incident: bool,
}

impl World {
    pub(crate) fn generate(dice: &mut Dice) -> Self {
        let mut facts = vec![
            ("request.method", Given::Text(dice.pick(&["GET", "POST"]))),
            ("principal.groups", Given::Texts(dice.pick(&LISTS))),
        ];
        for name in &crate::expression::TEXT_FACTS[1..] {
            facts.extend(dice.maybe(&TEXTS).map(|text| (*name, Given::Text(text))));
        }
        for name in crate::expression::NUMBER_FACTS {
            facts.extend(dice.maybe(&NUMBERS).map(|number| (name, Given::Number(number))));
        }
        for name in &crate::expression::BOOL_FACTS[..2] {
            facts.extend(dice.maybe(&[true, false]).map(|truth| (*name, Given::Bool(truth))));
        }
        facts.extend(dice.maybe(&LISTS).map(|list| ("principal.claims.teams", Given::Texts(list))));
        facts.extend(dice.maybe(&TIMES).map(|time| ("principal.auth_time", Given::Time(time))));
        Self { facts, time: dice.pick(&TIMES), incident: dice.chance(50) }
    }

    /// These facts at the first of 2026's March, at noon.
    pub(crate) fn at_noon(facts: &[(&'static str, Given)]) -> Self {
        let method = ("request.method", Given::Text("GET"));
        Self { facts: facts.iter().copied().chain([method]).collect(), time: "2026-03-01T12:00:00Z", incident: false }
    }

    fn of(&self, name: &str) -> Option<Given> {
        self.facts.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<&'static str> {
        match self.of(name)? {
            Given::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The facts below a name, by the last part of theirs.
    fn below(&self, map: &str) -> Vec<(&'static str, Given)> {
        let inner = |(name, value): &(&'static str, Given)| {
            let (of, name) = name.rsplit_once('.')?;
            (of == map).then_some((name, *value))
        };
        self.facts.iter().filter_map(inner).collect()
    }

    fn pairs(&self, map: &str) -> Vec<(&'static str, &'static str)> {
        let text = |(name, value)| match value {
            Given::Text(text) => Some((name, text)),
            _ => None,
        };
        self.below(map).into_iter().filter_map(text).collect()
    }

    fn values(&self, map: &str) -> Vec<(&'static str, FactValue<'static>)> {
        let value = |(name, value)| {
            let value = match value {
                Given::Text(text) => FactValue::Text(text),
                Given::Number(number) => FactValue::Number(number.parse().unwrap()),
                Given::Bool(truth) => FactValue::Bool(truth),
                Given::Texts(texts) => FactValue::Texts(texts),
                Given::Time(_) => FactValue::Other,
            };
            (name, value)
        };
        self.below(map).into_iter().map(value).collect()
    }

    /// What our engine makes of a condition.
    pub(crate) fn ours(&self, form: Form) -> Result<bool, EvalError> {
        let groups = match self.of("principal.groups") {
            Some(Given::Texts(groups)) => groups,
            _ => &[],
        };
        let user = self.text("principal.user").map(|name| ("https://id.example", name));
        let principal = Principal { user, groups, workload: None };
        let call = Call::new("svc", self.text("request.method").unwrap().as_bytes(), b"/", principal).unwrap();
        let (headers, query) = (self.pairs("request.headers"), self.pairs("request.query"));
        let (claims, body) = (self.values("principal.claims"), self.values("request.body"));
        let auth_time = match self.of("principal.auth_time") {
            Some(Given::Time(time)) => Some(time.parse().unwrap()),
            _ => None,
        };
        let context = Context {
            host: self.text("request.host"),
            headers: &headers,
            query: &query,
            claims: &claims,
            body: BodyFacts::Fields(&body),
            country: self.text("source.country"),
            auth_time,
            ..Context::EMPTY
        };
        let at: Timestamp = self.time.parse().unwrap();
        let mut table = Table::default();
        if self.incident {
            table.put_signal(Signal { name: "incident".into(), expires_at: Timestamp::from_millis(at.millis() + 1) });
        }
        let facts = Facts {
            principal: call.principal(),
            method: Some(call.method()),
            path: Some(call.path()),
            context: &context,
            service: "svc",
            action: "act",
            resource: "thing/a",
            criticality: Criticality::Low,
            template: None,
            now: Now::exactly(at),
            table: &table,
        };
        match Condition::When(form.into()).verdict(&facts, &mut Fuel::per_call()) {
            Verdict::Holds => Ok(true),
            Verdict::Fails => Ok(false),
            Verdict::Errs(error) => Err(error),
            Verdict::Unsure => unreachable!("the time is exact"),
        }
    }

    /// What CEL's own interpreter makes of it.
    pub(crate) fn theirs(&self, source: &str) -> Result<bool, String> {
        let made = |source: &str| Program::compile(source).unwrap().execute(&Variables::default()).unwrap();
        let value = |given| match given {
            Given::Text(text) => text.into(),
            Given::Number(number) => Value::Float(number.parse().unwrap()),
            Given::Bool(truth) => truth.into(),
            Given::Texts(texts) => texts.iter().map(|text| Value::from(*text)).collect::<Vec<_>>().into(),
            Given::Time(time) => made(&format!("timestamp(\"{time}\")")),
        };
        let map = |name: &str, more: Vec<(&str, Value)>| -> Value {
            let facts = self.below(name).into_iter().map(|(name, given)| (name, value(given)));
            let all = facts.chain(more).map(|(name, value)| (name.to_owned(), value));
            all.collect::<HashMap<String, Value>>().into()
        };
        let request = vec![
            ("headers", map("request.headers", Vec::new())),
            ("query", map("request.query", Vec::new())),
            ("body", map("request.body", Vec::new())),
            ("time", value(Given::Time(self.time))),
        ];
        let mut variables = Variables::default();
        variables.add_variable_from_value("request", map("request", request));
        let claims = vec![("claims", map("principal.claims", Vec::new()))];
        variables.add_variable_from_value("principal", map("principal", claims));
        variables.add_variable_from_value("source", map("source", Vec::new()));
        variables.add_variable_from_value("signals", map("signals", vec![("incident", self.incident.into())]));
        let program = Program::compile(source).map_err(|error| format!("does not compile: {error}"))?;
        match program.execute(&variables) {
            Ok(Value::Bool(truth)) => Ok(truth),
            Ok(other) => Err(format!("gives {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }
}
