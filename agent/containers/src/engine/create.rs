//! Makes containers: checked, named, with a snapshot and a folder, and not started.

use std::sync::Arc;

use bollard::models::ContainerCreateBody;

use super::clock::Clock;
use super::container::Container;
use super::moment::Moment;
use super::record::{Record, State};
use super::{Engine, config, names, spec};
use crate::error::{Error, Result};
use crate::images::Image;
use crate::network;

impl Engine {
    /// Makes a container of what was asked, called `name` or something that is free.
    pub async fn create(&self, name: Option<&str>, body: ContainerCreateBody) -> Result<Arc<Container>> {
        let endpoints = body.networking_config.clone().and_then(|networking| networking.endpoints_config);
        let (mut config, host) = config::asked(body)?;
        spec::Security::parse(host.security_opt.as_deref().unwrap_or_default())?;
        network::check::check(self.network.bridge(), &config, &host)?;
        self.streams.driver(host.log_config.as_ref())?;
        let image = self.images.find(config.image.as_deref().unwrap_or_default()).await?;
        config::merge(&mut config, &image.docker);
        config::arguments(&config)?;
        let id = random_id()?;
        let name = self.take_name(name, &id)?;
        if config.hostname.as_deref().unwrap_or_default().is_empty() {
            config.hostname = Some(id.chars().take(12).collect());
        }
        let record = Record {
            id: id.clone(),
            name: name.clone(),
            created: Moment::now(),
            image: image.id.clone(),
            chain: image.chain.clone(),
            config,
            host,
            endpoints: endpoints.unwrap_or_default(),
            mounts: Vec::new(),
            anonymous: Vec::new(),
        };
        match self.make(record, &image).await {
            Ok(container) => Ok(container),
            Err(error) => {
                self.unmake(&id).await;
                self.registry().release(&name, &id);
                Err(error)
            }
        }
    }

    async fn make(&self, mut record: Record, image: &Image) -> Result<Arc<Container>> {
        let folder = self.paths.container(&record.id);
        std::fs::create_dir_all(&folder)
            .map_err(|error| Error::failed(format_args!("make {}", folder.display()), error))?;
        let id = record.id.clone();
        let mut clock = Clock::new(&id);
        self.tasks.prepare(&record.id, &image.chain).await?;
        clock.lap("made the snapshot");
        self.mount_points(&mut record).await?;
        let record = keep(record, &folder).await?;
        clock.lap("kept the record");
        let container = Arc::new(Container::new(record, State::default(), folder));
        self.registry().insert(container.clone());
        self.tell(&container, "create", &[]);
        Ok(container)
    }

    /// Undoes what was made of a container that is not to be.
    async fn unmake(&self, id: &str) {
        if let Err(error) = self.tasks.discard(id).await {
            tracing::warn!(id, "cannot remove the snapshot of a container that was not made: {error}");
        }
        std::fs::remove_dir_all(self.paths.container(id)).ok();
    }

    /// Takes the name that was asked for, or one that is free.
    fn take_name(&self, asked: Option<&str>, id: &str) -> Result<String> {
        let mut registry = self.registry();
        let name = match asked.filter(|name| !name.is_empty()) {
            Some(name) => names::checked(name)?.to_owned(),
            None => {
                let seed = u64::from_str_radix(&id[..16], 16).unwrap_or_default();
                let odd = 0x9e37_79b9_7f4a_7c15_u64;
                let tries = (0..64)
                    .map(|attempt| names::generated(seed.wrapping_add(odd.wrapping_mul(u64::from(attempt))), attempt));
                tries.into_iter().find(|name| !registry.taken(name)).unwrap_or_else(|| id.to_owned())
            }
        };
        registry.reserve(&name, id)?;
        Ok(name)
    }
}

/// Writes a record from a thread that may wait for the disk.
async fn keep(record: Record, folder: &std::path::Path) -> Result<Record> {
    let folder = folder.to_owned();
    let written = tokio::task::spawn_blocking(move || record.write(&folder).map(|()| record)).await;
    written.map_err(|error| Error::failed("write down a container", error))?
}

/// 64 hexadecimal digits that no one else has.
pub fn random_id() -> Result<String> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::failed("make an id", error))?;
    Ok(hex::encode(bytes))
}
