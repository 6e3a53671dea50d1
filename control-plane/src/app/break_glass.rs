//! Breaking the glass, and the reviews of what was done by it.

use std::collections::HashMap;

use grantmesh_shared::id::{GrantId, PostReviewId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::UserItem;
use serde::Serialize;

use super::delegations::{Deed, LentTo, Reviewable};
use super::once::still_there;
use super::{App, AppError, Forbidden, Invalid, Listed, Only, Page};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind, GroupsField};
use crate::clock::grant_id;
use crate::domain::{
    Actor, GlassBroken, Grant, NewBreakGlass, PeopleAtReview, PostReview, PostReviewState, PostReviewWord, PostVerdict,
    Request, RightAtReview, Rulebook, Text,
};
use crate::store::{PostReviewSums, StoreError, Tx};

/// What breaking the glass led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broke {
    /// The request that stands for it.
    pub request: Request,
    /// The grant.
    pub grant: Grant,
    /// The review that is open.
    pub post_review: PostReview,
    /// Filters that have applied this position know of the grant.
    pub position: Position,
}

/// Which post-reviews.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostReviewFilter {
    /// Only in this state.
    pub state: Option<PostReviewWord>,
    /// Only those that are overdue.
    pub overdue: bool,
    /// And what else.
    pub only: Only,
}

impl App {
    /// Gives a grant at once, to whom the policy gives that right, and opens the review of what they do.
    ///
    /// # Errors
    /// If the actor has no such right, there is no reason, or it is for too long.
    pub async fn break_glass(&self, actor: &Actor, new: &NewBreakGlass) -> Result<Broke, AppError> {
        let mut tx = self.write().await?;
        if let Some(id) = self.repeated(&mut tx, &actor.user).await? {
            return self.broken_before(&mut tx, &id).await;
        }
        let book = self.rulebook(&mut tx).await?;
        let broken = book.break_glass(actor, &new.target, new.right.as_deref()).map_err(Forbidden::NoBreakGlass)?;
        let policy = book.policy.clone().ok_or_else(|| AppError::not_found("policy", "current"))?;
        let id = self.new_id(&tx)?;
        let grant = grant_id(tx.now(), &id);
        let ids = (id, grant, self.new_id(&tx)?);
        let made = GlassBroken::new(actor, broken, new, policy, ids, (tx.now(), tx.revision()));
        let made = made.map_err(Invalid::BreakGlass)?;
        tx.insert_broken_glass(&made).await?;
        let GlassBroken { request, grant, post_review } = made;
        tx.log(&broken_entry(&request, &grant))?;
        tx.log(&opened_entry(&post_review))?;
        self.keep_key(&mut tx, &actor.user, post_review.id.as_str()).await?;
        let position = tx.commit().await?.position;
        tracing::warn!(
            grant = grant.id.as_str(),
            service = grant.service,
            action = grant.action,
            "the glass was broken: a grant was given without an approval"
        );
        Ok(Broke { request, grant, post_review, position })
    }

    /// What is there by now of glass that was broken.
    async fn broken_before(&self, tx: &mut Tx, id: &PostReviewId) -> Result<Broke, AppError> {
        let post_review = still_there(tx.post_review(id).await?, id.as_str())?;
        let request = still_there(tx.request(&post_review.request).await?, id.as_str())?;
        let grant = still_there(tx.grant(&post_review.grant).await?, id.as_str())?;
        let position = self.position_of(&grant);
        Ok(Broke { request, grant, post_review, position })
    }

    /// One post-review. Visible to whoever did it, the right's reviewers and their delegates, operators and auditors.
    ///
    /// # Errors
    /// `NotFound` if there is none or it is not visible.
    pub async fn post_review(&self, actor: &Actor, id: &PostReviewId) -> Result<PostReview, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        let unknown = || AppError::not_found("post-review", id.as_str());
        let review = tx.post_review(id).await?.ok_or_else(unknown)?;
        let now = self.inner.settings.clock.now();
        let sees = self.sees_post_review(&mut tx, (actor, &book), &review, now).await?;
        sees.then_some(review).ok_or_else(unknown)
    }

    /// The post-reviews of what was done under these grants, for whoever was found to see the grants: they see those, too.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn post_reviews_of(&self, grants: &[&GrantId]) -> Result<HashMap<GrantId, PostReview>, AppError> {
        if grants.is_empty() {
            return Ok(HashMap::new());
        }
        Ok(self.read().await?.post_reviews_of(grants).await?)
    }

    async fn sees_post_review(
        &self,
        tx: &mut Tx,
        (actor, book): (&Actor, &Rulebook),
        review: &PostReview,
        now: Timestamp,
    ) -> Result<bool, AppError> {
        let deed = Reviewable::Deed(Deed::from(review));
        Ok(self.sees(actor, book, &review.holder, &review.service, &review.rule)
            || self.may_review(tx, (actor, book), deed, now).await?)
    }

    /// The post-reviews that the actor may see, newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn post_reviews(
        &self,
        actor: &Actor,
        filter: &PostReviewFilter,
        page: &Page,
    ) -> Result<Listed<PostReview>, AppError> {
        let mut tx = self.read().await?;
        let book = self.rulebook(&mut tx).await?;
        let id = |millis| PostReviewId::new(millis, [0; 10]).to_string();
        let state = filter.state.map(PostReviewWord::as_str);
        let mut select = self.select(actor, &book, state, &filter.only, page, id);
        select.overdue = filter.overdue.then(|| self.inner.settings.clock.now());
        if !filter.only.mine {
            let now = self.inner.settings.clock.now();
            let rules = self.lent_to(&mut tx, (&actor.user, &book), now).await?.rights;
            select.visible = LentTo { rules, ..LentTo::default() }.added_to(select.visible);
        }
        let found = tx.post_reviews(&select).await?;
        Ok(Listed::of(found, &select, |review| review.id.to_string()))
    }

    /// Says whether it was right to break the glass. For the right's reviewers, or in the place of one, and never for whoever
    /// did it.
    ///
    /// # Errors
    /// If the actor may not, or it is decided.
    pub async fn decide_post_review(
        &self,
        actor: &Actor,
        id: &PostReviewId,
        (verdict, on_behalf_of): (&PostVerdict, Option<&str>),
    ) -> Result<PostReview, AppError> {
        let mut tx = self.write().await?;
        let book = self.rulebook(&mut tx).await?;
        let now = tx.now();
        let unknown = || AppError::not_found("post-review", id.as_str());
        let review = tx.post_review(id).await?.ok_or_else(unknown)?;
        // Whoever reviewed then is told if they do no more.
        if !self.sees_post_review(&mut tx, (actor, &book), &review, now).await?
            && !self.reviewed_then(&mut tx, actor, Deed::from(&review), now).await?
        {
            return Err(unknown());
        }
        let service = self.service_at(&mut tx, &review.policy, &review.service).await?;
        let people = self.people(&mut tx, &review.policy).await?;
        // With the groups that it was done with: without them more people could be made reviewers of it.
        let request = tx.request(&review.request).await?.ok_or_else(|| StoreError::Impossible {
            table: "post_reviews",
            column: "request",
            row: id.to_string(),
            why: "there is no such request".to_owned(),
        })?;
        let holder = request.ask.actor();
        let who = PeopleAtReview { then: &people, now: &book.people };
        // Whoever has a token signed may arrange who is to review its use until that is told.
        let token = tx.offline_token(&review.grant).await?;
        let since = token.map_or(review.opened_at, |token| token.issued_at);
        let delegations = tx.delegations_since(&who.accounts_of(&actor.user), since).await?;
        let right = RightAtReview {
            holder: &holder,
            then: service.as_deref().and_then(|service| service.right(&review.rule)),
            now: book.service(&review.service).and_then(|service| service.right(&review.rule)),
            people: who,
            since,
            delegations: &delegations,
        };
        let review = review.decide((actor, on_behalf_of), verdict, right, now)?;
        tx.decide_post_review(&review).await?;
        tx.log(&decided_entry(&review, actor))?;
        tx.commit().await?;
        Ok(review)
    }

    /// Tells in the log which post-reviews are overdue, each once.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn tell_overdue_post_reviews(&self) -> Result<usize, AppError> {
        let batch = self.inner.settings.limits.reconcile_batch.max(1);
        let mut done = 0;
        while !self.read().await?.overdue_post_reviews(self.inner.settings.clock.now(), 1).await?.is_empty() {
            let mut tx = self.write().await?;
            let now = tx.now();
            let due = tx.overdue_post_reviews(now, batch).await?;
            for review in &due {
                tx.told_overdue(review, now).await?;
                tx.log(&overdue_entry(review))?;
            }
            tx.commit().await?;
            done += due.len();
        }
        Ok(done)
    }

    /// How many post-reviews there are, open and overdue.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn post_review_sums(&self) -> Result<PostReviewSums, AppError> {
        Ok(self.read().await?.post_review_sums(self.inner.settings.clock.now()).await?)
    }
}

#[derive(Serialize)]
pub(super) struct BrokenData<'a> {
    holder: UserItem,
    service: &'a str,
    action: &'a str,
    resource: &'a str,
    right: &'a str,
    reason: &'a Text,
    digest: Sha256Hash,
    /// Of the holder.
    groups: GroupsField<'a>,
    starts_at: Timestamp,
    expires_at: Timestamp,
    revision: u64,
}

pub(super) fn broken_entry<'a>(request: &'a Request, grant: &'a Grant) -> Entry<BrokenData<'a>> {
    let ids = EntryIds {
        request: Some(request.id.clone()),
        grant: Some(grant.id.clone()),
        policy: Some(request.ask.policy.clone()),
        ..EntryIds::default()
    };
    let data = BrokenData {
        holder: UserItem::from(&grant.holder),
        service: &grant.service,
        action: &grant.action,
        resource: &grant.resource,
        right: &grant.rule,
        reason: &request.ask.justification,
        digest: request.ask.digest(),
        groups: request.ask.requester_groups.as_slice().into(),
        starts_at: grant.starts_at,
        expires_at: grant.expires_at,
        revision: grant.revision,
    };
    Entry { kind: EntryKind::GlassBroken, actor: ActorField::User(grant.holder.clone()), ids, data }
}

#[derive(Serialize)]
pub(super) struct DueData {
    due_at: Timestamp,
}

fn review_ids(review: &PostReview) -> EntryIds {
    EntryIds {
        request: Some(review.request.clone()),
        grant: Some(review.grant.clone()),
        post_review: Some(review.id.clone()),
        ..EntryIds::default()
    }
}

pub(super) fn opened_entry(review: &PostReview) -> Entry<DueData> {
    let (ids, data) = (review_ids(review), DueData { due_at: review.due_at });
    Entry { kind: EntryKind::PostReviewOpened, actor: ActorField::User(review.holder.clone()), ids, data }
}

fn overdue_entry(review: &PostReview) -> Entry<DueData> {
    let (ids, data) = (review_ids(review), DueData { due_at: review.due_at });
    Entry { kind: EntryKind::PostReviewOverdue, actor: ActorField::System, ids, data }
}

#[derive(Serialize)]
struct DecidedData<'a> {
    /// In whose place the actor reviewed, with the groups that the delegation has.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<UserItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a Text>,
    overdue: bool,
}

fn decided_entry<'a>(review: &'a PostReview, actor: &Actor) -> Entry<DecidedData<'a>> {
    let kind = match review.state {
        PostReviewState::Disputed { .. } => EntryKind::PostReviewDisputed,
        PostReviewState::Open | PostReviewState::Accepted { .. } => EntryKind::PostReviewAccepted,
    };
    let decided = review.state.decided();
    let of = review.state.on_behalf_of();
    let data = DecidedData {
        on_behalf_of: of.map(|of| UserItem::from(&of.user)),
        reason: decided.and_then(|(_, _, reason)| reason),
        overdue: decided.is_some_and(|(at, ..)| at >= review.due_at),
    };
    let ids = EntryIds { delegation: of.map(|of| of.delegation.clone()), ..review_ids(review) };
    Entry { kind, actor: ActorField::User(actor.user.clone()), ids, data }
}
