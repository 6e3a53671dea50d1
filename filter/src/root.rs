//! The root context: takes the configuration, then on every tick sends what is due and hands over what was counted.
//! Several can be alive in one VM, one per delivered configuration; only the newest asks, all decide from one table.
//! It never starts a callout while it is being configured: the proxy's trial VM would repeat it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;

use crate::clock::Mono;
use crate::config::{Config, ConfigError};
use crate::headers::Headers;
use crate::host::{self, Level, MetricKind};
use crate::http::Http;
use crate::plugin::Plugin;
use crate::question::{Answer, Question, Topic};
use grantmesh_shared::wire::signature::SIGNATURE_HEADER;

const TICK: Duration = Duration::from_millis(100);

/// Plugins of this VM by their name: two filters of one proxy may share a VM.
type Plugins = HashMap<Vec<u8>, Rc<Shared>>;

thread_local! {
    static PLUGINS: RefCell<Plugins> = RefCell::new(HashMap::new());
}

/// What the root and HTTP contexts of one plugin share.
pub(crate) struct Shared {
    /// Nothing until a first usable configuration came.
    pub(crate) plugin: RefCell<Option<Plugin>>,
    /// Root contexts with a usable configuration, oldest first.
    roots: RefCell<Vec<u32>>,
    metrics: RefCell<HashMap<String, Option<u32>>>,
    may_call_out: Cell<bool>,
    /// The last thing that went wrong, so that it is logged once and not with every try.
    trouble: RefCell<HashMap<Topic, String>>,
}

/// The configuration of one root context, as its HTTP contexts see it.
pub(crate) type Configured = Rc<RefCell<Option<Rc<Config>>>>;

/// See the module's head.
pub(crate) struct Root {
    id: u32,
    config: Configured,
    shared: Option<Rc<Shared>>,
    callouts: HashMap<u32, Topic>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        Self { id, config: Configured::default(), shared: None, callouts: HashMap::new() }
    }

    /// What this plugin shares in this VM; made at the first call.
    fn shared(&mut self) -> Rc<Shared> {
        let shared = self.shared.take().unwrap_or_else(|| {
            let name = |path| host::property(path).ok().flatten().unwrap_or_default();
            let key = [name("plugin_name"), vec![0], name("plugin_root_id")].concat();
            let fresh = || {
                Rc::new(Shared {
                    plugin: RefCell::new(None),
                    roots: RefCell::default(),
                    metrics: RefCell::default(),
                    may_call_out: Cell::new(false),
                    trouble: RefCell::default(),
                })
            };
            PLUGINS.with(|plugins| match plugins.try_borrow_mut() {
                Ok(mut plugins) => Rc::clone(plugins.entry(key).or_insert_with(fresh)),
                Err(_) => fresh(),
            })
        });
        self.shared = Some(Rc::clone(&shared));
        shared
    }

    fn configure(&mut self) -> bool {
        let text = match host::buffer(host::Buffer::PluginConfiguration) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => {
                host::log(Level::Error, &format!("the plugin configuration cannot be had: {error}"));
                return false;
            }
        };
        match Config::parse(&text) {
            Ok(config) => {
                self.config.replace(Some(Rc::new(config)));
                let shared = self.shared();
                if let Ok(mut roots) = shared.roots.try_borrow_mut() {
                    roots.retain(|root| *root != self.id);
                    roots.push(self.id);
                }
                true
            }
            Err(error @ ConfigError::Unreadable(_)) => {
                host::log(Level::Error, &error.to_string());
                false
            }
            Err(error) => {
                self.config.replace(None);
                host::log(Level::Error, &format!("{error}; every call is refused until this is corrected"));
                true
            }
        }
    }

    /// Whether this is the newest root context that has a usable configuration.
    fn is_newest(&self, shared: &Shared) -> bool {
        shared.roots.try_borrow().is_ok_and(|roots| roots.last() == Some(&self.id))
    }

    fn tick(&mut self) -> Result<(), String> {
        let shared = self.shared();
        if !self.is_newest(&shared) {
            return Ok(());
        }
        let Some(config) = self.config.try_borrow().ok().and_then(|config| config.clone()) else {
            return Ok(());
        };
        let mono = host::monotonic().map_err(|error| error.to_string())?;
        let Ok(mut slot) = shared.plugin.try_borrow_mut() else {
            return Ok(());
        };
        let plugin = match &mut *slot {
            Some(plugin) => plugin,
            None => slot.insert(new_plugin(&config, mono)?),
        };
        plugin.ask_through(self.id, &config);
        if !shared.may_call_out.get() {
            host::can_call_out().map_err(|error| format!("{error}: callouts are not allowed to this filter"))?;
            shared.may_call_out.set(true);
        }
        self.send_due(&config, plugin, mono);
        hand_over(&shared, plugin, mono);
        Ok(())
    }

    fn send_due(&mut self, config: &Config, plugin: &mut Plugin, mono: Mono) {
        for question in plugin.due(mono) {
            let topic = question.topic;
            match send(config, &question) {
                Ok(token) => {
                    self.callouts.insert(token, topic);
                }
                Err(error) => {
                    let unsent = Answer { status: b"", signature: None, body: b"" };
                    let _unreachable = plugin.answered(topic, &unsent, mono);
                    self.trouble(topic, Some(format!("{error}; is there a cluster `{}`?", config.cluster)));
                }
            }
        }
    }

    fn answer(&mut self, token: u32, num_headers: usize) {
        let Some(topic) = self.callouts.remove(&token) else {
            return;
        };
        let shared = self.shared();
        let config = self.config.try_borrow().ok().and_then(|config| config.clone());
        let (Some(config), Ok(mono), Ok(mut slot)) = (config, host::monotonic(), shared.plugin.try_borrow_mut()) else {
            return;
        };
        let Some(plugin) = slot.as_mut().filter(|plugin| plugin.asks_through(self.id)) else {
            return;
        };
        let (map, body) = if num_headers == 0 {
            (Vec::new(), Vec::new())
        } else {
            let map = host::header_map(host::Map::CalloutAnswer).unwrap_or_default();
            let body = host::buffer(host::Buffer::CalloutAnswer).ok().flatten();
            (map, body.unwrap_or_default())
        };
        let headers = Headers::parse(&map).ok();
        let single = |name: &str| headers.and_then(|headers| headers.single(name.as_bytes()));
        let answer =
            Answer { status: single(":status").unwrap_or_default(), signature: single(SIGNATURE_HEADER), body: &body };
        let outcome = plugin.answered(topic, &answer, mono);
        self.trouble(topic, outcome.err());
        self.send_due(&config, plugin, mono);
    }

    /// Logs what went wrong, or that it is well again, where that is news.
    fn trouble(&mut self, topic: Topic, error: Option<String>) {
        let shared = self.shared();
        let Ok(mut known) = shared.trouble.try_borrow_mut() else {
            return;
        };
        let name = match topic {
            Topic::Sync => "sync",
            Topic::Heartbeat => "heartbeat",
            Topic::Records => "records",
        };
        match error {
            Some(error) if known.get(&topic) != Some(&error) => {
                host::log(Level::Warn, &format!("{name}: {error}"));
                known.insert(topic, error);
            }
            None if known.remove(&topic).is_some() => {
                host::log(Level::Info, &format!("{name}: well again"));
            }
            _ => {}
        }
    }
}

fn new_plugin(config: &Config, mono: Mono) -> Result<Plugin, String> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| format!("the proxy gives no random numbers: {error}"))?;
    let node = host::property("xds\0node\0id").ok().flatten().unwrap_or_default();
    let node = String::from_utf8_lossy(&node).chars().take(256).collect();
    Ok(Plugin::new(config, node, seed, mono))
}

fn send(config: &Config, question: &Question) -> Result<u32, host::HostError> {
    let authorization = format!("Bearer {}", config.credential);
    let headers = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", question.path),
        (":authority", config.authority.as_str()),
        ("content-type", "application/json"),
        ("authorization", authorization.as_str()),
    ];
    host::call_out(&config.cluster, headers, &question.body, question.timeout.duration())
}

/// Gives counts and gauges to the proxy.
fn hand_over(shared: &Shared, plugin: &mut Plugin, mono: Mono) {
    let Ok(mut ids) = shared.metrics.try_borrow_mut() else {
        return;
    };
    let mut id = |kind, name: String| {
        // A metric that the proxy refuses is not tried again.
        *ids.entry(name).or_insert_with_key(|name| host::define_metric(kind, name).ok())
    };
    let mut refused = 0_u64;
    for (name, sum) in plugin.counters().take() {
        let added = id(MetricKind::Counter, name).map(|id| host::increment_metric(id, sum));
        refused = refused.saturating_add(u64::from(!matches!(added, Some(Ok(())))));
    }
    for (name, value) in plugin.gauges(mono) {
        let set = id(MetricKind::Gauge, name.to_owned()).map(|id| host::record_metric(id, value));
        refused = refused.saturating_add(u64::from(!matches!(set, Some(Ok(())))));
    }
    if refused > 0 {
        plugin.counters().add(crate::metrics::Metric::HostErrors, refused);
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // The newest of those that are left takes over asking at its next tick.
        if let Some(mut roots) = self.shared.as_ref().and_then(|shared| shared.roots.try_borrow_mut().ok()) {
            roots.retain(|root| *root != self.id);
        }
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, num_headers: usize, _body: usize, _trailers: usize) {
        self.answer(token, num_headers);
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        if let Err(error) = host::set_tick_period(TICK) {
            host::log(Level::Error, &error.to_string());
        }
        self.configure()
    }

    fn on_tick(&mut self) {
        if let Err(error) = self.tick() {
            self.trouble(Topic::Sync, Some(error));
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http::new(Rc::clone(&self.config), self.shared.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}
