//! Leases: what is written under one is not collected as garbage before something names it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use containerd_client::services::v1::{AddResourceRequest, CreateRequest, DeleteRequest, Resource};
use prost_types::Timestamp;

use crate::containerd::Containerd;
use crate::error::{Error, Result};

/// A lease that no one released, as after a crash, ends by itself after so long.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A lease, released when it is dropped.
#[derive(Debug)]
pub struct Lease {
    id: String,
    leased: Containerd,
    released: bool,
}

impl Lease {
    /// A new lease.
    pub async fn new(containerd: &Containerd) -> Result<Self> {
        let expire = Timestamp::from(SystemTime::now() + LIFETIME).to_string();
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), expire)]);
        let created = containerd.leases().create(CreateRequest { id: String::new(), labels }).await?.into_inner();
        let id =
            created.lease.map(|lease| lease.id).ok_or_else(|| Error::failed("make a lease", "containerd gave none"))?;
        let leased = containerd.leased(&id)?;
        Ok(Self { id, leased, released: false })
    }

    /// containerd, with every request under this lease.
    pub fn containerd(&self) -> &Containerd {
        &self.leased
    }

    /// Keeps a blob that may have been there before.
    pub async fn keep_content(&self, digest: &str) -> Result<()> {
        self.keep("content", digest).await
    }

    /// Keeps a snapshot that may have been there before.
    pub async fn keep_snapshot(&self, snapshotter: &str, key: &str) -> Result<()> {
        self.keep(&format!("snapshots/{snapshotter}"), key).await
    }

    async fn keep(&self, kind: &str, id: &str) -> Result<()> {
        let resource = Resource { id: id.to_owned(), r#type: kind.to_owned() };
        let request = AddResourceRequest { id: self.id.clone(), resource: Some(resource) };
        match self.leased.leases().add_resource(request).await.map_err(Error::from) {
            Ok(_) | Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Ends the lease; with `sync`, what nothing names is gone when this returns.
    pub async fn release(mut self, sync: bool) -> Result<()> {
        self.released = true;
        self.leased.leases().delete(DeleteRequest { id: self.id.clone(), sync }).await?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        let (id, leased) = (std::mem::take(&mut self.id), self.leased.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = leased.leases().delete(DeleteRequest { id, sync: false }).await {
                    tracing::debug!(%error, "a lease was not released; it ends by itself");
                }
            });
        }
    }
}
