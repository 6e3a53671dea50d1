//! A request: an immutable ask and what became of it.

use std::fmt;

use grantmesh_shared::engine::{Action, Bind, BodyMode, Routed, Rule, Service, User, canonical_path};
use grantmesh_shared::id::{GrantId, PolicyId, RequestId};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::policy::MAX_USES;
use grantmesh_shared::wire::shown::{ShownCall, ShownError};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::table::{BindItem, BoundItem};
use serde::{Deserialize, Serialize};

use super::actor::Actor;
use super::automatic::Automatic;
use super::kind::{AskKind, Timers, Waited};
use super::review::Review;
use super::rulebook::Asked;
use super::schedule::{StartRefused, start};
use super::text::{Text, TextError};
use super::wording::{WordsRefused, words};

/// The shortest grant that may be asked for.
const SHORTEST: Span = Span::from_secs(1);

/// The longest resource, in bytes: with it and the longest justification, an audit entry is still within its limit.
const MAX_RESOURCE_BYTES: usize = 2_048;

/// What a grant is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskTarget {
    /// An action on a resource.
    Action {
        /// The service.
        service: String,
        /// The action.
        action: String,
        /// The resource.
        resource: String,
    },
    /// The action and resource that a call has.
    Call {
        /// The service.
        service: String,
        /// The HTTP method.
        method: String,
        /// The path.
        path: String,
    },
}

impl AskTarget {
    /// The service.
    #[must_use]
    pub fn service(&self) -> &str {
        match self {
            Self::Action { service, .. } | Self::Call { service, .. } => service,
        }
    }
}

impl fmt::Display for AskTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action { service, action, resource } => write!(f, "{service} {action} {resource}"),
            Self::Call { service, method, path } => write!(f, "{service} {method} {path}"),
        }
    }
}

/// What a person sends to file a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRequest {
    /// What for.
    pub target: AskTarget,
    /// Why; checked when it is filed.
    pub justification: String,
    /// The ticket that it is about; checked when it is filed.
    pub ticket: Option<String>,
    /// For how long; the rule's default if nothing is said.
    pub duration: Option<Span>,
    /// For how many calls; for one where the rule counts them, else for any number.
    pub uses: Option<u32>,
    /// Under which rule; the first that fits if nothing is said.
    pub rule: Option<String>,
    /// The call that the grant is to be bound to, as a filter has shown it.
    pub call: Option<ShownCall>,
    /// From when on; from its approval on if nothing is said.
    pub starts_at: Option<Timestamp>,
}

/// A call that was shown: what reviewers see of it, and what the grant will be bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Its bound parts.
    pub call: ShownCall,
    /// Which they are, and their digest.
    pub bound: BoundItem,
}

/// Why an ask is refused, although its rule lets the actor ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskRefused {
    /// A justification or ticket that is not what the rule wants.
    #[error(transparent)]
    Words(#[from] WordsRefused),
    /// A resource that does not show as what it is.
    #[error(transparent)]
    Resource(TextError),
    /// A resource over the limit.
    #[error("the resource has more than {MAX_RESOURCE_BYTES} bytes\nno grant can be made for it")]
    ResourceTooLong,
    /// Longer than the rule lets a grant be.
    #[error("`{asked}` is more than the rule `{rule}` allows\nask for at most `{max}`")]
    DurationOverMaximum {
        /// The duration.
        asked: Span,
        /// The rule's maximum.
        max: Span,
        /// The rule.
        rule: String,
    },
    /// The rule binds grants to what the call is, and none was shown.
    #[error(
        "the rule `{rule}` binds a grant to the call that was refused, and the request shows none\nfile it from the challenge of the refused call"
    )]
    CallNotShown {
        /// The rule.
        rule: String,
    },
    /// What was shown is not a call of this kind.
    #[error(
        "the call that was shown cannot be bound by the rule `{rule}`: {source}\nfile it from the challenge of the refused call"
    )]
    CallUnusable {
        /// The rule.
        rule: String,
        /// Why.
        source: ShownError,
    },
    /// The path that was shown leads elsewhere.
    #[error(
        "the call that was shown is not `{action}` on `{resource}`\nfile it from the challenge of the refused call"
    )]
    OtherCall {
        /// The action.
        action: String,
        /// The resource.
        resource: String,
    },
    /// More calls than the rule lets a grant be for, or none.
    #[error("a grant for {asked} calls is not what the rule `{rule}` allows\nask for 1 to {max}")]
    Uses {
        /// The number.
        asked: u32,
        /// The most.
        max: u32,
        /// The rule.
        rule: String,
    },
    /// The action's calls cannot be counted.
    #[error(
        "the calls of `{action}` cannot be counted: their heads go on before they are decided\nleave the number of uses out"
    )]
    UsesNotCounted {
        /// The action.
        action: String,
    },
    /// A start that cannot be asked for.
    #[error(transparent)]
    Start(#[from] StartRefused),
    /// Under a second.
    #[error("`{asked}` is shorter than a second\nask for at least `1s`")]
    DurationTooShort {
        /// The duration.
        asked: Span,
    },
}

/// What is asked, by whom and why. Never changes once it is filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Who asks, and for whom the grant would be.
    pub requester: User,
    /// The requester's groups when it was filed: eligibility is checked with them again at approval.
    pub requester_groups: Vec<String>,
    /// The service.
    pub service: String,
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The rule.
    pub rule: String,
    /// Why.
    pub justification: Text,
    /// The ticket that it is about.
    pub ticket: Option<Text>,
    /// For how long.
    pub duration: Span,
    /// For how many calls, if for a number of them.
    pub uses: Option<u32>,
    /// The call that the grant will be bound to, if the rule binds it.
    pub shown: Option<Shown>,
    /// What kind of ask it is.
    pub kind: AskKind,
    /// From when on; from its approval on if nothing was said.
    pub starts_at: Option<Timestamp>,
    /// What happens while nobody decides it.
    pub timers: Timers,
    /// The policy version that was in force.
    pub policy: PolicyId,
    /// When it was filed.
    pub created_at: Timestamp,
    /// From when on it can no longer be approved.
    pub times_out_at: Timestamp,
}

impl Ask {
    /// Checks an ask against its rule.
    ///
    /// # Errors
    /// If the justification or duration is not what the rule takes.
    pub fn new(
        actor: &Actor,
        asked: Asked<'_>,
        new: &NewRequest,
        policy: PolicyId,
        now: Timestamp,
    ) -> Result<Self, AskRefused> {
        let Asked { service, action, resource, rule } = asked;
        let target = (action, resource.as_str());
        let shown = match &rule.bind {
            None => None,
            Some(bind) => Some(shown(actor, service, target, (&rule.name, bind), new.call.as_ref())?),
        };
        let resource = checked_resource(&resource)?;
        let (justification, ticket) =
            words((&rule.name, &rule.workflow.deciding), &new.justification, new.ticket.as_deref())?;
        let duration = new.duration.unwrap_or(rule.workflow.default_duration);
        if duration > rule.workflow.max_duration {
            let (max, rule) = (rule.workflow.max_duration, rule.name.to_string());
            return Err(AskRefused::DurationOverMaximum { asked: duration, max, rule });
        }
        if duration < SHORTEST {
            return Err(AskRefused::DurationTooShort { asked: duration });
        }
        let uses = uses(service, action, rule, new.uses)?;
        let starts_at = start(rule, new.starts_at, now)?;
        Ok(Self {
            requester: actor.user.clone(),
            requester_groups: actor.groups.clone(),
            service: service.name().to_owned(),
            action: action.to_owned(),
            resource: resource.as_str().to_owned(),
            rule: rule.name.to_string(),
            justification,
            ticket,
            duration,
            uses,
            shown,
            kind: AskKind::Grant,
            starts_at,
            timers: Timers::of(rule, now),
            policy,
            created_at: now,
            times_out_at: now.plus(rule.workflow.request_timeout),
        })
    }

    /// The hash over everything that a reviewer decides on. Shown to reviewers; a review may state it.
    #[must_use]
    pub fn digest(&self) -> Sha256Hash {
        /// In this order for ever: the digest is in the audit log.
        #[derive(serde::Serialize)]
        struct Digested<'a> {
            v: u8,
            issuer: &'a str,
            subject: &'a str,
            service: &'a str,
            action: &'a str,
            resource: &'a str,
            rule: &'a str,
            duration_ms: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            uses: Option<u32>,
            policy: &'a PolicyId,
            justification: &'a Text,
            #[serde(skip_serializing_if = "Option::is_none")]
            shown: Option<&'a Shown>,
            #[serde(skip_serializing_if = "Option::is_none")]
            kind: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            extends: Option<&'a GrantId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            starts_at: Option<Timestamp>,
            #[serde(skip_serializing_if = "Option::is_none")]
            ticket: Option<&'a Text>,
        }
        let plain = self.kind == AskKind::Grant && self.starts_at.is_none();
        let digested = Digested {
            v: match (&self.shown, self.uses) {
                _ if self.ticket.is_some() => 5,
                _ if !plain => 4,
                (None, None) => 1,
                (Some(_), None) => 2,
                (_, Some(_)) => 3,
            },
            issuer: &self.requester.issuer,
            subject: &self.requester.subject,
            service: &self.service,
            action: &self.action,
            resource: &self.resource,
            rule: &self.rule,
            duration_ms: self.duration.millis(),
            uses: self.uses,
            policy: &self.policy,
            justification: &self.justification,
            shown: self.shown.as_ref(),
            kind: (self.kind != AskKind::Grant).then(|| self.kind.as_str()),
            extends: self.kind.extended(),
            starts_at: self.starts_at,
            ticket: self.ticket.as_ref(),
        };
        // A struct of texts and numbers always has a JSON form.
        Sha256Hash::of(&serde_json::to_vec(&digested).unwrap_or_default())
    }

    /// The requester as they were when they asked.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::new(&self.requester.issuer, &self.requester.subject, self.requester_groups.clone())
    }
}

/// A resource that shows as what it is.
pub(super) fn checked_resource(resource: &str) -> Result<Text, AskRefused> {
    let resource = Text::new(resource, "resource").map_err(AskRefused::Resource)?;
    if resource.as_str().len() > MAX_RESOURCE_BYTES {
        return Err(AskRefused::ResourceTooLong);
    }
    Ok(resource)
}

/// For how many calls a grant is asked.
fn uses(service: &Service, action: &str, rule: &Rule, asked: Option<u32>) -> Result<Option<u32>, AskRefused> {
    let Some(uses) = asked.or(rule.workflow.max_uses.map(|_| 1)) else { return Ok(None) };
    let max = rule.workflow.max_uses.unwrap_or(MAX_USES);
    if uses == 0 || uses > max {
        return Err(AskRefused::Uses { asked: uses, max, rule: rule.name.to_string() });
    }
    let head_first = |one: &Action, other: &Action| {
        other.body == Some(BodyMode::HeadFirst)
            && (&other.method, &other.templates.path) == (&one.method, &one.templates.path)
    };
    if service.action(action).is_some_and(|one| service.actions().iter().any(|other| head_first(one, other))) {
        return Err(AskRefused::UsesNotCounted { action: action.to_owned() });
    }
    Ok(Some(uses))
}

/// The bound parts of the call that was shown, and their digest: computed here, whatever a filter or requester says it is.
fn shown(
    actor: &Actor,
    service: &Service,
    (action, resource): (&str, &str),
    (rule, bind): (&str, &Bind),
    call: Option<&ShownCall>,
) -> Result<Shown, AskRefused> {
    let rule = || rule.to_owned();
    let call = call.ok_or_else(|| AskRefused::CallNotShown { rule: rule() })?;
    let user = (&*actor.user.issuer, &*actor.user.subject);
    let fields = service.action(action).map(|action| action.fields.as_slice()).unwrap_or_default();
    let (call, digest) = call
        .bound(bind, user, (service.name(), action, resource), fields)
        .map_err(|source| AskRefused::CallUnusable { rule: rule(), source })?;
    let leads_there = |target: &str, method: &str| {
        let Ok(path) = canonical_path(target.as_bytes()) else { return false };
        let Routed::Action(actions) = service.route(method, &path) else { return false };
        let meant = actions.iter().find(|known| *known.name == *action);
        meant.is_some_and(|known| known.templates.resource_of(path.as_str()).as_deref() == Some(resource))
    };
    if let (Some(target), Some(method)) = (&call.target, &call.method)
        && !leads_there(target, method)
    {
        return Err(AskRefused::OtherCall { action: action.to_owned(), resource: resource.to_owned() });
    }
    Ok(Shown { call, bound: BoundItem { bind: BindItem::from(bind), digest: Sha256Hash(digest.0) } })
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestState {
    /// Waits for reviews.
    Pending,
    /// A grant was made.
    Approved {
        /// When.
        at: Timestamp,
        /// The grant.
        grant: GrantId,
    },
    /// A reviewer said no.
    Denied {
        /// When.
        at: Timestamp,
    },
    /// Nobody decided in time.
    TimedOut {
        /// When.
        at: Timestamp,
    },
    /// The requester took it back.
    Withdrawn {
        /// When.
        at: Timestamp,
    },
}

/// The word of a [`RequestState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestStateWord {
    /// Waits for reviews.
    Pending,
    /// A grant was made.
    Approved,
    /// A reviewer said no.
    Denied,
    /// Nobody decided in time.
    TimedOut,
    /// The requester took it back.
    Withdrawn,
}

impl RequestStateWord {
    /// Every word.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Denied, Self::TimedOut, Self::Withdrawn];

    /// The word as it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::TimedOut => "timed_out",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Reads a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}

impl fmt::Display for RequestStateWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RequestState {
    /// Its word.
    #[must_use]
    pub const fn word(&self) -> RequestStateWord {
        match self {
            Self::Pending => RequestStateWord::Pending,
            Self::Approved { .. } => RequestStateWord::Approved,
            Self::Denied { .. } => RequestStateWord::Denied,
            Self::TimedOut { .. } => RequestStateWord::TimedOut,
            Self::Withdrawn { .. } => RequestStateWord::Withdrawn,
        }
    }

    /// When it was decided.
    #[must_use]
    pub const fn decided_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pending => None,
            Self::Approved { at, .. } | Self::Denied { at } | Self::TimedOut { at } | Self::Withdrawn { at } => {
                Some(*at)
            }
        }
    }

    /// The grant that came of it.
    #[must_use]
    pub const fn grant(&self) -> Option<&GrantId> {
        match self {
            Self::Approved { grant, .. } => Some(grant),
            _ => None,
        }
    }
}

/// The request is no longer pending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request is already {state}\nfile a new one if it is still needed")]
pub struct AlreadyDecided {
    /// What became of it.
    pub state: RequestStateWord,
}

/// A request with its reviews and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// What is asked.
    pub ask: Ask,
    /// How many approvals it takes; grows if the policy got stricter meanwhile.
    pub approvals_needed: u32,
    /// The reviews so far, oldest first.
    pub reviews: Vec<Review>,
    /// What happened to it while nobody decided it.
    pub waited: Waited,
    /// What its rule decided about it by itself when it was filed.
    pub automatic: Option<Automatic>,
    /// What became of it.
    pub state: RequestState,
}

impl Request {
    /// The same, by somebody who is in no other groups than these any more.
    #[must_use]
    pub fn in_groups_still(mut self, groups: &[String]) -> Self {
        self.ask.requester_groups.retain(|group| groups.contains(group));
        self
    }

    /// Whether it is pending past its time: it can then only time out.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.state == RequestState::Pending && now >= self.ask.times_out_at
    }

    /// Takes the request back.
    ///
    /// # Errors
    /// If it is decided, or overdue.
    pub fn withdraw(self, now: Timestamp) -> Result<Self, AlreadyDecided> {
        let open = self.open_at(now)?;
        Ok(Self { state: RequestState::Withdrawn { at: now }, ..open })
    }

    /// Ends a request that nobody decided in time.
    ///
    /// # Errors
    /// If it is decided.
    pub fn time_out(self, now: Timestamp) -> Result<Self, AlreadyDecided> {
        match self.state {
            RequestState::Pending => Ok(Self { state: RequestState::TimedOut { at: now }, ..self }),
            state => Err(AlreadyDecided { state: state.word() }),
        }
    }

    /// The request itself while it can still be decided by people.
    pub(super) fn open_at(self, now: Timestamp) -> Result<Self, AlreadyDecided> {
        if self.is_overdue(now) {
            return Err(AlreadyDecided { state: RequestStateWord::TimedOut });
        }
        match self.state {
            RequestState::Pending => Ok(self),
            state => Err(AlreadyDecided { state: state.word() }),
        }
    }
}
