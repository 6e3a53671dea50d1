//! The query parameters that conditions name, each once and decoded. A query has no one grammar, so whatever two usual
//! readers could take differently about a named parameter is refused, and everything else is passed over.

use std::borrow::Cow;

/// Why the parameters of a query cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError<'n> {
    /// A parameter that conditions name comes twice.
    #[error("the query parameter `{0}`, which conditions of the policy name, comes more than once")]
    Twice(&'n str),
    /// A parameter that conditions name could be read in two ways.
    #[error("the query parameter `{0}`, which conditions of the policy name, can be read in two ways")]
    Ambiguous(&'n str),
}

impl QueryError<'_> {
    /// A short stable word for records and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Twice(_) => "two_parameters",
            Self::Ambiguous(_) => "ambiguous_parameter",
        }
    }
}

/// The named parameters that are there.
///
/// # Errors
/// If one of them could be read in two ways.
pub fn query_parameters<'n, 'q>(
    query: &'q [u8],
    names: &'n [Box<str>],
) -> Result<Vec<(&'n str, Cow<'q, str>)>, QueryError<'n>> {
    let mut found: Vec<(&str, Cow<'q, str>)> = Vec::new();
    if names.is_empty() {
        return Ok(found);
    }
    for pair in query.split(|byte| *byte == b'&') {
        // Some readers take `;` for another `&`.
        let parts = pair.split(|byte| *byte == b';');
        let one_reading = parts.clone().nth(1).is_none();
        for part in parts {
            let (name, value) = match part.iter().position(|byte| *byte == b'=') {
                Some(at) => {
                    let (name, rest) = part.split_at_checked(at).unwrap_or_default();
                    (name, rest.get(1..))
                }
                None => (part, None),
            };
            let Some(named) = meant(name, names) else { continue };
            let clear = one_reading && name == named.as_bytes();
            let value = value.filter(|_| clear).and_then(query_decoded).ok_or(QueryError::Ambiguous(named))?;
            if found.iter().any(|(known, _)| *known == named) {
                return Err(QueryError::Twice(named));
            }
            found.push((named, value));
        }
    }
    Ok(found)
}

/// Every parameter of these names that some reader could find in a query, in whatever spelling.
pub fn query_mentions<'n, 'q>(query: &'q [u8], names: &'n [&'n str]) -> impl Iterator<Item = &'n str> + use<'n, 'q> {
    query.split(|byte| matches!(byte, b'&' | b';')).filter_map(|part| {
        let name = part.split(|byte| *byte == b'=').next().unwrap_or_default();
        meant(name, names)
    })
}

/// The named parameter that some reader could take this for: also in another spelling, or as the first of several
/// (`name[]`, `name[0]`). PHP makes `_` of dots and blanks.
fn meant<'n, N: AsRef<str>>(name: &[u8], names: &'n [N]) -> Option<&'n str> {
    let decoded = percent_decoded(name);
    let name = decoded.as_deref().unwrap_or(name);
    let name = name.trim_ascii();
    let stem = name.split(|byte| *byte == b'[').next().unwrap_or_default();
    let folded = |byte: &u8| if matches!(byte, b'.' | b' ' | b'+') { b'_' } else { byte.to_ascii_lowercase() };
    let same =
        |named: &str| stem.len() == named.len() && stem.iter().map(folded).eq(named.as_bytes().iter().map(folded));
    names.iter().map(AsRef::as_ref).find(|named| same(named))
}

/// The text that a value of a query stands for, in its one reading; nothing where it has two, as `+` has, or none.
#[must_use]
pub fn query_decoded(value: &[u8]) -> Option<Cow<'_, str>> {
    if value.contains(&b'+') {
        return None;
    }
    if !value.contains(&b'%') {
        return std::str::from_utf8(value).ok().filter(|text| text.is_ascii()).map(Cow::Borrowed);
    }
    let text = String::from_utf8(percent_decoded(value)?).ok()?;
    (!text.chars().any(char::is_control)).then_some(Cow::Owned(text))
}

/// Bytes with their escapes read; nothing if one of them is broken.
fn percent_decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let (high, low) = (rest.next().and_then(digit)?, rest.next().and_then(digit)?);
        out.push((high << 4) | low);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reading_is_read_and_two_are_refused() {
        let names = ["dryRun".into(), "to".into()];
        let read = |query: &str| {
            let found = query_parameters(query.as_bytes(), &names);
            found.map(|found| found.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
        };
        for (query, expected) in [
            ("", ""),
            ("dryRun=1", "dryRun=1"),
            ("a=b&dryRun=true&to=acc-42&c", "dryRun=true to=acc-42"),
            ("dryRun=", "dryRun="),
            ("to=a%20b%C3%A9", "to=a bé"),
            ("to=a=b", "to=a=b"),
            ("total=3&x=+&y=%zz&z;w", ""),
            ("&&=&=x", ""),
        ] {
            assert_eq!(read(query).as_deref(), Ok(expected), "{query}");
        }
        for query in ["dryRun=1&dryRun=1", "to=a&x=1&to=b"] {
            assert!(matches!(read(query), Err(QueryError::Twice(_))), "{query}");
        }
        for query in [
            "dryRun",
            "dryrun=1",
            "DRYRUN=1",
            "dry%52un=1",
            "dryRun[]=1",
            "dryRun%5B0%5D=1",
            " dryRun=1",
            "%20dryRun=1",
            "dryRun=1;x=2",
            "x=2;dryRun=1",
            "to=a+b",
            "to=%",
            "to=%f",
            "to=%ff",
            "to=%00",
            "to=\u{e9}",
        ] {
            assert!(matches!(read(query), Err(QueryError::Ambiguous(_))), "{query}");
        }
    }

    #[test]
    fn a_parameter_is_found_in_every_spelling() {
        let found = |query: &str| query_mentions(query.as_bytes(), &["_method"]).count();
        for query in
            ["_method=PUT", "a=b&_METHOD", "a;_method=x", "%5Fmethod=x", ".method=x", "+method=x", "_method[]=x"]
        {
            assert_eq!(found(query), 1, "{query}");
        }
        for query in ["", "method=x", "a=_method", "x_method=1", "__method=1"] {
            assert_eq!(found(query), 0, "{query}");
        }
        assert_eq!(found("_method=a&_method=b"), 2);
    }
}
