//! Rows of things by 24 bits of their hashes. From time to time one row is cut in two (linear hashing), so that rows stay
//! short and no change of a table of millions touches more than two of them.

/// The bits of a hash that things are placed by.
pub(super) const PLACES: u32 = 0xff_ffff;

/// A place for a hash: bits that the maps of the standard library use less.
pub(super) fn place(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0) & PLACES
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Rows<R>(Vec<R>);

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R: Default> Rows<R> {
    /// How many rows there are.
    pub(super) const fn count(&self) -> usize {
        self.0.len()
    }

    /// The row of a place: as many of its bits as number the rows, and one less for those that are not cut in two yet.
    #[inline]
    fn at(&self, place: u32) -> usize {
        let bits = self.0.len().next_power_of_two().wrapping_sub(1);
        let at = usize::try_from(place).unwrap_or(0) & bits;
        if at < self.0.len() { at } else { at & (bits >> 1) }
    }

    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&R> {
        self.0.get(self.at(place))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut R> {
        let at = self.at(place);
        self.0.get_mut(at)
    }

    /// Makes one more row, of what `split` takes out of the one whose turn it is: it is asked with that row and with what tells
    /// whether a place is of the new one.
    pub(super) fn cut(&mut self, split: impl FnOnce(&mut R, &dyn Fn(u32) -> bool) -> R) {
        let new = self.0.len();
        self.0.push(R::default());
        let other = new & (self.0.len().next_power_of_two().wrapping_sub(1) >> 1);
        let Some(mut row) = self.0.get_mut(other).filter(|_| other != new).map(std::mem::take) else { return };
        let made = split(&mut row, &|place| self.at(place) == new);
        for (at, row) in [(other, row), (new, made)] {
            if let Some(into) = self.0.get_mut(at) {
                *into = row;
            }
        }
    }

    /// Frees up to so many rows; tells whether any are left.
    pub(super) fn free(&mut self, most: usize) -> bool {
        self.0.truncate(self.0.len().saturating_sub(most));
        !self.0.is_empty()
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> std::slice::Iter<'_, R> {
        self.0.iter()
    }
}
