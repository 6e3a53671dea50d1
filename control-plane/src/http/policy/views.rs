//! The JSON of `/v1/policy`.

use grantmesh_shared::time::{Span, TimestampError};
use grantmesh_shared::wire::policy::cases::Explanation;
use grantmesh_shared::wire::policy::{PolicyFault, PolicyFile};
use grantmesh_shared::wire::sync::Position;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::{Explained, StatedCall};
use crate::domain::{PolicyAbout, PolicyVersion};
use crate::http::description::{self, Length};
use crate::http::problem::ApiError;
use crate::http::view::{ArrivalView, UserView};

/// A policy file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyFileView {
    /// Its name.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
}

/// A policy to apply.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyBody {
    /// All files; what is not in them is no longer in the policy.
    pub(crate) files: Vec<PolicyFileView>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// How long to wait for its arrival at the filters, like `30s`; not at all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Length>)]
    pub(crate) wait: Option<Span>,
}

/// Files to check.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckBody {
    /// The files.
    pub(crate) files: Vec<PolicyFileView>,
}

/// A candidate, and the time to judge again under it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimulateBody {
    /// All files of the candidate.
    pub(crate) files: Vec<PolicyFileView>,
    /// The time before now whose recorded decisions are judged again.
    #[schema(value_type = Length)]
    pub(crate) since: Span,
}

/// A call to explain, stated as cases of `grantmesh policy test` do it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainBody {
    /// The service; needed if the policy has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// The method.
    pub(crate) method: String,
    /// The path, with its query.
    pub(crate) path: String,
    /// Who calls: `alice[support]`, `workload:ID`, `alice[support]+workload:ID` or `nobody`.
    pub(crate) caller: String,
    /// When; now if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
    /// Facts of the call: `header x-ticket INC-1`, `body amount 90`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) facts: Vec<String>,
    /// Signals that are set, besides those in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) signals: Vec<String>,
}

/// An explained call.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainedView {
    /// The policy in force.
    pub(crate) policy: String,
    /// The state that it was decided from.
    #[schema(value_type = description::Position)]
    pub(crate) position: Position,
    /// The call, as cases state it.
    pub(crate) call: String,
    /// When.
    pub(crate) at: String,
    /// `outcome`, the decision with its reasons, and `considered`: every deny rule, binding and rule about the action.
    #[schema(value_type = description::Explained)]
    pub(crate) explanation: Explanation,
}

/// What is wrong with a policy.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct FaultsView {
    /// Every fault; none if the policy could be applied.
    #[schema(value_type = Vec<description::Fault>)]
    pub(crate) faults: Vec<PolicyFault>,
    /// What is allowed and probably not meant.
    #[schema(value_type = Vec<description::Fault>)]
    pub(crate) warnings: Vec<PolicyFault>,
    /// The SHA-256 over what the documents say, wherever they stand; nothing if they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
}

/// A version of the policy.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct PolicyVersionView {
    /// Its id.
    pub(crate) id: String,
    /// The version before.
    pub(crate) previous: Option<String>,
    /// The SHA-256 over what the documents say, wherever they stand; in lists nothing for versions from before it was kept.
    pub(crate) digest: Option<String>,
    /// Who applied it.
    pub(crate) author: UserView,
    /// Why.
    pub(crate) message: Option<String>,
    /// When.
    pub(crate) applied_at: String,
    /// The revision from which on it is in force.
    pub(crate) revision: u64,
    /// The services it protects.
    pub(crate) services: Vec<String>,
}

/// A version of the policy with its files.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct PolicyView {
    /// All but its files.
    #[serde(flatten)]
    pub(crate) about: PolicyVersionView,
    /// The files as they were sent.
    pub(crate) files: Vec<PolicyFileView>,
}

/// What applying led to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct PolicyAppliedView {
    /// The version that is in force.
    pub(crate) policy: PolicyVersionView,
    /// Whether it is a new one; not if the version in force said the same already.
    pub(crate) changed: bool,
    /// What the filters did; only with `wait`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arrival: Option<ArrivalView>,
}

impl TryFrom<ExplainBody> for StatedCall {
    type Error = ApiError;

    fn try_from(
        ExplainBody { service, method, path, caller, at, facts, signals }: ExplainBody,
    ) -> Result<Self, ApiError> {
        let wrong = |error: TimestampError| ApiError::Value(format!("`at`: {error}"));
        let at = at.map(|at| at.parse()).transpose().map_err(wrong)?;
        Ok(Self { service, method, path, caller, at, facts, signals })
    }
}

impl From<Explained> for ExplainedView {
    fn from(Explained { policy, position, call, at, explanation }: Explained) -> Self {
        Self { policy: policy.to_string(), position, call, at: at.to_string(), explanation }
    }
}

impl From<PolicyFileView> for PolicyFile {
    fn from(PolicyFileView { name, text }: PolicyFileView) -> Self {
        Self { name, text }
    }
}

impl From<PolicyFile> for PolicyFileView {
    fn from(PolicyFile { name, text }: PolicyFile) -> Self {
        Self { name, text }
    }
}

impl From<PolicyAbout> for PolicyVersionView {
    fn from(about: PolicyAbout) -> Self {
        let PolicyAbout { id, previous, digest, author, message, applied_at, revision, services } = about;
        Self {
            id: id.to_string(),
            previous: previous.map(|id| id.to_string()),
            digest: digest.map(|digest| digest.to_string()),
            author: (&author).into(),
            message: message.map(|message| message.as_str().to_owned()),
            applied_at: applied_at.to_string(),
            revision,
            services: services.into_iter().map(String::from).collect(),
        }
    }
}

impl From<PolicyVersion> for PolicyView {
    fn from(PolicyVersion { about, files }: PolicyVersion) -> Self {
        Self { about: about.into(), files: files.into_iter().map(PolicyFileView::from).collect() }
    }
}
