//! Owns names of other hosts: `--add-host`, `--link`, `--dns`.

use std::net::IpAddr;

/// `HOST:IP` or `HOST=IP`, as `HOST:IP`; `host-gateway` is left to the daemon.
pub fn extra(text: &str) -> Result<String, String> {
    let bad = || format!("bad format for add-host: \"{text}\"");
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: \"{address}\""));
    }
    Ok(format!("{name}:{address}"))
}

/// `NAME[:ALIAS]`, with the alias always there.
pub fn link(text: &str) -> Result<String, String> {
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [""] | [] => Err("empty string specified for links".to_owned()),
        // A name as inspect prints it.
        [name] => Ok(format!("{name}:{}", name.trim_start_matches('/'))),
        [name, alias] if !name.is_empty() && !alias.is_empty() => Ok(format!("{name}:{alias}")),
        _ => Err(format!("bad format for links: {text}")),
    }
}

/// The address of a name server.
pub fn server(text: &str) -> Result<String, String> {
    match text.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(format!("{text} is not an ip address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_hosts() {
        assert_eq!(extra("a:10.0.0.1").as_deref(), Ok("a:10.0.0.1"));
        assert_eq!(extra("a=::1").as_deref(), Ok("a:::1"));
        assert_eq!(extra("a:[::1]").as_deref(), Ok("a:::1"));
        assert_eq!(extra("a:host-gateway").as_deref(), Ok("a:host-gateway"));
        assert_eq!(extra("a"), Err("bad format for add-host: \"a\"".to_owned()));
        assert_eq!(extra("a:b"), Err("invalid IP address in add-host: \"b\"".to_owned()));
    }

    #[test]
    fn links() {
        assert_eq!(link("db").as_deref(), Ok("db:db"));
        assert_eq!(link("db:store").as_deref(), Ok("db:store"));
        assert!(link("").is_err() && link("a:b:c").is_err() && link(":b").is_err());
    }

    #[test]
    fn name_servers() {
        assert_eq!(server("9.9.9.9").as_deref(), Ok("9.9.9.9"));
        assert_eq!(server("dns"), Err("dns is not an ip address".to_owned()));
    }
}
