//! What `--wait` tells: which filters know of a change, and whether any does not yet.

use super::output::Output;
use super::{Failure, tables};
use crate::http::view::ArrivalView;

/// The change is made, but not everywhere yet as far as is known.
#[derive(Debug, thiserror::Error)]
#[error(
    "{done}, but {pending} filter(s) have not acknowledged it yet\nthey will as soon as they reach the control plane; none acts on what it knew before past its lease"
)]
struct NotArrived {
    done: String,
    pending: usize,
}

/// Tells people what the filters did; `none` where no filter is concerned.
pub(super) fn tell(arrival: Option<&ArrivalView>, none: &str, out: &mut Output) {
    let Some(arrival) = arrival else {
        return;
    };
    if arrival.filters.is_empty() {
        out.line(format_args!("  {none}"));
    }
    for filter in &arrival.filters {
        let state = out.toned(tables::tone(&filter.state), filter.state.replace('_', " "));
        out.line(format_args!("  {} on {}: {state}", filter.vm, filter.node));
    }
}

/// Fails a command whose change is not known to be everywhere; `done` says what is done all the same.
pub(super) fn judge(arrival: Option<&ArrivalView>, done: impl Into<String>) -> Result<(), Failure> {
    let pending =
        arrival.map_or(0, |arrival| arrival.filters.iter().filter(|filter| filter.state == "pending").count());
    if pending == 0 { Ok(()) } else { Err(NotArrived { done: done.into(), pending }.into()) }
}
