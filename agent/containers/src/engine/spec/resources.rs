//! Translates limits: Docker's numbers to the runtime's.

use bollard::models::{HostConfig, ResourcesUlimits, ThrottleDevice};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
};
use rustix::fs::{major, minor};

use crate::error::{Error, Result};

const PERIOD: u64 = 100_000;

/// The limits of a container; `devices` are the rules of its devices.
pub fn limits(host: &HostConfig, devices: Vec<LinuxDeviceCgroup>) -> Result<LinuxResources> {
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(devices).filter(|rules| !rules.is_empty()));
    resources.set_memory(memory(host));
    resources.set_cpu(cpu(host));
    resources.set_pids(host.pids_limit.filter(|limit| *limit > 0).map(|limit| {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        pids
    }));
    resources.set_block_io(block_io(host)?);
    Ok(resources)
}

fn given(number: Option<i64>) -> Option<i64> {
    number.filter(|number| *number != 0)
}

fn memory(host: &HostConfig) -> Option<LinuxMemory> {
    let limit = given(host.memory);
    let reservation = given(host.memory_reservation);
    // Docker gives as much swap as memory when only the memory is limited.
    let swap = given(host.memory_swap).or(limit.map(|limit| limit.saturating_mul(2)));
    let swappiness = host.memory_swappiness.and_then(|value| u64::try_from(value).ok());
    let unkillable = host.oom_kill_disable.filter(|disable| *disable);
    if limit.is_none() && reservation.is_none() && swap.is_none() && swappiness.is_none() && unkillable.is_none() {
        return None;
    }
    let mut memory = LinuxMemory::default();
    memory.set_limit(limit).set_reservation(reservation).set_swap(swap).set_swappiness(swappiness);
    memory.set_disable_oom_killer(unkillable);
    Some(memory)
}

fn cpu(host: &HostConfig) -> Option<LinuxCpu> {
    let unsigned = |number: Option<i64>| given(number).and_then(|number| u64::try_from(number).ok());
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (period, quota) = match given(host.nano_cpus) {
        Some(nano) => (Some(PERIOD), Some((i128::from(nano) * i128::from(PERIOD) / 1_000_000_000) as i64)),
        None => (unsigned(host.cpu_period), given(host.cpu_quota)),
    };
    let shares = unsigned(host.cpu_shares);
    let (cpus, mems) = (text(&host.cpuset_cpus), text(&host.cpuset_mems));
    if shares.is_none() && period.is_none() && quota.is_none() && cpus.is_none() && mems.is_none() {
        return None;
    }
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(shares).set_period(period).set_quota(quota).set_cpus(cpus).set_mems(mems);
    Some(cpu)
}

fn block_io(host: &HostConfig) -> Result<Option<LinuxBlockIo>> {
    let weight = host.blkio_weight.filter(|weight| *weight != 0);
    let mut io = LinuxBlockIo::default();
    io.set_weight(weight);
    io.set_throttle_read_bps_device(throttles(host.blkio_device_read_bps.as_deref())?);
    io.set_throttle_write_bps_device(throttles(host.blkio_device_write_bps.as_deref())?);
    io.set_throttle_read_iops_device(throttles(host.blkio_device_read_iops.as_deref())?);
    io.set_throttle_write_iops_device(throttles(host.blkio_device_write_iops.as_deref())?);
    Ok(Some(io).filter(|io| *io != LinuxBlockIo::default()))
}

fn throttles(devices: Option<&[ThrottleDevice]>) -> Result<Option<Vec<LinuxThrottleDevice>>> {
    let Some(devices) = devices.filter(|devices| !devices.is_empty()) else { return Ok(None) };
    let one = |device: &ThrottleDevice| {
        let path = device.path.as_deref().unwrap_or_default();
        let stat = rustix::fs::stat(path)
            .map_err(|error| Error::Invalid(format!("cannot limit the speed of {path:?}: {error}")))?;
        LinuxThrottleDeviceBuilder::default()
            .major(i64::from(major(stat.st_rdev)))
            .minor(i64::from(minor(stat.st_rdev)))
            .rate(device.rate.and_then(|rate| u64::try_from(rate).ok()).unwrap_or(0))
            .build()
            .map_err(|error| Error::failed(format_args!("limit the speed of {path:?}"), error))
    };
    devices.iter().map(one).collect::<Result<Vec<_>>>().map(Some)
}

/// The limits of single processes.
pub fn rlimits(ulimits: &[ResourcesUlimits]) -> Result<Option<Vec<PosixRlimit>>> {
    let one = |ulimit: &ResourcesUlimits| {
        let name = ulimit.name.as_deref().unwrap_or_default();
        let typ: PosixRlimitType = format!("RLIMIT_{}", name.to_ascii_uppercase())
            .parse()
            .map_err(|_| Error::Invalid(format!("invalid ulimit type: {name}")))?;
        let (soft, hard) = (ulimit.soft.unwrap_or(0), ulimit.hard.unwrap_or(0));
        if hard != -1 && (soft == -1 || soft > hard) {
            return Err(Error::Invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        // -1 is no limit, for the kernel too.
        PosixRlimitBuilder::default()
            .typ(typ)
            .soft(soft as u64)
            .hard(hard as u64)
            .build()
            .map_err(|error| Error::failed(format_args!("set the ulimit {name}"), error))
    };
    let limits = ulimits.iter().map(one).collect::<Result<Vec<_>>>()?;
    Ok(Some(limits).filter(|limits| !limits.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_is_nothing_limited() {
        let resources = limits(&HostConfig::default(), Vec::new()).unwrap();
        assert_eq!(serde_json::to_value(&resources).unwrap(), serde_json::json!({}));
    }

    #[test]
    fn memory_brings_swap() {
        let host = HostConfig { memory: Some(1 << 20), ..HostConfig::default() };
        let memory = memory(&host).unwrap();
        assert_eq!((memory.limit(), memory.swap()), (Some(1 << 20), Some(2 << 20)));
    }

    #[test]
    fn cpus_are_a_share_of_a_period() {
        let host =
            HostConfig { nano_cpus: Some(1_500_000_000), cpuset_cpus: Some("0".into()), ..HostConfig::default() };
        let cpu = cpu(&host).unwrap();
        assert_eq!((cpu.quota(), cpu.period(), cpu.cpus().as_deref()), (Some(150_000), Some(100_000), Some("0")));
    }

    #[test]
    fn ulimits() {
        let ulimit =
            |name: &str, soft, hard| ResourcesUlimits { name: Some(name.into()), soft: Some(soft), hard: Some(hard) };
        let limits = rlimits(&[ulimit("nofile", 10, 20)]).unwrap().unwrap();
        assert_eq!((limits[0].typ(), limits[0].soft(), limits[0].hard()), (PosixRlimitType::RlimitNofile, 10, 20));
        assert_eq!(rlimits(&[ulimit("core", -1, -1)]).unwrap().unwrap()[0].hard(), u64::MAX);
        assert!(rlimits(&[ulimit("nofile", 20, 10)]).is_err());
        assert!(rlimits(&[ulimit("wings", 1, 1)]).is_err());
        assert!(rlimits(&[]).unwrap().is_none());
    }
}
