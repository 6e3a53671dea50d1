//! The audit log as stories read it: as a whole, or the decisions of filters by the id of the call.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::api::Api;
use crate::json::{member, text};
use crate::mesh::Mesh;
use crate::people::OLAF;
use crate::wait::{PATIENCE, until};

impl Mesh {
    /// Waits until every record that the filters made is in the log, and gives the decisions by `x-request-id`.
    ///
    /// # Errors
    /// If records do not arrive.
    pub async fn decisions(&mut self) -> Result<HashMap<String, Value>> {
        let api = self.control_plane.api(&OLAF).await?;
        let envoy = self.envoy()?;
        // A VM hands its counters over with its ticks and tells the control plane its own count with its heartbeats: what
        // either shows may be from before the last call. So every VM must have been heard twice since now.
        let mut heard: HashMap<String, (String, usize)> = HashMap::new();
        until("every record is acknowledged", PATIENCE * 30, async || {
            let fleet = api.get("/v1/fleet").await?.expect(200)?;
            let live = member(&fleet, "/filters")?.as_array().context("`filters` is no list")?.iter();
            let live: Vec<&Value> = live.filter(|filter| filter["state"] == "live").collect();
            let mut all_heard = !live.is_empty();
            for filter in live {
                let seen = text(filter, "/last_seen")?;
                let (last, times) =
                    heard.entry(text(filter, "/vm")?.to_owned()).or_insert_with(|| (seen.to_owned(), 0));
                if last != seen {
                    (*last, *times) = (seen.to_owned(), *times + 1);
                }
                all_heard &= *times >= 2 && filter["records"]["queued"] == 0;
            }
            let made = envoy.stat("grantmesh.records.made").await?;
            let acknowledged = envoy.stat("grantmesh.records.acknowledged").await?;
            Ok((all_heard && made == acknowledged).then_some(()))
        })
        .await?;
        let mut found = HashMap::new();
        for mut entry in entries(&api).await? {
            let event = entry.pointer_mut("/data/record/event").map(Value::take);
            let Some(event) = event else { continue };
            // A record may list calls like its first.
            let more = event["more"].as_array().into_iter().flatten();
            for call in std::iter::once(&event).chain(more) {
                if let Some(id) = call["request_id"].as_str() {
                    found.insert(id.to_owned(), event.clone());
                }
            }
        }
        Ok(found)
    }
}

/// The whole log, page by page.
///
/// # Errors
/// If it cannot be read.
pub async fn entries(api: &Api) -> Result<Vec<Value>> {
    let mut log: Vec<Value> = Vec::new();
    loop {
        let page = api.get(&format!("/v1/audit/entries?from={}&limit=500", log.len())).await?.expect(200)?;
        let entries = member(&page, "/entries")?.as_array().context("`entries` is no list")?;
        for entry in entries {
            log.push(serde_json::from_str(text(entry, "/entry")?)?);
        }
        if entries.is_empty() || member(&page, "/size")?.as_u64() == u64::try_from(log.len()).ok() {
            return Ok(log);
        }
    }
}
