//! How far this control plane's history had come, in a file outside the database: whoever restores the database from a
//! backup does not restore this with it. Written by `tasks` while the server runs, looked at by `serve` before it serves.
//! It never takes anything back: it refuses to serve a history that is behind, until somebody begins a new epoch.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::app::Head;

/// The file in the data folder.
const FILE: &str = "position.json";

/// Why the mark does not let the server serve.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The file cannot be read or written.
    #[error("the file `{path}` cannot be used")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what is written here.
    #[error(
        "the file `{path}` is not understood\nrestore it, or remove it if you are sure that the database is the latest"
    )]
    Malformed {
        /// The file.
        path: String,
        /// What the reader said.
        source: serde_json::Error,
    },
    /// The database is of an earlier time than the mark.
    #[error(
        "the database is at {found}, but this control plane had come to {known}: it was restored from a backup, or is another one\nbring the latest database back, or go on from what this one has: `grantmesh new-epoch --data-dir DIR --reason TEXT`"
    )]
    Behind {
        /// Where the database is.
        found: String,
        /// Where it was.
        known: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reached {
    epoch: u64,
    revision: u64,
    log_size: u64,
    log_root: String,
}

impl Reached {
    fn of(head: &Head) -> Self {
        Self {
            epoch: head.position.epoch,
            revision: head.position.revision,
            log_size: head.log_size,
            log_root: head.log_root.to_string(),
        }
    }

    fn told(&self) -> String {
        format!("epoch {} revision {} with {} log entries", self.epoch, self.revision, self.log_size)
    }

    /// Whether the other is a later point of the same history, or of a history that was begun anew.
    fn may_become(&self, later: &Self) -> bool {
        if later.epoch != self.epoch {
            return later.epoch > self.epoch;
        }
        let same_place = later.log_size == self.log_size;
        later.revision >= self.revision
            && later.log_size >= self.log_size
            && (!same_place || later.log_root == self.log_root)
    }
}

/// The file.
#[derive(Debug, Clone)]
pub struct Mark {
    path: PathBuf,
}

impl Mark {
    /// The mark of a data folder.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE) }
    }

    fn io(&self) -> impl Fn(io::Error) -> MarkError {
        |source| MarkError::Io { path: self.path.display().to_string(), source }
    }

    fn read(&self) -> Result<Option<Reached>, MarkError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io()(error)),
        };
        let malformed = |source| MarkError::Malformed { path: self.path.display().to_string(), source };
        serde_json::from_str(&text).map(Some).map_err(malformed)
    }

    /// The epoch that was reached, if any was.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn epoch(&self) -> Result<Option<u64>, MarkError> {
        Ok(self.read()?.map(|reached| reached.epoch))
    }

    /// Checks that the database is not behind.
    ///
    /// # Errors
    /// If it is, or the file cannot be read.
    pub fn check(&self, head: &Head) -> Result<(), MarkError> {
        let found = Reached::of(head);
        match self.read()? {
            Some(known) if !known.may_become(&found) => {
                Err(MarkError::Behind { found: found.told(), known: known.told() })
            }
            _ => Ok(()),
        }
    }

    /// Moves the mark on; whoever reads it sees it whole or as it was.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn reach(&self, head: &Head) -> Result<(), MarkError> {
        let text = serde_json::json!(Reached::of(head)).to_string();
        let unfinished = self.path.with_extension("unfinished");
        let write = || {
            let mut file = fs::File::create(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &self.path)
        };
        write().map_err(self.io())
    }
}

#[cfg(test)]
mod tests {
    use grantmesh_shared::time::Timestamp;
    use grantmesh_shared::wire::sync::Position;

    use super::*;
    use crate::audit::LogHash;

    fn head(epoch: u64, revision: u64, log_size: u64, root: u8) -> Head {
        let (position, log_root) = (Position { epoch, revision }, LogHash([root; 32]));
        Head { position, log_size, log_root, delta_floor: 0, told_at: Timestamp::default() }
    }

    #[test]
    fn only_a_later_point_or_a_later_epoch_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let mark = Mark::of(folder.path());
        mark.check(&head(1, 0, 0, 0)).unwrap();
        mark.reach(&head(5, 10, 20, 7)).unwrap();
        assert_eq!(mark.epoch().unwrap(), Some(5));
        for (fine, head) in [
            (true, head(5, 10, 20, 7)),
            (true, head(5, 10, 21, 8)),
            (true, head(5, 11, 22, 8)),
            (true, head(6, 1, 1, 1)),
            (false, head(5, 9, 20, 7)),
            (false, head(5, 10, 19, 6)),
            (false, head(5, 10, 20, 8)),
            (false, head(5, 12, 19, 8)),
            (false, head(4, 99, 99, 9)),
        ] {
            assert_eq!(mark.check(&head).is_ok(), fine, "{head:?}");
        }
        let error = mark.check(&head(5, 9, 20, 7)).unwrap_err().to_string();
        assert!(error.contains("new-epoch"), "{error}");
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(matches!(mark.check(&head(9, 9, 9, 9)), Err(MarkError::Malformed { .. })));
    }
}
