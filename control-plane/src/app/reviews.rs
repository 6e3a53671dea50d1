//! Reviews: the one way from a request to a grant.

use grantmesh_shared::id::RequestId;

use super::{App, AppError};
use crate::domain::{Actor, Grant, NewReview, Request, Review};

/// What a review led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// The request in its new state.
    pub request: Request,
    /// The review that was given.
    pub review: Review,
    /// The grant, if this was the deciding approval.
    pub grant: Option<Grant>,
}

impl App {
    /// Reviews a request; the deciding approval makes the grant.
    ///
    /// # Errors
    /// If the actor may not review it, it is decided or overdue, or the review breaks a rule.
    pub async fn review(&self, _actor: &Actor, _id: &RequestId, _new: &NewReview) -> Result<Reviewed, AppError> {
        unimplemented!()
    }
}
