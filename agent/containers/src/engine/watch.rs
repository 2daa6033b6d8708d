//! Hears from containerd what happens to tasks; goes on after a restart of containerd, and finds
//! out what happened meanwhile.

use std::sync::Arc;
use std::time::Duration;

use containerd_client::events::{TaskExit, TaskOom};
use containerd_client::services::v1::{PublishRequest, SubscribeRequest};
use containerd_client::tonic::Streaming;
use containerd_client::types::Envelope;
use prost::Message;

use super::Engine;
use super::moment::Moment;
use super::task::Exit;
use crate::error::{Error, Result};

const EXIT: &str = "/tasks/exit";
const OOM: &str = "/tasks/oom";
const HELLO: &str = "/keelson/hello";

/// Between two greetings.
const GREETINGS: Duration = Duration::from_millis(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// What is heard.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// The first process of a container ended.
    Ended { id: String, pid: u32, exit: Exit },
    /// A container ran out of memory.
    OutOfMemory { id: String },
}

impl Engine {
    /// Asks containerd, until it answers, to be told of tasks from then on.
    pub(super) async fn connect(&self) -> Streaming<Envelope> {
        let mut delay = FIRST_DELAY;
        loop {
            match self.subscribe().await {
                Ok(stream) => return stream,
                Err(error) => tracing::warn!("{error}; trying again in {} ms", delay.as_millis()),
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LONGEST_DELAY);
        }
    }

    /// containerd answers a subscription with its first event and no sooner, so it is given one.
    async fn subscribe(&self) -> Result<Streaming<Envelope>> {
        let filters = vec![format!("namespace=={},topic~=\"^({EXIT}|{OOM}|{HELLO})$\"", self.namespace)];
        let mut events = self.containerd.events();
        tokio::select! {
            stream = events.subscribe(SubscribeRequest { filters }) => Ok(stream?.into_inner()),
            error = self.greet() => Err(error),
        }
    }

    /// Publishes an event over and over: the first may come before the subscription.
    async fn greet(&self) -> Error {
        loop {
            tokio::time::sleep(GREETINGS).await;
            let event = Some(prost_types::Any { type_url: "keelson.Hello".to_owned(), value: Vec::new() });
            let request = PublishRequest { topic: HELLO.to_owned(), event };
            if let Err(status) = self.containerd.events().publish(request).await {
                return status.into();
            }
        }
    }

    /// Listens for good.
    pub(super) async fn listen(self: Arc<Self>, mut stream: Streaming<Envelope>) {
        loop {
            match stream.message().await {
                Ok(Some(envelope)) => self.heard(envelope),
                ended => {
                    tracing::warn!("containerd's events broke off: {:?}", ended.err());
                    stream = self.connect().await;
                    self.reconcile().await;
                }
            }
        }
    }

    fn heard(self: &Arc<Self>, envelope: Envelope) {
        match news(&envelope) {
            Some(News::Ended { id, pid, exit }) => {
                // What follows takes time, and must not hold up what is heard of others.
                let engine = self.clone();
                tokio::spawn(async move { engine.ended(&id, pid, exit).await });
            }
            Some(News::OutOfMemory { id }) => {
                if let Some(container) = self.registry().get(&id) {
                    container.set(|state| state.oom_killed = true);
                    self.tell(&container, "oom", &[]);
                }
            }
            None => {}
        }
    }
}

fn news(envelope: &Envelope) -> Option<News> {
    let bytes = envelope.event.as_ref()?.value.as_slice();
    match envelope.topic.as_str() {
        EXIT => {
            let event = TaskExit::decode(bytes).ok()?;
            let at = event.exited_at.map_or_else(Moment::now, Moment::from);
            let exit = Exit { code: event.exit_status, at };
            // A process that was executed in a container has an id of its own.
            (event.id == event.container_id).then_some(News::Ended { id: event.container_id, pid: event.pid, exit })
        }
        OOM => Some(News::OutOfMemory { id: TaskOom::decode(bytes).ok()?.container_id }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(topic: &str, message: &impl Message) -> Envelope {
        let event = prost_types::Any { type_url: String::new(), value: message.encode_to_vec() };
        Envelope { topic: topic.to_owned(), event: Some(event), ..Envelope::default() }
    }

    #[test]
    fn ends_of_containers_and_of_nothing_else() {
        let exit = |id: &str| TaskExit {
            container_id: "c".into(),
            id: id.into(),
            pid: 7,
            exit_status: 3,
            ..TaskExit::default()
        };
        let heard = news(&envelope("/tasks/exit", &exit("c")));
        assert!(matches!(heard, Some(News::Ended { pid: 7, exit: Exit { code: 3, .. }, .. })));
        assert_eq!(news(&envelope("/tasks/exit", &exit("exec"))), None);
        assert_eq!(news(&envelope("/tasks/start", &exit("c"))), None);
    }

    #[test]
    fn memory() {
        let oom = TaskOom { container_id: "c".into() };
        assert_eq!(news(&envelope("/tasks/oom", &oom)), Some(News::OutOfMemory { id: "c".into() }));
    }
}
