//! Archives of images as they come: every file of the tar goes straight into the content store, the
//! few that describe the others are kept at hand.

use std::collections::HashMap;
use std::io::Read;

use bytes::Bytes;
use futures_util::Stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::content::{self, Ingested, MAX_DOCUMENT};
use crate::containerd::Containerd;
use crate::error::{Error, Result};

/// So much of a file is read at once.
const CHUNK: usize = 256 << 10;

/// What was in an archive.
#[derive(Debug, Default)]
pub struct Archive {
    /// The files that describe: `manifest.json`, `index.json`, `oci-layout`.
    pub documents: HashMap<String, Vec<u8>>,
    /// All other files, in the content store.
    pub blobs: HashMap<String, Ingested>,
    /// Links: to what they point, from the top of the archive.
    links: HashMap<String, String>,
}

impl Archive {
    /// The blob at `path`, also through links.
    pub fn blob(&self, path: &str) -> Result<&Ingested> {
        let mut path = path.trim_start_matches("./");
        // A loop of links ends here, too.
        for _ in 0..8 {
            if let Some(blob) = self.blobs.get(path) {
                return Ok(blob);
            }
            let Some(next) = self.links.get(path) else { break };
            path = next;
        }
        Err(Error::Invalid(format!("the archive tells of {path}, but does not contain it")))
    }
}

/// Reads a tar, also a compressed one.
pub async fn read(
    containerd: &Containerd,
    stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Result<Archive> {
    let containerd = containerd.clone();
    let runtime = Handle::current();
    let reader = SyncIoBridge::new(StreamReader::new(Box::pin(stream)));
    let read = tokio::task::spawn_blocking(move || to_its_end(reader, |sent| unpack(&runtime, &containerd, sent)));
    read.await.map_err(|error| Error::failed("read the archive", error))?
}

fn unpack(runtime: &Handle, containerd: &Containerd, reader: impl Read) -> Result<Archive> {
    let broken = |error: std::io::Error| Error::Invalid(format!("cannot read the archive: {error}"));
    let mut tar = tar::Archive::new(decompressed(reader).map_err(broken)?);
    let mut archive = Archive::default();
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.to_string_lossy().trim_start_matches("./").to_owned();
        let kind = entry.header().entry_type();
        if kind.is_symlink() || kind.is_hard_link() {
            if let Some(link) = entry.link_name().map_err(broken)? {
                let from = if kind.is_symlink() { path.as_str() } else { "" };
                archive.links.insert(path.clone(), pointed(from, &link.to_string_lossy()));
            }
        } else if kind.is_file() && matches!(path.as_str(), "manifest.json" | "index.json" | "oci-layout") {
            let mut data = Vec::new();
            entry.take(MAX_DOCUMENT.unsigned_abs()).read_to_end(&mut data).map_err(broken)?;
            archive.documents.insert(path, data);
        } else if kind.is_file() && !described_twice(&path) {
            archive.blobs.insert(path, file(runtime, containerd, &mut entry)?);
        }
    }
    Ok(archive)
}

/// Files of Docker's first format, which say what manifest.json says as well.
fn described_twice(path: &str) -> bool {
    path == "repositories" || path.ends_with("/VERSION") || path.ends_with("/json")
}

/// Where a link at `from` leads, from the top of the archive.
fn pointed(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// One file into the content store, chunk by chunk.
fn file(runtime: &Handle, containerd: &Containerd, entry: &mut impl Read) -> Result<Ingested> {
    let (sender, receiver) = mpsc::channel::<Result<Bytes>>(2);
    let containerd = containerd.clone();
    let name = format!("keelson-load-{}", content::unique());
    let written =
        runtime.spawn(async move { content::ingest(&containerd, &name, ReceiverStream::new(receiver)).await });
    let mut buffer = vec![0; CHUNK];
    loop {
        let chunk = match entry.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => Ok(Bytes::copy_from_slice(&buffer[..length])),
            Err(error) => Err(Error::Invalid(format!("cannot read the archive: {error}"))),
        };
        let failed = chunk.is_err();
        // A writer that gave up tells why below.
        if sender.blocking_send(chunk).is_err() || failed {
            break;
        }
    }
    drop(sender);
    runtime.block_on(written).map_err(|error| Error::failed("write content", error))?
}

/// What `work` makes of what a client sends, which is read to its end in any case. A tar may end
/// before what is sent does, and work may fail: whoever is still writing when the connection is closed
/// for that hears of a broken pipe instead of the answer.
pub fn to_its_end<R: Read, T>(mut sent: R, work: impl FnOnce(&mut R) -> Result<T>) -> Result<T> {
    let done = work(&mut sent);
    // A client that is gone hears no answer either.
    std::io::copy(&mut sent, &mut std::io::sink()).ok();
    done
}

/// The tar within, by the first bytes.
pub fn decompressed<'a>(mut reader: impl Read + 'a) -> std::io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::with_capacity(6);
    reader.by_ref().take(6).read_to_end(&mut magic)?;
    let whole = std::io::Cursor::new(magic.clone()).chain(reader);
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(whole)?),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(liblzma::read::XzDecoder::new_multi_decoder(whole)),
        _ => Box::new(whole),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_tar_is_read_as_well() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        tar.append_data(&mut header, "file", &b"text"[..]).unwrap();
        // The writer of a tar in blocks of 20 fills the last one up.
        let mut sent = tar.into_inner().unwrap();
        sent.resize(10240, 0);
        let mut reader = sent.as_slice();
        let entries = |sent: &mut &mut &[u8]| Ok(tar::Archive::new(sent).entries().unwrap().count());
        assert_eq!(to_its_end(&mut reader, entries).unwrap(), 1);
        assert_eq!(reader.len(), 0);
        let mut reader = sent.as_slice();
        let full = |_: &mut &mut &[u8]| Err::<(), _>(Error::Invalid("no space".to_owned()));
        assert!(to_its_end(&mut reader, full).is_err());
        assert_eq!(reader.len(), 0);
    }

    #[test]
    fn links_lead_from_the_top() {
        assert_eq!(pointed("abc/layer.tar", "../def/layer.tar"), "def/layer.tar");
        assert_eq!(pointed("abc.tar", "def.tar"), "def.tar");
        assert_eq!(pointed("", "blobs/sha256/x"), "blobs/sha256/x");
        assert_eq!(pointed("a/b", "../../../x"), "x");
    }

    #[test]
    fn blobs_are_found_through_links_and_loops_end() {
        let blob = Ingested { digest: "sha256:1".to_owned(), size: 1, magic: [0; 4] };
        let link = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let archive = Archive {
            blobs: HashMap::from([("a".to_owned(), blob.clone())]),
            links: HashMap::from([link("b", "a"), link("c", "b"), link("x", "y"), link("y", "x")]),
            ..Archive::default()
        };
        assert_eq!(archive.blob("./c").unwrap(), &blob);
        assert!(archive.blob("x").unwrap_err().to_string().contains("does not contain it"));
    }

    #[test]
    fn archives_may_be_compressed() {
        use std::io::Write;
        let text = b"a tar of some length";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(text).unwrap();
        let forms =
            [text.to_vec(), gzip.finish().unwrap(), zstd::encode_all(&text[..], 1).unwrap(), xz.finish().unwrap()];
        for form in forms {
            let mut read = Vec::new();
            decompressed(form.as_slice()).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, text);
        }
        let mut read = Vec::new();
        decompressed(&b"ab"[..]).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, b"ab");
    }
}
