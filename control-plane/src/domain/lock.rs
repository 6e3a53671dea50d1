//! A lock and how it ends. Made and removed by operators; ended locks never reopen: no transition leads out of them.

use std::fmt;

use grantmesh_shared::engine::{Subject, SubjectError, User};
use grantmesh_shared::id::LockId;
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::table::{Body, LockItem, SubjectItem};

use super::actor::Actor;
use super::rulebook::Rulebook;
use super::text::{Text, TextError, shortened};

/// The shortest lock.
const SHORTEST: Span = Span::from_secs(1);

/// What an operator sends to make a lock. Every stated part must fit the calls that it blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewLock {
    /// Only this principal, as policy names it.
    pub subject: Option<String>,
    /// Only this service.
    pub service: Option<String>,
    /// Only this action of the service.
    pub action: Option<String>,
    /// Said where nothing else is: blocks every call of every service.
    pub everything: bool,
    /// Why, in words for the refused caller.
    pub reason: String,
    /// For how long; until it is removed if nothing is said.
    pub duration: Option<Span>,
}

/// Why a lock is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockRefused {
    /// Nothing is named.
    #[error("the lock names nothing that it blocks\nname a subject, a service or an action, or say `everything`")]
    Nothing,
    /// Everything and something.
    #[error("the lock says `everything` and names something too\nleave out one of them")]
    EverythingAndMore,
    /// An action of no service.
    #[error("the action `{0}` is of no service\nname the service too")]
    ActionAlone(String),
    /// A service that the policy does not have.
    #[error("the policy in force has no service `{0}`\nsee `grantmesh policy show`")]
    Service(String),
    /// An action that the service does not have.
    #[error("the service `{service}` has no action `{action}`\nsee `grantmesh policy show`")]
    Action {
        /// The service.
        service: String,
        /// The action.
        action: String,
    },
    /// Not the name of a principal.
    #[error(transparent)]
    Subject(SubjectError),
    /// Not a reason.
    #[error(transparent)]
    Reason(TextError),
    /// Under a second.
    #[error("`{0}` is shorter than a second\nlock for at least `1s`, or without a duration")]
    TooShort(Span),
}

/// Whether a lock is in force, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// In force.
    Active,
    /// Its time ended.
    Expired {
        /// When that was noticed, at or after `expires_at`.
        at: Timestamp,
    },
    /// An operator removed it.
    Removed {
        /// When.
        at: Timestamp,
        /// Who.
        by: User,
        /// Why.
        reason: Option<Text>,
    },
}

/// The word of a [`LockState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockStateWord {
    /// In force.
    Active,
    /// Its time ended.
    Expired,
    /// An operator removed it.
    Removed,
}

impl LockStateWord {
    /// Every word.
    pub const ALL: [Self; 3] = [Self::Active, Self::Expired, Self::Removed];

    /// The word as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Removed => "removed",
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

impl fmt::Display for LockStateWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl LockState {
    /// Its word.
    #[must_use]
    pub const fn word(&self) -> LockStateWord {
        match self {
            Self::Active => LockStateWord::Active,
            Self::Expired { .. } => LockStateWord::Expired,
            Self::Removed { .. } => LockStateWord::Removed,
        }
    }

    /// When it ended.
    #[must_use]
    pub const fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::Active => None,
            Self::Expired { at } | Self::Removed { at, .. } => Some(*at),
        }
    }
}

/// The lock is no longer active.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lock is already {state}\nended locks never reopen: make a new one if it is still needed")]
pub struct LockEnded {
    /// How it ended.
    pub state: LockStateWord,
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its id.
    pub id: LockId,
    /// Only this principal.
    pub subject: Option<Subject>,
    /// Only this service.
    pub service: Option<String>,
    /// Only this action of the service.
    pub action: Option<String>,
    /// Why, in words for the refused caller.
    pub reason: Text,
    /// Who made it.
    pub created_by: User,
    /// When.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// The revision of its last change: what filters must have applied to know of it.
    pub revision: u64,
    /// Whether it is in force.
    pub state: LockState,
}

impl Lock {
    /// A lock that an operator makes. Users and groups that it names are of the operator's own issuer.
    ///
    /// # Errors
    /// If it names nothing, something that is not there, or everything by mistake.
    pub fn new(
        actor: &Actor,
        new: &NewLock,
        book: &Rulebook,
        id: LockId,
        now: Timestamp,
        revision: u64,
    ) -> Result<Self, LockRefused> {
        let NewLock { subject, service, action, everything, reason, duration } = new;
        let named = subject.is_some() || service.is_some() || action.is_some();
        match (everything, named) {
            (false, false) => return Err(LockRefused::Nothing),
            (true, true) => return Err(LockRefused::EverythingAndMore),
            _ => {}
        }
        known(book, service.as_deref(), action.as_deref())?;
        let subject = subject.as_deref().map(|subject| Subject::parse(subject, &actor.user.issuer));
        if let Some(short) = duration.filter(|duration| *duration < SHORTEST) {
            return Err(LockRefused::TooShort(short));
        }
        Ok(Self {
            id,
            subject: subject.transpose().map_err(LockRefused::Subject)?,
            service: service.clone(),
            action: action.clone(),
            reason: Text::new(reason, "reason").map_err(LockRefused::Reason)?,
            created_by: actor.user.clone(),
            created_at: now,
            expires_at: duration.map(|duration| now.plus(duration)),
            revision,
            state: LockState::Active,
        })
    }

    /// Whether it is active past its time: it can then only expire.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.state == LockState::Active && self.expires_at.is_some_and(|end| now >= end)
    }

    /// Ends the lock because its time did.
    ///
    /// # Errors
    /// If it already ended.
    pub fn expire(self, now: Timestamp, revision: u64) -> Result<Self, LockEnded> {
        match self.state {
            LockState::Active => Ok(Self { state: LockState::Expired { at: now }, revision, ..self }),
            state => Err(LockEnded { state: state.word() }),
        }
    }

    /// Ends the lock before its time.
    ///
    /// # Errors
    /// If it already ended, or its time did.
    pub fn remove(self, by: User, reason: Option<Text>, now: Timestamp, revision: u64) -> Result<Self, LockEnded> {
        if self.is_over(now) {
            return Err(LockEnded { state: LockStateWord::Expired });
        }
        match self.state {
            LockState::Active => Ok(Self { state: LockState::Removed { at: now, by, reason }, revision, ..self }),
            state => Err(LockEnded { state: state.word() }),
        }
    }

    /// What filters receive.
    #[must_use]
    pub fn body(&self) -> Body {
        Body::Lock(LockItem {
            id: self.id.clone(),
            subject: self.subject.clone().map(SubjectItem::from),
            service: self.service.clone(),
            action: self.action.clone(),
            reason: self.reason.as_str().to_owned(),
            expires_at: self.expires_at,
        })
    }
}

/// A lock on what is not there would look like one that works.
fn known(book: &Rulebook, service: Option<&str>, action: Option<&str>) -> Result<(), LockRefused> {
    let shown = |name: &str| shortened(name, 128);
    let Some(name) = service else {
        return action.map_or(Ok(()), |action| Err(LockRefused::ActionAlone(shown(action))));
    };
    let service = book.service(name).ok_or_else(|| LockRefused::Service(shown(name)))?;
    match action {
        Some(action) if service.action(action).is_none() => {
            Err(LockRefused::Action { service: shown(name), action: shown(action) })
        }
        _ => Ok(()),
    }
}
