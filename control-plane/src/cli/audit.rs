//! Commands about the audit log: read its latest entries, recompute all of it.

use std::time::Duration;

use grantmesh_shared::text::visible;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, ClientError};
use super::output::{Output, Tone};
use super::{AuditTailArgs, AuditVerifyArgs, Failure, tables};
use crate::app::verify_database;
use crate::audit::{AuditError, Frontier, LogHash, LogVerifier};
use crate::http::bodies::{EntriesView, EntryView};

/// How often `--follow` asks for new entries.
const FOLLOW: Duration = Duration::from_secs(1);

/// The most entries in one answer.
const PAGE: u64 = 500;

/// The log is not what its head says.
#[derive(Debug, thiserror::Error)]
#[error("the audit log is wrong: {0}\nkeep a copy of the database before anything else is done with it")]
struct Wrong(String);

/// What was found right.
struct Verified {
    size: u64,
    root: LogHash,
    signed: bool,
}

pub(super) async fn tail(args: AuditTailArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let size = entries(&client, 0, 1).await?.size;
    let mut next = size.saturating_sub(u64::from(args.limit));
    let mut period = tokio::time::interval(FOLLOW);
    loop {
        loop {
            let page = entries(&client, next, PAGE).await?;
            let Some(last) = page.entries.last() else {
                break;
            };
            next = last.seq.saturating_add(1);
            page.entries.iter().for_each(|entry| tell(entry, args.client.json, out));
            if next >= page.size {
                break;
            }
        }
        if !args.follow {
            return Ok(());
        }
        period.tick().await;
    }
}

async fn entries(client: &Client, from: u64, limit: u64) -> Result<EntriesView, ClientError> {
    let query = [("from", from.to_string()), ("limit", limit.to_string())];
    client.read(&client.get("/v1/audit/entries", &query).await?)
}

/// What a line shows of an entry.
#[derive(Deserialize)]
struct Line {
    at: Option<Value>,
    kind: String,
    actor: Option<Value>,
    #[serde(default)]
    ids: Value,
    #[serde(default)]
    data: Value,
}

fn tell(entry: &EntryView, as_json: bool, out: &mut Output) {
    if as_json {
        return out.line(&entry.entry);
    }
    let Ok(line) = serde_json::from_str::<Line>(&entry.entry) else {
        return out.line(&entry.entry);
    };
    let at = line.at.map(|at| match at {
        Value::String(text) => tables::when(&text),
        other => other.as_i64().map_or_else(
            || other.to_string(),
            |at| tables::when(&grantmesh_shared::time::Timestamp::from_millis(at).to_string()),
        ),
    });
    let actor = line.actor.map(|actor| {
        match actor.pointer("/user/subject").or_else(|| actor.get("subject")).and_then(Value::as_str) {
            Some(subject) => subject.to_owned(),
            None => actor.as_str().map_or_else(|| actor.to_string(), str::to_owned),
        }
    });
    let ids: Vec<&str> =
        line.ids.as_object().into_iter().flat_map(|ids| ids.values()).filter_map(Value::as_str).collect();
    // A filter's decision tells what it is in its record; everything else in the entry itself.
    let told = line.data.pointer("/record/event").unwrap_or(&line.data);
    let words = ["decision", "subject", "workload", "action", "resource", "verdict"]
        .iter()
        .filter_map(|name| told.get(*name)?.as_str());
    let words: Vec<&str> = words.collect();
    // What stands for more than one decision says for how many.
    let count = ["count", "dropped"].iter().find_map(|name| told.get(*name)?.as_u64());
    let count = count.map(|count| format!(" ×{count}")).unwrap_or_default();
    // A call that was let through and reset while it ran.
    let reason = told.get("ended").and_then(|_| told.pointer("/reasons/0")?.as_str());
    let reset = reason.map(|reason| format!(" reset: {reason}")).unwrap_or_default();
    let (at, actor) = (at.unwrap_or_default(), visible(&actor.unwrap_or_default()));
    out.line(format_args!(
        "{:>6}  {at}  {:<18} {actor:<10} {}{count}{reset}  {}",
        entry.seq,
        line.kind,
        visible(&words.join(" ")),
        ids.join(" ")
    ));
}

pub(super) async fn verify(args: AuditVerifyArgs, out: &mut Output) -> Result<(), Failure> {
    let verified = match &args.database {
        Some(database) => from_database(database).await?,
        None => from_server(&Client::new(&args.client)?, args.log_key.as_deref()).await?,
    };
    let Verified { size, root, signed } = verified;
    if args.client.json {
        return Ok(out.json(
            &json!({ "size": size, "root": root.to_string(), "verified": size, "signed": signed, "fault": null }),
        )?);
    }
    let word = out.toned(Tone::Good, "whole");
    out.line(format_args!("the audit log is {word}: {size} entries, root {root}"));
    if !signed && args.database.is_none() {
        out.remark("the checkpoint's signature was not checked\nadd `--log-key VKEY` with the key that `grantmesh keygen` printed");
    }
    Ok(())
}

async fn from_database(database: &str) -> Result<Verified, Failure> {
    let report = verify_database(database).await?;
    match report.fault {
        Some(fault) => Err(Wrong(fault).into()),
        None => Ok(Verified { size: report.size, root: report.root, signed: false }),
    }
}

/// Recomputes the tree from all entries that the server gives and compares it with the checkpoint it signed before.
async fn from_server(client: &Client, log_key: Option<&str>) -> Result<Verified, Failure> {
    let note = client.get_text("/v1/audit/checkpoint").await?;
    let (size, root) = match log_key {
        Some(vkey) => {
            let checkpoint = LogVerifier::parse(vkey)?.verify(note.as_bytes())?;
            (checkpoint.size, checkpoint.root)
        }
        None => unsigned(&note).ok_or_else(|| AuditError::Checkpoint("it is not one".to_owned()))?,
    };
    let mut tree = Frontier::default();
    while tree.size() < size {
        let page = entries(client, tree.size(), PAGE.min(size.saturating_sub(tree.size()))).await?;
        if page.entries.is_empty() {
            return Err(Wrong(format!("entry {} is missing", tree.size())).into());
        }
        for entry in page.entries {
            let leaf = LogHash::of_entry(entry.entry.as_bytes());
            if entry.seq != tree.size() {
                return Err(Wrong(format!("entry {} is missing", tree.size())).into());
            }
            if LogHash::parse(&entry.leaf_hash) != Some(leaf) {
                return Err(Wrong(format!("entry {} is not what was hashed when it was written", entry.seq)).into());
            }
            tree.append(leaf)?;
        }
    }
    let found = tree.root()?;
    if found != root {
        return Err(Wrong(format!("the root of {size} entries is {found}, but the checkpoint says {root}")).into());
    }
    Ok(Verified { size, root, signed: log_key.is_some() })
}

/// Size and root of a checkpoint whose signature nobody can check here.
fn unsigned(note: &str) -> Option<(u64, LogHash)> {
    use base64::Engine as _;
    let mut lines = note.lines().skip(1);
    let size = lines.next()?.parse().ok()?;
    let root = base64::engine::general_purpose::STANDARD.decode(lines.next()?).ok()?;
    Some((size, LogHash(root.try_into().ok()?)))
}
