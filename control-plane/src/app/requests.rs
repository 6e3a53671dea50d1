//! Filing, reading and withdrawing requests.

use grantmesh_shared::id::RequestId;
use grantmesh_shared::time::Span;

use super::{App, AppError, Listed, Page};
use crate::domain::{Actor, AskTarget, NewRequest, Request, RequestStateWord};

/// A client's word for "this very request", so that a repeated send files it once. Kept for a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Box<str>);

/// What filing led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filed {
    /// The request.
    pub request: Request,
    /// Whether it was there already by its idempotency key.
    pub repeated: bool,
}

/// All that is known of a request before it is filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefill {
    /// The service.
    pub service: String,
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The rule it would be filed under.
    pub rule: String,
    /// The rule's default.
    pub duration: Span,
    /// The rule's maximum.
    pub max_duration: Span,
    /// Who reviews, as `user:NAME` or `group:NAME`.
    pub reviewers: Vec<String>,
}

/// Which requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestFilter {
    /// Only in this state.
    pub state: Option<RequestStateWord>,
    /// Only those the actor filed.
    pub mine: bool,
}

impl IdempotencyKey {
    /// Checks a key.
    ///
    /// # Errors
    /// If it is empty, longer than 128 bytes or not visible ASCII.
    pub fn new(_key: &str) -> Result<Self, AppError> {
        unimplemented!()
    }
}

impl App {
    /// Files a request. With a key that was used before for the same ask, gives the request that is there.
    ///
    /// # Errors
    /// If no rule lets the actor ask, the ask breaks its rule, or the key was used for something else.
    pub async fn file_request(&self, _actor: &Actor, _new: NewRequest, _key: Option<IdempotencyKey>) -> Result<Filed, AppError> {
        unimplemented!()
    }

    /// What a request for this target would be.
    ///
    /// # Errors
    /// `NotFound` if no rule lets the actor ask.
    pub async fn prefill(&self, _actor: &Actor, _target: &AskTarget) -> Result<Prefill, AppError> {
        unimplemented!()
    }

    /// One request. Visible to its requester, the rule's reviewers, operators and auditors.
    ///
    /// # Errors
    /// `NotFound` if there is none or it is not visible.
    pub async fn request(&self, _actor: &Actor, _id: &RequestId) -> Result<Request, AppError> {
        unimplemented!()
    }

    /// The requests that the actor may see, newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn requests(&self, _actor: &Actor, _filter: &RequestFilter, _page: &Page) -> Result<Listed<Request>, AppError> {
        unimplemented!()
    }

    /// Takes a request back.
    ///
    /// # Errors
    /// If it is not the actor's, or decided.
    pub async fn withdraw(&self, _actor: &Actor, _id: &RequestId) -> Result<Request, AppError> {
        unimplemented!()
    }
}
