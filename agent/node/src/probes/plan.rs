//! Owns what to do and when: from a probe of the pod's spec to a [`Check`] and its [`Pace`]. Pure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::http::Get;

/// As HTTP servers see who asks.
pub(super) const AGENT: &str = "kube-probe/1.36";

/// What a probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Whether the container has started.
    Startup,
    /// Whether it can serve.
    Readiness,
    /// Whether it must be restarted.
    Liveness,
}

impl Kind {
    /// All, in the order in which they matter.
    pub(super) const ALL: [Self; 3] = [Self::Startup, Self::Readiness, Self::Liveness];

    /// As events name it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// The probe of this kind that a container has.
    pub(super) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// What to try.
#[derive(Debug, Clone)]
pub(super) enum Check {
    /// A command in the container ends with 0.
    Exec(Vec<String>),
    /// A server answers well.
    Http(Get),
    /// Somebody listens; on the pod's address where no host is given.
    Tcp(Option<String>, u16),
    /// A server's health service says that it serves.
    Grpc(u16, String),
    /// The probe cannot be tried; why.
    Impossible(String),
}

impl Check {
    /// As the probe of a container says.
    pub(super) fn new(probe: &Probe, container: &Container) -> Self {
        Self::possible(probe, container).unwrap_or_else(Self::Impossible)
    }

    fn possible(probe: &Probe, container: &Container) -> Result<Self, String> {
        if let Some(exec) = &probe.exec {
            let command = exec.command.iter().flatten();
            return Ok(Self::Exec(command.map(|word| expanded(word, container)).collect()));
        }
        if let Some(action) = &probe.http_get {
            return Get::new(action, container, AGENT).map(Self::Http);
        }
        if let Some(action) = &probe.tcp_socket {
            let host = action.host.clone().filter(|host| !host.is_empty());
            return Ok(Self::Tcp(host, port(&action.port, container)?));
        }
        if let Some(action) = &probe.grpc {
            let port = u16::try_from(action.port).map_err(|_| format!("invalid port number: {}", action.port))?;
            return Ok(Self::Grpc(port, action.service.clone().unwrap_or_default()));
        }
        Err("missing probe handler".to_owned())
    }
}

/// When to try, and how often the same must be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) initial: Duration,
    pub(super) period: Duration,
    pub(super) timeout: Duration,
    pub(super) successes: u32,
    pub(super) failures: u32,
}

impl Pace {
    /// As the probe says, with the API's defaults for what it leaves out.
    pub(super) fn new(probe: &Probe) -> Self {
        let positive = |value: Option<i32>, default: u32| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
        };
        let seconds = |value, default| Duration::from_secs(u64::from(positive(value, default)));
        Self {
            initial: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: positive(probe.success_threshold, 1),
            failures: positive(probe.failure_threshold, 3),
        }
    }

    /// How long until the first try, `now` and the container's start in nanoseconds since the epoch.
    pub(super) fn delay(&self, started_at: i64, now: i128) -> Duration {
        let passed = u64::try_from(now - i128::from(started_at)).unwrap_or(0);
        self.initial.saturating_sub(Duration::from_nanos(passed))
    }

    /// A part of the period that differs from probe to probe, so that those of containers which ran
    /// already when the agent started do not all begin at once.
    pub(super) fn spread(&self, id: &str, kind: Kind) -> Duration {
        let mut hasher = DefaultHasher::new();
        (id, kind).hash(&mut hasher);
        self.period.mul_f64((hasher.finish() % 1024) as f64 / 1024.0)
    }
}

/// The number of a port, by number or by name among the container's.
pub(super) fn port(wanted: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match wanted {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port);
            // A number may have been written as a string.
            named.or_else(|| name.parse().ok()).ok_or_else(|| format!("port {name} not found"))?
        }
    };
    u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

/// `$(VAR)` replaced by what the spec itself gives the container as environment; `$$` is a `$`.
fn expanded(word: &str, container: &Container) -> String {
    let mut result = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
            continue;
        }
        let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) else {
            result.push('$');
            continue;
        };
        match container.env.iter().flatten().rfind(|variable| variable.name == name) {
            Some(variable) => result.push_str(variable.value.as_deref().unwrap_or_default()),
            None => result.push_str(&format!("$({name})")),
        }
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerPort, EnvVar, TCPSocketAction};

    use super::*;

    fn container() -> Container {
        let named = ContainerPort { name: Some("http".into()), container_port: 8080, ..Default::default() };
        let variable = EnvVar { name: "FILE".into(), value: Some("/tmp/ok".into()), ..Default::default() };
        Container { name: "web".into(), ports: Some(vec![named]), env: Some(vec![variable]), ..Default::default() }
    }

    #[test]
    fn finds_ports_by_name_and_number() {
        let find = |wanted: IntOrString| port(&wanted, &container());
        assert_eq!(find(IntOrString::Int(80)), Ok(80));
        assert_eq!(find(IntOrString::String("http".into())), Ok(8080));
        assert_eq!(find(IntOrString::String("81".into())), Ok(81));
        assert_eq!(find(IntOrString::String("dns".into())), Err("port dns not found".into()));
        assert_eq!(find(IntOrString::Int(70_000)), Err("invalid port number: 70000".into()));
        assert_eq!(find(IntOrString::Int(0)), Err("invalid port number: 0".into()));
    }

    #[test]
    fn expands_what_the_spec_gives() {
        let words = ["$(FILE)", "x$(FILE)y", "$(OTHER)", "$$(FILE)", "$", "$(FILE", "a$b"];
        let expected = ["/tmp/ok", "x/tmp/oky", "$(OTHER)", "$(FILE)", "$", "$(FILE", "a$b"];
        assert_eq!(words.map(|word| expanded(word, &container())), expected);
    }

    #[test]
    fn takes_the_apis_defaults() {
        let pace = Pace::new(&Probe::default());
        let seconds = [pace.initial, pace.period, pace.timeout].map(|time| time.as_secs());
        assert_eq!((seconds, pace.successes, pace.failures), ([0, 10, 1], 1, 3));
    }

    #[test]
    fn waits_from_the_containers_start() {
        let pace = Pace::new(&Probe { initial_delay_seconds: Some(30), ..Default::default() });
        let second = 1_000_000_000;
        assert_eq!(pace.delay(100 * second, 110 * i128::from(second)), Duration::from_secs(20));
        assert_eq!(pace.delay(100 * second, 190 * i128::from(second)), Duration::ZERO);
        // A clock that was set back makes nobody wait longer than told.
        assert_eq!(pace.delay(100 * second, 0), Duration::from_secs(30));
    }

    #[test]
    fn spreads_over_a_period() {
        let pace = Pace::new(&Probe::default());
        let times: std::collections::BTreeSet<_> =
            (0..110).map(|pod| pace.spread(&format!("container-{pod}"), Kind::Readiness)).collect();
        assert!(times.len() > 90, "{}", times.len());
        assert!(times.iter().all(|time| *time < pace.period));
    }

    #[test]
    fn says_what_is_impossible() {
        let check = Check::new(&Probe::default(), &container());
        assert!(matches!(check, Check::Impossible(why) if why == "missing probe handler"));
        let tcp = TCPSocketAction { port: IntOrString::String("http".into()), host: Some(String::new()) };
        let check = Check::new(&Probe { tcp_socket: Some(tcp), ..Default::default() }, &container());
        assert!(matches!(check, Check::Tcp(None, 8080)));
    }
}
