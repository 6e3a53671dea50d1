//! `/v1/offline-tokens`: break-glass tokens that filters honour while they do not hear from the control plane.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use grantmesh_shared::time::Span;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::description::Length;
use super::extract::{Asked, CurrentUser, Json, Limit};
use super::once::{Once, OnceHeader};
use super::problem::ApiError;
use super::refusals::{BadBody, BadRequest, Caller, Conflict, Forbidden, Unfit};
use super::view::{ListView, UserView};
use crate::app::Page;
use crate::domain::{NewOffline, Offline};

/// What a token is wanted for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfflineBody {
    /// The service.
    pub(crate) service: String,
    /// By which break-glass right; the first that lets tokens be signed if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) right: Option<String>,
    /// Why it is needed; whoever reviews its use reads it.
    pub(crate) reason: String,
    /// For how long it is good, like `12h`; as long as the right gives if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) duration: Option<Span>,
}

/// A token as it is listed: never the token itself.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct OfflineView {
    /// The grant that its use comes to.
    pub(crate) grant: String,
    /// Whose it is.
    pub(crate) holder: UserView,
    /// The service.
    pub(crate) service: String,
    /// The right.
    pub(crate) right: String,
    /// The actions that it is for, on whatever resource.
    pub(crate) actions: Vec<String>,
    /// Why it is needed.
    pub(crate) reason: String,
    /// When it was signed.
    pub(crate) issued_at: String,
    /// When it ends.
    pub(crate) expires_at: String,
    /// When its use was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) used_at: Option<String>,
}

/// A token: only as the answer to whoever asked for it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct OfflineIssuedView {
    /// What it says.
    #[serde(flatten)]
    pub(crate) about: OfflineView,
    /// The value of the header `x-grantmesh-break-glass`. It is shown nowhere else.
    pub(crate) token: String,
}

impl From<&Offline> for OfflineView {
    fn from(token: &Offline) -> Self {
        let Offline { grant, holder, service, right, actions, reason, issued_at, expires_at, used_at, .. } = token;
        Self {
            grant: grant.to_string(),
            holder: (&holder.user).into(),
            service: service.clone(),
            right: right.clone(),
            actions: actions.clone(),
            reason: reason.as_str().to_owned(),
            issued_at: issued_at.to_string(),
            expires_at: expires_at.to_string(),
            used_at: used_at.map(|at| at.to_string()),
        }
    }
}

/// Signs a token that lets you break the glass while the control plane cannot be reached, if the policy gives you that right.
#[utoipa::path(post, path = "/v1/offline-tokens", tag = "break-glass", security(("token" = [])), request_body = OfflineBody,
    params(OnceHeader),
    responses((status = 201, body = OfflineIssuedView), Caller, BadBody, Forbidden, Conflict, Unfit))]
pub(super) async fn issue(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Once { app, body }: Once<OfflineBody>,
) -> Result<(StatusCode, Json<OfflineIssuedView>), ApiError> {
    let OfflineBody { service, right, reason, duration } = body;
    let made = app.issue_offline(&actor, &NewOffline { service, right, reason, duration }).await?;
    let token = api.push.sign_offline(&made.token())?;
    Ok((StatusCode::CREATED, Json(OfflineIssuedView { about: (&made).into(), token })))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many at most.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<Limit>,
}

/// The tokens that are still good, newest first: yours, or everybody's for operators and auditors.
#[utoipa::path(get, path = "/v1/offline-tokens", tag = "break-glass", security(("token" = [])), params(ListQuery),
    responses((status = 200, body = ListView<OfflineView>), Caller, BadRequest))]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    CurrentUser(actor): CurrentUser,
    Asked(ListQuery { cursor, limit }): Asked<ListQuery>,
) -> Result<Json<ListView<OfflineView>>, ApiError> {
    let listed = api.app.offline_tokens(&actor, &Page { cursor, limit: limit.map(Limit::number) }).await?;
    Ok(Json(ListView::of(listed, |token| OfflineView::from(&token))))
}
