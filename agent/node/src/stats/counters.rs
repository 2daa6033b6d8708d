//! Owns what the node counts of itself: a small registry that every part adds to by name, and that
//! /metrics shows.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::text::Text;

/// Something that is counted: a counter's name and help.
#[derive(Debug)]
pub struct Counter {
    name: &'static str,
    help: &'static str,
}

/// Something whose duration is counted: a histogram's name, help and bounds in seconds.
#[derive(Debug)]
pub struct Histogram {
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
}

/// Requests to the kubelet API: `method`, `path`, `server_type`, `long_running`.
pub static HTTP_REQUESTS: Counter = Counter {
    name: "kubelet_http_requests_total",
    help: "Number of the http requests received since the server started",
};
/// How long they took.
pub static HTTP_DURATION: Histogram = Histogram {
    name: "kubelet_http_requests_duration_seconds",
    help: "Duration in seconds to serve http requests",
    bounds: &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
};
/// Pods that got a sandbox.
pub static STARTED_PODS: Counter =
    Counter { name: "kubelet_started_pods_total", help: "Cumulative number of pods started" };
/// Pods that got none: `code`.
pub static STARTED_PODS_ERRORS: Counter =
    Counter { name: "kubelet_started_pods_errors_total", help: "Cumulative number of errors when starting pods" };
/// Containers: `container_type`.
pub static STARTED_CONTAINERS: Counter =
    Counter { name: "kubelet_started_containers_total", help: "Cumulative number of containers started" };
/// Containers that could not be started: `code`, `container_type`.
pub static STARTED_CONTAINERS_ERRORS: Counter = Counter {
    name: "kubelet_started_containers_errors_total",
    help: "Cumulative number of errors when starting containers",
};
/// From when a pod was seen first until it was seen running, without images and init containers.
pub static POD_START_SLI: Histogram = Histogram {
    name: "kubelet_pod_start_sli_duration_seconds",
    help: "Duration in seconds to start a pod, excluding time to pull images and run init containers",
    bounds: START,
};
/// The same with everything.
pub static POD_START: Histogram = Histogram {
    name: "kubelet_pod_start_total_duration_seconds",
    help: "Duration in seconds to start a pod since creation, including time to pull images",
    bounds: START,
};
/// Pods ended because the node ran out of something: `eviction_signal`.
pub static EVICTIONS: Counter =
    Counter { name: "kubelet_evictions", help: "Cumulative number of pod evictions by eviction signal" };

const START: &[f64] = &[0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];

type Labels = Vec<(&'static str, String)>;

/// What was counted.
#[derive(Debug, Default)]
struct Registry {
    counters: BTreeMap<(&'static str, Labels), (u64, &'static str)>,
    histograms: BTreeMap<(&'static str, Labels), (Series, &'static Histogram)>,
}

/// One histogram: how many were within each bound, how many in all, their sum.
#[derive(Debug, Clone, Default, PartialEq)]
struct Series {
    within: Vec<u64>,
    count: u64,
    sum: f64,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { counters: BTreeMap::new(), histograms: BTreeMap::new() });

impl Counter {
    /// Counts one. Labels must be few: each set of values is kept for good.
    pub fn count(&self, labels: &[(&'static str, &str)]) {
        with(|registry| registry.count(self, labels));
    }
}

impl Histogram {
    /// Counts one that took so long.
    pub fn observe(&'static self, labels: &[(&'static str, &str)], duration: Duration) {
        with(|registry| registry.observe(self, labels, duration));
    }
}

/// Writes all that was counted.
pub(super) fn render(text: &mut Text) {
    with(|registry| registry.render(text));
}

fn with(act: impl FnOnce(&mut Registry)) {
    act(&mut REGISTRY.lock().unwrap_or_else(PoisonError::into_inner));
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

impl Registry {
    fn count(&mut self, counter: &Counter, labels: &[(&'static str, &str)]) {
        self.counters.entry((counter.name, owned(labels))).or_insert((0, counter.help)).0 += 1;
    }

    fn observe(&mut self, histogram: &'static Histogram, labels: &[(&'static str, &str)], duration: Duration) {
        let new = || (Series { within: vec![0; histogram.bounds.len()], ..Default::default() }, histogram);
        let (series, _) = self.histograms.entry((histogram.name, owned(labels))).or_insert_with(new);
        let seconds = duration.as_secs_f64();
        series.count += 1;
        series.sum += seconds;
        let bounds = histogram.bounds.iter().zip(&mut series.within);
        bounds.filter(|(bound, _)| seconds <= **bound).for_each(|(_, within)| *within += 1);
    }

    fn render(&self, text: &mut Text) {
        let mut series = self.counters.iter().peekable();
        while let Some(((name, _), (_, help))) = series.peek().copied() {
            let mut family = text.family(name, "counter", help);
            while let Some(((_, labels), (value, _))) = series.next_if(|((found, _), _)| found == name) {
                family.sample(&borrowed(labels), value);
            }
        }
        let mut series = self.histograms.iter().peekable();
        while let Some(((name, _), (_, histogram))) = series.peek().copied() {
            let mut family = text.family(name, "histogram", histogram.help);
            while let Some(((_, labels), (series, _))) = series.next_if(|((found, _), _)| found == name) {
                let labels = borrowed(labels);
                let bounds = histogram.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
                for (bound, within) in bounds.zip(series.within.iter().chain([&series.count])) {
                    let labels: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
                    family.part("_bucket", &labels, within);
                }
                family.part("_sum", &labels, series.sum);
                family.part("_count", &labels, series.count);
            }
        }
    }
}

fn borrowed(labels: &Labels) -> Vec<(&str, &str)> {
    labels.iter().map(|(name, value)| (*name, &**value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown() {
        static TOOK: Histogram = Histogram { name: "took", help: "How long.", bounds: &[0.5, 1.0] };
        let counter = Counter { name: "came", help: "How many." };
        let mut registry = Registry::default();
        registry.count(&counter, &[("who", "b")]);
        registry.count(&counter, &[("who", "a")]);
        registry.count(&counter, &[("who", "b")]);
        registry.observe(&TOOK, &[], Duration::from_millis(750));
        registry.observe(&TOOK, &[], Duration::from_millis(1500));
        let mut text = Text::default();
        registry.render(&mut text);
        let expected = "\
# HELP came How many.\n# TYPE came counter\ncame{who=\"a\"} 1\ncame{who=\"b\"} 2\n\
# HELP took How long.\n# TYPE took histogram\ntook_bucket{le=\"0.5\"} 0\ntook_bucket{le=\"1\"} 1\n\
took_bucket{le=\"+Inf\"} 2\ntook_sum 2.25\ntook_count 2\n";
        assert_eq!(text.finish(), expected);
    }
}
