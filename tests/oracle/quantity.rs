//! Exact quantities of the Kubernetes API, written from its grammar.

/// An amount in billionths, the finest that the API knows; what is finer is rounded up, what is more than fits is
/// the most that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Nanos(pub(crate) i128);

impl Nanos {
    /// Reads `2`, `500m`, `0.5`, `1e3`, `1E`, `10Gi`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let (factor, exponent) = scale(suffix)?;
        if digits.is_empty() {
            return Some(Self(0));
        }
        let exponent = exponent.checked_add(9)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(Self(
            sign * times_ten_to(digits.parse().ok().and_then(|n: i128| n.checked_mul(factor)), exponent),
        ))
    }

    pub(crate) fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// What a suffix multiplies with: a factor, and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(step) = decimal.iter().position(|known| *known == suffix) {
        return Some((1, 3 * i32::try_from(step).ok()? - 9));
    }
    if let Some(step) = binary.iter().position(|known| *known == suffix) {
        return Some((1 << (10 * (step + 1)), 0));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    Some((1, exponent.parse().ok()?))
}

fn times_ten_to(number: Option<i128>, exponent: i32) -> i128 {
    let Some(number) = number else { return i128::MAX };
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    match (power, exponent < 0) {
        (Some(power), false) => number.saturating_mul(power),
        (Some(power), true) => number / power + i128::from(number % power != 0),
        (None, false) => i128::MAX,
        (None, true) => 1,
    }
}

#[test]
fn quantities_are_read_exactly() {
    let read = |text| Nanos::read(text).map(|nanos| nanos.0);
    let one = 1_000_000_000;
    for (text, nanos) in [
        ("2", 2 * one),
        ("+0.5", one / 2),
        ("500m", one / 2),
        ("1e3", 1000 * one),
        ("1E3", 1000 * one),
        ("1E", one * one * one),
        ("1e-9", 1),
        ("1e-12", 1),
        (".5", one / 2),
        ("4Gi", 4 * 1024 * 1024 * 1024 * one),
        ("-1", -one),
        ("0e99", 0),
        ("99999999999999999999999999999999999999999999", i128::MAX),
    ] {
        assert_eq!(read(text), Some(nanos), "{text}");
    }
    for text in ["", ".", "1.2.3", "1K", "1 ", "0x1", "1ki", "e3", "1e", "--1", "１"] {
        assert_eq!(read(text), None, "{text}");
    }
}
