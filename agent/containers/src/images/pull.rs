//! `docker pull`: the manifest for this host, then its layers in parallel, each unpacked in its turn.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::models::CreateImageInfo;
use futures_util::{StreamExt, TryStreamExt};
use oci_client::RegistryOperation;
use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, ImageManifest};
use tokio::sync::watch;

use super::auth::Credentials;
use super::chain;
use super::details::{Details, no_platform};
use super::fault::{Fault, Kind};
use super::fetch::Source;
use super::lease::Lease;
use super::manifest::{self, Document};
use super::progress::{self, Layer, Tell, line, part, short};
use super::unpack::{self, Step};
use super::{Image, Images, content, digest_of, reference, registry};
use crate::error::{Error, Result};

/// So many layers come at a time.
const PARALLEL: usize = 3;

impl Images {
    /// Brings an image from its registry, and tells of it as Docker does. What is here already is not
    /// fetched again; when it fails, nothing of it stays.
    pub async fn pull(
        &self,
        text: &str,
        auth: Option<Credentials>,
        progress: impl Fn(CreateImageInfo) + Send + Sync,
    ) -> Result<Image> {
        let image = reference::parse(text)?;
        let name = reference::of(&image);
        let lease = Lease::new(&self.containerd).await?;
        let pulled = self.pull_leased(&lease, &image, auth, &progress).await;
        let target = match pulled {
            Ok(target) => target,
            Err(error) => {
                lease.release(true).await.ok();
                return Err(error);
            }
        };
        let digest = target.digest().to_string();
        let newer = !self.list_named().await?.iter().any(|named| named.name == name && digest_of(named) == digest);
        self.set_name(&name, &target).await?;
        lease.release(false).await?;
        let image = self.find(&name).await?;
        progress(line(format!("Digest: {digest}")));
        progress(progress::pulled(reference::familiar(&name), newer));
        self.tell("pull", reference::familiar(&name), Some(reference::familiar_repository(&name)));
        Ok(image)
    }

    /// The digest that a name stands for in its registry now.
    pub async fn resolve(&self, text: &str, auth: Option<Credentials>) -> Result<String> {
        let image = reference::parse(text)?;
        let places = self.registries.places(&image, auth.as_ref())?;
        let question = |session: Arc<registry::Session>| async move { session.digest().await };
        let asked = registry::ask(&places, RegistryOperation::Pull, |can| can.resolve, question).await;
        asked.map(|(_, digest)| digest).map_err(|fault| unresolved(&image, fault))
    }

    async fn pull_leased(
        &self,
        lease: &Lease,
        image: &Reference,
        auth: Option<Credentials>,
        tell: Tell<'_>,
    ) -> Result<Descriptor> {
        let places = self.registries.places(image, auth.as_ref())?;
        let question = |session: Arc<registry::Session>| async move { session.manifest(None).await };
        let by_digest = image.digest().is_some();
        let can: fn(super::hosts::Can) -> bool = if by_digest { |can| can.pull } else { |can| can.resolve };
        let asked = registry::ask(&places, RegistryOperation::Pull, can, question).await;
        let (session, (data, _)) = asked.map_err(|fault| unresolved(image, fault))?;
        tell(part(image.digest().or(image.tag()).unwrap_or("latest"), &format!("Pulling from {}", image.repository())));
        let source = Source::new(places, session);
        let (target, manifest) = self.manifests(lease, &source, &data).await?;
        self.layers(lease, &source, &manifest, tell).await?;
        Ok(target)
    }

    /// Writes the document that the name stands for, and the manifest for this host in it.
    async fn manifests(&self, lease: &Lease, source: &Source, data: &[u8]) -> Result<(Descriptor, ImageManifest)> {
        let containerd = lease.containerd();
        let document = Document::parse(data)?;
        let media_type = document.media_type();
        match document {
            Document::Manifest(manifest) => {
                let target =
                    content::write(containerd, &media_type, data, manifest::manifest_labels(&manifest)).await?;
                Ok((target, manifest))
            }
            Document::Index(index) => {
                let chosen = manifest::choose(&index).ok_or_else(no_platform)?;
                let target = content::write(containerd, &media_type, data, manifest::index_labels(chosen)).await?;
                let data = source.manifest(lease, chosen.digest().as_ref()).await?;
                let Document::Manifest(manifest) = Document::parse(&data)? else {
                    return Err(Error::failed("read the image", "an index within an index"));
                };
                let labels = manifest::manifest_labels(&manifest);
                content::write(containerd, chosen.media_type().as_ref(), &data, labels).await?;
                Ok((target, manifest))
            }
        }
    }

    /// Fetches the layers, and unpacks each once it and all below it are here.
    async fn layers(&self, lease: &Lease, source: &Source, manifest: &ImageManifest, tell: Tell<'_>) -> Result<()> {
        source.fetch(lease, &self.locks, manifest.config(), None).await?;
        let id = manifest.config().digest().to_string();
        let config = content::read(lease.containerd(), &id).await?;
        let details = Details::parse(manifest.config().clone(), manifest.clone(), &config)?;
        let diffs = details.config.rootfs().diff_ids();
        let layers = manifest.layers();
        unpack::fits(layers, diffs)?;
        layers.iter().for_each(|layer| tell(part(short(layer.digest().as_ref()), "Pulling fs layer")));
        let here: HashMap<String, watch::Sender<bool>> =
            layers.iter().map(|layer| (layer.digest().to_string(), watch::Sender::new(false))).collect();
        let fetching = self.fetching(lease, source, layers, &here, tell);
        let unpacking = self.unpacking(lease, layers, diffs, &here, tell);
        tokio::try_join!(fetching, unpacking)?;
        unpack::keep(lease.containerd(), &self.snapshotter, &id, details.chain()).await
    }

    async fn fetching(
        &self,
        lease: &Lease,
        source: &Source,
        layers: &[Descriptor],
        here: &HashMap<String, watch::Sender<bool>>,
        tell: Tell<'_>,
    ) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        let once: Vec<&Descriptor> = layers.iter().filter(|layer| seen.insert(layer.digest().to_string())).collect();
        let fetch = |blob: &'_ Descriptor| {
            let blob = blob.clone();
            async move {
                let digest = blob.digest().to_string();
                let line = Layer::new(tell, &digest, blob.size());
                source.fetch(lease, &self.locks, &blob, Some(&line)).await?;
                if let Some(here) = here.get(&digest) {
                    here.send_replace(true);
                }
                Ok::<_, Error>(())
            }
        };
        futures_util::stream::iter(once.into_iter().map(fetch)).buffer_unordered(PARALLEL).try_collect::<()>().await
    }

    async fn unpacking(
        &self,
        lease: &Lease,
        layers: &[Descriptor],
        diffs: &[String],
        here: &HashMap<String, watch::Sender<bool>>,
        tell: Tell<'_>,
    ) -> Result<()> {
        let chains = chain::chain_ids(diffs);
        let mut parent = "";
        for ((layer, diff), chain) in layers.iter().zip(diffs).zip(&chains) {
            let digest = layer.digest().to_string();
            let line = Layer::new(tell, &digest, layer.size());
            if let Some(here) = here.get(&digest) {
                here.subscribe().wait_for(|here| *here).await.map_err(|error| Error::failed("pull", error))?;
            }
            let _alone = self.locks.lock(chain).await;
            if unpack::exists(lease.containerd(), &self.snapshotter, chain).await? {
                lease.keep_snapshot(&self.snapshotter, chain).await?;
                line.say("Already exists");
            } else {
                line.at("Extracting", layer.size());
                unpack::step(lease, &self.snapshotter, Step { layer, diff, parent, chain }).await?;
                line.say("Pull complete");
            }
            parent = chain;
        }
        Ok(())
    }
}

/// Docker's words for an image that a registry does not have.
fn unresolved(image: &Reference, fault: Fault) -> Error {
    let name = reference::of(image);
    let name = reference::familiar(&name);
    match fault.kind {
        Kind::Missing => Error::NotFound(format!("manifest for {name} not found: manifest unknown ({})", fault.error)),
        _ => fault.error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tag_is_told_in_dockers_words() {
        let image = reference::parse("r.example/x:1").unwrap();
        let fault = Fault { kind: Kind::Missing, error: Error::NotFound("registry r.example: not found".to_owned()) };
        let message = unresolved(&image, fault).to_string();
        assert!(message.starts_with("manifest for r.example/x:1 not found: manifest unknown"), "{message}");
    }
}
