//! `grantmesh watch`: what happens to one's requests, grants and delegations, and to what one may review, as it happens.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::client::{Client, ClientError};
use super::output::Output;
use super::{ClientArgs, Failure, tables};

/// How often a lost stream is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The longest line of a stream.
const MOST_BYTES: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// End after so many events
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Go on after this event
    #[arg(long, value_name = "EVENT")]
    after: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(WatchArgs { count, after, client: args }: WatchArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args)?;
    let mut watch = Watch { last: after, left: count, json: args.json };
    let mut retry = interval(RETRY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first try has nothing to say about a lost connection.
    let mut begun = false;
    loop {
        retry.tick().await;
        match watch.follow(&client, &mut begun, out).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(ClientError::Unreachable { .. }) if begun => out.remark("the connection is lost; it is tried again"),
            Err(error) => return Err(error.into()),
        }
    }
}

struct Watch {
    last: Option<String>,
    left: Option<u64>,
    json: bool,
}

/// One message of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    id: Option<String>,
    kind: String,
    data: String,
}

impl Watch {
    /// Follows the stream until it ends; whether enough was seen.
    async fn follow(&mut self, client: &Client, begun: &mut bool, out: &mut Output) -> Result<bool, ClientError> {
        let mut answer = client.stream("/v1/events", self.last.as_deref()).await?;
        *begun = true;
        let mut rest = Vec::new();
        while let Some(part) = client.part(&mut answer).await? {
            rest.extend_from_slice(&part);
            while let Some((message, used)) = message(&rest) {
                rest.drain(..used);
                if self.tell(message, out)? {
                    return Ok(true);
                }
            }
            if rest.len() > MOST_BYTES {
                return Err(client.strange_stream());
            }
        }
        Ok(false)
    }

    fn tell(&mut self, message: Message, out: &mut Output) -> Result<bool, ClientError> {
        self.last = message.id.or(self.last.take());
        match message.kind.as_str() {
            "" | "ready" => return Ok(false),
            "reset" => {
                out.remark(
                    "what was before is not known any more: look at `grantmesh requests` and `grantmesh grants`",
                );
                return Ok(false);
            }
            _ => {}
        }
        let event: Value = serde_json::from_str(&message.data).unwrap_or_default();
        if self.json {
            out.line(&event);
        } else {
            out.line(line(&message.kind, &event));
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(self.left == Some(0))
    }
}

/// An event as one line.
fn line(kind: &str, event: &Value) -> String {
    let at = event["timestamp"].as_str().map(tables::when).unwrap_or_default();
    if let Some(delegation) = event["data"]["delegation"].as_object() {
        let text = |name: &str| delegation.get(name).and_then(Value::as_str);
        let person = |name: &str| delegation.get(name)?.get("subject")?.as_str();
        let (who, to) = (person("delegator").unwrap_or_default(), person("delegate").unwrap_or_default());
        let of = [text("rule"), text("service")].into_iter().flatten().collect::<Vec<_>>().join(" of ");
        let of = if of.is_empty() { "everything that they review" } else { &of };
        return format!("{at}  {kind:<20} {}  {who}: {to} in their place, for {of}", text("id").unwrap_or_default());
    }
    let about = ["request", "grant", "post_review"].into_iter().find_map(|what| event["data"][what].as_object());
    let text = |name: &str| about.and_then(|about| about.get(name)).and_then(Value::as_str).unwrap_or_default();
    let person = |name: &str| about.and_then(|about| about.get(name)?.get("subject")?.as_str());
    let who = person("requester").or_else(|| person("holder")).unwrap_or_default();
    let progress = progress(&event["data"]);
    let (id, action, resource, service) = (text("id"), text("action"), text("resource"), text("service"));
    format!("{at}  {kind:<20} {id}  {who}: {action} on {resource} of {service}{progress}")
}

/// How far a request has come, if the event says so.
fn progress(data: &Value) -> String {
    let open = data["stages"].as_array().and_then(|stages| stages.iter().find(|stage| stage["state"] == "open"));
    let Some(open) = open else { return String::new() };
    let awaited = data["awaited"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let awaited = awaited.collect::<Vec<_>>().join(", ");
    let name = open["name"].as_str().unwrap_or_default();
    format!("; {} of {} in {name}, waits for {awaited}", open["approvals"], open["needed"])
}

/// The first whole message of what has come, and how many bytes it has.
fn message(bytes: &[u8]) -> Option<(Message, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let mut message = Message::default();
    for line in String::from_utf8_lossy(bytes.get(..end)?).lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => message.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut message.kind),
            "data" => {
                if !message.data.is_empty() {
                    message.data.push('\n');
                }
                message.data.push_str(value);
            }
            // Comments keep the connection alive.
            _ => {}
        }
    }
    Some((message, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_one_by_one_and_comments_are_none() {
        let stream = b": beat\n\nid: event_1\nevent: request.filed\ndata: {\"a\":\ndata: 1}\n\nevent: rea";
        let (first, used) = message(stream).unwrap();
        assert_eq!(first, Message::default());
        let (second, more) = message(&stream[used..]).unwrap();
        assert_eq!((second.id.as_deref(), second.kind.as_str()), (Some("event_1"), "request.filed"));
        assert_eq!(second.data, "{\"a\":\n1}");
        assert_eq!(message(&stream[used + more..]), None);
    }
}
