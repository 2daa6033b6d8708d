//! Owns which containers there are: by id, and by the names that are taken.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::container::Container;
use crate::error::{Error, Result};

/// All containers.
#[derive(Debug, Default)]
pub struct Registry {
    containers: BTreeMap<String, Arc<Container>>,
    names: HashMap<String, String>,
}

impl Registry {
    /// Takes `name` for the container `id`, before it is there.
    pub fn reserve(&mut self, name: &str, id: &str) -> Result<()> {
        match self.names.get(name) {
            Some(owner) if owner != id => Err(Error::Conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to \
                 remove (or rename) that container to be able to reuse that name."
            ))),
            _ => {
                self.names.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    /// Is `name` taken?
    pub fn taken(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Gives `name` back, if it is the container's.
    pub fn release(&mut self, name: &str, id: &str) {
        if self.names.get(name).is_some_and(|owner| owner == id) {
            self.names.remove(name);
        }
    }

    /// Adds a container.
    pub fn insert(&mut self, container: Arc<Container>) {
        self.names.insert(container.name(), container.id().to_owned());
        self.containers.insert(container.id().to_owned(), container);
    }

    /// Takes a container out, and its names.
    pub fn remove(&mut self, id: &str) {
        self.containers.remove(id);
        self.names.retain(|_, owner| owner != id);
    }

    /// The container with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Container>> {
        self.containers.get(id).cloned()
    }

    /// The container that `reference` names: its id, its name, or how its id begins.
    pub fn find(&self, reference: &str) -> Result<Arc<Container>> {
        let name = reference.strip_prefix('/').unwrap_or(reference);
        if let Some(found) = self.get(reference).or_else(|| self.get(self.names.get(name)?)) {
            return Ok(found);
        }
        let mut matches = self.containers.range(reference.to_owned()..).take_while(|(id, _)| id.starts_with(reference));
        match (reference.is_empty(), matches.next(), matches.next()) {
            (false, Some((_, found)), None) => Ok(found.clone()),
            (false, Some(_), Some(_)) => {
                Err(Error::Invalid(format!("multiple IDs found with provided prefix: {reference}")))
            }
            _ => Err(Error::NotFound(format!("No such container: {reference}"))),
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.containers.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::{Record, State};

    fn registry(containers: &[(&str, &str)]) -> Registry {
        let mut registry = Registry::default();
        for (id, name) in containers {
            let record = Record::sample(id, name);
            registry.insert(Arc::new(Container::new(record, State::default(), "/nowhere".into())));
        }
        registry
    }

    #[test]
    fn found_by_id_name_and_prefix() {
        let registry = registry(&[("abc123", "one"), ("abd456", "two")]);
        let id = |reference| registry.find(reference).map(|found| found.id().to_owned());
        assert_eq!(id("abc123").unwrap(), "abc123");
        assert_eq!(id("two").unwrap(), "abd456");
        assert_eq!(id("/two").unwrap(), "abd456");
        assert_eq!(id("abd").unwrap(), "abd456");
        assert!(matches!(id("ab"), Err(Error::Invalid(_))));
        assert!(matches!(id(""), Err(Error::NotFound(_))));
        assert_eq!(id("three").unwrap_err().to_string(), "No such container: three");
    }

    #[test]
    fn a_name_wins_over_a_prefix() {
        let registry = registry(&[("abc123", "one"), ("def456", "abc")]);
        assert_eq!(registry.find("abc").unwrap().id(), "def456");
    }

    #[test]
    fn a_name_is_had_once() {
        let mut registry = registry(&[("abc123", "one")]);
        assert!(matches!(registry.reserve("one", "other"), Err(Error::Conflict(_))));
        registry.reserve("one", "abc123").unwrap();
        registry.remove("abc123");
        registry.reserve("one", "other").unwrap();
        registry.release("one", "abc123");
        assert!(registry.taken("one"));
        registry.release("one", "other");
        assert!(!registry.taken("one"));
    }
}
