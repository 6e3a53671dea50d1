//! Reading and ending grants.

use grantmesh_shared::id::GrantId;
use grantmesh_shared::wire::sync::Position;

use super::{App, AppError, Listed, Page};
use crate::domain::{Actor, Grant, GrantStateWord};

/// Which grants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantFilter {
    /// Only in this state.
    pub state: Option<GrantStateWord>,
    /// Only those the actor holds.
    pub mine: bool,
}

/// A grant that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The grant.
    pub grant: Grant,
    /// Filters that have applied this position no longer have the grant.
    pub position: Position,
}

impl App {
    /// One grant. Visible to its holder, the rule's reviewers, operators and auditors.
    ///
    /// # Errors
    /// `NotFound` if there is none or it is not visible.
    pub async fn grant(&self, _actor: &Actor, _id: &GrantId) -> Result<Grant, AppError> {
        unimplemented!()
    }

    /// The grants that the actor may see, newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn grants(&self, _actor: &Actor, _filter: &GrantFilter, _page: &Page) -> Result<Listed<Grant>, AppError> {
        unimplemented!()
    }

    /// Ends a grant before its time. For reviewers of its rule and operators.
    ///
    /// # Errors
    /// If the actor may not, the grant ended already, or the reason is none.
    pub async fn revoke(&self, _actor: &Actor, _id: &GrantId, _reason: &str) -> Result<Ended, AppError> {
        unimplemented!()
    }

    /// Gives a grant back. For its holder.
    ///
    /// # Errors
    /// If the actor is not the holder, or the grant ended already.
    pub async fn release(&self, _actor: &Actor, _id: &GrantId) -> Result<Ended, AppError> {
        unimplemented!()
    }
}
