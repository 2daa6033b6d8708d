//! Images in containerd: found by name, pulled, pushed, loaded, saved and made.
//!
//! A name in containerd's image store points to a manifest or to an index of manifests; the manifest
//! names a configuration, whose digest is the image's id, and layers, whose chain id is the key of
//! the snapshot that containers start from. Labels on each make containerd keep what it names; what
//! nothing names any more is collected.

mod archive;
pub mod auth;
mod baked;
mod chain;
pub mod changes;
mod commit;
mod content;
mod details;
mod fault;
mod fetch;
mod grammar;
mod hosts;
mod lease;
mod list;
mod load;
mod locks;
mod manifest;
mod names;
mod progress;
mod pull;
mod push;
pub mod reference;
mod registry;
mod remove;
mod save;
mod unpack;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bollard::models::{EventMessageTypeEnum, ImageConfig};
use containerd_client::services::v1::{Image as Named, ListImagesRequest};
use oci_spec::image::ImageConfiguration;

pub use self::archive::{decompressed, to_its_end};
pub use self::auth::AuthFile;
pub use self::commit::Commit;
use self::details::Details;
use self::lease::Lease;
pub use self::list::FILTERS;
pub use self::load::Loaded;
use self::locks::Locks;
pub use self::progress::loading;
pub use self::push::Pushed;
use self::reference::Query;
use self::registry::Registries;
use super::containerd::Containerd;
use super::error::{Error, Result};
use super::events::Events;
use super::options::Options;

/// So many images are remembered; what is known of one never changes.
const REMEMBERED: usize = 256;

/// An image that is in containerd, unpacked.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its configuration, as Docker shows it: `sha256:…`.
    pub id: String,
    /// The digest that its name stands for in a registry: of its manifest, or of the index of
    /// manifests for several platforms.
    pub digest: String,
    /// The digest of its manifest.
    pub manifest: String,
    /// Its names, whole: `docker.io/library/debian:13`.
    pub names: Vec<String>,
    /// Its configuration.
    pub config: Arc<ImageConfiguration>,
    /// The part of the configuration about running, with what Docker has beyond OCI: the health
    /// check, the shell.
    pub docker: Arc<ImageConfig>,
    /// The key of the snapshot that its layers make; empty for an image without layers.
    pub chain: String,
    /// Bytes of its layers, unpacked.
    pub size: i64,
}

/// A container that was made from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: String,
    /// Whether it runs.
    pub running: bool,
}

/// Who knows the containers: images in use are not removed.
pub trait Users: std::fmt::Debug + Send + Sync {
    /// The containers made from the image with this id.
    fn of_image(&self, id: &str) -> Vec<User>;
}

/// The images of our namespace.
#[derive(Debug)]
pub struct Images {
    containerd: Containerd,
    events: Events,
    snapshotter: String,
    registries: Registries,
    locks: Locks,
    known: Mutex<HashMap<String, Arc<Details>>>,
    users: OnceLock<Weak<dyn Users>>,
}

impl Images {
    /// The images in `containerd`.
    pub fn new(containerd: Containerd, events: Events, options: &Options) -> Result<Self> {
        Ok(Self {
            containerd,
            events,
            snapshotter: options.snapshotter.clone(),
            registries: Registries::new(&options.registries, &options.auth),
            locks: Locks::default(),
            known: Mutex::default(),
            users: OnceLock::new(),
        })
    }

    /// Says who knows the containers; the first one said is asked.
    pub fn set_users(&self, users: Weak<dyn Users>) {
        self.users.set(users).ok();
    }

    /// The image called `text`: a name, a name with tag or digest, an id or the beginning of one. It
    /// is unpacked when this returns.
    pub async fn find(&self, text: &str) -> Result<Image> {
        let missing = || no_such_image(text);
        let all = self.list_named().await?;
        let query = Query::parse(text)?;
        let (name, prefix) = match &query {
            Query::Name(name) => (Some(name), None),
            Query::Either(name, prefix) => (Some(name), Some(prefix.as_str())),
            Query::Prefix(prefix) => (None, Some(prefix.as_str())),
            Query::Id(id) => (None, id.strip_prefix("sha256:")),
        };
        let by_name = name.and_then(|name| self.by_name(&all, name));
        let (details, named) = match (by_name, prefix) {
            (Some(target), _) => {
                let same = all.iter().filter(|named| digest_of(named) == target).collect::<Vec<_>>();
                (self.details(target).await?, same)
            }
            (None, Some(prefix)) => self.by_prefix(&all, prefix, text).await?.ok_or_else(missing)?,
            (None, None) => return Err(missing()),
        };
        self.unpacked(&details).await?;
        details.image(&self.containerd, &self.snapshotter, &named).await
    }

    /// The target of a name; a digest is also found where only a tag of the repository has it.
    fn by_name<'a>(&self, all: &'a [Named], name: &str) -> Option<&'a str> {
        if let Some(named) = all.iter().find(|named| named.name == name) {
            return Some(digest_of(named));
        }
        let (repository, digest) = name.split_once('@')?;
        let matches = |named: &&Named| {
            digest_of(named) == digest
                && reference::familiar_repository(&named.name) == reference::familiar_repository(repository)
        };
        all.iter().find(matches).map(digest_of)
    }

    async fn by_prefix<'a>(
        &self,
        all: &'a [Named],
        prefix: &str,
        text: &str,
    ) -> Result<Option<(Arc<Details>, Vec<&'a Named>)>> {
        let mut found: Option<(Arc<Details>, Vec<&Named>)> = None;
        for named in all {
            let Ok(details) = self.details(digest_of(named)).await else { continue };
            let id = details.id.strip_prefix("sha256:").unwrap_or(&details.id);
            if !id.starts_with(prefix) {
                continue;
            }
            match &mut found {
                None => found = Some((details, vec![named])),
                Some((first, names)) if first.id == details.id => names.push(named),
                Some(_) => return Err(Error::Invalid(format!("image ID {text:?} is ambiguous: give more of it"))),
            }
        }
        Ok(found)
    }

    /// Gives an image another name.
    pub async fn tag(&self, text: &str, name: &str) -> Result<()> {
        let image = self.find(text).await?;
        let name = reference::whole(name)?;
        if reference::by_digest(&name) {
            return Err(Error::Invalid("refusing to create a tag with a digest reference".to_owned()));
        }
        let all = self.list_named().await?;
        let target = all.iter().filter_map(|named| named.target.as_ref()).find(|target| target.digest == image.digest);
        let target = target.ok_or_else(|| no_such_image(text))?;
        let size = u64::try_from(target.size).unwrap_or_default();
        self.set_name(&name, &manifest::descriptor(&target.media_type, &target.digest, size)?).await?;
        self.tell("tag", &image.id, Some(reference::familiar(&name)));
        Ok(())
    }

    async fn list_named(&self) -> Result<Vec<Named>> {
        let request = ListImagesRequest { filters: Vec::new() };
        Ok(self.containerd.images().list(request).await?.into_inner().images)
    }

    /// What the digest of a target leads to.
    async fn details(&self, target: &str) -> Result<Arc<Details>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(details) = known().get(target) {
            return Ok(details.clone());
        }
        let details = Arc::new(Details::read(&self.containerd, target).await?);
        let mut known = known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(target.to_owned(), details.clone());
        Ok(details)
    }

    /// Unpacks an image that came without: by another client of containerd.
    async fn unpacked(&self, details: &Details) -> Result<()> {
        let chain = details.chain();
        if chain.is_empty() || unpack::exists(&self.containerd, &self.snapshotter, chain).await? {
            return Ok(());
        }
        let lease = Lease::new(&self.containerd).await?;
        self.unpack(&lease, details, |_| {}).await?;
        lease.release(false).await
    }

    async fn unpack(
        &self,
        lease: &Lease,
        details: &Details,
        done: impl Fn(&oci_spec::image::Descriptor) + Sync,
    ) -> Result<()> {
        let (layers, diffs) = (details.manifest.layers(), details.config.rootfs().diff_ids());
        unpack::all(lease, &self.snapshotter, &details.id, layers, diffs, done).await
    }

    fn tell(&self, action: &str, id: &str, name: Option<&str>) {
        let attributes = name.map(|name| HashMap::from([("name".to_owned(), name.to_owned())])).unwrap_or_default();
        self.events.publish(EventMessageTypeEnum::IMAGE, action, id, attributes);
    }
}

/// The digest that a name points to.
fn digest_of(named: &Named) -> &str {
    named.target.as_ref().map_or("", |target| target.digest.as_str())
}

/// Docker's words for an image that is not here.
pub fn no_such_image(text: &str) -> Error {
    let name = match text.starts_with("sha256:") {
        true => text.to_owned(),
        false => reference::whole(text).map_or_else(|_| text.to_owned(), |name| reference::familiar(&name).to_owned()),
    };
    Error::NotFound(format!("No such image: {name}"))
}
