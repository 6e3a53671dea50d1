//! Signals: facts that the policy declares and people set for a while, `incident.open`. Filters receive them like grants.
//! Setting again replaces: the latest word counts, for longer or for shorter. One that is said of a user or a ticket is for
//! those who decide on requests, and filters have none of it.

use grantmesh_shared::engine::{self, Subject, SubjectError, User};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::policy::OfWord;
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::{Body, SignalItem};

use super::actor::Actor;
use super::text::{Text, TextError};

/// The shortest time a signal is set for.
const SHORTEST: Span = Span::from_secs(1);

/// Of so many users or tickets at once a signal is said.
pub const MOST_SAID: u64 = 10_000;

/// The longest name of what a signal is said of.
const MAX_ABOUT_CHARS: usize = 256;

/// What the policy says of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalDeclaration {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// What it is said of, if not of everything.
    pub of: Option<OfWord>,
    /// Who may set and clear it, besides operators.
    pub setters: Vec<Subject>,
    /// The longest time it may be set for at once.
    pub max_duration: Span,
}

/// Why a signal is not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalRefused {
    /// Not a reason.
    #[error(transparent)]
    Reason(TextError),
    /// Longer than the policy lets it be set for.
    #[error(
        "`{asked}` is more than the signal `{name}` may be set for\nset it for at most `{max}`, and again when that ends"
    )]
    OverMaximum {
        /// The duration.
        asked: Span,
        /// The declaration's maximum.
        max: Span,
        /// The signal.
        name: String,
    },
    /// It is said of somebody or something, and it is not said of whom.
    #[error("the signal `{name}` is said of one {of} at a time\nname it, with `of` or `--of`")]
    OfWhat {
        /// The signal.
        name: String,
        /// `user` or `ticket`.
        of: &'static str,
    },
    /// It is said of nothing in particular.
    #[error("the signal `{0}` is said of nothing in particular\nleave `of` out")]
    OfNothing(String),
    /// No user.
    #[error(transparent)]
    NoSubject(#[from] SubjectError),
    /// Something else than a user.
    #[error("the signal is said of one user at a time\nname a user, by name or as `user:NAME`")]
    NoUser,
    /// No name of a user or ticket.
    #[error(transparent)]
    About(TextError),
    /// Too long a name of a user or ticket.
    #[error(
        "the name that it is said of has more than {MAX_ABOUT_CHARS} characters\nwrite it as it stands in tokens or tickets"
    )]
    LongAbout,
    /// Too many at once.
    #[error("the signal `{0}` is said of {MOST_SAID} already\nclear what is over, or set it for shorter")]
    TooMany(String),
    /// Under a second.
    #[error("`{0}` is shorter than a second\nset it for at least `1s`")]
    TooShort(Span),
}

/// A signal that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// Of what it is said, if not of everything.
    pub about: Option<About>,
    /// Why.
    pub reason: Text,
    /// Who set it last.
    pub set_by: User,
    /// When.
    pub set_at: Timestamp,
    /// First moment at which it no longer holds.
    pub expires_at: Timestamp,
    /// The revision of its last change: what filters must have applied to know of it.
    pub revision: u64,
}

/// What a signal is said of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A user.
    User(User),
    /// A ticket.
    Ticket(String),
}

impl About {
    /// The name of it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User(user) => &user.subject,
            Self::Ticket(ticket) => ticket,
        }
    }
}

/// How a signal must stand for somebody's word on it to count: as they have seen it, if they say how that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AsSeen {
    /// However it does.
    #[default]
    Whatever,
    /// Set, by whomever and for however long.
    Set,
    /// Not set.
    NotSet,
    /// As it was set at this point of the history.
    At(Position),
}

impl AsSeen {
    /// Whether that is how it stands: since when it is set as it is, if it is.
    #[must_use]
    pub fn is(self, set: Option<Position>) -> bool {
        match self {
            Self::Whatever => true,
            Self::Set => set.is_some(),
            Self::NotSet => set.is_none(),
            Self::At(seen) => set == Some(seen),
        }
    }
}

/// Why a signal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalEnd {
    /// Someone cleared it.
    Cleared(User, Option<Text>),
    /// Its time ended.
    Expired,
    /// The policy no longer declares it.
    Undeclared(User),
}

impl SignalDeclaration {
    /// Whether the policy lets the actor set and clear it. An empty list means nobody but operators.
    #[must_use]
    pub fn may_be_set_by(&self, actor: &Actor) -> bool {
        actor.is_among(&self.setters)
    }

    /// What somebody means it to be said of: a user of their own issuer, or a ticket.
    ///
    /// # Errors
    /// If it must be said of something and is not, or the other way round.
    pub fn about(&self, actor: &Actor, of: Option<&str>) -> Result<Option<About>, SignalRefused> {
        let of_what = |word: OfWord| SignalRefused::OfWhat { name: self.name.clone(), of: word.as_str() };
        let (word, of) = match (self.of, of) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(SignalRefused::OfNothing(self.name.clone())),
            (Some(word), None) => return Err(of_what(word)),
            (Some(word), Some(of)) if of.trim().is_empty() => return Err(of_what(word)),
            (Some(word), Some(of)) => (word, of),
        };
        let of = Text::new(of, word.as_str()).map_err(SignalRefused::About)?;
        if of.as_str().chars().count() > MAX_ABOUT_CHARS {
            return Err(SignalRefused::LongAbout);
        }
        Ok(Some(match word {
            OfWord::User => About::User(actor.user_named(of.as_str())?.ok_or(SignalRefused::NoUser)?),
            OfWord::Ticket => About::Ticket(of.as_str().to_owned()),
        }))
    }

    /// The signal as it is from now on.
    ///
    /// # Errors
    /// If the reason is none, or the duration is not what the policy takes.
    pub fn set(
        &self,
        (actor, about): (&Actor, Option<About>),
        reason: &str,
        duration: Span,
        now: Timestamp,
        revision: u64,
    ) -> Result<Signal, SignalRefused> {
        let reason = Text::new(reason, "reason").map_err(SignalRefused::Reason)?;
        if duration > self.max_duration {
            let (max, name) = (self.max_duration, self.name.clone());
            return Err(SignalRefused::OverMaximum { asked: duration, max, name });
        }
        if duration < SHORTEST {
            return Err(SignalRefused::TooShort(duration));
        }
        let (set_by, expires_at) = (actor.user.clone(), now.plus(duration));
        Ok(Signal { name: self.name.clone(), about, reason, set_by, set_at: now, expires_at, revision })
    }
}

/// By what a signal is kept: its name, with what it is said of. No name of a signal has a slash, and no issuer a blank.
#[must_use]
pub fn signal_key(name: &str, about: Option<&About>) -> String {
    match about {
        None => name.to_owned(),
        Some(About::User(User { issuer, subject })) => format!("{name}/user/{issuer} {subject}"),
        Some(About::Ticket(ticket)) => format!("{name}/ticket/{ticket}"),
    }
}

/// What [`signal_key`] was made of.
#[must_use]
pub fn signal_of_key(key: &str) -> Option<(&str, Option<About>)> {
    let Some((name, rest)) = key.split_once('/') else { return Some((key, None)) };
    let about = match rest.split_once('/')? {
        ("user", user) => {
            let (issuer, subject) = user.split_once(' ')?;
            About::User(User { issuer: issuer.into(), subject: subject.into() })
        }
        ("ticket", ticket) => About::Ticket(ticket.to_owned()),
        _ => return None,
    };
    Some((name, Some(about)))
}

impl Signal {
    /// By what it is kept.
    #[must_use]
    pub fn key(&self) -> String {
        signal_key(&self.name, self.about.as_ref())
    }

    /// Whether its time is over: filters know that by themselves.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// What conditions go by.
    #[must_use]
    pub fn of_engine(&self) -> engine::Signal {
        engine::Signal { name: self.name.as_str().into(), expires_at: self.expires_at }
    }

    /// What filters receive.
    #[must_use]
    pub fn body(&self) -> Body {
        Body::Signal(SignalItem {
            name: self.name.clone(),
            reason: self.reason.as_str().to_owned(),
            expires_at: self.expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_what_they_were_made_of() {
        let user = |subject: &str| About::User(User { issuer: "https://id.example/x".into(), subject: subject.into() });
        let ticket = |ticket: &str| About::Ticket(ticket.to_owned());
        for about in [None, Some(user("ann")), Some(user("a b/c")), Some(ticket("INC-1")), Some(ticket("a/b c"))] {
            let key = signal_key("on.call", about.as_ref());
            assert_eq!(signal_of_key(&key), Some(("on.call", about)), "{key}");
        }
        for none in ["on.call/group/x", "on.call/user/ann", "on.call/"] {
            assert_eq!(signal_of_key(none), None);
        }
    }

    #[test]
    fn what_it_is_said_of_is_named_where_it_must_be() {
        let actor = Actor::new("https://id.example", "sam", Vec::new());
        let declared = |of| SignalDeclaration {
            name: "s".to_owned(),
            description: None,
            of,
            setters: Vec::new(),
            max_duration: SHORTEST,
        };
        assert_eq!(declared(None).about(&actor, None), Ok(None));
        assert_eq!(declared(None).about(&actor, Some("x")), Err(SignalRefused::OfNothing("s".to_owned())));
        let user = declared(Some(OfWord::User));
        assert!(matches!(user.about(&actor, None), Err(SignalRefused::OfWhat { of: "user", .. })));
        assert_eq!(user.about(&actor, Some("ann")).unwrap().unwrap().name(), "ann");
        assert!(matches!(user.about(&actor, Some(" ")), Err(SignalRefused::OfWhat { .. })));
        assert_eq!(user.about(&actor, Some("user:ann")), user.about(&actor, Some("ann")));
        assert_eq!(user.about(&actor, Some("group:support")), Err(SignalRefused::NoUser));
        assert!(matches!(user.about(&actor, Some("usr:ann")), Err(SignalRefused::NoSubject(_))));
        let ticket = declared(Some(OfWord::Ticket));
        assert!(ticket.about(&actor, Some(&"x".repeat(MAX_ABOUT_CHARS))).is_ok());
        assert_eq!(ticket.about(&actor, Some(&"x".repeat(MAX_ABOUT_CHARS + 1))), Err(SignalRefused::LongAbout));
    }
}
