//! Things by number; numbers that are given back are used again. They are kept in chunks, so that one more of a million
//! moves none of the others.

/// Things of a chunk.
const CHUNK: usize = 256;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Vec<Slot<T>>>,
    /// The number that was given back last.
    free: Option<u32>,
}

#[derive(Debug)]
enum Slot<T> {
    Taken(T),
    /// With the number that was given back before.
    Free(Option<u32>),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: None }
    }
}

impl<T> Slab<T> {
    fn slot(&self, at: u32) -> Option<&Slot<T>> {
        let at = usize::try_from(at).ok()?;
        self.chunks.get(at.wrapping_div(CHUNK))?.get(at.wrapping_rem(CHUNK))
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot<T>> {
        let at = usize::try_from(at).ok()?;
        self.chunks.get_mut(at.wrapping_div(CHUNK))?.get_mut(at.wrapping_rem(CHUNK))
    }

    pub(super) fn push(&mut self, thing: T) -> u32 {
        if let Some(at) = self.free
            && let Some(slot) = self.slot_mut(at)
            && let Slot::Free(next) = *slot
        {
            *slot = Slot::Taken(thing);
            self.free = next;
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            // The first one grows: there may never be more than a few.
            let room = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(room));
        }
        let before = self.chunks.len().saturating_sub(1).saturating_mul(CHUNK);
        let Some(chunk) = self.chunks.last_mut() else { return u32::MAX };
        let at = before.saturating_add(chunk.len());
        chunk.push(Slot::Taken(thing));
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    #[inline]
    pub(super) fn get(&self, at: u32) -> Option<&T> {
        match self.slot(at)? {
            Slot::Taken(thing) => Some(thing),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        match self.slot_mut(at)? {
            Slot::Taken(thing) => Some(thing),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn take(&mut self, at: u32) -> Option<T> {
        let next = self.free;
        let slot = self.slot_mut(at).filter(|slot| matches!(slot, Slot::Taken(_)))?;
        let Slot::Taken(thing) = std::mem::replace(slot, Slot::Free(next)) else { return None };
        self.free = Some(at);
        Some(thing)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.chunks.iter().flatten().filter(|slot| matches!(slot, Slot::Taken(_))).count()
    }

    /// Frees so many chunks from the end, or as many as there are; tells whether any are left.
    pub(super) fn free(&mut self, most: usize) -> bool {
        self.chunks.truncate(self.chunks.len().saturating_sub(most));
        !self.chunks.is_empty()
    }
}
