//! Owns how images are named: repository, tag, digest. Pure.

/// An image's name taken apart, with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Registry and path: `docker.io/library/busybox`.
    pub repository: String,
    /// The tag; `latest` when there is neither tag nor digest.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<String>,
}

impl Reference {
    /// Takes a name apart. The error is what a person should read.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("couldn't parse image name {name:?}: {why}");
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (name, None),
        };
        // A colon before the last slash is a port's.
        let path = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match rest[path..].split_once(':') {
            Some((last, tag)) => (&rest[..path + last.len()], Some(tag)),
            None => (rest, None),
        };
        if repository.len() == 64 && repository.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong("invalid repository name, cannot specify 64-byte hexadecimal strings"));
        }
        let repository = normalized(repository);
        let (domain, path) = repository.split_once('/').unwrap_or_default();
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong(&format!("invalid reference format: repository name ({path}) must be lowercase")));
        }
        let valid = is_domain(domain)
            && path.split('/').all(is_component)
            && repository.len() <= 255
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        if !valid {
            return Err(wrong("invalid reference format"));
        }
        let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
        Ok(Self { tag: tag.map(str::to_owned), digest: digest.map(str::to_owned), repository })
    }

    /// The name as it was given, with the default tag when it has neither tag nor digest.
    pub(super) fn tagged(&self, name: &str) -> String {
        match (&self.tag, &self.digest) {
            (Some(tag), None) if !name.ends_with(&format!(":{tag}")) => format!("{name}:{tag}"),
            _ => name.to_owned(),
        }
    }

    /// The whole name as registries have it.
    pub(super) fn canonical(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        let digest = self.digest.iter().map(|digest| format!("@{digest}"));
        std::iter::once(self.repository.clone()).chain(tag).chain(digest).collect()
    }

    /// The name that it has among the images of this host: by its digest alone where there is one.
    pub(super) fn listed(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.repository),
            None => self.canonical(),
        }
    }

    /// Whether what it names may change: its tag is `latest` and there is no digest.
    pub(super) fn is_latest(&self) -> bool {
        self.digest.is_none() && self.tag.as_deref() == Some("latest")
    }
}

/// With registry, and `library/` for Docker's own images.
fn normalized(repository: &str) -> String {
    let is_registry = |first: &str| {
        first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
    };
    let (domain, path) = match repository.split_once('/') {
        Some((first, path)) if is_registry(first) => (first, path),
        _ => ("docker.io", repository),
    };
    let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
    match domain == "docker.io" && !path.contains('/') {
        true => format!("docker.io/library/{path}"),
        false => format!("{domain}/{path}"),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let valid = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            return valid && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_number));
        }
        None => domain.split_once(':').map_or((domain, None), |(host, port)| (host, Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Letters and digits, with `.`, `_`, `__` or dashes between them.
fn is_component(component: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separator = |run: &str| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-');
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| plain(*byte));
    ends(component.as_bytes().first())
        && ends(component.as_bytes().last())
        && component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(separator)
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
        && tag.bytes().next().is_some_and(word)
}

fn is_digest(digest: &str) -> bool {
    let algorithm = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    digest.split_once(':').is_some_and(|(name, hex)| {
        name.split(['-', '_', '+', '.']).all(algorithm)
            && hex.len() >= 32
            && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn canonical(name: &str) -> String {
        Reference::parse(name).unwrap().canonical()
    }

    #[test]
    fn names_are_filled_in() {
        assert_eq!(canonical("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(canonical("index.docker.io/busybox:1"), "docker.io/library/busybox:1");
        assert_eq!(canonical("me/tool:1.2"), "docker.io/me/tool:1.2");
        assert_eq!(canonical("localhost/tool"), "localhost/tool:latest");
        assert_eq!(canonical("localhost:5000/a/b:t"), "localhost:5000/a/b:t");
        assert_eq!(
            canonical("registry.k8s.io/e2e-test-images/busybox:1.37.0-1"),
            "registry.k8s.io/e2e-test-images/busybox:1.37.0-1"
        );
        assert_eq!(canonical(&format!("quay.io/a@{DIGEST}")), format!("quay.io/a@{DIGEST}"));
        assert_eq!(canonical(&format!("quay.io/a:1@{DIGEST}")), format!("quay.io/a:1@{DIGEST}"));
        assert_eq!(canonical("[fd00::1]:5000/a"), "[fd00::1]:5000/a:latest");
        assert_eq!(canonical("x/a__b--c.d_e"), "docker.io/x/a__b--c.d_e:latest");
    }

    #[test]
    fn what_is_named_by_tag_and_digest_is_listed_by_the_digest() {
        let listed = |name: &str| Reference::parse(name).unwrap().listed();
        assert_eq!(listed(&format!("quay.io/a:1@{DIGEST}")), format!("quay.io/a@{DIGEST}"));
        assert_eq!(listed("busybox"), "docker.io/library/busybox:latest");
    }

    #[test]
    fn nonsense_is_refused() {
        for name in [
            "",
            ":tag",
            "a:",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "a:b:c",
            "a@sha256:12",
            "a b",
            "a:-x",
            "FOO/bar/..",
            "invalid image name",
        ] {
            assert!(Reference::parse(name).is_err(), "{name:?}");
        }
        assert!(Reference::parse("a/B:1").unwrap_err().contains("must be lowercase"));
        assert!(Reference::parse(&"a".repeat(64)).unwrap_err().contains("64-byte hexadecimal"));
        assert_eq!(Reference::parse("a b").unwrap_err(), "couldn't parse image name \"a b\": invalid reference format");
    }

    #[test]
    fn names_stay_as_given_but_for_the_tag() {
        let tagged = |name: &str| Reference::parse(name).unwrap().tagged(name);
        assert_eq!(tagged("busybox"), "busybox:latest");
        assert_eq!(tagged("busybox:latest"), "busybox:latest");
        assert_eq!(tagged(&format!("a@{DIGEST}")), format!("a@{DIGEST}"));
    }

    #[test]
    fn only_latest_may_change() {
        let latest = |name: &str| Reference::parse(name).unwrap().is_latest();
        assert!(latest("a") && latest("a:latest"));
        assert!(!latest("a:1") && !latest(&format!("a:latest@{DIGEST}")));
    }
}
