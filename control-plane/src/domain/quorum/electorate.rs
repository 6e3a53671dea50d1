//! Who may review a request, and by which right: their own, or one that somebody has delegated to them.

use grantmesh_shared::engine::{Deciding, Rule, Subject, User};
use grantmesh_shared::time::Timestamp;

use crate::domain::actor::Actor;
use crate::domain::delegation::Delegation;
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
        match (own, named) {
            (Err(refused @ (ReviewRefused::SelfApproval | ReviewRefused::Machine)), _) => Err(refused),
            (Ok(()), None) => Ok(None),
            (Err(refused), None) => {
                let mut able: Vec<&Delegation> = self.delegated_to(actor, now).collect();
                able.retain(|delegation| self.admits(&delegation.delegator()).is_ok());
                able.dedup_by(|one, other| one.delegator == other.delegator);
                match able.as_slice() {
                    [] => Err(refused),
                    [one] => self.untied(actor, one, now).map(Some),
                    _ => {
                        let names = able.iter().map(|one| format!("`{}`", one.delegator.subject));
                        Err(ReviewRefused::SeveralDelegations(names.collect::<Vec<_>>().join(", ")))
                    }
                }
            }
            (_, Some(name)) => {
                let shown = || name.chars().filter(|letter| !letter.is_control()).take(128).collect();
                let named = actor.user_named(name).ok().flatten();
                let given: Vec<_> =
                    self.delegated_to(actor, now).filter(|one| Some(&one.delegator) == named.as_ref()).collect();
                let by = |one: &&Delegation| self.admits(&one.delegator()).is_ok();
                let one = given.iter().copied().find(by).or_else(|| given.first().copied());
                let delegation = one.ok_or_else(|| ReviewRefused::NoDelegation(shown()))?;
                self.admits(&delegation.delegator()).map_err(|refused| match refused {
                    ReviewRefused::SelfApproval => refused,
                    _ => ReviewRefused::DelegatorNoReviewer { delegator: shown(), rule: self.rule.clone() },
                })?;
                self.untied(actor, delegation, now).map(Some)
            }
        }
    }

    /// What somebody was given for requests like this one, by others than themselves, in the order of the delegators.
    fn delegated_to(&self, actor: &Actor, now: Timestamp) -> impl Iterator<Item = &'r Delegation> {
        let Self { rules, service, rule, .. } = self;
        let fits = |one: &&Delegation| one.is_active(now) && one.delegate == actor.user && one.covers(service, rule);
        let other = |one: &&Delegation| !rules.people.same(&one.delegator, &actor.user);
        let mut fitting: Vec<&'r Delegation> = rules.delegations.iter().filter(fits).filter(other).collect();
        fitting.sort_by(|one, other| one.delegator.cmp(&other.delegator));
        fitting.into_iter()
    }

    /// No chain of delegations leads back to the requester: who reviews for another has not given them anything, nor taken.
    fn untied(&self, actor: &Actor, by: &'r Delegation, now: Timestamp) -> Result<&'r Delegation, ReviewRefused> {
        let Self { rules, requester, filed_at, .. } = self;
        let between = |from: &User, to: &User| {
            rules.delegations.iter().any(|one| {
                let those = rules.people.same(&one.delegator, from) && rules.people.same(&one.delegate, to);
                those && one.was_active_since(*filed_at, now)
            })
        };
        if between(requester, &actor.user) || between(&actor.user, requester) {
            return Err(ReviewRefused::TiedToRequester);
        }
        Ok(by)
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
