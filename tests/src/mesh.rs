//! Everything together, as the stories and the demo use it: a control plane with the payments policy, an Envoy with the
//! filter, the upstream behind it, and what people do with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::{Api, Reply};
use crate::cable::Cable;
use crate::control_plane::ControlPlane;
use crate::envoy::{Bodies, Delivery, Envoy, EnvoySetup};
use crate::json::{member, text};
use crate::parts::Parts;
use crate::people::{ALICE, LEA, OLAF, Person};
use crate::postgres::Postgres;
use crate::turns::{Counted, Turns};
use crate::upstream::Upstream;
use crate::wait::{PATIENCE, until};
use crate::wall_clock::WallClock;

/// The example policy.
pub const PAYMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/policies/payments/policy.yaml");

/// VMs of one Envoy: two workers and the main thread.
const VMS: usize = 3;

/// Where the control plane keeps its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Database {
    /// A file in its data folder.
    #[default]
    Sqlite,
    /// A PostgreSQL of the story's own.
    Postgres,
}

/// What a story wants to start with.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Where the control plane keeps its state.
    pub database: Database,
    /// How the filter comes into Envoy.
    pub delivery: Delivery,
    /// What the filter does with bodies.
    pub bodies: Bodies,
    /// Whether there is an Envoy at all.
    pub envoy: bool,
    /// The size of all request headers that Envoy accepts.
    pub max_request_headers_kb: u32,
    /// The file of the policy.
    pub policy: &'static str,
    /// What is different in Envoy's configuration; it also gets the story's folder.
    pub change: fn(&mut Value, &Path),
    /// Whether refunds are `standard` and not `critical`: then they need no word of the control plane.
    pub standard_refunds: bool,
    /// Further arguments of `grantmesh serve`.
    pub serve: &'static [&'static str],
    /// Whose wall clock the story sets.
    pub wrong_clock: Option<Whose>,
    /// Whether the turns of Envoy's workers are counted; not with a wrong clock of its own.
    pub counted_turns: bool,
}

/// Who has a wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Envoy, and so the filter.
    Envoys,
    /// The control plane, and every command.
    ControlPlanes,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            database: Database::Sqlite,
            delivery: Delivery::Static,
            bodies: Bodies::Unread,
            envoy: true,
            max_request_headers_kb: 60,
            policy: PAYMENTS,
            change: |_, _| (),
            standard_refunds: false,
            serve: &[],
            wrong_clock: None,
            counted_turns: false,
        }
    }
}

/// The running whole. Dropped in the order of its fields.
#[derive(Debug)]
pub struct Mesh {
    envoy: Option<Envoy>,
    /// The wire between Envoy and the control plane.
    pub cable: Cable,
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The service behind Envoy.
    pub upstream: Upstream,
    parts: Parts,
    setup: Setup,
    clock: Option<WallClock>,
    turns: Option<Turns>,
    _postgres: Option<Postgres>,
    folder: TempDir,
}

impl Mesh {
    /// Starts everything, applies the payments policy and waits until every VM of the filter has it.
    ///
    /// # Errors
    /// If a part does not start.
    pub async fn start(setup: Setup) -> Result<Self> {
        let parts = Parts::from_environment()?;
        let folder = TempDir::with_prefix("grantmesh-")?;
        let postgres = match setup.database {
            Database::Sqlite => None,
            Database::Postgres => Some(Postgres::start(&parts).await?),
        };
        let upstream = Upstream::start().await?;
        let database = postgres.as_ref().map(Postgres::url);
        let clock = setup.wrong_clock.map(|_| WallClock::stated_in(&folder.path().join("clock"))).transpose()?;
        let turns = setup.counted_turns.then(|| Turns::counted_in(&folder.path().join("turns"))).transpose()?;
        let its_clock = clock.clone().filter(|_| setup.wrong_clock == Some(Whose::ControlPlanes));
        let control_plane =
            ControlPlane::start(&parts, &folder.path().join("control-plane"), database, setup.serve, its_clock).await?;
        let cable = Cable::lay(control_plane.address()).await?;
        let mut mesh = Self {
            envoy: None,
            cable,
            control_plane,
            upstream,
            parts,
            setup,
            clock,
            turns,
            _postgres: postgres,
            folder,
        };
        match mesh.begin().await {
            Ok(()) => Ok(mesh),
            Err(error) => {
                let envoy = mesh.envoy.as_ref().map(|envoy| envoy.process().log_tail()).unwrap_or_default();
                Err(error
                    .context(format!("the control plane's log:\n{}\nEnvoy's log:\n{envoy}", mesh.control_plane.log())))
            }
        }
    }

    async fn begin(&mut self) -> Result<()> {
        let mut policy = PathBuf::from(self.setup.policy);
        if self.setup.standard_refunds {
            let text = std::fs::read_to_string(&policy)?.replace("criticality: critical", "criticality: standard");
            policy = self.folder.path().join("policy.yaml");
            std::fs::write(&policy, text)?;
        }
        let apply = ["policy", "apply", &policy.display().to_string(), "--message", "the first policy"];
        self.control_plane.cli(&OLAF, &apply).await?.success()?;
        if self.setup.envoy {
            self.start_envoy().await?;
            self.until_all_follow().await?;
        }
        Ok(())
    }

    /// Starts an Envoy of its own in place of the one before, if there was one.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_envoy(&mut self) -> Result<()> {
        self.envoy = None;
        self.envoy = Some(self.another_envoy("envoy").await?);
        Ok(())
    }

    /// An Envoy beside the mesh's own, in a folder of this name.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn another_envoy(&self, name: &str) -> Result<Envoy> {
        let (key, _) = self.control_plane.public_keys().await?;
        let anybody = Api::new(&self.control_plane.url(), None)?;
        let setup = EnvoySetup {
            upstream: self.upstream.address(),
            control_plane: self.cable.address(),
            public_url: self.control_plane.url(),
            jwks: anybody.get("/dev/jwks.json").await?.expect(200)?,
            key,
            credential: self.control_plane.filter_credential("payments-1").await?,
            delivery: self.setup.delivery,
            bodies: self.setup.bodies,
            max_request_headers_kb: self.setup.max_request_headers_kb,
            change: self.setup.change,
            clock: self.clock.clone().filter(|_| self.setup.wrong_clock == Some(Whose::Envoys)),
            turns: self.turns.clone(),
        };
        Envoy::start(&self.parts, &self.folder.path().join(name), &setup).await
    }

    /// The wall clock that the story sets.
    ///
    /// # Errors
    /// If the story was set up without one.
    pub fn clock(&self) -> Result<&WallClock> {
        self.clock.as_ref().context("in this story all clocks are right")
    }

    /// What the turns of Envoy's workers took so far.
    ///
    /// # Errors
    /// If the story was set up without counting them.
    pub fn turns(&self) -> Result<Vec<Counted>> {
        self.turns.as_ref().context("in this story no turns are counted")?.read()
    }

    /// Ends Envoy at once: `kill -9`.
    pub fn kill_envoy(&mut self) {
        self.envoy = None;
    }

    /// The Envoy.
    ///
    /// # Errors
    /// If the story was set up without one.
    pub fn envoy(&mut self) -> Result<&mut Envoy> {
        self.envoy.as_mut().context("this story has no Envoy")
    }

    /// A folder that goes when the mesh goes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The real parts.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The control plane's and command line's program.
    #[must_use]
    pub fn grantmesh(&self) -> &PathBuf {
        &self.parts.grantmesh
    }

    /// Waits until three live VMs have applied everything that there is.
    ///
    /// # Errors
    /// If that does not happen.
    pub async fn until_all_follow(&self) -> Result<()> {
        let api = self.control_plane.api(&OLAF).await?;
        let mut last = Value::Null;
        let followed = until("every VM of the filter follows the state", PATIENCE, async || {
            last = api.get("/v1/fleet").await?.expect(200)?;
            let live: Vec<_> = filters(&last)?.iter().filter(|filter| filter["state"] == "live").collect();
            let first = live.first().map(|filter| &filter["applied"]).filter(|applied| applied.is_object());
            Ok((live.len() >= VMS && live.iter().all(|filter| Some(&filter["applied"]) == first)).then_some(()))
        });
        followed.await.with_context(|| last.to_string())
    }

    /// A caller: a client of Envoy with somebody's token.
    ///
    /// # Errors
    /// If no token can be made.
    pub async fn caller(&mut self, person: &Person) -> Result<Api> {
        let token = self.control_plane.token(person).await?;
        Api::new(&self.envoy()?.url(), Some(token))
    }

    /// One call through Envoy, on a connection of its own.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn call(&mut self, person: &Person, method: Method, path: &str) -> Result<Reply> {
        self.caller(person).await?.send(method, path, None).await
    }

    /// Alice calls for a refund on an account.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn refund(&mut self, account: &str) -> Result<Reply> {
        self.call(&ALICE, Method::POST, &format!("/v1/accounts/{account}/refunds")).await
    }

    /// Waits until Alice's call for a refund is answered with this status by every worker: on 16 new connections in a row.
    ///
    /// # Errors
    /// If that does not happen.
    pub async fn until_refund_is(&mut self, account: &str, status: u16) -> Result<()> {
        let caller = self.caller(&ALICE).await?;
        let path = format!("/v1/accounts/{account}/refunds");
        until(&format!("a refund on {account} is answered with {status}"), PATIENCE, async || {
            for _ in 0..16 {
                if caller.reconnected()?.send(Method::POST, &path, None).await?.status != status {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// Alice asks for refunds on an account; the request.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn ask(&self, account: &str, duration: &str) -> Result<Value> {
        let body = json!({
            "service": "payments", "action": "refund.create", "resource": format!("account/{account}"),
            "justification": "the customer was charged twice", "duration": duration,
        });
        self.control_plane.api(&ALICE).await?.post("/v1/requests", &body).await?.expect(201)
    }

    /// Lea approves a request; the grant.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn approve(&self, request: &Value) -> Result<Value> {
        let path = format!("/v1/requests/{}/reviews", text(request, "/id")?);
        let review = json!({ "verdict": "approve", "reason": "seen the ticket" });
        let reply = self.control_plane.api(&LEA).await?.review(&path, &review).await?.expect(201)?;
        let grant = member(&reply, "/grant")?;
        ensure!(grant["state"] == "active", "the approval made no active grant: {reply}");
        Ok(grant.clone())
    }

    /// Alice asks and Lea approves; the grant.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn grant(&self, account: &str, duration: &str) -> Result<Value> {
        self.approve(&self.ask(account, duration).await?).await
    }

    /// Lea revokes a grant; the answer.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn revoke(&self, grant: &Value, wait: Option<Duration>) -> Result<Value> {
        let mut body = json!({ "reason": "no longer needed" });
        if let Some(wait) = wait {
            body["wait"] = json!(format!("{}s", wait.as_secs()));
        }
        let path = format!("/v1/grants/{}/revoke", text(grant, "/id")?);
        self.control_plane.api(&LEA).await?.post(&path, &body).await?.expect(200)
    }
}

/// The entries of an answer of `/v1/fleet`.
fn filters(fleet: &Value) -> Result<&Vec<Value>> {
    member(fleet, "/filters")?.as_array().with_context(|| format!("`filters` is no list in {fleet}"))
}
