//! Which callbacks this module has: those for heads, and in `grantmesh-filter-bodies` also those for bodies and responses,
//! which says so when it starts. Asked wherever bodies are concerned, so that of the module without them, which is built
//! without the feature `bodies`, the compiler leaves the rest away.

use std::cell::Cell;

thread_local! {
    static FOR_BODIES: Cell<bool> = const { Cell::new(false) };
}

/// Says that there are callbacks for bodies and responses.
pub fn there_are_for_bodies() {
    FOR_BODIES.set(true);
}

/// Whether there are callbacks for bodies and responses.
#[must_use]
pub fn for_bodies() -> bool {
    cfg!(feature = "bodies") && FOR_BODIES.get()
}
