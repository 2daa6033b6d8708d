//! Takes up what is there: after a start of this daemon, of containerd, of the host. What was
//! written down is compared with what runs, and what belongs to no container is removed.

use std::collections::HashSet;
use std::sync::Arc;

use super::Engine;
use super::container::Container;
use super::moment::Moment;
use super::policy;
use super::record::{Record, State, Status};
use super::task::{Exit, Phase, Task};
use crate::error::{Error, Result};

/// What Docker says of a process whose end nobody saw.
const UNSEEN: u32 = 255;

/// What to do about a container, of which this is written down and that is found.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is as it should be.
    Nothing,
    /// Its process runs.
    Adopt { pid: u32, status: Status },
    /// It ended while no one looked.
    Settle(Exit),
    /// A start or an end was cut short: away with what is left of it.
    Clear,
    /// Its removal was cut short.
    Remove,
}

fn step(state: &State, task: Option<Task>, now: Moment) -> Step {
    if matches!(state.status, Status::Removing | Status::Dead) {
        return Step::Remove;
    }
    let running = |status, pid| {
        let known = state.status == status && state.pid == pid;
        if known { Step::Nothing } else { Step::Adopt { pid, status } }
    };
    match (state.status.alive(), task.map(|task| (task.phase, task.pid))) {
        (_, Some((Phase::Running, pid))) => running(Status::Running, pid),
        (_, Some((Phase::Paused, pid))) => running(Status::Paused, pid),
        (true, Some((Phase::Stopped(exit), _))) => Step::Settle(exit),
        (true, None) => Step::Settle(Exit { code: UNSEEN, at: now }),
        (true, Some((Phase::Created | Phase::Unknown, _))) => Step::Settle(Exit { code: UNSEEN, at: now }),
        (false, Some(_)) => Step::Clear,
        (false, None) => Step::Nothing,
    }
}

impl Engine {
    /// Takes up the containers that a daemon before this one left, running or not, and goes on
    /// listening to containerd.
    pub async fn recover(self: &Arc<Self>) -> Result<()> {
        let stream = self.connect().await;
        self.load()?;
        self.read_out().await;
        self.reconcile().await;
        self.sweep().await;
        self.start_wanted();
        tokio::spawn(self.clone().listen(stream));
        Ok(())
    }

    /// Reads the folders. What was cut short while it was made, and never told to anyone, goes.
    fn load(&self) -> Result<()> {
        let root = self.paths.containers();
        let entries =
            std::fs::read_dir(&root).map_err(|error| Error::failed(format_args!("read {}", root.display()), error))?;
        for folder in entries.flatten().map(|entry| entry.path()) {
            match Record::read(&folder).and_then(|record| Ok((record, State::read(&folder)?))) {
                Ok((record, state)) => self.registry().insert(Arc::new(Container::new(record, state, folder))),
                Err(error) if folder.join("container.json").exists() => {
                    tracing::error!("{error}; it is left alone: remove {} to be rid of it", folder.display());
                }
                Err(_) => {
                    std::fs::remove_dir_all(&folder).ok();
                }
            }
        }
        Ok(())
    }

    /// Makes every container what its task says it is.
    pub(super) async fn reconcile(self: &Arc<Self>) {
        let tasks = match self.tasks.list().await {
            Ok(tasks) => tasks,
            // The event stream breaks as well, and leads here again.
            Err(error) => return tracing::warn!("cannot list the tasks: {error}"),
        };
        for container in self.all() {
            if container.state().status.alive() {
                self.take_up(&container);
            }
            let listed = tasks.get(container.id()).copied();
            if step(&container.state(), listed, Moment::now()) != Step::Nothing {
                self.reconcile_one(&container).await;
            }
        }
    }

    /// The same for one, in its turn, and so with what is true then.
    async fn reconcile_one(self: &Arc<Self>, container: &Arc<Container>) {
        let _turn = container.turn().await;
        let id = container.id();
        let task = match self.tasks.get(id).await {
            Ok(task) => task,
            Err(error) => return tracing::warn!(id, "cannot ask for the task: {error}"),
        };
        match step(&container.state(), task, Moment::now()) {
            Step::Nothing => {}
            Step::Adopt { pid, status } => {
                container.set(|state| {
                    state.started = state.started.filter(|_| state.status.alive()).or_else(|| Some(Moment::now()));
                    state.finished = None;
                    state.status = status;
                    state.pid = pid;
                });
                self.take_up(container);
            }
            Step::Settle(exit) => self.settle(container, exit).await,
            Step::Clear => {
                self.take_up(container);
                self.bring_down(container).await;
            }
            Step::Remove => {
                self.bring_down(container).await;
                if let Err(error) = self.remove_in_turn(container, false).await {
                    tracing::warn!(id, "cannot remove: {error}");
                }
            }
        }
    }

    /// Writes what containers said that had ended, but whose output was not read to its end.
    async fn read_out(&self) {
        let waiting = |container: &Arc<Container>| self.streams.waiting().iter().any(|id| id == container.id());
        for container in self.all().into_iter().filter(waiting) {
            if !container.state().status.alive() {
                self.take_up(&container);
                self.streams.finish(container.id()).await;
            }
        }
    }

    /// Goes on to write its output, which waited.
    fn take_up(&self, container: &Container) {
        if let Err(error) = self.streams.pump(container.id(), container.record().host.log_config.as_ref()) {
            tracing::warn!(id = container.id(), "{error}");
        }
    }

    /// Starts what its policy wants to run.
    fn start_wanted(self: &Arc<Self>) {
        for container in self.all() {
            let (record, state) = (container.record(), container.state());
            let wanted = policy::at_boot(
                record.host.restart_policy.as_ref(),
                state.stopped,
                state.started.is_some(),
                state.exit_code,
            );
            let pending = state.status == Status::Restarting;
            if pending {
                self.again_in(&container, std::time::Duration::ZERO);
            } else if wanted && state.status == Status::Exited {
                let (engine, container) = (self.clone(), container.clone());
                tokio::spawn(async move {
                    if let Err(error) = engine.start(&container).await {
                        tracing::warn!(id = container.id(), "cannot start: {error}");
                    }
                });
            }
        }
    }

    /// Removes from containerd and from this host what belongs to no container.
    async fn sweep(&self) {
        self.take_orphans().await;
        let alive: HashSet<String> = self.all().iter().map(|container| container.id().to_owned()).collect();
        match self.tasks.strays(&alive).await {
            Ok(strays) => {
                for id in strays {
                    tracing::info!(id, "removing what is left of a container");
                    self.end_task(&id).await.ok();
                    self.tasks.forget(&id).await.ok();
                    self.tasks.discard(&id).await.ok();
                }
            }
            Err(error) => tracing::warn!("cannot look for what is left of containers: {error}"),
        }
        let running = |container: &Arc<Container>| container.state().status.alive().then(|| container.id().to_owned());
        if let Err(error) = self.network.sweep(&self.all().iter().filter_map(running).collect()).await {
            tracing::warn!("cannot look for what is left of networks: {error}");
        }
        let runtime = self.paths.runtime("x");
        let folders = runtime.parent().and_then(|folder| std::fs::read_dir(folder).ok());
        for entry in folders.into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(|name| alive.contains(name)) {
                rustix::mount::unmount(entry.path().join("shm"), rustix::mount::UnmountFlags::DETACH).ok();
                std::fs::remove_dir_all(entry.path()).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: Status, pid: u32) -> State {
        State { status, pid, ..State::default() }
    }

    fn decided(status: Status, pid: u32, task: Option<(u32, Phase)>) -> Step {
        step(&state(status, pid), task.map(|(pid, phase)| Task { pid, phase }), Moment::now())
    }

    #[test]
    fn what_runs_is_adopted() {
        let running = Some((7, Phase::Running));
        assert_eq!(decided(Status::Running, 7, running), Step::Nothing);
        assert_eq!(decided(Status::Running, 6, running), Step::Adopt { pid: 7, status: Status::Running });
        assert_eq!(decided(Status::Created, 0, running), Step::Adopt { pid: 7, status: Status::Running });
        assert_eq!(
            decided(Status::Running, 7, Some((7, Phase::Paused))),
            Step::Adopt { pid: 7, status: Status::Paused }
        );
    }

    #[test]
    fn an_end_that_was_missed_keeps_its_code() {
        let exit = Exit { code: 42, at: Moment::now() };
        assert_eq!(decided(Status::Running, 7, Some((7, Phase::Stopped(exit)))), Step::Settle(exit));
        assert!(matches!(decided(Status::Running, 7, None), Step::Settle(Exit { code: UNSEEN, .. })));
        assert!(matches!(decided(Status::Paused, 7, None), Step::Settle(_)));
    }

    #[test]
    fn what_was_cut_short_is_cleared() {
        let exit = Exit { code: 0, at: Moment::now() };
        assert_eq!(decided(Status::Exited, 0, Some((7, Phase::Stopped(exit)))), Step::Clear);
        assert_eq!(decided(Status::Created, 0, Some((7, Phase::Created))), Step::Clear);
        assert_eq!(decided(Status::Removing, 0, None), Step::Remove);
        assert_eq!(decided(Status::Exited, 0, None), Step::Nothing);
    }
}
