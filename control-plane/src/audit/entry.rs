//! One entry of the audit log as JSON: fixed key order, `v` first, at most 16 KiB, hashed in exactly the bytes that are kept.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::{
    DecisionId, DelegationId, GrantId, LockId, PolicyId, PostReviewId, RequestId, ReviewId, UseId, VmId,
};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::signature::Sha256Hash;
use serde::{Serialize, Serializer};

use super::AuditError;
use crate::domain::Terms;

/// The longest entry, in bytes.
pub const MAX_ENTRY_BYTES: usize = 16 * 1024;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// The database was made.
    LogBegun,
    /// A policy version came into force.
    PolicyApplied,
    /// A request was filed.
    RequestFiled,
    /// A rule decided about a request by itself.
    RequestAutomatic,
    /// A reviewer approved.
    ReviewApproved,
    /// A reviewer denied.
    ReviewDenied,
    /// The reviewers of a request are reminded that it waits.
    RequestReminded,
    /// From now on others review a request, too.
    RequestEscalated,
    /// A request timed out.
    RequestTimedOut,
    /// A request was withdrawn.
    RequestWithdrawn,
    /// A grant was made.
    GrantIssued,
    /// A grant was made that starts later.
    GrantScheduled,
    /// A scheduled grant started.
    GrantStarted,
    /// A grant was given more time.
    GrantExtended,
    /// The holder of a grant is told that it is about to end.
    GrantExpiring,
    /// A grant's time ended.
    GrantExpired,
    /// The time of a grant ended that was exhausted before: filters hold it no longer, and what ran under it ends.
    GrantForgotten,
    /// A grant was revoked.
    GrantRevoked,
    /// A grant was released.
    GrantReleased,
    /// A grant was given at once, without an approval.
    GlassBroken,
    /// A token was signed for times without a control plane.
    OfflineTokenIssued,
    /// The review of what is done under it was opened.
    PostReviewOpened,
    /// It should have been decided by now.
    PostReviewOverdue,
    /// It was right to do.
    PostReviewAccepted,
    /// It was not.
    PostReviewDisputed,
    /// A use of a grant was taken.
    UseClaimed,
    /// A filter told what came of a use.
    UseEnded,
    /// A filter holds a refused call while people decide.
    HoldBegan,
    /// It holds it no longer.
    HoldEnded,
    /// A reviewer lets somebody else review in their place.
    DelegationGiven,
    /// A delegation was ended before its time.
    DelegationEnded,
    /// A lock was made.
    LockCreated,
    /// A lock was removed.
    LockRemoved,
    /// A lock's time ended.
    LockExpired,
    /// A signal was set, or set anew.
    SignalSet,
    /// A signal was cleared.
    SignalCleared,
    /// A signal's time ended.
    SignalExpired,
    /// A signal ended because the policy no longer declares it.
    SignalUndeclared,
    /// A history was begun anew, from a restored database.
    EpochBegun,
    /// A filter decided a call.
    Decision,
    /// A filter could not keep decisions.
    DecisionsDropped,
    /// Decisions went with a filter VM before they were sent.
    DecisionsLost,
    /// Decisions that had been told as lost came after all.
    DecisionsRecovered,
    /// A filter VM made its first contact.
    FilterJoined,
    /// A filter VM was forgotten.
    FilterLeft,
    /// A notification was tried often enough and given up.
    NotificationDead,
    /// A notification that was given up is tried again.
    NotificationResent,
}

impl EntryKind {
    /// The word in the entry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LogBegun => "log.begun",
            Self::PolicyApplied => "policy.applied",
            Self::RequestFiled => "request.filed",
            Self::RequestAutomatic => "request.automatic",
            Self::ReviewApproved => "review.approved",
            Self::ReviewDenied => "review.denied",
            Self::RequestReminded => "request.reminded",
            Self::RequestEscalated => "request.escalated",
            Self::RequestTimedOut => "request.timed_out",
            Self::RequestWithdrawn => "request.withdrawn",
            Self::GrantIssued => "grant.issued",
            Self::GrantScheduled => "grant.scheduled",
            Self::GrantStarted => "grant.started",
            Self::GrantExtended => "grant.extended",
            Self::GrantExpiring => "grant.expiring",
            Self::GrantExpired => "grant.expired",
            Self::GrantForgotten => "grant.forgotten",
            Self::GrantRevoked => "grant.revoked",
            Self::GrantReleased => "grant.released",
            Self::GlassBroken => "break_glass.used",
            Self::OfflineTokenIssued => "offline_token.issued",
            Self::PostReviewOpened => "post_review.opened",
            Self::PostReviewOverdue => "post_review.overdue",
            Self::PostReviewAccepted => "post_review.accepted",
            Self::PostReviewDisputed => "post_review.disputed",
            Self::UseClaimed => "use.claimed",
            Self::UseEnded => "use.ended",
            Self::HoldBegan => "hold.began",
            Self::HoldEnded => "hold.ended",
            Self::DelegationGiven => "delegation.given",
            Self::DelegationEnded => "delegation.ended",
            Self::LockCreated => "lock.created",
            Self::LockRemoved => "lock.removed",
            Self::LockExpired => "lock.expired",
            Self::SignalSet => "signal.set",
            Self::SignalCleared => "signal.cleared",
            Self::SignalExpired => "signal.expired",
            Self::SignalUndeclared => "signal.undeclared",
            Self::EpochBegun => "epoch.begun",
            Self::Decision => "decision",
            Self::DecisionsDropped => "decisions.dropped",
            Self::DecisionsLost => "decisions.lost",
            Self::DecisionsRecovered => "decisions.recovered",
            Self::FilterJoined => "filter.joined",
            Self::FilterLeft => "filter.left",
            Self::NotificationDead => "notification.dead",
            Self::NotificationResent => "notification.resent",
        }
    }
}

impl Serialize for EntryKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Who did it.
#[derive(Debug, Clone)]
pub enum ActorField {
    /// A person.
    User(User),
    /// A filter, by its records.
    Filter,
    /// The control plane, by the clock.
    System,
}

impl Serialize for ActorField {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct UserField<'a> {
            issuer: &'a str,
            subject: &'a str,
        }
        match self {
            Self::User(user) => UserField { issuer: &user.issuer, subject: &user.subject }.serialize(serializer),
            Self::Filter => serializer.serialize_str("filter"),
            Self::System => serializer.serialize_str("system"),
        }
    }
}

/// The longest list of groups in an entry, in bytes.
const MAX_GROUPS_BYTES: usize = 1_024;

/// Somebody's groups, with which what they did is judged later: all of them, or of very many their hash, so that an entry
/// stays within its bytes.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum GroupsField<'a> {
    /// In the order of the token.
    All(&'a [String]),
    /// Over their JSON.
    Hashed(Sha256Hash),
}

impl<'a> From<&'a [String]> for GroupsField<'a> {
    fn from(groups: &'a [String]) -> Self {
        let json = serde_json::json!(groups).to_string();
        if json.len() > MAX_GROUPS_BYTES { Self::Hashed(Sha256Hash::of(json.as_bytes())) } else { Self::All(groups) }
    }
}

/// What a grant holds beyond action and resource, by its hash: conditions may be long, and bound parts of a call secret.
///
/// # Errors
/// If it has no JSON form.
pub fn terms_hash(terms: &Terms) -> Result<Option<Sha256Hash>, AuditError> {
    if *terms == Terms::default() {
        return Ok(None);
    }
    let json = serde_json::to_vec(terms).map_err(AuditError::Json)?;
    Ok(Some(Sha256Hash::of(&json)))
}

/// What it concerns: the ids that link entries to each other.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EntryIds {
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewId>,
    /// The grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The post-review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_review: Option<PostReviewId>,
    /// The delegation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegation: Option<DelegationId>,
    /// The use.
    #[serde(rename = "use", skip_serializing_if = "Option::is_none")]
    pub use_id: Option<UseId>,
    /// The policy version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyId>,
    /// The decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// The filter VM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmId>,
    /// The lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<LockId>,
}

/// An entry before it has its place in the log. `Data` is what else there is to know, a struct with a fixed order of fields.
#[derive(Debug, Clone)]
pub struct Entry<Data> {
    /// What happened.
    pub kind: EntryKind,
    /// Who did it.
    pub actor: ActorField,
    /// What it concerns.
    pub ids: EntryIds,
    /// What else there is to know.
    pub data: Data,
}

impl<Data: Serialize> Entry<Data> {
    /// The bytes to hash and keep.
    ///
    /// # Errors
    /// If they are too many.
    pub fn bytes(&self, seq: u64, at: Timestamp) -> Result<Vec<u8>, AuditError> {
        #[derive(Serialize)]
        struct Line<'a, Data> {
            v: u8,
            seq: u64,
            at: Timestamp,
            kind: EntryKind,
            actor: &'a ActorField,
            ids: &'a EntryIds,
            data: &'a Data,
        }
        let Self { kind, actor, ids, data } = self;
        let bytes =
            serde_json::to_vec(&Line { v: 1, seq, at, kind: *kind, actor, ids, data }).map_err(AuditError::Json)?;
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(AuditError::TooLong { bytes: bytes.len() });
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_many_groups_are_their_hash() {
        let field = |groups: &[String]| serde_json::to_value(GroupsField::from(groups)).unwrap();
        let few = vec!["support".to_owned(), "leads".to_owned()];
        assert_eq!(field(&few), serde_json::json!(few));
        let many = vec!["g".repeat(MAX_GROUPS_BYTES - 4)];
        assert_eq!(field(&many), serde_json::json!(many));
        let more = vec!["g".repeat(MAX_GROUPS_BYTES - 3)];
        assert_eq!(field(&more), Sha256Hash::of(serde_json::json!(more).to_string().as_bytes()).to_string());
    }

    #[test]
    fn the_form_of_an_entry_is_fixed() {
        let ids = EntryIds { grant: Some(GrantId::new(1, [0; 10])), ..EntryIds::default() };
        let actor = ActorField::User(User { issuer: "https://id.example".into(), subject: "ann".into() });
        let entry = Entry { kind: EntryKind::GrantReleased, actor, ids, data: serde_json::json!({}) };
        let bytes = entry.bytes(3, Timestamp::from_millis(5)).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"v":1,"seq":3,"at":5,"kind":"grant.released","actor":{"issuer":"https://id.example","subject":"ann"},"ids":{"grant":"grant_00000000010000000000000000"},"data":{}}"#
        );
        let long = Entry {
            data: "x".repeat(MAX_ENTRY_BYTES),
            ..Entry {
                kind: EntryKind::Decision,
                actor: ActorField::Filter,
                ids: EntryIds::default(),
                data: String::new(),
            }
        };
        assert!(matches!(long.bytes(0, Timestamp::default()), Err(AuditError::TooLong { .. })));
    }
}
