//! What is measured: the variants, each with its listener and its call, and the choice among them.

use anyhow::{Result, bail};

/// The call that needs a grant, and that every peer allows.
pub(crate) const GRANTED: &str = "POST /v1/accounts/acc-7/refunds";
/// The call that a role allows; such calls are counted, not recorded.
const BY_ROLE: &str = "GET /v1/accounts/acc-7/refunds";

/// What stands between the identity and the router of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chain {
    /// Nothing.
    Nothing,
    /// Nothing once more.
    Again,
    /// The smallest filter of the SDK.
    Trivial,
    /// Grantmesh.
    Grantmesh,
    /// Envoy's RBAC with a list of so many policies.
    RbacList(usize),
    /// Envoy's RBAC with a matcher tree of so many paths.
    RbacTree(usize),
    /// A script.
    Lua,
    /// A question to a server for each call, over HTTP.
    ExtAuthzHttp,
    /// The same over gRPC.
    ExtAuthzGrpc,
}

/// One line of the report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) chain: Chain,
    pub(crate) call: &'static str,
    /// Is it something else than Grantmesh and its yardsticks?
    peer: bool,
}

const fn own(name: &'static str, chain: Chain, call: &'static str) -> Variant {
    Variant { name, chain, call, peer: false }
}

const fn peer(name: &'static str, chain: Chain) -> Variant {
    Variant { name, chain, call: GRANTED, peer: true }
}

/// All variants, in the order of a round.
const VARIANTS: [Variant; 11] = [
    own("none", Chain::Nothing, GRANTED),
    own("again", Chain::Again, GRANTED),
    own("trivial", Chain::Trivial, GRANTED),
    own("role", Chain::Grantmesh, BY_ROLE),
    own("grant", Chain::Grantmesh, GRANTED),
    peer("rbac-10", Chain::RbacList(10)),
    peer("rbac-1000", Chain::RbacList(1_000)),
    peer("rbac-tree", Chain::RbacTree(10_000)),
    peer("lua", Chain::Lua),
    peer("ext-authz-http", Chain::ExtAuthzHttp),
    peer("ext-authz-grpc", Chain::ExtAuthzGrpc),
];

/// The variants of these names, or all; peers only if they are asked for.
///
/// # Errors
/// If there is no variant of a name.
pub(crate) fn chosen(only: &[String], peers: bool) -> Result<Vec<Variant>> {
    if let Some(unknown) = only.iter().find(|name| VARIANTS.iter().all(|variant| variant.name != **name)) {
        bail!("there is no variant `{unknown}`\nthere are {}", VARIANTS.map(|variant| variant.name).join(", "));
    }
    let wanted = |variant: &Variant| {
        if only.is_empty() { peers || !variant.peer } else { only.iter().any(|name| name == variant.name) }
    };
    Ok(VARIANTS.into_iter().filter(wanted).collect())
}
