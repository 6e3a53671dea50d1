//! The outbox's use cases: deliveries are made for the events that were told, tried, tried again later, given up; people
//! look at them and have them sent again. What sends them is `notify`.

use grantmesh_shared::id::DeliveryId;
use grantmesh_shared::time::{Span, Timestamp};
use serde::Serialize;

use super::{App, AppError, Conflict, Listed, Page};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
use crate::domain::{Actor, DeliveryState, EventKind, retry_after};
use crate::store::{Delivery, DeliveryFilter, DeliverySums, WriteTx};

/// How long somebody who tries a delivery has for it, before somebody else tries: longer than an endpoint may take.
const TURN: Span = Span::from_secs(20);

/// For so many events deliveries are made in one transaction.
const FAN_OUT: u32 = 200;

/// How long events are kept that are told.
const KEPT: Span = Span::from_secs(30 * 24 * 3_600);

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// It was taken.
    Taken,
    /// It was not; it may be another time.
    Failed(String),
    /// It was not and never will be.
    Refused(String),
}

impl App {
    /// Remembers an endpoint: it is told of what happens from now on, or, if it is known, from where it was told last.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn know_endpoint(&self, endpoint: &str) -> Result<(), AppError> {
        if self.read().await?.endpoint(endpoint).await?.is_some() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        if tx.endpoint(endpoint).await?.is_none() {
            let last = tx.last_event().await?;
            tx.put_endpoint(endpoint, last).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Makes deliveries for the events that an endpoint has not been told. Gives how many events were looked at.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn fan_out(&self, endpoint: &str, kinds: &[EventKind]) -> Result<usize, AppError> {
        self.know_endpoint(endpoint).await?;
        let mut done = 0;
        loop {
            let mut tx = self.read().await?;
            // Looked up without the head first: nearly always there is nothing to do.
            let (known, last) = (tx.endpoint(endpoint).await?, tx.last_event().await?);
            drop(tx);
            if known.unwrap_or(0) >= last {
                return Ok(done);
            }
            let mut tx = self.write().await?;
            let place = tx.endpoint(endpoint).await?.unwrap_or(0);
            let events = tx.event_kinds_after(place, FAN_OUT).await?;
            for (place, kind, about) in &events {
                if EventKind::parse(kind).is_some_and(|kind| kinds.contains(&kind)) {
                    let id: DeliveryId = self.new_id(&tx)?;
                    tx.insert_delivery(&id, endpoint, (*place, about)).await?;
                }
            }
            if let Some((last, ..)) = events.last() {
                tx.put_endpoint(endpoint, *last).await?;
            }
            tx.commit().await?;
            done += events.len();
        }
    }

    /// Takes deliveries to an endpoint that are due, to try them now: one of each request at most. Nobody else tries them
    /// for a while.
    ///
    /// # Errors
    /// If the store fails; then none is taken.
    pub async fn take_due_deliveries(&self, endpoint: &str, most: u32) -> Result<Vec<Delivery>, AppError> {
        let now = self.inner.settings.clock.now();
        if self.read().await?.due_deliveries(endpoint, now, 1).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let now = tx.now();
        let mut due = tx.due_deliveries(endpoint, now, most).await?;
        for delivery in &mut due {
            tx.begin_attempt(delivery, now.plus(TURN)).await?;
            delivery.attempts = delivery.attempts.saturating_add(1);
        }
        tx.commit().await?;
        Ok(due)
    }

    /// Keeps what came of attempts; what failed is due again later, until it has been tried often enough.
    ///
    /// # Errors
    /// If the store fails; then all of them are tried again, which the endpoint sees by the event's id.
    pub async fn settle_deliveries(&self, attempts: Vec<(Delivery, Attempt)>) -> Result<(), AppError> {
        let mut tx = self.write().await?;
        let now = tx.now();
        for (delivery, attempt) in attempts {
            let mut chance = [0];
            self.inner.settings.random.fill(&mut chance)?;
            let after = settled(delivery, attempt, now, chance[0]);
            if tx.end_attempt(&after).await? && after.state == DeliveryState::Dead {
                tx.log(&entry(&after, EntryKind::NotificationDead, ActorField::System))?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// When the next delivery to an endpoint is due.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn next_delivery(&self, endpoint: &str) -> Result<Option<Timestamp>, AppError> {
        Ok(self.read().await?.next_delivery(endpoint).await?)
    }

    /// Deliveries, newest first. For operators and auditors.
    ///
    /// # Errors
    /// If the actor is neither, or the store fails.
    pub async fn deliveries(
        &self,
        actor: &Actor,
        filter: &DeliveryFilter,
        page: &Page,
    ) -> Result<Listed<Delivery>, AppError> {
        self.must_audit(actor, "see notifications")?;
        let most = self.inner.settings.limits.page.max(1);
        let shown = page.limit.unwrap_or(most).clamp(1, most);
        let found = self.read().await?.deliveries(filter, page.cursor.as_deref(), shown.saturating_add(1)).await?;
        Ok(Listed::up_to(found, shown, |delivery| delivery.id.to_string()))
    }

    /// Has a delivery that was given up tried again. For operators.
    ///
    /// # Errors
    /// If the actor is none, or the delivery was not given up.
    pub async fn resend(&self, actor: &Actor, id: &DeliveryId) -> Result<Delivery, AppError> {
        self.must_operate(actor, "send notifications again")?;
        let mut tx = self.write().await?;
        let found = tx.delivery(id).await?.ok_or_else(|| AppError::not_found("notification", id.as_str()))?;
        if found.state != DeliveryState::Dead {
            return Err(Conflict::NotDead { state: found.state.as_str() }.into());
        }
        tx.resend_delivery(id).await?;
        tx.log(&entry(&found, EntryKind::NotificationResent, ActorField::User(actor.user.clone())))?;
        let again = tx.delivery(id).await?.ok_or_else(|| AppError::not_found("notification", id.as_str()))?;
        tx.commit().await?;
        Ok(again)
    }

    /// How many deliveries wait and are given up.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delivery_sums(&self) -> Result<DeliverySums, AppError> {
        Ok(self.read().await?.delivery_sums().await?)
    }

    /// Forgets events of more than a month ago that everybody was told of.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn forget_events(&self) -> Result<usize, AppError> {
        let mut tx: WriteTx = self.write().await?;
        let before = tx.now().minus(KEPT);
        let forgotten = tx.forget_events(before).await?;
        tx.commit().await?;
        Ok(usize::try_from(forgotten).unwrap_or(usize::MAX))
    }
}

/// A delivery after an attempt.
fn settled(delivery: Delivery, attempt: Attempt, now: Timestamp, chance: u8) -> Delivery {
    let ended = |state, fault| Delivery { state, due_at: now, ended_at: Some(now), fault, ..delivery.clone() };
    match attempt {
        Attempt::Taken => ended(DeliveryState::Delivered, None),
        Attempt::Refused(fault) => ended(DeliveryState::Dead, Some(fault)),
        Attempt::Failed(fault) => match retry_after(delivery.attempts, chance) {
            Some(wait) => Delivery { due_at: now.plus(wait), fault: Some(fault), ..delivery },
            None => ended(DeliveryState::Dead, Some(fault)),
        },
    }
}

#[derive(Serialize)]
struct DeliveryData<'a> {
    delivery: &'a DeliveryId,
    event: String,
    kind: &'a str,
    endpoint: &'a str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
}

fn entry(delivery: &Delivery, kind: EntryKind, actor: ActorField) -> Entry<DeliveryData<'_>> {
    let ids = EntryIds {
        request: delivery.about.parse().ok(),
        delegation: delivery.about.parse().ok(),
        ..EntryIds::default()
    };
    let data = DeliveryData {
        delivery: &delivery.id,
        event: delivery.event.id.to_string(),
        kind: &delivery.event.kind,
        endpoint: &delivery.endpoint,
        attempts: delivery.attempts,
        fault: delivery.fault.as_deref(),
    };
    Entry { kind, actor, ids, data }
}
