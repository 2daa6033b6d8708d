//! Owns what is asked for: [`Get`] from the `httpGet` of a probe or hook, [`Url`] and where a redirect
//! leads. Pure.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, HeaderValue, USER_AGENT};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};

use crate::probes::plan::port;

/// A request, but for the host when that is the pod's.
#[derive(Debug, Clone)]
pub(crate) struct Get {
    https: bool,
    host: Option<String>,
    port: u16,
    target: String,
    /// All but `Host`.
    pub(super) headers: HeaderMap,
    /// What the spec wants as `Host`.
    pub(super) virtual_host: Option<HeaderValue>,
}

impl Get {
    /// As the spec says; `agent` is who asks.
    pub(crate) fn new(action: &HTTPGetAction, container: &Container, agent: &'static str) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for header in action.http_headers.iter().flatten() {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let name = name.map_err(|_| format!("invalid header name {:?}", header.name))?;
            let value = HeaderValue::from_str(&header.value);
            let value = value.map_err(|_| format!("invalid value of header {}", header.name))?;
            headers.append(name, value);
        }
        let virtual_host = headers.remove(HOST).filter(|host| !host.is_empty());
        for (name, default) in [(USER_AGENT, agent), (ACCEPT, "*/*")] {
            match headers.get(&name) {
                None => drop(headers.insert(name, HeaderValue::from_static(default))),
                // Empty is how a spec says that it is not to be sent.
                Some(value) if value.is_empty() => drop(headers.remove(name)),
                Some(_) => {}
            }
        }
        Ok(Self {
            https: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: action.host.clone().filter(|host| !host.is_empty()),
            port: port(&action.port, container)?,
            target: target(action.path.as_deref().unwrap_or_default()),
            headers,
            virtual_host,
        })
    }

    /// The host, where the spec names one.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The same without what must not be sent in the clear.
    pub(crate) fn in_the_clear(&self) -> Self {
        let mut plain = self.clone();
        plain.headers.remove(AUTHORIZATION);
        plain
    }

    /// Where to ask.
    pub(crate) fn url(&self, host: &str) -> Url {
        Url { https: self.https, host: host.to_owned(), port: self.port, target: self.target.clone() }
    }
}

/// An address on the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(super) https: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", authority(&self.host, self.port), self.target)
    }
}

impl Url {
    /// The same, without TLS.
    pub(crate) fn plain(&self) -> Self {
        Self { https: false, ..self.clone() }
    }

    /// Where a redirect leads, and whether it named no host.
    pub(super) fn follow(&self, location: &str) -> Option<(Self, bool)> {
        let location = location.split('#').next().unwrap_or_default();
        let (https, rest) = match location.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, _)) if !scheme.contains(['/', '?']) => return None,
            _ => match location.strip_prefix("//") {
                Some(rest) => (self.https, rest),
                None => return Some((Self { target: self.relative(location), ..self.clone() }, true)),
            },
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (place, path) = rest.split_at(end);
        let (host, port) = split_authority(place.rsplit('@').next()?)?;
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Some((Self { https, host, port, target: target(path) }, false))
    }

    fn relative(&self, location: &str) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        if location.starts_with('/') {
            target(location)
        } else if location.starts_with('?') || location.is_empty() {
            target(&format!("{path}{location}"))
        } else {
            let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
            target(&format!("{folder}{location}"))
        }
    }
}

/// `HOST:PORT`, IPv6 in brackets.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn split_authority(place: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':').unwrap_or_default())
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// Path and query as a request line takes them: from a `/` on, without a fragment, and what no address
/// may hold escaped.
fn target(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let mut target = if path.starts_with('/') { String::new() } else { "/".to_owned() };
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            target.push(char::from(byte));
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::HTTPHeader;
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

    use super::*;

    fn get(path: &str, headers: &[(&str, &str)]) -> Get {
        let headers = headers.iter().map(|(name, value)| HTTPHeader { name: (*name).into(), value: (*value).into() });
        let action = HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(8080),
            http_headers: Some(headers.collect()),
            scheme: Some("HTTPS".into()),
            host: None,
        };
        Get::new(&action, &Container::default(), "test/1").unwrap()
    }

    #[test]
    fn writes_addresses() {
        assert_eq!(get("healthz?full=1", &[]).url("10.0.0.1").to_string(), "https://10.0.0.1:8080/healthz?full=1");
        assert_eq!(get("/a b#c", &[]).url("fd00::1").to_string(), "https://[fd00::1]:8080/a%20b");
        assert_eq!(get("", &[]).url("web").plain().to_string(), "http://web:8080/");
    }

    #[test]
    fn sends_what_the_spec_says() {
        let plain = get("/", &[]);
        assert_eq!(
            (&plain.headers[USER_AGENT], &plain.headers[ACCEPT]),
            (&"test/1".parse().unwrap(), &"*/*".parse().unwrap())
        );
        let mine = get("/", &[("user-agent", "me"), ("Accept", ""), ("HOST", "shop.test"), ("X-A", "1"), ("X-A", "2")]);
        assert_eq!(mine.headers[USER_AGENT], "me");
        assert!(!mine.headers.contains_key(ACCEPT));
        assert_eq!(mine.headers.get_all("x-a").iter().count(), 2);
        assert_eq!(mine.virtual_host.unwrap(), "shop.test");
    }

    #[test]
    fn follows_as_browsers_do() {
        let from = get("/a/b?c", &[]).url("10.0.0.1");
        let lead = |location: &str| from.follow(location).map(|(url, relative)| (url.to_string(), relative));
        let there = |url: &str, relative| Some((url.to_owned(), relative));
        assert_eq!(lead("/x?y"), there("https://10.0.0.1:8080/x?y", true));
        assert_eq!(lead("x"), there("https://10.0.0.1:8080/a/x", true));
        assert_eq!(lead("?y=http://z"), there("https://10.0.0.1:8080/a/b?y=http://z", true));
        assert_eq!(lead("http://0.0.0.0/"), there("http://0.0.0.0:80/", false));
        assert_eq!(lead("https://web:1?y"), there("https://web:1/?y", false));
        assert_eq!(lead("//[fd00::1]:9/z#f"), there("https://[fd00::1]:9/z", false));
        assert_eq!(lead("ftp://web/"), None);
        assert_eq!(lead("http://web:x/"), None);
    }
}
