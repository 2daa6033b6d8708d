//! Owns detach keys: `ctrl-p,ctrl-q`, `a`, `ctrl-@`.

/// What detaches where nothing else is asked for.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// The bytes of a key sequence; none for an empty one, with which nothing detaches.
pub fn keys(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',').map(key).collect()
}

fn key(text: &str) -> Result<u8, String> {
    let unknown = || format!("Unknown character: '{text}'");
    if let [byte] = text.as_bytes() {
        return if byte.is_ascii() { Ok(*byte) } else { Err(unknown()) };
    }
    match text.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([byte @ b'a'..=b'z']) => Ok(byte - b'a' + 1),
        Some(b"@") => Ok(0),
        Some([byte @ b'['..=b'_']) => Ok(byte - b'[' + 27),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        assert_eq!(keys(DEFAULT), Ok(vec![16, 17]));
        assert_eq!(keys("a,ctrl-a,ctrl-@,ctrl-[,ctrl-_"), Ok(vec![b'a', 1, 0, 27, 31]));
        assert_eq!(keys(""), Ok(Vec::new()));
        assert_eq!(keys("ctrl-p,foo"), Err("Unknown character: 'foo'".to_owned()));
        assert!(keys("ctrl-").is_err() && keys("ctrl-A").is_err() && keys("a,,b").is_err());
    }
}
