//! A grant and how it ends. Ended states never reopen: no transition leads out of them. The only one out of an ended
//! state is the revocation of an exhausted grant, which ends the calls that still run under it.

use std::fmt;

use grantmesh_shared::engine::User;
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::claims::ClaimRefusal;
use grantmesh_shared::wire::condition::ConditionItem;
use grantmesh_shared::wire::table::{Body, BoundItem, GrantItem, HolderItem, UserItem, UsesItem};
use serde::{Deserialize, Serialize};

use super::text::Text;
use super::usage::UseCount;

/// Whether a grant is in force, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantState {
    /// Approved, and not in force before its time. Filters do not have it.
    Scheduled,
    /// In force until its time.
    Active,
    /// Its time ended.
    Expired {
        /// When that was noticed, at or after `expires_at`.
        at: Timestamp,
    },
    /// A reviewer or operator ended it, or the policy did.
    Revoked {
        /// When.
        at: Timestamp,
        /// Who; nobody if the policy no longer let it start.
        by: Option<User>,
        /// Why.
        reason: Text,
    },
    /// Its holder gave it back.
    Released {
        /// When.
        at: Timestamp,
    },
    /// All its uses were taken. What runs under it goes on until its time.
    Exhausted {
        /// When the last one was.
        at: Timestamp,
    },
}

/// Who ends a grant before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndedBy {
    /// A reviewer or operator, with a reason.
    Revoker(User, Text),
    /// The holder.
    Holder,
}

/// The word of a [`GrantState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantStateWord {
    /// Approved, and not in force before its time.
    Scheduled,
    /// In force until its time.
    Active,
    /// Its time ended.
    Expired,
    /// A reviewer or operator ended it.
    Revoked,
    /// Its holder gave it back.
    Released,
    /// All its uses were taken.
    Exhausted,
}

impl GrantStateWord {
    /// Every word.
    pub const ALL: [Self; 6] =
        [Self::Scheduled, Self::Active, Self::Expired, Self::Revoked, Self::Released, Self::Exhausted];

    /// The word as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Released => "released",
            Self::Exhausted => "exhausted",
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

impl fmt::Display for GrantStateWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl GrantState {
    /// Its word.
    #[must_use]
    pub const fn word(&self) -> GrantStateWord {
        match self {
            Self::Scheduled => GrantStateWord::Scheduled,
            Self::Active => GrantStateWord::Active,
            Self::Expired { .. } => GrantStateWord::Expired,
            Self::Revoked { .. } => GrantStateWord::Revoked,
            Self::Released { .. } => GrantStateWord::Released,
            Self::Exhausted { .. } => GrantStateWord::Exhausted,
        }
    }

    /// When it ended.
    #[must_use]
    pub const fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::Scheduled | Self::Active => None,
            Self::Expired { at } | Self::Revoked { at, .. } | Self::Released { at } | Self::Exhausted { at } => {
                Some(*at)
            }
        }
    }
}

/// The grant is not in the state that this begins with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the grant is already {state}\nended grants never reopen: file a new request if it is still needed")]
pub struct AlreadyEnded {
    /// How it ended.
    pub state: GrantStateWord,
}

/// What a grant holds beyond holder, action, resource and time. Fixed when it is made, kept as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What the context must be at each call: all of them must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionItem>,
    /// Masked response fields that it reveals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reveals: Vec<String>,
    /// The call that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<Box<BoundItem>>,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The request it came from.
    pub request: RequestId,
    /// Who holds it.
    pub holder: User,
    /// The service.
    pub service: String,
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The rule.
    pub rule: String,
    /// First moment at which it allows.
    pub starts_at: Timestamp,
    /// First moment at which it no longer allows.
    pub expires_at: Timestamp,
    /// What it holds beyond that.
    pub terms: Terms,
    /// For how many calls it is, if it is for a number of them.
    pub uses: Option<UseCount>,
    /// Whether it was given at once, without an approval.
    pub break_glass: bool,
    /// The revision of its last change: what filters must have applied to know of it.
    pub revision: u64,
    /// Whether it is in force.
    pub state: GrantState,
}

impl Grant {
    /// Whether it is active past its time: it can then only expire.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.state == GrantState::Active && now >= self.expires_at
    }

    /// Takes one use; gives the grant with it, and which one it is. With the last one the grant is exhausted.
    ///
    /// # Errors
    /// If there is none to take.
    pub fn claim(self, now: Timestamp, revision: u64) -> Result<(Self, u32), ClaimRefusal> {
        let Some(UseCount { allowed, claimed }) = self.uses else { return Err(ClaimRefusal::NotYours) };
        match self.state {
            GrantState::Active => {}
            GrantState::Exhausted { .. } => return Err(ClaimRefusal::Exhausted),
            GrantState::Scheduled
            | GrantState::Expired { .. }
            | GrantState::Revoked { .. }
            | GrantState::Released { .. } => {
                return Err(ClaimRefusal::Ended);
            }
        }
        if now < self.starts_at || now >= self.expires_at {
            return Err(ClaimRefusal::Ended);
        }
        if claimed >= allowed {
            return Err(ClaimRefusal::Exhausted);
        }
        let number = claimed.saturating_add(1);
        let uses = Some(UseCount { allowed, claimed: number });
        let grant = if number < allowed {
            Self { uses, ..self }
        } else {
            Self { uses, state: GrantState::Exhausted { at: now }, revision, ..self }
        };
        Ok((grant, number))
    }

    /// Ends the grant because its time did.
    ///
    /// # Errors
    /// If it already ended.
    pub fn expire(self, now: Timestamp, revision: u64) -> Result<Self, AlreadyEnded> {
        match self.state {
            GrantState::Active => Ok(Self { state: GrantState::Expired { at: now }, revision, ..self }),
            state => Err(AlreadyEnded { state: state.word() }),
        }
    }

    /// Ends the grant before its time.
    ///
    /// # Errors
    /// If it already ended, or its time did.
    pub fn end(self, by: EndedBy, now: Timestamp, revision: u64) -> Result<Self, AlreadyEnded> {
        if self.is_over(now) {
            return Err(AlreadyEnded { state: GrantStateWord::Expired });
        }
        let state = match (self.state, by) {
            // Its last call may still run.
            (GrantState::Exhausted { .. }, EndedBy::Revoker(by, reason)) if now < self.expires_at => {
                GrantState::Revoked { at: now, by: Some(by), reason }
            }
            (GrantState::Scheduled | GrantState::Active, EndedBy::Revoker(by, reason)) => {
                GrantState::Revoked { at: now, by: Some(by), reason }
            }
            (GrantState::Scheduled | GrantState::Active, EndedBy::Holder) => GrantState::Released { at: now },
            (state, _) => {
                return Err(AlreadyEnded { state: state.word() });
            }
        };
        Ok(Self { state, revision, ..self })
    }

    /// What filters receive.
    #[must_use]
    pub fn body(&self) -> Body {
        let user = UserItem::from(&self.holder);
        Body::Grant(GrantItem {
            id: self.id.clone(),
            request: self.request.clone(),
            holder: HolderItem { user: Some(user), workload: None },
            service: self.service.clone(),
            action: self.action.clone(),
            resource: self.resource.clone(),
            rule: self.rule.clone(),
            starts_at: self.starts_at,
            expires_at: self.expires_at,
            conditions: self.terms.conditions.clone(),
            bound: self.terms.bound.clone(),
            reveals: self.terms.reveals.clone(),
            uses: self.uses.map(|UseCount { allowed, .. }| UsesItem {
                allowed,
                exhausted: matches!(self.state, GrantState::Exhausted { .. }),
            }),
            break_glass: self.break_glass,
        })
    }
}
