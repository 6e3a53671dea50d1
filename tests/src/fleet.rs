//! Many filters without proxies: each is the filter's own `Plugin`, with HTTP in place of Envoy's callouts and a timer in
//! place of its tick. Driven by the story's own thread, as each VM is by its worker's.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use grantmesh_filter::clock::Mono;
use grantmesh_filter::config::Config;
use grantmesh_filter::flow::Shown;
use grantmesh_filter::headers::{Headers, serialise};
use grantmesh_filter::identity::Identity;
use grantmesh_filter::plugin::{Plugin, Turn, Verdict};
use grantmesh_filter::question::{Answer, Question, Topic};
use grantmesh_filter::waiting::Caller;
use grantmesh_shared::wire::signature::SIGNATURE_HEADER;
use grantmesh_shared::wire::sync::Position;
use reqwest::Client;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

use crate::control_plane::ControlPlane;
use crate::people::Person;

/// What a proxy's tick is.
const TICK: Duration = Duration::from_millis(250);

/// Filters of one simulated proxy: its workers and its main thread.
const VMS_PER_NODE: usize = 10;

const ISSUER: &str = "https://dev-issuer.grantmesh.invalid";

/// One filter.
#[derive(Debug)]
pub struct Filter {
    plugin: RefCell<Plugin>,
    config: Rc<Config>,
    server: String,
    client: Client,
    begun: Instant,
    /// Told when something was answered, so that what is due next is asked at once.
    answered: Notify,
    under_way: RefCell<HashMap<Topic, JoinHandle<()>>>,
    driver: RefCell<Option<JoinHandle<()>>>,
}

/// Many filters of the payments service. To be started and used inside a `LocalSet`.
#[derive(Debug)]
pub struct Fleet {
    filters: Vec<Rc<Filter>>,
}

impl Fleet {
    /// Starts filters.
    ///
    /// # Errors
    /// If there are no credentials for them.
    pub async fn start(control_plane: &ControlPlane, size: usize) -> Result<Self> {
        let (key, _) = control_plane.public_keys().await?;
        // Nothing is answered later than this; a poll is held for 25 s.
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let mut filters = Vec::with_capacity(size);
        let mut config = None;
        for at in 0..size {
            let node = format!("payments-{}", at / VMS_PER_NODE);
            if at % VMS_PER_NODE == 0 {
                let text = json!({
                    "services": ["payments"], "keys": [key], "public_url": control_plane.url(),
                    "credential": control_plane.filter_credential(&node).await?,
                });
                config = Some(Rc::new(Config::parse(text.to_string().as_bytes())?));
            }
            let config = config.clone().context("no configuration")?;
            let mut seed = [7; 32];
            seed.iter_mut().zip(at.to_le_bytes()).for_each(|(into, byte)| *into = byte);
            let filter = Rc::new(Filter {
                plugin: RefCell::new(Plugin::new(&config, node, seed, Mono::default())),
                config,
                server: control_plane.url(),
                client: client.clone(),
                begun: Instant::now(),
                answered: Notify::new(),
                under_way: RefCell::default(),
                driver: RefCell::default(),
            });
            filter.connect();
            filters.push(filter);
        }
        Ok(Self { filters })
    }

    /// The filters.
    #[must_use]
    pub fn filters(&self) -> &[Rc<Filter>] {
        &self.filters
    }

    /// Whether every filter decides this call of a person by this status: 200 stands for let through.
    #[must_use]
    pub fn all_answer(&self, person: &Person, method: &str, path: &str, status: u16) -> bool {
        self.filters.iter().all(|filter| filter.decide(person, method, path) == status)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The tasks hold their filters; without this neither would ever go.
        self.filters.iter().for_each(|filter| filter.cut_off());
    }
}

impl Filter {
    /// Its VM's id.
    #[must_use]
    pub fn vm(&self) -> String {
        self.plugin.borrow().sync().filter().vm.to_string()
    }

    /// What it has applied.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.plugin.borrow().sync().position()
    }

    /// Ends every conversation and begins no new one: the network is gone, the filter is not.
    pub fn cut_off(&self) {
        if let Some(driver) = self.driver.borrow_mut().take() {
            driver.abort();
        }
        for (topic, task) in self.under_way.borrow_mut().drain() {
            task.abort();
            // What a proxy says of a connection that broke; nothing is under way where the answer had already come.
            let nothing = Answer { status: b"", signature: None, body: b"" };
            let _unreachable = self.plugin.borrow_mut().answered(topic, &nothing, self.now());
        }
    }

    /// Begins to follow the state, or goes on after [`Self::cut_off`].
    pub fn connect(self: &Rc<Self>) {
        let this = Rc::clone(self);
        let driver = spawn_local(async move {
            let mut tick = tokio::time::interval(TICK);
            loop {
                for question in this.due() {
                    let (topic, asker) = (question.topic, Rc::clone(&this));
                    let task = spawn_local(async move { asker.ask(question).await });
                    let before = this.under_way.borrow_mut().insert(topic, task);
                    // One that was given up: its answer belongs to nothing.
                    before.inspect(JoinHandle::abort);
                }
                tokio::select! {
                    _ = tick.tick() => {}
                    () = this.answered.notified() => {}
                }
            }
        });
        *self.driver.borrow_mut() = Some(driver);
    }

    /// The status that a call of a person is answered with: 200 stands for let through.
    #[must_use]
    pub fn decide(&self, person: &Person, method: &str, path: &str) -> u16 {
        let map = serialise(&[
            (b":method", method.as_bytes()),
            (b":path", path.as_bytes()),
            (b":authority", b"payments.example.com"),
        ]);
        let Ok(headers) = Headers::parse(&map) else { return 400 };
        let identity =
            Identity { user: Some((ISSUER, person.name)), groups: person.groups.to_vec(), ..Identity::default() };
        let mut plugin = self.plugin.borrow_mut();
        // There is one call at a time; one that would wait for its record is let through.
        let turn = Turn::First(Caller { context: 1, ..Caller::default() });
        let verdict = plugin.decide(turn, Shown::Nothing, &self.config, &headers, &Ok(identity), self.now());
        plugin.gone(1, self.now());
        match verdict {
            Verdict::Answer(reply) => reply.status,
            Verdict::Pass | Verdict::Mask | Verdict::Once { .. } | Verdict::Wait | Verdict::AwaitBody { .. } => 200,
        }
    }

    fn now(&self) -> Mono {
        Mono::from_nanos(u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn due(&self) -> Vec<Question> {
        self.plugin.borrow_mut().due(self.now())
    }

    async fn ask(&self, question: Question) {
        let topic = question.topic;
        let (status, signature, body) = self.post(question).await.unwrap_or_default();
        let answer = Answer { status: status.as_bytes(), signature: signature.as_deref(), body: &body };
        // A failure is planned for by the plugin; a story sees it in what the filter does not know.
        let _told = self.plugin.borrow_mut().answered(topic, &answer, self.now());
        self.answered.notify_one();
    }

    async fn post(&self, question: Question) -> Result<(String, Option<Vec<u8>>, Vec<u8>)> {
        let request = self.client.post(format!("{}{}", self.server, question.path));
        let request = request.bearer_auth(&self.config.credential).header("content-type", "application/json");
        let response = request.timeout(question.timeout.duration()).body(question.body).send().await?;
        let status = response.status().as_str().to_owned();
        let signature = response.headers().get(SIGNATURE_HEADER).map(|value| value.as_bytes().to_vec());
        Ok((status, signature, response.bytes().await?.to_vec()))
    }
}
