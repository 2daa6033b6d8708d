//! Owns [`Settings`]: what the host was told of its updates and its health, with every default filled in.
//! `keelctl provision` writes what it was told below `/run`; whoever acts by it reads that.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use keelson_common::provision::{self, HostConfig, Policy};
use keelson_common::strict::Source;
use serde::{Deserialize, Serialize};

use super::window::Window;

/// Where what the host was told is kept for this boot.
pub const PATH: &str = "/run/keelson/update.toml";
/// The first line of that file.
const HEAD: &str = "# Written at each boot by `keelctl provision`; change the host's user-data, not this.\n";

/// Who is asked before a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Lock {
    /// A server of the FleetLock protocol.
    Fleetlock {
        /// Its base URL.
        url: String,
        /// The host's group there.
        group: String,
    },
    /// The cluster that the host is a node of.
    Cluster {
        /// How many nodes may be away at once.
        slots: u32,
    },
}

impl std::fmt::Display for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fleetlock { url, group } => write!(f, "the lock of group {group} at {url}"),
            Self::Cluster { slots: 1 } => write!(f, "the cluster's one lock"),
            Self::Cluster { slots } => write!(f, "one of the cluster's {slots} locks"),
        }
    }
}

impl Lock {
    /// Whether nobody is left to give it back to: the host left the cluster that lent it.
    pub fn is_gone(&self, node: bool) -> bool {
        matches!(self, Self::Cluster { .. }) && !node
    }

    /// How a person gives it back for the host `id` where the host itself cannot.
    pub fn by_hand(&self, id: &str) -> String {
        match self {
            Self::Fleetlock { url, group } => format!("free the slot of {id} in group {group} at {url}"),
            Self::Cluster { .. } => {
                "delete the ConfigMap of the namespace keelson that names this node (keelson-reboot-0 \
                and so on); a node that is deleted from the cluster holds none"
                    .to_owned()
            }
        }
    }
}

/// What the host was told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When it goes over to a new version.
    pub policy: Policy,
    /// When it may reboot, with the policy `windows`.
    pub windows: Vec<Window>,
    /// How often it looks for versions.
    pub check_every: Duration,
    /// Over what time a fleet goes over to a version.
    pub spread: Duration,
    /// Whom it asks before a reboot.
    pub lock: Option<Lock>,
    /// How long its pods may take to go.
    pub drain_timeout: Duration,
    /// How long it may take to become healthy after a boot.
    pub health_timeout: Duration,
    /// Units that must be well, besides those that every host has.
    pub required: Vec<String>,
}

impl Settings {
    /// Reads what the host was told; the defaults where it was told nothing.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let source = Source { path: path.to_owned(), text };
        let config = provision::from_toml(&source).map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow!("{}", problems.join("; "))
        })?;
        Self::new(&config)
    }

    /// From a configuration that was checked.
    pub fn new(config: &HostConfig) -> anyhow::Result<Self> {
        let update = config.update.clone().unwrap_or_default();
        let health = config.health.clone().unwrap_or_default();
        let length = |text: &Option<String>, default: u64| match text {
            Some(text) => provision::duration(text).map_err(|problem| anyhow!(problem)),
            None => Ok(Duration::from_secs(default)),
        };
        let windows = update.windows.iter().map(Window::new).collect::<Result<_, _>>();
        Ok(Self {
            policy: update.policy.unwrap_or_default(),
            windows: windows.map_err(|problem| anyhow!(problem))?,
            check_every: length(&update.check_every, 3600)?,
            spread: length(&update.spread, 0)?,
            lock: update.lock.as_ref().map(lock),
            drain_timeout: length(&update.drain_timeout, 600)?,
            health_timeout: length(&health.timeout, 600)?,
            required: health.required,
        })
    }
}

fn lock(lock: &provision::Lock) -> Lock {
    match &lock.fleetlock {
        Some(url) => {
            let group = lock.group.clone().unwrap_or_else(|| "default".to_owned());
            Lock::Fleetlock { url: url.trim_end_matches('/').to_owned(), group }
        }
        None => Lock::Cluster { slots: lock.slots.unwrap_or(1) },
    }
}

/// The text of [`PATH`] for a host: its updates and its health, without what keeld keeps itself; nothing
/// where it was told of neither.
pub fn text(config: &HostConfig) -> anyhow::Result<Option<String>> {
    if config.update.is_none() && config.health.is_none() {
        return Ok(None);
    }
    let update = config.update.clone().map(|update| provision::Update { url: None, keys: Vec::new(), ..update });
    let kept = HostConfig { update, health: config.health.clone(), ..HostConfig::default() };
    Ok(Some(HEAD.to_owned() + &toml::to_string(&kept)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let told = json!({
            "update": {
                "url": "https://updates.example/", "policy": "windows", "check-every": "30m", "spread": "1d",
                "windows": [{ "days": ["sat"], "start": "02:00", "length": "2h", "timezone": "Europe/Berlin" }],
                "lock": { "fleetlock": "https://locks.example/" },
            },
            "health": { "timeout": "3m", "required": ["ssh.service"] },
        });
        let config = provision::from_value(&told).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update.toml");
        std::fs::write(&path, text(&config).unwrap().unwrap()).unwrap();
        let settings = Settings::read(&path).unwrap();
        assert_eq!((settings.policy, settings.windows.len()), (Policy::Windows, 1));
        assert_eq!(settings.spread, Duration::from_secs(24 * 3600));
        let wanted = Lock::Fleetlock { url: "https://locks.example".into(), group: "default".into() };
        assert_eq!(settings.lock, Some(wanted));
        assert_eq!((settings.health_timeout.as_secs(), settings.drain_timeout.as_secs()), (180, 600));
        assert_eq!(settings.required, ["ssh.service"]);
    }

    #[test]
    fn a_cluster_that_was_left_wants_no_lock_back() {
        let (cluster, server) =
            (Lock::Cluster { slots: 1 }, Lock::Fleetlock { url: "https://locks.example".into(), group: "g".into() });
        assert!(cluster.is_gone(false) && !cluster.is_gone(true));
        assert!(!server.is_gone(false) && !server.is_gone(true), "a server may answer yet");
        assert_eq!(server.by_hand("0b1c"), "free the slot of 0b1c in group g at https://locks.example");
        assert!(cluster.by_hand("0b1c").contains("keelson-reboot-"));
    }

    #[test]
    fn a_host_that_was_told_nothing_does_nothing_by_itself() {
        let settings = Settings::read(Path::new("/nonexistent/update.toml")).unwrap();
        assert_eq!((settings.policy, settings.lock), (Policy::Manual, None));
        assert_eq!(text(&HostConfig::default()).unwrap(), None);
    }
}
