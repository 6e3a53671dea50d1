//! Ending many grants at once: all of a principal, of a service, an action or a rule. One transaction, one entry for each.

use grantmesh_shared::engine::User;
use grantmesh_shared::wire::sync::Position;

use super::{App, AppError, Invalid, grants};
use crate::domain::{Actor, EndedBy, Grant, Rulebook, Text};
use crate::store::{LiveGrants, Tx};

/// Which grants to end: those that fit every part that is stated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RevokeFilter {
    /// Whose, by name or as `user:NAME`; a user of the revoker's own issuer.
    pub holder: Option<String>,
    /// Of which service.
    pub service: Option<String>,
    /// Of which action.
    pub action: Option<String>,
    /// Under which rule or break-glass right.
    pub rule: Option<String>,
}

/// What was ended, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedMany {
    /// The grants, as they are now.
    pub grants: Vec<Grant>,
    /// Filters that have applied this position no longer have them; nothing if none was ended.
    pub position: Option<Position>,
}

impl App {
    /// Ends the grants that fit and that the actor may end, as a reviewer of their rule or an operator; with `dry`, only tells
    /// which those are.
    ///
    /// # Errors
    /// If nothing is named, the holder is no user, the reason is none, or they are too many for one transaction.
    pub async fn revoke_many(
        &self,
        actor: &Actor,
        filter: &RevokeFilter,
        reason: &str,
        dry: bool,
    ) -> Result<RevokedMany, AppError> {
        let reason = Text::new(reason, "reason").map_err(Invalid::Text)?;
        if *filter == RevokeFilter::default() {
            return Err(Invalid::NothingNamed.into());
        }
        let holder = filter.holder.as_deref().map(|holder| user(actor, holder)).transpose()?;
        let RevokeFilter { service, action, rule, .. } = filter.clone();
        let most = self.inner.settings.limits.revoked;
        let which = LiveGrants { holder, service, action, rule, limit: most.saturating_add(1) };
        if dry {
            let mut tx = self.read().await?;
            let book = self.rulebook(&mut tx).await?;
            let mut found = live(&mut tx, &book, which, most).await?;
            let now = self.inner.settings.clock.now();
            found.retain(|grant| self.may_revoke(actor, &book, grant) && !grant.is_over(now));
            return Ok(RevokedMany { grants: found, position: None });
        }
        let mut tx = self.write().await?;
        let book = self.rulebook(&mut tx).await?;
        let mut found = live(&mut tx, &book, which, most).await?;
        found.retain(|grant| self.may_revoke(actor, &book, grant));
        let (mut ended, mut changed) = (Vec::new(), false);
        for grant in found {
            let (grant, settled) = self.settle(&mut tx, &book, grant).await?;
            changed |= settled;
            if settled && grant.state.ended_at().is_some() {
                continue;
            }
            let by = EndedBy::Revoker(actor.user.clone(), reason.clone());
            ended.push(grants::end(&mut tx, grant, by).await?);
            changed = true;
        }
        let position = if changed { Some(tx.commit().await?.position) } else { None };
        let position = position.filter(|_| !ended.is_empty());
        Ok(RevokedMany { grants: ended, position })
    }
}

/// All that fit, before it is asked which of them the actor may end: what lies beyond the bound was not looked at. Of
/// somebody who has several accounts, those of all of them.
async fn live(tx: &mut Tx, book: &Rulebook, which: LiveGrants, most: u32) -> Result<Vec<Grant>, AppError> {
    let mut found = Vec::new();
    match &which.holder {
        None => found = tx.live_grants(&which).await?,
        Some(holder) => {
            for account in book.people.accounts_of(holder) {
                let which = LiveGrants { holder: Some(account.clone()), ..which.clone() };
                found.extend(tx.live_grants(&which).await?);
            }
        }
    }
    match u32::try_from(found.len()) {
        Ok(count) if count <= most => Ok(found),
        _ => Err(Invalid::TooManyToRevoke(most).into()),
    }
}

fn user(actor: &Actor, holder: &str) -> Result<User, AppError> {
    let named = actor.user_named(holder).map_err(|error| Invalid::Holder(error.to_string()))?;
    Ok(named.ok_or_else(|| Invalid::Holder("only users hold grants\nname one of them".to_owned()))?)
}
