//! Owns the pods' network where nobody else makes one: the CNI's configuration, masquerading, routes
//! to other nodes. Level-triggered: whatever happens, the whole of it is compared and set right.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use ipnet::IpNet;
use kube::Api;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::family::Family;
use super::links::{Links, Target};
use super::nodes::{self, Peer, RawNode};
use super::routes::{self, Routes, Wanted};
use super::watch::{Change, changes};
use super::{cni, masquerade, nft, sysctl};
use crate::config::Settings;
use crate::context::Context;
use crate::events::Kind;

/// How often to look whether something else has taken away what was set up.
const AGAIN: Duration = Duration::from_secs(60);
/// How often to look whether somebody else has come to set up the network, or is gone.
const OTHERS: Duration = Duration::from_secs(3);
/// How long to wait for other nodes before pods may reach the outside without knowing them.
const NODES: Duration = Duration::from_secs(3);

/// Keeps the pods' network, without end. `in_force` is told the networks that pods here get addresses
/// of from us; none while somebody else gives them.
pub(super) async fn keep(context: Arc<Context>, in_force: watch::Sender<Vec<IpNet>>) {
    if !context.settings.pod_network {
        return remove(&context.settings).await;
    }
    let node = context.settings.name.clone();
    let api: Api<RawNode> = Api::all(context.client.clone());
    let mut nodes = pin!(changes(api, watcher::Config::default(), "nodes", nodes::reduce));
    let mut own = context.node.subscribe();
    let mut network = PodNetwork::new(context.clone(), in_force);
    let mut others = interval(OTHERS);
    let (mut again, mut patience) = (interval(AGAIN), Some(pin!(tokio::time::sleep(NODES))));
    loop {
        let look = tokio::select! {
            Ok(()) = own.changed() => network.take_own(own.borrow_and_update().as_deref()),
            Some(change) = nodes.next() => network.take_peer(&node, change),
            _ = again.tick() => {
                network.check().await;
                true
            }
            _ = others.tick() => cni::foreign(&context.settings.cni_conf) != network.foreign,
            () = async { if let Some(sleep) = &mut patience { sleep.as_mut().await } }, if patience.is_some() => {
                patience = None;
                true
            }
        };
        if network.listed {
            patience = None;
        }
        if look {
            network.ensure(patience.is_none()).await;
        }
    }
}

/// Takes away all that [`keep`] makes.
pub(super) async fn remove(settings: &Settings) {
    take_away(settings).await;
    let _ = std::fs::remove_dir_all(leases(settings));
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Where addresses in use are written down; a boot forgets them with the pods that had them.
fn leases(settings: &Settings) -> PathBuf {
    settings.run.join("cni")
}

async fn take_away(settings: &Settings) {
    match cni::remove(&settings.cni_conf) {
        Ok(true) => tracing::info!("the pods' network is not this node's to set up any more"),
        Ok(false) => {}
        Err(error) => {
            tracing::warn!(%error, folder = %settings.cni_conf.display(), "cannot remove our CNI configuration")
        }
    }
    for family in Family::ALL {
        if let Ok(Some(_)) = nft::existing(family, masquerade::TABLE).await
            && let Err(error) = nft::remove_table(family, masquerade::TABLE).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot remove the table of pods");
        }
    }
    if let Err(error) = Routes::default().ensure(&Wanted::new()).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot remove routes to pods");
    }
}

struct PodNetwork {
    context: Arc<Context>,
    in_force: watch::Sender<Vec<IpNet>>,
    own: Vec<IpNet>,
    peers: BTreeMap<String, Peer>,
    /// Whether all nodes are known.
    listed: bool,
    routes: Routes,
    /// The rules as they were written last.
    rules: Vec<String>,
    /// Whose configuration was found last.
    foreign: Option<PathBuf>,
    told_none: bool,
}

impl PodNetwork {
    fn new(context: Arc<Context>, in_force: watch::Sender<Vec<IpNet>>) -> Self {
        let own = context.node.borrow().as_deref().map(nodes::own).unwrap_or_default();
        Self {
            context,
            in_force,
            own,
            peers: BTreeMap::new(),
            listed: false,
            routes: Routes::default(),
            rules: Vec::new(),
            foreign: None,
            told_none: false,
        }
    }

    /// Whether something changed.
    fn take_own(&mut self, node: Option<&k8s_openapi::api::core::v1::Node>) -> bool {
        let Some(node) = node else { return false };
        let own = nodes::own(node);
        if own.is_empty() && !std::mem::replace(&mut self.told_none, true) {
            tracing::warn!(
                "the cluster gives this node no addresses for pods (kube-controller-manager: --allocate-node-cidrs, \
                 --cluster-cidr); waiting for them, or for somebody else's CNI configuration"
            );
        }
        let changed = own != self.own;
        self.own = own;
        changed
    }

    /// Whether something changed that matters now: a list matters as a whole.
    fn take_peer(&mut self, own: &str, change: Change<Peer>) -> bool {
        match change {
            Change::Put(name, _) if name == own => false,
            Change::Put(name, peer) => self.peers.insert(name, peer.clone()).as_ref() != Some(&peer) && self.listed,
            Change::Gone(name) => self.peers.remove(&name).is_some() && self.listed,
            Change::Listed(all) => {
                self.peers.retain(|name, _| all.contains(name));
                self.listed = true;
                true
            }
        }
    }

    /// Forgets what was written if it is not there any more.
    async fn check(&mut self) {
        for family in Family::ALL {
            let ours = self.own.iter().any(|net| Family::of_net(net) == family);
            let there = nft::is_there(family, masquerade::TABLE, "postrouting");
            if ours && !self.rules.is_empty() && !there.await.unwrap_or(true) {
                tracing::warn!("somebody removed the table of pods, it is written again");
                self.rules.clear();
            }
        }
    }

    async fn ensure(&mut self, patient: bool) {
        if self.own.is_empty() {
            return;
        }
        let context = self.context.clone();
        let settings = &context.settings;
        let foreign = cni::foreign(&settings.cni_conf);
        if let Some(file) = &foreign {
            self.stand_down(file.clone()).await;
            return;
        }
        if self.foreign.take().is_some() {
            tracing::info!("nobody else sets up the pods' network any more, so this node does");
        }
        let uplink = uplink(settings.addresses.first()).await;
        let has = |family| self.own.iter().any(|net| Family::of_net(net) == family);
        sysctl::forward(has(Family::V4), has(Family::V6), uplink.as_ref().map(|(name, _)| name.as_str()));
        self.configure(&settings.cni_conf, uplink.map(|(_, mtu)| mtu), &leases(settings));
        self.in_force.send_if_modified(|nets| {
            let old = std::mem::replace(nets, self.own.clone());
            old != self.own
        });
        if self.listed || patient {
            self.masquerade().await;
        }
        if self.listed {
            self.route().await;
        }
    }

    async fn stand_down(&mut self, file: PathBuf) {
        if self.foreign.as_ref() == Some(&file) {
            return;
        }
        tracing::info!(file = %file.display(), "somebody else sets up the pods' network");
        take_away(&self.context.settings).await;
        self.foreign = Some(file);
        self.rules.clear();
        self.in_force.send_if_modified(|nets| !std::mem::take(nets).is_empty());
    }

    fn configure(&self, folder: &Path, mtu: Option<u32>, leases: &Path) {
        match cni::write(folder, &cni::conflist(&self.own, mtu, leases)) {
            Ok(true) => tracing::info!(networks = ?self.own, "the pods' network is set up"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, folder = %folder.display(), "cannot write the CNI configuration, so no pod starts");
            }
        }
    }

    async fn masquerade(&mut self) {
        let cluster: BTreeSet<IpNet> = self.peers.values().flat_map(|peer| peer.pods.iter().copied()).collect();
        let script = |family| masquerade::script(family, &self.own, &cluster, self.listed);
        let scripts: Vec<_> = Family::ALL.into_iter().filter_map(script).collect();
        if scripts == self.rules {
            return;
        }
        for script in &scripts {
            if let Err(error) = nft::run(script).await {
                tracing::error!(error = &error as &dyn std::error::Error, "pods cannot reach the outside");
                return;
            }
        }
        self.rules = scripts;
    }

    async fn route(&mut self) {
        let wanted = routes::wanted(&self.own, self.peers.values());
        match self.routes.ensure(&wanted).await {
            Ok(news) => news.into_iter().for_each(|(net, target)| self.tell_unreachable(net, target)),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot make routes to pods of other nodes");
            }
        }
    }

    fn tell_unreachable(&self, net: IpNet, target: Target) {
        let Target::Node(address) = target else { return };
        let message = format!(
            "pods of {net} cannot be reached: their node {address} is in another network than this one; \
             let a router know the way, or install a CNI plugin that tunnels"
        );
        match self.context.node.borrow().as_deref() {
            Some(node) => self.context.events.node(node, Kind::Warning, "FailedToCreateRoute", message),
            None => tracing::warn!("{message}"),
        }
    }
}

/// Name and MTU of the link to other nodes.
async fn uplink(address: Option<&IpAddr>) -> Option<(String, u32)> {
    let found = match Links::open() {
        Ok(links) => links.with_address(*address?).await,
        Err(error) => Err(error),
    };
    found.unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot find the link to other nodes");
        None
    })
}
