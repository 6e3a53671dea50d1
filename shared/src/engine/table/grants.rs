//! All grants of a table, found by their ids and by who holds them for which action. A million of them takes the memory
//! of a million records, of two [`Places`], and little more; nothing that is done with one of them costs more for that.

use super::held::HeldGrant;
use super::kinds;
use super::places::Places;
use super::record::{self, Record};
use super::slab::Slab;
use super::store::Store;
use crate::engine::grant::Grant;
use crate::engine::principal::SubjectRef;

/// So many grants of one holder for one action are looked through; more are found by their resources.
const FEW: usize = 8;

/// Of those that are many, so many are kept together, for refusals that name them.
const SOME: usize = 64;

/// What stands for a group and not for a record.
const GROUP: u32 = 1 << 31;

/// Grants of one holder for one action, at least two.
#[derive(Debug)]
struct Group {
    /// All of them while they are few.
    some: Vec<u32>,
    /// Once they were more than [`FEW`].
    many: Option<Box<Many>>,
}

#[derive(Debug)]
struct Many {
    count: usize,
    /// Once none is left in `some`: the record of the last one that was, and its kind is kept: to be compared with.
    pattern: Option<Box<[u8]>>,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    store: Store,
    groups: Slab<Group>,
    by_id: Places,
    by_holder: Places,
    /// Those of groups that are many.
    by_resource: Places,
    count: usize,
}

fn hash_of_id(store: &Store, place: u32) -> u64 {
    store.record(place).map_or(0, |record| store.hash_of_id(record.id))
}

fn hash_of_resource(store: &Store, place: u32) -> u64 {
    store.record(place).map_or(0, |record| store.resource_of(&record))
}

/// A record that is like what a slot stands for.
#[inline(never)]
fn like<'g>(store: &'g Store, groups: &'g Slab<Group>, slot: u32) -> Option<Record<'g>> {
    if slot & GROUP == 0 {
        return store.record(slot);
    }
    let group = groups.get(slot ^ GROUP)?;
    match group.some.first() {
        Some(place) => store.record(*place),
        None => record::read(group.many.as_ref()?.pattern.as_ref()?),
    }
}

fn hash_of_holder(store: &Store, groups: &Slab<Group>, slot: u32) -> u64 {
    like(store, groups, slot).map_or(0, |record| store.holder_of(&record))
}

impl Grants {
    /// Adds a grant or replaces the one of the same id.
    #[inline(never)]
    pub(super) fn put(&mut self, grant: Grant, note: Option<&[u8; 32]>) {
        let id = grant.id.bits();
        self.remove(id);
        let Some(place) = self.store.push(grant, note) else { return };
        let store = &self.store;
        self.by_id.insert(store.hash_of_id(id), place, &|other| hash_of_id(store, other));
        self.count = self.count.saturating_add(1);
        self.join(place);
        self.tidy(None);
    }

    #[inline(never)]
    fn slot_of(&self, hash: u64, record: &Record<'_>) -> Option<u32> {
        self.by_holder.of(hash).find(|slot| {
            like(&self.store, &self.groups, *slot).is_some_and(|other| self.store.are_alike(record, &other))
        })
    }

    #[inline(never)]
    fn join(&mut self, place: u32) {
        let Some(record) = self.store.record(place) else { return };
        let hash = self.store.holder_of(&record);
        let slot = self.slot_of(hash, &record);
        let (store, groups) = (&self.store, &mut self.groups);
        let Some(slot) = slot else {
            return self.by_holder.insert(hash, place, &|other| hash_of_holder(store, groups, other));
        };
        if slot & GROUP == 0 {
            let mut some = Vec::with_capacity(2);
            some.extend([slot, place]);
            let group = groups.push(Group { some, many: None });
            return self.by_holder.replace(hash, slot, group | GROUP);
        }
        let Some(group) = groups.get_mut(slot ^ GROUP) else { return };
        let found = |other| hash_of_resource(store, other);
        if let Some(many) = &mut group.many {
            many.count = many.count.saturating_add(1);
            self.by_resource.insert(store.resource_of(&record), place, &found);
            if group.some.len() < SOME {
                group.some.push(place);
            }
            return;
        }
        group.some.push(place);
        if group.some.len() > FEW {
            for place in &group.some {
                self.by_resource.insert(found(*place), *place, &found);
            }
            group.many = Some(Box::new(Many { count: group.some.len(), pattern: None }));
        }
    }

    #[inline(never)]
    fn leave(&mut self, place: u32) {
        let Some(record) = self.store.record(place) else { return };
        let hash = self.store.holder_of(&record);
        let Some(slot) = self.slot_of(hash, &record) else { return };
        let (store, groups) = (&self.store, &mut self.groups);
        if slot & GROUP == 0 {
            return self.by_holder.remove(hash, slot, &|other| hash_of_holder(store, groups, other));
        }
        let Some(group) = groups.get_mut(slot ^ GROUP) else { return };
        group.some.retain(|other| *other != place);
        match &mut group.many {
            Some(many) => {
                many.count = many.count.saturating_sub(1);
                self.by_resource.remove(store.resource_of(&record), place, &|other| hash_of_resource(store, other));
                if many.count == 0 {
                    let kind = many.pattern.as_deref().and_then(record::read).map(|pattern| pattern.kind);
                    self.by_holder.remove(hash, slot, &|other| hash_of_holder(store, groups, other));
                    groups.take(slot ^ GROUP);
                    kind.into_iter().for_each(|kind| self.store.kinds.give_back(kind));
                } else if group.some.is_empty() && many.pattern.is_none() {
                    many.pattern = Some(store.copy(place));
                    let kind = record.kind;
                    self.store.kinds.keep(kind);
                }
            }
            None => {
                if let [last] = group.some.as_slice() {
                    self.by_holder.replace(hash, slot, *last);
                    groups.take(slot ^ GROUP);
                }
            }
        }
    }

    /// Removes a grant.
    #[inline(never)]
    pub(super) fn remove(&mut self, id: u128) {
        let Some(place) = self.place_of(id) else { return };
        self.leave(place);
        let store = &self.store;
        self.by_id.remove(store.hash_of_id(id), place, &|other| hash_of_id(store, other));
        self.count = self.count.saturating_sub(1);
        let piece = self.store.kill(place);
        self.tidy(piece);
    }

    /// Empties this piece, and those that became full and are mostly dead.
    fn tidy(&mut self, piece: Option<u32>) {
        let mut next = piece;
        while let Some(piece) = next.or_else(|| self.store.take_wasted()) {
            self.move_out(piece);
            next = None;
        }
    }

    /// Empties a piece of the store and notes where everything in it is now.
    #[inline(never)]
    fn move_out(&mut self, piece: u32) {
        for (old, new) in self.store.empty(piece) {
            let Some(record) = self.store.record(new) else { continue };
            self.by_id.replace(self.store.hash_of_id(record.id), old, new);
            self.by_resource.replace(self.store.resource_of(&record), old, new);
            let hash = self.store.holder_of(&record);
            self.by_holder.replace(hash, old, new);
            let groups = &self.groups;
            let has = |slot: &u32| {
                slot & GROUP != 0 && groups.get(slot ^ GROUP).is_some_and(|group| group.some.contains(&old))
            };
            let group = self.by_holder.of(hash).find(has);
            let group = group.and_then(|slot| self.groups.get_mut(slot ^ GROUP));
            for place in group.into_iter().flat_map(|group| &mut group.some).filter(|place| **place == old) {
                *place = new;
            }
        }
    }

    #[inline(never)]
    fn place_of(&self, id: u128) -> Option<u32> {
        let is = |place: &u32| self.store.record(*place).is_some_and(|record| record.id == id);
        self.by_id.of(self.store.hash_of_id(id)).find(is)
    }

    /// The grant of that id.
    pub(super) fn get(&self, id: u128) -> Option<HeldGrant<'_>> {
        Some(HeldGrant::of(&self.store, self.store.record(self.place_of(id)?)))
    }

    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// How many pieces hold the records, and the bytes in them.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> (usize, usize) {
        self.store.pieces()
    }

    /// Whether nothing stayed behind.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        let places = [&self.by_id, &self.by_holder, &self.by_resource];
        self.count == 0
            && self.groups.taken() == 0
            && self.store.is_clear()
            && places.into_iter().all(|places| places.is_empty())
    }

    /// Shows the grants of a holder for an action, in the order in which they came, until `show` has seen enough: those for
    /// a resource, or else some of them (all, unless they are many). Tells whether it has. Once in the module, however many
    /// places look for some.
    #[inline(never)]
    pub(super) fn each<'t>(
        &'t self,
        holder: SubjectRef<'_>,
        (service, action): (&str, &str),
        resource: Option<&str>,
        show: &mut dyn FnMut(&HeldGrant<'t>) -> bool,
    ) -> bool {
        let store = &self.store;
        let hash = store.hash_of_holder(holder, service, action);
        let is_theirs = |record: &Record<'_>| store.is_of(record, holder, service, action);
        let mut show_if = |record: Record<'t>| {
            let grant = HeldGrant::of(store, Some(record));
            resource.is_none_or(|resource| grant.is_for(resource)) && show(&grant)
        };
        for slot in self.by_holder.of(hash) {
            let Some(record) = like(store, &self.groups, slot).filter(is_theirs) else { continue };
            if slot & GROUP == 0 {
                return show_if(record);
            }
            let Some(group) = self.groups.get(slot ^ GROUP) else { return false };
            return match (&group.many, resource) {
                (Some(_), Some(resource)) => {
                    let of_resource = self.by_resource.of(store.hash_of_resource(hash, kinds::cut(resource)));
                    of_resource.filter_map(|place| store.record(place).filter(is_theirs)).any(show_if)
                }
                _ => group.some.iter().filter_map(|place| store.record(*place)).any(show_if),
            };
        }
        false
    }

    /// Frees a part of a table that nobody asks any more: what takes a fraction of a millisecond. Tells whether anything is
    /// left.
    pub(super) fn free(&mut self) -> bool {
        // One kind of things after the other.
        let places = [&mut self.by_id, &mut self.by_holder, &mut self.by_resource];
        self.store.free() || self.groups.free(8) || places.into_iter().any(|places| places.free(2_048))
    }
}
