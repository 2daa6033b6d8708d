//! The flags about files: volumes, mounts, devices.

use bollard::models::{ContainerCreateBody, DeviceMapping, HostConfig, Mount};

use super::super::parse::environment;
use super::super::parse::mount;
use super::super::parse::volume::{Volume, volume};
use super::{some, usage};
use keelson_containers::words;

/// Files of a container.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files")]
pub struct Storage {
    /// Mount a folder of the host or a named volume
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    volume: Vec<String>,
    /// Mount: type=bind|volume|tmpfs,source=…,target=…[,readonly]
    #[arg(long, value_name = "FIELDS", value_parser = mount::mount)]
    mount: Vec<Mount>,
    /// Mount a tmpfs
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Mount the volumes of another container
    #[arg(long, value_name = "CONTAINER")]
    volumes_from: Vec<String>,
    /// Mount the container's root read-only
    #[arg(long)]
    read_only: bool,
    /// The size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = words::size)]
    shm_size: Option<i64>,
    /// Add a device of the host
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]", value_parser = words::device)]
    device: Vec<DeviceMapping>,
    /// Allow a kind of device: `c 1:3 rwm`
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<String>,
}

impl Storage {
    /// Puts the flags into the request.
    pub fn apply(self, body: &mut ContainerCreateBody, host: &mut HostConfig) -> anyhow::Result<()> {
        let (mut binds, mut anonymous) = (Vec::new(), Vec::new());
        if !self.volume.is_empty() {
            let folder = std::env::current_dir()?;
            for text in &self.volume {
                match volume(text, &folder).map_err(usage)? {
                    Volume::Anonymous(target) => anonymous.push(target),
                    Volume::Bind(bind) => binds.push(bind),
                }
            }
        }
        let tmpfs = |text: &String| {
            let (target, options) = text.split_once(':').unwrap_or((text, ""));
            format!("{target}={options}")
        };
        body.volumes = some(anonymous);
        host.binds = some(binds);
        host.mounts = some(self.mount);
        host.tmpfs = (!self.tmpfs.is_empty()).then(|| environment::map(self.tmpfs.iter().map(tmpfs)));
        host.volumes_from = some(self.volumes_from);
        host.readonly_rootfs = self.read_only.then_some(true);
        host.shm_size = self.shm_size;
        host.devices = some(self.device);
        host.device_cgroup_rules = some(self.device_cgroup_rule);
        Ok(())
    }
}
