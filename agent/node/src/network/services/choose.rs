//! Owns the choice among the endpoints of a Service's port: which take its traffic on this node. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::slice::State;

/// Where this node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The node's name.
    pub node: String,
    /// Its zone; empty when unknown.
    pub zone: String,
}

/// Endpoints to choose from: one state an address.
pub(super) type Endpoints<'a> = BTreeMap<SocketAddr, &'a State>;

/// The endpoints that take traffic.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Those for traffic that may go to any node.
    pub cluster: Vec<SocketAddr>,
    /// Those for traffic that is to stay on this node.
    pub local: Vec<SocketAddr>,
    /// Whether there are any in the cluster, though maybe none for this node.
    pub anywhere: bool,
}

/// Merges the same address in several slices: the one that is ready counts.
pub(super) fn merged<'a>(all: impl Iterator<Item = (SocketAddr, &'a State)>) -> Endpoints<'a> {
    let mut endpoints = Endpoints::new();
    for (address, state) in all {
        let known = endpoints.entry(address).or_insert(state);
        if state.ready && !known.ready {
            *known = state;
        }
    }
    endpoints
}

/// Chooses those that are ready and meant for this node or zone. When none is ready, those that still
/// answer on their way out are better than nothing; on this node and in the cluster separately.
pub(super) fn choose(endpoints: &Endpoints<'_>, place: &Place) -> Chosen {
    let hinted = hinted(endpoints, place);
    let ready = usable(endpoints, |state| state.ready);
    let cluster = match hinted {
        None => ready,
        Some(hint) => usable(endpoints, |state| state.ready && hint.fits(state, place)),
    };
    let leaving = |state: &State| state.serving && state.terminating;
    let cluster = first(cluster, || usable(endpoints, leaving));
    let local = usable(endpoints, |state| state.ready && state.local);
    let local = first(local, || usable(endpoints, |state| leaving(state) && state.local));
    let anywhere = !cluster.is_empty();
    Chosen { cluster, local, anywhere }
}

fn usable(endpoints: &Endpoints<'_>, test: impl Fn(&State) -> bool) -> Vec<SocketAddr> {
    endpoints.iter().filter(|(_, state)| test(state)).map(|(address, _)| *address).collect()
}

fn first(some: Vec<SocketAddr>, others: impl FnOnce() -> Vec<SocketAddr>) -> Vec<SocketAddr> {
    if some.is_empty() { others() } else { some }
}

#[derive(Debug, Clone, Copy)]
enum Hint {
    Node,
    Zone,
}

impl Hint {
    fn given(self, state: &State) -> &[String] {
        match (self, &state.hints) {
            (Self::Node, Some(hints)) => &hints.nodes,
            (Self::Zone, Some(hints)) => &hints.zones,
            (_, None) => &[],
        }
    }

    fn fits(self, state: &State, place: &Place) -> bool {
        let own = match self {
            Self::Node => &place.node,
            Self::Zone => &place.zone,
        };
        !own.is_empty() && self.given(state).contains(own)
    }
}

/// Which hints to follow: only such that every ready endpoint has and that some fulfil here.
fn hinted(endpoints: &Endpoints<'_>, place: &Place) -> Option<Hint> {
    [Hint::Node, Hint::Zone].into_iter().find(|hint| {
        let mut ready = endpoints.values().filter(|state| state.ready);
        let all = ready.clone().all(|state| !hint.given(state).is_empty());
        all && ready.any(|state| hint.fits(state, place))
    })
}

#[cfg(test)]
mod tests {
    use super::super::slice::Hints;
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    fn place() -> Place {
        Place { node: "here".into(), zone: "a".into() }
    }

    fn ready(local: bool) -> State {
        State { ready: true, serving: true, local, ..State::default() }
    }

    fn leaving(local: bool) -> State {
        State { serving: true, terminating: true, local, ..State::default() }
    }

    fn chosen(states: &[State]) -> (Vec<u16>, Vec<u16>, bool) {
        let numbered = states.iter().enumerate().map(|(index, state)| {
            let number = u8::try_from(index + 1).unwrap();
            (address(number), state)
        });
        let Chosen { cluster, local, anywhere } = choose(&merged(numbered), &place());
        let last = |all: Vec<SocketAddr>| {
            all.iter()
                .map(|at| match at.ip() {
                    std::net::IpAddr::V4(ip) => u16::from(ip.octets()[3]),
                    std::net::IpAddr::V6(_) => 0,
                })
                .collect()
        };
        (last(cluster), last(local), anywhere)
    }

    #[test]
    fn ready_ones_are_chosen() {
        assert_eq!(chosen(&[ready(false), ready(true), leaving(true), State::default()]), (vec![1, 2], vec![2], true));
        assert_eq!(chosen(&[]), (vec![], vec![], false));
        assert_eq!(chosen(&[State::default()]), (vec![], vec![], false));
    }

    #[test]
    fn those_on_their_way_out_are_chosen_when_none_is_ready() {
        assert_eq!(chosen(&[leaving(false), leaving(true)]), (vec![1, 2], vec![2], true));
        assert_eq!(chosen(&[ready(false), leaving(true)]), (vec![1], vec![2], true));
    }

    #[test]
    fn hints_are_followed_when_all_have_them_and_some_fit() {
        let hinting = |zone: &str, node: Option<&str>| State {
            hints: Some(Box::new(Hints {
                zones: vec![zone.into()],
                nodes: node.map(str::to_owned).into_iter().collect(),
            })),
            ..ready(false)
        };
        assert_eq!(chosen(&[hinting("a", None), hinting("b", None)]).0, [1]);
        assert_eq!(chosen(&[hinting("b", None), hinting("c", None)]).0, [1, 2]);
        assert_eq!(chosen(&[hinting("a", None), ready(false)]).0, [1, 2]);
        assert_eq!(chosen(&[hinting("a", Some("there")), hinting("b", Some("here"))]).0, [2]);
    }

    #[test]
    fn of_two_states_the_ready_one_counts() {
        let (gone, here) = (State::default(), ready(true));
        let both = merged([(address(1), &here), (address(1), &gone)].into_iter());
        assert!(both[&address(1)].ready);
        let both = merged([(address(1), &gone), (address(1), &here)].into_iter());
        assert!(both[&address(1)].ready);
    }
}
