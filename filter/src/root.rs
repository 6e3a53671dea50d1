//! The root context: takes the configuration, then on every tick sends what is due and hands over what was counted.
//! Several can be alive in one VM, one per delivered configuration; only the newest asks, all decide from one table.
//! It never starts a callout while it is being configured: the proxy's trial VM would repeat it. Called by `vm`.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use crate::clock::Mono;
use crate::config::{Config, ConfigError};
use crate::fence::Places;
use crate::headers::Headers;
use crate::host::{self, Level, MetricKind};
use crate::metrics::Metric;
use crate::plugin::Plugin;
use crate::question::{Answer, Question, Topic};
use crate::seats::Seats;
use crate::streams::{Open, Why};
use crate::waiting::{Caller, Cause, Woken};
use grantmesh_shared::wire::signature::SIGNATURE_HEADER;

const TICK: Duration = Duration::from_millis(100);

/// Plugins of this VM by their name: two filters of one proxy may share a VM.
type Plugins = HashMap<Vec<u8>, Rc<Shared>>;

thread_local! {
    static PLUGINS: RefCell<Plugins> = RefCell::new(HashMap::new());
}

/// What the root contexts and calls of one plugin share.
#[derive(Default)]
pub(crate) struct Shared {
    /// Nothing until the first tick with a usable configuration.
    pub(crate) plugin: RefCell<Option<Plugin>>,
    seats: RefCell<Seats>,
    counters: RefCell<BTreeMap<Metric, Option<u32>>>,
    gauges: RefCell<BTreeMap<&'static str, Option<u32>>>,
    decisions: Histogram,
    answers: Histogram,
    /// The last thing that went wrong, so that it is logged once and not with every try.
    trouble: RefCell<HashMap<Topic, String>>,
}

impl Shared {
    /// Notes how long a decision took that began at `since`.
    pub(crate) fn note_decision(&self, since: Mono) {
        self.decisions.note("grantmesh.decision_us", since);
    }
}

/// A histogram of durations in microseconds: nothing until the first, or if the proxy refuses it.
#[derive(Default)]
struct Histogram(OnceCell<Option<u32>>);

impl Histogram {
    fn note(&self, name: &str, since: Mono) {
        let define = || host::define_metric(MetricKind::Histogram, name).ok();
        if let (Some(id), Ok(now)) = (*self.0.get_or_init(define), host::monotonic()) {
            let micros = u64::try_from(now.since(since).as_micros()).unwrap_or(u64::MAX);
            // Only a figure; the counts of what the proxy refuses come from what it is needed for.
            host::record_metric(id, micros).unwrap_or_default();
        }
    }
}

/// See the module's head.
pub(crate) struct Root {
    id: u32,
    config: RefCell<Option<Rc<Config>>>,
    shared: OnceCell<Rc<Shared>>,
    /// Under way; at most one of each topic.
    callouts: RefCell<Vec<(u32, Topic)>>,
    /// Where in the shared data this plugin's state is kept.
    places: RefCell<Option<Places>>,
}

impl Root {
    pub(crate) const fn new(id: u32) -> Self {
        Self {
            id,
            config: RefCell::new(None),
            shared: OnceCell::new(),
            callouts: RefCell::new(Vec::new()),
            places: RefCell::new(None),
        }
    }

    /// The proxy's number of this context.
    pub(crate) const fn id(&self) -> u32 {
        self.id
    }

    /// The configuration, if it is usable, and what goes with it.
    pub(crate) fn configured(&self) -> Option<(Rc<Config>, Rc<Shared>)> {
        let config = self.config.try_borrow().ok()?.clone()?;
        Some((config, Rc::clone(self.shared.get()?)))
    }

    /// What this plugin shares in this VM; looked up at the first call.
    fn shared(&self) -> &Rc<Shared> {
        self.shared.get_or_init(|| {
            let name = |path| host::property(path).ok().flatten().unwrap_or_default();
            let key = [name("plugin_name"), vec![0], name("plugin_root_id")].concat();
            PLUGINS.with(|plugins| match plugins.try_borrow_mut() {
                Ok(mut plugins) => Rc::clone(plugins.entry(key).or_default()),
                Err(_) => Rc::default(),
            })
        })
    }

    /// Takes the configuration that the proxy has for this context. `false` is only for text that cannot be read.
    pub(crate) fn configure(&self) -> bool {
        if let Err(error) = host::set_tick_period(TICK) {
            host::log(Level::Error, &error.to_string());
        }
        let text = match host::buffer(host::Buffer::PluginConfiguration) {
            Ok(text) => text.unwrap_or_default(),
            Err(error) => {
                host::log(Level::Error, &format!("the plugin configuration cannot be had: {error}"));
                return false;
            }
        };
        let config = match Config::parse(&text) {
            Ok(config) => Some(Rc::new(config)),
            Err(error @ ConfigError::Unreadable(_)) => {
                host::log(Level::Error, &error.to_string());
                return false;
            }
            Err(error) => {
                host::log(Level::Error, &format!("{error}; every call is refused until this is corrected"));
                None
            }
        };
        if let Ok(mut seats) = self.shared().seats.try_borrow_mut() {
            match &config {
                Some(_) => seats.take(self.id, host::monotonic().unwrap_or_default()),
                None => seats.leave(self.id),
            }
        }
        self.places.replace(config.as_ref().map(|config| Places::of(&config.services, &config.keys)));
        self.config.replace(config);
        true
    }

    /// Sends what is due, if this is the root context that asks. Gives back root contexts that are long gone.
    pub(crate) fn tick(&self) -> Vec<u32> {
        host::follow_log_level();
        let turn = host::monotonic().map_err(|error| error.to_string()).and_then(|mono| {
            let turn = self.shared().seats.try_borrow_mut().map(|mut seats| seats.tick(self.id, mono));
            let turn = turn.unwrap_or_default();
            if turn.asks {
                self.ask(mono)?;
            }
            Ok(turn.forgotten)
        });
        turn.unwrap_or_else(|error| {
            self.trouble(Topic::Sync, Some(error));
            Vec::new()
        })
    }

    /// The root context that is to send at once, if a call waits for a record that is not under way yet.
    pub(crate) fn urgent(&self) -> Option<u32> {
        let slot = self.shared().plugin.try_borrow().ok()?;
        slot.as_ref().filter(|plugin| plugin.is_urgent()).map(Plugin::asker)
    }

    /// Sends what is due in the name of this root context, from a callback of another one.
    pub(crate) fn send_urgent(&self) {
        let (Some((config, shared)), Ok(mono)) = (self.configured(), host::monotonic()) else {
            return;
        };
        if let (Ok(mut slot), Ok(())) = (shared.plugin.try_borrow_mut(), host::set_effective_context(self.id))
            && let Some(plugin) = slot.as_mut()
        {
            self.send_due(&config, plugin, mono);
        }
    }

    /// Calls to look whether they are still there.
    pub(crate) fn to_look_for(&self) -> Vec<Caller> {
        let slot = self.shared().plugin.try_borrow_mut();
        slot.ok().and_then(|mut slot| Some(slot.as_mut()?.to_look_for())).unwrap_or_default()
    }

    /// The call of this context, if it waits, and whether for its body.
    pub(crate) fn waits(&self, context: u32) -> Option<(Caller, bool)> {
        let slot = self.shared().plugin.try_borrow().ok()?;
        let waiter = slot.as_ref()?.waits(context)?;
        Some((waiter.caller, matches!(waiter.cause, Cause::Body(_))))
    }

    /// The call of this context, if its response is to be masked.
    pub(crate) fn masks(&self, context: u32) -> Option<Caller> {
        let slot = self.shared().plugin.try_borrow().ok()?;
        slot.as_ref()?.masking().caller(context)
    }

    /// The call of this context, if it is a use that has no outcome yet.
    pub(crate) fn uses(&self, context: u32) -> Option<Caller> {
        let slot = self.shared().plugin.try_borrow().ok()?;
        slot.as_ref()?.uses().caller(context)
    }

    /// Forgets what a call has waited for, if it was not decided with it.
    pub(crate) fn forget(&self, cause: &Cause) {
        if let (Ok(mut slot), Ok(mono)) = (self.shared().plugin.try_borrow_mut(), host::monotonic())
            && let Some(plugin) = slot.as_mut()
        {
            plugin.forget(cause, mono);
        }
    }

    /// Forgets calls that waited and are gone.
    pub(crate) fn gone(&self, gone: Vec<Caller>) {
        if let (Ok(mut slot), Ok(mono)) = (self.shared().plugin.try_borrow_mut(), host::monotonic())
            && let Some(plugin) = slot.as_mut()
        {
            gone.into_iter().for_each(|caller| plugin.gone(caller.context, mono));
        }
    }

    /// The calls that have waited long enough. Also told to a root context that does not ask: somebody must resume them.
    pub(crate) fn woken(&self) -> Vec<Woken> {
        let (Ok(mut slot), Ok(mono)) = (self.shared().plugin.try_borrow_mut(), host::monotonic()) else {
            return Vec::new();
        };
        slot.as_mut().map(|plugin| plugin.woken(mono)).unwrap_or_default()
    }

    /// Calls under grants that must not go on, if this is the root context that asks. `is_there` asks the proxy for one.
    pub(crate) fn ended(&self, is_there: impl Fn(Caller) -> bool) -> Vec<(Open, Why)> {
        let (Ok(mut slot), Ok(mono)) = (self.shared().plugin.try_borrow_mut(), host::monotonic()) else {
            return Vec::new();
        };
        let plugin = slot.as_mut().filter(|plugin| plugin.asks_through(self.id));
        plugin.map(|plugin| plugin.ended(mono, is_there)).unwrap_or_default()
    }

    /// Records that a call was reset while it ran; one that could not be is tried again.
    pub(crate) fn reset(&self, open: Open, why: Why, done: bool) {
        if let (Ok(mut slot), Ok(mono)) = (self.shared().plugin.try_borrow_mut(), host::monotonic())
            && let Some(plugin) = slot.as_mut()
        {
            if done { plugin.reset(&open, why, mono) } else { plugin.take_back(open) }
        }
    }

    fn ask(&self, mono: Mono) -> Result<(), String> {
        let Some((config, shared)) = self.configured() else {
            return Ok(());
        };
        let Ok(mut slot) = shared.plugin.try_borrow_mut() else {
            return Ok(());
        };
        let plugin = match &mut *slot {
            Some(plugin) => plugin,
            None => slot.insert(new_plugin(&config, mono)?),
        };
        plugin.ask_through(self.id, &config, mono);
        let wall = host::wall().map_err(|error| error.to_string())?;
        plugin.tick(mono, wall, host::monotonic().map_err(|error| error.to_string())?);
        if let Some(places) = &*self.places.borrow() {
            share(places, plugin).map_err(|error| error.to_string())?;
        }
        self.send_due(&config, plugin, mono);
        hand_over(&shared, plugin, mono);
        Ok(())
    }

    fn send_due(&self, config: &Config, plugin: &mut Plugin, mono: Mono) {
        for question in plugin.due(mono) {
            let topic = question.topic;
            match send(config, &question) {
                Ok(token) => {
                    let mut callouts = self.callouts.borrow_mut();
                    // An older one of this topic is given up; its answer belongs to nothing.
                    callouts.retain(|(_, other)| *other != topic);
                    callouts.push((token, topic));
                }
                Err(error) => {
                    let unsent = Answer { status: b"", signature: None, body: b"" };
                    let _unreachable = plugin.answered(topic, &unsent, mono);
                    self.trouble(topic, Some(format!("{error}; is there a cluster `{}`?", config.cluster)));
                }
            }
        }
    }

    /// Takes in the answer to a callout, or what came in its place.
    pub(crate) fn answer(&self, token: u32, num_headers: usize) {
        let mut callouts = self.callouts.borrow_mut();
        let Some(place) = callouts.iter().position(|(known, _)| *known == token) else {
            return;
        };
        let (_, topic) = callouts.swap_remove(place);
        drop(callouts);
        let (Some((config, shared)), Ok(mono)) = (self.configured(), host::monotonic()) else {
            return;
        };
        let Ok(mut slot) = shared.plugin.try_borrow_mut() else {
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
        // What calls had to wait for meanwhile.
        shared.answers.note("grantmesh.answer_us", mono);
    }

    /// Logs what went wrong, or that it is well again, where that is news.
    fn trouble(&self, topic: Topic, error: Option<String>) {
        let Ok(mut known) = self.shared().trouble.try_borrow_mut() else {
            return;
        };
        let name = topic.as_str();
        // All claims are one matter.
        let topic = if matches!(topic, Topic::Claims(_)) { Topic::Claims(0) } else { topic };
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

/// Takes in what other VMs of this proxy have shared, and shares what is newer here. Another VM that is quicker is no
/// trouble: what it wrote is read with the next tick.
fn share(places: &Places, plugin: &mut Plugin) -> Result<(), host::HostError> {
    let sync = plugin.sync_mut();
    let (kept, version) = host::shared_data(&places.point)?;
    sync.read_point(&kept.unwrap_or_default());
    if let Some(point) = sync.point_to_keep() {
        let _quicker = host::set_shared_data(&places.point, point, version)?;
    }
    if sync.wants_kept_table() {
        sync.begin_with(&host::shared_data(&places.table)?.0.unwrap_or_default());
    }
    if let Some(table) = sync.take_table_to_keep() {
        let (_, version) = host::shared_data(&places.table)?;
        let _quicker = host::set_shared_data(&places.table, &table, version)?;
    }
    Ok(())
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
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", question.path),
        (":authority", config.authority.as_str()),
        ("content-type", "application/json"),
        ("authorization", authorization.as_str()),
    ];
    let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    host::call_out(&config.cluster, &headers, &question.body, question.timeout.duration())
}

/// Gives counts and gauges to the proxy.
fn hand_over(shared: &Shared, plugin: &mut Plugin, mono: Mono) {
    let (Ok(mut counters), Ok(mut gauges)) = (shared.counters.try_borrow_mut(), shared.gauges.try_borrow_mut()) else {
        return;
    };
    let mut refused = 0_u64;
    let mut note = |done: Option<Result<(), host::HostError>>| {
        refused = refused.saturating_add(u64::from(!matches!(done, Some(Ok(())))));
    };
    for (metric, sum) in plugin.counters().take() {
        // A metric that the proxy refuses is not tried again.
        let id = *counters
            .entry(metric)
            .or_insert_with(|| host::define_metric(MetricKind::Counter, &plugin.counters().name(metric)).ok());
        note(id.map(|id| host::increment_metric(id, sum)));
    }
    for (name, value) in plugin.gauges(mono) {
        let id = *gauges.entry(name).or_insert_with(|| host::define_metric(MetricKind::Gauge, name).ok());
        note(id.map(|id| host::record_metric(id, value)));
    }
    if refused > 0 {
        plugin.counters().add(Metric::HostErrors, refused);
    }
}
