//! The rules of the approval workflow: pure, without IO, clock, database or HTTP. Called by `app`, which loads and keeps.
//!
//! A life cycle is an enum whose variants carry what is true in that state; a transition consumes the old value.
//!
//! ```text
//! Request: pending ─► approved | denied | timed_out | withdrawn
//! Grant: scheduled ─► active ─► expired | revoked | released
//!             │          └─► exhausted ─► revoked (what runs ends)
//!             └─► expired | revoked | released
//! Post-review of a grant that was given at once: open ─► accepted | disputed
//! Lock: active ─► expired | removed                                  Signal: set ─► set anew, cleared, or over by its time
//! Delegation: scheduled, then active until its time is over or somebody ends it; known by the clock alone
//! ```

mod actor;
mod automatic;
mod break_glass;
mod delegation;
mod event;
mod extension;
mod grant;
mod hold;
mod kind;
mod ledger;
#[cfg(test)]
mod life;
mod limits;
mod lock;
mod offline;
mod person;
mod policy;
mod quorum;
mod request;
mod review;
mod routing;
mod rulebook;
#[cfg(test)]
mod samples;
mod schedule;
mod signal;
mod stream;
mod text;
mod usage;
mod wording;

pub use actor::Actor;
pub use automatic::Automatic;
pub use break_glass::{
    BreakGlassRefused, Broken, GlassBroken, NewBreakGlass, PostReview, PostReviewRefused, PostReviewState,
    PostReviewWord, PostVerdict, RightAtReview,
};
pub use delegation::{
    Delegation, DelegationOver, DelegationRefused, DelegationUnfit, DelegationWord, Delegations, LONGEST_DELEGATION,
    Lasting, MOST_GIVEN, MOST_GIVEN_LATELY, MOST_TAKEN, NewDelegation, OnBehalfOf,
};
pub use event::{DeliveryState, Event, EventKind, KeptEvent, retry_after};
pub use extension::{ExtendRefused, ExtensionCap};
pub use grant::{AlreadyEnded, EndedBy, Grant, GrantState, GrantStateWord, Terms};
pub use hold::Hold;
pub use kind::{AskKind, Timers, Waited};
pub use ledger::{ApprovedPaths, CallWord, LedgerCall, LedgerSummary, Narrower, PathUsed};
pub use limits::{AskHistory, COUNTED_OVER, LimitRefused};
pub use lock::{Lock, LockEnded, LockRefused, LockState, LockStateWord, NewLock};
pub use offline::{NewOffline, Offline, OfflineRefused};
pub use person::{People, PeopleAtReview};
pub use policy::{Over, PolicyAbout, PolicyVersion, ServiceName};
pub use quorum::{FactorStanding, StageStanding, StageWord, Standing};
pub use request::{
    AlreadyDecided, Ask, AskRefused, AskTarget, NewRequest, Request, RequestState, RequestStateWord, Shown,
};
pub use review::{NewReview, Outcome, Review, ReviewRefused, RulesAtReview, Verdict};
pub use routing::{Candidate, MOST_CANDIDATES, Reviewer, suggested};
pub use rulebook::{Asked, NoBreakGlass, NotEligible, Rulebook};
pub use schedule::{MOST_AHEAD, StartRefused, warn_at};
pub use signal::{
    About, AsSeen, MOST_SAID, Signal, SignalDeclaration, SignalEnd, SignalRefused, signal_key, signal_of_key,
};
pub use stream::{Intake, MOST_DECISIONS, RecordsRefused, Stream};
pub use text::{MAX_TEXT_CHARS, Text, TextError, shortened};
pub use usage::{Claim, Use, UseCount, UseOutcomeTold};
pub use wording::{MAX_TICKET_CHARS, WordsRefused};
