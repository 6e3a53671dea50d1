//! Tokens for times without a control plane: signing them, and what filters tell of their use.

use grantmesh_shared::engine::BreakGlass;
use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::offline::MAX_TOKEN;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord};
use grantmesh_shared::wire::sync::VmIdentity;
use grantmesh_shared::wire::table::UserItem;
use serde::Serialize;

use super::break_glass::{broken_entry, opened_entry};
use super::once::still_there;
use super::{App, AppError, Forbidden, Invalid, Listed, Page};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind, GroupsField};
use crate::domain::{Actor, GlassBroken, NewOffline, NoBreakGlass, Offline, OfflineRefused};
use crate::store::WriteTx;

/// So many tokens of one person may be good at once.
const MOST: u32 = 8;

/// The characters of a token's signature, and of the dot before it.
const SIGNATURE: usize = 1 + 16 + 1 + 128;

impl App {
    /// Makes a token, to be signed by the caller. It is good for nothing before filters stop hearing from the control plane.
    ///
    /// # Errors
    /// If the actor has no right that lets tokens be signed, there is no reason, it is for too long, or one of too many.
    pub async fn issue_offline(&self, actor: &Actor, new: &NewOffline) -> Result<Offline, AppError> {
        let mut tx = self.write().await?;
        let book = self.rulebook(&mut tx).await?;
        let is_theirs =
            |right: &&BreakGlass| right.offline.is_some() && actor.as_principal(|principal| right.is_for(principal));
        let none = || Forbidden::NoBreakGlass(NoBreakGlass::offline(&new.service));
        let service = book.service(&new.service).ok_or_else(none)?;
        if let Some(grant) = self.repeated::<GrantId>(&mut tx, &actor.user).await? {
            let token = still_there(tx.offline_token(&grant).await?, grant.as_str())?;
            // Whoever calls signs it now, again: not for one whose right it is no longer.
            service.right(&token.right).filter(is_theirs).ok_or_else(none)?;
            return Ok(token);
        }
        let fits = |right: &&BreakGlass| new.right.as_deref().is_none_or(|named| *right.name == *named);
        let right = service.break_glass().iter().filter(fits).find(is_theirs).ok_or_else(none)?;
        let max = right.offline.ok_or_else(none)?;
        let now = tx.now();
        let good = tx.offline_tokens(Some(&actor.user), now, (None, MOST)).await?.len();
        let good = u64::try_from(good).unwrap_or(u64::MAX);
        if good >= u64::from(MOST) {
            return Err(Invalid::Offline(OfflineRefused::TooMany(good)).into());
        }
        let policy = book.policy.clone().ok_or_else(|| AppError::not_found("policy", "current"))?;
        let given = (self.new_id(&tx)?, policy);
        let made = Offline::new(actor, (service.name(), right, max), new, given, now).map_err(Invalid::Offline)?;
        // In base64, with the signature: what filters would not look at is not signed.
        let payload = made.token().payload().map_or(usize::MAX, |payload| payload.len());
        if payload.saturating_mul(4).div_ceil(3).saturating_add(SIGNATURE) > MAX_TOKEN {
            return Err(Invalid::Offline(OfflineRefused::TooLong { right: made.right }).into());
        }
        tx.insert_offline_token(&made).await?;
        tx.log(&issued_entry(&made))?;
        self.keep_key(&mut tx, &actor.user, made.grant.as_str()).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// The tokens that are good, newest first: one's own, or everybody's for operators and auditors. Never what was signed.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn offline_tokens(&self, actor: &Actor, page: &Page) -> Result<Listed<Offline>, AppError> {
        let holder = (!self.sees_everything(actor)).then_some(&actor.user);
        let now = self.inner.settings.clock.now();
        let rows = self.rows(page);
        let found = self.read().await?.offline_tokens(holder, now, (page.cursor.as_deref(), rows)).await?;
        Ok(Listed::up_to(found, rows.saturating_sub(1), |token| token.grant.to_string()))
    }

    /// Takes in that a filter let a call through by a token: with the first, what was done becomes broken glass like any
    /// other. A token that was never made here, or is lost with the database, leaves its records and a warning.
    pub(super) async fn reconcile_offline(
        &self,
        tx: &mut WriteTx,
        vm: &VmIdentity,
        grant: &GrantId,
        decision: &DecisionEvent<'_>,
    ) -> Result<(), AppError> {
        if !decision.offline || decision.decision != DecisionWord::Allow {
            return Ok(());
        }
        let Some(token) = tx.offline_token(grant).await? else {
            tracing::error!(grant = grant.as_str(), "a filter honoured a break-glass token that is not known here");
            return Ok(());
        };
        if !token.is_for(decision) || !vm.services.contains(&token.service) {
            tracing::error!(grant = grant.as_str(), "a filter honoured a break-glass token for what it is not for");
            return Ok(());
        }
        if token.used_at.is_some() {
            return Ok(());
        }
        let what = (decision.action.as_deref().unwrap_or_default(), decision.resource.as_deref().unwrap_or_default());
        // The stricter of then and now: who has lost the right meanwhile has used it, and has nothing more.
        let book = self.rulebook(tx).await?;
        let right = book.service(&token.service).and_then(|service| service.right(&token.right));
        let is_still_theirs = right.is_some_and(|right| {
            right.actions.iter().any(|action| **action == *what.0)
                && token.holder.as_principal(|principal| right.is_for(principal))
        });
        let ids = (self.new_id(tx)?, self.new_id(tx)?);
        let broken = token.used(what, is_still_theirs, ids, (tx.now(), tx.revision()));
        tx.insert_broken_glass(&broken).await?;
        let now = tx.now();
        tx.offline_token_used(grant, now).await?;
        let GlassBroken { request, grant, post_review } = broken;
        tx.log(&broken_entry(&request, &grant))?;
        tx.log(&opened_entry(&post_review))?;
        tracing::warn!(
            grant = grant.id.as_str(),
            service = grant.service,
            action = grant.action,
            "the glass was broken while the control plane was not heard"
        );
        Ok(())
    }
}

#[derive(Serialize)]
struct IssuedData<'a> {
    holder: UserItem,
    service: &'a str,
    right: &'a str,
    actions: &'a [String],
    reason: &'a str,
    /// How long a grant that comes of it lasts at most.
    max_duration_ms: u64,
    /// Within what time its use is to be reviewed.
    review_within_ms: u64,
    /// Of the holder.
    groups: GroupsField<'a>,
    expires_at: Timestamp,
}

fn issued_entry(token: &Offline) -> Entry<IssuedData<'_>> {
    let user = &token.holder.user;
    let ids = EntryIds { grant: Some(token.grant.clone()), policy: Some(token.policy.clone()), ..EntryIds::default() };
    let data = IssuedData {
        holder: UserItem::from(user),
        service: &token.service,
        right: &token.right,
        actions: &token.actions,
        reason: token.reason.as_str(),
        max_duration_ms: token.max_duration.millis(),
        review_within_ms: token.review_within.millis(),
        groups: token.holder.groups.as_slice().into(),
        expires_at: token.expires_at,
    };
    Entry { kind: EntryKind::OfflineTokenIssued, actor: ActorField::User(user.clone()), ids, data }
}
