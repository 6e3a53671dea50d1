//! Who may review a request, and by which right: their own, or one that somebody has delegated to them.

use grantmesh_shared::engine::{Deciding, Rule, Subject, User};
use grantmesh_shared::time::Timestamp;

use crate::domain::actor::Actor;
use crate::domain::delegation::{Delegation, Lent, NoRight};
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
        let never = |refused: &ReviewRefused| matches!(refused, ReviewRefused::SelfApproval | ReviewRefused::Machine);
        let by = self.lent().right_of((actor, named), now, |of| self.admits(of), never);
        by.map_err(|why| match why {
            NoRight::Refused(refused) | NoRight::NotTheirs(_, refused @ ReviewRefused::SelfApproval) => refused,
            NoRight::Nothing(name) => ReviewRefused::NoDelegation(name),
            NoRight::NotTheirs(delegator, _) => {
                ReviewRefused::DelegatorNoReviewer { delegator, rule: self.rule.clone() }
            }
            NoRight::Several(names) => ReviewRefused::SeveralDelegations(names),
            NoRight::Tied => ReviewRefused::TiedToRequester,
        })
    }

    fn lent(&self) -> Lent<'_, 'r> {
        Lent {
            delegations: self.rules.delegations,
            people: self.rules.people,
            of: (&self.service, &self.rule),
            whose: &self.requester,
            since: self.filed_at,
        }
    }

    /// Whether whoever was given a delegation may review the request by it.
    pub(in crate::domain) fn lends(&self, one: &'r Delegation, now: Timestamp) -> bool {
        self.may_stand_in(&one.delegate) && self.lent().lends(one, now, |of| self.admits(of))
    }

    /// Whether a review that was given counts: by whose right it was, and by whoever used it.
    pub(super) fn counts(&self, review: &Review) -> bool {
        let stood_in = review.on_behalf_of.is_none() || self.may_stand_in(&review.reviewer);
        stood_in && self.admits(&review.voice()).is_ok()
    }

    /// Whether somebody may use another one's right for the request: neither the requester nor a machine.
    fn may_stand_in(&self, user: &User) -> bool {
        let Self { rules, requester, .. } = self;
        !(rules.people.same(user, requester) || rules.people.is_machine(user))
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
