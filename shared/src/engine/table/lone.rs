//! A grant that is in no table. What decides reads it like any other.

use super::held::HeldGrant;
use super::store::Store;
use crate::engine::grant::Grant;

/// See the module's head.
#[derive(Debug)]
pub struct LoneGrant {
    store: Store,
    place: Option<u32>,
}

impl From<Grant> for LoneGrant {
    fn from(grant: Grant) -> Self {
        let mut store = Store::default();
        let place = store.push(grant, None);
        Self { store, place }
    }
}

impl LoneGrant {
    /// The grant, as one of a table.
    #[must_use]
    pub fn held(&self) -> HeldGrant<'_> {
        // There is room for one; were there none, it would be one that has ended before it began.
        HeldGrant::of(&self.store, self.place.and_then(|place| self.store.record(place)))
    }
}
