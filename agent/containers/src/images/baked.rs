//! Images that are part of the operating system: an OCI layout in a folder of it. What containerd
//! does not have of them is taken in at the start, without a network; what it has is not touched.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci_spec::image::{Descriptor, ImageIndex};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::manifest::{self, Document};
use super::{Images, digest_of, load};
use crate::error::{Error, Result};

/// The label of names that the operating system gave.
pub(super) const LABEL: &str = "org.keelson.baked";
/// So much is read at once.
const CHUNK: usize = 256 << 10;

/// What is to be done about the names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    /// Take these in.
    import: Vec<String>,
    /// They are here, and are the operating system's from now on.
    mark: Vec<String>,
    /// The operating system does not have them any more: they may be collected.
    unmark: Vec<String>,
}

/// A name in containerd: its digest, and whether it is marked.
type Here = BTreeMap<String, (String, bool)>;

/// A name that points elsewhere was moved by a person, unless it is marked.
fn plan(layout: &BTreeMap<String, Descriptor>, here: &Here) -> Plan {
    let mut plan = Plan::default();
    for (name, entry) in layout {
        match here.get(name) {
            None => plan.import.push(name.clone()),
            Some((digest, marked)) if *digest == entry.digest().to_string() => {
                if !marked {
                    plan.mark.push(name.clone());
                }
            }
            Some((_, true)) => plan.import.push(name.clone()),
            Some((_, false)) => {}
        }
    }
    let gone = here.iter().filter(|(name, (_, marked))| *marked && !layout.contains_key(*name));
    plan.unmark = gone.map(|(name, _)| name.clone()).collect();
    plan
}

impl Images {
    /// Takes in the images below `folder` that are not here; gives their names.
    pub async fn import_baked(&self, folder: &Path) -> Result<Vec<String>> {
        let layout = read_layout(folder)?;
        let here = self.list_named().await?.into_iter().map(|named| {
            let marked = named.labels.contains_key(LABEL);
            (named.name.clone(), (digest_of(&named).to_owned(), marked))
        });
        let plan = plan(&layout, &here.collect());
        for name in &plan.unmark {
            self.set_labels(name, HashMap::new()).await?;
        }
        if !plan.import.is_empty() {
            let wanted = plan.import.iter().filter_map(|name| layout.get(name).cloned()).collect();
            self.load(stream(folder, wanted)?, |_| {}).await?;
        }
        for name in plan.import.iter().chain(&plan.mark) {
            let labels = HashMap::from([(LABEL.to_owned(), "true".to_owned())]);
            self.set_labels(name, labels).await?;
        }
        Ok(plan.import)
    }
}

/// The entries of a layout by their whole name; none where there is no layout.
fn read_layout(folder: &Path) -> Result<BTreeMap<String, Descriptor>> {
    let path = folder.join("index.json");
    let failed = |error: String| Error::failed(format_args!("read {}", path.display()), error);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error.to_string())),
    };
    let index: ImageIndex = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    let named = |entry: &Descriptor| Some((load::name_of(entry.annotations().as_ref())?, entry.clone()));
    Ok(index.manifests().iter().filter_map(named).collect())
}

/// An archive of these entries of a layout, as `load` takes it, made as it is read.
fn stream(
    folder: &Path,
    entries: Vec<Descriptor>,
) -> Result<impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static + use<>> {
    let blobs = folder.join("blobs/sha256");
    let mut digests = BTreeSet::new();
    for entry in &entries {
        needed(&blobs, entry.digest().as_ref(), &mut digests)?;
    }
    let index = oci_spec::image::ImageIndexBuilder::default()
        .schema_version(2_u32)
        .manifests(entries)
        .build()
        .map_err(|error| Error::failed("make an index", error))?;
    let index = serde_json::to_vec(&index).map_err(|error| Error::failed("make an index", error))?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let writer = io::BufWriter::with_capacity(CHUNK, Sender(sender.clone()));
        if let Err(error) = archive(writer, &index, &blobs, &digests) {
            // Who reads may be gone; then no one is interested.
            sender.blocking_send(Err(error)).ok();
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// The digests that a manifest or an index leads to, for this host.
fn needed(blobs: &Path, digest: &str, all: &mut BTreeSet<String>) -> Result<()> {
    let path = blob(blobs, digest);
    let bytes = std::fs::read(&path).map_err(|error| Error::failed(format_args!("read {}", path.display()), error))?;
    all.insert(digest.to_owned());
    match Document::parse(&bytes)? {
        Document::Manifest(manifest) => {
            let parts = std::iter::once(manifest.config()).chain(manifest.layers());
            all.extend(parts.map(|part| part.digest().to_string()));
            Ok(())
        }
        Document::Index(index) => {
            let chosen = manifest::choose(&index).ok_or_else(super::details::no_platform)?;
            needed(blobs, chosen.digest().as_ref(), all)
        }
    }
}

fn blob(blobs: &Path, digest: &str) -> PathBuf {
    blobs.join(digest.strip_prefix("sha256:").unwrap_or(digest))
}

fn archive(writer: impl Write, index: &[u8], blobs: &Path, digests: &BTreeSet<String>) -> io::Result<()> {
    let mut tar = tar::Builder::new(writer);
    let mut text = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes)
    };
    text("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    text("index.json", index)?;
    for digest in digests {
        let path = blob(blobs, digest);
        let name = format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap_or(digest));
        tar.append_file(name, &mut File::open(path)?)?;
    }
    tar.into_inner()?.flush()
}

/// Hands what is written to the one who reads the stream.
struct Sender(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sender {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(buffer)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digit: char) -> Descriptor {
        let digest = format!("sha256:{}", digit.to_string().repeat(64));
        manifest::descriptor(manifest::OCI_MANIFEST, &digest, 1).unwrap()
    }

    #[test]
    fn what_a_person_moved_is_left_alone() {
        let layout = ["new", "same", "ours", "theirs"].map(|name| (name.to_owned(), entry('a'))).into();
        let digest = |digit: char| entry(digit).digest().to_string();
        let here = Here::from([
            ("same".to_owned(), (digest('a'), false)),
            ("ours".to_owned(), (digest('b'), true)),
            ("theirs".to_owned(), (digest('b'), false)),
            ("gone".to_owned(), (digest('b'), true)),
            ("foreign".to_owned(), (digest('b'), false)),
        ]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let expected = Plan { import: names(&["new", "ours"]), mark: names(&["same"]), unmark: names(&["gone"]) };
        assert_eq!(plan(&layout, &here), expected);
    }

    #[test]
    fn a_host_without_a_layout_has_no_baked_images() {
        assert!(read_layout(Path::new("/nonexistent")).unwrap().is_empty());
    }
}
