//! Envoy as a process: renders `deploy/envoy/envoy.yaml`, starts it on free ports, reads its statistics.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::api::Api;
use crate::json::{member, text};
use crate::parts::Parts;
use crate::process::Process;
use crate::turns::Turns;
use crate::wait::{PATIENCE, until};
use crate::wall_clock::WallClock;

const TEMPLATE: &str = include_str!("../../deploy/envoy/envoy.yaml");

const HTTP_FILTERS: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";

/// One that the others are cloned from, one for the main thread and one for each worker.
const VMS: u64 = 4;

/// How the filter's configuration gets into Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// In the bootstrap.
    #[default]
    Static,
    /// From a file that is watched and may be swapped ([`Envoy::swap_filter`]), as a mesh's control plane does it.
    Discovery,
}

/// What the filter does with bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bodies {
    /// Nothing: its module has no callbacks for them.
    #[default]
    Unread,
    /// It reads and masks them; heads cannot be held, as in an Istio WasmPlugin.
    HeadFirst,
    /// It reads and masks them, and may hold heads.
    Strict,
}

/// What an Envoy is started with.
#[derive(Debug, Clone)]
pub struct EnvoySetup {
    /// The service behind it.
    pub upstream: SocketAddr,
    /// The control plane, or the near end of a cable to it.
    pub control_plane: SocketAddr,
    /// Where people reach the control plane.
    pub public_url: String,
    /// The JWKS of the issuer.
    pub jwks: Value,
    /// The public key that the filter pins.
    pub key: String,
    /// The filter's credential.
    pub credential: String,
    /// How the filter comes.
    pub delivery: Delivery,
    /// What the filter does with bodies.
    pub bodies: Bodies,
    /// The size of all request headers that Envoy itself accepts.
    pub max_request_headers_kb: u32,
    /// What is different in the configuration; it also gets the story's folder.
    pub change: fn(&mut Value, &Path),
    /// Its wall clock, if that is not the machine's.
    pub clock: Option<WallClock>,
    /// Where its workers' turns are counted, if they are.
    pub turns: Option<Turns>,
}

/// A running Envoy with two workers.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    folder: PathBuf,
    admin: Api,
    address: SocketAddr,
    filter: Value,
}

impl Envoy {
    /// Starts one; all its files are in `folder`.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(parts: &Parts, folder: &Path, setup: &EnvoySetup) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("jwks.json"), setup.jwks.to_string())?;
        let (config, filter) = render(parts, folder, setup)?;
        std::fs::write(folder.join("envoy.json"), serde_json::to_string_pretty(&config)?)?;
        if setup.delivery == Delivery::Discovery {
            swap(folder, &filter)?;
        }
        let told = folder.join("admin-address");
        if told.exists() {
            std::fs::remove_file(&told)?;
        }
        let mut command = Command::new(&parts.envoy);
        if let Some(clock) = &setup.clock {
            clock.give_to(&mut command);
        }
        if let Some(turns) = &setup.turns {
            turns.give_to(&mut command);
        }
        command.args([
            "--concurrency",
            "2",
            "--use-dynamic-base-id",
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "--component-log-level",
            "wasm:info",
            "-c",
        ]);
        command.arg(folder.join("envoy.json")).arg("--admin-address-path").arg(&told);
        let mut process = Process::start("Envoy", &mut command, &folder.join("envoy.log"))?;
        let started = async {
            let admin = until("Envoy tells its admin address", PATIENCE, async || {
                process.alive()?;
                Ok(std::fs::read_to_string(&told).ok().filter(|address| address.parse::<SocketAddr>().is_ok()))
            })
            .await?;
            let admin = Api::new(&format!("http://{admin}"), None)?;
            let address = until("Envoy is live and listens", PATIENCE, async || {
                process.alive()?;
                if !admin.get("/ready").await.is_ok_and(|reply| reply.status == 200) {
                    return Ok(None);
                }
                let listeners = admin.get("/listeners?format=json").await?.json()?;
                let address = listeners.pointer("/listener_statuses/0/local_address/socket_address");
                address
                    .map(|address| {
                        Ok(format!("{}:{}", text(address, "/address")?, member(address, "/port_value")?).parse()?)
                    })
                    .transpose()
            })
            .await?;
            anyhow::Ok((admin, address))
        };
        let (admin, address) = match started.await {
            Ok(started) => started,
            Err(error) => return Err(error.context(process.log_tail())),
        };
        Ok(Self { process, folder: folder.to_owned(), admin, address, filter })
    }

    /// Where callers come in.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL for callers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What it takes for the time of day, in whole seconds: as it says in the `date` of an answer.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn date(&self) -> Result<SystemTime> {
        let reply = self.admin.get("/ready").await?;
        let date = reply.headers.get("date").context("no date")?.to_str()?;
        httpdate::parse_http_date(date).with_context(|| format!("`{date}` is no date"))
    }

    /// Freezes it; callers wait.
    ///
    /// # Errors
    /// If it is gone.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on after [`Self::freeze`].
    ///
    /// # Errors
    /// If it is gone.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// All counters and gauges whose name matches a regular expression.
    ///
    /// # Errors
    /// If Envoy does not answer.
    pub async fn stats(&self, filter: &str) -> Result<Vec<(String, u64)>> {
        let reply = self.admin.get(&format!("/stats?filter={filter}")).await?;
        ensure!(reply.status == 200, "{}", reply.text());
        let read = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(reply.text().lines().filter_map(read).collect())
    }

    /// The sum of all counters and gauges whose name matches a regular expression.
    ///
    /// # Errors
    /// If Envoy does not answer.
    pub async fn stat(&self, filter: &str) -> Result<u64> {
        Ok(self.stats(filter).await?.iter().map(|(_, value)| value).sum())
    }

    /// All statistics as Prometheus reads them.
    ///
    /// # Errors
    /// If Envoy does not answer.
    pub async fn prometheus(&self) -> Result<String> {
        let reply = self.admin.get("/stats/prometheus").await?;
        ensure!(reply.status == 200, "{}", reply.text());
        Ok(reply.text())
    }

    /// Changes the level of one of Envoy's loggers.
    ///
    /// # Errors
    /// If Envoy does not do it.
    pub async fn log_level(&self, logger: &str, level: &str) -> Result<()> {
        let reply = self.admin.send(reqwest::Method::POST, &format!("/logging?{logger}={level}"), None).await?;
        ensure!(reply.status == 200, "{}", reply.text());
        Ok(())
    }

    /// Checks that no VM of the filter was ever lost: none was reloaded, none is missing, the host refused none of the
    /// filter's calls, and no crash was logged.
    ///
    /// # Errors
    /// If one was lost.
    pub async fn filter_is_unharmed(&mut self) -> Result<()> {
        self.process.alive()?;
        lost_vm(&self.stats("^wasm").await?, &self.process.log())
    }

    /// Gives the filter its configuration anew, changed by `change`, by replacing the watched file in one step.
    ///
    /// # Errors
    /// If the filter was not delivered by [`Delivery::Discovery`].
    pub fn swap_filter(&mut self, change: impl FnOnce(&mut Value)) -> Result<()> {
        let pointer = "/typed_config/config/configuration/value";
        let mut plugin: Value = serde_json::from_str(text(&self.filter, pointer)?)?;
        change(&mut plugin);
        *self.filter.pointer_mut(pointer).context("no configuration")? = json!(plugin.to_string());
        swap(&self.folder, &self.filter)
    }
}

/// Envoy's configuration, and the entry of our filter in it.
fn render(parts: &Parts, folder: &Path, setup: &EnvoySetup) -> Result<(Value, Value)> {
    let mut rendered = TEMPLATE.to_owned();
    let path = |path: &Path| path.display().to_string();
    for (name, value) in [
        ("LISTEN_HOST", "127.0.0.1".to_owned()),
        ("LISTEN_PORT", "0".to_owned()),
        ("ADMIN_HOST", "127.0.0.1".to_owned()),
        ("ADMIN_PORT", "0".to_owned()),
        ("UPSTREAM_HOST", setup.upstream.ip().to_string()),
        ("UPSTREAM_PORT", setup.upstream.port().to_string()),
        ("CONTROL_PLANE_HOST", setup.control_plane.ip().to_string()),
        ("CONTROL_PLANE_PORT", setup.control_plane.port().to_string()),
        ("PUBLIC_URL", setup.public_url.clone()),
        ("ISSUER", "https://dev-issuer.grantmesh.invalid".to_owned()),
        ("AUDIENCE", "grantmesh".to_owned()),
        ("JWKS_FILE", path(&folder.join("jwks.json"))),
        ("FILTER_WASM", path(if setup.bodies == Bodies::Unread { &parts.filter } else { &parts.bodies })),
        ("FILTER_KEY", setup.key.clone()),
        ("FILTER_CREDENTIAL", setup.credential.clone()),
    ] {
        rendered = rendered.replace(&format!("${{{name}}}"), &value);
    }
    let mut config: Value =
        serde_saphyr::from_str(&rendered).context("deploy/envoy/envoy.yaml, rendered, is not YAML")?;
    if setup.bodies == Bodies::Strict {
        allow_holding_heads(&mut config)?;
    }
    // The folder of an Envoy lies in the one of its story.
    (setup.change)(&mut config, folder.parent().unwrap_or(folder));
    let manager =
        config.pointer_mut(HTTP_FILTERS.trim_end_matches("/http_filters")).context("no connection manager")?;
    manager["max_request_headers_kb"] = json!(setup.max_request_headers_kb);
    // Raw callers read until Envoy closes. By itself it gives them a second to close first.
    manager["delayed_close_timeout"] = json!("0s");
    let filters = config.pointer_mut(HTTP_FILTERS).and_then(Value::as_array_mut).context("no HTTP filters")?;
    let entry = filters.iter_mut().find(|entry| entry["name"] == "grantmesh").context("no filter named `grantmesh`")?;
    let filter = entry.clone();
    if setup.delivery == Delivery::Discovery {
        *entry = json!({
            "name": "grantmesh",
            "config_discovery": {
                "config_source": { "path_config_source": { "path": path(&folder.join("filter.json")), "watched_directory": { "path": path(folder) } } },
                "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
            },
        });
    }
    Ok((config, filter))
}

/// Lets the filter hold heads, and tells it so.
fn allow_holding_heads(config: &mut Value) -> Result<()> {
    let filters = config.pointer_mut(HTTP_FILTERS).and_then(Value::as_array_mut).context("no HTTP filters")?;
    let entry = filters.iter_mut().find(|entry| entry["name"] == "grantmesh").context("no filter named `grantmesh`")?;
    let plugin = &mut entry["typed_config"]["config"];
    plugin["allow_on_headers_stop_iteration"] = json!(true);
    let mut text: Value = serde_json::from_str(text(plugin, "/configuration/value")?)?;
    text["bodies"] = json!({ "hold_heads": true });
    plugin["configuration"]["value"] = json!(text.to_string());
    Ok(())
}

fn swap(folder: &Path, filter: &Value) -> Result<()> {
    let answer = json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "grantmesh",
        "typed_config": filter["typed_config"],
    }] });
    let (new, place) = (folder.join("filter.json.new"), folder.join("filter.json"));
    std::fs::write(&new, answer.to_string())?;
    std::fs::rename(new, place)?;
    Ok(())
}

/// Looks for a VM that was lost, in Envoy's statistics and in its log.
fn lost_vm(stats: &[(String, u64)], log: &str) -> Result<()> {
    let harmed = |name: &str| name.starts_with("wasm.grantmesh.vm_reload") || name.ends_with(".host_errors");
    let seen: Vec<_> = stats.iter().filter(|(name, value)| harmed(name) && *value > 0).collect();
    ensure!(seen.is_empty(), "Envoy counts lost VMs or refused host calls: {seen:?}");
    ensure!(
        stats.iter().any(|(name, _)| name == "wasm.grantmesh.vm_reload"),
        "Envoy no longer counts reloads: {stats:?}"
    );
    let active = stats.iter().find(|(name, _)| name == "wasm.envoy.wasm.runtime.v8.active");
    ensure!(active.is_some_and(|(_, value)| *value >= VMS), "VMs are missing: {stats:?}");
    let crash = |line: &&str| ["panicked", "RuntimeError", "Function: proxy_"].iter().any(|sign| line.contains(sign));
    let told: Vec<_> = log.lines().filter(crash).collect();
    ensure!(told.is_empty(), "Envoy logs a lost VM: {told:#?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_vm_is_seen() {
        let stats = |reloads, active, errors| {
            [
                ("wasm.grantmesh.vm_reload".to_owned(), reloads),
                ("wasm.envoy.wasm.runtime.v8.active".to_owned(), active),
                ("wasmcustom.grantmesh.host_errors".to_owned(), errors),
            ]
        };
        let fine = "[warning][wasm] wasm log grantmesh: sync: the control plane cannot be reached";
        assert!(lost_vm(&stats(0, 4, 0), fine).is_ok());
        assert!(lost_vm(&[], fine).is_err(), "an Envoy that counts otherwise is not one that counts nothing");
        for harmed in [stats(1, 4, 0), stats(0, 3, 0), stats(0, 4, 1)] {
            assert!(lost_vm(&harmed, fine).is_err(), "{harmed:?}");
        }
        for line in [
            "[critical][wasm] wasm log: thread '<unnamed>' panicked at src/lib.rs",
            "[error][wasm] Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable",
        ] {
            assert!(lost_vm(&stats(0, 4, 0), line).is_err(), "{line}");
        }
    }
}
