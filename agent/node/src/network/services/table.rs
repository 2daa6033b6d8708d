//! Owns [`Table`]: what is wanted in nftables by each Service of one family, and the script that takes
//! the table from what was written last to what is wanted now. Pure; costs what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use super::super::family::Family;
use super::base::TABLE;
use super::rules::{Collection, Key, Rules};

/// What is wanted, and what was before in those places where it differs.
#[derive(Debug)]
struct Ledger<K, V> {
    now: BTreeMap<K, V>,
    before: BTreeMap<K, Option<V>>,
}

impl<K, V> Default for Ledger<K, V> {
    fn default() -> Self {
        Self { now: BTreeMap::new(), before: BTreeMap::new() }
    }
}

impl<K: Ord + Clone, V: PartialEq> Ledger<K, V> {
    fn set(&mut self, key: K, value: Option<V>) {
        if self.now.get(&key) == value.as_ref() {
            return;
        }
        let old = match value {
            Some(value) => self.now.insert(key.clone(), value),
            None => self.now.remove(&key),
        };
        self.before.entry(key).or_insert(old);
    }

    /// What differs: key, before, now.
    fn changes(&self) -> impl Iterator<Item = (&K, Option<&V>, Option<&V>)> {
        let all = self.before.iter().map(|(key, before)| (key, before.as_ref(), self.now.get(key)));
        all.filter(|(_, before, now)| before != now)
    }
}

/// What a Service has in the table.
#[derive(Debug, Default)]
struct Held {
    chains: Vec<String>,
    affinities: Vec<String>,
    elements: Vec<Key>,
}

/// The wanted table of one family.
#[derive(Debug)]
pub(super) struct Table {
    family: Family,
    elements: Ledger<Key, String>,
    chains: Ledger<String, Vec<String>>,
    affinities: Ledger<String, u32>,
    services: HashMap<String, Held>,
    owners: HashMap<Key, String>,
    /// Services that wait for an element that another one has.
    contested: BTreeMap<Key, BTreeSet<String>>,
    /// Emptied chains that the kernel may still think in use.
    leftover: BTreeSet<String>,
}

impl Table {
    /// Nothing wanted, nothing written but what [`super::base::script`] writes.
    pub fn new(family: Family) -> Self {
        Self {
            family,
            elements: Ledger::default(),
            chains: Ledger::default(),
            affinities: Ledger::default(),
            services: HashMap::new(),
            owners: HashMap::new(),
            contested: BTreeMap::new(),
            leftover: BTreeSet::new(),
        }
    }

    /// Takes over what an earlier run left: emptied chains, and sets of clients, which stay where they
    /// are still wanted.
    pub fn adopt(&mut self, chains: impl Iterator<Item = String>, sets: impl Iterator<Item = String>) {
        self.leftover.extend(chains);
        for set in sets.filter(|set| set.starts_with("affinity/")) {
            let seconds = set.split('/').nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
            self.affinities.before.insert(set, Some(seconds));
        }
    }

    /// Whether nothing at all is wanted.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Sets what a Service wants; nothing when it is gone. Gives other Services whose turn it is now to
    /// have an element that this one gave up: they are to be set again.
    pub fn set(&mut self, service: &str, rules: Rules) -> BTreeSet<String> {
        let old = self.services.remove(service).unwrap_or_default();
        let mut next = BTreeSet::new();
        for chain in old.chains.into_iter().filter(|chain| !rules.chains.contains_key(chain)) {
            self.chains.set(chain, None);
        }
        for set in old.affinities.into_iter().filter(|set| !rules.affinities.contains_key(set)) {
            self.affinities.set(set, None);
        }
        for key in old.elements.into_iter().filter(|key| !rules.elements.contains_key(key)) {
            self.release(service, key, &mut next);
        }
        let held = Held {
            chains: rules.chains.keys().cloned().collect(),
            affinities: rules.affinities.keys().cloned().collect(),
            elements: rules.elements.keys().cloned().collect(),
        };
        if !held.elements.is_empty() {
            self.services.insert(service.to_owned(), held);
        }
        rules.chains.into_iter().for_each(|(chain, rules)| self.chains.set(chain, Some(rules)));
        rules.affinities.into_iter().for_each(|(set, seconds)| self.affinities.set(set, Some(seconds)));
        rules.elements.into_iter().for_each(|(key, value)| self.claim(service, key, value));
        next
    }

    /// Who comes first has it.
    fn claim(&mut self, service: &str, key: Key, value: String) {
        let owner = self.owners.entry(key.clone()).or_insert_with(|| service.to_owned());
        if owner == service {
            self.elements.set(key, Some(value));
        } else {
            self.contested.entry(key).or_default().insert(service.to_owned());
        }
    }

    fn release(&mut self, service: &str, key: Key, next: &mut BTreeSet<String>) {
        let mut waiting = self.contested.remove(&key).unwrap_or_default();
        waiting.remove(service);
        if self.owners.get(&key).is_some_and(|owner| owner == service) {
            self.owners.remove(&key);
            self.elements.set(key.clone(), None);
            next.extend(waiting.first().cloned());
        }
        if !waiting.is_empty() {
            self.contested.insert(key, waiting);
        }
    }

    /// The script that makes the table what is wanted; empty when it is.
    pub fn script(&self) -> String {
        let mut script = String::new();
        self.add_names(&mut script);
        self.delete_elements(&mut script);
        self.add_rules(&mut script);
        self.add_elements(&mut script);
        self.delete_sets(&mut script);
        script
    }

    /// The script was run.
    pub fn written(&mut self) {
        let gone: Vec<_> =
            self.chains.changes().filter(|(_, _, now)| now.is_none()).map(|(name, ..)| name.clone()).collect();
        self.leftover.extend(gone);
        self.leftover.retain(|chain| !self.chains.now.contains_key(chain));
        self.elements.before.clear();
        self.chains.before.clear();
        self.affinities.before.clear();
    }

    /// The script that deletes chains that nothing leads to any more. Run it a while after what led to
    /// them went: kernels before 6.2 take their time to notice.
    pub fn sweep(&self) -> String {
        let chains = self.leftover.iter();
        chains.map(|chain| format!("delete chain {} {TABLE} {chain}\n", self.family)).collect()
    }

    /// The sweeping script was run.
    pub fn swept(&mut self) {
        self.leftover.clear();
    }

    fn add_names(&self, script: &mut String) {
        let family = self.family;
        for (set, _, seconds) in self.affinities.changes() {
            if let Some(seconds) = seconds {
                let kind = family.address_type();
                let _ = writeln!(
                    script,
                    "add set {family} {TABLE} {set} {{ type {kind}; flags dynamic,timeout; timeout {seconds}s; }}"
                );
            }
        }
        for (chain, before, now) in self.chains.changes() {
            if before.is_none() {
                let _ = writeln!(script, "add chain {family} {TABLE} {chain}");
            }
            if before.is_some() || now.is_none() {
                let _ = writeln!(script, "flush chain {family} {TABLE} {chain}");
            }
        }
    }

    fn add_rules(&self, script: &mut String) {
        for (chain, _, rules) in self.chains.changes() {
            for rule in rules.into_iter().flatten() {
                let _ = writeln!(script, "add rule {} {TABLE} {chain} {rule}", self.family);
            }
        }
    }

    fn delete_elements(&self, script: &mut String) {
        let gone = self.elements.changes().filter_map(|(key, before, _)| before.map(|value| (key, value)));
        self.elements_script("delete", gone, script);
    }

    fn add_elements(&self, script: &mut String) {
        let new = self.elements.changes().filter_map(|(key, _, now)| now.map(|value| (key, value)));
        self.elements_script("add", new, script);
    }

    /// One command a collection.
    fn elements_script<'a>(
        &self,
        verb: &str,
        elements: impl Iterator<Item = (&'a Key, &'a String)>,
        script: &mut String,
    ) {
        let mut last: Option<Collection> = None;
        for ((collection, key), value) in elements {
            if last.replace(*collection) == Some(*collection) {
                script.push_str(", ");
            } else {
                script.push_str(if script.is_empty() || script.ends_with('\n') { "" } else { " }\n" });
                let _ = write!(script, "{verb} element {} {TABLE} {} {{ ", self.family, collection.name());
            }
            script.push_str(key);
            if !value.is_empty() {
                let _ = write!(script, " : {value}");
            }
        }
        if last.is_some() {
            script.push_str(" }\n");
        }
    }

    fn delete_sets(&self, script: &mut String) {
        for (set, before, now) in self.affinities.changes() {
            if before.is_some() && now.is_none() {
                let _ = writeln!(script, "delete set {} {TABLE} {set}", self.family);
            }
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
