//! Blobs from registries straight into the content store.

use std::sync::Arc;

use futures_util::StreamExt;
use oci_client::RegistryOperation;
use oci_client::client::BlobResponse;
use oci_spec::image::Descriptor;
use tokio::sync::OnceCell;

use super::content::{self, Writer};
use super::fault::{Fault, Kind};
use super::lease::Lease;
use super::locks::Locks;
use super::manifest;
use super::progress::Layer;
use super::registry::{Place, Session, TRIES, backoff};
use crate::error::{Error, Result};

/// The hosts that an image's blobs come from, each spoken to when it is first needed.
pub struct Source {
    places: Vec<(Place, OnceCell<Arc<Session>>)>,
}

impl Source {
    /// First the one that gave the manifest, then the others that can give blobs; not the same place
    /// in another tongue.
    pub fn new(places: Vec<Place>, first: Arc<Session>) -> Self {
        let useful = |place: &Place| {
            place.host.can.pull && (place.host == first.host || place.host.address != first.host.address)
        };
        let (known, others): (Vec<_>, Vec<_>) =
            places.into_iter().filter(useful).partition(|place| place.host == first.host);
        let known = known.into_iter().map(|place| (place, OnceCell::new_with(Some(first.clone()))));
        Self { places: known.chain(others.into_iter().map(|place| (place, OnceCell::new()))).collect() }
    }

    async fn session(&self, at: usize) -> std::result::Result<Arc<Session>, Fault> {
        let (place, cell) = &self.places[at];
        let open = || async { place.open(RegistryOperation::Pull).await.map(Arc::new) };
        cell.get_or_try_init(open).await.cloned()
    }

    /// Fetches a blob, unless it is here.
    pub async fn fetch(
        &self,
        lease: &Lease,
        locks: &Locks,
        blob: &Descriptor,
        layer: Option<&Layer<'_>>,
    ) -> Result<bool> {
        let digest = blob.digest().to_string();
        let _alone = locks.lock(&digest).await;
        let Some(mut writer) =
            Writer::open(lease.containerd(), &format!("keelson-{digest}"), blob.size(), &digest).await?
        else {
            lease.keep_content(&digest).await?;
            return Ok(false);
        };
        match self.copy(&mut writer, blob, &digest, layer).await {
            Ok(()) => {}
            Err(fault) => return Err(writer.abort(fault.error).await),
        }
        if let Some(layer) = layer {
            layer.say("Verifying Checksum");
        }
        writer.commit(Default::default()).await?;
        if let Some(layer) = layer {
            layer.say("Download complete");
        }
        Ok(true)
    }

    /// Copies from one host after the other, each tried again when its connection breaks.
    async fn copy(
        &self,
        writer: &mut Writer,
        blob: &Descriptor,
        digest: &str,
        layer: Option<&Layer<'_>>,
    ) -> std::result::Result<(), Fault> {
        let (mut at, mut tries) = (0, 0);
        // A host that gave something wrong is what matters, whatever is the matter with the others.
        let mut wrong = None;
        loop {
            let before = writer.offset();
            let Err(fault) = self.attempt(at, writer, blob, digest, layer).await else { return Ok(()) };
            tracing::debug!(digest, error = %fault.error, tries, "a blob did not come");
            if writer.offset() > before {
                tries = 0;
            }
            match fault.kind {
                Kind::Broken if tries + 1 < TRIES => {
                    if let Some(layer) = layer {
                        layer.say("Retrying");
                    }
                    tokio::time::sleep(backoff(tries)).await;
                    tries += 1;
                }
                Kind::Other => return Err(wrong.unwrap_or(fault)),
                _ if at + 1 < self.places.len() => {
                    (at, tries) = (at + 1, 0);
                    if fault.kind == Kind::Wrong {
                        writer.restart();
                        wrong.get_or_insert(fault);
                    }
                }
                _ => return Err(wrong.unwrap_or(fault)),
            }
        }
    }

    async fn attempt(
        &self,
        at: usize,
        writer: &mut Writer,
        blob: &Descriptor,
        digest: &str,
        layer: Option<&Layer<'_>>,
    ) -> std::result::Result<(), Fault> {
        if blob.size() > 0 && writer.offset() == blob.size() {
            return Ok(());
        }
        if writer.offset() > blob.size() {
            writer.restart();
        }
        let session = self.session(at).await?;
        let mut stream = match session.blob(digest, writer.offset()).await? {
            BlobResponse::Full(stream) => {
                writer.restart();
                stream
            }
            BlobResponse::Partial(stream) => stream,
        };
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| Fault::io(&session.host.address, &error))?;
            if writer.offset() + chunk.len() as u64 > blob.size() {
                return Err(too_long(&session, digest, blob.size()));
            }
            writer.write(chunk).await?;
            if let Some(layer) = layer {
                layer.at("Downloading", writer.offset());
            }
        }
        writer.flush().await?;
        Ok(())
    }

    /// Fetches a manifest by its digest, unless it is here.
    pub async fn manifest(&self, lease: &Lease, digest: &str) -> Result<Vec<u8>> {
        if content::info(lease.containerd(), digest).await?.is_some() {
            lease.keep_content(digest).await?;
            return content::read(lease.containerd(), digest).await;
        }
        let mut last = Error::Failed(format!("no host has {digest}"));
        for at in 0..self.places.len() {
            let pulled = match self.session(at).await {
                Ok(session) => session.manifest(Some(digest)).await,
                Err(fault) => Err(fault),
            };
            match pulled {
                Ok((data, _)) => {
                    manifest::describe(manifest::OCI_MANIFEST, &data)?;
                    return Ok(data.to_vec());
                }
                Err(fault) => last = fault.error,
            }
        }
        Err(last)
    }
}

fn too_long(session: &Session, digest: &str, size: u64) -> Fault {
    let message = format!(
        "wrong digest: registry {} gave more than the {size} bytes that the manifest says {digest} has",
        session.host.address
    );
    Fault { kind: Kind::Wrong, error: Error::Failed(message) }
}
