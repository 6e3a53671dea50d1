//! A grant that is in no table. What decides reads it like any other.

use super::grants::Grants;
use super::held::HeldGrant;
use crate::engine::grant::Grant;

/// See the module's head.
#[derive(Debug)]
pub struct LoneGrant {
    grants: Grants,
    id: u128,
}

impl From<Grant> for LoneGrant {
    fn from(grant: Grant) -> Self {
        let (mut grants, id) = (Grants::default(), grant.id.bits());
        grants.put(grant, None);
        Self { grants, id }
    }
}

impl LoneGrant {
    /// The grant, as one of a table.
    #[must_use]
    pub fn held(&self) -> HeldGrant<'_> {
        // There is room for one; were there none, it would be one that has ended before it began.
        self.grants.get(self.id).unwrap_or(HeldGrant::NONE)
    }
}
