//! Who acts: a person whose token was verified at the edge.

use grantmesh_shared::engine::{Context, FactValue, Principal, Subject, SubjectError, User};
use grantmesh_shared::time::Timestamp;
use serde_json::Value;

/// A verified user with the groups of the token that came with this action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Issuer and subject.
    pub user: User,
    /// The groups of the token, at most a few hundred.
    pub groups: Vec<String>,
    /// All claims of the token, for rules whose condition names some. Never kept: what is read again from a request has none.
    pub claims: serde_json::Map<String, Value>,
}

impl Actor {
    /// A user with groups.
    #[must_use]
    pub fn new(issuer: &str, subject: &str, groups: Vec<String>) -> Self {
        let user = User { issuer: issuer.into(), subject: subject.into() };
        Self { user, groups, claims: serde_json::Map::new() }
    }

    /// The user of the actor's own issuer whom a name means, which may be written as `user:NAME`; nothing if it means something
    /// else than a user.
    ///
    /// # Errors
    /// If it means nothing.
    pub fn user_named(&self, name: &str) -> Result<Option<User>, SubjectError> {
        let named = if name.contains(':') { name.to_owned() } else { format!("user:{name}") };
        Ok(match Subject::parse(&named, &self.user.issuer)? {
            Subject::User(user) => Some(user),
            _ => None,
        })
    }

    /// The same with the claims of the token.
    #[must_use]
    pub fn with_claims(self, claims: serde_json::Map<String, Value>) -> Self {
        Self { claims, ..self }
    }

    /// Lends the claims of these names, and when the user last proved who they are, as the engine's facts.
    pub fn as_context<R>(&self, names: &[Box<str>], with: impl FnOnce(&Context<'_>) -> R) -> R {
        let texts = |name: &str| {
            let list = self.claims.get(name).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>()
        };
        let lists: Vec<Vec<&str>> = names.iter().map(|name| texts(name)).collect();
        let mut claims: Vec<(&str, FactValue<'_>)> = Vec::new();
        for (name, list) in names.iter().zip(&lists) {
            let Some(value) = self.claims.get(&**name) else { continue };
            let fact = match value {
                Value::String(text) => FactValue::Text(text),
                Value::Bool(truth) => FactValue::Bool(*truth),
                Value::Number(number) => number.to_string().parse().map_or(FactValue::Other, FactValue::Number),
                Value::Array(all) if all.len() == list.len() => FactValue::Texts(list),
                Value::Array(_) | Value::Object(_) | Value::Null => FactValue::Other,
            };
            claims.push((name, fact));
        }
        let auth_time =
            self.claims.get("auth_time").and_then(Value::as_i64).and_then(|seconds| seconds.checked_mul(1_000));
        with(&Context { claims: &claims, auth_time: auth_time.map(Timestamp::from_millis), ..Context::EMPTY })
    }

    /// Lends the actor as the engine's principal.
    pub fn as_principal<R>(&self, with: impl FnOnce(&Principal<'_>) -> R) -> R {
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        with(&Principal::user(&self.user.issuer, &self.user.subject, &groups))
    }

    /// Whether one of the subjects names this actor. An empty list names nobody.
    #[must_use]
    pub fn is_among(&self, subjects: &[Subject]) -> bool {
        self.as_principal(|principal| subjects.iter().any(|subject| subject.names(principal)))
    }

    /// Whether one of the subjects names this actor, leaving out those that do not count.
    pub(super) fn is_among_besides(&self, subjects: &[Subject], left_out: &[&Subject]) -> bool {
        let mut counting = subjects.iter().filter(|subject| !left_out.contains(subject));
        counting.any(|subject| self.is_among(std::slice::from_ref(subject)))
    }
}
