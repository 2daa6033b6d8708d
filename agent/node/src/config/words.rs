//! Owns the grammar of single values: names, labels, taints, quantities, durations, servers.

use std::time::Duration;

use hyper::Uri;

use super::Taint;

/// A node's name: a DNS-1123 subdomain.
pub fn node_name(text: &str) -> Result<String, String> {
    if subdomain(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` cannot be a node's name; one is lower case letters, digits, `-` and `.`, begins and ends with a \
         letter or digit, and has 253 characters at most"
    ))
}

fn subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(dns_label)
}

/// A part of a domain name.
fn dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A domain, such as `cluster.local`.
pub fn domain(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('.');
    if subdomain(text) { Ok(text.to_owned()) } else { Err(format!("`{text}` is no domain")) }
}

/// The name part of a label's key, or a label's value that is not empty.
fn word(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let bytes = text.as_bytes();
    bytes.len() <= 63 && ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|byte| inner(*byte))
}

/// The name of a cgroup at the top: what is below it is the node's, to the point of removing it.
pub fn cgroup(text: &str) -> Result<String, String> {
    if word(text) { Ok(text.to_owned()) } else { Err(format!("`{text}` is no name for a cgroup, like `kubepods`")) }
}

fn qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => subdomain(prefix) && word(name),
        None => word(text),
    }
}

/// A label's key that a node may give itself.
pub fn label_key(text: &str) -> Result<String, String> {
    if !qualified(text) {
        return Err(format!("`{text}` is no label's key; one is [DOMAIN/]NAME"));
    }
    if refused(text) {
        return Err(format!(
            "the API server does not let a node give itself the label `{text}`; give it from outside with \
             `kubectl label node`"
        ));
    }
    Ok(text.to_owned())
}

/// Whether NodeRestriction refuses a label from a node.
fn refused(key: &str) -> bool {
    const ALLOWED: [&str; 11] = [
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
    ];
    let Some((prefix, _)) = key.split_once('/') else { return false };
    let within = |domain: &str| prefix == domain || prefix.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let reserved = within("kubernetes.io") || within("k8s.io");
    reserved && !ALLOWED.contains(&key) && !within("kubelet.kubernetes.io") && !within("node.kubernetes.io")
}

/// A label's value.
pub fn label_value(text: &str) -> Result<String, String> {
    if text.is_empty() || word(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no label's value; one is up to 63 letters, digits, `-`, `_` and `.`, the first and last a letter \
         or digit"
    ))
}

/// A taint: `KEY[=VALUE]:EFFECT`.
pub fn taint(text: &str) -> Result<Taint, String> {
    let wrong = || format!("`{text}` is no taint; one is KEY[=VALUE]:EFFECT");
    let (rest, effect) = text.rsplit_once(':').ok_or_else(wrong)?;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        return Err(format!("`{effect}` is no taint's effect; there are: NoSchedule, PreferNoSchedule, NoExecute"));
    }
    if !qualified(key) {
        return Err(wrong());
    }
    Ok(Taint { key: key.to_owned(), value: label_value(value)?, effect: effect.to_owned() })
}

/// A quantity as Kubernetes writes it: `500m`, `1.5`, `512Mi`.
pub fn quantity(text: &str) -> Result<String, String> {
    const SUFFIXES: [&str; 14] = ["", "m", "u", "n", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    if number.parse::<f64>().is_ok() && SUFFIXES.contains(&suffix) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no quantity; write it like \"500m\", \"2\" or \"512Mi\""))
}

/// A quantity, or a part of the whole: `10%`.
pub fn threshold(text: &str) -> Result<String, String> {
    match text.strip_suffix('%').map(str::parse::<f64>) {
        Some(Ok(part)) if (0.0..=100.0).contains(&part) => Ok(text.to_owned()),
        Some(_) => Err(format!("`{text}` is no percentage")),
        None => quantity(text).map_err(|_| format!("`{text}` is no threshold; write it like \"100Mi\" or \"10%\"")),
    }
}

/// A length of time: `20s`, `1m30s`, `500ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time; write it like \"20s\", \"5m\" or \"1h\"");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let count: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        let unit = match &rest[digits..unit_end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        total += unit * count;
        rest = &rest[unit_end..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// The API server: `https://HOST:PORT`; scheme and port may be left out.
pub fn server(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("`{text}` is no API server: {why}; write it like \"https://master.example:6443\"");
    if text.starts_with("http://") {
        return Err(wrong("it speaks HTTPS"));
    }
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: Uri = whole.parse().map_err(|_| wrong("this is no address"))?;
    match (uri.scheme_str(), uri.host(), uri.query()) {
        (Some("https"), Some(host), None) if !host.is_empty() => {}
        (Some("https"), Some(_), Some(_)) => return Err(wrong("it has a query")),
        _ => return Err(wrong("it speaks HTTPS")),
    }
    let (host, port) = host_and_port(&uri);
    Ok(format!("https://{host}:{port}{}", uri.path().trim_end_matches('/')))
}

/// The host, with brackets where it is an IPv6 address, and the port of an address.
pub fn host_and_port(uri: &Uri) -> (&str, u16) {
    (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443))
}

/// A path from the root.
pub fn path(text: &str) -> Result<std::path::PathBuf, String> {
    if text.starts_with('/') { Ok(text.into()) } else { Err(format!("`{text}` is no path from /")) }
}

/// A folder that is the node's own: `keelctl leave` removes it whole.
pub fn own_folder(text: &str) -> Result<std::path::PathBuf, String> {
    let path = path(text)?;
    let names = path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).count();
    if names < 2 || path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(format!("`{text}` cannot be the node's own folder; choose one like /var/lib/keelson/node"));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_subdomains() {
        for right in ["a", "node-1", "node-1.rack.example", "0"] {
            assert!(node_name(right).is_ok(), "{right}");
        }
        let long = "a".repeat(64);
        for wrong in ["", "Node", "a_b", "-a", "a-", "a..b", "a.", &long] {
            assert!(node_name(wrong).unwrap_err().contains("node's name"), "{wrong}");
        }
    }

    #[test]
    fn a_node_gives_itself_no_reserved_label() {
        for right in ["rack", "example.com/rack", "node.kubernetes.io/kind", "topology.kubernetes.io/zone"] {
            assert!(label_key(right).is_ok(), "{right}");
        }
        for wrong in ["node-role.kubernetes.io/worker", "node-restriction.kubernetes.io/x", "k8s.io/x"] {
            assert!(label_key(wrong).unwrap_err().contains("kubectl label"), "{wrong}");
        }
        assert!(label_key("notkubernetes.io/x").is_ok());
        assert!(label_key("a/b/c").is_err() && label_value("-").is_err() && label_value("").is_ok());
    }

    #[test]
    fn taints_have_an_effect() {
        let taint_of = |key: &str, value: &str, effect: &str| Taint {
            key: key.into(),
            value: value.into(),
            effect: effect.into(),
        };
        assert_eq!(taint("gpu=yes:NoSchedule").unwrap(), taint_of("gpu", "yes", "NoSchedule"));
        assert_eq!(taint("example.com/x:NoExecute").unwrap(), taint_of("example.com/x", "", "NoExecute"));
        assert!(taint("gpu=yes").is_err() && taint("gpu:Never").unwrap_err().contains("there are"));
    }

    #[test]
    fn the_nodes_own_folder_is_no_systems() {
        for wrong in ["/", "/var", "var/lib", "/var/../x", "/var/"] {
            assert!(own_folder(wrong).is_err(), "{wrong}");
        }
        assert!(own_folder("/var/lib/keelson/node").is_ok());
    }

    #[test]
    fn a_cgroup_is_one_step_down() {
        for wrong in ["", "/", ".", "..", "a/b", "../a"] {
            assert!(cgroup(wrong).is_err(), "{wrong}");
        }
        assert_eq!(cgroup("kubepods").unwrap(), "kubepods");
    }

    #[test]
    fn durations_and_quantities() {
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert!(duration("20").is_err() && duration("").is_err() && duration("s").is_err());
        assert!(quantity("1.5").is_ok() && quantity("512Mi").is_ok() && quantity("512mb").is_err());
        assert!(threshold("10%").is_ok() && threshold("101%").is_err() && threshold("100Mi").is_ok());
    }

    #[test]
    fn servers_have_scheme_and_port() {
        assert_eq!(server("master:6443").unwrap(), "https://master:6443");
        assert_eq!(server("https://master/").unwrap(), "https://master:443");
        assert_eq!(server("https://[fd00::1]:6443").unwrap(), "https://[fd00::1]:6443");
        assert!(server("http://master:6443").unwrap_err().contains("HTTPS"));
        assert!(server("").is_err() && server("https://").is_err() && server("a b").is_err());
    }
}
