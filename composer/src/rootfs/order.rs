//! Owns which packages form the lower layer and which the upper: a pure function of the packages
//! and of what the manifest asks for, so that a compose with a cold cache and one with a warm cache
//! do the same steps.
//!
//! The lower layer holds the essential packages and every requested package that brings many
//! others along, with all they depend on. The upper holds the rest: small leaves, and packages
//! from local folders, which change most often. Adding, upgrading or removing a leaf leaves the
//! lower layer as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::deb::control::Control;

/// A requested package that needs this many others beyond the essential ones is not a leaf.
const HEAVY: usize = 8;

/// A package as seen by the ordering.
#[derive(Debug)]
pub struct Node<'a> {
    /// Its control data.
    pub control: &'a Control,
    /// Whether the manifest names it.
    pub requested: bool,
    /// Whether it comes from a local folder.
    pub local: bool,
}

/// Indexes of the packages of the lower layer, ascending. It is closed under dependencies.
pub fn lower(nodes: &[Node<'_>]) -> BTreeSet<usize> {
    let graph = Graph::new(nodes);
    let mut chosen = BTreeSet::new();
    for (index, node) in nodes.iter().enumerate() {
        if node.control.essential {
            graph.close(index, &mut chosen);
        }
    }
    let base = chosen.clone();
    for (index, node) in nodes.iter().enumerate() {
        if !node.requested || node.local || base.contains(&index) {
            continue;
        }
        let mut closure = base.clone();
        graph.close(index, &mut closure);
        if closure.len() - base.len() > HEAVY {
            chosen.append(&mut closure);
        }
    }
    chosen
}

struct Graph<'a> {
    nodes: &'a [Node<'a>],
    names: BTreeMap<&'a str, usize>,
    providers: BTreeMap<&'a str, usize>,
}

impl<'a> Graph<'a> {
    fn new(nodes: &'a [Node<'a>]) -> Self {
        let mut names = BTreeMap::new();
        let mut providers = BTreeMap::new();
        for (index, node) in nodes.iter().enumerate() {
            names.insert(node.control.name.as_str(), index);
            for provided in &node.control.provides {
                providers.entry(provided.as_str()).or_insert(index);
            }
        }
        Self { nodes, names, providers }
    }

    /// Adds a package and all it depends on to `into`.
    fn close(&self, index: usize, into: &mut BTreeSet<usize>) {
        let mut todo = vec![index];
        while let Some(index) = todo.pop() {
            if into.insert(index) {
                todo.extend(self.nodes[index].control.depends.iter().filter_map(|group| self.satisfier(group)));
            }
        }
    }

    /// The package of the set that satisfies a dependency: the first alternative that is there.
    fn satisfier(&self, alternatives: &[String]) -> Option<usize> {
        let real = alternatives.iter().find_map(|name| self.names.get(name.as_str()));
        real.or_else(|| alternatives.iter().find_map(|name| self.providers.get(name.as_str()))).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(name: &str, depends: &[&str], essential: bool) -> Control {
        let essential = if essential { "Essential: yes\n" } else { "" };
        let depends = if depends.is_empty() { String::new() } else { format!("Depends: {}\n", depends.join(", ")) };
        Control::parse(&format!("Package: {name}\nVersion: 1\nArchitecture: all\n{essential}{depends}")).unwrap()
    }

    fn names(controls: &[Control], requested: &[&str]) -> Vec<String> {
        let nodes: Vec<Node<'_>> = controls
            .iter()
            .map(|control| Node { control, requested: requested.contains(&control.name.as_str()), local: false })
            .collect();
        lower(&nodes).into_iter().map(|index| controls[index].name.clone()).collect()
    }

    #[test]
    fn leaves_stay_out_and_heavy_packages_come_with_their_dependencies() {
        let mut controls = vec![control("base", &["libc"], true), control("libc", &[], false)];
        let libs: Vec<String> = (0..12).map(|n| format!("lib{n}")).collect();
        let all: Vec<&str> = libs.iter().map(String::as_str).collect();
        controls.extend(libs.iter().map(|name| control(name, &["libc"], false)));
        controls.push(control("big", &all, false));
        controls.push(control("leaf", &["lib0", "libleaf | lib1"], false));
        controls.push(control("libleaf", &[], false));
        let lower = names(&controls, &["big", "leaf"]);
        assert!(lower.contains(&"big".to_owned()) && lower.contains(&"lib11".to_owned()));
        assert!(!lower.contains(&"leaf".to_owned()) && !lower.contains(&"libleaf".to_owned()));
    }
}
