//! What ends a call that stands still: a call that the filter holds while people decide must not be ended by the proxy
//! before. Called by `checks` for each filter chain that has ours, and by `routes` for each route behind it.

use grantmesh_shared::time::Span;
use grantmesh_shared::wire::policy::LONGEST_HOLD;
use serde_json::Value;

use super::checks::Findings;
use super::document::{at, field};

/// Bounds of a whole connection manager. A stream that nothing is sent on is ended after the first, any after the second.
const OF_MANAGERS: [&[&str]; 2] = [&["stream_idle_timeout"], &["common_http_protocol_options", "max_stream_duration"]];

/// What a route says in their place. Its `timeout` begins only when the call has passed all filters.
const OF_ROUTES: [&[&str]; 2] = [&["idle_timeout"], &["max_stream_duration", "max_stream_duration"]];

/// Checks a connection manager; `hold` is the longest one of the policy, if somebody has said it.
pub(super) fn of_manager(manager: &Value, place: &str, hold: Option<Span>, found: &mut Findings) {
    check(manager, &OF_MANAGERS, place, hold, found);
}

/// Checks a route's action.
pub(super) fn of_route(action: &Value, place: &str, hold: Option<Span>, found: &mut Findings) {
    check(action, &OF_ROUTES, place, hold, found);
}

fn check(object: &Value, bounds: &[&[&str]], place: &str, hold: Option<Span>, found: &mut Findings) {
    for bound in bounds {
        let Some(most) = at(object, bound).and_then(seconds) else { continue };
        let held = hold.unwrap_or(LONGEST_HOLD).duration().as_secs_f64();
        // Zero switches it off.
        if most <= 0.0 || most > held {
            continue;
        }
        let place = format!("{place}/{}", bound.join("/"));
        let message =
            format!("a call that stands still is ended after {most} s, and with it one that is held for longer");
        let help = "make it longer than the longest `hold` of the policy's rules (tell it as `--hold`), or zero";
        match hold {
            Some(_) => found.fault("ends_held_calls", &place, message, help),
            None => found.warning("ends_held_calls", &place, message, help),
        }
    }
}

/// A duration as protobuf's JSON writes it, `1.5s`, or as a dump may have it, with its parts apart.
fn seconds(value: &Value) -> Option<f64> {
    if let Some(text) = value.as_str() {
        return text.strip_suffix('s')?.parse().ok();
    }
    let part = |name| field(value, name).map_or(Some(0.0), Value::as_f64);
    value.is_object().then(|| Some(part("seconds")? + part("nanos")? / 1e9))?
}
