//! Takes care of the processes that a daemon before this one started: their output is taken from
//! them, so that they do not stand still, and when they have ended they are cleared away.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Execs, Reader, State, folders};
use crate::streams::record::Stream;

impl Execs {
    /// Looks for them in all containers.
    pub fn recover(self: &Arc<Self>) {
        for container in self.engine.all() {
            let dir = self.streams.processes(container.id());
            for process in folders(&dir) {
                let execs = self.clone();
                let id = container.id().to_owned();
                let paths = Stream::ALL.map(|stream| dir.join(&process).join(stream.name()));
                tokio::spawn(async move {
                    let state = watch::Sender::new(State { started: true, ..State::default() });
                    let paths = paths.each_ref().map(|path| path.exists().then_some(path.as_path()));
                    if let Ok(reader) = Reader::open(paths, state.subscribe()) {
                        tokio::spawn(reader.drain());
                    }
                    execs.wait(&id, &process).await;
                    execs.clear(&id, &process).await;
                });
            }
        }
    }
}
