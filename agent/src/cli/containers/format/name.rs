//! Owns taking image names apart for their columns.

/// Repository and tag: `host:5000/a/b:1` is `host:5000/a/b` and `1`.
pub fn tagged(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "<none>"),
    }
}

/// Repository and digest: `a@sha256:…`.
pub fn digested(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, "<none>"))
}

/// `name:latest` where `name` says neither tag nor digest.
pub fn with_default_tag(name: &str) -> String {
    if name.contains('@') || tagged(name).1 != "<none>" { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart() {
        assert_eq!(tagged("host:5000/a/b:1"), ("host:5000/a/b", "1"));
        assert_eq!(tagged("host:5000/a"), ("host:5000/a", "<none>"));
        assert_eq!(digested("a@sha256:1"), ("a", "sha256:1"));
        assert_eq!(with_default_tag("a"), "a:latest");
        assert_eq!(with_default_tag("a:1"), "a:1");
        assert_eq!(with_default_tag("a@sha256:1"), "a@sha256:1");
    }
}
