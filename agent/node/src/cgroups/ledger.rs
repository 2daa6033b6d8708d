//! Owns [`Ledger`]: which pods have a cgroup, with which limits, and what those of a class request together.
//! Pure.

use std::collections::{HashMap, HashSet};

use super::limits::Limits;
use crate::spec::Qos;

/// A pod that has a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its class.
    pub qos: Qos,
    /// The limits that this agent has written.
    pub limits: Option<Limits>,
    /// Thousandths of a CPU it requests.
    pub cpu: i64,
}

/// The pods that have cgroups, by UID.
#[derive(Debug, Default)]
pub struct Ledger {
    pods: HashMap<String, Entry>,
    /// Burstable pods that had a cgroup before this agent started, and of which nothing is known yet.
    strangers: HashSet<String>,
}

impl Ledger {
    /// These burstable pods have cgroups already.
    pub fn found(&mut self, uids: Vec<String>) {
        self.strangers = uids.into_iter().filter(|uid| !self.pods.contains_key(uid)).collect();
    }

    /// What is known of a pod.
    pub fn get(&self, uid: &str) -> Option<Entry> {
        self.pods.get(uid).copied()
    }

    /// This is a pod's now.
    pub fn insert(&mut self, uid: &str, entry: Entry) {
        self.strangers.remove(uid);
        self.pods.insert(uid.to_owned(), entry);
    }

    /// This is a pod's, unless something is known of it; true when nothing was.
    pub fn adopt(&mut self, uid: &str, entry: Entry) -> bool {
        let new = !self.pods.contains_key(uid);
        if new {
            self.insert(uid, entry);
        }
        new
    }

    /// Forgets a pod. True when it counts among the burstable ones.
    pub fn remove(&mut self, uid: &str) -> bool {
        let stranger = self.strangers.remove(uid);
        self.pods.remove(uid).is_some_and(|known| known.qos == Qos::Burstable) || stranger
    }

    /// Thousandths of a CPU that all burstable pods request together; nothing while there are some of which
    /// that is not known.
    pub fn burstable(&self) -> Option<i64> {
        let burstable = self.pods.values().filter(|pod| pod.qos == Qos::Burstable);
        self.strangers.is_empty().then(|| burstable.map(|pod| pod.cpu).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(qos: Qos, cpu: i64) -> Entry {
        Entry { qos, limits: None, cpu }
    }

    #[test]
    fn what_pods_request_is_known_once_all_of_them_are() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.burstable(), Some(0));
        ledger.found(vec!["a".into(), "b".into(), "b".into(), "gone".into()]);
        assert_eq!(ledger.burstable(), None);
        assert!(ledger.adopt("a", entry(Qos::Burstable, 100)) && !ledger.adopt("a", entry(Qos::Burstable, 700)));
        ledger.insert("b", entry(Qos::Burstable, 30));
        ledger.insert("new", entry(Qos::Guaranteed, 1000));
        assert_eq!(ledger.burstable(), None);
        assert!(ledger.remove("gone"));
        assert_eq!(ledger.burstable(), Some(130));
        assert!(ledger.remove("a") && !ledger.remove("new") && !ledger.remove("never"));
        assert_eq!(ledger.burstable(), Some(30));
    }

    #[test]
    fn what_is_adopted_was_not_written() {
        let mut ledger = Ledger::default();
        ledger.adopt("a", entry(Qos::Burstable, 100));
        let applied = Entry { limits: Some(Limits::tier(2)), ..entry(Qos::Burstable, 100) };
        assert!(ledger.get("a").is_some_and(|known| known != applied));
        ledger.insert("a", applied);
        assert_eq!(ledger.get("a"), Some(applied));
    }
}
