//! Callers who may send policies of many megabytes. They are known from the head of the request: nobody else's body is read.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::app::AppError;
use crate::domain::Actor;
use crate::http::Api;
use crate::http::extract::CurrentUser;
use crate::http::problem::ApiError;

/// Who may put a policy in force.
pub(in crate::http) struct Operator(pub(super) Actor);

/// Who may simulate a policy.
pub(in crate::http) struct Auditor(pub(super) Actor);

impl FromRequestParts<Arc<Api>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let CurrentUser(actor) = CurrentUser::from_request_parts(parts, api).await?;
        api.app.may_apply_policies(&actor).map_err(AppError::from)?;
        Ok(Self(actor))
    }
}

impl FromRequestParts<Arc<Api>> for Auditor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let CurrentUser(actor) = CurrentUser::from_request_parts(parts, api).await?;
        api.app.may_simulate_policies(&actor).map_err(AppError::from)?;
        Ok(Self(actor))
    }
}
