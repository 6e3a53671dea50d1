//! Exact-call binding: what of a call a grant is bound to, as a digest over it. The control plane computes it when the grant is
//! made, the filter for each call under such a grant; any difference in a bound part gives another digest.
//! A part that is missing or was not read gives none, so it never fits.

use sha2::{Digest as _, Sha256};

use super::action::{Field, FieldPlace};
use super::call::Call;
use super::condition::Decimal;
use super::context::{BodyFacts, Context, FactValue};

/// What of a call is bound, beyond principal, service, action and resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bind {
    /// Method, path and the whole query, byte for byte.
    pub exact: bool,
    /// Declared fields of the request's body, sorted.
    pub fields: Vec<Box<str>>,
    /// Declared request headers, sorted.
    pub headers: Vec<Box<str>>,
    /// Declared query parameters, sorted.
    pub query: Vec<Box<str>>,
}

/// A SHA-256 over the bound parts of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// Why a call has no digest, and what it would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unbound<'b> {
    /// A bound part that the call does not have.
    #[error("the call has no `{0}`, which the grant is bound to")]
    Missing(&'b str),
    /// The body was not read.
    #[error("the body was not read, and the grant is bound to its field `{0}`")]
    NotRead(&'b str),
    /// A bound field that is no text, number or truth.
    #[error("the field `{0}`, which the grant is bound to, is not a plain value")]
    NotPlain(&'b str),
}

/// The parts of a call that a digest is over.
#[derive(Debug, Clone, Copy)]
pub struct BoundCall<'a> {
    /// The call.
    pub call: &'a Call<'a>,
    /// Its facts.
    pub context: &'a Context<'a>,
    /// The action.
    pub action: &'a str,
    /// The fields that the action declares: a bound one is bound at the place where it stands in the body.
    pub fields: &'a [Field],
    /// The resource.
    pub resource: &'a str,
}

/// What begins every digest, so that it stands for nothing else.
const DOMAIN: &[u8] = b"grantmesh call v2";

impl Bind {
    /// The digest of a call under this binding.
    ///
    /// # Errors
    /// If the call lacks a bound part.
    pub fn digest(&self, bound: BoundCall<'_>) -> Result<Digest, Unbound<'_>> {
        let BoundCall { call, context, action, fields: declared, resource } = bound;
        let mut hash = Parts(Sha256::new());
        hash.part(DOMAIN);
        let (issuer, subject) = call.principal.user.unwrap_or_default();
        let workload = call.principal.workload.unwrap_or_default();
        for text in [issuer, subject, workload, call.service, action, resource] {
            hash.part(text.as_bytes());
        }
        if self.exact {
            hash.part(b"exact");
            hash.part(call.method.as_bytes());
            hash.part(call.path.as_str().as_bytes());
            // A query that is empty and none at all are two calls.
            hash.part(if call.path.query().is_some() { b"?" } else { b"" });
            hash.part(call.path.query().unwrap_or_default());
        }
        let named = |list: &[(&str, &str)], name: &str| {
            list.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        for (kind, names, list) in
            [(&b"header"[..], &self.headers, context.headers), (&b"query"[..], &self.query, context.query)]
        {
            for name in names {
                let value = named(list, name).ok_or(Unbound::Missing(name))?;
                hash.part(kind);
                hash.part(name.as_bytes());
                hash.part(value.as_bytes());
            }
        }
        for name in &self.fields {
            let fields = match context.body {
                BodyFacts::NotRead => return Err(Unbound::NotRead(name)),
                BodyFacts::Absent => return Err(Unbound::Missing(name)),
                BodyFacts::Fields(fields) => fields,
            };
            let value = fields.iter().find(|(known, _)| **known == **name).map(|(_, value)| *value);
            let declared = declared.iter().find(|field| field.place == FieldPlace::Request && field.name == *name);
            hash.part(b"field");
            hash.part(name.as_bytes());
            // A name may come to mean another place: what is approved is what stands at this one.
            hash.part(declared.ok_or(Unbound::Missing(name))?.pointer.as_bytes());
            match value.ok_or(Unbound::Missing(name))? {
                FactValue::Text(text) => hash.typed(b"text", text.as_bytes()),
                FactValue::Number(number) => hash.number(number),
                FactValue::Bool(truth) => hash.typed(b"bool", if truth { b"true" } else { b"false" }),
                FactValue::Texts(_) | FactValue::Other => return Err(Unbound::NotPlain(name)),
            }
        }
        Ok(Digest(hash.0.finalize().into()))
    }
}

/// Parts with their lengths before them, so that no two lists of parts are the same bytes.
struct Parts(Sha256);

impl Parts {
    fn part(&mut self, bytes: &[u8]) {
        self.0.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
    }

    fn typed(&mut self, kind: &[u8], bytes: &[u8]) {
        self.part(kind);
        self.part(bytes);
    }

    /// `1.50` and `1.5` are the same number.
    fn number(&mut self, number: Decimal) {
        self.typed(b"number", number.to_string().as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Principal;

    fn digest(target: &str, groups: &[&str], headers: &[(&str, &str)], amount: FactValue<'_>) -> Option<Digest> {
        let bind =
            Bind { exact: true, fields: vec!["amount".into()], headers: vec!["x-ticket".into()], query: Vec::new() };
        let principal = Principal::user("https://id.example", "ann", groups);
        let call = Call::new("payments", b"POST", target.as_bytes(), principal).unwrap();
        let fields = [("amount", amount)];
        let context = Context { headers, body: BodyFacts::Fields(&fields), ..Context::EMPTY };
        let fields = [declared("amount", "/amount")];
        let bound = BoundCall { call: &call, context: &context, action: "pay", fields: &fields, resource: "account/a" };
        bind.digest(bound).ok()
    }

    fn declared(name: &str, pointer: &str) -> Field {
        Field { name: name.into(), place: FieldPlace::Request, pointer: pointer.into(), mask: false }
    }

    #[test]
    fn a_field_is_bound_where_it_stands() {
        let bind = Bind { fields: vec!["amount".into(), "fee".into()], ..Bind::default() };
        let call = Call::new("payments", b"POST", b"/a", Principal::user("https://id.example", "ann", &[])).unwrap();
        let same = FactValue::Number(5.into());
        let context = Context { body: BodyFacts::Fields(&[("amount", same), ("fee", same)]), ..Context::EMPTY };
        let digest = |fields: &[Field]| {
            bind.digest(BoundCall { call: &call, context: &context, action: "pay", fields, resource: "account/a" }).ok()
        };
        let approved = digest(&[declared("amount", "/amount"), declared("fee", "/fee")]);
        assert!(approved.is_some());
        assert_ne!(digest(&[declared("amount", "/fee"), declared("fee", "/amount")]), approved, "they were swapped");
        assert_ne!(digest(&[declared("amount", "/a/amount"), declared("fee", "/fee")]), approved);
        assert_eq!(digest(&[declared("amount", "/amount")]), None, "a field that is declared no more");
        let masked = Field { place: FieldPlace::Response, ..declared("fee", "/fee") };
        assert_eq!(digest(&[declared("amount", "/amount"), masked]), None);
    }

    #[test]
    fn every_bound_part_counts_and_nothing_else() {
        let number = |text: &str| FactValue::Number(text.parse().unwrap());
        let ticket = [("x-ticket", "INC-1")];
        let first = digest("/a?b=1", &[], &ticket, number("1.5"));
        assert!(first.is_some());
        let same = digest("/a?b=1", &["g"], &[("x-other", "y"), ("x-ticket", "INC-1")], number("1.50"));
        assert_eq!(first, same, "groups, other headers and the spelling of a number are not bound");
        let others = [
            digest("/a?b=2", &[], &ticket, number("1.5")),
            digest("/a?b=1&", &[], &ticket, number("1.5")),
            digest("/a", &[], &ticket, number("1.5")),
            digest("/a?", &[], &ticket, number("1.5")),
            digest("/a/b?b=1", &[], &ticket, number("1.5")),
            digest("/a?b=1", &[], &[("x-ticket", "INC-2")], number("1.5")),
            digest("/a?b=1", &[], &ticket, number("1.51")),
            digest("/a?b=1", &[], &ticket, FactValue::Text("1.5")),
        ];
        let mut all: Vec<_> = others.into_iter().chain([first]).map(Option::unwrap).map(|digest| digest.0).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 9);
        assert_eq!(digest("/a?b=1", &[], &[], number("1.5")), None, "a bound header is missing");
        // Who calls what is bound, whatever else is.
        let plain = |principal: Principal<'_>, (service, action, resource): (&str, &str, &str)| {
            let call = Call::new(service, b"GET", b"/a", principal).unwrap();
            let bound = BoundCall { call: &call, context: &Context::EMPTY, action, fields: &[], resource };
            Bind::default().digest(bound).unwrap().0
        };
        let ann = Principal::user("https://id.example", "ann", &[]);
        let what = ("payments", "pay", "account/a");
        let mut all = vec![
            plain(ann, what),
            plain(Principal { workload: Some("spiffe://mesh/bot"), ..ann }, what),
            plain(Principal { workload: Some("spiffe://mesh/bot"), ..Principal::default() }, what),
            plain(Principal::user("https://id.example", "bob", &[]), what),
            plain(Principal::user("https://other.example", "ann", &[]), what),
            plain(ann, ("ledger", "pay", "account/a")),
            plain(ann, ("payments", "read", "account/a")),
            plain(ann, ("payments", "pay", "account/b")),
        ];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
        assert_eq!(digest("/a?b=1", &[], &ticket, FactValue::Other), None);
    }
}
