//! What a filter shows of a call that a grant is to be bound to: exactly the parts that the rule binds, and nothing else of
//! it, for those may be secrets. In the challenge, in the request that is filed from it, and before the eyes of its reviewers.
//! The digest of the grant is computed from this by the control plane; a filter's word is not needed for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::{
    Ambiguity, Bind, BodyFacts, BoundCall, Call, Context, Decimal, Digest, FactValue, Field, Principal, Unbound,
};
use crate::text::visible;

/// The most bytes of one part that is shown.
pub const MAX_PART_BYTES: usize = 1_024;

/// The most bytes of all of them.
pub const MAX_BYTES: usize = 4_096;

/// The bound parts of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ShownCall {
    /// The workload through which it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The method, where the call is bound exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The path with its query, where the call is bound exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Bound request headers.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    #[cfg_attr(feature = "policy", schemars(with = "BTreeMap<String, String>"))]
    pub headers: Named<String>,
    /// Bound query parameters, decoded.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    #[cfg_attr(feature = "policy", schemars(with = "BTreeMap<String, String>"))]
    pub query: Named<String>,
    /// Bound fields of the body.
    #[serde(default, skip_serializing_if = "Named::is_empty")]
    #[cfg_attr(feature = "policy", schemars(with = "BTreeMap<String, ShownValue>"))]
    pub fields: Named<ShownValue>,
}

/// Values by their names, each once; an object in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<T>(Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Named<T> {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &(String, T)> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> FromIterator<(String, T)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(named: I) -> Self {
        Self(named.into_iter().collect())
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into_iter().collect())
    }
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "policy", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ShownValue {
    /// A text.
    Text(String),
    /// A number, exactly.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
}

fn lent(list: &Named<String>) -> Vec<(&str, &str)> {
    list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// Why a call is not shown, or what was shown is no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShownError {
    /// It lacks a bound part.
    #[error("{0}")]
    Unbound(String),
    /// A part is too long.
    #[error(
        "`{0}` of the call is bound and has more than {MAX_PART_BYTES} bytes, or all bound parts more than {MAX_BYTES}"
    )]
    TooLong(String),
    /// A part is no plain text.
    #[error("`{0}` of the call is bound and is not plain text")]
    NotText(String),
    /// The method or path is ambiguous.
    #[error("the call can be read in two ways: {0}")]
    Ambiguous(#[from] Ambiguity),
}

impl From<Unbound<'_>> for ShownError {
    fn from(unbound: Unbound<'_>) -> Self {
        Self::Unbound(unbound.to_string())
    }
}

impl ShownCall {
    /// What a call shows of itself under a binding, with its digest.
    ///
    /// # Errors
    /// If it lacks a bound part, or has too much of one.
    pub fn of(bind: &Bind, bound: BoundCall<'_>) -> Result<(Self, Digest), ShownError> {
        let digest = bind.digest(bound)?;
        let BoundCall { call, context, .. } = bound;
        let mut shown = Self { workload: call.principal().workload.map(str::to_owned), ..Self::default() };
        if bind.exact {
            let path = call.path();
            let mut target = path.as_str().to_owned();
            if let Some(query) = path.query() {
                let text = std::str::from_utf8(query).map_err(|_| ShownError::NotText("query".to_owned()))?;
                target.push('?');
                target.push_str(text);
            }
            shown.method = Some(call.method().to_owned());
            shown.target = Some(target);
        }
        let named = |names: &[Box<str>], list: &[(&str, &str)]| {
            let bound = list.iter().filter(|(name, _)| names.iter().any(|known| **known == **name));
            bound.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        shown.headers = named(&bind.headers, context.headers);
        shown.query = named(&bind.query, context.query);
        if let BodyFacts::Fields(fields) = context.body {
            for (name, value) in fields.iter().filter(|(name, _)| bind.fields.iter().any(|known| **known == **name)) {
                let value = match value {
                    FactValue::Text(text) => ShownValue::Text((*text).to_owned()),
                    FactValue::Number(number) => ShownValue::Number(number.to_string()),
                    FactValue::Bool(truth) => ShownValue::Bool(*truth),
                    FactValue::Texts(_) | FactValue::Other => continue,
                };
                shown.fields.0.push(((*name).to_owned(), value));
            }
        }
        shown.is_short()?;
        Ok((shown, digest))
    }

    /// Only what a binding binds of it, and the digest that a call of the user must have to be this one. `declared` are the
    /// fields of the action.
    ///
    /// # Errors
    /// If a bound part is missing, too long, or could be read in two ways.
    pub fn bound(
        &self,
        bind: &Bind,
        (issuer, subject): (&str, &str),
        (service, action, resource): (&str, &str, &str),
        declared: &[Field],
    ) -> Result<(Self, Digest), ShownError> {
        self.is_short()?;
        let missing = |what: &str| ShownError::Unbound(format!("the call that was shown has no {what}"));
        let (method, target) = if bind.exact {
            let method = self.method.as_deref().ok_or_else(|| missing("method"))?;
            (method, self.target.as_deref().ok_or_else(|| missing("path"))?)
        } else {
            ("GET", "/")
        };
        let workload = self.workload.as_deref();
        let principal = Principal { workload, ..Principal::user(issuer, subject, &[]) };
        let call = Call::new(service, method.as_bytes(), target.as_bytes(), principal)?;
        let (headers, query) = (lent(&self.headers), lent(&self.query));
        let mut fields: Vec<(&str, FactValue<'_>)> = Vec::new();
        for (name, value) in self.fields.iter() {
            let value = match value {
                ShownValue::Text(text) => FactValue::Text(text),
                ShownValue::Number(number) => FactValue::Number(
                    number.parse::<Decimal>().map_err(|error| ShownError::Unbound(format!("`{name}` is {error}")))?,
                ),
                ShownValue::Bool(truth) => FactValue::Bool(*truth),
            };
            fields.push((name, value));
        }
        let context = Context { headers: &headers, query: &query, body: BodyFacts::Fields(&fields), ..Context::EMPTY };
        Self::of(bind, BoundCall { call: &call, context: &context, action, fields: declared, resource })
    }

    /// Each part with its name, as people read it: characters that mislead are escaped, once, and texts of fields are quoted, so that
    /// they do not read like numbers.
    #[must_use]
    pub fn parts(&self) -> Vec<(String, String)> {
        let mut parts = Vec::new();
        if let (Some(method), Some(target)) = (&self.method, &self.target) {
            parts.push(("call".to_owned(), format!("{method} {target}")));
        }
        parts.extend(self.workload.iter().map(|workload| ("workload".to_owned(), workload.clone())));
        parts.extend(self.headers.iter().map(|(name, value)| (format!("header {name}"), value.clone())));
        parts.extend(self.query.iter().map(|(name, value)| (format!("parameter {name}"), value.clone())));
        parts.iter_mut().for_each(|(_, value)| *value = value.escape_debug().to_string());
        parts.extend(self.fields.iter().map(|(name, value)| {
            let text = match value {
                ShownValue::Text(text) => format!("{text:?}"),
                ShownValue::Number(number) => number.clone(),
                ShownValue::Bool(truth) => truth.to_string(),
            };
            (format!("field {name}"), text)
        }));
        parts.iter_mut().for_each(|(name, _)| *name = name.escape_debug().to_string());
        // The escapes above are for programs: they leave some that are shown as nothing.
        parts.into_iter().map(|(name, value)| (visible(&name), visible(&value))).collect()
    }

    fn is_short(&self) -> Result<(), ShownError> {
        let whole = [("method", &self.method), ("path", &self.target), ("workload", &self.workload)];
        let whole = whole.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?.len())));
        let named = self.headers.iter().chain(self.query.iter()).map(|(name, value)| (name.as_str(), value.len()));
        let fields = self.fields.iter().map(|(name, value)| {
            let length = match value {
                ShownValue::Text(text) | ShownValue::Number(text) => text.len(),
                ShownValue::Bool(_) => 0,
            };
            (name.as_str(), length)
        });
        let mut sum = 0_usize;
        for (name, length) in whole.chain(named).chain(fields) {
            sum = sum.saturating_add(length).saturating_add(name.len());
            if length > MAX_PART_BYTES || sum > MAX_BYTES {
                return Err(ShownError::TooLong(name.to_owned()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::FieldPlace;

    const USER: (&str, &str) = ("https://id.example", "ann");
    const WHAT: (&str, &str, &str) = ("payments", "pay", "account/a");

    fn bind() -> Bind {
        Bind { exact: true, fields: vec!["amount".into()], headers: vec!["x-ticket".into()], query: vec!["to".into()] }
    }

    /// What a filter shows of a call.
    fn shown(bind: &Bind, ticket: &str, amount: FactValue<'_>) -> Result<(ShownCall, Digest), ShownError> {
        let principal =
            Principal { workload: Some("spiffe://mesh/a"), ..Principal::user(USER.0, USER.1, &["support"]) };
        let call = Call::new(WHAT.0, b"POST", b"/a?to=b%20c", principal).unwrap();
        let fields = [("amount", amount), ("secret", FactValue::Text("s3cret"))];
        let context = Context {
            headers: &[("x-ticket", ticket), ("x-secret", "s3cret")],
            query: &[("to", "b c")],
            body: BodyFacts::Fields(&fields),
            ..Context::EMPTY
        };
        let (action, fields) = (WHAT.1, declared());
        let fields = fields.as_slice();
        ShownCall::of(bind, BoundCall { call: &call, context: &context, action, fields, resource: WHAT.2 })
    }

    fn declared() -> [Field; 1] {
        let (name, pointer) = ("amount".into(), "/amount".into());
        [Field { name, place: FieldPlace::Request, pointer, mask: false }]
    }

    #[test]
    fn what_is_shown_is_bound_and_has_the_digest_of_the_call() {
        let amount = FactValue::Number("50.10".parse().unwrap());
        let (call, digest) = shown(&bind(), "PAY-1", amount).unwrap();
        let json = serde_json::to_string(&call).unwrap();
        assert!(!json.contains("s3cret"), "only bound parts: {json}");
        let back: ShownCall = serde_json::from_str(&json).unwrap();
        assert_eq!(back.bound(&bind(), USER, WHAT, &declared()), Ok((call.clone(), digest)));
        let parts: Vec<String> = call.parts().into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let expected = [
            "call = POST /a?to=b%20c",
            "workload = spiffe://mesh/a",
            "header x-ticket = PAY-1",
            "parameter to = b c",
            "field amount = 50.1",
        ];
        assert_eq!(parts, expected);
        let mut odd = call.clone();
        odd.fields = Named(vec![("note".to_owned(), ShownValue::Text("a\"b\n\u{1b}".to_owned()))]);
        odd.headers = Named(vec![("x-ticket".to_owned(), "c\"d\t".to_owned())]);
        let parts: Vec<String> = odd.parts().into_iter().map(|(_, value)| value).skip(2).collect();
        assert_eq!(parts, [r#"c\"d\t"#, "b c", r#""a\"b\n\u{1b}""#], "each is escaped once");
        odd.fields = Named(vec![("note\u{3164}".to_owned(), ShownValue::Text("a\u{2060}b\u{fe01}".to_owned()))]);
        odd.headers = Named(vec![("x-ticket".to_owned(), "c\u{e0041}\u{34f}".to_owned())]);
        let parts: Vec<String> =
            odd.parts().into_iter().skip(2).map(|(name, value)| format!("{name} {value}")).collect();
        let seen =
            [r"header x-ticket c\u{e0041}\u{34f}", "parameter to b c", r#"field note\u{3164} "a\u{2060}b\u{fe01}""#];
        assert_eq!(parts, seen, "and nothing is unseen");
        assert_ne!(call.bound(&bind(), ("https://id.example", "bob"), WHAT, &declared()).unwrap().1, digest);
        assert_ne!(call.bound(&bind(), USER, ("payments", "pay", "account/b"), &declared()).unwrap().1, digest);
    }

    #[test]
    fn what_a_requester_adds_is_dropped_and_what_they_leave_out_is_missed() {
        let amount = FactValue::Number(50.into());
        let (call, digest) = shown(&bind(), "PAY-1", amount).unwrap();
        let mut more = call.clone();
        more.headers.0.push(("x-note".to_owned(), "harmless".to_owned()));
        more.fields.0.push(("note".to_owned(), ShownValue::Text("harmless".to_owned())));
        assert_eq!(more.bound(&bind(), USER, WHAT, &declared()), Ok((call.clone(), digest)));
        let narrow = Bind { fields: vec!["amount".into()], ..Bind::default() };
        let (kept, _) = call.bound(&narrow, USER, WHAT, &declared()).unwrap();
        assert!(kept.target.is_none() && kept.headers.is_empty() && kept.fields.0.len() == 1, "{kept:?}");
        let empty = ShownCall { workload: call.workload.clone(), ..ShownCall::default() };
        for less in [
            ShownCall { target: None, ..call.clone() },
            ShownCall { headers: Named::default(), ..call.clone() },
            ShownCall { fields: Named::default(), ..call.clone() },
            empty,
        ] {
            assert!(matches!(less.bound(&bind(), USER, WHAT, &declared()), Err(ShownError::Unbound(_))), "{less:?}");
        }
        let mut odd = call.clone();
        odd.fields = Named(vec![("amount".to_owned(), ShownValue::Number("five".to_owned()))]);
        assert!(odd.bound(&bind(), USER, WHAT, &declared()).is_err());
        let twisted = ShownCall { target: Some("/a//b".to_owned()), ..call };
        assert!(matches!(twisted.bound(&bind(), USER, WHAT, &declared()), Err(ShownError::Ambiguous(_))));
    }

    #[test]
    fn what_is_too_long_is_not_shown() {
        let fits = "x".repeat(MAX_PART_BYTES);
        let amount = || FactValue::Number(50.into());
        assert!(shown(&bind(), &fits, amount()).is_ok());
        let error = shown(&bind(), &format!("{fits}x"), amount()).unwrap_err();
        assert_eq!(error, ShownError::TooLong("x-ticket".to_owned()));
        let mut call = shown(&bind(), "PAY-1", amount()).unwrap().0;
        call.query.0.extend((0..5).map(|number| (number.to_string(), fits.clone())));
        assert!(matches!(call.bound(&bind(), USER, WHAT, &declared()), Err(ShownError::TooLong(_))));
    }
}
