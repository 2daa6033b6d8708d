//! The grammar of references to images, as Docker defines it.
//!
//! oci-spec has it as well, as one regular expression: compiled, that takes 12 MB for as long as the
//! daemon runs, and the first container that is started waits for it.

use std::borrow::Cow;

/// The longest name.
const NAME: usize = 255;
/// The longest tag.
const TAG: usize = 128;

/// A reference in its parts, with the defaults of registry and `library/` filled in.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// `docker.io`, `localhost:5000`.
    pub registry: &'a str,
    /// `library/debian`.
    pub repository: Cow<'a, str>,
    /// What follows the colon.
    pub tag: Option<&'a str>,
    /// What follows the at sign.
    pub digest: Option<&'a str>,
}

/// Takes a text apart, without looking at what the parts are made of.
pub fn split(text: &str) -> Option<Parts<'_>> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (first, path),
        _ => ("docker.io", name),
    };
    let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
    let repository = match registry == "docker.io" && !path.contains('/') {
        true => Cow::Owned(format!("library/{path}")),
        false => Cow::Borrowed(path),
    };
    (!name.is_empty()).then_some(Parts { registry, repository, tag, digest })
}

impl Parts<'_> {
    /// What is wrong with the parts: nothing, or what to say behind "invalid reference format".
    pub fn wrong(&self) -> Option<String> {
        let sound = |repository: &str| repository.split('/').all(component);
        let right = registry(self.registry) && self.tag.is_none_or(tag) && self.digest.is_none_or(digest);
        if !right || !sound(&self.repository.to_lowercase()) {
            return Some(String::new());
        }
        let name = match self.registry {
            "docker.io" => self.repository.to_string(),
            registry => format!("{registry}/{}", self.repository),
        };
        if !sound(&self.repository) {
            return Some(format!(": repository name ({name}) must be lowercase"));
        }
        (name.len() > NAME).then(|| format!(": repository name must not be more than {NAME} characters"))
    }
}

/// A host, maybe with a port.
fn registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let label = |label: &str| {
        let ends = label.bytes().next().zip(label.bytes().last());
        ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    host && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Letters and digits, between which stand single dots, one or two underscores, or dashes.
fn component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last()).is_some_and(|(first, last)| plain(*first) && plain(*last));
    let separator = |run: &[u8]| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-');
    ends && bytes.split(|byte| plain(*byte)).all(separator)
}

fn tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn digest(text: &str) -> bool {
    let digits = |length: usize, digits: &str| {
        digits.len() == length && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    match text.split_once(':') {
        Some(("sha256", rest)) => digits(64, rest),
        Some(("sha384", rest)) => digits(96, rest),
        Some(("sha512", rest)) => digits(128, rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(text: &str) -> bool {
        split(text).is_some_and(|parts| parts.wrong().is_none())
    }

    #[test]
    fn references_are_taken_apart() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let text = format!("localhost:5000/a/b:1.2@{digest}");
        let parts = split(&text).unwrap();
        assert_eq!((parts.registry, &*parts.repository), ("localhost:5000", "a/b"));
        assert_eq!((parts.tag, parts.digest), (Some("1.2"), Some(digest.as_str())));
        let parts = split("test.com:5000").unwrap();
        assert_eq!((parts.registry, &*parts.repository, parts.tag), ("docker.io", "library/test.com", Some("5000")));
        let parts = split("test:5000/repo").unwrap();
        assert_eq!((parts.registry, &*parts.repository, parts.tag), ("test:5000", "repo", None));
    }

    #[test]
    fn it_says_what_oci_spec_says() {
        let (long, tag) = ("a/".repeat(128) + "a", "t".repeat(129));
        let digest = format!("sha256:{}", "0".repeat(64));
        let mut cases: Vec<String> = [
            "a",
            "a.b",
            "a..b",
            "a_b",
            "a__b",
            "a___b",
            "a-b",
            "a---b",
            "-a",
            "a-",
            "a.-b",
            "a/b",
            "a//b",
            "/a",
            "a/",
            "a:",
            ":a",
            "a:b",
            "a:B.c-d_e",
            "a:-b",
            "a:b/c",
            "xn--n3h.com/a",
            "-h.com/a",
            "h-.com/a",
            "h.com:x/a",
            "h.com:80/a",
            "h.com:80/a:b",
            "A.com/a",
            "a@",
            "a@sha256:0",
            "a b",
            "a/B",
            "aa/asdf$$^/aa",
            "",
            "@",
            "a:b@",
        ]
        .map(str::to_owned)
        .to_vec();
        cases.extend([
            long,
            format!("a:{tag}"),
            format!("a@{digest}"),
            format!("h:1/a:b@{digest}"),
            format!("a@{digest}0"),
        ]);
        for case in cases {
            assert_eq!(right(&case), case.parse::<oci_spec::distribution::Reference>().is_ok(), "{case}");
        }
    }

    #[test]
    fn addresses_may_be_registries() {
        assert!(right("127.0.0.1:5000/a") && right("[::1]:5000/a") && !right("[::x]:5000/a"));
    }
}
