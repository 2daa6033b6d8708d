//! Owns amounts: bytes that may be without limit, and processors (`0.5`).

use keelson_containers::words;

/// Bytes, or -1 for no limit.
pub fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { words::size(text) }
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
    fn no_limit_is_a_size_too() {
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
        assert_eq!(bytes_or_unlimited("1k"), Ok(1024));
        assert!(bytes_or_unlimited("-2").is_err());
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
