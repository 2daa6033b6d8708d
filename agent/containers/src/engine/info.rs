//! Tells how many containers there are, what they and their volumes take, and how they are run.

use std::collections::HashMap;

use bollard::models::{
    ContainerSummary, Runtime, SystemInfo, SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum, Volume,
    VolumeUsageData,
};

use super::Engine;
use super::list::Listing;
use super::record::Status;
use crate::error::Result;

impl Engine {
    /// The part of `GET /info` that is about containers.
    pub fn info(&self) -> SystemInfo {
        let statuses: Vec<Status> = self.all().iter().map(|container| container.state().status).collect();
        let count =
            |test: &dyn Fn(Status) -> bool| i64::try_from(statuses.iter().filter(|status| test(**status)).count()).ok();
        let runtime = self.tasks.runtime().to_owned();
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<i64>().ok());
        SystemInfo {
            containers: count(&|_| true),
            containers_running: count(&|status| matches!(status, Status::Running | Status::Restarting)),
            containers_paused: count(&|status| status == Status::Paused),
            containers_stopped: count(&|status| matches!(status, Status::Created | Status::Exited | Status::Dead)),
            driver: Some("overlayfs".to_owned()),
            logging_driver: Some("json-file".to_owned()),
            cgroup_driver: Some(if self.cgroups.systemd() {
                SystemInfoCgroupDriverEnum::SYSTEMD
            } else {
                SystemInfoCgroupDriverEnum::CGROUPFS
            }),
            cgroup_version: Some(if self.unified {
                SystemInfoCgroupVersionEnum::_2
            } else {
                SystemInfoCgroupVersionEnum::_1
            }),
            mem_total: total.map(|kilobytes| kilobytes * 1024),
            memory_limit: Some(true),
            swap_limit: Some(true),
            cpu_cfs_period: Some(true),
            cpu_cfs_quota: Some(true),
            cpu_shares: Some(true),
            cpu_set: Some(true),
            pids_limit: Some(true),
            live_restore_enabled: Some(true),
            runtimes: Some(HashMap::from([(
                runtime.clone(),
                Runtime { path: Some(runtime.clone()), ..Runtime::default() },
            )])),
            default_runtime: Some(runtime),
            security_options: Some(vec!["name=seccomp,profile=builtin".to_owned()]),
            ..SystemInfo::default()
        }
    }

    /// All containers, with what they take on the disk.
    pub async fn usage(&self) -> Result<Vec<ContainerSummary>> {
        self.list(&Listing { all: true, size: true, ..Listing::default() }).await
    }

    /// All volumes, with what they take on the disk and by how many containers they are used.
    pub fn volume_usage(&self) -> Vec<Volume> {
        let with_usage = |volume: Volume| {
            let users = self.users_of_volume(&volume.name).len();
            let usage = VolumeUsageData {
                size: self.volumes.size(&volume.name),
                ref_count: i64::try_from(users).unwrap_or(i64::MAX),
            };
            Volume { usage_data: Some(usage), ..volume }
        };
        self.volumes.all().into_iter().map(with_usage).collect()
    }
}
