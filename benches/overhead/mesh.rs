//! The mesh that is measured: a real control plane with grants, and one Envoy with a listener per variant.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use grantmesh_tests::{ALICE, Api, ControlPlane, LEA, OLAF, PATIENCE, Parts, Process, Upstream, text, until};
use serde_json::{Value, json};

use crate::config::{address, cluster, listener, listening, wasm};
use crate::cpu::{Thread, nanos_but_main, nanos_of_all};
use crate::load::send;
use crate::peers::{self, AlwaysAllow};
use crate::report::Cost;
use crate::variants::{Chain, Variant};

/// The policy of the calls.
const POLICY: &str = include_str!("../../shared/policies/payments/policy.yaml");

/// Connections that are busy at once: a worker that is woken for every single request costs several times as much.
const CONNECTIONS: usize = 16;

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Bench {
    admin: Api,
    listeners: Vec<(Chain, SocketAddr)>,
    worker: Thread,
    envoy: Process,
    server: AlwaysAllow,
    _upstream: Upstream,
    _control_plane: ControlPlane,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Starts it all and waits until every variant's call goes through.
    ///
    /// # Errors
    /// If something does not start.
    pub(crate) async fn start(parts: &Parts, variants: &[Variant], grants: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let control_plane = ControlPlane::start(parts, &folder.path().join("control-plane"), None, &[], None).await?;
        if variants.iter().any(|variant| variant.chain == Chain::Grantmesh) {
            fill(&control_plane, grants).await?;
        }
        let upstream = Upstream::start().await?;
        let server = AlwaysAllow::start(folder.path()).await?;
        let mut chains: Vec<Chain> = Vec::new();
        for variant in variants {
            if !chains.contains(&variant.chain) {
                chains.push(variant.chain);
            }
        }
        let mut listeners = Vec::new();
        for (place, chain) in chains.iter().enumerate() {
            listeners.push(listener(place, filter(parts, &control_plane, *chain).await?));
        }
        let mut clusters = vec![cluster("upstream", upstream.address()), cluster("grantmesh", control_plane.address())];
        clusters.extend(server.clusters());
        let config = json!({
            "node": { "id": "bench", "cluster": "bench" },
            "admin": { "address": address("127.0.0.1:0".parse()?) },
            "static_resources": { "listeners": listeners, "clusters": clusters },
        });
        let (mut envoy, admin) = start_envoy(parts, folder.path(), &config).await?;
        let addresses = until("Envoy listens", PATIENCE, async || {
            envoy.alive()?;
            let told = admin.get("/listeners?format=json").await?.json()?;
            let found: Vec<SocketAddr> = (0..chains.len()).filter_map(|place| listening(&told, place)).collect();
            Ok((found.len() == chains.len()).then_some(found))
        })
        .await?;
        let worker = Thread::find(envoy.id(), "wrk:worker_0")?;
        worker.take_the_first();
        let bench = Self {
            admin,
            listeners: chains.into_iter().zip(addresses).collect(),
            worker,
            envoy,
            server,
            _upstream: upstream,
            _control_plane: control_plane,
            _folder: folder,
        };
        for variant in variants {
            until(&format!("the call of `{}` goes through", variant.name), PATIENCE, async || {
                Ok(bench.burst(*variant, 1).await.ok())
            })
            .await?;
        }
        Ok(bench)
    }

    async fn burst(&self, variant: Variant, requests: usize) -> Result<()> {
        let (_, address) =
            self.listeners.iter().find(|(chain, _)| *chain == variant.chain).context("no such listener")?;
        let head = format!(
            "{} HTTP/1.1\r\nhost: payments\r\ncontent-length: 0\r\nuser-agent: bench\r\naccept: */*\r\n\r\n",
            variant.call
        );
        let mut connections = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS.min(requests) {
            let (address, head) = (*address, head.clone());
            connections.spawn(async move { send(address, &head, requests.div_ceil(CONNECTIONS)).await });
        }
        connections.join_all().await.into_iter().collect()
    }

    /// The CPU of one request, with the records that it makes.
    ///
    /// # Errors
    /// If a call is not answered with 200.
    pub(crate) async fn measure(&self, variant: Variant, requests: usize) -> Result<Cost> {
        self.settled().await?;
        let before = self.nanos()?;
        self.burst(variant, requests).await?;
        self.settled().await?;
        let after = self.nanos()?;
        let requests = requests.next_multiple_of(CONNECTIONS);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let micros = |before: u64, after: u64| after.saturating_sub(before) as f64 / 1_000.0 / requests as f64;
        Ok(Cost { worker: micros(before.0, after.0), total: micros(before.1, after.1) })
    }

    /// The CPU until now: of the worker, and of all that works on calls. Envoy's first thread works on none: it tells this
    /// bench the statistics.
    fn nanos(&self) -> Result<(u64, u64)> {
        let envoy = nanos_but_main(self.envoy.id())?;
        Ok((self.worker.nanos()?, envoy.saturating_add(nanos_of_all(self.server.id())?)))
    }

    /// Waits until every record that was made is acknowledged, so that each variant pays for its own.
    async fn settled(&self) -> Result<()> {
        until("the records are acknowledged", PATIENCE, async || {
            let stats = self.admin.get("/stats?format=json&filter=grantmesh.*records").await?.json()?;
            let value = |name: &str| {
                let all = stats.get("stats").and_then(Value::as_array).into_iter().flatten();
                let found = all.filter(|stat| stat["name"].as_str().is_some_and(|known| known.ends_with(name)));
                found.filter_map(|stat| stat["value"].as_u64()).sum::<u64>()
            };
            Ok((value("records.made") == value("records.acknowledged")).then_some(()))
        })
        .await
    }
}

async fn start_envoy(parts: &Parts, folder: &Path, config: &Value) -> Result<(Process, Api)> {
    let (path, told) = (folder.join("envoy.json"), folder.join("admin"));
    std::fs::write(&path, config.to_string())?;
    let mut command = Command::new(&parts.envoy);
    command.args(["--concurrency", "1", "--use-dynamic-base-id", "--disable-hot-restart", "--log-level", "warning"]);
    command.arg("-c").arg(&path).arg("--admin-address-path").arg(&told);
    let mut envoy = Process::start("Envoy", &mut command, &folder.join("envoy.log"))?;
    let admin = until("Envoy tells its admin address", PATIENCE, async || {
        envoy.alive()?;
        Ok(std::fs::read_to_string(&told).ok().filter(|address| address.parse::<SocketAddr>().is_ok()))
    })
    .await?;
    Ok((envoy, Api::new(&format!("http://{admin}"), None)?))
}

/// What stands in the listener of a chain.
async fn filter(parts: &Parts, control_plane: &ControlPlane, chain: Chain) -> Result<Option<Value>> {
    Ok(match chain {
        Chain::Trivial => {
            let module = std::env::var_os("GRANTMESH_TRIVIAL_WASM").map(PathBuf::from);
            let module = module.context("`GRANTMESH_TRIVIAL_WASM` is not set\nrun `cargo dev bench overhead`")?;
            Some(wasm("trivial", &module.display().to_string(), ""))
        }
        Chain::Grantmesh => {
            let (key, _) = control_plane.public_keys().await?;
            let configuration = json!({
                "services": ["payments"],
                "keys": [key],
                "credential": control_plane.filter_credential("bench").await?,
                "public_url": control_plane.url(),
                // These listeners have no TLS.
                "peer": "none",
            });
            Some(wasm("grantmesh", &parts.filter.display().to_string(), &configuration.to_string()))
        }
        peer_or_nothing => peers::filter(peer_or_nothing),
    })
}

/// Applies the example policy and gets `count` grants through the API; the last one is for the call that is measured.
async fn fill(control_plane: &ControlPlane, count: usize) -> Result<()> {
    let operator = control_plane.api(&OLAF).await?;
    // A critical call would wait for its record, and the network would be measured.
    let standard = POLICY.replace("criticality: critical", "criticality: standard");
    let policy = json!({ "files": [{ "name": "policy.yaml", "text": standard }] });
    operator.carrying("if-none-match", "*")?.post("/v1/policy", &policy).await?.expect(201)?;
    let (requester, reviewer) = (control_plane.api(&ALICE).await?, control_plane.api(&LEA).await?);
    for number in 0..count {
        let account = if number.wrapping_add(1) == count {
            "account/acc-7".to_owned()
        } else {
            format!("account/other-{number}")
        };
        let ask = json!({ "service": "payments", "action": "refund.create", "resource": account, "justification": "bench", "duration": "1h" });
        let request = requester.post("/v1/requests", &ask).await?.expect(201)?;
        let reviews = format!("/v1/requests/{}/reviews", text(&request, "/id")?);
        reviewer.review(&reviews, &json!({ "verdict": "approve", "reason": "bench" })).await?.expect(201)?;
    }
    Ok(())
}
