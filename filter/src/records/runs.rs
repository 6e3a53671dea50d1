//! Calls that are let through by one decision after another and are alike in all that a record tells: they share a record,
//! which lists each of them with its time and request id. A caller that works under a grant leaves some records in a second
//! and not one for every call. Only the form of the log depends on this, never a decision. Bounded: so many records at once.

use grantmesh_shared::wire::sync::Position;

use crate::clock::Mono;
use crate::records::Written;

/// The most records at once that calls are added to. Each has one place, which the next with that place takes over.
const PLACES: usize = 64;

/// What calls alike have in common: all that the record of a call that is let through tells, but for the decision's id,
/// the time and the request id. Whoever lets a record tell more adds it here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alike<'c> {
    /// The service.
    pub service: &'c str,
    /// The action.
    pub action: Option<&'c str>,
    /// What the call touches.
    pub resource: Option<&'c str>,
    /// The method.
    pub method: &'c [u8],
    /// The path without its query.
    pub path: &'c str,
    /// Issuer and subject.
    pub user: Option<(&'c str, &'c str)>,
    /// The user's groups.
    pub groups: &'c [&'c str],
    /// The peer's SPIFFE id.
    pub workload: Option<&'c str>,
    /// The bits of the id of the grant that allows it.
    pub grant: Option<u128>,
    /// Whether that was given at once.
    pub break_glass: bool,
    /// The binding that allows it.
    pub binding: Option<&'c str>,
    /// The state it is decided from.
    pub position: Option<Position>,
}

/// What calls alike have in common, in bytes that are not those of any others.
#[derive(Debug, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// A record that is not sealed yet.
#[derive(Debug)]
struct Run {
    key: Key,
    told: Written,
    /// When its first call came.
    came: Mono,
}

/// The records that calls are added to.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Option<Run>>,
    /// Room for the next key.
    room: Vec<u8>,
}

/// A call that has become part of a record.
#[derive(Debug)]
pub struct Joined {
    /// The record.
    pub told: Written,
    /// Which of its calls it is, from 0.
    pub call: u64,
    /// How many bytes that took.
    pub(super) bytes: usize,
}

impl Runs {
    /// Adds a call to the record of calls like it.
    ///
    /// # Errors
    /// If there is none, or no room in it: with what the call's own record can be begun by.
    pub(super) fn join(&mut self, call: &Alike<'_>, request_id: Option<&str>, mono: Mono) -> Result<Joined, Key> {
        let key = call.key(std::mem::take(&mut self.room));
        let run = self.runs.get(key.place()).and_then(Option::as_ref).filter(|run| run.key == key);
        let Some(Run { told, came, .. }) = run else { return Err(key) };
        let number = told.decisions();
        let after = u64::try_from(mono.since(*came).as_millis()).unwrap_or_default();
        let Some(bytes) = told.take(after, request_id) else { return Err(key) };
        self.room = key.0;
        Ok(Joined { told: Written::clone(told), call: number, bytes })
    }

    /// Has later calls like this be added to this record.
    pub(super) fn begin(&mut self, key: Key, told: &Written, mono: Mono) {
        if self.runs.is_empty() {
            self.runs.resize_with(PLACES, || None);
        }
        if let Some(place) = self.runs.get_mut(key.place()) {
            *place = Some(Run { key, told: Written::clone(told), came: mono });
        }
    }

    /// Forgets all: the records are sealed.
    pub(super) fn end(&mut self) {
        self.runs.clear();
    }
}

impl Alike<'_> {
    /// In a vector whose contents are of no use.
    #[inline(never)]
    fn key(&self, mut into: Vec<u8>) -> Key {
        // Every field by its name, so that a new one is not forgotten here.
        let Alike {
            service,
            action,
            resource,
            method,
            path,
            user,
            groups,
            workload,
            grant,
            break_glass,
            binding,
            position,
        } = self;
        into.clear();
        let (issuer, subject) = user.unzip();
        // How long each is comes first, so that no two lists of texts are the same bytes.
        let mut add = |text: Option<&[u8]>| {
            let length = text.map_or(u32::MAX, |text| u32::try_from(text.len()).unwrap_or(u32::MAX - 1));
            into.extend_from_slice(&length.to_le_bytes());
            into.extend_from_slice(text.unwrap_or_default());
        };
        for text in [Some(*service), *action, *resource, Some(*path), issuer, subject, *workload, *binding] {
            add(text.map(str::as_bytes));
        }
        add(Some(method));
        groups.iter().for_each(|group| add(Some(group.as_bytes())));
        let (epoch, revision) = position.map_or((0, 0), |Position { epoch, revision }| (epoch, revision));
        for number in
            [u64::from(grant.is_some()), u64::from(*break_glass), u64::from(position.is_some()), epoch, revision]
        {
            into.extend_from_slice(&number.to_le_bytes());
        }
        into.extend_from_slice(&grant.unwrap_or_default().to_le_bytes());
        Key(into)
    }
}

impl Key {
    fn place(&self) -> usize {
        let (words, _) = self.0.as_chunks::<8>();
        let mix = |sum: u64, word: &[u8; 8]| {
            (sum.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        // The upper half of a product depends on all that was multiplied.
        usize::try_from(words.iter().fold(0, mix) >> 32).unwrap_or_default() % PLACES
    }
}
