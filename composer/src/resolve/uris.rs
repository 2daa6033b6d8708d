//! Owns the lines of `apt-get --print-uris`: `'URI' NAME_VERSION_ARCH.deb SIZE SHA256:HEX`.

use super::ResolveError;
use crate::lock::LockedPackage;

/// Parses the output. `origins` maps URI prefixes to repository names, longest prefix first.
pub fn parse(output: &str, origins: &[(String, String)]) -> Result<Vec<LockedPackage>, ResolveError> {
    let lines = output.lines().filter(|line| line.starts_with('\''));
    lines.map(|line| package(line, origins).ok_or_else(|| ResolveError::Line(line.to_owned()))).collect()
}

fn package(line: &str, origins: &[(String, String)]) -> Option<LockedPackage> {
    let mut fields = line.split(' ');
    let uri = fields.next()?.trim_matches('\'');
    let stem = fields.next()?.strip_suffix(".deb")?;
    let size = fields.next()?.parse().ok()?;
    let sha256 = fields.next()?.strip_prefix("SHA256:")?.to_owned();
    let mut parts = stem.split('_');
    let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
    let (prefix, origin) = origins.iter().find(|(prefix, _)| uri.starts_with(prefix.as_str()))?;
    let file = uri.strip_prefix(prefix.as_str())?;
    Some(LockedPackage {
        name: name.to_owned(),
        version: unescape(version),
        architecture: architecture.to_owned(),
        sha256,
        size,
        origin: origin.clone(),
        file: file.to_owned(),
    })
}

/// Undoes apt's `%3a` for the colon of an epoch and the like.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out += &rest[..at];
        match rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if byte.is_ascii() => {
                out.push(byte as char);
                rest = &rest[at + 3..];
            }
            _ => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_name_version_and_origin() {
        let origins = [("http://m/debian/".to_owned(), "trixie".to_owned())];
        let line = "Reading...\n'http://m/debian/pool/main/a/a_2%2b1_all.deb' a_1%3a2+1_all.deb 12 SHA256:ab\n";
        let packages = parse(line, &origins).unwrap();
        assert_eq!(packages[0].version, "1:2+1");
        assert_eq!(packages[0].file, "pool/main/a/a_2%2b1_all.deb");
        assert_eq!(packages[0].origin, "trixie");
    }

    #[test]
    fn a_line_of_another_shape_is_an_error() {
        assert!(parse("'http://m/x' x", &[]).is_err());
    }
}
