//! The outbox: events, which are written with the change that they tell of, and their deliveries to endpoints.
//! A delivery that somebody tries is due again a little later, so that one whose process is gone is tried by another.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::{DeliveryId, EventId};
use grantmesh_shared::time::Timestamp;
use sqlx::AssertSqlSafe;

use super::select::{Bound, Visible};
use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::domain::{DeliveryState, Event, KeptEvent};

const EVENTS: (&str, &str) = ("events", "id");
const DELIVERIES: (&str, &str) = ("deliveries", "id");

/// Services with the names of their rules or rights.
type Names = [(String, String)];

/// A delivery of an event to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// To whom.
    pub endpoint: String,
    /// Of what.
    pub event: KeptEvent,
    /// The id of the request or delegation that the event is about.
    pub about: String,
    /// How it stands.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; of one that has ended, when it was tried last.
    pub due_at: Timestamp,
    /// When it was delivered or given up.
    pub ended_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub fault: Option<String>,
}

/// Which deliveries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryFilter {
    /// Only in this state.
    pub state: Option<DeliveryState>,
    /// Only to this endpoint.
    pub endpoint: Option<String>,
}

/// How many deliveries wait and are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliverySums {
    /// To be tried.
    pub waiting: u64,
    /// Given up.
    pub dead: u64,
}

impl TryFrom<Row> for KeptEvent {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            place: row.unsigned("place")?,
            id: row.parsed("id")?,
            kind: row.text("kind")?,
            body: row.text("body")?,
        })
    }
}

impl TryFrom<Row> for Delivery {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let word = row.text("state")?;
        let state = DeliveryState::parse(&word).ok_or_else(|| row.bad("state", format!("`{word}` is no state")))?;
        Ok(Self {
            id: row.parsed("id")?,
            endpoint: row.text("endpoint")?,
            event: KeptEvent {
                place: row.unsigned("place")?,
                id: row.parsed("event_id")?,
                kind: row.text("kind")?,
                body: row.text("body")?,
            },
            about: row.text("request")?,
            state,
            attempts: row.unsigned("attempts")?,
            due_at: row.time("due_at")?,
            ended_at: row.opt_time("ended_at")?,
            fault: row.opt_text("fault")?,
        })
    }
}

macro_rules! deliveries {
    ($rest:literal) => {
        concat!(
            "SELECT d.id AS id, d.endpoint AS endpoint, d.request AS request, d.state AS state, d.attempts AS attempts, ",
            "d.due_at AS due_at, d.ended_at AS ended_at, d.fault AS fault, e.place AS place, e.id AS event_id, ",
            "e.kind AS kind, e.body AS body FROM deliveries d JOIN events e ON e.place = d.event",
            $rest
        )
    };
}

impl Tx {
    /// The place of the last event; 0 if there is none.
    pub(crate) async fn last_event(&mut self) -> Result<u64, StoreError> {
        let row =
            self.row(("events", "place"), "SELECT place FROM events ORDER BY place DESC LIMIT 1", args![]).await?;
        row.map_or(Ok(0), |row| row.unsigned("place"))
    }

    /// The id of the event at a place.
    pub(crate) async fn event_at(&mut self, place: u64) -> Result<Option<EventId>, StoreError> {
        let row = self.row(EVENTS, "SELECT id FROM events WHERE place = $1", args![place]).await?;
        row.map(|row| row.parsed("id")).transpose()
    }

    /// The place of an event that is still there.
    pub(crate) async fn place_of_event(&mut self, id: &EventId) -> Result<Option<u64>, StoreError> {
        let row = self.row(EVENTS, "SELECT id, place FROM events WHERE id = $1", args![id.as_str()]).await?;
        row.map(|row| row.unsigned("place")).transpose()
    }

    /// The events after a place that a reader may see, in their order, and up to which place was looked. Of the delegated
    /// rules (service, rule) they see what becomes of requests, of the delegated rights what becomes of post-reviews.
    pub(crate) async fn events_after(
        &mut self,
        place: u64,
        visible: &Visible,
        (rules, rights): (&Names, &Names),
        look_at: u32,
    ) -> Result<(Vec<KeptEvent>, u64), StoreError> {
        let mut bound = Bound::default();
        let (after, most) = (bound.place(place), bound.place(look_at));
        // Whoever reviews what is escalated is told of the request from then on, and not of what it led to.
        let escalated = "kind LIKE 'request.%' AND \
                         EXISTS (SELECT 1 FROM requests r WHERE r.id = next.request AND r.escalated_at IS NOT NULL)";
        let mut seen = visible.clause(&mut bound, "owner", escalated);
        if let Visible::Of { user: User { issuer, subject }, .. } = visible {
            let (issuer, subject) = (bound.place(&**issuer), bound.place(&**subject));
            seen = format!("{seen} OR other_issuer = {issuer} AND other_subject = {subject}");
        }
        let requests = rules.iter().map(|rule| ("request.%", rule));
        for (kinds, (service, rule)) in requests.chain(rights.iter().map(|right| ("post_review.%", right))) {
            let (service, rule) = (bound.place(&**service), bound.place(&**rule));
            seen = format!("{seen} OR kind LIKE '{kinds}' AND service = {service} AND rule = {rule}");
        }
        // The inner part bounds how many rows are looked at, however few of them the reader may see.
        let sql = format!(
            "SELECT id, place, kind, body, CAST(CASE WHEN {seen} THEN 1 ELSE 0 END AS BIGINT) AS seen FROM \
             (SELECT * FROM events WHERE place > {after} ORDER BY place LIMIT {most}) AS next ORDER BY place"
        );
        let rows = self.rows(EVENTS, AssertSqlSafe(sql), bound.into_values()).await?;
        let (mut events, mut looked) = (Vec::new(), place);
        for row in rows {
            looked = row.unsigned("place")?;
            let seen: u32 = row.unsigned("seen")?;
            if seen == 1 {
                events.push(KeptEvent::try_from(row)?);
            }
        }
        Ok((events, looked))
    }

    /// Up to which place an endpoint's deliveries have been made.
    pub(crate) async fn endpoint(&mut self, name: &str) -> Result<Option<u64>, StoreError> {
        let row = self.row(("endpoints", "name"), "SELECT name, place FROM endpoints WHERE name = $1", args![name]);
        row.await?.map(|row| row.unsigned("place")).transpose()
    }

    /// Places and kinds of events after a place, and what they are about.
    pub(crate) async fn event_kinds_after(
        &mut self,
        place: u64,
        limit: u32,
    ) -> Result<Vec<(u64, String, String)>, StoreError> {
        let sql = "SELECT id, place, kind, request FROM events WHERE place > $1 ORDER BY place LIMIT $2";
        let rows = self.rows(EVENTS, sql, args![place, limit]).await?;
        rows.iter().map(|row| Ok((row.unsigned("place")?, row.text("kind")?, row.text("request")?))).collect()
    }

    /// Deliveries to an endpoint that may be tried: each the first of its request or delegation that waits.
    pub(crate) async fn due_deliveries(
        &mut self,
        endpoint: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let sql = deliveries!(
            " WHERE d.endpoint = $1 AND d.state = 'waiting' AND d.due_at <= $2 AND NOT EXISTS (SELECT 1 FROM deliveries b \
             WHERE b.endpoint = d.endpoint AND b.request = d.request AND b.state = 'waiting' AND b.event < d.event) ORDER BY d.due_at, d.event LIMIT $3"
        );
        let rows = self.rows(DELIVERIES, sql, args![endpoint, now, limit]).await?;
        rows.into_iter().map(Delivery::try_from).collect()
    }

    /// When the next delivery to an endpoint is due.
    pub(crate) async fn next_delivery(&mut self, endpoint: &str) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT id, due_at FROM deliveries WHERE endpoint = $1 AND state = 'waiting' ORDER BY due_at LIMIT 1";
        self.row(DELIVERIES, sql, args![endpoint]).await?.map(|row| row.time("due_at")).transpose()
    }

    /// A delivery.
    pub(crate) async fn delivery(&mut self, id: &DeliveryId) -> Result<Option<Delivery>, StoreError> {
        let row = self.row(DELIVERIES, deliveries!(" WHERE d.id = $1"), args![id.as_str()]).await?;
        row.map(Delivery::try_from).transpose()
    }

    /// A page of deliveries, newest first.
    pub(crate) async fn deliveries(
        &mut self,
        DeliveryFilter { state, endpoint }: &DeliveryFilter,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut bound = Bound::default();
        let mut clauses = vec!["1 = 1".to_owned()];
        clauses.extend(state.map(|state| format!("d.state = {}", bound.place(state.as_str()))));
        clauses.extend(endpoint.as_ref().map(|name| format!("d.endpoint = {}", bound.place(name.as_str()))));
        clauses.extend(cursor.map(|cursor| format!("d.id < {}", bound.place(cursor))));
        let limit = bound.place(limit);
        let select = deliveries!("");
        let sql = format!("{select} WHERE {} ORDER BY d.id DESC LIMIT {limit}", clauses.join(" AND "));
        let rows = self.rows(DELIVERIES, AssertSqlSafe(sql), bound.into_values()).await?;
        rows.into_iter().map(Delivery::try_from).collect()
    }

    /// How many deliveries wait and are given up.
    pub(crate) async fn delivery_sums(&mut self) -> Result<DeliverySums, StoreError> {
        let sql = "SELECT state, COUNT(*) AS number FROM deliveries WHERE state IN ('waiting', 'dead') GROUP BY state";
        let mut sums = DeliverySums::default();
        for row in self.rows(("deliveries", "state"), sql, args![]).await? {
            let number = row.unsigned("number")?;
            match DeliveryState::parse(&row.text("state")?) {
                Some(DeliveryState::Waiting) => sums.waiting = number,
                Some(DeliveryState::Dead) => sums.dead = number,
                Some(DeliveryState::Delivered) | None => {}
            }
        }
        Ok(sums)
    }
}

impl WriteTx {
    /// Tells of a change, with the change.
    pub(crate) async fn tell(&mut self, event: &Event) -> Result<(), StoreError> {
        let now = self.now();
        let place = self.last_event().await?.saturating_add(1);
        let mut unique = [0; 10];
        let (_, low) = unique.split_at_mut(2);
        low.copy_from_slice(&place.to_be_bytes());
        let id = EventId::new(u64::try_from(now.millis()).unwrap_or(0), unique);
        let sql = "INSERT INTO events (place, id, kind, at, request, owner_issuer, owner_subject, service, rule, body, \
                   other_issuer, other_subject) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        // No service or rule has an empty name, so that nobody sees it by what they review.
        let (service, rule) = event.rule.as_ref().map_or(("", ""), |(service, rule)| (service, rule));
        let other = event.other.as_ref();
        let values = args![
            place,
            id.as_str(),
            event.kind.as_str(),
            now,
            event.about.as_str(),
            &*event.owner.issuer,
            &*event.owner.subject,
            service,
            rule,
            event.body(now),
            other.map(|other| &*other.issuer),
            other.map(|other| &*other.subject),
        ];
        self.execute(sql, values).await.map(drop)
    }

    /// Keeps up to which place an endpoint's deliveries have been made.
    pub(crate) async fn put_endpoint(&mut self, name: &str, place: u64) -> Result<(), StoreError> {
        let sql = "INSERT INTO endpoints (name, place) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET place = $2";
        self.execute(sql, args![name, place]).await.map(drop)
    }

    /// Keeps a delivery that is to be tried at once.
    pub(crate) async fn insert_delivery(
        &mut self,
        id: &DeliveryId,
        endpoint: &str,
        (event, about): (u64, &str),
    ) -> Result<(), StoreError> {
        let now = self.now();
        let sql = "INSERT INTO deliveries (id, endpoint, event, request, state, attempts, due_at) \
                   VALUES ($1, $2, $3, $4, 'waiting', 0, $5)";
        self.execute(sql, args![id.as_str(), endpoint, event, about, now]).await.map(drop)
    }

    /// Counts an attempt; it is somebody else's turn at `due_at`.
    pub(crate) async fn begin_attempt(&mut self, delivery: &Delivery, due_at: Timestamp) -> Result<(), StoreError> {
        let sql =
            "UPDATE deliveries SET attempts = $1, due_at = $2 WHERE id = $3 AND state = 'waiting' AND attempts = $4";
        let (attempts, id) = (delivery.attempts.saturating_add(1), delivery.id.as_str());
        self.execute_one("deliveries", id, sql, args![attempts, due_at, id, delivery.attempts]).await
    }

    /// Keeps what came of an attempt, unless somebody else has tried meanwhile or it has ended; whether it was kept.
    pub(crate) async fn end_attempt(&mut self, after: &Delivery) -> Result<bool, StoreError> {
        let sql = "UPDATE deliveries SET state = $1, due_at = $2, ended_at = $3, fault = $4 \
                   WHERE id = $5 AND state = 'waiting' AND attempts = $6";
        let values = args![
            after.state.as_str(),
            after.due_at,
            after.ended_at,
            after.fault.as_deref(),
            after.id.as_str(),
            after.attempts,
        ];
        Ok(self.execute(sql, values).await? == 1)
    }

    /// Has a delivery that was given up tried again, from the first attempt.
    pub(crate) async fn resend_delivery(&mut self, id: &DeliveryId) -> Result<(), StoreError> {
        let now = self.now();
        let sql = "UPDATE deliveries SET state = 'waiting', attempts = 0, due_at = $1, ended_at = NULL \
                   WHERE id = $2 AND state = 'dead'";
        self.execute_one("deliveries", id.as_str(), sql, args![now, id.as_str()]).await
    }

    /// Forgets events from before a time that no delivery waits for, with their deliveries; the last event stays.
    pub(crate) async fn forget_events(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let old = "SELECT place FROM events e WHERE e.at < $1 AND e.place < (SELECT max(place) FROM events) AND NOT EXISTS \
                   (SELECT 1 FROM deliveries d WHERE d.event = e.place AND d.state = 'waiting')";
        let deliveries = format!("DELETE FROM deliveries WHERE event IN ({old})");
        self.execute(AssertSqlSafe(deliveries), args![before]).await?;
        self.execute(AssertSqlSafe(format!("DELETE FROM events WHERE place IN ({old})")), args![before]).await
    }
}
