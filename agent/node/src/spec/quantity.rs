//! Owns [`Amount`], the exact value of a Kubernetes quantity (`100m`, `1.5Gi`, `2e3`).

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const NANO: i128 = 1_000_000_000;
/// No quantity is larger than this many whole units; larger ones count as this.
const MAX: i128 = i64::MAX as i128 * NANO;

/// What a quantity amounts to. Kept in thousand millionths, the finest that Kubernetes knows; what is
/// finer is rounded away from zero, as the API does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(i128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many whole units.
    pub fn whole(units: i64) -> Self {
        Self(i128::from(units) * NANO)
    }

    /// Reads a quantity as the API writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let nanos = scaled(whole, fraction, scale(suffix)?)?;
        Some(Self(if negative { -nanos } else { nanos }))
    }

    /// What a quantity of an object amounts to; one that cannot be read, which the API lets nobody
    /// store, counts as nothing.
    pub fn of(quantity: &Quantity) -> Self {
        Self::parse(&quantity.0).unwrap_or_default()
    }

    /// In whole units, rounded up.
    pub fn value(self) -> i64 {
        self.rounded(NANO)
    }

    /// In thousandths, rounded up.
    pub fn milli(self) -> i64 {
        self.rounded(NANO / 1000)
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    fn rounded(self, unit: i128) -> i64 {
        let up = i128::from(self.0 > 0 && self.0 % unit != 0);
        let down = i128::from(self.0 < 0 && self.0 % unit != 0);
        i64::try_from(self.0 / unit + up - down).unwrap_or(if self.0 > 0 { i64::MAX } else { i64::MIN })
    }
}

impl std::ops::Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self((self.0 + other.0).clamp(-MAX, MAX))
    }
}

impl std::ops::Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self((self.0 - other.0).clamp(-MAX, MAX))
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, |sum, amount| sum + amount)
    }
}

/// What one unit of a suffix is: a power of two, or a power of ten.
enum Scale {
    Binary(u32),
    Decimal(i32),
}

fn scale(suffix: &str) -> Option<Scale> {
    Some(match suffix {
        "n" => Scale::Decimal(-9),
        "u" => Scale::Decimal(-6),
        "m" => Scale::Decimal(-3),
        "" => Scale::Decimal(0),
        "k" => Scale::Decimal(3),
        "M" => Scale::Decimal(6),
        "G" => Scale::Decimal(9),
        "T" => Scale::Decimal(12),
        "P" => Scale::Decimal(15),
        "E" => Scale::Decimal(18),
        "Ki" => Scale::Binary(10),
        "Mi" => Scale::Binary(20),
        "Gi" => Scale::Binary(30),
        "Ti" => Scale::Binary(40),
        "Pi" => Scale::Binary(50),
        "Ei" => Scale::Binary(60),
        exponent => Scale::Decimal(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

/// `whole.fraction` times the scale in thousand millionths, rounded up, at most [`MAX`].
fn scaled(whole: &str, fraction: &str, scale: Scale) -> Option<i128> {
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let places = i32::try_from(fraction.len()).ok()?;
    let (tens, twos) = match scale {
        Scale::Decimal(power) => (power.checked_add(9)?.checked_sub(places)?, 0),
        Scale::Binary(power) => (9 - places, power),
    };
    // Beyond this nothing but the limit is left of it; below, one unit at least.
    let magnitude = i32::try_from(digits.len()).ok()?.checked_add(tens)?;
    if magnitude > 30 {
        return Some(MAX);
    }
    if magnitude < -20 {
        return Some(1);
    }
    // Digits past the 19th after what can be represented only decide rounding.
    let kept = digits.len().min(36);
    let lost = digits[kept..].bytes().any(|digit| digit != b'0');
    let tens = tens + i32::try_from(digits.len() - kept).ok()?;
    let number: i128 = digits[..kept].parse().ok()?;
    let exact = if tens >= 0 { power(tens)?.checked_mul(number) } else { None };
    let nanos = match exact {
        Some(number) => number.checked_mul(1 << twos),
        None if tens >= 0 => None,
        None => Some(divided(number, twos, power(-tens), lost)),
    };
    Some(nanos.map_or(MAX, |nanos| nanos.min(MAX)))
}

/// `number << twos` over a power of ten, rounded up.
fn divided(number: i128, twos: u32, divisor: Option<i128>, lost: bool) -> i128 {
    let Some(divisor) = divisor else { return 1 };
    let (whole, rest) = (number / divisor, number % divisor);
    let whole = whole.checked_mul(1 << twos).unwrap_or(MAX);
    // rest < divisor; halve both until the product fits: exact for all that people write.
    let (mut rest, mut divisor, mut inexact) = (rest, divisor, lost);
    while rest.checked_mul(1 << twos).is_none() {
        inexact |= rest % 2 != 0;
        (rest, divisor) = (rest / 2, divisor / 2);
    }
    let part = rest << twos;
    let up = i128::from(part % divisor != 0 || inexact);
    whole.saturating_add(part / divisor + up)
}

fn power(tens: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(tens).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> i64 {
        Amount::parse(text).unwrap().value()
    }

    fn milli(text: &str) -> i64 {
        Amount::parse(text).unwrap().milli()
    }

    #[test]
    fn suffixes_scale() {
        assert_eq!(value("0"), 0);
        assert_eq!(value("12"), 12);
        assert_eq!(value("5k"), 5000);
        assert_eq!(value("128974848"), 128974848);
        assert_eq!(value("129e6"), 129_000_000);
        assert_eq!(value("129E6"), 129_000_000);
        assert_eq!(value("129M"), 129_000_000);
        assert_eq!(value("123Mi"), 128974848);
        assert_eq!(value("1Ei"), 1 << 60);
        assert_eq!(value("1E"), 1_000_000_000_000_000_000);
        assert_eq!(value("1.5Gi"), 3 << 29);
        assert_eq!(value("0.5Ki"), 512);
        assert_eq!(value(".5"), 1);
        assert_eq!(value("1."), 1);
        assert_eq!(value("+3"), 3);
        assert_eq!(value("-3"), -3);
    }

    #[test]
    fn rounding_goes_away_from_zero() {
        assert_eq!(milli("100m"), 100);
        assert_eq!(milli("0.1"), 100);
        assert_eq!(milli("1u"), 1);
        assert_eq!(value("100m"), 1);
        assert_eq!(value("-100m"), -1);
        assert_eq!(Amount::parse("0.1n"), Amount::parse("1n"));
        assert_eq!(Amount::parse("1e-40"), Amount::parse("1n"));
        assert_eq!(value("1.0001Ki"), 1025);
        assert_eq!(value("0.333333333333333333333333333333333333Gi"), 357_913_942);
    }

    #[test]
    fn too_much_is_the_most() {
        assert_eq!(value("100E"), i64::MAX);
        assert_eq!(value("9Ei"), i64::MAX);
        assert_eq!(value("1e40"), i64::MAX);
        assert_eq!(value("9223372036854775807"), i64::MAX);
        assert_eq!(Amount::whole(i64::MAX) + Amount::whole(1), Amount::whole(i64::MAX));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "-", "Mi", "1.2.3", "1 Gi", "1gi", "1e", "1ee3", "0x10", "1K"] {
            assert_eq!(Amount::parse(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_add_up_exactly() {
        let sum: Amount = ["100m", "200m", "0.7"].iter().filter_map(|text| Amount::parse(text)).sum();
        assert_eq!(sum, Amount::whole(1));
        assert!(Amount::parse("1Gi") > Amount::parse("1G"));
        assert_eq!(Amount::parse("1024Mi"), Amount::parse("1Gi"));
    }
}
