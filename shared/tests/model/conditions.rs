//! The conditions of generated policies: each as CEL, for the engine, and as a plain function, for the model.
//! Whether conditions mean what CEL says is proven elsewhere (`conditions_against_cel`); here it matters what becomes of their outcome.

use std::sync::LazyLock;

use grantmesh_shared::engine::{Condition, FactValue};
use grantmesh_shared::wire::policy::{FactType, Scope, compile_condition};

use crate::world::{SIGNALS, Told, World};

/// What a condition is judged by at one point in time.
pub(crate) struct Seen<'a> {
    pub(crate) world: &'a World,
    pub(crate) told: &'a Told,
    /// Name and resource of the action, if there is one.
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) critical: bool,
    pub(crate) at: i64,
}

impl Seen<'_> {
    fn signal(&self, name: &str) -> bool {
        self.world.signals.iter().any(|(known, until)| *known == name && self.at < *until)
    }

    fn header(&self) -> Option<&str> {
        self.told.headers.first().map(|(_, value)| *value)
    }

    fn dry(&self) -> Option<&str> {
        self.told.query.first().map(|(_, value)| *value)
    }

    fn field(&self, name: &str) -> Option<FactValue<'static>> {
        self.told.body.as_ref()?.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// An amount in tenths.
    fn amount(&self) -> Option<i64> {
        match self.field("amount")? {
            FactValue::Number(number) => Some((number.to_string().parse::<f64>().ok()? * 10.0) as i64),
            _ => None,
        }
    }

    fn level(&self) -> Option<i64> {
        match self.told.claims.first()?.1 {
            FactValue::Number(number) => number.to_string().parse().ok(),
            _ => None,
        }
    }
}

/// The outcome; nothing for an error.
type Judge = fn(&Seen<'_>) -> Option<bool>;

/// `None` in place of a text: a condition of a version that is not known.
pub(crate) const CONDITIONS: [(Option<&str>, Judge); 24] = [
    (Some(""), |_| Some(true)),
    (None, |_| None),
    (Some("true"), |_| Some(true)),
    (Some("false"), |_| Some(false)),
    (Some(r#"request.headers["x-ticket"] == "T-1""#), |seen| Some(seen.header()? == "T-1")),
    (Some(r#"has(request.headers["x-ticket"])"#), |seen| Some(seen.header().is_some())),
    (Some("request.body.amount <= 100"), |seen| Some(seen.amount()? <= 1_000)),
    (Some(r#"request.body.note == "x""#), |seen| match seen.field("note")? {
        FactValue::Text(text) => Some(text == "x"),
        _ => None,
    }),
    (Some("principal.claims.level >= 2"), |seen| Some(seen.level()? >= 2)),
    (Some("signals.incident"), |seen| Some(seen.signal("incident"))),
    (Some("!signals.freeze"), |seen| Some(!seen.signal("freeze"))),
    (Some(r#"request.time < timestamp("1970-01-01T00:00:00.006Z")"#), |seen| Some(seen.at < 6)),
    (Some(r#""leads" in principal.groups"#), |seen| Some(seen.told.groups.contains(&"leads"))),
    (Some(r#"request.query.dry == "yes" || principal.user == "ann""#), |seen| {
        match (seen.dry().map(|dry| dry == "yes"), seen.told.user.map(|(_, name)| name == "ann")) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }),
    (Some(r#"request.body.amount > 50 && action != "thing.part""#), |seen| {
        match (seen.amount().map(|amount| amount > 500), seen.action != "thing.part") {
            (Some(false), _) | (_, false) => Some(false),
            (amount, true) => amount,
        }
    }),
    (Some(r#"principal.workload == "spiffe://mesh/a""#), |seen| Some(seen.told.workload? == "spiffe://mesh/a")),
    (Some(r#"resource.startsWith("thing/a")"#), |seen| Some(seen.resource.starts_with("thing/a"))),
    (Some(r#"principal.groups.all(g, g == "ops")"#), |seen| Some(seen.told.groups.iter().all(|group| *group == "ops"))),
    (Some(r#"source.country == "DE""#), |seen| Some(seen.told.country? == "DE")),
    (Some(r#"request.time - principal.auth_time < duration("4ms")"#), |seen| Some(seen.at - seen.told.auth_time? < 4)),
    (Some("10 / (size(principal.groups) - 1) > 5"), |seen| {
        10_i64.checked_div(seen.told.groups.len() as i64 - 1).map(|quotient| quotient > 5)
    }),
    (Some(r#"criticality == "critical" ? has(principal.user) : request.method == "GET""#), |seen| {
        Some(if seen.critical { seen.told.user.is_some() } else { seen.told.method == "GET" })
    }),
    (Some(r#"request.host.glob("a.*") && signals.incident"#), |seen| {
        match (seen.told.host.map(|host| host.starts_with("a.")), seen.signal("incident")) {
            (Some(false), _) | (_, false) => Some(false),
            (host, true) => host,
        }
    }),
    (Some(r#"principal.groups[0] == "ops""#), |seen| Some(*seen.told.groups.first()? == "ops")),
];

static COMPILED: LazyLock<Vec<Condition>> = LazyLock::new(|| {
    let name = |name: &str| name.to_owned();
    let scope = Scope {
        query: vec![name("dry")],
        headers: vec![name("x-ticket")],
        claims: vec![(name("level"), FactType::Number)],
        fields: vec![(name("amount"), FactType::Number), (name("note"), FactType::Text)],
        signals: SIGNALS.map(name).to_vec(),
        ..Scope::default()
    };
    let compile = |source: &str| compile_condition(source, &scope).unwrap().try_into().unwrap();
    CONDITIONS
        .iter()
        .map(|(source, _)| match source {
            None => Condition::Unsupported,
            Some("") => Condition::Always,
            Some(source) => compile(source),
        })
        .collect()
});

/// The condition at a place of [`CONDITIONS`].
pub(crate) fn compiled(at: usize) -> Condition {
    COMPILED[at].clone()
}
