//! Decides what a container's configuration is: what was asked for, with what its image adds.

use std::collections::HashMap;

use bollard::models::{ContainerConfig, ContainerCreateBody, HealthConfig, HostConfig, ImageConfig};

use super::policy;
use crate::error::{Error, Result};

/// Divides what was asked for, and refuses what cannot be.
pub fn asked(body: ContainerCreateBody) -> Result<(ContainerConfig, HostConfig)> {
    let host = body.host_config.unwrap_or_default();
    policy::check(host.restart_policy.as_ref(), host.auto_remove.unwrap_or(false))?;
    check_host(&host)?;
    let config = ContainerConfig {
        hostname: body.hostname,
        domainname: body.domainname,
        user: body.user,
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        exposed_ports: body.exposed_ports,
        tty: body.tty,
        open_stdin: body.open_stdin,
        stdin_once: body.stdin_once,
        env: body.env,
        cmd: body.cmd,
        healthcheck: body.healthcheck,
        args_escaped: body.args_escaped,
        image: body.image,
        volumes: body.volumes,
        working_dir: body.working_dir,
        entrypoint: body.entrypoint,
        network_disabled: body.network_disabled,
        on_build: body.on_build,
        labels: body.labels,
        stop_signal: body.stop_signal,
        stop_timeout: body.stop_timeout,
        shell: body.shell,
    };
    if config.image.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::Invalid("no image was given".to_owned()));
    }
    if let Some(bad) = config.env.iter().flatten().find(|entry| entry.is_empty() || entry.starts_with('=')) {
        return Err(Error::Invalid(format!("invalid environment variable: {bad}")));
    }
    Ok((config, host))
}

/// Refuses limits that contradict each other, in Docker's words.
pub fn check_host(host: &HostConfig) -> Result<()> {
    let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
    let memory = host.memory.unwrap_or(0);
    let swap = host.memory_swap.unwrap_or(0);
    match () {
        () if memory != 0 && memory < 6 << 20 => invalid("Minimum memory limit allowed is 6MB"),
        () if memory > 0 && swap > 0 && swap < memory => {
            invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
        }
        () if memory == 0 && swap > 0 => {
            invalid("You should always set the Memory limit when using Memoryswap limit, see usage")
        }
        () if host.nano_cpus.unwrap_or(0) > 0 && host.cpu_quota.unwrap_or(0) > 0 => {
            invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
        }
        () if host.shm_size.unwrap_or(0) < 0 => invalid("SHM size can not be less than 0"),
        () if host.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) => {
            invalid("Invalid value for OomScoreAdj: the range is [-1000, 1000]")
        }
        () if host.userns_mode.as_deref().is_some_and(|mode| !matches!(mode, "" | "host")) => {
            invalid("user namespaces are not offered: only --userns host")
        }
        () => Ok(()),
    }
}

/// Adds what the image says where nothing was asked for.
pub fn merge(config: &mut ContainerConfig, image: &ImageConfig) {
    let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    if !given(&config.user) {
        config.user.clone_from(&image.user);
    }
    if !given(&config.working_dir) {
        config.working_dir.clone_from(&image.working_dir);
    }
    if !given(&config.stop_signal) {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    if config.shell.is_none() {
        config.shell.clone_from(&image.shell);
    }
    union(&mut config.exposed_ports, image.exposed_ports.as_deref());
    union(&mut config.volumes, image.volumes.as_deref());
    config.env = Some(environment(image.env.as_deref(), config.env.as_deref()));
    config.healthcheck = health(config.healthcheck.take(), image.healthcheck.as_ref());
    labels(&mut config.labels, image.labels.as_ref());
    command(config, image);
    // An empty entry point was asked for to have none.
    if config.entrypoint.as_deref().is_some_and(|entry| matches!(entry, [only] if only.is_empty())) {
        config.entrypoint = None;
    }
}

/// An entry point that was asked for does away with the image's command: it was made for another.
fn command(config: &mut ContainerConfig, image: &ImageConfig) {
    let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if empty(&config.entrypoint) {
        if empty(&config.cmd) {
            config.cmd.clone_from(&image.cmd);
        }
        config.entrypoint.clone_from(&image.entrypoint);
    }
}

/// A check without a test keeps the image's test, and what else is not given.
fn health(mine: Option<HealthConfig>, image: Option<&HealthConfig>) -> Option<HealthConfig> {
    let (Some(mine), Some(image)) = (&mine, image) else { return mine.or_else(|| image.cloned()) };
    let number = |mine: Option<i64>, image: Option<i64>| mine.filter(|number| *number != 0).or(image);
    let test = mine.test.clone().filter(|test| !test.is_empty());
    Some(HealthConfig {
        test: test.or_else(|| image.test.clone()),
        interval: number(mine.interval, image.interval),
        timeout: number(mine.timeout, image.timeout),
        retries: number(mine.retries, image.retries),
        start_period: number(mine.start_period, image.start_period),
        start_interval: number(mine.start_interval, image.start_interval),
    })
}

fn union(mine: &mut Option<Vec<String>>, image: Option<&[String]>) {
    let mine = mine.get_or_insert_default();
    for entry in image.into_iter().flatten() {
        if !mine.contains(entry) {
            mine.push(entry.clone());
        }
    }
}

/// The image's variables, those of the same name replaced, and the further ones.
fn environment(image: Option<&[String]>, mine: Option<&[String]>) -> Vec<String> {
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut mine = mine.unwrap_or_default().to_vec();
    let replaced: Vec<String> = mine.iter().map(|entry| key(entry)).collect();
    let kept = image.into_iter().flatten().filter(|entry| !replaced.contains(&key(entry)));
    mine.extend(kept.cloned());
    mine
}

fn labels(mine: &mut Option<HashMap<String, String>>, image: Option<&HashMap<String, String>>) {
    let mine = mine.get_or_insert_default();
    for (key, value) in image.into_iter().flatten() {
        mine.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

/// The program and its arguments, as it will be started.
pub fn arguments(config: &ContainerConfig) -> Result<Vec<String>> {
    let all: Vec<String> = config.entrypoint.iter().chain(&config.cmd).flatten().cloned().collect();
    if all.first().is_none_or(String::is_empty) {
        return Err(Error::Invalid("no command specified".to_owned()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: Some(strings(&["/entry"])),
            cmd: Some(strings(&["serve"])),
            env: Some(strings(&["PATH=/image", "KEPT=1"])),
            user: Some("daemon".to_owned()),
            ..ImageConfig::default()
        }
    }

    fn merged(config: ContainerConfig) -> ContainerConfig {
        let mut config = config;
        merge(&mut config, &image());
        config
    }

    #[test]
    fn the_image_fills_in() {
        let config = merged(ContainerConfig::default());
        assert_eq!(arguments(&config).unwrap(), ["/entry", "serve"]);
        assert_eq!(config.user.as_deref(), Some("daemon"));
    }

    #[test]
    fn a_command_replaces_only_the_command() {
        let config = merged(ContainerConfig { cmd: Some(strings(&["other"])), ..ContainerConfig::default() });
        assert_eq!(arguments(&config).unwrap(), ["/entry", "other"]);
    }

    #[test]
    fn an_entry_point_replaces_both() {
        let config = merged(ContainerConfig { entrypoint: Some(strings(&["sh"])), ..ContainerConfig::default() });
        assert_eq!(arguments(&config).unwrap(), ["sh"]);
        let config = merged(ContainerConfig { entrypoint: Some(strings(&[""])), ..ContainerConfig::default() });
        assert_eq!(arguments(&config).unwrap_err().to_string(), "no command specified");
    }

    #[test]
    fn variables_are_replaced_by_name() {
        let config =
            merged(ContainerConfig { env: Some(strings(&["PATH=/mine", "A=b"])), ..ContainerConfig::default() });
        assert_eq!(config.env.unwrap(), ["PATH=/mine", "A=b", "KEPT=1"]);
    }

    #[test]
    fn limits_that_contradict_are_refused() {
        let host = |host_config: HostConfig| {
            let image = Some("x".to_owned());
            asked(ContainerCreateBody { image, host_config: Some(host_config), ..ContainerCreateBody::default() })
        };
        assert!(host(HostConfig { memory: Some(1024), ..HostConfig::default() }).is_err());
        assert!(
            host(HostConfig { memory: Some(1 << 30), memory_swap: Some(1 << 20), ..HostConfig::default() }).is_err()
        );
        assert!(host(HostConfig { memory: Some(1 << 30), memory_swap: Some(-1), ..HostConfig::default() }).is_ok());
        assert!(asked(ContainerCreateBody::default()).is_err());
    }
}
