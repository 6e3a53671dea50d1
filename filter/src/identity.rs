//! Who calls: the claims that `jwt_authn` verified, read from the proxy's dynamic metadata, and the peer's SPIFFE id.
//! The metadata is protobuf (`envoy.config.core.v3.Metadata`); a small reader borrows from it and allocates only the
//! list of groups. What it does not understand about an identity refuses the call: half an identity is none.

mod claims;
mod protobuf;

pub use claims::{ClaimValue, Claims, Found};

use grantmesh_shared::engine::fold_hash;
use protobuf::{Fields, Malformed, Value};

/// The namespace in which `jwt_authn` puts what it verified.
const JWT_AUTHN: &[u8] = b"envoy.filters.http.jwt_authn";

/// The most groups of a token that are looked at; a token with more is refused.
pub const MAX_GROUPS: usize = 256;

/// The longest issuer, subject or group in bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// The longest SPIFFE id in bytes.
const MAX_WORKLOAD_BYTES: usize = 2_048;

/// Who calls, borrowed from what the proxy gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity<'a> {
    /// Issuer and subject of the verified token.
    pub user: Option<(&'a str, &'a str)>,
    /// The token's groups.
    pub groups: Vec<&'a str>,
    /// The peer's SPIFFE id.
    pub workload: Option<&'a str>,
    /// All claims of the token, for conditions that name some.
    pub claims: Option<Claims<'a>>,
}

/// Why an identity is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not the protobuf that the proxy writes.
    #[error("the proxy's metadata cannot be read")]
    Metadata,
    /// A claim is missing, of another type, empty, too long, or has control characters.
    #[error("the token's `{0}` is missing, is not text, is too long or has control characters")]
    Claim(&'static str),
    /// More than [`MAX_GROUPS`] groups.
    #[error("the token lists more than 256 groups")]
    TooManyGroups,
    /// The peer's id is not a plain URI.
    #[error("the peer's certificate has a malformed SPIFFE id")]
    Workload,
}

impl From<Malformed> for IdentityError {
    fn from(Malformed: Malformed) -> Self {
        Self::Metadata
    }
}

impl<'a> Identity<'a> {
    /// Reads the identity from the dynamic metadata and the URI of the peer's certificate, each where there is one.
    ///
    /// # Errors
    /// If there is an identity that cannot be believed in every part.
    pub fn read(metadata: Option<&'a [u8]>, identity_key: &str, peer: Option<&'a [u8]>) -> Result<Self, IdentityError> {
        let mut identity = Self { workload: peer.map(workload).transpose()?.flatten(), ..Self::default() };
        let claims = match metadata {
            Some(metadata) => find_claims(metadata, identity_key.as_bytes())?,
            None => None,
        };
        if let Some(claims) = claims {
            identity.claims = Some(Claims(claims));
            identity.read_claims(claims)?;
        }
        Ok(identity)
    }

    /// What is the same for all calls of one principal and for no other's; empty for nobody. Groups and claims say nothing
    /// about who it is.
    #[must_use]
    pub fn principal(&self) -> Box<[u8]> {
        let (issuer, subject) = self.user.unwrap_or_default();
        // None of these has control characters.
        [issuer, subject, self.workload.unwrap_or_default()].join("\0").into_bytes().into()
    }

    /// A number that is the same for all calls of one principal, and hardly ever for those of two: for shares of what is
    /// bounded. Costs no allocation.
    #[must_use]
    pub fn mark(&self) -> u64 {
        let (issuer, subject) = self.user.unwrap_or_default();
        fold_hash(&[issuer, subject, self.workload.unwrap_or_default()])
    }

    fn read_claims(&mut self, claims: &'a [u8]) -> Result<(), IdentityError> {
        let (mut issuer, mut subject, mut groups) = (None, None, None);
        for entry in Fields(claims).entries(1) {
            let (name, value) = entry?;
            let (slot, known) = match name {
                b"iss" => (&mut issuer, "iss"),
                b"sub" => (&mut subject, "sub"),
                b"groups" => (&mut groups, "groups"),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(IdentityError::Claim(known));
            }
        }
        self.user = Some((name_in(issuer, "iss")?, name_in(subject, "sub")?));
        let Some(groups) = groups else { return Ok(()) };
        let Value::List(list) = Value::read(groups)? else {
            return Err(IdentityError::Claim("groups"));
        };
        for group in Fields(list).messages(1) {
            if self.groups.len() >= MAX_GROUPS {
                return Err(IdentityError::TooManyGroups);
            }
            self.groups.push(name_in(Some(group?), "groups")?);
        }
        Ok(())
    }
}

fn workload(uri: &[u8]) -> Result<Option<&str>, IdentityError> {
    if !uri.starts_with(b"spiffe://") {
        return Ok(None);
    }
    let fine = uri.len() <= MAX_WORKLOAD_BYTES && uri.iter().all(u8::is_ascii_graphic);
    let text = std::str::from_utf8(uri).ok().filter(|_| fine);
    text.map(Some).ok_or(IdentityError::Workload)
}

/// `Metadata.filter_metadata[jwt_authn].fields[key].struct_value`, if it is all there.
fn find_claims<'a>(metadata: &'a [u8], key: &[u8]) -> Result<Option<&'a [u8]>, IdentityError> {
    let Some(namespace) = Fields(metadata).entry(1, JWT_AUTHN)? else {
        return Ok(None);
    };
    let Some(value) = Fields(namespace).entry(1, key)? else {
        return Ok(None);
    };
    match Value::read(value)? {
        Value::Struct(claims) => Ok(Some(claims)),
        _ => Err(IdentityError::Metadata),
    }
}

fn name_in<'a>(value: Option<&'a [u8]>, claim: &'static str) -> Result<&'a str, IdentityError> {
    let value = value.ok_or(IdentityError::Claim(claim))?;
    let Value::Text(name) = Value::read(value)? else {
        return Err(IdentityError::Claim(claim));
    };
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
    let name = std::str::from_utf8(name).ok().filter(|name| fits && !has_controls(name));
    name.ok_or(IdentityError::Claim(claim))
}

/// The usual name is plain ASCII, for which looking at the bytes is enough.
fn has_controls(name: &str) -> bool {
    let plain = name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    !plain && name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
