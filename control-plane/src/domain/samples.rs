//! What the unit tests of this layer begin with: one rule and one ask, of which each test changes what it is about.

use grantmesh_shared::engine::{Condition, Rule, Subject, User, Workflow};
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::time::{Span, Timestamp};

use super::kind::{AskKind, Timers};
use super::request::Ask;
use super::text::Text;

pub(super) const ISSUER: &str = "https://id.example";

pub(super) fn group(name: &str) -> Subject {
    Subject::Group { issuer: ISSUER.into(), name: name.into() }
}

/// A rule `r` for `act`, for whom `askers` are eligible.
pub(super) fn rule(workflow: Workflow) -> Rule {
    Rule {
        name: "r".into(),
        actions: vec!["act".into()],
        eligible: vec![group("askers")],
        hold: None,
        condition: Condition::Always,
        grant_condition: Condition::Always,
        bind: None,
        reveals: Vec::new(),
        workflow: Box::new(workflow),
    }
}

/// What `p0`, who is among the askers and the leads, asks of that rule at the beginning of time.
pub(super) fn ask() -> Ask {
    Ask {
        requester: User { issuer: ISSUER.into(), subject: "p0".into() },
        requester_groups: vec!["askers".to_owned(), "leads".to_owned()],
        service: "svc".to_owned(),
        action: "act".to_owned(),
        resource: "x".to_owned(),
        rule: "r".to_owned(),
        justification: Text::new("because", "justification").unwrap(),
        ticket: None,
        duration: Span::from_secs(60),
        uses: None,
        shown: None,
        kind: AskKind::Grant,
        starts_at: None,
        timers: Timers::default(),
        policy: PolicyId::new(0, [0; 10]),
        created_at: Timestamp::default(),
        times_out_at: Timestamp::default().plus(Span::from_secs(1_000)),
    }
}
