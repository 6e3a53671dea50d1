//! Whom a request is brought to: who may review it, as far as people are known, and who of them is suggested.

use grantmesh_shared::engine::{Subject, User};
use grantmesh_shared::id::RequestId;
use grantmesh_shared::time::Timestamp;

use super::{App, AppError};
use crate::domain::{
    About, Actor, Candidate, MOST_CANDIDATES, Request, RequestState, Reviewer, Rulebook, RulesAtReview, suggested,
};
use crate::store::Tx;

/// Who may review a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewers {
    /// Those who are known to, the first to ask first.
    pub known: Vec<Reviewer>,
    /// Who may review in the place of which of them now.
    pub delegates: Vec<(User, User)>,
    /// Those of them who are suggested.
    pub suggested: Vec<User>,
    /// Whose approval would bring it on, known or not.
    pub awaited: Vec<Subject>,
}

impl App {
    /// Who may review a pending request, and who is suggested. Visible to whoever sees the request.
    ///
    /// # Errors
    /// `NotFound` if there is no such request or it is not visible.
    pub async fn reviewers_of(&self, actor: &Actor, id: &RequestId) -> Result<Reviewers, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        let now = self.inner.settings.clock.now();
        let request = self.visible_request(&mut tx, (actor, &book), id, now).await?;
        let then = self.then(&mut tx, &request.ask).await?;
        let rules = then.rules_at_review(&request, &book);
        let (known, _) = route(&mut tx, &book, (&request, now), rules).await?;
        let able: Vec<User> = known.iter().map(|reviewer| reviewer.user.clone()).collect();
        let mut lent = tx.delegations_by(&able, now).await?;
        // Whom these tie to the requester may not use what was lent to them.
        let accounts = rules.people.accounts_of(&request.ask.requester);
        lent.extend(tx.delegations_since(&accounts, request.ask.created_at).await?);
        let delegates = request.delegates(RulesAtReview { delegations: &lent, ..rules }, &known, now);
        let suggested = tx.suggested(&request.id).await?;
        Ok(Reviewers { known, delegates, suggested, awaited: request.standing(rules).awaited })
    }

    /// Who is suggested for a request that waits, as it stands now, or once it is escalated.
    pub(super) async fn suggested_for(
        &self,
        tx: &mut Tx,
        book: &Rulebook,
        (request, now): (&Request, Timestamp),
        escalated: bool,
    ) -> Result<Vec<User>, AppError> {
        let then = self.then(tx, &request.ask).await?;
        // Those that are due come without their reviews.
        let whole = tx.request(&request.id).await?;
        let request = whole.as_ref().unwrap_or(request);
        let rules = then.rules_at_review(request, book);
        let rules = RulesAtReview { escalated: rules.escalated || escalated, ..rules };
        Ok(route(tx, book, (request, now), rules).await?.1)
    }
}

/// Who may review a request, as far as people are known, and who of them is suggested.
pub(super) async fn route(
    tx: &mut Tx,
    book: &Rulebook,
    (request, now): (&Request, Timestamp),
    rules: RulesAtReview<'_>,
) -> Result<(Vec<Reviewer>, Vec<User>), AppError> {
    if request.state != RequestState::Pending {
        return Ok((Vec::new(), Vec::new()));
    }
    let ask = &request.ask;
    let rule = book.rule(&ask.service, &ask.rule, &ask.action);
    let routing = rule.map(|rule| rule.workflow.course.routing.clone()).unwrap_or_default();
    let mut on_call = Vec::new();
    if let Some(signal) = &routing.on_call {
        let mut said = tx.said(signal, most()).await?;
        // Whoever asks does not choose who decides.
        said.retain(|signal| !signal.is_over(now) && !rules.people.same(&signal.set_by, &ask.requester));
        on_call.extend(said.into_iter().filter_map(|signal| match signal.about {
            Some(About::User(user)) => Some(user),
            _ => None,
        }));
    }
    let known = known(tx, request, rules, &on_call).await?;
    let waiting = tx.times_suggested(&known).await?;
    let candidate = |actor: Actor| Candidate {
        on_call: on_call.contains(&actor.user),
        waiting: waiting.get(&actor.user).copied().unwrap_or(0),
        actor,
    };
    let candidates = known.into_iter().map(candidate).collect();
    let reviewers = request.reviewers(rules, candidates);
    let suggested = suggested(&routing, &reviewers);
    Ok((reviewers, suggested))
}

/// The people who may be reviewers: who is named, who is on call, and who has reviewed under the rule lately.
async fn known(
    tx: &mut Tx,
    request: &Request,
    rules: RulesAtReview<'_>,
    on_call: &[User],
) -> Result<Vec<Actor>, AppError> {
    let lately = tx.lately_reviewed(&request.ask.service, &request.ask.rule, most()).await?;
    let mut known: Vec<Actor> = Vec::new();
    let named = request.standing(rules).awaited.into_iter().filter_map(|subject| match subject {
        Subject::User(user) => Some(user),
        _ => None,
    });
    let mut first: Vec<User> = Vec::new();
    for user in named.chain(on_call.iter().cloned()) {
        if first.len() < MOST_CANDIDATES && !first.contains(&user) {
            first.push(user);
        }
    }
    let groups = tx.groups_of(&first).await?;
    known.extend(first.into_iter().map(|user| {
        let of_review = lately.iter().find(|actor| actor.user == user).map(|actor| &actor.groups);
        // Whoever is named needs no group.
        let groups = of_review.or_else(|| groups.get(&user)).cloned().unwrap_or_default();
        Actor::new(&user.issuer, &user.subject, groups)
    }));
    for actor in lately {
        if known.len() < MOST_CANDIDATES && !known.iter().any(|other| other.user == actor.user) {
            known.push(actor);
        }
    }
    Ok(known)
}

fn most() -> u32 {
    u32::try_from(MOST_CANDIDATES).unwrap_or(u32::MAX)
}
