//! Changes what was asked of a container: its name, its limits, its restart policy.

use std::sync::Arc;

use bollard::models::{ContainerUpdateBody, HostConfig};

use super::container::Container;
use super::{Engine, config, names, policy, spec};
use crate::error::{Error, Result};

impl Engine {
    /// Gives a container another name.
    pub async fn rename(&self, container: &Arc<Container>, name: &str) -> Result<()> {
        let name = names::checked(name)?.to_owned();
        let _turn = container.turn().await;
        let old = container.name();
        if old == name {
            return Err(Error::Invalid("Renaming a container with the same name as its current name".to_owned()));
        }
        self.registry().reserve(&name, container.id())?;
        if let Err(error) = container.change(|record| record.name.clone_from(&name)) {
            self.registry().release(&name, container.id());
            return Err(error);
        }
        self.registry().release(&old, container.id());
        self.tell(container, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Changes limits and the restart policy; a container that runs feels it at once.
    pub async fn update(&self, container: &Arc<Container>, asked: &ContainerUpdateBody) -> Result<()> {
        let _turn = container.turn().await;
        let record = container.record();
        let mut host = record.host.clone();
        apply(&mut host, asked)?;
        config::check_host(&host)?;
        if container.state().status.alive() {
            let limits = spec::resources::limits(&host, Vec::new())?;
            self.tasks.update(container.id(), &limits).await?;
        }
        container.change(|record| record.host = host)?;
        self.tell(container, "update", &[]);
        Ok(())
    }
}

/// Takes over what is given; 0 and the empty text are not.
fn apply(host: &mut HostConfig, asked: &ContainerUpdateBody) -> Result<()> {
    let number = |mine: &mut Option<i64>, asked: Option<i64>| *mine = asked.filter(|number| *number != 0).or(*mine);
    number(&mut host.cpu_shares, asked.cpu_shares);
    number(&mut host.memory, asked.memory);
    number(&mut host.memory_reservation, asked.memory_reservation);
    number(&mut host.memory_swap, asked.memory_swap);
    number(&mut host.cpu_period, asked.cpu_period);
    number(&mut host.cpu_quota, asked.cpu_quota);
    number(&mut host.nano_cpus, asked.nano_cpus);
    number(&mut host.pids_limit, asked.pids_limit);
    host.blkio_weight = asked.blkio_weight.filter(|weight| *weight != 0).or(host.blkio_weight);
    let text = |mine: &mut Option<String>, asked: &Option<String>| {
        if asked.as_deref().is_some_and(|text| !text.is_empty()) {
            mine.clone_from(asked);
        }
    };
    text(&mut host.cpuset_cpus, &asked.cpuset_cpus);
    text(&mut host.cpuset_mems, &asked.cpuset_mems);
    if let Some(wanted) =
        asked.restart_policy.as_ref().filter(|wanted| wanted.name.is_some_and(|name| !name.to_string().is_empty()))
    {
        if host.auto_remove.unwrap_or(false) {
            return Err(Error::Conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container".to_owned(),
            ));
        }
        policy::check(Some(wanted), false)?;
        host.restart_policy = Some(wanted.clone());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bollard::models::{RestartPolicy, RestartPolicyNameEnum};

    use super::*;

    #[test]
    fn only_what_is_given_changes() {
        let mut host = HostConfig { memory: Some(1 << 30), cpu_shares: Some(512), ..HostConfig::default() };
        let asked = ContainerUpdateBody {
            memory: Some(0),
            cpu_shares: Some(256),
            cpuset_cpus: Some("1".to_owned()),
            ..ContainerUpdateBody::default()
        };
        apply(&mut host, &asked).unwrap();
        assert_eq!((host.memory, host.cpu_shares), (Some(1 << 30), Some(256)));
        assert_eq!(host.cpuset_cpus.as_deref(), Some("1"));
    }

    #[test]
    fn what_removes_itself_takes_no_policy() {
        let restart_policy = RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
        let asked = ContainerUpdateBody { restart_policy: Some(restart_policy), ..ContainerUpdateBody::default() };
        apply(&mut HostConfig::default(), &asked).unwrap();
        let mut host = HostConfig { auto_remove: Some(true), ..HostConfig::default() };
        assert!(matches!(apply(&mut host, &asked), Err(Error::Conflict(_))));
    }
}
