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
        let head = self.read().await?.head().await?;
        self.inner.store.publish(head);
        Ok(head)
    }

    /// Every item and tombstone that changed after `revision`. Complete only if `revision >= head.delta_floor`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn items_since(&self, revision: u64) -> Result<Items, AppError> {
        let mut tx = self.read().await?;
        Ok(Items { head: tx.head().await?, items: tx.items_since(revision).await? })
    }

    /// Every item that there is, without tombstones.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn all_items(&self) -> Result<Items, AppError> {
        let mut tx = self.read().await?;
        Ok(Items { head: tx.head().await?, items: tx.all_items().await? })
    }
}
