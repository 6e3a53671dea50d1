//! What `push` reads: the head and the items of filters' tables.

use super::{App, AppError};
use crate::store::{Head, StoredItem};

/// Items as of one head.
#[derive(Debug, Clone)]
pub struct Items {
    /// The head of the same moment.
    pub head: Head,
    /// The items, by revision and key.
    pub items: Vec<StoredItem>,
}

impl App {
    /// The head as the database has it now; also feeds [`App::changed`].
    ///
    /// # Errors
    /// If the store fails.
    pub async fn head(&self) -> Result<Head, AppError> {
        unimplemented!()
    }

    /// Every item and tombstone that changed after `revision`. Complete only if `revision >= head.delta_floor`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn items_since(&self, _revision: u64) -> Result<Items, AppError> {
        unimplemented!()
    }

    /// Every item that there is, without tombstones.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn all_items(&self) -> Result<Items, AppError> {
        unimplemented!()
    }
}
