//! Owns sizes for a person: `1.98MB`, `12.5KiB`.

/// In units of 1000, three digits: images and containers.
pub fn decimal(bytes: i64) -> String {
    unit(bytes as f64, 1000.0, 3, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// In units of 1000, four digits: what an image's history and pulls show.
pub fn decimal4(bytes: i64) -> String {
    unit(bytes as f64, 1000.0, 4, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// In units of 1024, four digits: memory.
pub fn binary(bytes: u64) -> String {
    unit(bytes as f64, 1024.0, 4, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

fn unit(mut size: f64, base: f64, digits: usize, units: &[&str]) -> String {
    let mut index = 0;
    while size >= base && index + 1 < units.len() {
        size /= base;
        index += 1;
    }
    format!("{}{}", general(size, digits), units[index])
}

/// With `digits` digits that count and no zeros behind the point.
fn general(number: f64, digits: usize) -> String {
    let whole = if number >= 1.0 { number.log10().floor() as usize + 1 } else { 1 };
    let text = format!("{number:.*}", digits.saturating_sub(whole));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_docker_shows_them() {
        assert_eq!(decimal(0), "0B");
        assert_eq!(decimal(999), "999B");
        assert_eq!(decimal(1_981_234), "1.98MB");
        assert_eq!(decimal(12_345_678), "12.3MB");
        assert_eq!(decimal(1_000_000), "1MB");
        assert_eq!(decimal(9_999_999), "10MB");
        assert_eq!(decimal4(1_981_234), "1.981MB");
        assert_eq!(binary(0), "0B");
        assert_eq!(binary(1023), "1023B");
        assert_eq!(binary(1_048_576), "1MiB");
        assert_eq!(binary(25_300_000_000), "23.56GiB");
    }
}
