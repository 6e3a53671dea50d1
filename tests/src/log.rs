//! The audit log as stories read it: the decisions of filters, by the id of the call.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde_json::Value;

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
        let envoy = self.envoy()?;
        // One look alone could be at a moment between two hand-overs of the counters.
        let mut before = None;
        until("every record is acknowledged", PATIENCE * 30, async || {
            let made = envoy.stat("grantmesh.records.made").await?;
            let acknowledged = envoy.stat("grantmesh.records.acknowledged").await?;
            let kept = envoy.stat("grantmesh.records.kept").await?;
            let seen = (made == acknowledged && kept == 0).then_some(made);
            let settled = seen.is_some() && before.replace(seen) == Some(seen);
            Ok(settled.then_some(()))
        })
        .await?;
        let api = self.control_plane.api(&OLAF).await?;
        let (mut found, mut from) = (HashMap::new(), 0_u64);
        loop {
            let page = api.get(&format!("/v1/audit/entries?from={from}")).await?.expect(200)?;
            let entries = member(&page, "/entries")?.as_array().context("`entries` is no list")?;
            for entry in entries {
                let mut entry: Value = serde_json::from_str(text(entry, "/entry")?)?;
                let event = entry.pointer_mut("/data/record/event").map(Value::take);
                if let Some((event, id)) =
                    event.and_then(|event| event["request_id"].as_str().map(str::to_owned).map(|id| (event, id)))
                {
                    found.insert(id, event);
                }
            }
            from += u64::try_from(entries.len())?;
            if entries.is_empty() || Some(from) == member(&page, "/size")?.as_u64() {
                return Ok(found);
            }
        }
    }
}
