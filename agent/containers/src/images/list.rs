//! `docker images`, `docker image inspect` and `docker history`: what is here, in Docker's shapes.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{DriverData, ImageInspect, ImageInspectMetadata, ImageInspectRootFs, ImageSummary};
use containerd_client::services::v1::Image as Named;
use prost_types::Timestamp;
use regex::Regex;
use serde::Serialize;

use super::details::Details;
use super::{Images, digest_of, reference, unpack};
use crate::error::{Error, Result};
use crate::filters::Filters;

/// What images can be filtered by.
pub const FILTERS: &[&str] = &["reference", "dangling", "label", "label!", "before", "since", "until"];

/// One line of an image's history.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct History {
    /// The image's id at the top, else `<missing>`.
    pub id: String,
    /// Seconds since 1970.
    pub created: i64,
    /// The command.
    pub created_by: String,
    /// The image's names at the top.
    pub tags: Option<Vec<String>>,
    /// Bytes of the layer.
    pub size: i64,
    /// What was said of it.
    pub comment: String,
}

/// An image with all its names: those with tags, those by digest.
struct Entry<'a> {
    details: std::sync::Arc<Details>,
    named: Vec<&'a Named>,
}

impl Entry<'_> {
    fn created(&self) -> i64 {
        seconds(self.details.config.created().as_deref())
    }

    fn tags(&self) -> Vec<String> {
        tags(self.named.iter().map(|named| named.name.as_str()))
    }

    fn digests(&self) -> Vec<String> {
        digests(self.named.iter().map(|named| (named.name.as_str(), digest_of(named))))
    }

    fn labels(&self) -> HashMap<String, String> {
        self.details.docker.labels.clone().unwrap_or_default()
    }
}

/// The familiar names with tags.
fn tags<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names = names.filter(|name| !reference::by_digest(name));
    let mut tags: Vec<String> = names.map(|name| reference::familiar(name).to_owned()).collect();
    tags.sort();
    tags
}

/// `REPOSITORY@DIGEST` for every repository that has the image.
fn digests<'a>(names: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let names = names.filter(|(name, _)| !reference::is_dangling(name));
    let mut digests: Vec<String> =
        names.map(|(name, digest)| format!("{}@{digest}", reference::familiar_repository(name))).collect();
    digests.sort();
    digests.dedup();
    digests
}

/// Seconds since 1970 of a time in RFC 3339.
fn seconds(time: Option<&str>) -> i64 {
    time.and_then(|time| time.parse::<Timestamp>().ok()).map_or(0, |time| time.seconds)
}

/// Whether an image has neither a tag nor a digest that it came by: Docker calls it dangling.
fn nameless(tags: &[String], digests: &[String]) -> bool {
    tags.is_empty() && digests.is_empty()
}

/// The names that fit any of the patterns.
fn fitting(names: Vec<String>, patterns: &[String]) -> Result<Vec<String>> {
    let mut fitting = Vec::new();
    for name in names {
        for pattern in patterns {
            if fits(&name, pattern)? {
                fitting.push(name.clone());
                break;
            }
        }
    }
    Ok(fitting)
}

/// Whether a familiar name fits a pattern of the shell, with tag or without.
fn fits(name: &str, pattern: &str) -> Result<bool> {
    let mut expression = String::from("^");
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' | ']' => expression.push(character),
            '\\' => {
                expression.push_str(&characters.next().map(|next| regex::escape(&next.to_string())).unwrap_or_default())
            }
            other => expression.push_str(&regex::escape(&other.to_string())),
        }
    }
    expression.push('$');
    // A `-` in brackets is escaped above: it means a range there.
    let expression = Regex::new(&expression.replace("\\-", "-"))
        .map_err(|_| Error::Invalid(format!("invalid filter 'reference={pattern}': syntax error in pattern")))?;
    Ok(expression.is_match(name) || expression.is_match(reference::familiar_repository(name)))
}

impl Images {
    async fn entries<'a>(&self, all: &'a [Named]) -> Vec<Entry<'a>> {
        let mut entries: BTreeMap<String, Entry<'a>> = BTreeMap::new();
        for named in all {
            match self.details(digest_of(named)).await {
                Ok(details) => {
                    let entry = entries.entry(details.id.clone());
                    entry.or_insert_with(|| Entry { details, named: Vec::new() }).named.push(named);
                }
                Err(error) => tracing::warn!(image = named.name, %error, "an image cannot be read"),
            }
        }
        let mut entries: Vec<_> = entries.into_values().collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.created()));
        entries
    }

    /// The images that `filters` let through, newest first.
    pub async fn list(&self, filters: &Filters) -> Result<Vec<ImageSummary>> {
        let all = self.list_named().await?;
        let bounds = Bounds::of(self, filters).await?;
        let mut list = Vec::new();
        for entry in self.entries(&all).await {
            let (mut tags, mut digests) = (entry.tags(), entry.digests());
            if filters.flag("dangling")?.is_some_and(|wanted| wanted != nameless(&tags, &digests))
                || !bounds.contain(entry.created())
                || !filters.labels_match(&entry.labels())
            {
                continue;
            }
            if let patterns @ [_, ..] = filters.get("reference") {
                (tags, digests) = (fitting(tags, patterns)?, fitting(digests, patterns)?);
                if tags.is_empty() && digests.is_empty() {
                    continue;
                }
            }
            list.push(self.summary(&entry, tags, digests).await?);
        }
        Ok(list)
    }

    async fn summary(&self, entry: &Entry<'_>, tags: Vec<String>, digests: Vec<String>) -> Result<ImageSummary> {
        let containers = self.users_of(&entry.details.id).len();
        Ok(ImageSummary {
            id: entry.details.id.clone(),
            parent_id: String::new(),
            repo_tags: tags,
            repo_digests: digests,
            created: entry.created(),
            size: unpack::size(&self.containerd, &self.snapshotter, &entry.details.chains).await?,
            shared_size: -1,
            labels: entry.labels(),
            containers: i64::try_from(containers).unwrap_or(-1),
            manifests: None,
            descriptor: None,
        })
    }

    /// All of one image.
    pub async fn inspect(&self, text: &str) -> Result<ImageInspect> {
        let image = self.find(text).await?;
        let details = self.details(&image.digest).await?;
        let all = self.list_named().await?;
        let named = self.names_of(&all, &image.id).await;
        let config = &details.config;
        let tagged =
            named.iter().filter_map(|named| named.updated_at.as_ref()).max_by_key(|time| (time.seconds, time.nanos));
        Ok(ImageInspect {
            id: Some(image.id),
            repo_tags: Some(tags(named.iter().map(|named| named.name.as_str()))),
            repo_digests: Some(digests(named.iter().map(|named| (named.name.as_str(), digest_of(named))))),
            comment: Some(details.comment.clone().unwrap_or_default()),
            created: config.created().clone(),
            author: Some(config.author().clone().unwrap_or_default()),
            config: Some((*details.docker).clone()),
            architecture: Some(config.architecture().to_string()),
            variant: config.variant().clone(),
            os: Some(config.os().to_string()),
            size: Some(image.size),
            graph_driver: Some(DriverData { name: self.snapshotter.clone(), data: HashMap::new() }),
            root_fs: Some(ImageInspectRootFs {
                typ: "layers".to_owned(),
                layers: Some(config.rootfs().diff_ids().clone()),
            }),
            metadata: Some(ImageInspectMetadata { last_tag_time: tagged.map(ToString::to_string) }),
            ..ImageInspect::default()
        })
    }

    /// How an image came to be, newest first.
    pub async fn history(&self, text: &str) -> Result<Vec<History>> {
        let image = self.find(text).await?;
        let details = self.details(&image.digest).await?;
        let mut chains = details.chains.iter();
        let mut lines = Vec::new();
        for item in details.config.history().iter().flatten() {
            let chain = if item.empty_layer().unwrap_or(false) { None } else { chains.next() };
            let size = match chain {
                Some(chain) => unpack::size(&self.containerd, &self.snapshotter, std::slice::from_ref(chain)).await?,
                None => 0,
            };
            lines.push(History {
                id: "<missing>".to_owned(),
                created: seconds(item.created().as_deref()),
                created_by: item.created_by().clone().unwrap_or_default(),
                tags: None,
                size,
                comment: item.comment().clone().unwrap_or_default(),
            });
        }
        lines.reverse();
        if let Some(top) = lines.first_mut() {
            top.tags = Some(tags(image.names.iter().map(String::as_str))).filter(|tags| !tags.is_empty());
            top.id = image.id;
        }
        Ok(lines)
    }

    /// All names of the image with this id.
    pub(super) async fn names_of<'a>(&self, all: &'a [Named], id: &str) -> Vec<&'a Named> {
        let mut names = Vec::new();
        for named in all {
            if self.details(digest_of(named)).await.is_ok_and(|details| details.id == id) {
                names.push(named);
            }
        }
        names
    }
}

/// Between which times an image must be made.
struct Bounds {
    after: i64,
    before: i64,
}

impl Bounds {
    async fn of(images: &Images, filters: &Filters) -> Result<Self> {
        let mut bounds = Self { after: i64::MIN, before: i64::MAX };
        for name in filters.get("before") {
            bounds.before = bounds.before.min(seconds(images.find(name).await?.config.created().as_deref()));
        }
        for name in filters.get("since") {
            bounds.after = bounds.after.max(seconds(images.find(name).await?.config.created().as_deref()));
        }
        for time in filters.get("until") {
            bounds.before = bounds.before.min(until(time)?);
        }
        Ok(bounds)
    }

    fn contain(&self, created: i64) -> bool {
        self.after < created && created < self.before
    }
}

/// `until`: a duration back from now (`24h`), seconds since 1970, or a time in RFC 3339.
fn until(text: &str) -> Result<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(seconds);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.seconds);
    }
    let ago = crate::words::duration(text)
        .map_err(|_| Error::Invalid(format!("invalid filter 'until={text}': use a duration like 24h, or a time")))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(now.saturating_sub(ago).as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_fit_patterns_of_the_shell() {
        let fits = |name, pattern| fits(name, pattern).unwrap();
        assert!(fits("busybox:1.36", "busybox"));
        assert!(fits("busybox:1.36", "busy*"));
        assert!(fits("busybox:1.36", "*:1.3[0-9]"));
        assert!(!fits("busybox:1.36", "box"));
        assert!(!fits("localhost:5000/busybox:1", "busybox"));
        assert!(!fits("a/b:1", "*:1"));
        assert!(fits("a/b-c.d:1", "a/b-c.d"));
        assert!(super::fits("a", "[").is_err());
    }

    #[test]
    fn names_are_told_short_and_sorted() {
        let names = ["docker.io/library/b:2", "docker.io/library/a:1", "docker.io/library/a@sha256:0"];
        assert_eq!(tags(names.into_iter()), ["a:1", "b:2"]);
        let pairs = names.into_iter().chain(["<none>@sha256:0"]).map(|name| (name, "sha256:0"));
        assert_eq!(digests(pairs), ["a@sha256:0", "b@sha256:0"]);
    }

    #[test]
    fn times_are_read() {
        assert_eq!(seconds(Some("1970-01-01T00:01:00Z")), 60);
        assert_eq!(seconds(Some("1970-01-01T01:01:00.5+01:00")), 60);
        assert_eq!(seconds(Some("yesterday")), 0);
        assert_eq!(until("60").unwrap(), 60);
        assert_eq!(until("1970-01-01T00:01:00Z").unwrap(), 60);
        assert!(until("24h").unwrap() > 1_600_000_000);
        assert!(until("soon").is_err());
    }
}
