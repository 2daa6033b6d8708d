//! Names of images: made whole as Docker makes them, and short again for people.

use oci_spec::distribution::Reference;

use super::grammar;
use crate::error::{Error, Result};

/// The name, before the digest, of an image that lost its last tag.
const DANGLING: &str = "<none>@";

/// What someone calls an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// By name only: `name:tag` or `name@digest`, whole.
    Name(String),
    /// By the digest of its configuration only: `sha256:…` in full.
    Id(String),
    /// By name or, when none has it, by the beginning of its id (hexadecimal).
    Either(String, String),
    /// Only by the beginning of its id (hexadecimal), as it cannot be a name.
    Prefix(String),
}

impl Query {
    /// Reads `debian`, `debian:13`, `debian@sha256:…`, `sha256:…` or some digits of an id.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(digits) = text.strip_prefix("sha256:").filter(|digits| is_hex(digits)) {
            let whole = digits.len() == 64;
            return Ok(if whole { Self::Id(text.to_owned()) } else { Self::Prefix(digits.to_owned()) });
        }
        if is_hex(text) && text.len() == 64 {
            return Ok(Self::Id(format!("sha256:{text}")));
        }
        let name = whole(text)?;
        Ok(if is_hex(text) { Self::Either(name, text.to_owned()) } else { Self::Name(name) })
    }
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The parts of a name, with Docker's defaults: registry docker.io, library/, tag latest.
pub fn parse(text: &str) -> Result<Reference> {
    if text.len() == 64 && is_hex(text) {
        return Err(Error::Invalid(format!(
            "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )));
    }
    let invalid = || Error::Invalid("invalid reference format".to_owned());
    let parts = grammar::split(text).ok_or_else(invalid)?;
    if let Some(why) = parts.wrong() {
        return Err(Error::Invalid(format!("invalid reference format{why}")));
    }
    let (registry, repository) = (parts.registry.to_owned(), parts.repository.into_owned());
    Ok(match (parts.tag, parts.digest) {
        (Some(tag), Some(digest)) => {
            Reference::with_tag_and_digest(registry, repository, tag.to_owned(), digest.to_owned())
        }
        (None, Some(digest)) => Reference::with_digest(registry, repository, digest.to_owned()),
        (tag, None) => Reference::with_tag(registry, repository, tag.unwrap_or("latest").to_owned()),
    })
}

/// The whole name, with a tag or a digest: with both, the digest alone decides what is meant.
pub fn whole(text: &str) -> Result<String> {
    Ok(of(&parse(text)?))
}

/// The whole name of a parsed one.
pub fn of(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => format!("{}@{digest}", repository(reference)),
        None => format!("{}:{}", repository(reference), reference.tag().unwrap_or("latest")),
    }
}

/// Registry and repository: `docker.io/library/debian`.
pub fn repository(reference: &Reference) -> String {
    format!("{}/{}", reference.registry(), reference.repository())
}

/// The name as people write it: without `docker.io/` and `library/`.
pub fn familiar(whole: &str) -> &str {
    let Some(rest) = whole.strip_prefix("docker.io/") else { return whole };
    match rest.strip_prefix("library/") {
        Some(name) if !name.contains('/') => name,
        _ => rest,
    }
}

/// The familiar name without tag or digest.
pub fn familiar_repository(whole: &str) -> &str {
    let name = familiar(whole);
    if let Some((name, _)) = name.split_once('@') {
        return name;
    }
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// Whether a whole name ends in a digest.
pub fn by_digest(whole: &str) -> bool {
    whole.contains('@')
}

/// What an image without a name is kept as: containerd collects what nothing names.
pub fn dangling(digest: &str) -> String {
    format!("{DANGLING}{digest}")
}

/// Whether that is the name of an image without one.
pub fn is_dangling(name: &str) -> bool {
    name.starts_with(DANGLING)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:8b7c9f1ba9a1d1c3e2ee3a0d5c5eb1a5f1f1a8b8a37b6bd5f4d9ba1f2e3d4c5b";

    #[test]
    fn names_are_made_whole_and_short_again() {
        let cases = [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest", "bitnami/redis:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"),
            ("registry.example.org/x", "registry.example.org/x:latest", "registry.example.org/x:latest"),
        ];
        for (text, expected, short) in cases {
            let name = whole(text).unwrap();
            assert_eq!(name, expected, "{text}");
            assert_eq!(familiar(&name), short, "{text}");
        }
        assert_eq!(whole(&format!("busybox@{DIGEST}")).unwrap(), format!("docker.io/library/busybox@{DIGEST}"));
        assert_eq!(whole(&format!("busybox:1@{DIGEST}")).unwrap(), format!("docker.io/library/busybox@{DIGEST}"));
    }

    #[test]
    fn repositories_lose_tag_and_digest_but_no_port() {
        assert_eq!(familiar_repository("docker.io/library/busybox:1"), "busybox");
        assert_eq!(familiar_repository("localhost:5000/a/b:c"), "localhost:5000/a/b");
        assert_eq!(familiar_repository("localhost:5000/a"), "localhost:5000/a");
        assert_eq!(familiar_repository(&format!("docker.io/a/b@{DIGEST}")), "a/b");
    }

    #[test]
    fn digits_may_be_an_id() {
        let name = || "docker.io/library/8b7c:latest".to_owned();
        assert_eq!(Query::parse("8b7c").unwrap(), Query::Either(name(), "8b7c".to_owned()));
        assert_eq!(Query::parse("sha256:8b7c").unwrap(), Query::Prefix("8b7c".to_owned()));
        assert_eq!(Query::parse(DIGEST).unwrap(), Query::Id(DIGEST.to_owned()));
        assert_eq!(Query::parse(&DIGEST[7..]).unwrap(), Query::Id(DIGEST.to_owned()));
        assert_eq!(Query::parse("busybox").unwrap(), Query::Name("docker.io/library/busybox:latest".to_owned()));
    }

    #[test]
    fn what_is_no_name_is_refused_in_dockers_words() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        assert_eq!(message("BusyBox"), "invalid reference format: repository name (library/BusyBox) must be lowercase");
        assert_eq!(
            message("r.example/Box:1"),
            "invalid reference format: repository name (r.example/Box) must be lowercase"
        );
        assert_eq!(message("a b"), "invalid reference format");
        assert_eq!(message(""), "invalid reference format");
        assert!(message(&DIGEST[7..]).contains("64-byte hexadecimal"));
    }

    #[test]
    fn the_nameless_have_a_name_of_their_own() {
        assert!(is_dangling(&dangling(DIGEST)));
        assert!(!is_dangling("docker.io/library/none:latest"));
    }
}
