//! The content store: small blobs whole, large ones as streams, each written once and verified.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use containerd_client::services::v1::{
    AbortRequest, Info, InfoRequest, ReadContentRequest, UpdateRequest, WriteAction, WriteContentRequest,
    WriteContentResponse,
};
use containerd_client::tonic::{Code, Status, Streaming};
use futures_util::{Stream, StreamExt, TryStreamExt};
use oci_spec::image::Descriptor;
use prost_types::FieldMask;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::manifest;
use crate::containerd::Containerd;
use crate::error::{Error, Result};

/// Manifests and configurations are no larger than this.
pub const MAX_DOCUMENT: i64 = 8 << 20;
/// So much is sent to containerd at once.
const CHUNK: usize = 256 << 10;

/// What is known of a blob, or none where there is no such blob.
pub async fn info(containerd: &Containerd, digest: &str) -> Result<Option<Info>> {
    match containerd.content().info(InfoRequest { digest: digest.to_owned() }).await {
        Ok(response) => Ok(response.into_inner().info),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// A blob as a stream.
pub async fn stream(containerd: &Containerd, digest: &str) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
    let request = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
    let stream = containerd.content().read(request).await?.into_inner();
    Ok(stream.map_ok(|response| Bytes::from(response.data)).map_err(Error::from))
}

/// A small blob: a manifest, an index or a configuration.
pub async fn read(containerd: &Containerd, digest: &str) -> Result<Vec<u8>> {
    let info = info(containerd, digest).await?;
    let info = info.ok_or_else(|| Error::Failed(format!("content {digest} is missing: pull the image again")))?;
    if info.size > MAX_DOCUMENT {
        return Err(Error::Failed(format!("{digest} has {} bytes: too large for a manifest", info.size)));
    }
    let mut data = Vec::with_capacity(usize::try_from(info.size).unwrap_or_default());
    let mut stream = std::pin::pin!(stream(containerd, digest).await?);
    while let Some(chunk) = stream.next().await {
        data.extend_from_slice(&chunk?);
    }
    Ok(data)
}

/// Adds labels to a blob.
pub async fn label(containerd: &Containerd, digest: &str, labels: HashMap<String, String>) -> Result<()> {
    let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
    let info = Info { digest: digest.to_owned(), labels, ..Info::default() };
    containerd.content().update(UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) }).await?;
    Ok(())
}

/// A text that no other call gave.
pub fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", now.as_nanos(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Writes a small blob, and gives it the labels even where it was there before.
pub async fn write(
    containerd: &Containerd,
    media_type: &str,
    data: &[u8],
    labels: HashMap<String, String>,
) -> Result<Descriptor> {
    let descriptor = manifest::describe(media_type, data)?;
    let digest = descriptor.digest().to_string();
    // One writer a reference: another one of the same blob must not be in the way.
    let reference = format!("keelson-{}-{digest}", unique());
    match Writer::open(containerd, &reference, data.len() as u64, &digest).await? {
        None => label(containerd, &digest, labels).await?,
        Some(mut writer) => {
            writer.restart();
            match writer.write(Bytes::copy_from_slice(data)).await {
                Ok(()) => writer.commit(labels).await?,
                Err(error) => return Err(writer.abort(error).await),
            };
        }
    }
    Ok(descriptor)
}

/// What a stream turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// The digest of all of it.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// Its first bytes, to tell how it is compressed.
    pub magic: [u8; 4],
}

/// Writes a blob whose digest is not known before.
pub async fn ingest(
    containerd: &Containerd,
    reference: &str,
    mut stream: impl Stream<Item = Result<Bytes>> + Unpin,
) -> Result<Ingested> {
    let opened = Writer::open(containerd, reference, 0, "").await?;
    let mut writer = opened.ok_or_else(|| Error::failed("write content", format!("{reference} is in use")))?;
    writer.restart();
    let (mut hash, mut magic, mut size) = (Sha256::new(), Vec::with_capacity(4), 0);
    let copied = async {
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            hash.update(&chunk);
            magic.extend(chunk.iter().take(4 - magic.len()));
            size += chunk.len() as u64;
            writer.write(chunk).await?;
        }
        writer.flush().await
    };
    if let Err(error) = copied.await {
        return Err(writer.abort(error).await);
    }
    magic.resize(4, 0);
    let digest = format!("sha256:{}", hex::encode(hash.finalize()));
    writer.commit(HashMap::new()).await?;
    let magic = [magic[0], magic[1], magic[2], magic[3]];
    Ok(Ingested { digest, size, magic })
}

/// One blob on its way into the store. Dropped before it is committed, it leaves nothing; what a crash
/// left is taken up by the next one of the same reference.
#[derive(Debug)]
pub struct Writer {
    containerd: Containerd,
    reference: String,
    total: u64,
    expected: String,
    offset: u64,
    pending: BytesMut,
    requests: mpsc::Sender<WriteContentRequest>,
    responses: Streaming<WriteContentResponse>,
    /// Another one wrote the same blob.
    there: bool,
    ended: bool,
}

impl Writer {
    /// Opens the blob `expected`, or one not known before, under a `reference`; none where it is there.
    pub async fn open(containerd: &Containerd, reference: &str, total: u64, expected: &str) -> Result<Option<Self>> {
        let (requests, receiver) = mpsc::channel(2);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: reference.to_owned(),
            total: i64::try_from(total).unwrap_or_default(),
            expected: expected.to_owned(),
            ..WriteContentRequest::default()
        };
        requests.send(first).await.map_err(|error| Error::failed("write content", error))?;
        let opened = async {
            let mut responses = containerd.content().write(ReceiverStream::new(receiver)).await?.into_inner();
            let status = responses.message().await?;
            Ok::<_, Status>((responses, status))
        };
        let (responses, status) = match opened.await {
            Ok(opened) => opened,
            Err(status) if status.code() == Code::AlreadyExists => return Ok(None),
            Err(status) => return Err(written(&status)),
        };
        let offset = status.map_or(0, |status| u64::try_from(status.offset).unwrap_or_default());
        let (containerd, reference, expected) = (containerd.clone(), reference.to_owned(), expected.to_owned());
        let pending = BytesMut::with_capacity(CHUNK);
        let (there, ended) = (false, false);
        Ok(Some(Self { containerd, reference, total, expected, offset, pending, requests, responses, there, ended }))
    }

    /// How much of it is there: where to go on.
    pub fn offset(&self) -> u64 {
        self.offset + self.pending.len() as u64
    }

    /// Goes back to the beginning, for a source that cannot start where we ended: containerd
    /// truncates at the next write.
    pub fn restart(&mut self) {
        self.pending.clear();
        self.offset = 0;
    }

    /// Appends.
    pub async fn write(&mut self, data: Bytes) -> Result<()> {
        self.pending.extend_from_slice(&data);
        if self.pending.len() >= CHUNK { self.flush().await } else { Ok(()) }
    }

    /// Sends what is held back.
    pub async fn flush(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            let data = self.pending.split_to(self.pending.len().min(4 * CHUNK)).to_vec();
            let length = data.len() as u64;
            self.put(WriteAction::Write, data, HashMap::new()).await?;
            self.offset += length;
        }
        Ok(())
    }

    /// Ends it: containerd verifies the digest, and on any failure forgets what was written.
    pub async fn commit(mut self, labels: HashMap<String, String>) -> Result<()> {
        let sent = async {
            self.flush().await?;
            self.put(WriteAction::Commit, Vec::new(), labels.clone()).await
        };
        if let Err(error) = sent.await {
            return Err(self.abort(error).await);
        }
        self.ended = true;
        if self.there {
            forget(self.containerd.clone(), std::mem::take(&mut self.reference)).await;
            if !labels.is_empty() && !self.expected.is_empty() {
                label(&self.containerd, &self.expected, labels).await?;
            }
        }
        Ok(())
    }

    /// Forgets what was written; gives back why.
    pub async fn abort(mut self, why: Error) -> Error {
        self.ended = true;
        forget(self.containerd.clone(), std::mem::take(&mut self.reference)).await;
        why
    }

    /// Sends a part, or the end, unless another one wrote the same meanwhile: containerd looks with each.
    async fn put(&mut self, action: WriteAction, data: Vec<u8>, labels: HashMap<String, String>) -> Result<()> {
        if self.there {
            return Ok(());
        }
        match self.send(action, data, labels).await {
            Err(Error::Conflict(message)) if message.contains("already exists") => {
                self.there = true;
                Ok(())
            }
            sent => sent,
        }
    }

    async fn send(&mut self, action: WriteAction, data: Vec<u8>, labels: HashMap<String, String>) -> Result<()> {
        let commit = action == WriteAction::Commit;
        let request = WriteContentRequest {
            action: action.into(),
            r#ref: self.reference.clone(),
            total: i64::try_from(if commit { self.offset } else { self.total }).unwrap_or_default(),
            expected: self.expected.clone(),
            offset: i64::try_from(self.offset).unwrap_or_default(),
            data,
            labels,
        };
        // When containerd hung up, its answer tells why.
        self.requests.send(request).await.ok();
        match self.responses.message().await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::failed("write content", "containerd hung up")),
            Err(status) => Err(written(&status)),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.ended
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(forget(self.containerd.clone(), std::mem::take(&mut self.reference)));
        }
    }
}

async fn forget(containerd: Containerd, reference: String) {
    if let Err(status) = containerd.content().abort(AbortRequest { r#ref: reference }).await {
        tracing::debug!(%status, "nothing to abort");
    }
}

/// Why containerd did not write.
fn written(status: &Status) -> Error {
    let message = status.message();
    if message.contains("no space left on device") {
        return Error::Failed(format!(
            "the disk with containerd's content is full (no space left on device): remove images with \
             'keelctl image prune', or make room: {message}"
        ));
    }
    if message.contains("unexpected commit digest") {
        return Error::Failed(format!("wrong digest: what came is not what the manifest names: {message}"));
    }
    match status.code() {
        Code::AlreadyExists => Error::Conflict(format!("already exists: {message}")),
        _ => Error::from(status.clone()),
    }
}
