//! The mesh that is measured: a real control plane with grants, and one Envoy with a listener per variant.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use grantmesh_tests::{ALICE, Api, ControlPlane, LEA, OLAF, PATIENCE, Parts, Process, Upstream, text, until};
use serde_json::{Value, json};

use crate::load::{Thread, send};

/// The policy of the calls.
const POLICY: &str = include_str!("../../shared/policies/payments/policy.yaml");
/// The call that needs a grant, and the resource of the grant.
const GRANTED: &str = "POST /v1/accounts/acc-7/refunds";
/// The call that a role allows; such calls are counted, not recorded.
const BY_ROLE: &str = "GET /v1/accounts/acc-7/refunds";

/// Connections that are busy at once: a worker that is woken for every single request costs several times as much.
const CONNECTIONS: usize = 16;

/// One listener of the bench.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// The listener's place.
    listener: usize,
    call: &'static str,
}

/// The variants, in the order of a round.
pub(crate) const VARIANTS: [Variant; 5] = [
    Variant { name: "none", listener: 0, call: GRANTED },
    Variant { name: "again", listener: 1, call: GRANTED },
    Variant { name: "trivial", listener: 2, call: GRANTED },
    Variant { name: "role", listener: 3, call: BY_ROLE },
    Variant { name: "grant", listener: 3, call: GRANTED },
];

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Bench {
    admin: Api,
    addresses: Vec<SocketAddr>,
    worker: Thread,
    _envoy: Process,
    _upstream: Upstream,
    _control_plane: ControlPlane,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Starts it all and waits until the filter has the grants.
    ///
    /// # Errors
    /// If something does not start.
    pub(crate) async fn start(parts: &Parts, grants: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let control_plane = ControlPlane::start(parts, &folder.path().join("control-plane"), None, &[]).await?;
        fill(&control_plane, grants).await?;
        let upstream = Upstream::start().await?;
        let (key, _) = control_plane.public_keys().await?;
        let filter = json!({
            "services": ["payments"],
            "keys": [key],
            "credential": control_plane.filter_credential("bench").await?,
            "public_url": control_plane.url(),
        });
        let trivial = std::env::var_os("GRANTMESH_TRIVIAL_WASM").map(PathBuf::from);
        let trivial = trivial.context("`GRANTMESH_TRIVIAL_WASM` is not set\nrun `cargo dev bench overhead`")?;
        let listeners = [
            Vec::new(),
            Vec::new(),
            vec![wasm("trivial", &trivial.display().to_string(), "")],
            vec![wasm("grantmesh", &parts.filter.display().to_string(), &filter.to_string())],
        ];
        let config = json!({
            "node": { "id": "bench", "cluster": "bench" },
            "admin": { "address": address("127.0.0.1:0".parse()?) },
            "static_resources": {
                "listeners": listeners.into_iter().enumerate().map(|(place, filters)| listener(place, filters)).collect::<Vec<_>>(),
                "clusters": [cluster("upstream", upstream.address()), cluster("grantmesh", control_plane.address())],
            },
        });
        let path = folder.path().join("envoy.json");
        std::fs::write(&path, config.to_string())?;
        let told = folder.path().join("admin");
        let mut command = Command::new(&parts.envoy);
        command.args([
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
            "--disable-hot-restart",
            "--log-level",
            "warning",
        ]);
        command.arg("-c").arg(&path).arg("--admin-address-path").arg(&told);
        let mut envoy = Process::start("Envoy", &mut command, &folder.path().join("envoy.log"))?;
        let admin = until("Envoy tells its admin address", PATIENCE, async || {
            envoy.alive()?;
            Ok(std::fs::read_to_string(&told).ok().filter(|address| address.parse::<SocketAddr>().is_ok()))
        })
        .await?;
        let admin = Api::new(&format!("http://{admin}"), None)?;
        let addresses = until("Envoy listens", PATIENCE, async || {
            let listeners = admin.get("/listeners?format=json").await?.json()?;
            let found: Vec<SocketAddr> = (0..4).filter_map(|place| listening(&listeners, place)).collect();
            Ok((found.len() == 4).then_some(found))
        })
        .await?;
        let worker = Thread::find(envoy.id(), "wrk:worker_0")?;
        let bench = Self {
            admin,
            addresses,
            worker,
            _envoy: envoy,
            _upstream: upstream,
            _control_plane: control_plane,
            _folder: folder,
        };
        for variant in VARIANTS {
            until("the filter lets the calls through", PATIENCE, async || Ok(bench.burst(variant, 1).await.ok()))
                .await?;
        }
        Ok(bench)
    }

    async fn burst(&self, variant: Variant, requests: usize) -> Result<()> {
        let address = self.addresses.get(variant.listener).context("no such listener")?;
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

    /// Microseconds of the worker's CPU for one request, with the records that it makes.
    ///
    /// # Errors
    /// If a call is not answered with 200.
    pub(crate) async fn measure(&self, variant: Variant, requests: usize) -> Result<f64> {
        self.settled().await?;
        let before = self.worker.cpu_nanos()?;
        self.burst(variant, requests).await?;
        self.settled().await?;
        let nanos = self.worker.cpu_nanos()?.saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(nanos as f64 / 1_000.0 / requests.next_multiple_of(CONNECTIONS) as f64)
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
        reviewer.post(&reviews, &json!({ "verdict": "approve", "reason": "bench" })).await?.expect(201)?;
    }
    Ok(())
}

fn address(socket: SocketAddr) -> Value {
    json!({ "socket_address": { "address": socket.ip().to_string(), "port_value": socket.port() } })
}

fn listening(listeners: &Value, place: usize) -> Option<SocketAddr> {
    let name = format!("bench-{place}");
    let all = listeners.get("listener_statuses")?.as_array()?;
    let socket = all.iter().find(|status| status["name"] == name.as_str())?.pointer("/local_address/socket_address")?;
    format!("{}:{}", socket["address"].as_str()?, socket["port_value"]).parse().ok()
}

fn cluster(name: &str, to: SocketAddr) -> Value {
    let endpoint = json!({ "endpoint": { "address": address(to) } });
    json!({ "name": name, "connect_timeout": "1s", "type": "STATIC", "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] } })
}

fn typed(kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/{kind}"));
    config
}

/// The identity, put where jwt_authn puts it, in all variants alike: so that verifying tokens is not what is measured.
fn identity() -> Value {
    let payload = json!({ "jwt_payload": { "iss": "https://dev-issuer.grantmesh.invalid", "sub": ALICE.name, "groups": ALICE.groups, "aud": "grantmesh" } });
    let metadata =
        json!([{ "metadata_namespace": "envoy.filters.http.jwt_authn", "value": payload, "allow_overwrite": true }]);
    let config = typed("envoy.extensions.filters.http.set_metadata.v3.Config", json!({ "metadata": metadata }));
    json!({ "name": "identity", "typed_config": config })
}

fn wasm(name: &str, file: &str, configuration: &str) -> Value {
    let vm = json!({ "vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": { "local": { "filename": file } } });
    let text = typed("google.protobuf.StringValue", json!({ "value": configuration }));
    let plugin = json!({ "name": name, "vm_config": vm, "configuration": text, "failure_policy": "FAIL_RELOAD" });
    let config = typed("envoy.extensions.filters.http.wasm.v3.Wasm", json!({ "config": plugin }));
    json!({ "name": name, "typed_config": config })
}

fn listener(place: usize, filters: Vec<Value>) -> Value {
    let router =
        json!({ "name": "router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router", json!({})) });
    let chain: Vec<Value> = std::iter::once(identity()).chain(filters).chain(std::iter::once(router)).collect();
    let route = json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream" } });
    let manager = json!({
        "stat_prefix": format!("bench-{place}"),
        "http_filters": chain,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
    });
    let manager = typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", manager);
    json!({
        "name": format!("bench-{place}"),
        "address": address(SocketAddr::from(([127, 0, 0, 1], 0))),
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    })
}
