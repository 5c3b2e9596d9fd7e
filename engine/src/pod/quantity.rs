//! `resource.Quantity`, exactly: no float ever holds one.
//!
//! Grammar and rounding follow `k8s.io/apimachinery/pkg/api/resource/quantity.go`: decimal suffixes
//! `n u m k M G T P E`, binary `Ki … Ei`, exponents `e3`/`E3`, and what is finer than a billionth is rounded up.

use std::fmt;

/// An amount in billionths of its unit (core, byte).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Quantity(i128);

/// The unit that a share is rounded down to, so that it is written without a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// A thousandth of a core.
    Millicore,
    /// A mebibyte, or a byte if the share is less than a mebibyte.
    Mebibyte,
}

/// The reason why a text is not a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It does not follow the grammar.
    #[error("not a quantity (such as 500m, 2, 1.5Gi or 1e3)")]
    Malformed,
    /// It follows the grammar and is larger than anything that can be compared exactly.
    #[error("a quantity too large or too long to compare")]
    OutOfRange,
}

const NANO: i128 = 1_000_000_000;
const MILLI: i128 = NANO / 1000;
const BINARY: [(&str, i128); 6] =
    [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30), ("Ti", 1 << 40), ("Pi", 1 << 50), ("Ei", 1 << 60)];

impl Quantity {
    /// The quantity zero, in nano-units.
    pub const ZERO: Self = Self(0);

    /// Reads a quantity in the notation of Kubernetes.
    ///
    /// # Errors
    /// Fails if the text is not a quantity, or is one that cannot be compared exactly.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        // What comes before is ASCII, so this is where a character begins.
        let end = unsigned.bytes().position(|byte| !byte.is_ascii_digit() && byte != b'.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        let dot = number.bytes().position(|byte| byte == b'.');
        let (whole, fraction) = dot.map_or((number, ""), |dot| (&number[..dot], &number[dot + 1..]));
        if fraction.bytes().any(|byte| byte == b'.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(QuantityError::Malformed);
        }
        let (factor, exponent) = scale(suffix)?;
        let magnitude = magnitude(whole, fraction, factor, exponent)?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }

    /// The sum, or the largest amount there is.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, not below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// Returns an equal share for each of `count`, rounded down to a whole number of `grain`.
    #[must_use]
    pub fn share(self, count: usize, grain: Grain) -> Self {
        let share = self.0 / i128::try_from(count.max(1)).unwrap_or(i128::MAX);
        let mebibyte = NANO << 20;
        let step = match grain {
            Grain::Millicore => MILLI,
            Grain::Mebibyte if share >= mebibyte => mebibyte,
            Grain::Mebibyte => NANO,
        };
        Self(share / step * step)
    }

    /// Returns whether the amount is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }
}

impl From<u32> for Quantity {
    fn from(units: u32) -> Self {
        Self(i128::from(units) * NANO)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.0 % NANO == 0 {
            let units = self.0 / NANO;
            // Each suffix stands for ten bits more; zero has none of them.
            let tens = if units == 0 { 0 } else { (units.trailing_zeros() as usize / 10).min(BINARY.len()) };
            let suffix = if tens == 0 { "" } else { BINARY[tens - 1].0 };
            return write!(f, "{}{suffix}", units >> (10 * tens));
        }
        match self.0 {
            n if n % MILLI == 0 => write!(f, "{}m", n / MILLI),
            n if n % 1000 == 0 => write!(f, "{}u", n / 1000),
            n => write!(f, "{n}n"),
        }
    }
}

/// The suffix as a factor and a power of ten.
fn scale(suffix: &str) -> Result<(i128, i32), QuantityError> {
    if suffix.ends_with('i') {
        let binary = BINARY.iter().find(|(name, _)| *name == suffix);
        return binary.map(|(_, factor)| (*factor, 0)).ok_or(QuantityError::Malformed);
    }
    let exponent = match suffix {
        "" => 0,
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        _ => written_exponent(suffix)?,
    };
    Ok((1, exponent))
}

fn written_exponent(suffix: &str) -> Result<i32, QuantityError> {
    let digits = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Malformed)?;
    let bare = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    if bare.is_empty() || !bare.bytes().all(|b| b.is_ascii_digit()) {
        return Err(QuantityError::Malformed);
    }
    digits.parse().map_err(|_| QuantityError::OutOfRange)
}

/// So many digits fit a `u64`, whatever they are. Nearly every quantity has fewer.
const MAX_U64_DIGITS: usize = 19;

/// Each power of ten that fits an `i128`.
static POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1; 39];
    let mut power = 1;
    while power < powers.len() {
        powers[power] = powers[power - 1] * 10;
        power += 1;
    }
    powers
};

/// `whole.fraction × factor × 10^exponent` in billionths, rounded up.
fn magnitude(whole: &str, fraction: &str, factor: i128, exponent: i32) -> Result<i128, QuantityError> {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.is_empty() {
        return Ok(0);
    }
    // More digits than an i128 holds are rejected before any arithmetic, so a text of megabytes costs nothing.
    if whole.len() + fraction.len() > 39 {
        return Err(QuantityError::OutOfRange);
    }
    let number = if whole.len() + fraction.len() <= MAX_U64_DIGITS {
        let digits = whole.bytes().chain(fraction.bytes()).map(|digit| u64::from(digit - b'0'));
        Some(i128::from(digits.fold(0, |number, digit| number * 10 + digit)))
    } else {
        let mut digits = whole.bytes().chain(fraction.bytes()).map(|digit| i128::from(digit - b'0'));
        digits.try_fold(0i128, |number, digit| number.checked_mul(10)?.checked_add(digit))
    };
    let scaled = number.and_then(|number| number.checked_mul(factor)).ok_or(QuantityError::OutOfRange)?;
    let fraction_len = i32::try_from(fraction.len()).map_err(|_| QuantityError::OutOfRange)?;
    let power = exponent.saturating_add(9).saturating_sub(fraction_len);
    let ten = usize::try_from(power.unsigned_abs()).ok().and_then(|power| POWERS_OF_TEN.get(power).copied());
    match ten {
        Some(ten) if power >= 0 => scaled.checked_mul(ten).ok_or(QuantityError::OutOfRange),
        Some(ten) => Ok(scaled / ten + i128::from(scaled % ten != 0)),
        None if power >= 0 => Err(QuantityError::OutOfRange),
        None => Ok(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn different_spellings_of_one_amount_are_equal() {
        for (left, right) in [
            ("0.5", "500m"),
            ("1E", "1000P"),
            ("1E3", "1k"),
            ("1e3", "1000"),
            ("1e-3", "1m"),
            ("1Ei", "1152921504606846976"),
            ("+.5", "500000u"),
            ("5.", "5"),
            ("1.5Gi", "1536Mi"),
            ("0.1Ki", "102400m"),
            ("007", "7"),
            ("0e999999999", "0"),
            ("1000000000n", "1"),
        ] {
            assert_eq!(quantity(left), quantity(right), "{left} = {right}");
        }
    }

    #[test]
    fn neighbours_beyond_the_reach_of_floats_differ() {
        assert!(quantity("9007199254740993") > quantity("9007199254740992"));
        assert!(quantity("4294967296.000000001") > quantity("4Gi"));
        assert!(quantity("2000000001n") > quantity("2"));
    }

    #[test]
    fn what_is_finer_than_a_billionth_is_rounded_up() {
        assert_eq!(quantity("0.0000000001"), quantity("1n"));
        assert_eq!(quantity("1e-999999"), quantity("1n"));
        assert!(quantity("2.00000000000001") > quantity("2"));
        // The amount and what is added to round it up do not fit together into what holds either.
        assert_eq!(quantity(&format!(".{}n", "9".repeat(38))), quantity("1n"));
    }

    #[test]
    fn invalid_quantities_are_rejected() {
        for text in [
            "", " ", "1 ", "1.2.3", ".", "-", "1KI", "1ki", "1K", "1e", "1e+", "1eE", "0x10", "٣", "1i",
            "NaN", "--1", "1_000", "1e1.5",
        ] {
            assert_eq!(Quantity::parse(text), Err(QuantityError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn absurd_sizes_are_rejected_without_work() {
        for text in ["1e999999999", "1e99999999999999999999", &"9".repeat(1_000_000), "9999999999999Ei"] {
            assert_eq!(Quantity::parse(text), Err(QuantityError::OutOfRange));
        }
    }

    #[test]
    fn amounts_are_written_as_people_write_them() {
        for text in ["0", "1", "500m", "10Gi", "1536Mi", "1n", "-1", "3u", "1000"] {
            assert_eq!(quantity(text).to_string(), text);
        }
    }

    #[test]
    fn shares_are_rounded_down_and_never_exceed_the_whole() {
        assert_eq!(quantity("2").share(3, Grain::Millicore).to_string(), "666m");
        assert_eq!(quantity("4Gi").share(3, Grain::Mebibyte).to_string(), "1365Mi");
        assert_eq!(quantity("10").share(3, Grain::Mebibyte).to_string(), "3");
        assert_eq!(quantity("1").minus(quantity("2")), Quantity::ZERO);
    }
}
