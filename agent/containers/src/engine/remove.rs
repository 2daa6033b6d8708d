//! Removes containers, and everything that was made for them.

use std::sync::Arc;

use super::Engine;
use super::container::Container;
use super::record::Status;
use crate::error::{Error, Result};

/// How to remove a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct Removal {
    /// Kill it when it runs.
    pub force: bool,
    /// Remove the volumes that were made for it alone.
    pub volumes: bool,
}

impl Engine {
    /// Removes a container.
    pub async fn remove(self: &Arc<Self>, container: &Arc<Container>, how: Removal) -> Result<()> {
        if how.force && matches!(container.state().status, Status::Running | Status::Paused | Status::Restarting) {
            match self.stop(container, Some("SIGKILL"), None).await {
                Ok(()) | Err(Error::NotModified) => {}
                Err(error) => return Err(error),
            }
        }
        let _turn = container.turn().await;
        let state = container.state();
        // It may have removed itself at its end.
        if state.removed {
            return if how.force {
                Ok(())
            } else {
                Err(Error::NotFound(format!("No such container: {}", container.id())))
            };
        }
        removable(state.status, &container.name())?;
        self.remove_in_turn(container, how.volumes).await
    }

    /// Removes what does not run; its turn is held.
    pub(super) async fn remove_in_turn(self: &Arc<Self>, container: &Arc<Container>, volumes: bool) -> Result<()> {
        container.set(|state| state.status = Status::Removing);
        if let Err(error) = self.take_apart(container).await {
            container.set(|state| {
                state.status = Status::Dead;
                state.error = error.to_string();
            });
            return Err(error);
        }
        if volumes {
            self.remove_anonymous(&container.record());
        }
        self.registry().remove(container.id());
        self.tell(container, "destroy", &[]);
        container.set(|state| state.removed = true);
        Ok(())
    }

    /// Its folder goes last: a daemon that finds one whose removal was begun goes on with it.
    async fn take_apart(&self, container: &Container) -> Result<()> {
        let id = container.id();
        let (forgotten, discarded) = tokio::join!(self.tasks.forget(id), self.tasks.discard(id));
        forgotten.and(discarded)?;
        let gone = |folder: std::path::PathBuf| match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::failed(format_args!("remove {}", folder.display()), error))
            }
            _ => Ok(()),
        };
        self.streams.remove(id);
        gone(self.paths.runtime(id))?;
        gone(container.folder().to_owned())
    }
}

fn removable(status: Status, name: &str) -> Result<()> {
    let refused = |why: &str| Err(Error::Conflict(format!("cannot remove container \"/{name}\": {why}")));
    match status {
        Status::Created | Status::Exited | Status::Dead | Status::Removing => Ok(()),
        Status::Running => refused("container is running: stop the container before removing or force remove"),
        Status::Paused => refused("container is paused and must be unpaused first"),
        Status::Restarting => refused("container is restarting: stop the container before removing or force remove"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_rests_is_removed() {
        assert!(removable(Status::Exited, "x").is_ok());
        let text = removable(Status::Running, "x").unwrap_err().to_string();
        assert!(text.starts_with("cannot remove container \"/x\": container is running"));
    }
}
