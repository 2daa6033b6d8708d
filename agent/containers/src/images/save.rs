//! `docker save`: a tar that is an OCI layout and a docker-archive at once, streamed from the content
//! store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use oci_spec::image::Descriptor;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::details::Details;
use super::{Images, content, manifest, no_such_image, reference};
use crate::containerd::Containerd;
use crate::error::{Error, Result};

/// A tar ends in two empty blocks.
const BLOCK: usize = 512;

/// One image to save, with the names it is to have.
#[derive(Debug)]
struct Saved {
    details: Arc<Details>,
    names: Vec<String>,
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

impl Saved {
    fn digest(&self) -> String {
        self.details.manifest_descriptor.digest().to_string()
    }

    /// Its entries in index.json: one a name.
    fn entries(&self) -> Vec<serde_json::Value> {
        let descriptor = &self.details.manifest_descriptor;
        let entry = || {
            json!({
                "mediaType": descriptor.media_type().to_string(),
                "digest": self.digest(),
                "size": descriptor.size(),
                "platform": { "architecture": self.details.config.architecture(), "os": self.details.config.os() },
            })
        };
        let named = |name: &String| {
            let mut entry = entry();
            let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
            entry["annotations"] =
                json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag });
            entry
        };
        if self.names.is_empty() { vec![entry()] } else { self.names.iter().map(named).collect() }
    }

    /// Its item in manifest.json.
    fn item(&self) -> serde_json::Value {
        let tags: Vec<&str> = self.names.iter().map(|name| reference::familiar(name)).collect();
        let layers = self.details.manifest.layers().iter().map(|layer| blob_path(layer.digest().as_ref()));
        json!({ "Config": blob_path(&self.details.id), "RepoTags": tags, "Layers": layers.collect::<Vec<_>>() })
    }

    fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let manifest = &self.details.manifest;
        manifest.layers().iter().chain([manifest.config(), &self.details.manifest_descriptor])
    }
}

/// The files that describe a layout of these images.
fn documents(images: &[Saved]) -> [(&'static str, Vec<u8>); 3] {
    let entries: Vec<_> = images.iter().flat_map(Saved::entries).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": manifest::OCI_INDEX, "manifests": entries });
    let items: Vec<_> = images.iter().map(Saved::item).collect();
    let text = |value: serde_json::Value| value.to_string().into_bytes();
    [
        ("oci-layout", text(json!({ "imageLayoutVersion": "1.0.0" }))),
        ("index.json", text(index)),
        ("manifest.json", text(items.into())),
    ]
}

/// The header of a file in the tar.
fn header(path: &str, size: u64) -> Result<Bytes> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).map_err(|error| Error::failed("write the archive", error))?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    Ok(Bytes::copy_from_slice(header.as_bytes()))
}

fn padding(size: u64) -> Bytes {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    Bytes::from_static(&[0; BLOCK]).slice(..if over == 0 { 0 } else { BLOCK - over })
}

impl Images {
    /// A tar of these images. Names keep their names; an id brings an image without.
    pub async fn save(&self, names: &[String]) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        let mut images: BTreeMap<String, Saved> = BTreeMap::new();
        for text in names {
            let image = self.find(text).await?;
            let details = self.details(&image.digest).await?;
            self.complete(&details).await?;
            let saved = images.entry(image.id.clone());
            let saved = saved.or_insert_with(|| Saved { details, names: Vec::new() });
            let name = reference::whole(text).ok().filter(|name| image.names.contains(name));
            saved.names.extend(name.filter(|name| !reference::by_digest(name) && !saved.names.contains(name)));
            self.tell("save", &image.id, None);
        }
        if images.is_empty() {
            return Err(no_such_image(""));
        }
        let images: Vec<Saved> = images.into_values().collect();
        let (sender, receiver) = mpsc::channel(4);
        let containerd = self.containerd.clone();
        tokio::spawn(async move {
            if let Err(error) = write(&containerd, &images, &sender).await {
                sender.send(Err(error)).await.ok();
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    /// Makes sure that all blobs are here, before anything of a tar is sent.
    async fn complete(&self, details: &Details) -> Result<()> {
        for layer in details.manifest.layers() {
            if content::info(&self.containerd, layer.digest().as_ref()).await?.is_none() {
                return Err(Error::Failed(format!("layer {} is not kept here: pull the image again", layer.digest())));
            }
        }
        Ok(())
    }
}

type Sender = mpsc::Sender<Result<Bytes>>;

async fn write(containerd: &Containerd, images: &[Saved], sender: &Sender) -> Result<()> {
    // Whoever listened is gone: nothing is left to do.
    let gone = |_| Error::Failed("the client hung up".to_owned());
    let mut written = std::collections::HashSet::new();
    for blob in images.iter().flat_map(Saved::blobs) {
        let digest = blob.digest().to_string();
        if !written.insert(digest.clone()) {
            continue;
        }
        sender.send(Ok(header(&blob_path(&digest), blob.size())?)).await.map_err(gone)?;
        let mut stream = std::pin::pin!(content::stream(containerd, &digest).await?);
        while let Some(chunk) = stream.next().await {
            sender.send(Ok(chunk?)).await.map_err(gone)?;
        }
        sender.send(Ok(padding(blob.size()))).await.map_err(gone)?;
    }
    for (path, data) in documents(images) {
        let size = data.len() as u64;
        for part in [header(path, size)?, Bytes::from(data), padding(size)] {
            sender.send(Ok(part)).await.map_err(gone)?;
        }
    }
    sender.send(Ok(Bytes::from_static(&[0; 2 * BLOCK]))).await.map_err(gone)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_tar_is_put_together_from_parts() {
        let mut tar = Vec::new();
        for (path, data) in [("a/b", vec![1; 513]), ("c", Vec::new()), ("d", vec![2; 512])] {
            let size = data.len() as u64;
            tar.extend(header(path, size).unwrap());
            tar.extend(data);
            tar.extend(padding(size));
        }
        tar.extend([0; 2 * BLOCK]);
        let mut archive = tar::Archive::new(tar.as_slice());
        let read: Vec<(String, usize)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut data = Vec::new();
                entry.read_to_end(&mut data).unwrap();
                (entry.path().unwrap().display().to_string(), data.len())
            })
            .collect();
        assert_eq!(read, [("a/b".to_owned(), 513), ("c".to_owned(), 0), ("d".to_owned(), 512)]);
    }

    #[test]
    fn blobs_lie_by_their_digest() {
        assert_eq!(blob_path("sha256:ab"), "blobs/sha256/ab");
    }
}
