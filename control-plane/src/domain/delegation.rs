//! Delegations: a reviewer lets somebody else review in their place, for a time. What is given is the delegator's own right and
//! nothing more, so what one has by a delegation is never given on: a review in somebody's place is judged by that one's groups.

mod lent;

use grantmesh_shared::engine::{SubjectError, User};
use grantmesh_shared::id::DelegationId;
use grantmesh_shared::time::{Span, Timestamp};

use super::actor::Actor;
use super::rulebook::Rulebook;
use super::schedule::MOST_AHEAD;
use super::text::{Text, TextError, shortened};

pub(super) use lent::{Lent, NoRight};

/// The longest delegation.
pub const LONGEST_DELEGATION: Span = Span::from_secs(30 * 24 * 3_600);

/// So many that are not over may one person have given.
pub const MOST_GIVEN: u64 = 20;

/// The most that one person has given within [`LONGEST_DELEGATION`], ended or not: reviews are held against all of them.
pub const MOST_GIVEN_LATELY: u64 = 200;

/// So many that are not over may one account have been given.
pub const MOST_TAKEN: u64 = 50;

/// The shortest one.
const SHORTEST: Span = Span::from_secs(60);

/// When a delegation ends, as it is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// So long from its start on.
    For(Span),
    /// Until then.
    Until(Timestamp),
}

/// What a reviewer sends to have somebody else review in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelegation {
    /// Who is to, as `user:NAME` or the subject alone.
    pub to: String,
    /// Only requests of this service, and what was done by its break-glass rights.
    pub service: Option<String>,
    /// Only requests under this rule of the service, or what was done by this break-glass right of it.
    pub rule: Option<String>,
    /// Why.
    pub reason: String,
    /// From when on; at once if nothing is said.
    pub starts_at: Option<Timestamp>,
    /// Until when.
    pub lasting: Lasting,
}

/// How many delegations there are that are not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delegations {
    /// By the delegator.
    pub given: u64,
    /// To the delegate.
    pub taken: u64,
    /// By the delegator within [`LONGEST_DELEGATION`], over or not.
    pub given_lately: u64,
}

/// Why nothing is delegated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelegationRefused {
    /// The delegate is the delegator, by whatever account.
    #[error("nobody delegates to themselves, under whatever account\nname another person")]
    ToOneself,
    /// One of both is a machine.
    #[error("`{0}` is the account of a machine, and machines may ask, never decide\nname a person")]
    Machine(String),
    /// The delegator reviews nothing of it by their own right.
    #[error(
        "you review nothing of this yourself, and what one has by a delegation is not given on\nhave the policy or the first delegator name whoever is to review"
    )]
    NothingToGive,
    /// What is stated breaks a rule.
    #[error(transparent)]
    Unfit(#[from] DelegationUnfit),
    /// One person has given too many.
    #[error("you have given {MOST_GIVEN} delegations that are not over, as many as anybody may\nend one of them first")]
    TooManyGiven,
    /// One person has given and ended too many.
    #[error(
        "you have given {MOST_GIVEN_LATELY} delegations within {LONGEST_DELEGATION}, as many as anybody may\nlet one last for longer"
    )]
    TooManyGivenLately,
    /// One person was given too many.
    #[error("`{0}` was given {MOST_TAKEN} delegations that are not over, as many as anybody may\nname somebody else")]
    TooManyTaken(String),
}

/// What is wrong with what is stated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelegationUnfit {
    /// Nobody is named.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// Something else than a user is named.
    #[error("reviews are delegated to one person\nname a user")]
    NotAUser,
    /// A service that the policy does not have.
    #[error("the policy in force has no service `{0}`\nsee `grantmesh policy show`")]
    Service(String),
    /// A rule that the service does not have.
    #[error("the service `{service}` has no rule or break-glass right `{rule}`\nsee `grantmesh policy show`")]
    Rule {
        /// The service.
        service: String,
        /// The rule.
        rule: String,
    },
    /// A rule of no service.
    #[error("the rule `{0}` is of no service\nname the service too")]
    RuleAlone(String),
    /// It begins in the past, or too late.
    #[error(
        "a delegation does not begin at `{0}`\nlet it begin from now on and within {MOST_AHEAD}, or leave it out for now"
    )]
    Start(Timestamp),
    /// Longer than any.
    #[error(
        "`{0}` is longer than the {LONGEST_DELEGATION} that a delegation lasts at most\nmake it shorter, and another one when it ends"
    )]
    TooLong(Span),
    /// Ends before anybody could use it.
    #[error("a delegation lasts for a minute at least\nlet it end later")]
    TooShort,
    /// Not a reason.
    #[error(transparent)]
    Reason(TextError),
}

/// The delegation is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the delegation is over already\nmake a new one if it is still needed")]
pub struct DelegationOver;

/// How a delegation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DelegationWord {
    /// It begins later.
    Scheduled,
    /// The delegate may review.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Ended,
}

impl DelegationWord {
    /// The word as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Ended => "ended",
        }
    }
}

/// One person's right to review, lent to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// Its id.
    pub id: DelegationId,
    /// Whose right it is.
    pub delegator: User,
    /// Their groups when they gave it: whether they review is judged with these.
    pub delegator_groups: Vec<String>,
    /// Who may use it.
    pub delegate: User,
    /// Only for this service.
    pub service: Option<String>,
    /// Only for this rule or break-glass right of it.
    pub rule: Option<String>,
    /// Why.
    pub reason: Text,
    /// When it was given.
    pub created_at: Timestamp,
    /// From when on.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// When and by whom it was ended before that.
    pub ended: Option<(Timestamp, User)>,
}

/// In whose place a review was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBehalfOf {
    /// By which delegation.
    pub delegation: DelegationId,
    /// The delegator.
    pub user: User,
    /// Their groups when they gave it.
    pub groups: Vec<String>,
}

impl OnBehalfOf {
    /// The delegator as they were then.
    pub(super) fn actor(&self) -> Actor {
        Actor::new(&self.user.issuer, &self.user.subject, self.groups.clone())
    }
}

impl From<&Delegation> for OnBehalfOf {
    fn from(delegation: &Delegation) -> Self {
        let Delegation { id, delegator, delegator_groups, .. } = delegation;
        Self { delegation: id.clone(), user: delegator.clone(), groups: delegator_groups.clone() }
    }
}

impl Delegation {
    /// A delegation by `actor`, to somebody of their own issuer. What there is already is counted under `so_far`.
    ///
    /// # Errors
    /// If one of both may not, there is nothing to give, or it is too long.
    pub fn new(
        actor: &Actor,
        new: &NewDelegation,
        book: &Rulebook,
        id: DelegationId,
        so_far: Delegations,
        now: Timestamp,
    ) -> Result<Self, DelegationRefused> {
        let delegate = Self::delegate(actor, &new.to)?;
        if book.people.same(&actor.user, &delegate) {
            return Err(DelegationRefused::ToOneself);
        }
        if let Some(machine) = [&actor.user, &delegate].into_iter().find(|user| book.people.is_machine(user)) {
            return Err(DelegationRefused::Machine(machine.subject.to_string()));
        }
        known(book, new.service.as_deref(), new.rule.as_deref())?;
        let (starts_at, ends_at) = period(new, now)?;
        let delegation = Self {
            id,
            delegator: actor.user.clone(),
            delegator_groups: actor.groups.clone(),
            delegate,
            service: new.service.clone(),
            rule: new.rule.clone(),
            reason: Text::new(&new.reason, "reason").map_err(DelegationUnfit::Reason)?,
            created_at: now,
            starts_at,
            ends_at,
            ended: None,
        };
        if delegation.rules(book).is_empty()
            && delegation.backups(book).is_empty()
            && delegation.rights(book).is_empty()
        {
            return Err(DelegationRefused::NothingToGive);
        }
        if so_far.given >= MOST_GIVEN {
            return Err(DelegationRefused::TooManyGiven);
        }
        if so_far.given_lately >= MOST_GIVEN_LATELY {
            return Err(DelegationRefused::TooManyGivenLately);
        }
        if so_far.taken >= MOST_TAKEN {
            return Err(DelegationRefused::TooManyTaken(delegation.delegate.subject.to_string()));
        }
        Ok(delegation)
    }

    /// Whom a delegator names.
    ///
    /// # Errors
    /// If it is no user.
    pub fn delegate(actor: &Actor, to: &str) -> Result<User, DelegationUnfit> {
        actor.user_named(to)?.ok_or(DelegationUnfit::NotAUser)
    }

    /// How it stands.
    #[must_use]
    pub fn word(&self, now: Timestamp) -> DelegationWord {
        if self.ended.is_some() {
            DelegationWord::Ended
        } else if now >= self.ends_at {
            DelegationWord::Expired
        } else if now < self.starts_at {
            DelegationWord::Scheduled
        } else {
            DelegationWord::Active
        }
    }

    /// Whether it counts now.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.word(now) == DelegationWord::Active
    }

    /// Whether it counted at some time from then until now.
    pub(super) fn was_active_since(&self, then: Timestamp, now: Timestamp) -> bool {
        let end = self.ended.as_ref().map_or(self.ends_at, |(at, _)| (*at).min(self.ends_at));
        self.starts_at <= now && self.starts_at < end && end > then
    }

    /// Whether it is for requests under this rule, or for what was done by this right.
    #[must_use]
    pub fn covers(&self, service: &str, rule: &str) -> bool {
        self.service.as_deref().is_none_or(|only| only == service)
            && self.rule.as_deref().is_none_or(|only| only == rule)
    }

    /// The delegator as they were when they gave it.
    #[must_use]
    pub fn delegator(&self) -> Actor {
        Actor::new(&self.delegator.issuer, &self.delegator.subject, self.delegator_groups.clone())
    }

    /// Service and name of every rule that the delegator reviews within what is delegated.
    #[must_use]
    pub fn rules<'b>(&self, book: &'b Rulebook) -> Vec<(&'b str, &'b str)> {
        let is_rule = |service: &str, rule: &str| book.service(service).is_some_and(|found| found.rule(rule).is_some());
        let mut rules = book.reviewed_by(&self.delegator());
        rules.retain(|(service, rule)| self.covers(service, rule) && is_rule(service, rule));
        rules
    }

    /// The same of the break-glass rights by which something was done that they review.
    #[must_use]
    pub fn rights<'b>(&self, book: &'b Rulebook) -> Vec<(&'b str, &'b str)> {
        let is_right =
            |service: &str, right: &str| book.service(service).is_some_and(|found| found.right(right).is_some());
        let mut rights = book.reviewed_by(&self.delegator());
        rights.retain(|(service, right)| self.covers(service, right) && is_right(service, right));
        rights
    }

    /// The same of the rules that they review once a request is escalated.
    #[must_use]
    pub fn backups<'b>(&self, book: &'b Rulebook) -> Vec<(&'b str, &'b str)> {
        let mut rules = book.backed_up_by(&self.delegator());
        rules.retain(|(service, rule)| self.covers(service, rule));
        rules
    }

    /// Ends it before its time.
    ///
    /// # Errors
    /// If it is over.
    pub fn end(self, by: User, now: Timestamp) -> Result<Self, DelegationOver> {
        match self.word(now) {
            DelegationWord::Scheduled | DelegationWord::Active => Ok(Self { ended: Some((now, by)), ..self }),
            DelegationWord::Expired | DelegationWord::Ended => Err(DelegationOver),
        }
    }
}

fn period(new: &NewDelegation, now: Timestamp) -> Result<(Timestamp, Timestamp), DelegationUnfit> {
    let starts_at = new.starts_at.unwrap_or(now);
    if starts_at < now || starts_at > now.plus(MOST_AHEAD) {
        return Err(DelegationUnfit::Start(starts_at));
    }
    let ends_at = match new.lasting {
        Lasting::For(span) => starts_at.plus(span),
        Lasting::Until(at) => at,
    };
    if ends_at < starts_at.plus(SHORTEST) {
        return Err(DelegationUnfit::TooShort);
    }
    let long = ends_at.since(starts_at);
    if long > LONGEST_DELEGATION {
        return Err(DelegationUnfit::TooLong(match new.lasting {
            Lasting::For(stated) => stated,
            Lasting::Until(_) => long,
        }));
    }
    Ok((starts_at, ends_at))
}

/// A delegation for what is not there would look like one that works.
fn known(book: &Rulebook, service: Option<&str>, rule: Option<&str>) -> Result<(), DelegationUnfit> {
    let shown = |name: &str| shortened(name, 128);
    let Some(name) = service else {
        return rule.map_or(Ok(()), |rule| Err(DelegationUnfit::RuleAlone(shown(rule))));
    };
    let service = book.service(name).ok_or_else(|| DelegationUnfit::Service(shown(name)))?;
    match rule {
        // A break-glass right has no name that a rule of its service has.
        Some(rule) if service.rule(rule).is_none() && service.right(rule).is_none() => {
            Err(DelegationUnfit::Rule { service: shown(name), rule: shown(rule) })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
