//! The records of grants in pieces of 16 KiB, named by where they are. A piece that is mostly dead is emptied: what lives in
//! it is written anew, in other places.

use std::hash::BuildHasher;

use super::kinds::{Kind, Kinds, cut};
use super::record::{self, Record, Terms};
use super::slab::Slab;
use crate::engine::grant::Grant;
use crate::engine::hash::Keyed;
use crate::engine::principal::SubjectRef;

/// Bits of a place that are within a piece.
const BITS: u32 = 14;

/// Bytes of a piece; a record that is larger has one of its own.
const PIECE: usize = 1 << BITS;

/// The bits of a place that say where in a piece.
const WITHIN: u32 = (1 << BITS) - 1;

/// So many pieces there are at most: the highest bit of a place is the table's.
const MOST: u32 = 1 << 17;

#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    dead: usize,
}

impl Piece {
    /// Whether it is mostly dead.
    fn is_waste(&self) -> bool {
        self.dead.saturating_mul(2) > self.bytes.len()
    }
}

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Store {
    pieces: Slab<Piece>,
    /// The piece that is written to.
    open: Option<u32>,
    /// One that became full and is mostly dead by then.
    wasted: Option<u32>,
    pub(super) kinds: Kinds,
    terms: Slab<Box<Terms>>,
    hasher: Keyed,
}

impl Store {
    /// Writes a grant; nothing if there is no more room in two gigabytes.
    pub(super) fn push(&mut self, mut grant: Grant, note: Option<&[u8; 32]>) -> Option<u32> {
        let is_plain = grant.conditions.is_empty() && grant.bound.is_none() && grant.reveals.is_empty();
        let place = (!is_plain).then(|| {
            let conditions = std::mem::take(&mut grant.conditions);
            let (bound, reveals) = (grant.bound.take(), std::mem::take(&mut grant.reveals));
            self.terms.push(Box::new(Terms { id: grant.id.clone(), conditions, bound, reveals }))
        });
        let (kind, rest) = self.kinds.take(&grant);
        let written = record::written(&grant, kind, rest, place, note);
        let at = self.write(&written);
        if at.is_none() {
            self.kinds.give_back(kind);
            place.and_then(|place| self.terms.take(place));
        }
        at
    }

    fn write(&mut self, bytes: &[u8]) -> Option<u32> {
        let fits = |piece: &&mut Piece| piece.bytes.len().saturating_add(bytes.len()) <= PIECE;
        let open = self.open.and_then(|at| Some((at, self.pieces.get_mut(at).filter(fits)?)));
        let (at, piece) = match open {
            Some(open) => open,
            None => {
                let is_waste = |at: &u32| self.pieces.get(*at).is_some_and(Piece::is_waste);
                self.wasted = self.open.filter(is_waste).or(self.wasted);
                // The first one grows: there may never be more than a grant or two.
                let room = if self.open.is_some() { PIECE.max(bytes.len()) } else { bytes.len() };
                let at = self.pieces.push(Piece { bytes: Vec::with_capacity(room), dead: 0 });
                if at >= MOST {
                    self.pieces.take(at);
                    return None;
                }
                self.open = Some(at);
                (at, self.pieces.get_mut(at)?)
            }
        };
        let within = u32::try_from(piece.bytes.len()).ok()?;
        piece.bytes.extend_from_slice(bytes);
        Some((at << BITS) | within)
    }

    #[inline]
    fn bytes(&self, place: u32) -> &[u8] {
        let within = usize::try_from(place & WITHIN).unwrap_or(usize::MAX);
        self.pieces.get(place >> BITS).and_then(|piece| piece.bytes.get(within..)).unwrap_or_default()
    }

    /// The record there.
    pub(super) fn record(&self, place: u32) -> Option<Record<'_>> {
        record::read(self.bytes(place))
    }

    /// A copy of the record there.
    pub(super) fn copy(&self, place: u32) -> Box<[u8]> {
        record::whole(self.bytes(place)).into()
    }

    /// The terms of that number.
    pub(super) fn terms(&self, at: u32) -> Option<&Terms> {
        self.terms.get(at).map(|terms| &**terms)
    }

    /// A piece that is to be emptied because it became full; told once.
    pub(super) const fn take_wasted(&mut self) -> Option<u32> {
        self.wasted.take()
    }

    /// Marks the record there as dead. Gives the number of its piece if that is now to be emptied.
    pub(super) fn kill(&mut self, place: u32) -> Option<u32> {
        let (kind, terms) = self.record(place).map(|record| (record.kind, record.terms))?;
        self.kinds.give_back(kind);
        terms.and_then(|at| self.terms.take(at));
        let within = usize::try_from(place & WITHIN).unwrap_or(usize::MAX);
        let number = place >> BITS;
        let piece = self.pieces.get_mut(number)?;
        let killed = piece.bytes.get_mut(within..).map(record::kill).unwrap_or(0);
        piece.dead = piece.dead.saturating_add(killed);
        (piece.is_waste() && self.open != Some(number)).then_some(number)
    }

    /// Takes a piece away and writes what lives in it anew: from where to where each has moved. What there is no room for
    /// stays where it is.
    pub(super) fn empty(&mut self, number: u32) -> Vec<(u32, u32)> {
        let Some(piece) = self.pieces.get_mut(number) else { return Vec::new() };
        let mut bytes = std::mem::take(&mut piece.bytes);
        let mut moved = Vec::new();
        let places: Vec<usize> = record::places(&bytes).collect();
        for within in places {
            let Some(living) = bytes.get(within..).filter(|bytes| record::read(bytes).is_some()) else { continue };
            let Some(new) = self.write(record::whole(living)) else {
                self.put_back(number, bytes);
                return moved;
            };
            moved.push(((number << BITS) | u32::try_from(within).unwrap_or(0), new));
            bytes.get_mut(within..).map(record::kill);
        }
        // Only now, so that no new place is one of the old ones.
        self.pieces.take(number);
        moved
    }

    fn put_back(&mut self, number: u32, bytes: Vec<u8>) {
        let dead = |within: usize| bytes.get(within..).filter(|bytes| record::read(bytes).is_none()).map(record::whole);
        let dead = record::places(&bytes).filter_map(dead).map(<[u8]>::len).sum();
        if let Some(piece) = self.pieces.get_mut(number) {
            *piece = Piece { bytes, dead };
        }
    }

    /// How many pieces there are, and the bytes in them.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> (usize, usize) {
        let bytes = (0..10_000).filter_map(|at| self.pieces.get(at));
        (self.pieces.taken(), bytes.map(|piece| piece.bytes.len()).sum())
    }

    /// Whether nothing is kept beside the records.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.terms.taken() == 0 && self.kinds.taken() == (0, 0)
    }

    /// The hash of a grant by its id.
    pub(super) fn hash_of_id(&self, id: u128) -> u64 {
        self.hasher.hash_one(id)
    }

    /// The hash of whoever holds grants for an action.
    #[inline(never)]
    pub(super) fn hash_of_holder(&self, holder: SubjectRef<'_>, service: &str, action: &str) -> u64 {
        self.hasher.hash_one((holder, service, action))
    }

    /// The hash of one resource of theirs.
    #[inline(never)]
    pub(super) fn hash_of_resource(&self, holder: u64, (beginning, rest): (&str, &str)) -> u64 {
        self.hasher.hash_one((holder, beginning, rest))
    }

    #[inline(never)]
    pub(super) fn holder_of(&self, record: &Record<'_>) -> u64 {
        let hash = |kind: &Kind| self.hash_of_holder(subject(record, kind), &kind.service, &kind.action);
        self.kinds.get(record.kind).map_or(0, hash)
    }

    #[inline(never)]
    pub(super) fn resource_of(&self, record: &Record<'_>) -> u64 {
        let beginning = self.kinds.get(record.kind).map_or("", |kind| &kind.beginning);
        let rest = record::text(record.rest);
        let parts = if beginning.is_empty() { cut(rest) } else { (beginning, rest) };
        self.hash_of_resource(self.holder_of(record), parts)
    }

    /// Whether both are of one holder for one action.
    pub(super) fn are_alike(&self, one: &Record<'_>, other: &Record<'_>) -> bool {
        let is = |kind: &Kind| self.is_of(other, subject(one, kind), &kind.service, &kind.action);
        self.kinds.get(one.kind).is_some_and(is)
    }

    /// Whether a record is of a holder for an action.
    #[inline(never)]
    pub(super) fn is_of(&self, record: &Record<'_>, holder: SubjectRef<'_>, service: &str, action: &str) -> bool {
        let is_held = |kind: &Kind| match (holder, record.user) {
            (SubjectRef::User(issuer, subject), Some(user)) => user == subject.as_bytes() && *kind.issuer == *issuer,
            (SubjectRef::Workload(workload), None) => record.workload == Some(workload.as_bytes()),
            _ => false,
        };
        let is = |kind: &Kind| is_held(kind) && *kind.action == *action && *kind.service == *service;
        self.kinds.get(record.kind).is_some_and(is)
    }

    /// Frees a part; tells whether anything is left.
    pub(super) fn free(&mut self) -> bool {
        self.pieces.free(1) || self.terms.free(1)
    }
}

/// The part of its holder under which a grant is found: the user if there is one.
fn subject<'r>(record: &Record<'r>, kind: &'r Kind) -> SubjectRef<'r> {
    match (record.user, record.workload) {
        (Some(user), _) => SubjectRef::User(&kind.issuer, record::text(user)),
        (None, workload) => SubjectRef::Workload(record::text(workload.unwrap_or_default())),
    }
}
