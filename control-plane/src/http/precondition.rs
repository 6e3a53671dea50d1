//! What must be there for it to be replaced: `If-Match` and `If-None-Match` (RFC 9110, section 13.1).

use std::fmt::Display;
use std::str::FromStr;

use axum::http::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::wire::sync::Position;

use super::problem::ApiError;
use crate::domain::{AsSeen, Over};

/// The header that names a version.
pub(super) fn etag(version: impl Display) -> [(HeaderName, String); 1] {
    [(ETAG, tag_of(version))]
}

/// The entity tag of a version.
pub(super) fn tag_of(version: impl Display) -> String {
    format!("\"{version}\"")
}

/// What the caller says must be in force.
///
/// # Errors
/// If nothing is said, or something that names no version.
pub(super) fn over(headers: &HeaderMap) -> Result<Over, ApiError> {
    match said::<PolicyId>(headers, "a policy", "`GET /v1/policy`")? {
        None => Err(ApiError::Precondition),
        Some(Said::Any) => Ok(Over::Anything),
        Some(Said::Nothing) => Ok(Over::Nothing),
        Some(Said::Version(id)) => Ok(Over::Version(id)),
    }
}

/// How the caller says that a signal stands; nothing need be said.
///
/// # Errors
/// If something is said that names no way in which a signal can stand.
pub(super) fn as_seen(headers: &HeaderMap) -> Result<AsSeen, ApiError> {
    Ok(match said::<Position>(headers, "a signal that is set", "`GET /v1/signals`")? {
        None => AsSeen::Whatever,
        Some(Said::Any) => AsSeen::Set,
        Some(Said::Nothing) => AsSeen::NotSet,
        Some(Said::Version(at)) => AsSeen::At(at),
    })
}

/// What the headers say must be there.
enum Said<V> {
    Any,
    Nothing,
    Version(V),
}

fn said<V: FromStr>(headers: &HeaderMap, what: &str, told_by: &str) -> Result<Option<Said<V>>, ApiError> {
    match (only(headers, IF_MATCH)?, only(headers, IF_NONE_MATCH)?) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Said::Any)),
        (None, Some("*")) => Ok(Some(Said::Nothing)),
        (Some(tag), None) => {
            let version = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let version = version.and_then(|version| version.parse().ok());
            version.map(|version| Some(Said::Version(version))).ok_or_else(|| {
                let shown: String = tag.chars().take(64).collect();
                ApiError::Value(format!(
                    "`{shown}` is not the entity tag of {what}\nsend the one that {told_by} tells, in its quotes"
                ))
            })
        }
        _ => Err(ApiError::Value(
            "`If-None-Match` can only be `*` here, and not beside `If-Match`\nsend one of them".to_owned(),
        )),
    }
}

fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(&name).iter();
    let (first, more) = (values.next(), values.next());
    let text = first.map(|value| value.to_str().map(str::trim));
    match (text, more) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(ApiError::Value(format!("the header `{name}` cannot be read\nsend it once, in plain ASCII"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    fn said(pairs: &[(HeaderName, &str)]) -> Result<Over, u16> {
        over(&headers(pairs)).map_err(|error| error.problem().status)
    }

    #[test]
    fn how_a_signal_stands_need_not_be_said() {
        let seen = |pairs: &[(HeaderName, &str)]| as_seen(&headers(pairs)).map_err(|error| error.problem().status);
        let at = Position { epoch: 2, revision: 17 };
        assert_eq!(tag_of(at), "\"2.17\"");
        assert_eq!(seen(&[]), Ok(AsSeen::Whatever));
        assert_eq!(seen(&[(IF_MATCH, "*")]), Ok(AsSeen::Set));
        assert_eq!(seen(&[(IF_MATCH, &tag_of(at))]), Ok(AsSeen::At(at)));
        assert_eq!(seen(&[(IF_NONE_MATCH, "*")]), Ok(AsSeen::NotSet));
        for tag in ["2.17", "\"17\"", "W/\"2.17\"", "\"2.17\", \"2.18\"", ""] {
            assert_eq!(seen(&[(IF_MATCH, tag)]), Err(400), "{tag}");
        }
        assert_eq!(seen(&[(IF_NONE_MATCH, "\"2.17\"")]), Err(400));
    }

    #[test]
    fn one_of_the_headers_is_needed_and_only_one_version_can_be_meant() {
        let id = PolicyId::new(1, [2; 10]);
        let tag = format!("\"{id}\"");
        assert_eq!(said(&[(IF_MATCH, &tag)]), Ok(Over::Version(id.clone())));
        assert_eq!(said(&[(IF_MATCH, "*")]), Ok(Over::Anything));
        assert_eq!(said(&[(IF_NONE_MATCH, "*")]), Ok(Over::Nothing));
        assert_eq!(said(&[]), Err(428));
        let refused: [&[(HeaderName, &str)]; 7] = [
            &[(IF_MATCH, id.as_str())],
            &[(IF_MATCH, &format!("W/{tag}"))],
            &[(IF_MATCH, &format!("{tag}, {tag}"))],
            &[(IF_MATCH, &tag), (IF_MATCH, &tag)],
            &[(IF_MATCH, "")],
            &[(IF_NONE_MATCH, &tag)],
            &[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")],
        ];
        for pairs in refused {
            assert_eq!(said(pairs), Err(400), "{pairs:?}");
        }
    }
}
