//! Owns attaching a container to its network and letting go of it, also after a crash.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::cni::{self, Call};
use super::record::Record;
use super::{Attached, Attachment, Mode, Network, flows, group_id, group_name, netns, ports};
use crate::error::{Error, Result};

impl Network {
    /// Makes the network of a container that starts. When it fails, nothing is left of it.
    pub async fn prepare(&self, request: &Attachment) -> Result<Attached> {
        // What an earlier start of it left.
        self.release(&request.id).await?;
        let record = match &request.mode {
            Mode::Host => Record { mode: Mode::Host, attached: Attached::default(), cni: None },
            Mode::Container(owner) => self.join(owner)?,
            Mode::Group(name) => self.join_group(name)?,
            Mode::None => {
                let pin = self.paths.netns(&request.id);
                netns::create(&pin).await?;
                let attached = Attached { netns: Some(pin), ..Attached::default() };
                Record { mode: Mode::None, attached, cni: None }
            }
            Mode::Bridge => return self.attach(request).await,
        };
        let attached = record.attached.clone();
        self.remember(&request.id, record)?;
        Ok(attached)
    }

    /// The network of another container, or of the one that this shares in its turn.
    fn join(&self, owner: &str) -> Result<Record> {
        let records = self.records();
        let found = records
            .get(owner)
            .ok_or_else(|| Error::Conflict(format!("cannot join network of a non running container: {owner}")))?;
        let mode = match &found.mode {
            Mode::Container(first) => Mode::Container(first.clone()),
            _ => Mode::Container(owner.to_owned()),
        };
        let attached = Attached { netns: found.attached.netns.clone(), ..Attached::default() };
        Ok(Record { mode, attached, cni: None })
    }

    /// The network of a group, which is made before its containers are started.
    fn join_group(&self, name: &str) -> Result<Record> {
        let records = self.records();
        let found = records.get(&group_id(name)).ok_or_else(|| {
            Error::Conflict(format!("the group {name} has no network: it is made when it is declared"))
        })?;
        // The ports are the group's.
        let attached = Attached { ports: ports::PortMap::new(), ..found.attached.clone() };
        Ok(Record { mode: Mode::Container(group_id(name)), attached, cni: None })
    }

    async fn attach(&self, request: &Attachment) -> Result<Attached> {
        let id = request.id.as_str();
        let (bound, held) = ports::reserve(&request.ports, &self.forwards()).map_err(|error| match error {
            Error::Failed(why) => {
                let endpoint = id.get(..12).unwrap_or(id);
                Error::Failed(format!("driver failed programming external connectivity on endpoint {endpoint}: {why}"))
            }
            error => error,
        })?;
        let pin = self.paths.netns(id);
        let ips = request.ip.map(|ip| [format!("{ip}/{}", self.bridge.subnet().prefix_len())]);
        let runtime = json!({ "mac": request.mac, "ips": ips });
        let chain = cni::configured(self.bridge.name(), self.bridge.plugins(&self.leases()), &runtime);
        let attaching = async {
            netns::create(&pin).await?;
            let call = Call { id, netns: Some(&pin) };
            let (table, added) = tokio::join!(self.table_stands(), self.plugins.add(&chain, call));
            let result = added?;
            let attached = Attached { ports: bound, ..attached(&pin, &result)? };
            let published = ports::published(&attached.ports);
            let cni = Some(json!({ "plugins": chain, "result": result }));
            self.remember(id, Record { mode: Mode::Bridge, attached: attached.clone(), cni })?;
            table?;
            if published {
                self.held().insert(id.to_owned(), held);
                self.route_loopback()?;
                self.publish(&attached).await?;
            }
            Ok(attached)
        };
        match attaching.await {
            Ok(attached) => Ok(attached),
            Err(error) => {
                if let Err(error) = self.release(id).await {
                    tracing::warn!(id, %error, "cannot undo a failed network");
                }
                Err(error)
            }
        }
    }

    /// Lets go of everything that [`Network::prepare`] made. Does nothing where there is nothing.
    pub async fn release(&self, id: &str) -> Result<()> {
        let record = self.records().get(id).cloned();
        self.held().remove(id);
        let Some(Record { attached, cni, .. }) = record else { return netns::remove(&self.paths.netns(id)) };
        let undone = match &cni {
            Some(cni) => self.undo(id, cni).await,
            None => Ok(()),
        };
        // The pin of another container's namespace is not this one's.
        let unpinned = netns::remove(&self.paths.netns(id));
        undone.and(unpinned)?;
        self.forget(id)?;
        if ports::published(&attached.ports) { self.publish(&attached).await } else { Ok(()) }
    }

    /// Makes the ports of `attached` reach it, or no longer reach it when it is not known any more.
    async fn publish(&self, attached: &Attached) -> Result<()> {
        self.table_changed().await?;
        if let Some(IpAddr::V4(address)) = attached.address {
            flows::forget(&ports::forwards(address, &attached.ports)).await;
        }
        Ok(())
    }

    /// CNI DEL. The kernel takes the interfaces away with a namespace that nobody else uses, sooner
    /// than the plugin would: then only the address is given back.
    async fn undo(&self, id: &str, cni: &Value) -> Result<()> {
        let pin = self.paths.netns(id);
        let shared = self.records().values().any(|record| record.mode == Mode::Container(id.to_owned()));
        let kept = shared && netns::exists(&pin);
        if !kept {
            netns::remove(&pin)?;
        }
        let call = Call { id, netns: kept.then_some(pin.as_path()) };
        let chain = cni["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.plugins.del(chain, &cni["result"], call).await
    }

    /// Lets go of what containers left that are not `alive`: after a crash, or a boot that did not
    /// forget RUN. What the living have published is held and filtered again. Networks of groups
    /// stay: who declares groups lets go of them.
    pub async fn sweep(&self, alive: &HashSet<String>) -> Result<()> {
        let groups = self.records().keys().filter(|id| group_name(id).is_some()).cloned().collect::<Vec<_>>();
        let alive = &alive.iter().cloned().chain(groups).collect::<HashSet<_>>();
        let known: HashSet<String> =
            self.records().keys().cloned().chain(names(&self.paths.run().join("netns"))).collect();
        for id in known.difference(alive) {
            if let Err(error) = self.release(id).await {
                tracing::warn!(id, %error, "cannot let go of the network of a container that is gone");
            }
        }
        self.free_leases(alive)?;
        self.hold_again();
        match self.table_changed().await {
            // A host without nft can still run containers that need none of it.
            Err(error) if alive.is_empty() => tracing::warn!(%error, "the bridge cannot be used"),
            result => return result,
        }
        Ok(())
    }

    /// Holds the published ports that an earlier daemon held.
    fn hold_again(&self) {
        let records = self.records();
        let mut held = self.held();
        for (id, record) in records.iter() {
            held.entry(id.clone()).or_insert_with(|| ports::hold_again(&record.attached.ports));
        }
    }

    /// Addresses given to containers that are not `alive`.
    fn free_leases(&self, alive: &HashSet<String>) -> Result<()> {
        let folder = self.leases().join(self.bridge.name());
        for name in names(&folder) {
            let path = folder.join(&name);
            if name.parse::<IpAddr>().is_err() {
                continue;
            }
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            if !holder.lines().next().is_some_and(|id| alive.contains(id.trim())) {
                std::fs::remove_file(&path)
                    .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
                    .map_err(|error| Error::failed(format!("free the address {name}"), error))?;
            }
        }
        Ok(())
    }

    /// Where the host-local plugin notes the addresses it gave.
    fn leases(&self) -> PathBuf {
        self.paths.run().join("leases")
    }

    /// Lets 127.0.0.1 be sent on to the bridge; the table keeps loopback from everyone else.
    fn route_loopback(&self) -> Result<()> {
        let path = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", self.bridge.name());
        std::fs::write(&path, "1").map_err(|error| Error::failed(format!("write {path}"), error))
    }
}

/// The names in a folder; none where there is no folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// What the plugins' result says of the container.
fn attached(pin: &Path, result: &Value) -> Result<Attached> {
    let none = || Error::failed("attach the container", format!("the network plugins gave no address: {result}"));
    let address: IpNet = result["ips"][0]["address"].as_str().and_then(|text| text.parse().ok()).ok_or_else(none)?;
    let own = |link: &&Value| link["sandbox"].as_str().is_some_and(|text| !text.is_empty());
    let link = result["interfaces"].as_array().into_iter().flatten().find(own);
    Ok(Attached {
        netns: Some(pin.to_owned()),
        address: Some(address.addr()),
        prefix: address.prefix_len(),
        gateway: result["ips"][0]["gateway"].as_str().and_then(|text| text.parse().ok()),
        mac: link.and_then(|link| link["mac"].as_str()).map(str::to_owned),
        ports: ports::PortMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_the_plugins_is_read() {
        let result = json!({
            "cniVersion": "1.0.0",
            "interfaces": [
                { "name": "keel0", "mac": "02:00:00:00:00:01" },
                { "name": "veth1", "mac": "02:00:00:00:00:02" },
                { "name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/a" },
            ],
            "ips": [{ "interface": 2, "address": "10.87.0.2/16", "gateway": "10.87.0.1" }],
        });
        let attached = attached(Path::new("/run/netns/a"), &result).unwrap();
        assert_eq!(attached.address, Some(IpAddr::from([10, 87, 0, 2])));
        assert_eq!((attached.prefix, attached.gateway), (16, Some(IpAddr::from([10, 87, 0, 1]))));
        assert_eq!(attached.mac.as_deref(), Some("02:00:00:00:00:03"));
    }

    #[test]
    fn a_result_without_an_address_is_told() {
        assert!(attached(Path::new("/run/netns/a"), &json!({ "ips": [] })).is_err());
    }
}
