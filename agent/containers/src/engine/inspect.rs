//! Shows a container whole, as `inspect` has it.

use bollard::models::{
    ContainerInspectResponse, ContainerState, DriverData, HostConfig, MountPoint, MountType, RestartPolicy,
    RestartPolicyNameEnum,
};
use serde::Serialize;

use super::Engine;
use super::container::Container;
use super::moment::Moment;
use super::record::{Record, State, Status};
use super::spec;
use crate::error::Result;
use crate::network::inspect::{self, Settings};

/// The answer to `inspect`: with the fields of the network that older clients read.
#[derive(Debug, Serialize)]
pub struct Inspected {
    /// As the API has it today.
    #[serde(flatten)]
    pub now: ContainerInspectResponse,
    /// Its network.
    #[serde(rename = "NetworkSettings")]
    pub network: Settings,
}

impl Engine {
    /// Shows a container; `size` adds what it takes on the disk.
    pub async fn inspect(&self, container: &Container, size: bool) -> Result<Inspected> {
        let (record, state) = (container.record(), container.state());
        let folder = container.folder();
        let file = |name: &str| Some(folder.join(name).display().to_string());
        let sizes = if size { Some(self.sizes(container).await?) } else { None };
        let mut command = record.config.entrypoint.iter().chain(&record.config.cmd).flatten().cloned();
        let now = ContainerInspectResponse {
            id: Some(record.id.clone()),
            created: Some(record.created.to_string()),
            path: command.next(),
            args: Some(command.collect()),
            state: Some(shown(&state)),
            image: Some(record.image.clone()),
            resolv_conf_path: file("resolv.conf"),
            hostname_path: file("hostname"),
            hosts_path: file("hosts"),
            log_path: file("log"),
            name: Some(format!("/{}", record.name)),
            restart_count: Some(i64::from(state.restarts)),
            driver: Some("overlayfs".to_owned()),
            platform: Some("linux".to_owned()),
            mount_label: Some(String::new()),
            process_label: Some(String::new()),
            app_armor_profile: Some(String::new()),
            exec_ids: None,
            host_config: Some(self.host_config(&record)),
            graph_driver: Some(DriverData { name: "overlayfs".to_owned(), ..DriverData::default() }),
            size_rw: sizes.map(|(own, _)| own),
            size_root_fs: sizes.map(|(_, all)| all),
            mounts: Some(mounts(&record)),
            config: Some(record.config.clone()),
            ..ContainerInspectResponse::default()
        };
        Ok(Inspected { now, network: self.settings(&record, &state) })
    }

    /// Its network, as it is now.
    pub(super) fn settings(&self, record: &Record, state: &State) -> Settings {
        let mode = self.mode(record).unwrap_or(crate::network::Mode::None);
        let attached = self.network.find(&record.id).filter(|_| state.status.alive());
        inspect::settings(&record.id, &mode, attached.as_ref())
    }

    /// What was asked for, with what stands for what was not.
    fn host_config(&self, record: &Record) -> HostConfig {
        let mut host = record.host.clone();
        let mode = host.network_mode.take().filter(|mode| !mode.is_empty() && mode != "default");
        host.network_mode = Some(mode.unwrap_or_else(|| "bridge".to_owned()));
        host.restart_policy
            .get_or_insert(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: Some(0) });
        host.shm_size = Some(host.shm_size.filter(|size| *size > 0).unwrap_or(spec::SHM_SIZE));
        host.links = host.links.take().map(|_| {
            let links = self.links(record).unwrap_or_default();
            let name =
                |reference: &str| self.find(reference).map_or_else(|_| reference.to_owned(), |found| found.name());
            links.iter().map(|link| link.shown(&name(&link.container), &record.name)).collect()
        });
        host
    }

    /// Bytes that it changed, and those with its image.
    pub(super) async fn sizes(&self, container: &Container) -> Result<(i64, i64)> {
        let own = self.tasks.usage(container.id()).await?;
        let image = self.images.find(&container.record().image).await.map_or(0, |image| image.size);
        Ok((own, own.saturating_add(image)))
    }
}

/// Its binds and volumes, and what `--mount` keeps in memory.
pub(super) fn mounts(record: &Record) -> Vec<MountPoint> {
    let memory = record.host.mounts.iter().flatten().filter(|mount| mount.typ == Some(MountType::TMPFS));
    let memory = memory.map(|mount| MountPoint {
        typ: Some("tmpfs".to_owned()),
        source: Some(String::new()),
        destination: mount.target.clone(),
        mode: Some(String::new()),
        rw: Some(!mount.read_only.unwrap_or(false)),
        propagation: Some(String::new()),
        ..MountPoint::default()
    });
    record.mounts.iter().cloned().chain(memory).collect()
}

fn shown(state: &State) -> ContainerState {
    ContainerState {
        status: Some(state.status.into()),
        // Docker counts what is about to run again as running.
        running: Some(state.status.alive() || state.status == Status::Restarting),
        paused: Some(state.status == Status::Paused),
        restarting: Some(state.status == Status::Restarting),
        oom_killed: Some(state.oom_killed),
        dead: Some(state.status == Status::Dead),
        pid: Some(i64::from(state.pid)),
        exit_code: Some(state.exit_code),
        error: Some(state.error.clone()),
        started_at: Some(Moment::text(state.started)),
        finished_at: Some(Moment::text(state.finished)),
        health: state.health.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_as_docker_shows_it() {
        let state = State { status: Status::Restarting, exit_code: 3, ..State::default() };
        let shown = shown(&state);
        assert_eq!((shown.running, shown.restarting, shown.exit_code), (Some(true), Some(true), Some(3)));
        assert_eq!(shown.started_at.as_deref(), Some(super::super::NEVER));
    }
}
