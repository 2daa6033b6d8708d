//! Owns the PORTS column: neighbours that are published alike are shown as one range.

use bollard::models::PortSummary;

/// `0.0.0.0:8080-8081->80-81/tcp, 90/tcp`.
pub fn column(ports: &[PortSummary]) -> String {
    let mut all: Vec<Port> = ports.iter().map(Port::new).collect();
    all.sort();
    all.dedup();
    let mut grouped: Vec<(Port, u16)> = Vec::new();
    for port in all {
        match grouped.last_mut() {
            Some((first, length)) if first.continues(port.clone(), *length) => *length += 1,
            _ => grouped.push((port, 1)),
        }
    }
    grouped.iter().map(|(port, length)| port.text(*length)).collect::<Vec<_>>().join(", ")
}

/// In the order of the column: by container port, then protocol, address and host port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Port {
    address: String,
    protocol: String,
    private: u16,
    public: u16,
}

impl Port {
    fn new(port: &PortSummary) -> Self {
        Self {
            address: port.ip.clone().unwrap_or_default(),
            protocol: port.typ.map(|typ| typ.to_string()).unwrap_or_default(),
            private: port.private_port,
            public: port.public_port.unwrap_or_default(),
        }
    }

    /// Whether `next` is where a range from here, `length` long, goes on.
    fn continues(&self, next: Self, length: u16) -> bool {
        let same_place = self.address == next.address && self.protocol == next.protocol;
        let public =
            if self.public == 0 { next.public == 0 } else { self.public.checked_add(length) == Some(next.public) };
        same_place && public && self.private.checked_add(length) == Some(next.private)
    }

    fn text(&self, length: u16) -> String {
        let range = |first: u16| {
            if length > 1 { format!("{first}-{}", first.saturating_add(length - 1)) } else { first.to_string() }
        };
        let (private, protocol) = (range(self.private), &self.protocol);
        if self.public == 0 {
            return format!("{private}/{protocol}");
        }
        let address = if self.address.contains(':') { format!("[{}]", self.address) } else { self.address.clone() };
        format!("{address}:{}->{private}/{protocol}", range(self.public))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::PortSummaryTypeEnum::TCP;

    fn port(ip: &str, private_port: u16, public: u16) -> PortSummary {
        PortSummary {
            ip: Some(ip.to_owned()),
            private_port,
            public_port: (public > 0).then_some(public),
            typ: Some(TCP),
        }
    }

    #[test]
    fn neighbours_are_one() {
        let ports = [port("0.0.0.0", 81, 8081), port("0.0.0.0", 80, 8080), port("::", 80, 8080), port("", 90, 0)];
        assert_eq!(column(&ports), "90/tcp, 0.0.0.0:8080-8081->80-81/tcp, [::]:8080->80/tcp");
        assert_eq!(column(&[port("", 90, 0), port("", 91, 0), port("", 93, 0)]), "90-91/tcp, 93/tcp");
        assert_eq!(column(&[]), "");
    }
}
