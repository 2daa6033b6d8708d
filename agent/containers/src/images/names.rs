//! Names in containerd's image store: given, moved, taken away.

use std::collections::HashMap;

use containerd_client::services::v1::{CreateImageRequest, DeleteImageRequest, Image as Named, UpdateImageRequest};
use containerd_client::tonic::Code;
use oci_spec::image::Descriptor;

use super::{Images, digest_of, manifest, reference};
use crate::error::Result;

impl Images {
    /// Makes `name` point to `target`. An image that loses its last name by that is kept without one.
    pub(super) async fn set_name(&self, name: &str, target: &Descriptor) -> Result<()> {
        let _alone = self.locks.lock("names").await;
        let all = self.list_named().await?;
        let digest = target.digest().to_string();
        let old = all.iter().find(|named| named.name == name);
        if old.is_some_and(|old| digest_of(old) == digest) {
            return Ok(());
        }
        if let Some(old) = old {
            self.keep_nameless(&all, old).await?;
        }
        let image = Named {
            name: name.to_owned(),
            labels: HashMap::new(),
            target: Some(manifest::target(target)),
            created_at: None,
            updated_at: None,
        };
        self.put_name(image).await?;
        let nameless = reference::dangling(&digest);
        if name != nameless && all.iter().any(|named| named.name == nameless) {
            self.remove_name(&nameless, false).await?;
        }
        Ok(())
    }

    async fn put_name(&self, image: Named) -> Result<()> {
        let mut images = self.containerd.images();
        let update = UpdateImageRequest { image: Some(image.clone()), update_mask: None, source_date_epoch: None };
        match images.update(update).await {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status.into()),
        }
        images.create(CreateImageRequest { image: Some(image), source_date_epoch: None }).await?;
        Ok(())
    }

    /// Gives what `old` points to a name for the nameless, unless another name points there.
    pub(super) async fn keep_nameless(&self, all: &[Named], old: &Named) -> Result<()> {
        let digest = digest_of(old);
        if all.iter().any(|named| named.name != old.name && digest_of(named) == digest) {
            return Ok(());
        }
        self.put_name(Named { name: reference::dangling(digest), ..old.clone() }).await
    }

    /// Gives a name these labels and no others.
    pub(super) async fn set_labels(&self, name: &str, labels: HashMap<String, String>) -> Result<()> {
        let image = Named { name: name.to_owned(), labels, ..Named::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["labels".to_owned()] });
        let request = UpdateImageRequest { image: Some(image), update_mask, source_date_epoch: None };
        self.containerd.images().update(request).await?;
        Ok(())
    }

    /// Takes a name away; with `sync`, what nothing names any more is gone when this returns.
    pub(super) async fn remove_name(&self, name: &str, sync: bool) -> Result<()> {
        self.containerd.images().delete(DeleteImageRequest { name: name.to_owned(), sync, target: None }).await?;
        Ok(())
    }
}
