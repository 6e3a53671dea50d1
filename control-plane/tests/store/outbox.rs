//! Notifications: told with the change, delivered at least once and in order, tried again, given up, sent again. The
//! receiver is a real one over HTTP; it verifies every signature with the library of Standard Webhooks.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use grantmesh_control_plane::app::{App, DeliveryFilter, Page};
use grantmesh_control_plane::domain::{DeliveryState, EventKind};
use grantmesh_control_plane::notify::{Courier, EndpointSettings, Guard, Secret};
use grantmesh_shared::time::Span;
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::task::JoinHandle;

use crate::db::Db;
use crate::world::{World, ann, approval, aud, code, denial, lee, olga};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a receiver was told: id, kind, request.
type Told = (String, String, String);

pub(crate) struct Receiver {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    /// What it answers next; 204 when nothing is left.
    answers: Arc<Mutex<VecDeque<u16>>>,
    serving: JoinHandle<()>,
}

#[derive(Clone)]
struct Kept {
    told: Arc<Mutex<Vec<Told>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

async fn receive(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) -> StatusCode {
    // Its check of a signature also looks at the machine's clock, which here is another one.
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let seconds = header("webhook-timestamp").parse().unwrap();
    let signed = Webhook::new(SECRET).unwrap().sign(&header("webhook-id"), seconds, &body).unwrap();
    assert_eq!(header("webhook-signature"), signed);
    let event: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["content-type"], "application/json");
    let answer = kept.answers.lock().unwrap().pop_front().unwrap_or(204);
    let data = &event["data"];
    let about = data["request"]["id"].as_str().or_else(|| data["grant"]["request"].as_str());
    let request = about.or_else(|| data["post_review"]["request"].as_str()).unwrap().to_owned();
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    kept.told.lock().unwrap().push((id, event["type"].as_str().unwrap().to_owned(), request));
    StatusCode::from_u16(answer).unwrap()
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    pub(crate) async fn start(answers: &[u16]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, answers) = (Arc::default(), Arc::new(Mutex::new(answers.iter().copied().collect())));
        let kept = Kept { told: Arc::clone(&told), answers: Arc::clone(&answers) };
        let router = axum::Router::new().route("/hook", axum::routing::post(receive)).with_state(kept);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, told, answers, serving }
    }

    pub(crate) fn courier(&self, name: &str, kinds: &[EventKind]) -> Courier {
        let allow = vec!["127.0.0.0/8".parse().unwrap()];
        Courier::new(EndpointSettings {
            name: name.to_owned(),
            url: format!("http://{}/hook", self.address).parse().unwrap(),
            secrets: vec![Secret::parse(SECRET).unwrap()],
            kinds: kinds.to_vec(),
            guard: Guard::new(allow, false),
        })
        .unwrap()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.told.lock().unwrap().iter().map(|(_, kind, _)| kind.clone()).collect()
    }

    fn answer(&self, answers: &[u16]) {
        self.answers.lock().unwrap().extend(answers);
    }
}

async fn listed(app: &App, state: Option<DeliveryState>) -> Vec<grantmesh_control_plane::app::Delivery> {
    app.deliveries(&olga(), &DeliveryFilter { state, endpoint: None }, &Page::default()).await.unwrap().items
}

pub(crate) async fn what_happens_is_told_in_order(db: Db) {
    let world = World::new(db).await;
    let receiver = Receiver::start(&[]).await;
    let (all, ends) = (
        receiver.courier("all", &EventKind::ALL),
        receiver.courier("ends", &[EventKind::RequestTimedOut, EventKind::GrantRevoked]),
    );
    // What was before an endpoint was known is not told.
    world.asked().await;
    for courier in [&all, &ends] {
        world.app.know_endpoint(courier.name()).await.unwrap();
    }
    let grant = world.granted().await;
    world.app.revoke(&lee(), &grant.id, "done").await.unwrap();
    let denied = world.asked().await;
    world.review(&lee(), &denied.id, denial()).await.unwrap();
    let withdrawn = world.asked().await;
    world.app.withdraw(&ann(), &withdrawn.id).await.unwrap();
    let released = world.granted().await;
    world.app.release(&ann(), &released.id).await.unwrap();
    assert_eq!(all.deliver(&world.app).await.unwrap(), 12);
    let of = |request: &str| -> Vec<String> {
        let told = receiver.told.lock().unwrap();
        told.iter().filter(|(.., about)| about == request).map(|(_, kind, _)| kind.clone()).collect()
    };
    assert_eq!(of(grant.request.as_str()), ["request.filed", "request.approved", "grant.issued", "grant.revoked"]);
    assert_eq!(of(denied.id.as_str()), ["request.filed", "request.denied"]);
    assert_eq!(of(withdrawn.id.as_str()), ["request.filed", "request.withdrawn"]);
    assert_eq!(of(released.request.as_str()), ["request.filed", "request.approved", "grant.issued", "grant.ended"]);
    // Nothing is told twice; another endpoint has what it asked for, and the same ids.
    assert_eq!(all.deliver(&world.app).await.unwrap(), 0);
    assert_eq!(ends.deliver(&world.app).await.unwrap(), 1);
    let told = receiver.told.lock().unwrap().clone();
    let (last, first) = (told.last().unwrap(), told.iter().find(|(_, kind, _)| kind == "grant.revoked").unwrap());
    assert_eq!((&last.0, &last.1), (&first.0, &first.1));
    world.advance("9h");
    world.app.time_out_requests().await.unwrap();
    assert_eq!(ends.deliver(&world.app).await.unwrap(), 1);
    assert_eq!(receiver.kinds().last().unwrap(), "request.timed_out");
    assert_eq!(listed(&world.app, Some(DeliveryState::Delivered)).await.len(), 14);
}

pub(crate) async fn what_fails_is_tried_again_later_and_holds_back_its_own_request_only(db: Db) {
    let world = World::new(db).await;
    let receiver = Receiver::start(&[500]).await;
    let courier = receiver.courier("chat", &EventKind::ALL);
    world.app.know_endpoint("chat").await.unwrap();
    let first = world.asked().await;
    assert_eq!(courier.deliver(&world.app).await.unwrap(), 1);
    world.review(&lee(), &first.id, denial()).await.unwrap();
    let second = world.asked().await;
    // The second request's event goes on; the first one's second event waits for its first.
    assert_eq!(courier.deliver(&world.app).await.unwrap(), 1);
    assert_eq!(receiver.told.lock().unwrap().last().unwrap().2, second.id.as_str());
    let waiting = listed(&world.app, Some(DeliveryState::Waiting)).await;
    assert_eq!(waiting.len(), 2);
    assert!(waiting.iter().any(|delivery| delivery.fault.as_deref() == Some("it answered 500")), "{waiting:?}");
    world.advance("3s");
    assert_eq!(courier.deliver(&world.app).await.unwrap(), 0, "not before its time");
    world.advance("4s");
    assert_eq!(courier.deliver(&world.app).await.unwrap(), 2);
    let told = receiver.told.lock().unwrap().clone();
    let kinds: Vec<&str> = told.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["request.filed", "request.filed", "request.filed", "request.denied"]);
    assert_eq!(told[0].0, told[2].0, "a repeated attempt has the same id");
    assert_eq!(world.app.delivery_sums().await.unwrap().waiting, 0);
}

pub(crate) async fn what_nobody_takes_is_given_up_and_sent_again_by_hand(db: Db) {
    let world = World::new(db).await;
    let receiver = Receiver::start(&[503; 10]).await;
    let courier = receiver.courier("chat", &EventKind::ALL);
    world.app.know_endpoint("chat").await.unwrap();
    let request = world.asked().await;
    for attempt in 1..=10 {
        assert_eq!(courier.deliver(&world.app).await.unwrap(), 1, "attempt {attempt}");
        world.advance("10h");
    }
    assert_eq!(courier.deliver(&world.app).await.unwrap(), 0);
    let dead = listed(&world.app, Some(DeliveryState::Dead)).await.pop().unwrap();
    assert_eq!((dead.attempts, dead.fault.as_deref()), (10, Some("it answered 503")));
    assert_eq!(world.app.delivery_sums().await.unwrap().dead, 1);
    // One that is gone is given up at once, and holds nothing back.
    receiver.answer(&[410]);
    world.app.withdraw(&ann(), &request.id).await.unwrap_err();
    assert_eq!(courier.deliver(&world.app).await.unwrap(), 1, "it had timed out");
    let other = world.asked().await;
    assert_eq!(courier.deliver(&world.app).await.unwrap(), 1);
    assert_eq!(listed(&world.app, Some(DeliveryState::Dead)).await.len(), 2);

    for reader in [ann(), lee()] {
        assert_eq!(
            code(world.app.deliveries(&reader, &DeliveryFilter::default(), &Page::default()).await),
            "not_auditor"
        );
    }
    for nobody in [lee(), aud()] {
        assert_eq!(code(world.app.resend(&nobody, &dead.id).await), "not_operator");
    }
    let again = world.app.resend(&olga(), &dead.id).await.unwrap();
    assert_eq!((again.state, again.attempts), (DeliveryState::Waiting, 0));
    assert_eq!(code(world.app.resend(&olga(), &dead.id).await), "notification_not_dead");
    assert_eq!(courier.deliver(&world.app).await.unwrap(), 1);
    assert_eq!(receiver.told.lock().unwrap().last().unwrap().0, dead.event.id.as_str());
    let story = world.story_of(request.id.as_str()).await;
    assert_eq!(
        story,
        ["request.filed", "notification.dead", "request.timed_out", "notification.dead", "notification.resent"]
    );
    assert!(!world.story_of(other.id.as_str()).await.is_empty());
}

pub(crate) async fn two_replicas_share_the_work_and_a_lost_attempt_is_made_again(db: Db) {
    let world = World::new(db).await;
    let another = world.another().await;
    let receiver = Receiver::start(&[]).await;
    let (one, two) = (receiver.courier("chat", &EventKind::ALL), receiver.courier("chat", &EventKind::ALL));
    world.app.know_endpoint("chat").await.unwrap();
    for _ in 0..10 {
        world.asked().await;
    }
    let both = tokio::join!(one.deliver(&world.app), two.deliver(&another));
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 10);
    let mut ids: Vec<String> = receiver.told.lock().unwrap().iter().map(|(id, ..)| id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10);

    // A process takes a delivery and is gone before it tells what came of it.
    let request = world.asked().await;
    world.app.fan_out("chat", &EventKind::ALL).await.unwrap();
    let taken = another.take_due_deliveries("chat", 16).await.unwrap();
    assert_eq!((taken.len(), taken[0].about.as_str()), (1, request.id.as_str()));
    assert_eq!(one.deliver(&world.app).await.unwrap(), 0, "somebody is at it");
    world.advance("61s");
    assert_eq!(one.deliver(&world.app).await.unwrap(), 1);
    assert_eq!(receiver.told.lock().unwrap().last().unwrap().0, taken[0].event.id.as_str());
    // What the lost one says after all changes nothing.
    let late = grantmesh_control_plane::app::Attempt::Failed("late".to_owned());
    another.settle_deliveries(taken.into_iter().map(|delivery| (delivery, late.clone())).collect()).await.unwrap();
    assert_eq!(world.app.delivery_sums().await.unwrap().waiting, 0);
}

pub(crate) async fn events_are_forgotten_when_they_are_old_and_told(db: Db) {
    let world = World::new(db).await;
    let receiver = Receiver::start(&[]).await;
    let courier = receiver.courier("chat", &EventKind::ALL);
    world.app.know_endpoint("chat").await.unwrap();
    world.asked().await;
    world.app.fan_out("chat", &EventKind::ALL).await.unwrap();
    world.advance("1h");
    world.asked().await;
    for _ in 0..32 {
        world.advance("1d");
    }
    assert_eq!(world.app.forget_events().await.unwrap(), 0, "one waits to be told, the other is the last");
    courier.deliver(&world.app).await.unwrap();
    assert_eq!(world.app.forget_events().await.unwrap(), 1);
    let last = world.app.last_event().await.unwrap().0;
    let granted = world.granted().await;
    assert!(world.app.last_event().await.unwrap().0 > last, "no place is used twice");
    assert_eq!(world.app.events_after(&ann(), last).await.unwrap().events.len(), 3);
    assert_eq!(granted.expires_at.since(granted.starts_at), Span::from_secs(900));
    assert!(world.review(&lee(), &granted.request, approval()).await.is_err());
}

pub(crate) async fn events_are_seen_by_whom_they_concern(db: Db) {
    use crate::world::{bob, eve};
    let world = World::new(db).await;
    let start = world.app.last_event().await.unwrap().0;
    let grant = world.granted().await;
    let kinds = async |actor| -> Vec<String> {
        let seen = world.app.events_after(&actor, start).await.unwrap();
        assert!(!seen.more);
        seen.events.into_iter().map(|event| event.kind).collect()
    };
    let all = ["request.filed", "request.approved", "grant.issued"];
    for reader in [ann(), lee(), bob(), olga(), aud()] {
        assert_eq!(kinds(reader).await, all);
    }
    assert!(kinds(eve()).await.is_empty());
    let event = world.app.events_after(&ann(), start).await.unwrap().events.remove(1);
    assert_eq!(world.app.place_of_event(&event.id).await.unwrap(), Some(event.place));
    assert_eq!(world.app.events_after(&ann(), event.place).await.unwrap().events.len(), 1);
    let body: Value = serde_json::from_str(&event.body).unwrap();
    assert_eq!(
        (&body["type"], &body["data"]["request"]["grant"]),
        (&"request.approved".into(), &grant.id.as_str().into())
    );
}
