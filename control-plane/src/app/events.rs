//! Events as people see them: their own requests and grants, and those that they may review.

use grantmesh_shared::id::EventId;

use super::delegations::LentTo;
use super::{App, AppError};
use crate::domain::{Actor, KeptEvent};

/// How many events are looked at at once.
const LOOK_AT: u32 = 200;

/// Events that somebody may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// In their order.
    pub events: Vec<KeptEvent>,
    /// Up to here there are no others that they may see.
    pub place: u64,
    /// Whether more is to be looked at.
    pub more: bool,
}

impl App {
    /// The events after a place that the actor may see now, as far as was looked.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn events_after(&self, actor: &Actor, place: u64) -> Result<Events, AppError> {
        let mut tx = self.read().await?;
        if tx.last_event().await? <= place {
            return Ok(Events { events: Vec::new(), place, more: false });
        }
        let book = self.rulebook(&mut tx).await?;
        let visible = self.visible(actor, &book);
        let now = self.inner.settings.clock.now();
        let LentTo { rules, backups, rights } = self.lent_to(&mut tx, (&actor.user, &book), now).await?;
        let visible = LentTo { backups, ..LentTo::default() }.added_to(visible);
        let (events, looked) = tx.events_after(place, &visible, (&rules, &rights), LOOK_AT).await?;
        Ok(Events { events, place: looked, more: looked.saturating_sub(place) >= u64::from(LOOK_AT) })
    }

    /// The place of the last event, and its id.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn last_event(&self) -> Result<(u64, Option<EventId>), AppError> {
        let mut tx = self.read().await?;
        let place = tx.last_event().await?;
        Ok((place, tx.event_at(place).await?))
    }

    /// The place of an event; nothing if it is not, or no longer, known.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn place_of_event(&self, id: &EventId) -> Result<Option<u64>, AppError> {
        Ok(self.read().await?.place_of_event(id).await?)
    }
}
