//! Whom a request is brought to: of those who are known to be able to review it, the ones on call before others, then who has
//! the fewest to look at. Nobody is kept from reviewing by not being suggested.
//!
//! Groups have no list of members here: who is in one is known of those who have reviewed or asked.

use grantmesh_shared::engine::{Routing, User};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::signature::Sha256Hash;

use super::actor::Actor;
use super::delegation::Delegation;
use super::quorum::{Electorate, Quorum};
use super::request::{Request, RequestState};
use super::review::{Review, RulesAtReview};

/// Of so many people it is looked at whether they could review a request.
pub const MOST_CANDIDATES: usize = 200;

/// Somebody who may be a reviewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who, with their groups as far as they are known.
    pub actor: Actor,
    /// Whether they are said to be on call.
    pub on_call: bool,
    /// How many pending requests they were suggested for and have not reviewed.
    pub waiting: u64,
}

/// Somebody whose approval would bring a request on now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewer {
    /// Who.
    pub user: User,
    /// Whether they are said to be on call.
    pub on_call: bool,
    /// How many pending requests they were suggested for and have not reviewed.
    pub waiting: u64,
}

impl Request {
    /// Those of the candidates whose approval would bring a pending request on, the first to ask first. One person is there
    /// once, whatever accounts they have.
    #[must_use]
    pub fn reviewers(&self, rules: RulesAtReview<'_>, candidates: Vec<Candidate>) -> Vec<Reviewer> {
        if self.state != RequestState::Pending {
            return Vec::new();
        }
        let electorate = Electorate::of(rules, &self.ask);
        let quorum = Quorum::of(&electorate, &self.reviews);
        let may = |Candidate { actor, .. }: &Candidate| {
            let is_able = electorate.admits(actor).is_ok() && quorum.needs(&electorate, actor);
            is_able && !self.has_vote_of(rules, &actor.user)
        };
        let mut able: Vec<Candidate> = candidates.into_iter().take(MOST_CANDIDATES).filter(may).collect();
        // Who is asked first of those alike is another one for each request.
        let lot = |user: &User| Sha256Hash::of(format!("{} {} {}", self.id, user.issuer, user.subject).as_bytes()).0;
        able.sort_by_cached_key(|one| (!one.on_call, one.waiting, lot(&one.actor.user)));
        let mut reviewers: Vec<Reviewer> = Vec::new();
        for Candidate { actor: Actor { user, .. }, on_call, waiting } in able {
            if !reviewers.iter().any(|other| rules.people.same(&other.user, &user)) {
                reviewers.push(Reviewer { user, on_call, waiting });
            }
        }
        reviewers
    }

    /// Who may review a pending request in the place of which of its reviewers, by delegations: those by the reviewers, and
    /// those to and from its requester that were in force at some time since it was filed. One person is there once for each
    /// reviewer, however many delegations and accounts they have.
    #[must_use]
    pub fn delegates(&self, rules: RulesAtReview<'_>, reviewers: &[Reviewer], now: Timestamp) -> Vec<(User, User)> {
        let electorate = Electorate::of(rules, &self.ask);
        let quorum = Quorum::of(&electorate, &self.reviews);
        let mut delegates: Vec<(User, User)> = Vec::new();
        for one in rules.delegations.iter().filter(|one| reviewers.iter().any(|known| known.user == one.delegator)) {
            let Delegation { delegator, delegate, .. } = one;
            let may = !self.has_vote_of(rules, delegate)
                && electorate.lends(one, now)
                && quorum.needs(&electorate, &one.delegator());
            let is_there = |(of, by): &(User, User)| of == delegator && rules.people.same(by, delegate);
            if may && !delegates.iter().any(is_there) {
                delegates.push((delegator.clone(), delegate.clone()));
            }
        }
        delegates
    }

    /// Whether somebody has voted, by whatever account, or somebody else in their place.
    fn has_vote_of(&self, rules: RulesAtReview<'_>, user: &User) -> bool {
        self.reviews.iter().flat_map(Review::voters).any(|other| rules.people.same(other, user))
    }
}

/// Those who are suggested, of those who may review.
#[must_use]
pub fn suggested(routing: &Routing, reviewers: &[Reviewer]) -> Vec<User> {
    let most = usize::try_from(routing.suggest.min(Routing::MOST_SUGGESTED)).unwrap_or_default();
    reviewers.iter().take(most).map(|one| one.user.clone()).collect()
}

#[cfg(test)]
mod tests;
