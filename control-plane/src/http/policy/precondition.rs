//! What must be in force for a policy to be applied: `If-Match` and `If-None-Match` (RFC 9110, section 13.1).

use axum::http::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH};
use grantmesh_shared::id::PolicyId;

use crate::domain::Over;
use crate::http::ApiError;

/// The header that names a version.
pub(super) fn etag(id: &str) -> [(HeaderName, String); 1] {
    [(ETAG, format!("\"{id}\""))]
}

/// What the caller says must be in force.
///
/// # Errors
/// If nothing is said, or something that names no version.
pub(super) fn over(headers: &HeaderMap) -> Result<Over, ApiError> {
    match (only(headers, IF_MATCH)?, only(headers, IF_NONE_MATCH)?) {
        (None, None) => Err(ApiError::Precondition),
        (Some("*"), None) => Ok(Over::Anything),
        (None, Some("*")) => Ok(Over::Nothing),
        (Some(tag), None) => {
            let id = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let id = id.and_then(|id| id.parse::<PolicyId>().ok());
            id.map(Over::Version).ok_or_else(|| {
                let shown: String = tag.chars().take(64).collect();
                ApiError::Value(format!(
                    "`{shown}` is not the entity tag of a policy\nsend the `ETag` that `GET /v1/policy` answered, in its quotes"
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

    fn said(pairs: &[(HeaderName, &str)]) -> Result<Over, u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        over(&headers).map_err(|error| error.problem().status)
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
