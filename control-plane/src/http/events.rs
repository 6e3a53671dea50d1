//! `/v1/events`: what happens to one's own requests, grants and delegations, and to what one may review, as it happens. A
//! stream of server-sent events that goes on from `Last-Event-ID`. A commit wakes it; what there is to tell is in the database.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use grantmesh_shared::engine::User;
use grantmesh_shared::id::EventId;
use grantmesh_shared::time::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Api;
use super::extract::Session;
use super::problem::ApiError;
use super::refusals::{BadRequest, Caller, TooMany};
use crate::app::Head;
use crate::domain::{Actor, KeptEvent};

/// Where to go on.
const LAST_EVENT_ID: &str = "last-event-id";

/// The most streams at once, and of one person.
const MOST: usize = 1_000;
const MOST_OF_ONE: usize = 8;

/// How often it is looked without a wake, which is only a hint.
const LOOK: Duration = Duration::from_secs(5);

/// How often a comment is sent, so that both sides know that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Who listens.
#[derive(Debug, Default)]
pub(super) struct Streams(Arc<Mutex<HashMap<User, usize>>>);

/// A place among those who listen; free again when it is dropped.
#[derive(Debug)]
struct Seat {
    open: Arc<Mutex<HashMap<User, usize>>>,
    user: User,
}

impl Streams {
    fn take(&self, user: &User) -> Result<Seat, ApiError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= MOST {
            return Err(ApiError::Streams("1,000"));
        }
        let of_one = open.entry(user.clone()).or_default();
        if *of_one >= MOST_OF_ONE {
            return Err(ApiError::Streams("8 of yours"));
        }
        *of_one += 1;
        Ok(Seat { open: Arc::clone(&self.0), user: user.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_one) = open.get_mut(&self.user) {
            *of_one = of_one.saturating_sub(1);
            if *of_one == 0 {
                open.remove(&self.user);
            }
        }
    }
}

/// Somebody who listens.
struct Listener {
    api: Arc<Api>,
    actor: Actor,
    /// The token's end; the stream ends with it.
    ends_at: Timestamp,
    place: u64,
    ready: VecDeque<Event>,
    changed: watch::Receiver<Head>,
    _seat: Seat,
}

impl Listener {
    /// The next thing to tell; nothing when the stream is over.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.api.now() >= self.ends_at || self.api.push.is_stopping() {
                return None;
            }
            let seen = self.changed.borrow_and_update().position;
            match self.api.app.events_after(&self.actor, self.place).await {
                Ok(found) => {
                    self.place = found.place;
                    self.ready.extend(found.events.into_iter().map(told));
                    if !self.ready.is_empty() || found.more {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a stream of events ends");
                    return None;
                }
            }
            // Entries of the log that change nothing wake nobody.
            let _ = timeout(LOOK, self.changed.wait_for(|head| head.position != seen)).await;
        }
    }
}

fn told(KeptEvent { id, kind, body, .. }: KeptEvent) -> Event {
    Event::default().id(id.to_string()).event(kind).data(body)
}

/// What happens to your requests and grants, to those that you may review, and to delegations that you give or are given,
/// as it happens, as server-sent events: the same documents as webhooks get. It begins with `ready` and, if the event of `Last-Event-ID` is not known any more,
/// with `reset`: then read the lists again. It ends with your token.
#[utoipa::path(get, path = "/v1/events", tag = "events", security(("token" = [])),
    params(("Last-Event-ID" = Option<String>, Header, description = "the last event that you have seen; from now on if it is left out")),
    responses((status = 200, body = String, content_type = "text/event-stream"), Caller, BadRequest, TooMany))]
pub(super) async fn listen(
    State(api): State<Arc<Api>>,
    Session { actor, ends_at }: Session,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let seen = seen(&headers)?;
    let seat = api.streams.take(&actor.user)?;
    let changed = api.app.changed();
    let (last, last_id) = api.app.last_event().await?;
    let (mut place, mut ready) = (last, VecDeque::new());
    if let Some(seen) = seen {
        match api.app.place_of_event(&seen).await? {
            Some(known) => place = known,
            None => ready.push_back(begun("reset", last_id.as_ref())),
        }
    }
    if place == last {
        ready.push_back(begun("ready", last_id.as_ref()));
    }
    let listener = Listener { api, actor, ends_at, place, ready, changed, _seat: seat };
    let stream = unfold(listener, async |mut listener| listener.next().await.map(|event| (Ok(event), listener)));
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

fn begun(kind: &str, last: Option<&EventId>) -> Event {
    let event = Event::default().event(kind).data("{}");
    match last {
        Some(last) => event.id(last.to_string()),
        None => event,
    }
}

fn seen(headers: &HeaderMap) -> Result<Option<EventId>, ApiError> {
    let wrong =
        || ApiError::Value("`Last-Event-ID` is not the id of an event\nsend the last `id` of the stream".to_owned());
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    value.to_str().ok().and_then(|text| text.parse().ok()).map(Some).ok_or_else(wrong)
}
