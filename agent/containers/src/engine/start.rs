//! Starts containers.

use std::sync::Arc;

use rustix::mount::UnmountFlags;

use super::Engine;
use super::clock::Clock;
use super::container::Container;
use super::facts::Prepared;
use super::moment::Moment;
use super::record::Status;
use crate::error::{Error, Result};

impl Engine {
    /// Starts a container that does not run.
    pub async fn start(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let _turn = container.turn().await;
        self.start_in_turn(container).await
    }

    /// The same, while its turn is held.
    pub(super) async fn start_in_turn(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        startable(container.state().status)?;
        container.set(|state| {
            state.stopped = false;
            state.restarts = 0;
            state.failures = 0;
        });
        let started = self.launch(container).await;
        if started.is_err() && container.record().host.auto_remove.unwrap_or(false) {
            self.remove_in_turn(container, true).await.ok();
        }
        started
    }

    /// Brings its process up; its turn is held. After a failure nothing of the attempt is left.
    pub(super) async fn launch(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        match self.bring_up(container).await {
            Ok(pid) => {
                container.set(|state| {
                    state.status = Status::Running;
                    state.pid = pid;
                    state.exit_code = 0;
                    state.error.clear();
                    state.oom_killed = false;
                    state.started = Some(Moment::now());
                    state.finished = None;
                    state.health = super::health::initial(&container.record().config);
                });
                self.tell(container, "start", &[]);
                self.tell_linked(container);
                Ok(())
            }
            Err(error) => {
                self.bring_down(container).await;
                let (code, error) = explained(error);
                container.set(|state| {
                    state.exit_code = code;
                    state.error = error.to_string();
                    if state.status != Status::Created {
                        state.status = Status::Exited;
                    }
                });
                Err(error)
            }
        }
    }

    async fn bring_up(&self, container: &Arc<Container>) -> Result<u32> {
        let id = container.id();
        let mut clock = Clock::new(id);
        let Prepared { spec, rootfs, io } = self.prepare(container).await?;
        clock.lap("prepared");
        self.tasks.describe(id, &container.record().image, &spec).await?;
        clock.lap("described to containerd");
        self.tasks.create(id, rootfs, io).await?;
        clock.lap("made the task");
        let pid = self.tasks.start(id).await;
        clock.lap("started");
        pid
    }

    /// Takes away what a run of a container needed: its task, its network, its streams.
    pub(super) async fn bring_down(&self, container: &Container) {
        let id = container.id();
        let ended = async {
            if let Err(error) = self.end_task(id).await {
                tracing::warn!(id, "cannot remove the task: {error}");
            }
            self.streams.finish(id).await;
        };
        let (released, ()) = tokio::join!(self.network.release(id), ended);
        if let Err(error) = released {
            tracing::warn!(id, "cannot let go of the network: {error}");
        }
        // There is none but for who shares its memory.
        rustix::mount::unmount(self.paths.shm(id), UnmountFlags::DETACH).ok();
    }

    /// Removes the task, by force if it has not ended.
    pub(super) async fn end_task(&self, id: &str) -> Result<()> {
        match self.tasks.delete(id).await {
            Ok(_) => Ok(()),
            Err(_) => {
                self.tasks.kill(id, 9, true).await.ok();
                self.tasks.ended(id).await.ok();
                self.tasks.delete(id).await.map(drop)
            }
        }
    }
}

fn startable(status: Status) -> Result<()> {
    match status {
        Status::Created | Status::Exited | Status::Restarting => Ok(()),
        Status::Running => Err(Error::NotModified),
        Status::Paused => Err(Error::Conflict("cannot start a paused container, try unpause instead".to_owned())),
        Status::Removing | Status::Dead => {
            Err(Error::Conflict("container is marked for removal and cannot be started".to_owned()))
        }
    }
}

/// What a shell would have made of a program that cannot be started, and the error as Docker says it.
fn explained(error: Error) -> (i64, Error) {
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["executable file not found", "no such file or directory", "No such file or directory"]) && ours(&text) {
        return (127, Error::Invalid(created(&text)));
    }
    if has(&["permission denied", "Permission denied", "is a directory", "Is a directory", "exec format error"])
        && ours(&text)
    {
        return (126, Error::Invalid(created(&text)));
    }
    (128, error)
}

/// Did the runtime say it, of the program to start?
fn ours(text: &str) -> bool {
    text.contains("exec") || text.contains("start container process") || text.contains("OCI runtime")
}

fn created(text: &str) -> String {
    format!("failed to create task for container: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_cannot_be_started() {
        let code = |text: &str| explained(Error::Failed(text.to_owned())).0;
        let runc = "failed to create shim task: OCI runtime create failed: runc create failed: unable to start \
                    container process: exec: \"nope\": executable file not found in $PATH: unknown";
        assert_eq!(code(runc), 127);
        assert_eq!(
            code("failed to create shim task: OCI runtime create failed: crun: open executable: Permission denied"),
            126
        );
        assert_eq!(code("OCI runtime create failed: executable file `nope` not found: No such file or directory"), 127);
        assert_eq!(code("cannot find a free port"), 128);
        assert_eq!(code("cannot open /x: No such file or directory"), 128);
    }

    #[test]
    fn what_may_be_started() {
        assert!(startable(Status::Created).is_ok());
        assert!(matches!(startable(Status::Running), Err(Error::NotModified)));
        assert!(matches!(startable(Status::Paused), Err(Error::Conflict(_))));
    }
}
