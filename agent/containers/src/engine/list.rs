//! Lists containers, as `ps` shows them.

use std::sync::Arc;
use std::time::Duration;

use bollard::models::{
    ContainerSummary, ContainerSummaryHealth, ContainerSummaryHostConfig, ContainerSummaryNetworkSettings,
    ContainerSummaryStateEnum, HealthStatusEnum, PortBinding, PortMap, PortSummary, PortSummaryTypeEnum,
};

use super::Engine;
use super::container::Container;
use super::moment::Moment;
use super::record::{Record, State, Status};
use super::select::Selection;
use crate::error::Result;
use crate::filters::Filters;
use crate::network::ports::{Port, Protocol};

/// What to list.
#[derive(Debug, Default)]
pub struct Listing {
    /// Those that do not run, too.
    pub all: bool,
    /// Only so many, the newest.
    pub limit: Option<usize>,
    /// With what they take on the disk.
    pub size: bool,
    /// Only those.
    pub filters: Filters,
}

impl Engine {
    /// Lists containers, the newest first.
    pub async fn list(&self, listing: &Listing) -> Result<Vec<ContainerSummary>> {
        let chosen = self.chosen(listing).await?;
        let mut summaries = Vec::with_capacity(chosen.len());
        for container in chosen {
            let mut summary = self.summary(&container);
            if listing.size {
                let (own, all) = self.sizes(&container).await?;
                (summary.size_rw, summary.size_root_fs) = (Some(own), Some(all));
            }
            summaries.push(summary);
        }
        Ok(summaries)
    }

    async fn chosen(&self, listing: &Listing) -> Result<Vec<Arc<Container>>> {
        let selection = Selection::new(self, &listing.filters).await?;
        let all = listing.all || listing.limit.is_some() || selection.names_a_status();
        let shown = |container: &Arc<Container>| {
            let (record, state) = (container.record(), container.state());
            (all || state.status.alive() || state.status == Status::Restarting) && selection.has(&record, &state)
        };
        let mut found: Vec<_> = self.all().into_iter().filter(shown).collect();
        found.sort_by_key(|container| std::cmp::Reverse(container.record().created));
        found.truncate(listing.limit.unwrap_or(usize::MAX));
        Ok(found)
    }

    fn summary(&self, container: &Container) -> ContainerSummary {
        let (record, state) = (container.record(), container.state());
        let settings = self.settings(&record, &state);
        let mut names = vec![format!("/{}", record.name)];
        names.extend(self.aliases(&record.id));
        ContainerSummary {
            id: Some(record.id.clone()),
            names: Some(names),
            image: record.config.image.clone(),
            image_id: Some(record.image.clone()),
            command: Some(command(&record)),
            created: Some(record.created.seconds()),
            ports: Some(ports(settings.now.ports.as_ref(), record.config.exposed_ports.as_deref(), &state)),
            labels: Some(record.config.labels.clone().unwrap_or_default()),
            state: Some(word(state.status)),
            status: Some(status(&state, Moment::now())),
            host_config: Some(ContainerSummaryHostConfig {
                network_mode: record.host.network_mode.clone(),
                annotations: None,
            }),
            network_settings: Some(ContainerSummaryNetworkSettings { networks: settings.now.networks }),
            mounts: Some(super::inspect::mounts(&record)),
            health: state.health.as_ref().map(|health| ContainerSummaryHealth {
                status: health.status.and_then(|status| status.to_string().parse().ok()),
                failing_streak: health.failing_streak,
            }),
            ..ContainerSummary::default()
        }
    }

    /// What it is called by those that are linked to it.
    fn aliases(&self, id: &str) -> Vec<String> {
        let mut aliases = Vec::new();
        for other in self.all() {
            let record = other.record();
            for link in self.links(&record).unwrap_or_default() {
                if self.find(&link.container).is_ok_and(|linked| linked.id() == id) {
                    aliases.push(format!("/{}/{}", record.name, link.alias));
                }
            }
        }
        aliases
    }
}

/// The words, those of the arguments that hold spaces in quotes.
fn command(record: &Record) -> String {
    let words = record.config.entrypoint.iter().chain(&record.config.cmd).flatten();
    let quoted = |(index, word): (usize, &String)| {
        if index > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() }
    };
    words.enumerate().map(quoted).collect::<Vec<_>>().join(" ")
}

fn word(status: Status) -> ContainerSummaryStateEnum {
    match status {
        Status::Created => ContainerSummaryStateEnum::CREATED,
        Status::Running => ContainerSummaryStateEnum::RUNNING,
        Status::Paused => ContainerSummaryStateEnum::PAUSED,
        Status::Restarting => ContainerSummaryStateEnum::RESTARTING,
        Status::Removing => ContainerSummaryStateEnum::REMOVING,
        Status::Exited => ContainerSummaryStateEnum::EXITED,
        Status::Dead => ContainerSummaryStateEnum::DEAD,
    }
}

/// `Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`.
fn status(state: &State, now: Moment) -> String {
    let since = |moment: Option<Moment>| age(moment.map_or(Duration::ZERO, |moment| now.since(moment)));
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Paused => format!("Up {} (Paused)", since(state.started)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished)),
        Status::Exited => match state.finished {
            Some(_) => format!("Exited ({}) {} ago", state.exit_code, since(state.finished)),
            None => "Created".to_owned(),
        },
        Status::Running => format!("Up {}{}", since(state.started), health(state)),
    }
}

fn health(state: &State) -> &'static str {
    match state.health.as_ref().and_then(|health| health.status) {
        Some(HealthStatusEnum::STARTING) => " (health: starting)",
        Some(HealthStatusEnum::HEALTHY) => " (healthy)",
        Some(HealthStatusEnum::UNHEALTHY) => " (unhealthy)",
        _ => "",
    }
}

/// How long something is ago, in the words that everyone knows from `docker ps`.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    let days = hours / 24;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{days} days"),
        () if hours < 24 * 60 => format!("{} weeks", days / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", days / 30),
        () => format!("{} years", days / 365),
    }
}

/// The published ports and those that are only exposed, in order.
fn ports(published: Option<&PortMap>, exposed: Option<&[String]>, state: &State) -> Vec<PortSummary> {
    if !state.status.alive() {
        return Vec::new();
    }
    let mut all: Vec<(Port, Vec<PortBinding>)> = Vec::new();
    for (text, bindings) in published.into_iter().flatten() {
        all.extend(text.parse().ok().map(|port| (port, bindings.clone().unwrap_or_default())));
    }
    for port in exposed.into_iter().flatten().filter_map(|text| text.parse::<Port>().ok()) {
        if !all.iter().any(|(known, _)| *known == port) {
            all.push((port, Vec::new()));
        }
    }
    all.sort_by_key(|(port, _)| *port);
    all.iter().flat_map(|(port, bindings)| summaries(*port, bindings)).collect()
}

fn summaries(port: Port, bindings: &[PortBinding]) -> Vec<PortSummary> {
    let typ = Some(match port.protocol {
        Protocol::Tcp => PortSummaryTypeEnum::TCP,
        Protocol::Udp => PortSummaryTypeEnum::UDP,
        Protocol::Sctp => PortSummaryTypeEnum::SCTP,
    });
    let bare = PortSummary { ip: None, private_port: port.number, public_port: None, typ };
    if bindings.is_empty() {
        return vec![bare];
    }
    let bound = |binding: &PortBinding| PortSummary {
        ip: binding.host_ip.clone().filter(|ip| !ip.is_empty()),
        public_port: binding.host_port.as_deref().and_then(|port| port.parse().ok()),
        ..bare.clone()
    };
    bindings.iter().map(bound).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let text = |seconds| age(Duration::from_secs(seconds));
        assert_eq!(text(0), "Less than a second");
        assert_eq!(text(1), "1 second");
        assert_eq!(text(59), "59 seconds");
        assert_eq!(text(119), "About a minute");
        assert_eq!(text(120), "2 minutes");
        assert_eq!(text(3600), "About an hour");
        assert_eq!(text(5400), "2 hours");
        assert_eq!(text(47 * 3600), "47 hours");
        assert_eq!(text(48 * 3600), "2 days");
        assert_eq!(text(15 * 86400), "2 weeks");
        assert_eq!(text(90 * 86400), "3 months");
        assert_eq!(text(800 * 86400), "2 years");
    }

    #[test]
    fn statuses() {
        let now = Moment::now();
        let at = |status| State { status, exit_code: 3, started: Some(now), finished: Some(now), ..State::default() };
        assert_eq!(status(&at(Status::Created), now), "Created");
        assert_eq!(status(&at(Status::Running), now), "Up Less than a second");
        assert_eq!(status(&at(Status::Paused), now), "Up Less than a second (Paused)");
        assert_eq!(status(&at(Status::Exited), now), "Exited (3) Less than a second ago");
        assert_eq!(status(&at(Status::Restarting), now), "Restarting (3) Less than a second ago");
    }

    #[test]
    fn ports_are_in_order() {
        let binding = PortBinding { host_ip: Some("0.0.0.0".to_owned()), host_port: Some("8080".to_owned()) };
        let map = PortMap::from([("80/tcp".to_owned(), Some(vec![binding])), ("53/udp".to_owned(), None)]);
        let running = State { status: Status::Running, ..State::default() };
        let all = ports(Some(&map), Some(&["443/tcp".to_owned()]), &running);
        let numbers: Vec<_> = all.iter().map(|port| (port.private_port, port.public_port)).collect();
        assert_eq!(numbers, [(53, None), (80, Some(8080)), (443, None)]);
        assert!(ports(Some(&map), None, &State::default()).is_empty());
    }
}
