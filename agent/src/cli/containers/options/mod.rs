//! The flags of `run` and `create`, by what they are about, and the request that they make.

mod basics;
mod health;
mod network;
mod resources;
mod security;
mod storage;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};

use super::parse::environment;

pub use resources::Limits;

/// Everything that describes a container.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) basics: basics::Basics,
    #[command(flatten)]
    storage: storage::Storage,
    #[command(flatten)]
    network: network::Network,
    #[command(flatten)]
    resources: resources::Resources,
    #[command(flatten)]
    security: security::Security,
    #[command(flatten)]
    health: health::Health,
}

impl Options {
    /// The request for a container of `image` that runs `command`.
    pub fn body(self, image: &str, command: &[String]) -> anyhow::Result<ContainerCreateBody> {
        let mut host = HostConfig::default();
        let mut body = ContainerCreateBody { image: Some(image.to_owned()), ..ContainerCreateBody::default() };
        if !command.is_empty() {
            body.cmd = Some(command.to_vec());
        }
        self.basics.apply(&mut body, &mut host)?;
        self.storage.apply(&mut body, &mut host)?;
        self.network.apply(&mut body, &mut host)?;
        self.resources.apply(&mut host)?;
        self.security.apply(&mut host)?;
        body.healthcheck = self.health.config()?;
        body.host_config = Some(host);
        Ok(body)
    }
}

/// A list, or nothing where it is empty.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// What a parser of ours says, as an error.
fn usage(why: String) -> anyhow::Error {
    anyhow::anyhow!(why)
}

/// `--log-driver` and `--log-opt`.
fn log_config(driver: Option<String>, options: &[String]) -> Option<HostConfigLogConfig> {
    let config = (!options.is_empty()).then(|| environment::map(options));
    (driver.is_some() || config.is_some()).then_some(HostConfigLogConfig { typ: driver, config })
}
