//! Where a call comes from, as a proxy in front says it: believed only because the configuration names that proxy's header.

use std::net::IpAddr;

use super::plain;
use crate::config::Source;
use crate::headers::Headers;

/// The longest name of a country.
const MAX_COUNTRY_BYTES: usize = 64;

/// The header comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceError<'c> {
    /// Its name.
    Two(&'c str),
}

fn only<'h, 'c>(headers: &Headers<'h>, name: &'c str) -> Result<Option<&'h [u8]>, SourceError<'c>> {
    let mut values = headers.iter().filter(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value);
    let first = values.next();
    if values.next().is_some() { Err(SourceError::Two(name)) } else { Ok(first) }
}

/// The address that the outermost trusted proxy saw: each of them has added one at the end. What a caller wrote before
/// that is never looked at. An entry that is no address is none.
pub(super) fn address<'c>(headers: &Headers<'_>, source: &'c Source) -> Result<Option<IpAddr>, SourceError<'c>> {
    let Some(value) = only(headers, &source.header)? else {
        return Ok(None);
    };
    let seen = value.rsplit(|byte| *byte == b',').nth(source.trusted_hops.saturating_sub(1));
    let address = seen.and_then(plain).and_then(|text| text.parse::<IpAddr>().ok());
    // One address has one form: IPv4 in IPv6 clothes is IPv4.
    Ok(address.map(|address| address.to_canonical()))
}

/// The country as the header says it.
pub(super) fn country<'h, 'c>(headers: &Headers<'h>, name: &'c str) -> Result<Option<&'h str>, SourceError<'c>> {
    let value = only(headers, name)?;
    Ok(value.and_then(plain).filter(|text| (1..=MAX_COUNTRY_BYTES).contains(&text.len())))
}
