//! Shares of what is bounded in one VM: no principal takes more than half of it, so that whoever asks as much as they can
//! leaves the others room. Used by `streams`, `masking` and `uses`.

/// Whether one more fits, of at most `most`, where there are `all` so far. `mine`, how many of them are the caller's, is
/// asked only where room gets scarce, since it may have to be counted.
#[must_use]
pub fn one_more(all: usize, most: usize, mine: impl FnOnce() -> usize) -> bool {
    let share = most / 2;
    all < share || all < most && mine() < share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_half() {
        for (all, mine, fits) in [(0, 0, true), (4, 4, true), (5, 5, false), (5, 4, true), (9, 4, true), (10, 0, false)]
        {
            assert_eq!(one_more(all, 10, || mine), fits, "{mine} of {all}");
        }
        assert!(one_more(4, 10, || panic!("asked without need")));
    }
}
