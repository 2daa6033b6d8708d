//! Owns [`State`]: Services and endpoints as the API last showed them, which of them changed since the
//! rules were written, and the tables that are wanted. Pure: scripts out of what is known.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::family::Family;
use super::super::nft::Existing;
use super::super::watch::Change;
use super::base;
use super::health::Wanted;
use super::rules::{self, Here, UdpPort};
use super::service::Service;
use super::slice::Slice;
use super::table::Table;

/// What is known, and what is to be done about it.
#[derive(Debug)]
pub(super) struct State {
    services: BTreeMap<String, Service>,
    slices: HashMap<String, Slice>,
    /// Names of slices by Service.
    of_service: HashMap<String, BTreeSet<String>>,
    /// Whether all Services, all slices have been listed once.
    listed: (bool, bool),
    dirty: BTreeSet<String>,
    tables: [Table; 2],
    /// Whether a family has a table: it has from its first Service on.
    present: [bool; 2],
    /// Services whose rules were made since [`Self::written`].
    changed: BTreeSet<String>,
    /// UDP ports as they were when flows to others were last forgotten.
    udp: HashMap<String, Vec<UdpPort>>,
    here: Here,
}

impl State {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self {
            services: BTreeMap::new(),
            slices: HashMap::new(),
            of_service: HashMap::new(),
            listed: (false, false),
            dirty: BTreeSet::new(),
            tables: Family::ALL.map(Table::new),
            present: [false, false],
            changed: BTreeSet::new(),
            udp: HashMap::new(),
            here: Here::default(),
        }
    }

    /// Takes all Services as they are now.
    pub fn services(&mut self, all: BTreeMap<String, Service>) {
        let gone = self.services.keys().filter(|key| !all.contains_key(*key));
        let other = all.iter().filter(|(key, service)| self.services.get(*key) != Some(service));
        self.dirty.extend(gone.chain(other.map(|(key, _)| key)).cloned());
        self.services = all;
        self.listed.0 = true;
    }

    /// Takes a change of a slice.
    pub fn slice(&mut self, change: Change<Slice>) {
        match change {
            Change::Put(key, slice) => {
                if self.slices.get(&key) == Some(&slice) {
                    return;
                }
                if self.slices.get(&key).is_some_and(|known| known.service != slice.service) {
                    self.slice(Change::Gone(key.clone()));
                }
                self.dirty.insert(slice.service.clone());
                self.of_service.entry(slice.service.clone()).or_default().insert(key.clone());
                self.slices.insert(key, slice);
            }
            Change::Gone(key) => {
                let Some(slice) = self.slices.remove(&key) else { return };
                if let Some(slices) = self.of_service.get_mut(&slice.service) {
                    slices.remove(&key);
                    if slices.is_empty() {
                        self.of_service.remove(&slice.service);
                    }
                }
                self.dirty.insert(slice.service);
            }
            Change::Listed(all) => {
                let gone: Vec<_> = self.slices.keys().filter(|key| !all.contains(*key)).cloned().collect();
                gone.into_iter().for_each(|key| self.slice(Change::Gone(key)));
                self.listed.1 = true;
            }
        }
    }

    /// Takes what is known of the node; whether that changes rules of all Services.
    pub fn here(&mut self, here: Here) -> bool {
        let changed = self.here != here;
        self.here = here;
        changed
    }

    /// Whether enough is known to write rules.
    pub fn is_known(&self) -> bool {
        self.listed == (true, true)
    }

    /// Whether rules are to be written.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The script for all that changed; empty when no rule did. Then [`Self::written`] is to be called.
    pub fn update(&mut self) -> String {
        while let Some(key) = self.dirty.pop_first() {
            for index in 0..Family::ALL.len() {
                let rules = self.rules(Family::ALL[index], &key);
                let next = self.tables[index].set(&key, rules);
                self.dirty.extend(next);
            }
            self.changed.insert(key);
        }
        let scripts = Family::ALL.map(|family| match (self.present[family as usize], &self.tables[family as usize]) {
            (true, table) => table.script(),
            (false, table) if table.is_empty() => String::new(),
            (false, _) => self.rebuild(family, None),
        });
        scripts.concat()
    }

    /// The script that writes a family's whole table, taking over what exists; a family without Services
    /// has no table. Then [`Self::written`] is to be called.
    pub fn rebuild(&mut self, family: Family, existing: Option<Existing>) -> String {
        self.dirty.clear();
        let mut table = Table::new(family);
        let mut script = base::script(family, &self.here, existing.as_ref());
        if let Some(existing) = existing {
            table.adopt(base::leftovers(&existing).cloned(), existing.sets.iter().cloned());
        }
        let mut waiting: BTreeSet<_> = self.services.keys().cloned().collect();
        while let Some(key) = waiting.pop_first() {
            let next = table.set(&key, self.rules(family, &key));
            waiting.extend(next);
        }
        script.push_str(&table.script());
        let empty = table.is_empty();
        self.tables[family as usize] = table;
        self.present[family as usize] = !empty;
        self.changed.extend(self.services.keys().cloned());
        if empty { format!("add table {family} {0}\ndelete table {family} {0}\n", base::TABLE) } else { script }
    }

    fn rules(&self, family: Family, key: &str) -> rules::Rules {
        match self.services.get(key) {
            Some(service) => rules::rules(family, key, service, self.slices_of(key), &self.here),
            None => rules::Rules::default(),
        }
    }

    fn slices_of(&self, service: &str) -> impl Iterator<Item = &Slice> + Clone {
        let names = self.of_service.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get(name))
    }

    /// The scripts were run. Gives the UDP ports whose flows to others are to be forgotten.
    pub fn written(&mut self) -> Vec<UdpPort> {
        self.tables.iter_mut().for_each(Table::written);
        let mut others = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let service = self.services.get(&key);
            let ports = service.map(|service| rules::udp(service, self.slices_of(&key))).unwrap_or_default();
            if ports.is_empty() {
                self.udp.remove(&key);
            } else if self.udp.get(&key) != Some(&ports) {
                others.extend(ports.iter().cloned());
                self.udp.insert(key, ports);
            }
        }
        others
    }

    /// The families that have a table.
    pub fn families(&self) -> impl Iterator<Item = Family> + use<> {
        let present = self.present;
        Family::ALL.into_iter().filter(move |family| present[*family as usize])
    }

    /// What load balancers are to be told.
    pub fn health(&self) -> Vec<Wanted> {
        let asked = self.services.iter().filter_map(|(key, service)| Some((key, service.health_port?)));
        let wanted = asked.map(|(key, port)| {
            let here: BTreeSet<_> = self.slices_of(key).flat_map(Slice::ready_here).collect();
            Wanted { port, service: key.clone(), endpoints: here.len() }
        });
        wanted.collect()
    }

    /// The script that deletes chains out of use; empty when there are none.
    pub fn sweep(&self) -> String {
        self.tables.iter().map(Table::sweep).collect()
    }

    /// The sweeping script was run.
    pub fn swept(&mut self) {
        self.tables.iter_mut().for_each(Table::swept);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::service;
    use super::super::slice::tests::slice;
    use super::*;

    fn one(spec: &serde_json::Value) -> BTreeMap<String, Service> {
        let object = json!({"metadata": {"name": "web", "namespace": "d"}, "spec": spec});
        let service = service::reduce(&serde_json::from_value(object).unwrap()).unwrap();
        BTreeMap::from([("d/web".to_owned(), service)])
    }

    fn known() -> State {
        let mut state = State::new();
        state.services(one(
            &json!({"clusterIP": "10.96.0.9", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}),
        ));
        state.slice(Change::Put("d/web-1".into(), slice(json!([{"addresses": ["10.0.0.1"]}]))));
        assert!(!state.is_known());
        state.slice(Change::Listed(["d/web-1".to_owned()].into()));
        assert!(state.is_known());
        state
    }

    #[test]
    fn a_family_without_services_has_no_table() {
        let mut state = known();
        assert!(state.rebuild(Family::V4, None).contains("dnat to 10.0.0.1:5353"));
        assert_eq!(
            state.rebuild(Family::V6, None),
            "add table ip6 keelson-services\ndelete table ip6 keelson-services\n"
        );
        assert_eq!(state.families().collect::<Vec<_>>(), [Family::V4]);
        assert_eq!(state.written().len(), 1);
        let ports = json!([{"name": "dns", "port": 53, "protocol": "UDP"}]);
        state.services(one(&json!({"clusterIPs": ["10.96.0.9", "fd00::9"], "ports": ports})));
        let script = state.update();
        assert!(script.starts_with("add table ip6 keelson-services\ndelete table"));
        assert!(script.contains("add element ip6 keelson-services refused { fd00::9 . udp . 53 : goto refuse }"));
    }

    #[test]
    fn udp_flows_are_forgotten_when_endpoints_change() {
        let mut state = known();
        state.rebuild(Family::V4, None);
        state.written();
        state.slice(Change::Put("d/web-1".into(), slice(json!([{"addresses": ["10.0.0.2"]}]))));
        let script = state.update();
        assert!(script.contains("dnat to 10.0.0.2:5353") && !script.contains("element"));
        assert_eq!(state.written()[0].backends, ["10.0.0.2:5353".parse().unwrap()]);
        // The same again is nothing new.
        state.slice(Change::Put("d/web-1".into(), slice(json!([{"addresses": ["10.0.0.2"]}]))));
        assert!(!state.is_dirty());
        assert!(state.written().is_empty());
    }

    #[test]
    fn what_a_list_does_not_name_is_gone() {
        let mut state = known();
        state.rebuild(Family::V4, None);
        state.written();
        state.slice(Change::Listed(Default::default()));
        assert!(state.update().contains("refused { 10.96.0.9 . udp . 53 : goto refuse }"));
        state.written();
        state.services(BTreeMap::new());
        assert!(
            state
                .update()
                .contains("delete element ip keelson-services refused { 10.96.0.9 . udp . 53 : goto refuse }")
        );
    }

    #[test]
    fn load_balancers_are_told_of_endpoints_here() {
        let mut state = known();
        let ports = json!([{"name": "http", "port": 80}]);
        state.services(one(&json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": ports,
            "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000})));
        assert_eq!(state.health(), [Wanted { port: 31000, service: "d/web".into(), endpoints: 0 }]);
        let here = json!([{"addresses": ["10.0.0.1"], "nodeName": "here"}]);
        state.slice(Change::Put("d/web-1".into(), slice(here)));
        assert_eq!(state.health()[0].endpoints, 1);
    }
}
