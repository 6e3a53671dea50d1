//! Reconcilers: no input, idempotent, run on a period and on a signal. Each gives how many things it changed.

use grantmesh_shared::time::Timestamp;

use super::{App, AppError};

impl App {
    /// Ends the grants whose time ended: state, audit entry and the filters' item in one transaction.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn expire_grants(&self) -> Result<usize, AppError> {
        unimplemented!()
    }

    /// Times out the requests that nobody decided in time. Nothing is ever approved by time.
    ///
    /// # Errors
    /// If the store fails; what was done stays done.
    pub async fn time_out_requests(&self) -> Result<usize, AppError> {
        unimplemented!()
    }

    /// Forgets idempotency keys of more than a day ago.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn forget_idempotency_keys(&self) -> Result<usize, AppError> {
        unimplemented!()
    }

    /// When the next grant or request ends by its time; lets the task sleep until then.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn next_deadline(&self) -> Result<Option<Timestamp>, AppError> {
        unimplemented!()
    }
}
