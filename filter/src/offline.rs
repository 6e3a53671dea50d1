//! Offline break-glass in a VM: reads and verifies the tokens of calls, and remembers those that are good. A token is looked
//! at only while the control plane is not heard, and says nothing about the call beyond whose it is and what it is for:
//! locks, deny rules and the time are the engine's. Whatever is wrong with one refuses. Used by `plugin`.

use std::collections::VecDeque;
use std::rc::Rc;

use ed25519_dalek::Signature as Ed25519;
use grantmesh_shared::engine::{Grant, GrantHolder, LoneGrant, Matched, User};
use grantmesh_shared::id::RequestId;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::offline::{MAX_TOKEN, NoToken, OfflineToken};
use grantmesh_shared::wire::signature::KeyId;

use crate::clock::Mono;
use crate::question::PinnedKey;

/// The most tokens that are remembered, good or not.
const MAX_KNOWN: usize = 64;

/// So many signatures are verified within [`WINDOW`]; each costs about as much as a hundred calls.
const MAX_CHECKS: u32 = 16;

/// See [`MAX_CHECKS`].
const WINDOW: Span = Span::from_secs(1);

/// A token that a pinned key signed.
#[derive(Debug)]
pub struct Offline {
    grant: LoneGrant,
    actions: Vec<Box<str>>,
}

impl Offline {
    /// What it is as good as, for whatever it [`Self::covers`] on any resource.
    #[must_use]
    pub const fn grant(&self) -> &LoneGrant {
        &self.grant
    }

    /// Whether it is for what a call matched.
    #[must_use]
    pub fn covers(&self, matched: &Matched<'_>) -> bool {
        self.grant.held().service() == matched.service.name() && self.actions.contains(&matched.action.name)
    }
}

/// Why a token is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfflineError {
    /// It has another form.
    #[error(transparent)]
    Form(#[from] NoToken),
    /// No pinned key signed it.
    #[error("the break-glass token was not signed by a control plane that this filter knows")]
    Signature,
    /// It is somebody else's.
    #[error("the break-glass token is another user's")]
    OtherUser,
    /// It is for something else.
    #[error("the break-glass token is not for this action")]
    OtherAction,
    /// Its time is over, or has not come.
    #[error("the break-glass token is not, or no longer, in its time")]
    Ended,
    /// Too many were verified within a moment.
    #[error("too many break-glass tokens are looked at; try again in a second")]
    TooMany,
}

impl OfflineError {
    /// A short stable word for metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Form(_) => "offline_malformed",
            Self::Signature => "offline_signature",
            Self::OtherUser => "offline_other_user",
            Self::OtherAction => "offline_other_action",
            Self::Ended => "offline_ended",
            Self::TooMany => "offline_too_many",
        }
    }
}

/// A token's text, and what it came to by which key.
type Known = (Box<[u8]>, KeyId, Result<Rc<Offline>, OfflineError>);

/// The tokens that a VM has seen of late.
#[derive(Debug, Default)]
pub struct Offlines {
    known: VecDeque<Known>,
    window: Option<Mono>,
    checks: u32,
}

impl Offlines {
    /// The token of a call of this user.
    ///
    /// # Errors
    /// If it is none that this user may show.
    pub fn find(
        &mut self,
        text: &[u8],
        keys: &[PinnedKey],
        user: Option<(&str, &str)>,
        mono: Mono,
    ) -> Result<Rc<Offline>, OfflineError> {
        let is_pinned = |key: KeyId| keys.iter().any(|pinned| pinned.id() == key);
        let found = match self.known.iter().find(|(known, ..)| **known == *text) {
            // A key that is pinned no more vouches for nothing, whatever it vouched for before.
            Some((_, key, _)) if !is_pinned(*key) => return Err(OfflineError::Signature),
            Some((.., found)) => found.clone(),
            None => self.look(text, keys, user, mono)?,
        };
        found.and_then(|offline| match offline.grant.held().user() {
            Some(holder) if Some(holder) == user => Ok(offline),
            _ => Err(OfflineError::OtherUser),
        })
    }

    /// Looks at a token for the first time. What it comes to is remembered, except where nothing was verified.
    #[cold]
    #[inline(never)]
    fn look(
        &mut self,
        text: &[u8],
        keys: &[PinnedKey],
        user: Option<(&str, &str)>,
        mono: Mono,
    ) -> Result<Result<Rc<Offline>, OfflineError>, OfflineError> {
        if text.len() > MAX_TOKEN {
            return Err(NoToken.into());
        }
        let (payload, signature) = OfflineToken::parts(text)?;
        let token = OfflineToken::read(&payload)?;
        // Before anything costly is done for it: nobody can have the tokens of others verified.
        if Some((&*token.user.issuer, &*token.user.subject)) != user {
            return Err(OfflineError::OtherUser);
        }
        let key = keys.iter().find(|pinned| pinned.id() == signature.key).ok_or(OfflineError::Signature)?;
        if !self.may_check(mono) {
            return Err(OfflineError::TooMany);
        }
        let is_good = key.verifies(&OfflineToken::signed_bytes(&payload), &Ed25519::from_bytes(&signature.bytes));
        let found = if is_good { Ok(Rc::new(token.into())) } else { Err(OfflineError::Signature) };
        if self.known.len() >= MAX_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back((text.into(), signature.key, found.clone()));
        Ok(found)
    }

    fn may_check(&mut self, mono: Mono) -> bool {
        if self.window.is_none_or(|begun| mono >= begun.plus(WINDOW)) {
            (self.window, self.checks) = (Some(mono), 0);
        }
        self.checks = self.checks.saturating_add(1);
        self.checks <= MAX_CHECKS
    }
}

impl From<OfflineToken> for Offline {
    fn from(token: OfflineToken) -> Self {
        let OfflineToken { v: _, grant, user, service, right, actions, starts_at, expires_at } = token;
        let user = User { issuer: user.issuer.into(), subject: user.subject.into() };
        Self {
            grant: LoneGrant::from(Grant {
                id: grant,
                // Nothing asks for it: the request is made when the control plane hears of the use.
                request: RequestId::new(0, [0; 10]),
                holder: GrantHolder::User(user),
                service: service.into(),
                action: "".into(),
                resource: "".into(),
                rule: right.into(),
                starts_at,
                expires_at,
                conditions: Vec::new(),
                bound: None,
                reveals: Vec::new(),
                uses: None,
                break_glass: true,
            }),
            actions: actions.into_iter().map(String::into_boxed_str).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
