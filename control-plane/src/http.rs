//! The HTTP side: extract, call one use case, shape the reply. All routes are in one list below; statuses are chosen in
//! `problem` alone. Holds no state of its own and writes no SQL.

mod audit;
mod break_glass;
mod delegations;
mod description;
mod events;
mod extract;
mod filter;
mod fleet;
mod grants;
mod holds;
mod layers;
mod ledger;
mod lists;
mod locks;
mod metrics;
mod notifications;
mod offline;
mod once;
mod ops;
mod policy;
mod precondition;
mod problem;
mod refusals;
mod requests;
mod reviewers;
mod reviews;
mod serve;
mod signals;
pub mod standing;
pub mod view;
mod wait;

/// The JSON bodies that the command line sends and reads too.
pub(crate) mod bodies {
    pub(crate) use super::audit::{EntriesView, EntryView};
    pub(crate) use super::break_glass::{BreakGlassBody, BrokeView, PostReviewBody, PostReviewView};
    pub(crate) use super::delegations::{DelegationBody, DelegationView};
    pub(crate) use super::fleet::FleetView;
    pub(crate) use super::grants::{
        ExtendBody, ExtendedView, GrantUsesView, RevokeBody, RevokeManyBody, RevokedManyView, RevokedView,
    };
    pub(crate) use super::holds::RequestHoldsView;
    pub(crate) use super::ledger::{ApprovedPathsView, LedgerView};
    pub(crate) use super::locks::{LockBody, LockChangedView, LockView};
    pub(crate) use super::notifications::DeliveryView;
    pub(crate) use super::offline::{OfflineBody, OfflineIssuedView, OfflineView};
    pub(crate) use super::policy::{
        ApplyBody, ExplainBody, ExplainedView, FaultsView, PolicyAppliedView, PolicyFileView, PolicyVersionView,
        PolicyView,
    };
    pub(crate) use super::requests::{FileBody, PrefillView, SuggestionView};
    pub(crate) use super::reviewers::{ReviewerView, ReviewersView};
    pub(crate) use super::reviews::{ReviewBody, ReviewedView};
    pub(crate) use super::signals::{SetBody, SetView, SignalChangedView, SignalView, SignalsView};
}

pub use problem::ApiError;
pub use serve::{ServeError, listen, serve};

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Router, routing::get};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::{MAX_TOTAL_BYTES, schema};
use jsonwebtoken::jwk::JwkSet;
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::app::App;
use crate::identity::{FilterCredentials, UserTokens};
use crate::push::Push;
use metrics::Metrics;

/// The largest body of most requests.
const SMALL_BODY: usize = 64 * 1024;

/// The largest body with policy files to check, which everyone may have checked.
const CHECKED_BODY: usize = 1024 * 1024;

/// The largest body with policy files that may get into force.
const POLICY_BODY: usize = MAX_TOTAL_BYTES;

/// The largest batch of decision records.
const RECORDS_BODY: usize = 5 * 1024 * 1024;

/// The largest question for uses.
const CLAIMS_BODY: usize = 1024 * 1024;

/// The largest question about holds.
const HOLDS_BODY: usize = 1024 * 1024;

/// How long a request may take that does not wait for anything by its nature.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the handlers work with.
#[derive(Debug)]
pub struct Api {
    app: App,
    push: Arc<Push>,
    users: UserTokens,
    filters: FilterCredentials,
    public_url: String,
    dev_jwks: Option<JwkSet>,
    metrics: Metrics,
    /// Who listens to events.
    streams: events::Streams,
    /// The API's description, written once.
    document: String,
    /// The schema of policy documents, written once.
    policy_schema: String,
}

impl Api {
    /// Puts the parts together. `public_url` is where people reach this server, without a slash at its end.
    #[must_use]
    pub fn new(
        app: App,
        push: Arc<Push>,
        users: UserTokens,
        filters: FilterCredentials,
        public_url: String,
        dev_jwks: Option<JwkSet>,
    ) -> Arc<Self> {
        let document = openapi().to_string();
        let policy_schema = schema().to_string();
        let metrics = Metrics::default();
        let streams = events::Streams::default();
        Arc::new(Self { app, push, users, filters, public_url, dev_jwks, metrics, streams, document, policy_schema })
    }

    fn now(&self) -> Timestamp {
        self.app.settings().clock.now()
    }
}

/// The API's description, generated from the handlers.
#[must_use]
pub fn openapi() -> Value {
    description::complete(&routes().split_for_parts().1)
}

/// Every route. What is documented is what is served.
fn routes() -> OpenApiRouter<Arc<Api>> {
    let policy_body = || DefaultBodyLimit::max(POLICY_BODY);
    let brief = OpenApiRouter::with_openapi(ops::document())
        .routes(routes!(requests::file, requests::list))
        .routes(routes!(requests::prefill))
        .routes(routes!(requests::read))
        .routes(routes!(requests::withdraw))
        .routes(routes!(holds::list))
        .routes(routes!(reviewers::list))
        .routes(routes!(reviews::review))
        .routes(routes!(grants::list))
        .routes(routes!(grants::read))
        .routes(routes!(grants::release))
        .routes(routes!(grants::extend))
        .routes(routes!(grants::uses))
        .routes(routes!(ledger::ledger))
        .routes(routes!(break_glass::break_glass))
        .routes(routes!(break_glass::list))
        .routes(routes!(break_glass::read))
        .routes(routes!(break_glass::decide))
        .routes(routes!(offline::issue))
        .routes(routes!(offline::list))
        .routes(routes!(delegations::create, delegations::list))
        .routes(routes!(delegations::end))
        .routes(routes!(locks::list))
        .routes(routes!(signals::list))
        .routes(routes!(policy::read))
        .routes(routes!(policy::history))
        .routes(routes!(policy::read_version))
        .routes(routes!(policy::check).layer(DefaultBodyLimit::max(CHECKED_BODY)))
        .routes(routes!(policy::simulate).layer(policy_body()))
        .routes(routes!(policy::explain))
        .routes(routes!(policy::schema))
        .routes(routes!(audit::entries))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(fleet::list))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::resend))
        .routes(routes!(filter::heartbeat))
        .routes(routes!(filter::claims).layer(DefaultBodyLimit::max(CLAIMS_BODY)))
        .routes(routes!(filter::holds).layer(DefaultBodyLimit::max(HOLDS_BODY)))
        .routes(routes!(filter::records).layer(DefaultBodyLimit::max(RECORDS_BODY)))
        .routes(routes!(ops::alive))
        .routes(routes!(ops::ready))
        .routes(routes!(ops::metrics))
        .routes(routes!(ops::dev_jwks))
        .layer(from_fn(layers::time_out));
    let waiting = OpenApiRouter::new()
        .routes(routes!(events::listen))
        .routes(routes!(grants::revoke))
        .routes(routes!(grants::revoke_many))
        .routes(routes!(locks::create))
        .routes(routes!(locks::remove))
        .routes(routes!(signals::set, signals::clear))
        .routes(routes!(policy::apply).layer(policy_body()))
        .routes(routes!(filter::sync));
    brief.merge(waiting)
}

/// The whole service.
pub fn router(api: Arc<Api>) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .route("/openapi.json", get(ops::openapi))
        .fallback(problem::unknown_route)
        .method_not_allowed_fallback(problem::unknown_method)
        .layer(DefaultBodyLimit::max(SMALL_BODY))
        .layer(CatchPanicLayer::custom(problem::caught_panic))
        .layer(from_fn_with_state(Arc::clone(&api), layers::observe))
        .with_state(api)
}
