//! Time of day, weekday and date in a zone. A zone is a table of UTC offsets that the control plane wrote into the
//! condition, so that a filter carries no zone database.

use super::EvalError;

/// The most changes of offset that a zone may list: two a year for more than sixty years.
pub const MAX_CHANGES: usize = 160;

/// The largest UTC offset, in seconds.
const MAX_OFFSET: i32 = 18 * 3_600;

/// UTC offsets over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The offset before the first change, in seconds.
    first: i32,
    /// From when (seconds since the Unix epoch) which offset holds, in the order of time.
    changes: Box<[(i64, i32)]>,
    /// The table says nothing from here on; seconds since the Unix epoch.
    until: Option<i64>,
}

impl Zone {
    /// Checks a table.
    #[must_use]
    pub fn new(first: i32, changes: Vec<(i64, i32)>, until: Option<i64>) -> Option<Self> {
        let sorted = changes.is_sorted_by(|one, other| one.0 < other.0);
        let small = |offset: i32| offset.unsigned_abs() <= MAX_OFFSET.unsigned_abs();
        let fine = changes.len() <= MAX_CHANGES && sorted && small(first) && changes.iter().all(|(_, at)| small(*at));
        fine.then(|| Self { first, changes: changes.into(), until })
    }

    /// UTC, or a fixed offset from it in seconds.
    #[must_use]
    pub fn fixed(offset: i32) -> Option<Self> {
        Self::new(offset, Vec::new(), None)
    }

    /// The parts that [`Self::new`] takes.
    #[must_use]
    pub fn parts(&self) -> (i32, &[(i64, i32)], Option<i64>) {
        (self.first, &self.changes, self.until)
    }

    fn offset(&self, seconds: i64) -> Result<i32, EvalError> {
        if self.until.is_some_and(|until| seconds >= until) {
            return Err(EvalError::Range);
        }
        let passed = self.changes.partition_point(|(from, _)| *from <= seconds);
        let change = passed.checked_sub(1).and_then(|at| self.changes.get(at));
        Ok(change.map_or(self.first, |(_, offset)| *offset))
    }

    /// A part of the date and time of day at a point in time.
    ///
    /// # Errors
    /// For times beyond the table's end.
    pub fn part(&self, part: Part, millis: i64) -> Result<i64, EvalError> {
        let offset = self.offset(millis.div_euclid(1_000))?;
        let nanos =
            i128::from(millis).saturating_add(i128::from(offset).saturating_mul(1_000)).saturating_mul(1_000_000);
        let local = ::time::OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| EvalError::Range)?;
        Ok(match part {
            Part::Hours => i64::from(local.hour()),
            Part::Minutes => i64::from(local.minute()),
            Part::Seconds => i64::from(local.second()),
            Part::Milliseconds => i64::from(local.millisecond()),
            Part::DayOfWeek => i64::from(local.weekday().number_days_from_sunday()),
            Part::Year => i64::from(local.year()),
            Part::Month => i64::from(u8::from(local.month())).saturating_sub(1),
            Part::Date => i64::from(local.day()),
            Part::DayOfMonth => i64::from(local.day()).saturating_sub(1),
            Part::DayOfYear => i64::from(local.ordinal()).saturating_sub(1),
        })
    }
}

/// A part of a date and time of day, counted as CEL does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// 0 to 23.
    Hours,
    /// 0 to 59.
    Minutes,
    /// 0 to 59.
    Seconds,
    /// 0 to 999.
    Milliseconds,
    /// 0 is Sunday.
    DayOfWeek,
    /// With all its digits.
    Year,
    /// 0 is January.
    Month,
    /// From 1.
    Date,
    /// From 0.
    DayOfMonth,
    /// From 0.
    DayOfYear,
}

impl Part {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 10] = [
        Self::Hours,
        Self::Minutes,
        Self::Seconds,
        Self::Milliseconds,
        Self::DayOfWeek,
        Self::Year,
        Self::Month,
        Self::Date,
        Self::DayOfMonth,
        Self::DayOfYear,
    ];

    /// The part of a number.
    #[must_use]
    pub fn of(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_change_when_the_table_says_so() {
        let zone = Zone::new(3_600, vec![(1_000_000, 7_200), (2_000_000, 3_600)], Some(3_000_000)).unwrap();
        let hours = |seconds: i64| zone.part(Part::Hours, seconds * 1_000);
        assert_eq!(hours(999_999), Ok(((999_999 + 3_600) / 3_600) % 24));
        assert_eq!(hours(1_000_000), Ok(((1_000_000 + 7_200) / 3_600) % 24));
        assert_eq!(hours(2_000_000), Ok(((2_000_000 + 3_600) / 3_600) % 24));
        assert_eq!(hours(3_000_000), Err(EvalError::Range));
        assert_eq!(Zone::new(0, vec![(2, 0), (1, 0)], None), None);
        assert_eq!(Zone::new(100_000, vec![], None), None);
    }

    #[test]
    fn parts_are_counted_as_cel_does() {
        let at: crate::time::Timestamp = "2026-03-01T23:59:58.007Z".parse().unwrap();
        let parts = |zone: Zone| Part::ALL.map(|part| zone.part(part, at.millis()).unwrap());
        assert_eq!(parts(Zone::fixed(0).unwrap()), [23, 59, 58, 7, 0, 2026, 2, 1, 0, 59]);
        assert_eq!(parts(Zone::fixed(3_600).unwrap()), [0, 59, 58, 7, 1, 2026, 2, 2, 1, 60]);
        assert_eq!(Zone::fixed(0).unwrap().part(Part::Year, i64::MAX), Err(EvalError::Range));
    }
}
