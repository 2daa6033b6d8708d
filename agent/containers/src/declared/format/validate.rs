//! Owns turning one file's [`Raw`] into a checked [`File`]; every problem is collected with its
//! place, so that one look shows them all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bollard::models::PortMap;
use keelson_common::strict::{Problem, Source};
use toml::Spanned;

use super::body::Bodies;
use super::raw::{Raw, RawContainer, RawGroup, RawRestart, RawUpdate, Text};
use super::window::Window;
use super::{Read, body};
use crate::declared::hash::{hash, network};
use crate::declared::model::{Condition, Declaration, File, Group, Policy, Restart, Update};
use crate::words;

/// The shortest time between two questions to a registry.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);

/// Checks one file.
pub fn validate(source: &Source, raw: &Raw, read: Read<'_>) -> Result<File, Vec<Problem>> {
    let mut check = Check { source, problems: Vec::new(), read };
    let name = source.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.trim_end_matches(".toml").to_owned();
    if let Err(why) = words::name(&stem) {
        check.report(0..0, format!("a file of this name cannot declare containers: {why}"));
    }
    let group = raw.group.as_ref().map(|group| check.group(group.get_ref(), &stem));
    if let (Some(group), true) = (&raw.group, raw.container.is_empty()) {
        check.report(group.span(), "the group has no [[container]]");
    }
    let mut seen = BTreeSet::new();
    let shared = raw.group.as_ref().map(|group| group.get_ref());
    let mut containers = Vec::new();
    for item in &raw.container {
        let only = raw.container.len() == 1;
        let Some(declaration) = check.container(&name, &stem, item, shared, only) else { continue };
        if !seen.insert(declaration.name.clone()) {
            let span = item.get_ref().name.as_ref().map_or(item.span(), Spanned::span);
            check.report(span, format!("this file declares `{}` twice", declaration.name));
        }
        let network = group.as_ref().and_then(Option::as_ref).map(network);
        containers.push(Declaration { hash: hash(&declaration), network, ..declaration });
    }
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    Ok(File { name, path: source.path.clone(), group: group.flatten(), containers })
}

/// Collects what is wrong.
pub struct Check<'a> {
    source: &'a Source,
    problems: Vec<Problem>,
    /// Reads the files that the declaration names.
    pub read: Read<'a>,
}

impl Check<'_> {
    /// Notes a problem at a place.
    pub fn report(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.source.problem(span.start, message));
    }

    /// The value that `text` stands for; what is wrong with it is noted.
    pub fn value<T>(&mut self, text: &Text, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        read(text.get_ref()).map_err(|message| self.report(text.span(), message)).ok()
    }

    /// As [`Check::value`], of what may not be there.
    pub fn option<T>(&mut self, text: &Option<Text>, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        text.as_ref().and_then(|text| self.value(text, read))
    }

    /// Published ports.
    pub fn ports(&mut self, texts: &[Text]) -> PortMap {
        let mut map = PortMap::new();
        for text in texts {
            self.value(text, |text| words::publish(text, &mut map));
        }
        map
    }

    /// A group with a namespace of its own; `None` when its containers have the host's network.
    fn group(&mut self, raw: &RawGroup, stem: &str) -> Option<Group> {
        let network = self.option(&raw.network, |text| match text {
            "bridge" | "none" | "host" => Ok(text.to_owned()),
            other => Err(format!("`{other}` is no network of a group; there are: bridge, none, host")),
        });
        let network = network.unwrap_or_else(|| "bridge".to_owned());
        let ports = self.ports(&raw.ports);
        if let (Some(first), false) = (raw.ports.first(), network == "bridge") {
            self.report(first.span(), format!("ports are published on the network `bridge`, not on `{network}`"));
        }
        (network != "host").then(|| Group { name: stem.to_owned(), network, ports })
    }

    fn container(
        &mut self,
        file: &str,
        stem: &str,
        item: &Spanned<RawContainer>,
        group: Option<&RawGroup>,
        only: bool,
    ) -> Option<Declaration> {
        let raw = item.get_ref();
        let name = match &raw.name {
            Some(name) => self.value(name, |name| words::name(name).map(|()| name.to_owned()))?,
            None if only => stem.to_owned(),
            None => {
                self.report(item.span(), "the key `name` is missing: a file with several containers names each");
                return None;
            }
        };
        let image = self.value(&raw.image, body::image)?;
        let body = Bodies { check: self, raw, group, stem }.body(&name);
        Some(Declaration {
            file: file.to_owned(),
            enabled: raw.enabled.unwrap_or(true),
            group: group.is_some().then(|| stem.to_owned()),
            after: raw.after.iter().filter_map(|text| self.other(text, &name)).collect(),
            requires: self.requires(raw, &name),
            restart: self.restart(&raw.restart),
            restart_unhealthy: self.restart_unhealthy(raw),
            update: raw.update.as_ref().and_then(|update| self.update(update.get_ref(), &image, &raw.image)),
            hash: String::new(),
            network: None,
            name,
            body,
            image,
        })
    }

    /// The name of another container.
    fn other(&mut self, text: &Text, own: &str) -> Option<String> {
        self.value(text, |name| match name == own {
            true => Err("a container cannot wait for itself".to_owned()),
            false => words::name(name).map(|()| name.to_owned()),
        })
    }

    fn requires(&mut self, raw: &RawContainer, own: &str) -> BTreeMap<String, Condition> {
        let mut all = BTreeMap::new();
        // What it is linked to, or lives in the network of, has to be there.
        for link in &raw.links {
            let name = link.get_ref().split(':').next().unwrap_or_default().to_owned();
            all.insert(name, Condition::Started);
        }
        if let Some(name) = raw.network.as_ref().and_then(|network| network.get_ref().strip_prefix("container:")) {
            all.insert(name.to_owned(), Condition::Started);
        }
        for (name, condition) in &raw.requires {
            let condition = self.value(condition, |text| match text {
                "started" => Ok(Condition::Started),
                "healthy" => Ok(Condition::Healthy),
                "completed" => Ok(Condition::Completed),
                other => Err(format!("`{other}` is no condition; there are: started, healthy, completed")),
            });
            if let (Some(name), Some(condition)) = (self.other(name, own), condition) {
                all.insert(name, condition);
            }
        }
        all
    }

    fn restart(&mut self, raw: &RawRestart) -> Restart {
        let policy = self.option(&raw.policy, |text| match text {
            "no" => Ok(Policy::No),
            "on-failure" => Ok(Policy::OnFailure),
            "always" => Ok(Policy::Always),
            other => Err(format!("`{other}` is no restart policy; there are: no, on-failure, always")),
        });
        let policy = policy.unwrap_or(Policy::Always);
        if let (Some(_), Some(text), true) = (raw.retries, &raw.policy, policy != Policy::OnFailure) {
            self.report(text.span(), "`retries` belongs to the policy `on-failure`");
        }
        let mut time = |text: &Option<Text>, default: u64| {
            self.option(text, words::duration).unwrap_or(Duration::from_secs(default))
        };
        let delay = time(&raw.delay, 1);
        let max_delay = time(&raw.max_delay, 300).max(delay);
        let reset_after = time(&raw.reset_after, 600);
        Restart { policy, retries: raw.retries, delay, max_delay, reset_after }
    }

    fn restart_unhealthy(&mut self, raw: &RawContainer) -> bool {
        let Some(health) = &raw.health else { return false };
        let choice = self.option(&health.get_ref().on_unhealthy, |text| match text {
            "restart" => Ok(true),
            "report" => Ok(false),
            other => Err(format!("`{other}` cannot be done; there are: report, restart")),
        });
        choice.unwrap_or(false)
    }

    fn update(&mut self, raw: &RawUpdate, image: &str, written: &Text) -> Option<Update> {
        let follow = self.value(&raw.follow, |text| match text {
            "tag" => Ok(true),
            "pinned" => Ok(false),
            other => Err(format!("`{other}` cannot be followed; there are: tag, pinned")),
        })?;
        if follow && image.contains('@') {
            self.report(written.span(), "an image with a digest is pinned: leave the digest out to follow the tag");
        }
        let interval = self.option(&raw.interval, |text| match words::duration(text)? {
            short if short < SHORTEST_INTERVAL => Err("a registry is asked once a minute at most".to_owned()),
            interval => Ok(interval),
        });
        let update = Update {
            interval: interval.unwrap_or(Duration::from_secs(6 * 3600)),
            window: self.option(&raw.window, Window::parse),
            trial: self.option(&raw.trial, words::duration).unwrap_or(Duration::from_secs(60)),
        };
        follow.then_some(update)
    }

    /// The text of a file that the declaration names.
    pub fn file<T>(&mut self, path: &Text, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = (self.read)(Path::new(path.get_ref()));
        self.value(path, |path| match text {
            _ if !path.starts_with('/') => Err(format!("`{path}` is no path from /")),
            Ok(text) => parse(&text).map_err(|why| format!("{path}: {why}")),
            Err(error) => Err(format!("cannot read {path}: {error}")),
        })
    }
}
