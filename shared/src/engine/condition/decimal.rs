//! Exact decimal numbers, as JSON writes them: up to 18 significant digits (and every 64-bit integer), never rounded.
//! A number that does not fit is refused where it is read, so that a comparison is never of something else.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The largest power of ten either way. JSON allows any; nobody's amounts need more.
const MAX_EXPONENT: i32 = 400;

/// `mantissa * 10^exponent`, with no trailing zero in the mantissa, so that equal numbers are equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i64,
    exponent: i16,
}

/// Why a text is not a number here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not a JSON number.
    #[error("not a number\nwrite it like `500`, `-2.5` or `1e3`")]
    Form,
    /// More digits or a larger exponent than is kept exactly.
    #[error("the number has more than 18 significant digits, or an exponent beyond 400\nwrite a shorter number")]
    Range,
}

impl Decimal {
    fn normal(mut mantissa: i128, mut exponent: i32) -> Result<Self, DecimalError> {
        if mantissa == 0 {
            return Ok(Self { mantissa: 0, exponent: 0 });
        }
        while mantissa.checked_rem(10) == Some(0) {
            mantissa = mantissa.checked_div(10).unwrap_or(0);
            exponent = exponent.saturating_add(1);
        }
        let mantissa = i64::try_from(mantissa).map_err(|_| DecimalError::Range)?;
        if exponent.abs() > MAX_EXPONENT {
            return Err(DecimalError::Range);
        }
        let exponent = i16::try_from(exponent).map_err(|_| DecimalError::Range)?;
        Ok(Self { mantissa, exponent })
    }

    /// How many digits stand before the point, if it were written without an exponent; negative for leading zeros behind it.
    fn magnitude(self) -> i32 {
        let digits = self.mantissa.unsigned_abs().checked_ilog10().map_or(0, |log| log.saturating_add(1));
        i32::try_from(digits).unwrap_or(0).saturating_add(i32::from(self.exponent))
    }
}

impl From<i64> for Decimal {
    fn from(whole: i64) -> Self {
        Self::normal(i128::from(whole), 0).unwrap_or(Self { mantissa: whole, exponent: 0 })
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    /// Reads what JSON allows as a number, nothing else.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (plain, power) = match rest.split_once(['e', 'E']) {
            Some((plain, power)) => (plain, Some(power)),
            None => (rest, None),
        };
        let (whole, fraction) = match plain.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (plain, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !digits(whole) || leading_zero || fraction.is_some_and(|fraction| !digits(fraction)) {
            return Err(DecimalError::Form);
        }
        let mut exponent = match power {
            None => 0,
            Some(power) => {
                let unsigned = power.strip_prefix(['+', '-']).unwrap_or(power);
                if !digits(unsigned) {
                    return Err(DecimalError::Form);
                }
                power.parse::<i32>().map_err(|_| DecimalError::Range)?
            }
        };
        let fraction = fraction.unwrap_or_default().trim_end_matches('0');
        let mut mantissa: i128 = 0;
        for digit in whole.bytes().chain(fraction.bytes()) {
            let digit = i128::from(digit.saturating_sub(b'0'));
            let next = mantissa.checked_mul(10).and_then(|mantissa| mantissa.checked_add(digit));
            mantissa = next.ok_or(DecimalError::Range)?;
        }
        exponent = exponent.saturating_sub(i32::try_from(fraction.len()).unwrap_or(i32::MAX));
        Self::normal(if negative { mantissa.saturating_neg() } else { mantissa }, exponent)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.mantissa.signum().cmp(&other.mantissa.signum());
        if sign.is_ne() || self.mantissa == 0 {
            return sign;
        }
        let size = self.magnitude().cmp(&other.magnitude());
        if size.is_ne() {
            return if self.mantissa < 0 { size.reverse() } else { size };
        }
        // Equally many digits before the point, so the exponents differ by at most 18 and this cannot overflow.
        let low = self.exponent.min(other.exponent);
        let scaled = |number: &Self| {
            let up = u32::try_from(number.exponent.saturating_sub(low)).unwrap_or(0).min(20);
            i128::from(number.mantissa).saturating_mul(10_i128.saturating_pow(up))
        };
        scaled(self).cmp(&scaled(other))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Decimal {
    /// A JSON number that reads back as the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mantissa, exponent } = *self;
        let digits = mantissa.unsigned_abs().to_string();
        let behind = usize::from(exponent.min(0).unsigned_abs());
        match exponent {
            0 => write!(f, "{mantissa}"),
            1..=18 => write!(f, "{mantissa}{}", "0".repeat(usize::from(exponent.unsigned_abs()))),
            -18..0 => {
                let sign = if mantissa < 0 { "-" } else { "" };
                let padded = format!("{digits:0>width$}", width = behind.saturating_add(1));
                let (whole, fraction) = padded.split_at(padded.len().saturating_sub(behind));
                write!(f, "{sign}{whole}.{fraction}")
            }
            _ => write!(f, "{mantissa}e{exponent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn equal_numbers_are_equal_however_they_are_written() {
        for (one, other) in [("1", "1.0"), ("100", "1e2"), ("0.10", "1E-1"), ("-0", "0"), ("-2.50", "-25e-1")] {
            assert_eq!(read(one), read(other), "{one} {other}");
        }
        assert!(read("0.1") < read("0.10000000000000001"));
        assert!(read("9007199254740993") > read("9007199254740992"));
        assert!(read("-1e400") < read("-1") && read("1e-400") > read("0"));
    }

    #[test]
    fn what_is_no_json_number_or_cannot_be_exact_is_refused() {
        for text in ["", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", " 1", "1 ", "NaN", "Infinity", "1_000"] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError::Form), "{text}");
        }
        for text in ["1e401", "1e-401", "1e99999999999", "12345678901234567891", "0.12345678901234567891"] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError::Range), "{text}");
        }
    }

    proptest! {
        #[test]
        fn order_is_that_of_scaled_integers(one in -10_000_000_i64..10_000_000, two in -10_000_000_i64..10_000_000, shift in -5_i32..5) {
            let write = |number: i64| format!("{number}e{shift}");
            prop_assert_eq!(read(&write(one)).cmp(&read(&write(two))), one.cmp(&two));
            prop_assert_eq!(read(&format!("{one}e0")).cmp(&read(&format!("{two}e2"))), one.cmp(&two.saturating_mul(100)));
            prop_assert_eq!(read(&read(&write(one)).to_string()), read(&write(one)));
        }
    }
}
