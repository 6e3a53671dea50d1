//! What is looked for in a document, filter chain by filter chain. Pure: a tree goes in, findings come out.

use grantmesh_shared::time::Span;
use serde_json::Value;

use super::document::{at, field, is_on, list, text, walk};
use super::{plugin, routes, timeouts};

/// The most findings that are told.
const MAX_FINDINGS: usize = 200;

/// Filters that can change a call after ours has decided it.
const CHANGERS: [&str; 6] = ["lua", "ext_proc", "header_mutation", "golang", "wasm", "dynamic_modules"];

/// What the policy wants of the proxy, as somebody has said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told<'a> {
    /// Routes of actions whose grants are for a number of uses.
    pub(super) single_use: &'a [String],
    /// The longest hold.
    pub(super) hold: Option<Span>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// The filter does not hold what it promises.
    Fault,
    /// It may not.
    Warning,
}

impl Severity {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
        }
    }
}

/// Something to mend or to know.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) code: &'static str,
    /// Where in the document, as a JSON pointer.
    pub(super) place: String,
    pub(super) message: String,
    pub(super) help: String,
}

/// What was found so far; bounded.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn fault(&mut self, code: &'static str, place: &str, message: String, help: &str) {
        self.push(Severity::Fault, code, place, message, help);
    }

    pub(super) fn warning(&mut self, code: &'static str, place: &str, message: String, help: &str) {
        self.push(Severity::Warning, code, place, message, help);
    }

    fn push(&mut self, severity: Severity, code: &'static str, place: &str, message: String, help: &str) {
        let place = place.to_owned();
        if self.0.len() >= MAX_FINDINGS {
            // Warnings make room: a fault is never left out for one.
            let Some(last) = self.0.iter().rposition(|known| known.severity == Severity::Warning) else { return };
            if severity == Severity::Warning {
                return;
            }
            self.0.remove(last);
        }
        self.0.push(Finding { severity, code, place, message, help: help.to_owned() });
    }
}

/// Whether our filter's credential is in the document.
pub(super) fn holds_credential(document: &Value) -> bool {
    let mut held = false;
    walk(document, "", &mut |object, _| {
        held |= plugin::own_configuration(object).is_some_and(|own| own.get("credential").is_some());
    });
    held
}

/// Everything that is wrong or doubtful in a document.
pub(super) fn check(document: &Value, told: &Told<'_>) -> Vec<Finding> {
    let mut found = Findings::default();
    let (mut plugins, mut chains) = (0_usize, Vec::new());
    walk(document, "", &mut |object, place| {
        if let Some(ours) = plugin::of_envoy(object) {
            plugins = plugins.saturating_add(1);
            plugin::check_envoy(ours, place, &mut found);
        }
        if let Some(spec) = plugin::of_istio(object) {
            plugins = plugins.saturating_add(1);
            plugin::check_istio(spec, place, &mut found);
        }
        if field(object, "transport_socket").is_some() && !list(object, "filters").is_empty() {
            plugin::check_peers(object, place, &mut found);
        }
        if !list(object, "http_filters").is_empty() {
            chains.push((object, place.to_owned()));
        }
    });
    let mut entries = 0_usize;
    for (manager, place) in chains {
        entries = entries.saturating_add(check_chain(document, manager, &place, told, &mut found));
    }
    if plugins == 0 && entries == 0 {
        found.fault(
            "no_filter",
            "",
            "there is no filter of grantmesh here".to_owned(),
            "name the file with its configuration, or add it as in deploy/envoy/envoy.yaml",
        );
    } else if plugins == 0 {
        found.warning(
            "delivered_apart",
            "",
            "the filter's own configuration is not here: it is delivered on its own".to_owned(),
            "check what the proxy has in force: its `/config_dump`",
        );
    }
    check_clusters(document, &mut found);
    found.0
}

/// Whether this entry of a filter chain is ours.
fn is_ours(entry: &Value) -> bool {
    text(entry, "name").is_some_and(|name| name.contains("grantmesh"))
        || field(entry, "typed_config").is_some_and(|config| plugin::of_envoy(config).is_some())
}

fn is_a(entry: &Value, kind: &str) -> bool {
    let named = [text(entry, "name"), field(entry, "typed_config").and_then(|config| text(config, "@type"))];
    named.into_iter().flatten().any(|name| name.split(['.', '/']).any(|part| part == kind))
}

/// Checks one chain, and the routes behind it; how many filters of ours it has.
fn check_chain(document: &Value, manager: &Value, place: &str, told: &Told<'_>, found: &mut Findings) -> usize {
    let filters = list(manager, "http_filters");
    let Some(ours) = filters.iter().position(is_ours) else { return 0 };
    let place_of = |at: usize| format!("{place}/http_filters/{at}");
    for (at, entry) in filters.iter().enumerate().filter(|(_, entry)| is_ours(entry)) {
        if is_on(entry, "disabled") {
            found.fault(
                "disabled",
                &place_of(at),
                "the filter is switched off: every call passes undecided".to_owned(),
                "remove `disabled`",
            );
        }
    }
    match filters.iter().position(|entry| is_a(entry, "jwt_authn")) {
        None => found.warning(
            "no_users",
            &place_of(ours),
            "no `jwt_authn` stands before the filter: it knows workloads, and no users".to_owned(),
            "add one with `payload_in_metadata` if users call, as in deploy/envoy/envoy.yaml",
        ),
        Some(jwt) if jwt > ours => found.fault(
            "users_too_late",
            &place_of(jwt),
            "`jwt_authn` stands behind the filter, which then knows no users".to_owned(),
            "move it before the filter",
        ),
        Some(_) => {}
    }
    for (at, entry) in filters.iter().enumerate().skip(ours).filter(|(_, entry)| !is_ours(entry)) {
        if let Some(kind) = CHANGERS.iter().find(|kind| is_a(entry, kind)) {
            found.warning(
                "changed_after",
                &place_of(at),
                format!("a `{kind}` filter stands behind the filter and can change a call that was decided"),
                "move it before the filter",
            );
        }
    }
    timeouts::of_manager(manager, place, told.hold, found);
    let name = filters.get(ours).and_then(|entry| text(entry, "name")).unwrap_or_default();
    if let Some(config) = field(manager, "route_config") {
        routes::check(config, &format!("{place}/route_config"), name, told, found);
    }
    if let Some(wanted) = at(manager, &["rds", "route_config_name"]).and_then(Value::as_str) {
        walk(document, "", &mut |object, place| {
            if text(object, "name") == Some(wanted) && field(object, "virtual_hosts").is_some() {
                routes::check(object, place, name, told, found);
            }
        });
    }
    filters.iter().filter(|entry| is_ours(entry)).count()
}

/// Checks that the cluster that leads to the control plane is there, where a document has all of them.
fn check_clusters(document: &Value, found: &mut Findings) {
    let (mut known, mut wanted) = (Vec::new(), Vec::new());
    let (mut has_all, mut has_more) = (false, false);
    walk(document, "", &mut |object, place| {
        has_all |= field(object, "static_resources").is_some() || field(object, "static_clusters").is_some();
        has_more |=
            at(object, &["dynamic_resources", "cds_config"]).is_some() && field(object, "static_resources").is_some();
        for name in ["clusters", "static_clusters", "dynamic_active_clusters"] {
            known.extend(list(object, name).iter().filter_map(|entry| {
                text(entry, "name").or_else(|| field(entry, "cluster").and_then(|cluster| text(cluster, "name")))
            }));
        }
        if plugin::of_envoy(object).is_some()
            && let Some(own) = plugin::own_configuration(object)
        {
            let cluster = own.get("cluster").and_then(Value::as_str).unwrap_or("grantmesh").to_owned();
            wanted.push((cluster, place.to_owned()));
        }
    });
    // A dump lists the clusters that were delivered, a bootstrap alone does not.
    has_more &= !known.iter().any(|name| wanted.iter().any(|(cluster, _)| cluster == name));
    for (cluster, place) in wanted {
        if !has_all || known.contains(&cluster.as_str()) {
            continue;
        }
        let message = format!("the cluster `{cluster}`, which leads to the control plane, is not here");
        let help =
            "add it, as in deploy/envoy/envoy.yaml, or name another one as `cluster` of the plugin's configuration";
        if has_more {
            found.warning("no_cluster", &place, message, help);
        } else {
            found.fault("no_cluster", &place, message, help);
        }
    }
}
