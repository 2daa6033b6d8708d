//! Links between containers: who is linked to whom, and the news of an address that changed.

use std::sync::Arc;

use super::Engine;
use super::container::Container;
use super::record::Record;
use crate::error::Result;
use crate::network::links::{self, Link, Linked};
use crate::network::{Mode, files};

impl Engine {
    /// The links of a container, as they are asked for.
    pub fn links(&self, record: &Record) -> Result<Vec<Link>> {
        record.host.links.iter().flatten().map(|text| Link::parse(text)).collect()
    }

    /// The containers that a container is linked to, as they run now.
    pub(super) fn linked(&self, record: &Record) -> Result<Vec<Linked>> {
        self.links(record)?.into_iter().map(|link| self.follow(record, link)).collect()
    }

    /// Those of them that run.
    fn reachable(&self, record: &Record) -> Result<Vec<Linked>> {
        Ok(self.links(record)?.into_iter().filter_map(|link| self.follow(record, link).ok()).collect())
    }

    fn follow(&self, record: &Record, link: Link) -> Result<Linked> {
        let container = self.find(&link.container)?;
        let other = container.record();
        let address = self.network.find(container.id()).and_then(|attached| attached.address);
        let address = address.filter(|_| container.state().status.alive());
        Ok(Linked {
            address: address.ok_or_else(|| links::stopped(&link, &other.name, &record.name))?,
            alias: link.alias,
            name: other.name.clone(),
            hostname: other.config.hostname.clone().unwrap_or_default(),
            exposed: other.config.exposed_ports.clone().unwrap_or_default(),
            env: other.config.env.clone().unwrap_or_default(),
        })
    }

    /// Writes the `hosts` of a running container anew, with where the linked ones are now.
    fn rewrite_hosts(&self, container: &Container) -> Result<()> {
        let record = container.record();
        let mode = self.mode(&record)?;
        let (Some(attached), false) = (self.network.find(container.id()), matches!(mode, Mode::Container(_))) else {
            return Ok(());
        };
        let linked = self.reachable(&record)?;
        files::write_hosts(container.folder(), &self.files_request(&record, &mode, &attached, &linked))
    }

    /// Tells those that are linked to `started` where it is now.
    pub(super) fn tell_linked(&self, started: &Arc<Container>) {
        for container in self.all() {
            let record = container.record();
            if record.host.links.as_deref().unwrap_or_default().is_empty() || !container.state().status.alive() {
                continue;
            }
            let concerned = self
                .links(&record)
                .unwrap_or_default()
                .iter()
                .any(|link| self.find(&link.container).is_ok_and(|linked| linked.id() == started.id()));
            if concerned && let Err(error) = self.rewrite_hosts(&container) {
                tracing::warn!(id = container.id(), "cannot tell of a linked container: {error}");
            }
        }
    }
}
