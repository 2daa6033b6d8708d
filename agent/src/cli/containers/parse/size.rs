//! Owns amounts: bytes (`512m`, `1.5GiB`) and processors (`0.5`).

const UNITS: [char; 6] = ['k', 'm', 'g', 't', 'p', 'e'];

/// Bytes, in units of 1024: `64`, `64b`, `64k`, `64kb`, `64KiB`, `1.5 g`.
pub fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let lower = text.trim().to_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let number: f64 = lower[..digits].parse().map_err(|_| invalid())?;
    let unit = lower[digits..].trim_start();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let mut letters = unit.chars();
    let power = match (letters.next(), letters.next()) {
        (None, _) => 0,
        (Some(letter), None) => 1 + UNITS.iter().position(|unit| *unit == letter).ok_or_else(invalid)?,
        _ => return Err(format!("invalid suffix: '{unit}'")),
    };
    let bytes = number * 1024f64.powi(power as i32);
    if bytes <= i64::MAX as f64 { Ok(bytes as i64) } else { Err(invalid()) }
}

/// Bytes, or -1 for no limit.
pub fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// Processors in billionths: `1.5` is 1500000000.
pub fn cpus(text: &str) -> Result<i64, String> {
    let odd = || format!("failed to parse {text} as a rational number");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + part.len() == 0 || !is_number(whole) || !is_number(part) {
        return Err(odd());
    }
    let part = part.trim_end_matches('0');
    if part.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let nano: i64 = format!("0{whole}{part:0<9}").parse().map_err(|_| odd())?;
    Ok(nano)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_every_unit() {
        for (text, expected) in [
            ("64", 64),
            ("64b", 64),
            ("64k", 64 << 10),
            ("64KB", 64 << 10),
            ("64KiB", 64 << 10),
            ("1.5g", 3 << 29),
            ("2 T", 2 << 40),
            ("0", 0),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "1x", "1kk", "-1", "1..2g", "100000e"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
    }

    #[test]
    fn processors() {
        assert_eq!(cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(cpus(".25"), Ok(250_000_000));
        assert_eq!(cpus("2"), Ok(2_000_000_000));
        assert_eq!(cpus("0.1000000000000"), Ok(100_000_000));
        assert_eq!(cpus("0.1234567891"), Err("value is too precise".to_owned()));
        assert!(cpus("x").is_err() && cpus("-1").is_err() && cpus(".").is_err() && cpus("99999999999").is_err());
    }
}
