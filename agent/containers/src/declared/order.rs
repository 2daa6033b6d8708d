//! Owns in which order containers are started: each after what it waits for; what waits for itself
//! by way of others is found and named.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Declaration;

/// Containers in their order.
#[derive(Debug)]
pub struct Order<'a> {
    /// Each after all that it waits for; those of circles, and behind circles, last.
    pub sorted: Vec<&'a Declaration>,
    /// By name, those that wait for themselves: the way around, `a -> b -> a`.
    pub circles: BTreeMap<String, String>,
}

/// Sorts by `after` and `requires`; names of which there is no container mean nothing here.
pub fn order<'a>(containers: &[&'a Declaration]) -> Order<'a> {
    let names: BTreeSet<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    let mut open: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in containers {
        open.insert(&container.name, waits_for(container).filter(|name| names.contains(name)).collect());
    }
    let mut sorted: Vec<&Declaration> = Vec::with_capacity(containers.len());
    let find = |name: &str| containers.iter().find(|container| container.name == name).copied();
    while let Some(next) = open.iter().find(|(_, waits)| waits.is_empty()).map(|(name, _)| *name) {
        open.remove(next);
        for waits in open.values_mut() {
            waits.remove(next);
        }
        sorted.extend(find(next));
    }
    sorted.extend(open.keys().filter_map(|name| find(name)));
    let circles = open.keys().filter_map(|name| Some((name.to_string(), way_around(name, &open)?))).collect();
    Order { sorted, circles }
}

/// All that a container waits for.
pub fn waits_for(container: &Declaration) -> impl Iterator<Item = &str> {
    container.after.iter().chain(container.requires.keys()).map(String::as_str)
}

/// The shortest way from a container back to itself.
fn way_around(start: &str, open: &BTreeMap<&str, BTreeSet<&str>>) -> Option<String> {
    let mut ways = std::collections::VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way.last().copied().unwrap_or_default();
        for next in open.get(last).into_iter().flatten() {
            let mut longer = way.clone();
            longer.push(next);
            if *next == start {
                return Some(longer.join(" -> "));
            }
            if seen.insert(*next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::declaration;
    use super::*;

    fn sorted(all: &[Declaration]) -> (Vec<String>, BTreeMap<String, String>) {
        let order = order(&all.iter().collect::<Vec<_>>());
        (order.sorted.iter().map(|container| container.name.clone()).collect(), order.circles)
    }

    #[test]
    fn each_comes_after_what_it_waits_for() {
        let all = [
            declaration("app", "requires = { db = 'healthy' }\nafter = ['log', 'nowhere']"),
            declaration("db", "after = ['log']"),
            declaration("log", ""),
            declaration("a0", ""),
        ];
        let (names, circles) = sorted(&all);
        assert_eq!(names, ["a0", "log", "db", "app"]);
        assert!(circles.is_empty());
    }

    #[test]
    fn circles_are_named_and_what_is_behind_them_is_not_in_them() {
        let all = [
            declaration("aa", "after = ['bb']"),
            declaration("bb", "requires = { cc = 'started' }"),
            declaration("cc", "after = ['aa']"),
            declaration("behind", "after = ['aa']"),
            declaration("free", ""),
        ];
        let (names, circles) = sorted(&all);
        assert_eq!(names[0], "free");
        assert_eq!(circles["aa"], "aa -> bb -> cc -> aa");
        assert_eq!(circles["cc"], "cc -> aa -> bb -> cc");
        assert!(!circles.contains_key("behind") && !circles.contains_key("free"));
    }
}
