//! Why a call is refused for what the filter is or knows, not for what the policy says. Used by `flow` alone.

use grantmesh_shared::engine::Criticality;

use crate::identity::IdentityError;
use crate::offline::OfflineError;

/// A refusal that the engine knows nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OwnReason {
    #[error("the filter has no table yet: it has not heard from the control plane since it started")]
    NotReady,
    #[error("the filter has not heard from the control plane for longer than a {} call allows", .0.as_str())]
    Stale(Criticality),
    #[error("decision records cannot be delivered and no more can be kept")]
    RecordsBacklog,
    #[error(
        "a critical call goes on only when the control plane has its record, and it did not acknowledge it in time"
    )]
    RecordUnacknowledged,
    #[error("more calls under grants run in this worker of the proxy than it can watch")]
    TooManyRun,
    #[error(
        "the grant is for a number of uses, and this filter cannot claim one for this call: it needs the module \
         `grantmesh_filter_bodies.wasm`, which sees what comes of a call, and `body: strict` where the policy reads the body"
    )]
    CannotClaim,
    #[error(
        "no use of the grant could be claimed in time; if the control plane has taken one for this call, that one is lost"
    )]
    ClaimUnanswered,
    #[error("the response has fields that you may not see, and this filter cannot mask them")]
    CannotMask,
    #[error("the response has fields that you may not see, and too many responses are being masked already")]
    TooManyMasked,
    #[error(transparent)]
    BadIdentity(IdentityError),
    #[error("no service is served under this authority")]
    UnknownHost,
    #[error("the filter has not heard from the control plane for longer than a {} call allows; {error}", criticality.as_str())]
    Offline { criticality: Criticality, error: OfflineError },
}

impl OwnReason {
    /// A short stable word for problems, records and metrics.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Stale(_) => "stale",
            Self::RecordsBacklog => "records_backlog",
            Self::RecordUnacknowledged => "record_unacknowledged",
            Self::TooManyRun => "too_many_run",
            Self::CannotClaim => "cannot_claim",
            Self::ClaimUnanswered => "claim_unanswered",
            Self::CannotMask => "cannot_mask",
            Self::TooManyMasked => "too_many_masked",
            Self::BadIdentity(_) => "bad_identity",
            Self::UnknownHost => "unknown_host",
            Self::Offline { error, .. } => error.code(),
        }
    }
}
