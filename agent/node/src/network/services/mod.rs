//! Owns Services on this node, in kube-proxy's place: from Services and EndpointSlices to nftables.
//!
//! The first change is written at once, more of them together after [`PAUSE`]; only what changed is
//! sent to the kernel. When it refuses, everything is written anew.

mod aside;
mod base;
mod choose;
mod flows;
mod health;
mod rules;
mod service;
mod slice;
mod state;
mod table;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use ipnet::IpNet;
use kube::Api;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use self::choose::Place;
use self::health::Health;
use self::rules::Here;
use self::slice::RawSlice;
use self::state::State;
use super::family::Family;
use super::nft::{self, NftError};
use super::sysctl;
use super::watch::{changes, key};
use crate::context::Context;
use crate::events::Kind;

/// How long changes are gathered after rules were written.
const PAUSE: Duration = Duration::from_millis(100);
/// How long after a failure to try again: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long chains out of use are kept.
const SWEEP: Duration = Duration::from_secs(2);
/// How often to look for kube-proxy among the pods.
const LOOK: Duration = Duration::from_secs(15);
/// How often to look whether the table is still there, in looks for kube-proxy.
const CHECK: u32 = 4;
/// What somebody else loads, or nobody does.
const OURS: &str = "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless";

/// Keeps Services in nftables, without end. `own_pods` says which addresses pods of this node have.
pub(super) async fn keep(context: Arc<Context>, mut own_pods: watch::Receiver<Vec<IpNet>>) {
    if !context.settings.services {
        return remove().await;
    }
    let node = context.settings.name.clone();
    let config = watcher::Config::default().labels(OURS);
    let slices: Api<RawSlice> = Api::all(context.client.clone());
    let mut slices = pin!(changes(slices, config, "endpointslices", |raw| slice::reduce(raw, &node)));
    let mut services = context.objects.services_changed();
    services.mark_changed();
    let mut own = context.node.subscribe();
    sysctl::connections();
    let mut keeper = Keeper::new(context);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut networks = own_pods.borrow_and_update().clone();
    keeper.place(&networks);
    loop {
        let due = keeper.due();
        tokio::select! {
            // What is there already is taken in before anything is written.
            biased;
            Ok(()) = services.changed() => keeper.services().await,
            Some(change) = slices.next() => keeper.state.slice(change),
            Ok(()) = own.changed() => keeper.place(&networks),
            Ok(()) = own_pods.changed() => {
                networks.clone_from(&own_pods.borrow_and_update());
                keeper.place(&networks);
            }
            _ = look.tick() => keeper.look().await,
            () = async { if let Some(due) = due { tokio::time::sleep_until(due).await } }, if due.is_some() => {
                keeper.work().await;
            }
        }
    }
}

/// Takes away the tables, if there are any.
pub(super) async fn remove() {
    for family in Family::ALL {
        if let Ok(Some(_)) = nft::existing(family, base::TABLE).await
            && let Err(error) = nft::remove_table(family, base::TABLE).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot remove the table of Services");
        }
    }
}

struct Keeper {
    context: Arc<Context>,
    state: State,
    health: Health,
    /// Whether kube-proxy has the Services.
    aside: bool,
    /// Whether all rules are to be written, not only those that changed.
    all: bool,
    not_before: Instant,
    sweep_at: Option<Instant>,
    failures: u32,
    looks: u32,
}

impl Keeper {
    fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            state: State::new(),
            health: Health::default(),
            aside: false,
            all: true,
            not_before: Instant::now(),
            sweep_at: None,
            failures: 0,
            looks: 0,
        }
    }

    /// Takes what is known of this node.
    fn place(&mut self, own_pods: &[IpNet]) {
        let node = self.context.node.borrow().clone();
        let labels = node.as_ref().and_then(|node| node.metadata.labels.as_ref());
        let zone = labels.and_then(|labels| labels.get("topology.kubernetes.io/zone")).cloned();
        let here = Here {
            place: Place { node: self.context.settings.name.clone(), zone: zone.unwrap_or_default() },
            pods: own_pods.to_vec(),
            addresses: self.context.settings.addresses.clone(),
        };
        self.all |= self.state.here(here);
    }

    /// Takes all Services as they are now.
    async fn services(&mut self) {
        if !self.context.objects.services_known() {
            return;
        }
        let services = self.context.objects.services().await;
        let kept = services.iter().filter_map(|service| Some((key(&**service), service::reduce(service)?)));
        self.state.services(kept.collect());
    }

    /// When there is something to do.
    fn due(&self) -> Option<Instant> {
        if self.aside || !self.state.is_known() {
            return None;
        }
        let write = (self.all || self.state.is_dirty()).then_some(self.not_before);
        write.into_iter().chain(self.sweep_at).min()
    }

    async fn work(&mut self) {
        if !self.all && !self.state.is_dirty() {
            return self.sweep().await;
        }
        let written = if self.all { self.rebuild().await } else { self.update().await };
        let now = Instant::now();
        match written {
            Ok(()) => {
                (self.all, self.failures, self.not_before) = (false, 0, now + PAUSE);
                let stale = self.state.written();
                self.sweep_at = (!self.state.sweep().is_empty()).then_some(now + SWEEP);
                self.health.node();
                self.health.services(self.state.health());
                flows::forget(&stale).await;
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot write the rules of Services");
                self.not_before = now + RETRY.1.min(RETRY.0 * 2_u32.saturating_pow(self.failures));
                (self.all, self.failures) = (true, self.failures.saturating_add(1));
            }
        }
    }

    async fn update(&mut self) -> Result<(), NftError> {
        let script = self.state.update();
        if script.is_empty() { Ok(()) } else { nft::run(&script).await }
    }

    /// Writes everything. What is there is taken over so that clients stay where they are; a table that
    /// does not fit, of another version or changed by hand, is replaced.
    async fn rebuild(&mut self) -> Result<(), NftError> {
        let mut outcome = Ok(());
        for family in Family::ALL {
            let existing = nft::existing(family, base::TABLE).await.unwrap_or_default();
            let taken_over = existing.is_some();
            let mut written = nft::run(&self.state.rebuild(family, existing)).await;
            if taken_over && let Err(error) = &written {
                tracing::warn!(error = error as &dyn std::error::Error, "the table of Services is replaced");
                written = nft::run(&self.state.rebuild(family, None)).await;
            }
            outcome = outcome.and(written);
        }
        outcome
    }

    async fn sweep(&mut self) {
        self.sweep_at = None;
        match nft::run(&self.state.sweep()).await {
            Ok(()) => self.state.swept(),
            Err(error) => {
                // Still in use as the kernel sees it; they do no harm.
                tracing::debug!(error = &error as &dyn std::error::Error, "cannot remove chains yet");
                self.sweep_at = Some(Instant::now() + RETRY.1);
            }
        }
    }

    /// Looks at what nobody tells of: kube-proxy among the pods, a table that was removed.
    async fn look(&mut self) {
        match (aside::kube_proxy(&self.context.pods), self.aside) {
            (Some(pod), false) => self.stand_aside(&pod).await,
            (None, true) => {
                tracing::info!("kube-proxy is gone, this node loads Services again");
                (self.aside, self.all) = (false, true);
            }
            _ => {}
        }
        self.looks += 1;
        if self.looks.is_multiple_of(CHECK) && !self.aside && !self.all && self.state.is_known() {
            for family in self.state.families() {
                if !nft::is_there(family, base::TABLE, "refuse").await.unwrap_or(true) {
                    tracing::warn!("somebody removed the table of Services, it is written again");
                    self.all = true;
                }
            }
        }
    }

    async fn stand_aside(&mut self, pod: &str) {
        self.aside = true;
        self.health = Health::default();
        remove().await;
        let message = format!("pod {pod} loads Services on this node, so the node itself does not");
        match self.context.node.borrow().as_deref() {
            Some(node) => self.context.events.node(node, Kind::Normal, "KubeProxyFound", message),
            None => tracing::info!("{message}"),
        }
    }
}
