//! Who may review a request, and by which right: their own, or one that somebody has delegated to them.

use grantmesh_shared::engine::{Deciding, Rule, Subject, User};
use grantmesh_shared::time::Timestamp;

use crate::domain::actor::Actor;
use crate::domain::delegation::{Delegation, Lent, NotLent};
use crate::domain::request::Ask;
use crate::domain::review::{Review, ReviewRefused, RulesAtReview};

/// Who counts as a reviewer of one request: a person, but not the requester in whatever account, whom both rules name by
/// something else than a group that the requester can edit.
#[derive(Debug)]
pub(in crate::domain) struct Electorate<'r> {
    pub(super) rules: RulesAtReview<'r>,
    requester: User,
    service: String,
    rule: String,
    filed_at: Timestamp,
    pub(super) edited: Vec<&'r Subject>,
}

impl<'r> Electorate<'r> {
    pub(in crate::domain) fn of(rules: RulesAtReview<'r>, ask: &Ask) -> Self {
        let edited = rules.people.edited_by(&ask.actor());
        let Ask { requester, service, rule, created_at, .. } = ask;
        let (requester, service, rule) = (requester.clone(), service.clone(), rule.clone());
        Self { rules, requester, service, rule, filed_at: *created_at, edited }
    }

    /// By which right somebody reviews the request: nothing if by their own, which is used unless another one is named.
    ///
    /// # Errors
    /// Why by none.
    pub(in crate::domain) fn right_of(
        &self,
        actor: &Actor,
        named: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<&'r Delegation>, ReviewRefused> {
        let own = self.admits(actor);
        let lent = Lent {
            delegations: self.rules.delegations,
            people: self.rules.people,
            of: (&self.service, &self.rule),
            whose: &self.requester,
            since: self.filed_at,
        };
        if let Err(refused @ (ReviewRefused::SelfApproval | ReviewRefused::Machine)) = own {
            return Err(refused);
        }
        if own.is_ok() && named.is_none() {
            return Ok(None);
        }
        let by = lent.stand_in(actor, named, now, |delegator| self.admits(delegator)).map_err(|why| match why {
            NotLent::Nothing(name) => ReviewRefused::NoDelegation(name),
            NotLent::NotTheirs(_, refused @ ReviewRefused::SelfApproval) => refused,
            NotLent::NotTheirs(delegator, _) => {
                ReviewRefused::DelegatorNoReviewer { delegator, rule: self.rule.clone() }
            }
            NotLent::Several(names) => ReviewRefused::SeveralDelegations(names),
            NotLent::Tied => ReviewRefused::TiedToRequester,
        })?;
        match by {
            Some(by) => Ok(Some(by)),
            None => own.map(|()| None),
        }
    }

    /// Whether a review that was given counts: by whose right it was, and by whoever used it.
    pub(super) fn counts(&self, review: &Review) -> bool {
        let Self { rules, requester, .. } = self;
        let stood_in = review.on_behalf_of.is_none()
            || !(rules.people.same(&review.reviewer, requester) || rules.people.is_machine(&review.reviewer));
        stood_in && self.admits(&review.voice()).is_ok()
    }

    /// Whether somebody may review the request, in whatever stage.
    ///
    /// # Errors
    /// Why not.
    pub(in crate::domain) fn admits(&self, actor: &Actor) -> Result<(), ReviewRefused> {
        let Self { rules, requester, rule, edited, .. } = self;
        if rules.people.same(&actor.user, requester) {
            return Err(ReviewRefused::SelfApproval);
        }
        if rules.people.is_machine(&actor.user) {
            return Err(ReviewRefused::Machine);
        }
        let among = |rule: Option<&Rule>| {
            rule.is_some_and(|rule| {
                self.reviews(&rule.workflow.deciding, actor) || self.names(actor, rules.backups(rule))
            })
        };
        if among(rules.then) && among(rules.now) {
            return Ok(());
        }
        let rule = rule.clone();
        let otherwise = |rule: Option<&Rule>| {
            rule.is_some_and(|rule| reviews(&rule.workflow.deciding, actor) || actor.is_among(rules.backups(rule)))
        };
        if !(otherwise(rules.then) && otherwise(rules.now)) {
            return Err(ReviewRefused::NotAReviewer { rule });
        }
        let by = edited.iter().filter(|group| actor.is_among(std::slice::from_ref(**group)));
        let groups: Vec<String> = by.map(|group| format!("`{group}`")).collect();
        Err(ReviewRefused::OnlyByRequester { rule, groups: groups.join(", ") })
    }

    fn reviews(&self, deciding: &Deciding, actor: &Actor) -> bool {
        deciding.stages.iter().flat_map(|stage| &stage.factors).any(|factor| self.names(actor, &factor.reviewers))
    }

    pub(super) fn names(&self, actor: &Actor, reviewers: &[Subject]) -> bool {
        actor.is_among_besides(reviewers, &self.edited)
    }
}

/// Whether somebody reviews in some stage.
pub(in crate::domain) fn reviews(deciding: &Deciding, actor: &Actor) -> bool {
    deciding.stages.iter().flat_map(|stage| &stage.factors).any(|factor| actor.is_among(&factor.reviewers))
}
