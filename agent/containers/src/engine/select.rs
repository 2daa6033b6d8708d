//! Decides which containers filters choose.

use std::collections::HashSet;

use bollard::models::HealthStatusEnum;
use regex::Regex;

use super::Engine;
use super::moment::Moment;
use super::record::{Record, State, Status};
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::network::Mode;

/// The filters of `ps`.
pub const FILTERS: &[&str] = &[
    "ancestor", "before", "exited", "expose", "health", "id", "label", "label!", "name", "network", "publish", "since",
    "status", "volume", "is-task",
];

const STATUSES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/// Filters, with what they name found.
#[derive(Debug, Default)]
pub struct Selection {
    filters: Filters,
    names: Vec<Regex>,
    ids: Vec<Regex>,
    codes: Vec<i64>,
    images: Option<HashSet<String>>,
    before: Option<Moment>,
    since: Option<Moment>,
}

impl Selection {
    /// Finds what `filters` name; what is not there is an error, in Docker's words.
    pub async fn new(engine: &Engine, filters: &Filters) -> Result<Self> {
        let mut selection = Self::parse(filters)?;
        let created =
            |key: &str| filters.get(key).first().map(|name| engine.find(name).map(|found| found.record().created));
        selection.before = created("before").transpose()?;
        selection.since = created("since").transpose()?;
        if !filters.get("ancestor").is_empty() {
            let mut images = HashSet::new();
            for name in filters.get("ancestor") {
                images.extend(engine.images.find(name).await.ok().map(|image| image.id));
            }
            selection.images = Some(images);
        }
        Ok(selection)
    }

    fn parse(filters: &Filters) -> Result<Self> {
        if let Some(status) = filters.get("status").iter().find(|status| !STATUSES.contains(&status.as_str())) {
            return Err(Error::Invalid(format!("invalid filter 'status={status}'")));
        }
        let pattern = |text: &String| {
            Regex::new(text).map_err(|error| Error::Invalid(format!("invalid filter: {text:?} is no pattern: {error}")))
        };
        let code = |text: &String| text.parse().map_err(|_| Error::Invalid(format!("invalid filter 'exited={text}'")));
        Ok(Self {
            names: filters.get("name").iter().map(pattern).collect::<Result<_>>()?,
            ids: filters.get("id").iter().map(pattern).collect::<Result<_>>()?,
            codes: filters.get("exited").iter().map(code).collect::<Result<_>>()?,
            filters: filters.clone(),
            ..Self::default()
        })
    }

    /// Does it ask for containers that may not run?
    pub fn names_a_status(&self) -> bool {
        !self.filters.get("status").is_empty() || !self.codes.is_empty()
    }

    /// Is a container chosen?
    pub fn has(&self, record: &Record, state: &State) -> bool {
        let any = |key: &str, test: &dyn Fn(&str) -> bool| {
            let wanted = self.filters.get(key);
            wanted.is_empty() || wanted.iter().any(|value| test(value))
        };
        let labels = record.config.labels.clone().unwrap_or_default();
        let slashed = format!("/{}", record.name);
        let ended = matches!(state.status, Status::Exited) && state.finished.is_some();
        any("status", &|status| status == state.status.as_str())
            && (self.names.is_empty()
                || self.names.iter().any(|name| name.is_match(&slashed) || name.is_match(&record.name)))
            && (self.ids.is_empty()
                || self.ids.iter().any(|id| id.find(&record.id).is_some_and(|found| found.start() == 0)))
            && (self.codes.is_empty() || ended && self.codes.contains(&state.exit_code))
            && self.filters.labels_match(&labels)
            && self.images.as_ref().is_none_or(|images| images.contains(&record.image))
            && self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
            && any("health", &|health| health == health_of(state))
            && any("network", &|network| on_network(record, network))
            && any("volume", &|volume| has_volume(record, volume))
            && any("expose", &|port| record.config.exposed_ports.iter().flatten().any(|known| same_port(known, port)))
            && any("publish", &|port| {
                record.host.port_bindings.iter().flatten().any(|(known, _)| same_port(known, port))
            })
            && any("is-task", &|value| matches!(value, "false" | "0"))
    }
}

fn same_port(known: &str, asked: &str) -> bool {
    known == asked || known.strip_suffix("/tcp") == Some(asked)
}

fn health_of(state: &State) -> String {
    match state.health.as_ref().and_then(|health| health.status) {
        None | Some(HealthStatusEnum::EMPTY) => "none".to_owned(),
        Some(status) => status.to_string(),
    }
}

fn on_network(record: &Record, network: &str) -> bool {
    let name =
        Mode::parse(record.host.network_mode.as_deref()).ok().and_then(|mode| crate::network::inspect::name(&mode));
    name.is_some_and(|name| name == network || crate::network::network_id(name).starts_with(network))
}

fn has_volume(record: &Record, volume: &str) -> bool {
    record
        .mounts
        .iter()
        .any(|point| [&point.name, &point.destination, &point.source].into_iter().flatten().any(|text| text == volume))
}

#[cfg(test)]
mod tests {
    use bollard::models::MountPoint;

    use super::*;

    fn chosen(filters: &str, record: &Record, state: &State) -> bool {
        Selection::parse(&Filters::parse(filters, FILTERS).unwrap()).unwrap().has(record, state)
    }

    #[test]
    fn by_what_they_are() {
        let mut record = Record::sample("abc", "web-1");
        record.mounts = vec![MountPoint { name: Some("data".to_owned()), ..MountPoint::default() }];
        record.config.exposed_ports = Some(vec!["80/tcp".to_owned()]);
        let state = State { status: Status::Exited, exit_code: 3, finished: Some(Moment::now()), ..State::default() };
        let is = |filters: &str| chosen(filters, &record, &state);
        assert!(is("{}"));
        assert!(is(r#"{"name":["web"]}"#) && is(r#"{"name":["^/web-1$"]}"#) && !is(r#"{"name":["db"]}"#));
        assert!(is(r#"{"id":["ab"]}"#) && !is(r#"{"id":["bc"]}"#));
        assert!(is(r#"{"status":["exited","running"]}"#) && !is(r#"{"status":["running"]}"#));
        assert!(is(r#"{"exited":["3"]}"#) && !is(r#"{"exited":["0"]}"#));
        assert!(is(r#"{"volume":["data"]}"#) && !is(r#"{"volume":["other"]}"#));
        assert!(is(r#"{"network":["bridge"]}"#) && !is(r#"{"network":["host"]}"#));
        assert!(is(r#"{"health":["none"]}"#) && !is(r#"{"health":["healthy"]}"#));
        assert!(is(r#"{"expose":["80"]}"#) && !is(r#"{"expose":["80/udp"]}"#));
    }

    #[test]
    fn by_time() {
        let record = Record::sample("abc", "x");
        let later = Selection { since: Some(record.created), ..Selection::default() };
        assert!(!later.has(&record, &State::default()));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [r#"{"status":["up"]}"#, r#"{"exited":["x"]}"#, r#"{"name":["("]}"#] {
            assert!(Selection::parse(&Filters::parse(bad, FILTERS).unwrap()).is_err(), "{bad}");
        }
    }
}
