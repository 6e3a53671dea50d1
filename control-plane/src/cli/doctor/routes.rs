//! The routes behind our filter: what makes several calls of one, changes a call after it was decided, or switches the
//! filter off.

use serde_json::Value;

use super::checks::{Findings, Told};
use super::document::{field, is_on, list, text};
use super::timeouts;

/// What makes several calls of one.
const MULTIPLIERS: [(&str, &str); 3] = [
    ("request_mirror_policies", "sends a copy of each call elsewhere"),
    ("hedge_policy", "sends a call again before the first answer"),
    ("retry_policy", "sends a call again that was not answered well"),
];

/// What gives a call another path.
const REWRITES: [&str; 4] = ["prefix_rewrite", "regex_rewrite", "path_rewrite_policy", "path_rewrite"];

/// Checks a route configuration; `filter` is our filter's name.
pub(super) fn check(config: &Value, place: &str, filter: &str, told: &Told<'_>, found: &mut Findings) {
    let single_use = told.single_use;
    multiplied(config, place, None, single_use, found);
    switched_off(config, place, filter, found);
    for (at, host) in list(config, "virtual_hosts").iter().enumerate() {
        let place = format!("{place}/virtual_hosts/{at}");
        multiplied(host, &place, text(host, "name"), single_use, found);
        switched_off(host, &place, filter, found);
        for (at, route) in list(host, "routes").iter().enumerate() {
            let place = format!("{place}/routes/{at}");
            switched_off(route, &place, filter, found);
            let Some(action) = field(route, "route") else { continue };
            // What a host or the whole configuration says holds for a named route as well.
            let name = text(route, "name").or_else(|| text(host, "name"));
            multiplied(action, &format!("{place}/route"), name, single_use, found);
            timeouts::of_route(action, &format!("{place}/route"), told.hold, found);
            for split in field(action, "weighted_clusters").map_or(&[][..], |split| list(split, "clusters")) {
                switched_off(split, &format!("{place}/route/weighted_clusters"), filter, found);
            }
            if let Some(rewrite) = REWRITES.iter().find(|rewrite| field(action, rewrite).is_some()) {
                found.warning(
                    "rewritten",
                    &place,
                    format!("`{rewrite}` gives the call another path after it was decided"),
                    "name the path that callers use in the policy, and make sure that the rewrite keeps its meaning",
                );
            }
        }
    }
}

fn multiplied(object: &Value, place: &str, name: Option<&str>, single_use: &[String], found: &mut Findings) {
    for (multiplier, does) in MULTIPLIERS {
        let Some(value) = field(object, multiplier) else { continue };
        if value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        // Without a name it is the whole configuration's: it holds for every route, also for those.
        let named = match name {
            Some(name) => single_use.iter().any(|route| route == name),
            None => !single_use.is_empty(),
        };
        let message = format!("`{multiplier}` {does}");
        let help = "remove it from routes of actions whose grants are for a number of uses";
        if named {
            found.fault("multiplied", place, message, help);
        } else {
            found.warning("multiplied", place, message, help);
        }
    }
}

fn switched_off(object: &Value, place: &str, filter: &str, found: &mut Findings) {
    let own = field(object, "typed_per_filter_config").and_then(|configs| configs.get(filter));
    if own.is_some_and(|own| is_on(own, "disabled")) {
        found.fault(
            "disabled",
            place,
            "the filter is switched off here: every call passes undecided".to_owned(),
            "remove it from `typed_per_filter_config`, and let the policy say what everybody may do",
        );
    }
}
