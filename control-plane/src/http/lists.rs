//! What lists of requests and grants are narrowed to, as a query states it.

use super::description::one_of;
use super::extract::time;
use super::problem::ApiError;
use crate::app::Only;

/// The orders of a list.
const ORDERS: [&str; 2] = ["newest", "oldest"];

/// What a query states.
#[derive(Debug, Default)]
pub(super) struct Stated {
    pub(super) mine: bool,
    pub(super) owner: Option<String>,
    pub(super) service: Option<String>,
    pub(super) action: Option<String>,
    pub(super) rule: Option<String>,
    pub(super) since: Option<String>,
    pub(super) until: Option<String>,
    pub(super) order: Option<String>,
}

pub(super) fn orders() -> utoipa::openapi::Schema {
    one_of(ORDERS)
}

impl TryFrom<Stated> for Only {
    type Error = ApiError;

    fn try_from(stated: Stated) -> Result<Self, ApiError> {
        let Stated { mine, owner, service, action, rule, since, until, order } = stated;
        if service.is_none() && (action.is_some() || rule.is_some()) {
            let text = "`action` and `rule` mean something only within a service\nname it as `service`, too";
            return Err(ApiError::Value(text.to_owned()));
        }
        let oldest_first = match order.as_deref() {
            None | Some("newest") => false,
            Some("oldest") => true,
            Some(_) => {
                return Err(ApiError::Value(format!("there is no such order\nuse one of {}", ORDERS.join(", "))));
            }
        };
        let (since, until) = (time("since", since.as_deref())?, time("until", until.as_deref())?);
        Ok(Self { mine, owner, service, action, rule, since, until, oldest_first })
    }
}
