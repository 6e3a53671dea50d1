//! The run-time facts of a call that conditions may name, all borrowed. Filled by the filter with only what the
//! service's [`super::Needs`] list, and by the control plane from the cases and records it replays.
//! Nothing here reads a header, a token or a clock itself.

use std::net::IpAddr;

use super::action::Criticality;
use super::canonical::CanonicalPath;
use super::condition::Decimal;
use super::decide::Now;
use super::principal::Principal;
use super::table::Table;
use super::template::PathTemplate;
use crate::time::Timestamp;

/// The value of a claim or of a body field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactValue<'a> {
    /// A text.
    Text(&'a str),
    /// A number, exactly as it was written.
    Number(Decimal),
    /// `true` or `false`.
    Bool(bool),
    /// A list of texts.
    Texts(&'a [&'a str]),
    /// Something else: it is there, and is of no type that a policy can declare.
    Other,
}

/// What is known of the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyFacts<'a> {
    /// Nobody has read it: a condition that names a field of it errs.
    #[default]
    NotRead,
    /// The request has no body: every field is missing.
    Absent,
    /// The declared fields that it has.
    Fields(&'a [(&'a str, FactValue<'a>)]),
}

/// Where the proxy itself stands, from the plugin's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin<'a> {
    /// The mesh.
    pub mesh: Option<&'a str>,
    /// The namespace.
    pub namespace: Option<&'a str>,
    /// The gateway.
    pub gateway: Option<&'a str>,
}

/// Facts of one call beyond its method, path and principal. What is absent here is missing: a condition that names it errs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Context<'a> {
    /// The authority without port, in lower case.
    pub host: Option<&'a str>,
    /// The declared request headers that were sent, once each, by their lower-case names.
    pub headers: &'a [(&'a str, &'a str)],
    /// The declared query parameters that were sent, decoded, once each.
    pub query: &'a [(&'a str, &'a str)],
    /// The declared claims that the token has.
    pub claims: &'a [(&'a str, FactValue<'a>)],
    /// The declared fields of the body.
    pub body: BodyFacts<'a>,
    /// Who acts for the user: the token's `act.sub` (RFC 8693).
    pub actor: Option<&'a str>,
    /// When the user last proved who they are: the token's `auth_time`.
    pub auth_time: Option<Timestamp>,
    /// The caller's address; only where the configuration names a proxy that vouches for it.
    pub address: Option<IpAddr>,
    /// The caller's country; only where the configuration names the header that says it.
    pub country: Option<&'a str>,
    /// Where the proxy stands.
    pub origin: Origin<'a>,
}

impl Context<'static> {
    /// A context in which everything is missing.
    pub const EMPTY: Self = Self {
        host: None,
        headers: &[],
        query: &[],
        claims: &[],
        body: BodyFacts::NotRead,
        actor: None,
        auth_time: None,
        address: None,
        country: None,
        origin: Origin { mesh: None, namespace: None, gateway: None },
    };
}

/// All that a condition is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who calls or asks.
    pub principal: &'a Principal<'a>,
    /// The method; nothing where something is asked for by action and resource, without a call.
    pub method: Option<&'a str>,
    /// The path; likewise.
    pub path: Option<CanonicalPath<'a>>,
    /// Further facts.
    pub context: &'a Context<'a>,
    /// The service.
    pub service: &'a str,
    /// The action.
    pub action: &'a str,
    /// The resource.
    pub resource: &'a str,
    /// How critical the action is.
    pub criticality: Criticality,
    /// The action's path template, for the parameters of the call's path.
    pub template: Option<&'a PathTemplate>,
    /// What is known of the time.
    pub now: Now,
    /// The table, for its signals.
    pub table: &'a Table,
}

impl<'a> Facts<'a> {
    /// The value of a path parameter.
    pub(crate) fn param(&self, name: &str) -> Option<&'a str> {
        self.template?.parameter(self.path?.as_str(), name)
    }

    /// Whether a signal is set and has not ended at `at`; nothing if it is not, and only what is said counts.
    pub(crate) fn signal(&self, name: &str, at: Timestamp) -> Option<bool> {
        let set = self.table.signal(name).is_some_and(|signal| at < signal.expires_at);
        (set || !self.table.has_only_what_is_said()).then_some(set)
    }

    /// A part of the peer's SPIFFE id `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`.
    pub(crate) fn peer(&self, part: PeerPart) -> Option<&'a str> {
        let rest = self.principal.workload?.strip_prefix("spiffe://")?;
        let (domain, path) = rest.split_once('/')?;
        if part == PeerPart::TrustDomain {
            return Some(domain);
        }
        let (namespace, account) = path.strip_prefix("ns/")?.split_once("/sa/")?;
        let wanted = if part == PeerPart::Namespace { namespace } else { account };
        (!namespace.contains('/') && !account.contains('/') && !wanted.is_empty()).then_some(wanted)
    }
}

/// A part of a SPIFFE id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerPart {
    TrustDomain,
    Namespace,
    ServiceAccount,
}
