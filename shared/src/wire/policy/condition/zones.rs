//! Time zones of literals: a fixed offset, or a named zone written out as a table of its offsets.
//! The names and their rules come with `jiff`'s bundled database; no file of the machine is read.

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;

use crate::engine::condition::{MAX_CHANGES, Zone};

/// From when on a zone's changes are written out, 2020-01-01; what was before counts as it was then.
const FROM: i64 = 1_577_836_800;

/// Up to when, 2061-01-01. A condition evaluated later errs; applying the policy again brings a new table.
const UNTIL: i64 = 2_871_763_200;

/// The zone of a literal: `UTC`, `+01:00` or `Europe/Berlin`; or what is wrong with it.
pub(super) fn zone(name: &str) -> Result<Zone, (String, String)> {
    let help = || "write an IANA name like `Europe/Berlin`, or an offset like `+01:00`".to_owned();
    let unknown = || (format!("`{}` is not a time zone", name.escape_debug()), help());
    if let Some(offset) = fixed(name) {
        return Zone::fixed(offset).ok_or_else(unknown);
    }
    let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| unknown())?;
    let from = Timestamp::from_second(FROM).map_err(|_| unknown())?;
    let first = zone.to_offset(from).seconds();
    let mut changes = Vec::new();
    for change in zone.following(from) {
        let at = change.timestamp().as_second();
        if at >= UNTIL {
            break;
        }
        changes.push((at, change.offset().seconds()));
        if changes.len() > MAX_CHANGES {
            return Err((format!("the zone `{name}` changes its offset too often"), help()));
        }
    }
    Zone::new(first, changes, Some(UNTIL)).ok_or_else(unknown)
}

/// `UTC`, or `+01:00` and `-05:30` in seconds.
fn fixed(name: &str) -> Option<i32> {
    if matches!(name, "UTC" | "Z") {
        return Some(0);
    }
    let (sign, rest) = match name.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, name.strip_prefix('+')?),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let two = |text: &str| {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then_some(())
            .and_then(|()| text.parse::<i32>().ok())
    };
    let (hours, minutes) = (two(hours)?, two(minutes).filter(|minutes| *minutes < 60)?);
    Some(hours.saturating_mul(3_600).saturating_add(minutes.saturating_mul(60)).saturating_mul(sign))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::condition::Part;

    fn hours(name: &str, at: &str) -> i64 {
        let at: crate::time::Timestamp = at.parse().unwrap();
        zone(name).unwrap().part(Part::Hours, at.millis()).unwrap()
    }

    #[test]
    fn a_named_zone_follows_its_summer_time() {
        assert_eq!(hours("Europe/Berlin", "2026-03-29T00:59:59Z"), 1);
        assert_eq!(hours("Europe/Berlin", "2026-03-29T01:00:00Z"), 3);
        assert_eq!(hours("Europe/Berlin", "2026-10-25T00:59:59Z"), 2);
        assert_eq!(hours("Europe/Berlin", "2026-10-25T01:00:00Z"), 2);
        assert_eq!(hours("Europe/Berlin", "2059-07-01T12:00:00Z"), 14);
        assert_eq!(hours("Asia/Kolkata", "2026-07-01T12:00:00Z"), 17);
        assert_eq!(hours("America/New_York", "2026-07-01T12:00:00Z"), 8);
    }

    #[test]
    fn a_fixed_offset_is_taken_as_written() {
        assert_eq!(hours("+01:00", "2026-07-01T12:00:00Z"), 13);
        assert_eq!(hours("-05:30", "2026-07-01T12:00:00Z"), 6);
        assert_eq!(hours("UTC", "2026-07-01T12:00:00Z"), 12);
    }

    #[test]
    fn every_zone_that_people_use_fits() {
        for name in ["Africa/Casablanca", "Asia/Tehran", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"] {
            assert!(zone(name).is_ok(), "{name}");
        }
        for name in ["", "Berlin", "Europe/Berlín", "+1:00", "+25:00", "01:00", "+01:60", "../etc/passwd"] {
            assert!(zone(name).is_err(), "{name}");
        }
    }
}
