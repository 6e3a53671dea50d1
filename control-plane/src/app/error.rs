//! Why a use case was refused or failed. The HTTP side gives each its status; the code is stable and for programs.

use grantmesh_shared::id::RequestId;
use grantmesh_shared::wire::policy::{Difference, PolicyFault};

use crate::audit::AuditError;
use crate::clock::RandomError;
use crate::domain::{
    AlreadyDecided, AlreadyEnded, AskRefused, BreakGlassRefused, DelegationOver, DelegationRefused, DelegationUnfit,
    ExtendRefused, LimitRefused, LockEnded, LockRefused, NoBreakGlass, NotEligible, OfflineRefused, Over, PolicyAbout,
    PostReviewRefused, RecordsRefused, ReviewRefused, Signal, SignalRefused, TextError, WordsRefused,
};
use crate::store::StoreError;

/// Why a use case was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no such thing, or not for this actor: the two read alike.
    #[error("there is no {what} `{id}` that you may see\ncheck the id, or ask its owner")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// What was asked for.
        id: String,
    },
    /// The actor may see it but not do it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Something else was there first.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The values break a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A batch of decision records is not the continuation of its stream.
    #[error(transparent)]
    Records(#[from] RecordsRefused),
    /// The database failed or holds what it cannot hold.
    #[error(transparent)]
    Store(StoreError),
    /// The audit log refused an entry or a checkpoint.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The requester asks too often.
    #[error(transparent)]
    Limit(LimitRefused),
    /// Others are having their policies checked.
    #[error(
        "as many policies as are checked at once are being checked already\ntry again in a moment, or run `grantmesh policy check`, which needs no server"
    )]
    Busy,
    /// The policy could not be checked to its end.
    #[error("the policy check did not finish")]
    Check(#[from] tokio::task::JoinError),
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Moved { .. } => Conflict::Moved(error.to_string()).into(),
            error => Self::Store(error),
        }
    }
}

/// The actor may see it but not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Reviewing one's own request.
    #[error("nobody reviews their own request\nask another reviewer of the rule")]
    SelfApproval,
    /// The account of a machine.
    #[error("this is the account of a machine, and machines may ask, never decide\nhave a person review it")]
    Machine,
    /// A reviewer only by the requester's doing.
    #[error("{0}")]
    OnlyByRequester(String),
    /// Not among the rule's reviewers.
    #[error("you are not a reviewer of the rule `{rule}`, at the time of the request and now")]
    NotAReviewer {
        /// The rule.
        rule: String,
    },
    /// No delegation in force.
    #[error("{0}")]
    NoDelegation(String),
    /// In the place of somebody who is no reviewer either.
    #[error("{0}")]
    DelegatorNoReviewer(String),
    /// Requester and delegate stand in for each other.
    #[error("{0}")]
    TiedToRequester(String),
    /// A delegation to oneself.
    #[error("{0}")]
    SelfDelegation(String),
    /// A delegation by or to a machine.
    #[error("{0}")]
    MachineDelegation(String),
    /// A delegation of what one does not have.
    #[error("{0}")]
    NothingToDelegate(String),
    /// Only operators may.
    #[error("only operators may {what}\nask one of them, or have yourself added with `--operator`")]
    NotOperator {
        /// What they may.
        what: &'static str,
    },
    /// Only operators and auditors may.
    #[error("only auditors and operators may {what}\nask one of them, or have yourself added with `--auditor`")]
    NotAuditor {
        /// What they may.
        what: &'static str,
    },
    /// Only the requester may.
    #[error("only the requester may withdraw a request\na reviewer may deny it")]
    NotTheRequester,
    /// Only the holder may.
    #[error("only the holder may release a grant\na reviewer may revoke it")]
    NotTheHolder,
    /// No break-glass right.
    #[error(transparent)]
    NoBreakGlass(#[from] NoBreakGlass),
    /// Reviewing one's own doing.
    #[error("{0}")]
    SelfReview(String),
    /// Not among those who review what is done by a break-glass right.
    #[error("{0}")]
    NotAPostReviewer(String),
    /// Only the signal's setters and operators may.
    #[error(
        "only its setters and operators may set or clear the signal `{signal}`\nask one of them, or have the policy changed"
    )]
    NotASetter {
        /// The signal.
        signal: String,
    },
}

/// Something else was there first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The request is decided.
    #[error(transparent)]
    AlreadyDecided(#[from] AlreadyDecided),
    /// The reviewer has voted.
    #[error("you have already reviewed this request\none person has one vote")]
    AlreadyReviewed,
    /// The vote of the delegator was given.
    #[error("{0}")]
    DelegatorVoted(String),
    /// The delegation is over.
    #[error(transparent)]
    DelegationOver(#[from] DelegationOver),
    /// As many delegations as anybody may have.
    #[error("{0}")]
    TooManyDelegations(String),
    /// The reviewer saw something else.
    #[error("{0}")]
    DigestDiffers(String),
    /// The stage that is open needs somebody else.
    #[error("{0}")]
    StageNeedsOthers(String),
    /// The post-review is decided.
    #[error("{0}")]
    PostReviewDecided(String),
    /// The grant ended.
    #[error(transparent)]
    AlreadyEnded(#[from] AlreadyEnded),
    /// The lock ended.
    #[error(transparent)]
    LockEnded(#[from] LockEnded),
    /// The signal is not set.
    #[error("the signal `{name}` is not set\nthere is nothing to clear")]
    SignalNotSet {
        /// The signal.
        name: String,
    },
    /// The signal does not stand as whoever changes it has seen it.
    #[error("{}\nlook at it again with `grantmesh signal list`, and say so if it is still to be changed", signal_stands(.name, .set.as_deref()))]
    SignalChanged {
        /// The signal.
        name: String,
        /// As it is set, if it is.
        set: Option<Box<Signal>>,
    },
    /// The policy is another one than was expected.
    #[error(transparent)]
    PolicyChanged(Box<PolicyChanged>),
    /// A delivery that was not given up.
    #[error("the notification is {state}\nonly those that are dead can be sent again")]
    NotDead {
        /// How it stands.
        state: &'static str,
    },
    /// Someone else was quicker.
    #[error("{0}")]
    Moved(String),
    /// The same is asked already.
    #[error(
        "you have asked for this already, and `{request}` is pending\nwait for it to be decided, or withdraw it first"
    )]
    AlreadyAsked {
        /// The pending request.
        request: RequestId,
    },
    /// The idempotency key was used for something else.
    #[error("the idempotency key `{key}` was used for something else\nuse a new key for what is new")]
    IdempotencyKeyReused {
        /// The key.
        key: String,
    },
}

fn signal_stands(name: &str, set: Option<&Signal>) -> String {
    match set {
        None => format!("the signal `{name}` is not set, as you said that it is"),
        Some(Signal { set_by, set_at, expires_at, .. }) => format!(
            "the signal `{name}` was set by `{}` at {set_at} until {expires_at}, which is not how you said that it stands",
            set_by.subject
        ),
    }
}

/// Another policy is in force than the one that was to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}\nlook at what changed, and apply again with both changes", self.told())]
pub struct PolicyChanged {
    /// What was expected.
    pub expected: Over,
    /// What is there.
    pub current: Option<PolicyAbout>,
    /// What changed from the one to the other, where both are known.
    pub changes: Vec<Difference>,
}

impl PolicyChanged {
    fn told(&self) -> String {
        let there = match &self.current {
            None => "no policy is in force".to_owned(),
            Some(PolicyAbout { id, author, applied_at, message, .. }) => {
                let why = message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
                format!("the policy in force is `{id}`, applied by `{}` at {applied_at}{why}", author.subject)
            }
        };
        match &self.expected {
            Over::Version(expected) => format!("{there}, not `{expected}`"),
            Over::Nothing => format!("{there}, and none was expected"),
            Over::Anything => there,
        }
    }
}

/// The values break a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No rule lets the actor ask.
    #[error(transparent)]
    NotEligible(#[from] NotEligible),
    /// The policy no longer lets the requester ask.
    #[error("the policy no longer lets the requester ask for this\ndeny the request, or have the policy changed first")]
    RequesterNotEligible,
    /// The policy now gives requests less time than this one has waited.
    #[error("{0}")]
    WaitedTooLong(String),
    /// The ask is not what the rule takes.
    #[error(transparent)]
    Ask(#[from] AskRefused),
    /// The glass is not broken.
    #[error(transparent)]
    BreakGlass(BreakGlassRefused),
    /// No token is signed.
    #[error(transparent)]
    Offline(OfflineRefused),
    /// The grant is not extended.
    #[error(transparent)]
    Extend(ExtendRefused),
    /// The lock blocks nothing that is there.
    #[error(transparent)]
    Lock(#[from] LockRefused),
    /// The policy does not let the signal be set so.
    #[error(transparent)]
    Signal(#[from] SignalRefused),
    /// A reviewer's duration is not within what was asked for.
    #[error("{0}")]
    DurationWidened(String),
    /// A reviewer's number of calls for a request without one.
    #[error("{0}")]
    UsesNotAsked(String),
    /// A reviewer's number of calls is not within what was asked for.
    #[error("{0}")]
    UsesWidened(String),
    /// A reviewer's list of revealed fields is not within what the rule reveals.
    #[error("{0}")]
    RevealsWidened(String),
    /// The policy now wants more of the justification or ticket.
    #[error("{0}")]
    WordsFallShort(String),
    /// Several delegators' rights would do.
    #[error("{0}")]
    SeveralDelegations(String),
    /// The delegation is for nobody, nothing or no time that there is.
    #[error(transparent)]
    Delegation(DelegationUnfit),
    /// Nothing says which grants are to end.
    #[error("it is not said which grants are to end\nname a holder, a service, an action or a rule")]
    NothingNamed,
    /// More grants than one transaction ends.
    #[error("more than {0} grants fit, and so many are not ended at once\nname a service or a rule, too")]
    TooManyToRevoke(u32),
    /// Not somebody who holds grants.
    #[error("{0}")]
    Holder(String),
    /// A reason or message that is none.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The policy has faults.
    #[error("the policy has {} fault(s), the first: {}\nfix them all and apply again", .0.len(), first(.0))]
    Policy(Vec<PolicyFault>),
    /// What is stated is no call of the policy.
    #[error("{0}")]
    Call(String),
    /// Not a key that a client may use.
    #[error("an idempotency key is 1 to 128 visible ASCII characters, sent once\nuse a random UUID")]
    IdempotencyKey,
    /// What a filter says of itself is not what its credential says.
    #[error(
        "the filter says {what}, which its credential does not cover\nissue a credential with `grantmesh credential --name NODE --service SERVICE`"
    )]
    Filter {
        /// What does not fit.
        what: String,
    },
}

fn first(faults: &[PolicyFault]) -> String {
    faults.first().map(ToString::to_string).unwrap_or_default()
}

impl AppError {
    /// The stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Forbidden(forbidden) => match forbidden {
                Forbidden::SelfApproval | Forbidden::TiedToRequester(_) => "self_approval",
                Forbidden::Machine | Forbidden::MachineDelegation(_) => "machine",
                Forbidden::NoDelegation(_) => "no_delegation",
                Forbidden::SelfDelegation(_) => "self_delegation",
                Forbidden::NothingToDelegate(_) => "nothing_to_delegate",
                Forbidden::OnlyByRequester(_) => "only_by_requester",
                Forbidden::NotAReviewer { .. } | Forbidden::NotAPostReviewer(_) | Forbidden::DelegatorNoReviewer(_) => {
                    "not_a_reviewer"
                }
                Forbidden::NoBreakGlass(_) => "no_break_glass",
                Forbidden::SelfReview(_) => "self_review",
                Forbidden::NotOperator { .. } => "not_operator",
                Forbidden::NotAuditor { .. } => "not_auditor",
                Forbidden::NotTheRequester => "not_the_requester",
                Forbidden::NotTheHolder => "not_the_holder",
                Forbidden::NotASetter { .. } => "not_a_setter",
            },
            Self::Conflict(conflict) => match conflict {
                Conflict::AlreadyDecided(_) | Conflict::PostReviewDecided(_) => "already_decided",
                Conflict::AlreadyReviewed | Conflict::DelegatorVoted(_) => "already_reviewed",
                Conflict::TooManyDelegations(_) => "too_many_delegations",
                Conflict::DigestDiffers(_) => "digest_differs",
                Conflict::StageNeedsOthers(_) => "stage_needs_others",
                Conflict::AlreadyEnded(_) | Conflict::LockEnded(_) | Conflict::DelegationOver(_) => "already_ended",
                Conflict::SignalNotSet { .. } => "signal_not_set",
                Conflict::SignalChanged { .. } => "signal_changed",
                Conflict::PolicyChanged(_) => "policy_changed",
                Conflict::NotDead { .. } => "notification_not_dead",
                Conflict::Moved(_) => "conflict",
                Conflict::AlreadyAsked { .. } => "already_asked",
                Conflict::IdempotencyKeyReused { .. } => "idempotency_key_reused",
            },
            Self::Invalid(invalid) => match invalid {
                Invalid::Text(TextError::Secret { .. })
                | Invalid::Ask(AskRefused::Words(
                    WordsRefused::Justification(TextError::Secret { .. })
                    | WordsRefused::Ticket(TextError::Secret { .. }),
                ))
                | Invalid::Ask(AskRefused::Resource(TextError::Secret { .. }))
                | Invalid::BreakGlass(BreakGlassRefused::Reason(TextError::Secret { .. }))
                | Invalid::Offline(OfflineRefused::Reason(TextError::Secret { .. }))
                | Invalid::Signal(
                    SignalRefused::Reason(TextError::Secret { .. }) | SignalRefused::About(TextError::Secret { .. }),
                )
                | Invalid::Delegation(DelegationUnfit::Reason(TextError::Secret { .. }))
                | Invalid::Lock(LockRefused::Reason(TextError::Secret { .. })) => "secret_in_text",
                Invalid::NotEligible(_)
                | Invalid::RequesterNotEligible
                | Invalid::Extend(ExtendRefused::NoRule { .. }) => "not_eligible",
                Invalid::Extend(ExtendRefused::OverMaximum { .. })
                | Invalid::Offline(OfflineRefused::OverMaximum { .. })
                | Invalid::BreakGlass(BreakGlassRefused::OverMaximum { .. }) => "duration_over_maximum",
                Invalid::Extend(ExtendRefused::TooShort(_))
                | Invalid::Offline(OfflineRefused::TooShort(_))
                | Invalid::BreakGlass(BreakGlassRefused::TooShort(_)) => "duration_too_short",
                Invalid::Offline(OfflineRefused::TooLong { .. }) => "token_too_long",
                Invalid::Offline(OfflineRefused::TooMany(_)) | Invalid::Signal(SignalRefused::TooMany(_)) => "too_many",
                Invalid::Signal(SignalRefused::OfWhat { .. } | SignalRefused::OfNothing(_)) => "said_of_what",
                Invalid::Offline(OfflineRefused::Reason(TextError::Empty { .. }))
                | Invalid::BreakGlass(BreakGlassRefused::Reason(TextError::Empty { .. })) => "justification_required",
                Invalid::Offline(_) | Invalid::BreakGlass(_) => "bad_text",
                Invalid::Extend(_) => "not_extendable",
                Invalid::WaitedTooLong(_) => "waited_too_long",
                Invalid::Ask(AskRefused::Words(words)) => match words {
                    WordsRefused::Justification(TextError::Empty { .. }) => "justification_required",
                    WordsRefused::Short { .. } | WordsRefused::Pattern { .. } => "justification_falls_short",
                    WordsRefused::NoTicket { .. } => "ticket_required",
                    WordsRefused::TicketPattern { .. } => "ticket_does_not_fit",
                    WordsRefused::Justification(_) | WordsRefused::Ticket(_) | WordsRefused::LongTicket { .. } => {
                        "bad_text"
                    }
                },
                Invalid::WordsFallShort(_) => "words_fall_short",
                Invalid::RevealsWidened(_) => "reveals_widened",
                Invalid::Ask(AskRefused::DurationOverMaximum { .. })
                | Invalid::Signal(SignalRefused::OverMaximum { .. })
                | Invalid::DurationWidened(_) => "duration_over_maximum",
                Invalid::Ask(AskRefused::Uses { .. }) | Invalid::UsesWidened(_) => "uses_over_maximum",
                Invalid::Ask(AskRefused::UsesNotCounted { .. }) | Invalid::UsesNotAsked(_) => "uses_not_counted",
                Invalid::Ask(AskRefused::Start(_)) => "start_out_of_range",
                Invalid::Ask(AskRefused::CallNotShown { .. }) => "call_not_shown",
                Invalid::Ask(AskRefused::CallUnusable { .. } | AskRefused::OtherCall { .. }) => "call_not_bound",
                Invalid::Ask(AskRefused::DurationTooShort { .. })
                | Invalid::Signal(SignalRefused::TooShort(_))
                | Invalid::Lock(LockRefused::TooShort(_)) => "duration_too_short",
                Invalid::Ask(AskRefused::Resource(_) | AskRefused::ResourceTooLong)
                | Invalid::Signal(SignalRefused::Reason(_) | SignalRefused::About(_) | SignalRefused::LongAbout)
                | Invalid::Lock(LockRefused::Reason(_))
                | Invalid::Text(_) => "bad_text",
                Invalid::Lock(LockRefused::Nothing | LockRefused::EverythingAndMore) => "lock_unclear",
                Invalid::SeveralDelegations(_) => "several_delegations",
                Invalid::Delegation(unfit) => match unfit {
                    DelegationUnfit::Service(_) | DelegationUnfit::Rule { .. } | DelegationUnfit::RuleAlone(_) => {
                        "unknown_target"
                    }
                    DelegationUnfit::Start(_) => "start_out_of_range",
                    DelegationUnfit::TooLong(_) => "duration_over_maximum",
                    DelegationUnfit::TooShort => "duration_too_short",
                    DelegationUnfit::Reason(_) => "bad_text",
                    DelegationUnfit::Subject(_) | DelegationUnfit::NotAUser => "bad_subject",
                },
                Invalid::NothingNamed => "nothing_named",
                Invalid::TooManyToRevoke(_) => "too_many",
                Invalid::Lock(LockRefused::Subject(_))
                | Invalid::Signal(SignalRefused::NoSubject(_) | SignalRefused::NoUser)
                | Invalid::Holder(_) => "bad_subject",
                Invalid::Lock(LockRefused::Service(_) | LockRefused::Action { .. } | LockRefused::ActionAlone(_)) => {
                    "unknown_target"
                }
                Invalid::Policy(_) => "policy_invalid",
                Invalid::Call(_) => "bad_call",
                Invalid::IdempotencyKey => "bad_idempotency_key",
                Invalid::Filter { .. } => "filter_not_covered",
            },
            Self::Records(refused) => match refused {
                RecordsRefused::TooMany { .. } => "too_many_records",
                RecordsRefused::Malformed { .. } => "malformed_record",
                RecordsRefused::Hole { .. } => "records_hole",
                RecordsRefused::WrongPrev { .. } => "records_wrong_prev",
                RecordsRefused::NotYours { .. } => "records_not_yours",
            },
            Self::Limit(refused) => match refused {
                LimitRefused::Pending { .. } => "too_many_pending",
                LimitRefused::PerHour { .. } => "asked_too_often",
                LimitRefused::CoolDown { .. } => "cooling_down",
            },
            Self::Busy => "busy",
            Self::Store(_) | Self::Audit(_) | Self::Random(_) | Self::Check(_) => "internal",
        }
    }
}

impl From<ExtendRefused> for AppError {
    fn from(refused: ExtendRefused) -> Self {
        match refused {
            ExtendRefused::NotActive(ended) => Conflict::AlreadyEnded(ended).into(),
            refused => Invalid::Extend(refused).into(),
        }
    }
}

impl From<PostReviewRefused> for AppError {
    fn from(refused: PostReviewRefused) -> Self {
        let text = refused.to_string();
        match refused {
            PostReviewRefused::Own => Forbidden::SelfReview(text).into(),
            PostReviewRefused::Machine => Forbidden::Machine.into(),
            PostReviewRefused::NotAReviewer { .. } => Forbidden::NotAPostReviewer(text).into(),
            PostReviewRefused::NoDelegation(_) => Forbidden::NoDelegation(text).into(),
            PostReviewRefused::DelegatorNoReviewer { .. } => Forbidden::DelegatorNoReviewer(text).into(),
            PostReviewRefused::SeveralDelegations(_) => Invalid::SeveralDelegations(text).into(),
            PostReviewRefused::Tied => Forbidden::SelfReview(text).into(),
            PostReviewRefused::Decided(_) => Conflict::PostReviewDecided(text).into(),
            PostReviewRefused::Reason(error) => Invalid::Text(error).into(),
        }
    }
}

impl From<DelegationUnfit> for AppError {
    fn from(unfit: DelegationUnfit) -> Self {
        Invalid::Delegation(unfit).into()
    }
}

impl From<DelegationRefused> for AppError {
    fn from(refused: DelegationRefused) -> Self {
        let text = refused.to_string();
        match refused {
            DelegationRefused::ToOneself => Forbidden::SelfDelegation(text).into(),
            DelegationRefused::Machine(_) => Forbidden::MachineDelegation(text).into(),
            DelegationRefused::NothingToGive => Forbidden::NothingToDelegate(text).into(),
            DelegationRefused::TooManyGiven
            | DelegationRefused::TooManyGivenLately
            | DelegationRefused::TooManyTaken(_) => Conflict::TooManyDelegations(text).into(),
            DelegationRefused::Unfit(unfit) => unfit.into(),
        }
    }
}

impl From<ReviewRefused> for AppError {
    fn from(refused: ReviewRefused) -> Self {
        let text = refused.to_string();
        match refused {
            ReviewRefused::SelfApproval => Forbidden::SelfApproval.into(),
            ReviewRefused::Machine => Forbidden::Machine.into(),
            ReviewRefused::OnlyByRequester { .. } => Forbidden::OnlyByRequester(text).into(),
            ReviewRefused::NotAReviewer { rule } => Forbidden::NotAReviewer { rule }.into(),
            ReviewRefused::AlreadyDecided(decided) => Conflict::AlreadyDecided(decided).into(),
            ReviewRefused::AlreadyReviewed => Conflict::AlreadyReviewed.into(),
            ReviewRefused::DelegatorVoted(_) => Conflict::DelegatorVoted(text).into(),
            ReviewRefused::NoDelegation(_) => Forbidden::NoDelegation(text).into(),
            ReviewRefused::DelegatorNoReviewer { .. } => Forbidden::DelegatorNoReviewer(text).into(),
            ReviewRefused::TiedToRequester => Forbidden::TiedToRequester(text).into(),
            ReviewRefused::SeveralDelegations(_) => Invalid::SeveralDelegations(text).into(),
            ReviewRefused::DigestDiffers { .. } => Conflict::DigestDiffers(text).into(),
            ReviewRefused::StageNeedsOthers { .. } => Conflict::StageNeedsOthers(text).into(),
            ReviewRefused::Reason(error) => Invalid::Text(error).into(),
            ReviewRefused::DurationWidened { .. } => Invalid::DurationWidened(text).into(),
            ReviewRefused::UsesNotAsked => Invalid::UsesNotAsked(text).into(),
            ReviewRefused::UsesWidened { .. } => Invalid::UsesWidened(text).into(),
            ReviewRefused::RevealsWidened { .. } => Invalid::RevealsWidened(text).into(),
            ReviewRefused::WordsFallShort(_) => Invalid::WordsFallShort(text).into(),
            ReviewRefused::WaitedTooLong { .. } => Invalid::WaitedTooLong(text).into(),
            ReviewRefused::RequesterNotEligible => Invalid::RequesterNotEligible.into(),
        }
    }
}
