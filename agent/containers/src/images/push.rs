//! `docker push`: the blobs that the registry lacks, then the manifest under its tag.

use bollard::models::CreateImageInfo;
use futures_util::{StreamExt, TryStreamExt};
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use oci_spec::image::Descriptor;

use super::auth::Credentials;
use super::fault::{Fault, Kind};
use super::progress::{Layer, Tell, line, part, short};
use super::registry::{self, Session, TRIES, backoff};
use super::{Images, content, no_such_image, reference};
use crate::error::{Error, Result};

/// So many layers go at a time.
const PARALLEL: usize = 3;

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Under which tag.
    pub tag: String,
    /// The digest of the manifest.
    pub digest: String,
    /// Bytes of the manifest.
    pub size: u64,
}

impl Images {
    /// Sends an image to its registry, and tells of it as Docker does.
    pub async fn push(
        &self,
        text: &str,
        auth: Option<Credentials>,
        progress: impl Fn(CreateImageInfo) + Send + Sync,
    ) -> Result<Pushed> {
        let name = reference::parse(text)?;
        let whole = reference::of(&name);
        let all = self.list_named().await?;
        let target = all.iter().find(|named| named.name == whole).map(super::digest_of);
        let Some(target) = target.filter(|_| name.digest().is_none()) else {
            let repository = reference::familiar_repository(&whole);
            return Err(match name.digest() {
                Some(_) => Error::Invalid("cannot push a digest reference".to_owned()),
                None => Error::NotFound(format!(
                    "An image does not exist locally with the tag: {repository} ({})",
                    no_such_image(text)
                )),
            });
        };
        let details = self.details(target).await?;
        progress(line(format!("The push refers to repository [{}]", reference::repository(&name))));
        let places = self.registries.places(&name, auth.as_ref())?;
        let places: Vec<_> = places.into_iter().filter(|place| place.host.origin).collect();
        let spoken = |_| async { Ok(()) };
        let asked = registry::ask(&places, RegistryOperation::Push, |can| can.push, spoken).await;
        let session = asked.map_err(|fault| fault.error)?.0;
        let manifest = &details.manifest;
        self.push_blobs(&session, manifest.layers(), &progress).await?;
        self.push_blob(&session, manifest.config(), None).await?;
        let descriptor = &details.manifest_descriptor;
        let digest = descriptor.digest().to_string();
        let data = content::read(&self.containerd, &digest).await?;
        let media_type = descriptor.media_type().to_string();
        let media_type = media_type.parse().map_err(|error| Error::failed("push the manifest", error))?;
        let pushed = session.client.push_manifest_raw(&session.reference, data, media_type).await;
        pushed.map_err(|error| Fault::of(&session.host.address, &error).error)?;
        let pushed = Pushed { tag: name.tag().unwrap_or("latest").to_owned(), digest, size: descriptor.size() };
        progress(line(format!("{}: digest: {} size: {}", pushed.tag, pushed.digest, pushed.size)));
        self.tell("push", reference::familiar(&whole), Some(reference::familiar_repository(&whole)));
        Ok(pushed)
    }

    async fn push_blobs(&self, session: &Session, layers: &[Descriptor], tell: Tell<'_>) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        let once: Vec<&Descriptor> = layers.iter().filter(|layer| seen.insert(layer.digest().to_string())).collect();
        once.iter().for_each(|layer| tell(part(short(layer.digest().as_ref()), "Preparing")));
        let push = |blob: &'_ Descriptor| {
            let blob = blob.clone();
            async move {
                let line = Layer::new(tell, blob.digest().as_ref(), blob.size());
                let sent = self.push_blob(session, &blob, Some(&line)).await?;
                line.say(if sent { "Pushed" } else { "Layer already exists" });
                Ok::<_, Error>(())
            }
        };
        futures_util::stream::iter(once.into_iter().map(push)).buffer_unordered(PARALLEL).try_collect::<()>().await
    }

    /// Sends a blob, unless the registry has it; tells whether it was sent.
    async fn push_blob(&self, session: &Session, blob: &Descriptor, line: Option<&Layer<'_>>) -> Result<bool> {
        let digest = blob.digest().to_string();
        let mut tries = 0;
        loop {
            let fault = match self.push_attempt(session, blob, &digest, line).await {
                Ok(sent) => return Ok(sent),
                Err(fault) => fault,
            };
            if fault.kind != Kind::Broken || tries + 1 >= TRIES {
                return Err(fault.error);
            }
            tracing::debug!(digest, error = %fault.error, tries, "a blob did not go");
            tokio::time::sleep(backoff(tries)).await;
            tries += 1;
        }
    }

    async fn push_attempt(
        &self,
        session: &Session,
        blob: &Descriptor,
        digest: &str,
        line: Option<&Layer<'_>>,
    ) -> std::result::Result<bool, Fault> {
        let fault = |error: OciDistributionError| Fault::of(&session.host.address, &error);
        if session.client.blob_exists(&session.reference, digest).await.map_err(fault)? {
            return Ok(false);
        }
        // The client wants a stream that borrows nothing: what it took is told from here.
        let (sender, mut taken) = tokio::sync::watch::channel(0_u64);
        let stream = content::stream(&self.containerd, digest).await?;
        let stream = stream.map(move |chunk| {
            if let Ok(chunk) = &chunk {
                sender.send_modify(|taken| *taken += chunk.len() as u64);
            }
            chunk.map_err(|error| OciDistributionError::IoError(std::io::Error::other(error)))
        });
        let push = session.client.push_blob_stream(&session.reference, stream, digest, Some(blob.size()));
        let mut push = std::pin::pin!(push);
        loop {
            tokio::select! {
                pushed = &mut push => return pushed.map(|_| true).map_err(fault),
                Ok(()) = taken.changed() => {
                    let taken = *taken.borrow_and_update();
                    if let Some(line) = line {
                        line.at("Pushing", taken);
                    }
                }
            }
        }
    }
}
