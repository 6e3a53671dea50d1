//! The Merkle tree of the log: hashes as RFC 6962 makes them, kept in the order of C2SP's stored hashes.

use std::fmt;

use grantmesh_shared::wire::signature::from_hex;
use tlog_tiles::tlog::{self, Hash, HashReader};

use super::AuditError;

/// A hash of the log's tree, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogHash(pub [u8; 32]);

impl LogHash {
    /// The root of a log without entries.
    pub const EMPTY: Self = Self(tlog::EMPTY_HASH.0);

    /// The leaf hash of an entry.
    #[must_use]
    pub fn of_entry(entry: &[u8]) -> Self {
        Self(tlog::record_hash(entry).0)
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }
}

impl fmt::Display for LogHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LogHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where the leaf hash of an entry stands among the stored hashes.
#[must_use]
pub fn leaf_index(seq: u64) -> u64 {
    tlog::stored_hash_index(0, seq)
}

/// The right edge of the tree: the roots of its complete subtrees, by level. All that is needed to append.
#[derive(Debug, Clone)]
pub struct Frontier {
    size: u64,
    roots: [Option<Hash>; 64],
}

impl Default for Frontier {
    fn default() -> Self {
        Self { size: 0, roots: [None; 64] }
    }
}

impl Frontier {
    /// The stored hashes that make up the frontier of a log of `size` entries.
    #[must_use]
    pub fn indexes(size: u64) -> Vec<u64> {
        tlog::sub_tree_index(0, size, Vec::new())
    }

    /// Puts a frontier together from the hashes that stand at [`Frontier::indexes`], and checks it against the root.
    ///
    /// # Errors
    /// If they do not give that root.
    pub fn load(size: u64, hashes: &[LogHash], root: LogHash) -> Result<Self, AuditError> {
        let indexes = Self::indexes(size);
        if indexes.len() != hashes.len() {
            return Err(AuditError::Tree(format!("{} of {} hashes are there", hashes.len(), indexes.len())));
        }
        let mut frontier = Self { size, ..Self::default() };
        for (index, hash) in indexes.iter().zip(hashes) {
            let (level, _) = tlog::split_stored_hash_index(*index);
            if let Some(slot) = frontier.roots.get_mut(usize::from(level)) {
                *slot = Some(Hash(hash.0));
            }
        }
        let is = frontier.root()?;
        if is == root {
            Ok(frontier)
        } else {
            Err(AuditError::Tree(format!("they give the root {is}, the head says {root}")))
        }
    }

    /// How many entries there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root over all entries.
    ///
    /// # Errors
    /// Never for a frontier that was loaded or grown.
    pub fn root(&self) -> Result<LogHash, AuditError> {
        tlog::tree_hash(self.size, self)
            .map(|hash| LogHash(hash.0))
            .map_err(|error| AuditError::Tree(error.to_string()))
    }

    /// Appends an entry by its leaf hash; gives the hashes to store, with their indexes.
    ///
    /// # Errors
    /// Never for a frontier that was loaded or grown.
    pub fn append(&mut self, leaf: LogHash) -> Result<Vec<(u64, LogHash)>, AuditError> {
        let first = leaf_index(self.size);
        let hashes = tlog::stored_hashes_for_record_hash(self.size, Hash(leaf.0), self)
            .map_err(|error| AuditError::Tree(error.to_string()))?;
        // The last of the new hashes is the root of the complete subtree that now ends at this entry; lower ones are within it.
        let last = hashes.len().saturating_sub(1);
        for (level, slot) in self.roots.iter_mut().enumerate().take(hashes.len()) {
            *slot = hashes.get(level).copied().filter(|_| level == last);
        }
        self.size = self.size.saturating_add(1);
        Ok((first..).zip(hashes.into_iter().map(|hash| LogHash(hash.0))).collect())
    }
}

impl HashReader for Frontier {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        let read = |index: &u64| {
            let (level, _) = tlog::split_stored_hash_index(*index);
            self.roots.get(usize::from(level)).copied().flatten().ok_or(tlog::Error::IndexesNotInTree)
        };
        indexes.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;

    use super::*;

    #[test]
    fn roots_are_those_of_another_implementation() {
        let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut frontier = Frontier::default();
        let mut stored = Vec::new();
        assert_eq!(frontier.root().unwrap(), LogHash::EMPTY);
        for seq in 0..130_u64 {
            let entry = format!("entry {seq}").into_bytes();
            for (index, hash) in frontier.append(LogHash::of_entry(&entry)).unwrap() {
                assert_eq!(index, stored.len() as u64);
                stored.push(hash);
            }
            oracle.push(entry);
            let root = frontier.root().unwrap();
            assert_eq!(root.0, <[u8; 32]>::from(*oracle.root().as_bytes()), "after {seq}");
            let hashes: Vec<_> = Frontier::indexes(seq + 1).iter().map(|index| stored[*index as usize]).collect();
            frontier = Frontier::load(seq + 1, &hashes, root).unwrap();
            assert!(Frontier::load(seq + 1, &hashes, LogHash::EMPTY).is_err());
        }
    }
}
