//! Patterns as tables: a deterministic automaton over bytes, made by the control plane from a `matches` or `glob` literal.
//! Walking it takes one step per byte, whatever the pattern was.

/// The most entries of an automaton's table. 8,192 are at most 40 KB on the wire and 16 KB in a filter.
pub const MAX_TRANSITIONS: usize = 8_192;

/// Never accepts any more.
pub const REJECT: u16 = 0;

/// Accepts whatever follows.
pub const ACCEPT: u16 = 1;

/// A table of states. States 0 and 1 are the ends [`REJECT`] and [`ACCEPT`]; others have one row each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automaton {
    /// Class of each byte.
    classes: Box<[u8]>,
    /// How many classes there are.
    width: usize,
    /// Next states, row after row, for state 2 and on.
    next: Box<[u16]>,
    /// Whether a text may end in the state.
    at_end: Box<[bool]>,
    start: u16,
}

impl Automaton {
    /// Checks a table: 256 classes, whole rows, states that exist.
    #[must_use]
    pub fn new(classes: Vec<u8>, next: Vec<u16>, at_end: Vec<bool>, start: u16) -> Option<Self> {
        let width = usize::from(classes.iter().copied().max()?).checked_add(1)?;
        let states = at_end.len().checked_add(2)?;
        let known = |state: &u16| usize::from(*state) < states;
        let fine = classes.len() == 256
            && next.len() <= MAX_TRANSITIONS
            && width.checked_mul(at_end.len())? == next.len()
            && next.iter().all(known)
            && known(&start);
        fine.then(|| Self { classes: classes.into(), width, next: next.into(), at_end: at_end.into(), start })
    }

    /// The parts that [`Self::new`] takes.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u16], &[bool], u16) {
        (&self.classes, &self.next, &self.at_end, self.start)
    }

    /// Whether no text is accepted at all. (Texts that are no UTF-8 count as texts here, so that `true` is certain.)
    #[must_use]
    pub fn accepts_nothing(&self) -> bool {
        let mut seen = vec![false; self.at_end.len()];
        let mut open = vec![self.start];
        while let Some(state) = open.pop() {
            let Some(row) = usize::from(state).checked_sub(2) else {
                if state == ACCEPT {
                    return false;
                }
                continue;
            };
            if seen.get_mut(row).is_none_or(|seen| std::mem::replace(seen, true)) {
                continue;
            }
            if self.at_end.get(row).copied().unwrap_or(false) {
                return false;
            }
            open.extend(self.next.iter().skip(row.saturating_mul(self.width)).take(self.width));
        }
        true
    }

    /// Whether it accepts a text.
    #[must_use]
    pub fn accepts(&self, text: &str) -> bool {
        let mut state = self.start;
        for byte in text.bytes() {
            let Some(row) = usize::from(state).checked_sub(2) else {
                return state == ACCEPT;
            };
            let class = self.classes.get(usize::from(byte)).copied().unwrap_or(0);
            let at = row.saturating_mul(self.width).saturating_add(usize::from(class));
            state = self.next.get(at).copied().unwrap_or(REJECT);
        }
        match usize::from(state).checked_sub(2) {
            None => state == ACCEPT,
            Some(row) => self.at_end.get(row).copied().unwrap_or(false),
        }
    }
}
