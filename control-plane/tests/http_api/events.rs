//! The stream of events: what it begins with, what it tells whom, how it goes on, where it ends.

use std::net::SocketAddr;
use std::time::Duration;

use grantmesh_shared::time::Span;
use serde_json::{Value, json};

use super::server::{ALICE, LEA, MALLORY, OLAF, Person, Server};

/// A stream that is read message by message.
struct Stream {
    answer: reqwest::Response,
    rest: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Message {
    id: Option<String>,
    kind: String,
    data: String,
}

async fn open(server: &Server, address: SocketAddr, person: Person, after: Option<&str>) -> reqwest::Response {
    let mut request =
        reqwest::Client::new().get(format!("http://{address}/v1/events")).bearer_auth(server.token(person));
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    request.send().await.unwrap()
}

impl Stream {
    async fn of(server: &Server, address: SocketAddr, person: Person, after: Option<&str>) -> Self {
        let answer = open(server, address, person, after).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        Self { answer, rest: String::new() }
    }

    /// The next message; nothing at the end.
    async fn next(&mut self) -> Option<Message> {
        let read = async {
            loop {
                if let Some((message, rest)) = self.rest.split_once("\n\n") {
                    let field = |name: &str| {
                        let lines = message.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                        lines.collect::<Vec<_>>().first().map(|text| (*text).to_owned())
                    };
                    let found =
                        field("event").map(|kind| Message { id: field("id"), kind, data: field("data").unwrap() });
                    self.rest = rest.to_owned();
                    if found.is_some() {
                        return found;
                    }
                    continue;
                }
                let part = self.answer.chunk().await.unwrap()?;
                self.rest.push_str(std::str::from_utf8(&part).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("the stream says nothing")
    }

    async fn kind(&mut self) -> String {
        self.next().await.unwrap().kind
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_what_concerns_its_reader_and_goes_on_where_it_ended() {
    let mut server = Server::start().await;
    let address = server.listen().await;
    let mut lea = Stream::of(&server, address, LEA, None).await;
    let mut mallory = Stream::of(&server, address, MALLORY, None).await;
    assert_eq!((lea.kind().await, mallory.kind().await), ("ready".to_owned(), "ready".to_owned()));
    let id = server.request().await;
    let filed = lea.next().await.unwrap();
    assert_eq!(filed.kind, "request.filed");
    let event: Value = serde_json::from_str(&filed.data).unwrap();
    assert_eq!((&event["type"], &event["data"]["request"]["id"]), (&json!("request.filed"), &json!(id)));
    drop(lea);
    server.review(LEA, &format!("/v1/requests/{id}/reviews"), &json!({ "verdict": "approve" })).await.expect(201);

    // What happened in between is told; then the stream goes on.
    let mut lea = Stream::of(&server, address, LEA, filed.id.as_deref()).await;
    assert_eq!((lea.kind().await, lea.kind().await), ("request.approved".to_owned(), "grant.issued".to_owned()));
    let mut alice = Stream::of(&server, address, ALICE, filed.id.as_deref()).await;
    assert_eq!(alice.kind().await, "request.approved");
    let mut olaf = Stream::of(&server, address, OLAF, Some("event_00000000000000000000000000")).await;
    assert_eq!((olaf.kind().await, olaf.kind().await), ("reset".to_owned(), "ready".to_owned()));
    server.request().await;
    assert_eq!((lea.kind().await, olaf.kind().await), ("request.filed".to_owned(), "request.filed".to_owned()));

    // Mallory has nothing to see; a stream that was begun ends with its token.
    server.clock.advance(Span::from_secs(3_700));
    let mut rest = Vec::new();
    while let Some(message) = mallory.next().await {
        rest.push(message);
    }
    assert_eq!(rest, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_counted_and_what_is_no_event_is_refused() {
    let mut server = Server::start().await;
    let address = server.listen().await;
    assert_eq!(open(&server, address, ALICE, Some("yesterday")).await.status().as_u16(), 400);
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(Stream::of(&server, address, ALICE, None).await);
    }
    let refused = open(&server, address, ALICE, None).await;
    assert_eq!(refused.status().as_u16(), 429);
    let problem: Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "too_many_streams");
    Stream::of(&server, address, LEA, None).await;
    // A place is free again when its stream is gone.
    streams.clear();
    let again = async {
        while open(&server, address, ALICE, None).await.status().as_u16() != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again).await.expect("no place becomes free");
}
