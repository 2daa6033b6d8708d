//! Owns what happened lately: the messages of `GET /events`, live and for `since`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::models::{EventActor, EventMessage, EventMessageScopeEnum, EventMessageTypeEnum};
use tokio::sync::broadcast;

/// So many past events are kept for `since`.
const KEPT: usize = 1024;

/// The bus of events; clones are the same bus.
#[derive(Debug, Clone)]
pub struct Events {
    sender: broadcast::Sender<EventMessage>,
    past: Arc<Mutex<VecDeque<EventMessage>>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::channel(KEPT).0, past: Arc::default() }
    }
}

impl Events {
    /// Tells that `action` happened to the `kind` called `id`.
    pub fn publish(&self, kind: EventMessageTypeEnum, action: &str, id: &str, attributes: HashMap<String, String>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let message = EventMessage {
            typ: Some(kind),
            action: Some(action.to_owned()),
            actor: Some(EventActor { id: Some(id.to_owned()), attributes: Some(attributes) }),
            scope: Some(EventMessageScopeEnum::LOCAL),
            time: Some(now.as_secs() as i64),
            time_nano: Some(now.as_nanos() as i64),
        };
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(message.clone());
        // No one may be listening.
        self.sender.send(message).ok();
    }

    /// What is kept of the past, and what comes: nothing is missed or told twice in between.
    pub fn subscribe(&self) -> (Vec<EventMessage>, broadcast::Receiver<EventMessage>) {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        (past.iter().cloned().collect(), receiver)
    }
}
