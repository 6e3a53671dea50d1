//! Who calls: the claims that `jwt_authn` verified, read from the proxy's dynamic metadata, and the peer's SPIFFE id.
//! The metadata is protobuf (`envoy.config.core.v3.Metadata`); a small reader borrows from it and allocates only the
//! list of groups. What it does not understand about an identity refuses the call: half an identity is none.

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
            identity.read_claims(claims)?;
        }
        Ok(identity)
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
        let list = only_value(groups, Kind::List)?.ok_or(IdentityError::Claim("groups"))?;
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
    only_value(value, Kind::Struct)?.map(Some).ok_or(IdentityError::Metadata)
}

fn name_in<'a>(value: Option<&'a [u8]>, claim: &'static str) -> Result<&'a str, IdentityError> {
    let value = value.ok_or(IdentityError::Claim(claim))?;
    let name = only_value(value, Kind::Text)?
        .filter(|name| (1..=MAX_NAME_BYTES).contains(&name.len()))
        .and_then(|name| std::str::from_utf8(name).ok())
        .filter(|name| !name.chars().any(char::is_control));
    name.ok_or(IdentityError::Claim(claim))
}

/// The kinds of `google.protobuf.Value` that claims are made of, by field number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text = 3,
    Struct = 5,
    List = 6,
}

/// What a `Value` holds if it is of that kind; nothing if it is of another.
fn only_value(value: &[u8], kind: Kind) -> Result<Option<&[u8]>, IdentityError> {
    let mut held = None;
    for field in Fields(value) {
        let (number, content) = field?;
        let right = number == kind as u64;
        match content {
            Content::Bytes(bytes) if right && held.is_none() => held = Some(bytes),
            _ if right || held.is_some() => return Err(IdentityError::Metadata),
            _ => {}
        }
    }
    Ok(held)
}

/// The fields of one protobuf message.
#[derive(Clone)]
struct Fields<'a>(&'a [u8]);

enum Content<'a> {
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64_u32).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if *byte < 0x80 {
                return (shift < 63 || *byte <= 1).then_some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = tail;
        Some(head)
    }

    fn field(&mut self) -> Option<(u64, Content<'a>)> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => {
                self.varint()?;
                Content::Other
            }
            1 => self.take(8).map(|_| Content::Other)?,
            2 => {
                let length = self.varint()?;
                Content::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Content::Other)?,
            _ => return None,
        };
        let number = tag >> 3;
        (number != 0).then_some((number, content))
    }

    /// The messages in the fields of one number; other fields are passed over.
    fn messages(self, wanted: u64) -> impl Iterator<Item = Result<&'a [u8], IdentityError>> {
        self.filter_map(move |field| match field {
            Err(error) => Some(Err(error)),
            Ok((number, _)) if number != wanted => None,
            Ok((_, Content::Bytes(bytes))) => Some(Ok(bytes)),
            Ok((_, Content::Other)) => Some(Err(IdentityError::Metadata)),
        })
    }

    /// The (key, value) pairs of a map field.
    fn entries(self, wanted: u64) -> impl Iterator<Item = Result<(&'a [u8], &'a [u8]), IdentityError>> {
        self.messages(wanted).map(|entry| {
            let (mut key, mut value) = (None, None);
            for field in Fields(entry?) {
                let slot = match field? {
                    (1, Content::Bytes(bytes)) => key.replace(bytes),
                    (2, Content::Bytes(bytes)) => value.replace(bytes),
                    (1 | 2, Content::Other) => return Err(IdentityError::Metadata),
                    _ => None,
                };
                if slot.is_some() {
                    return Err(IdentityError::Metadata);
                }
            }
            Ok((key.unwrap_or_default(), value.unwrap_or_default()))
        })
    }

    /// The value under one key of a map field; a key that is there twice is refused.
    fn entry(self, wanted: u64, key: &[u8]) -> Result<Option<&'a [u8]>, IdentityError> {
        let mut found = None;
        for entry in self.entries(wanted) {
            let (name, value) = entry?;
            if name == key && found.replace(value).is_some() {
                return Err(IdentityError::Metadata);
            }
        }
        Ok(found)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Content<'a>), IdentityError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            // What follows a broken field has no meaning.
            self.0 = &[];
        }
        Some(field.ok_or(IdentityError::Metadata))
    }
}

#[cfg(test)]
mod tests;
