//! Owns what whoever acts has at hand, and looking at everything that a decision needs.

use anyhow::Context;

use super::super::health::Paths;
use super::super::session::Session;
use crate::daemon::boot;
use crate::health::record::Record;
use crate::model::{Deployment, HostStatus, time};
use crate::update::decide::{Candidate, Demand, Observed};
use crate::update::{Settings, State, identity};

/// Who acts.
pub struct Agent {
    /// keeld.
    pub session: Session,
    /// Where things are.
    pub paths: Paths,
    /// The bus, where it is not the system's.
    pub bus: Option<String>,
    /// What the host was told.
    pub settings: Settings,
    /// This host's id.
    pub machine: String,
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// When it began, in seconds since the epoch; 0 for those who only look.
    pub started: u64,
    /// Whether to print one JSON document.
    pub json: bool,
    /// Whether steps are logged instead of shown.
    pub logs: bool,
}

/// What is seen of a host.
#[derive(Debug)]
pub struct Seen {
    /// The present moment.
    pub now: u64,
    /// What is known from before.
    pub state: State,
    /// The deployments.
    pub status: HostStatus,
    /// What is remembered of versions.
    pub record: Record,
    /// The commits among them that were given up.
    given_up: Vec<String>,
    /// Whether the host is healthy, where somebody looked.
    pub healthy: Option<bool>,
    /// Whether it is a node.
    pub node: bool,
    /// Who wants the newest version now.
    pub demand: Option<Demand>,
}

impl Agent {
    /// Connects to keeld, and reads what the host was told.
    pub async fn open(paths: Paths, bus: Option<&str>, json: bool) -> anyhow::Result<Self> {
        Ok(Self {
            session: Session::open(bus, json).await?,
            settings: Settings::read(&paths.settings)?,
            paths,
            bus: bus.map(str::to_owned),
            machine: identity::machine()?,
            boot_id: boot::id().context("the kernel does not tell which boot this is")?,
            started: 0,
            json,
            logs: false,
        })
    }

    /// Looks at the host, for whom.
    pub async fn look(&self, demand: Option<Demand>) -> anyhow::Result<Seen> {
        let record = Record::read(&self.paths.state)?;
        Ok(Seen {
            now: time::now(),
            state: State::read(&self.paths.state)?,
            status: self.session.status().await?,
            given_up: record.given_up.iter().map(|given_up| given_up.checksum.clone()).collect(),
            record,
            healthy: None,
            node: self.paths.node.config.exists(),
            demand,
        })
    }

    /// Whether a commit was given up.
    pub fn gave_up(&self, seen: &Seen, checksum: &str) -> bool {
        seen.given_up.iter().any(|given_up| given_up == checksum)
    }

    /// What a decision needs of it.
    pub fn observed<'a>(&'a self, seen: &'a Seen) -> Observed<'a> {
        Observed {
            now: seen.now,
            started: self.started,
            boot_id: &self.boot_id,
            machine: &self.machine,
            settings: &self.settings,
            state: &seen.state,
            booted: seen.status.booted.as_ref().map_or("", |booted| &booted.checksum),
            staged: seen.status.staged.as_ref().map(candidate),
            given_up: &seen.given_up,
            left: seen.status.left_version().map(|left| left.checksum.as_str()),
            healthy: seen.healthy,
            node: seen.node,
            demand: seen.demand,
        }
    }
}

fn candidate(staged: &Deployment) -> Candidate {
    let made = staged.timestamp.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_second).unwrap_or_default();
    let made = u64::try_from(made).unwrap_or_default();
    let (checksum, refspec) = (staged.checksum.clone(), staged.refspec.clone());
    Candidate { checksum, label: staged.label().to_owned(), made, refspec }
}
