//! Removes what is not used: ended containers, volumes that no container has.

use std::sync::Arc;

use bollard::models::{ContainerPruneResponse, VolumePruneResponse};

use super::Engine;
use super::moment::Moment;
use super::record::Status;
use super::volumes;
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::words;

impl Engine {
    /// Removes the containers that do not run.
    pub async fn prune(self: &Arc<Self>, filters: &Filters) -> Result<ContainerPruneResponse> {
        let until = filters.get("until").first().map(|text| until(text, Moment::now())).transpose()?;
        let mut response = ContainerPruneResponse { containers_deleted: Some(Vec::new()), space_reclaimed: Some(0) };
        for container in self.all() {
            let record = container.record();
            let ended = matches!(container.state().status, Status::Created | Status::Exited | Status::Dead);
            let chosen = filters.labels_match(record.config.labels.as_ref().unwrap_or(&Default::default()))
                && until.is_none_or(|until| record.created < until);
            if !ended || !chosen {
                continue;
            }
            let size = self.tasks.usage(container.id()).await.unwrap_or(0);
            match self.remove(&container, super::Removal::default()).await {
                Ok(()) => {
                    response.containers_deleted.get_or_insert_default().push(record.id.clone());
                    response.space_reclaimed = response.space_reclaimed.map(|sum| sum.saturating_add(size));
                }
                // Someone started or removed it meanwhile.
                Err(Error::Conflict(_) | Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(response)
    }

    /// Removes the volumes that no container has: those made up for one, or `all`.
    pub fn prune_volumes(&self, filters: &Filters) -> Result<VolumePruneResponse> {
        let all = filters.flag("all")?.unwrap_or(false);
        let mut response = VolumePruneResponse { volumes_deleted: Some(Vec::new()), space_reclaimed: Some(0) };
        for volume in self.volumes.all() {
            let chosen = (all || volumes::anonymous(&volume)) && filters.labels_match(&volume.labels);
            if !chosen || !self.users_of_volume(&volume.name).is_empty() {
                continue;
            }
            let size = self.volumes.size(&volume.name);
            self.remove_volume(&volume.name)?;
            response.volumes_deleted.get_or_insert_default().push(volume.name);
            response.space_reclaimed = response.space_reclaimed.map(|sum| sum.saturating_add(size));
        }
        Ok(response)
    }
}

/// A point in time as `--since` and `--until` have it: seconds since 1970, RFC 3339, or a time ago.
pub fn until(text: &str, now: Moment) -> Result<Moment> {
    let seconds = |text: &str| -> Option<Moment> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let nanos: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        Some(Moment::at(whole.parse().ok()?, nanos))
    };
    seconds(text)
        .or_else(|| text.parse().ok())
        .or_else(|| words::duration(text).ok().map(|ago| now.before(ago)))
        .ok_or_else(|| Error::Invalid(format!("invalid time: {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_three_forms() {
        let now = Moment::at(1000, 0);
        assert_eq!(until("900", now).unwrap(), Moment::at(900, 0));
        assert_eq!(until("900.5", now).unwrap(), Moment::at(900, 500_000_000));
        assert_eq!(until("1970-01-01T00:00:10Z", now).unwrap(), Moment::at(10, 0));
        assert_eq!(until("10s", now).unwrap(), Moment::at(990, 0));
        assert!(until("yesterday", now).is_err());
    }
}
