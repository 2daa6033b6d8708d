//! Owns where requests go: from a method and a path to a [`Route`]. Pure.

use hyper::{Method, StatusCode};

/// A pod, or a container in one, as an address names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub uid: Option<&'a str>,
    /// Empty where only a pod is named.
    pub container: &'a str,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Healthz,
    SyncLoop,
    Pods,
    RunningPods,
    Configz,
    Summary,
    Metrics,
    MetricsResource,
    MetricsCadvisor,
    MetricsProbes,
    ContainerLogs(Named<'a>),
    Run(Named<'a>),
    Exec(Named<'a>),
    Attach(Named<'a>),
    PortForward(Named<'a>),
    /// A file below /var/log; a folder ends with `/`.
    Files(&'a str),
}

impl<'a> Route<'a> {
    /// What a request is for, or how it is refused.
    pub fn of(method: &Method, path: &'a str) -> Result<Self, StatusCode> {
        let route = Self::by_path(path).ok_or(StatusCode::NOT_FOUND)?;
        let read = *method == Method::GET || *method == Method::HEAD;
        let allowed = match route {
            Self::Exec(_) | Self::Attach(_) | Self::PortForward(_) | Self::Summary => read || *method == Method::POST,
            Self::Run(_) => *method == Method::POST,
            _ => read,
        };
        if allowed { Ok(route) } else { Err(StatusCode::METHOD_NOT_ALLOWED) }
    }

    fn by_path(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix('/')?;
        if let Some(file) = rest.strip_prefix("logs/") {
            return Some(Self::Files(file));
        }
        let segments: Vec<_> = rest.strip_suffix('/').unwrap_or(rest).split('/').collect();
        Some(match segments[..] {
            ["logs"] => Self::Files(""),
            ["healthz"] | ["healthz", "ping" | "log"] => Self::Healthz,
            ["healthz", "syncloop"] => Self::SyncLoop,
            ["pods"] => Self::Pods,
            ["runningpods"] => Self::RunningPods,
            ["configz"] => Self::Configz,
            ["stats", "summary"] => Self::Summary,
            ["metrics"] => Self::Metrics,
            ["metrics", "resource"] => Self::MetricsResource,
            ["metrics", "cadvisor"] => Self::MetricsCadvisor,
            ["metrics", "probes"] => Self::MetricsProbes,
            ["containerLogs", namespace, pod, container] => {
                Self::ContainerLogs(named([namespace, pod, container], None)?)
            }
            ["portForward", namespace, pod] => Self::PortForward(Named { namespace, pod, uid: None, container: "" }),
            ["portForward", namespace, pod, uid] => {
                Self::PortForward(Named { namespace, pod, uid: Some(uid), container: "" })
            }
            [act, namespace, pod, container] => Self::act(act, named([namespace, pod, container], None)?)?,
            [act, namespace, pod, uid, container] => Self::act(act, named([namespace, pod, container], Some(uid))?)?,
            _ => return None,
        })
    }

    fn act(act: &str, named: Named<'a>) -> Option<Self> {
        match act {
            "exec" => Some(Self::Exec(named)),
            "attach" => Some(Self::Attach(named)),
            "run" => Some(Self::Run(named)),
            _ => None,
        }
    }

    /// What metrics call it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Healthz | Self::SyncLoop => "healthz",
            Self::Pods => "pods",
            Self::RunningPods => "runningpods",
            Self::Configz => "configz",
            Self::Summary => "stats",
            Self::Metrics => "metrics",
            Self::MetricsResource => "metrics/resource",
            Self::MetricsCadvisor => "metrics/cadvisor",
            Self::MetricsProbes => "metrics/probes",
            Self::ContainerLogs(_) => "containerLogs",
            Self::Run(_) => "run",
            Self::Exec(_) => "exec",
            Self::Attach(_) => "attach",
            Self::PortForward(_) => "portForward",
            Self::Files(_) => "logs",
        }
    }

    /// Whether it lasts as long as a person wants.
    pub fn is_long(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::Attach(_) | Self::PortForward(_))
    }
}

fn named<'a>([namespace, pod, container]: [&'a str; 3], uid: Option<&'a str>) -> Option<Named<'a>> {
    let there = [namespace, pod, container].iter().all(|name| !name.is_empty());
    there.then_some(Named { namespace, pod, uid, container })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_should() {
        let c = Named { namespace: "n", pod: "p", uid: None, container: "c" };
        let with_uid = Named { uid: Some("u"), ..c };
        let pod = Named { container: "", ..c };
        for (path, expected) in [
            ("/healthz", Route::Healthz),
            ("/healthz/ping", Route::Healthz),
            ("/healthz/syncloop", Route::SyncLoop),
            ("/pods", Route::Pods),
            ("/pods/", Route::Pods),
            ("/runningpods/", Route::RunningPods),
            ("/stats/summary", Route::Summary),
            ("/metrics/resource", Route::MetricsResource),
            ("/containerLogs/n/p/c", Route::ContainerLogs(c)),
            ("/exec/n/p/c", Route::Exec(c)),
            ("/exec/n/p/u/c", Route::Exec(with_uid)),
            ("/attach/n/p/u/c", Route::Attach(with_uid)),
            ("/portForward/n/p", Route::PortForward(pod)),
            ("/portForward/n/p/u", Route::PortForward(Named { uid: Some("u"), ..pod })),
            ("/logs", Route::Files("")),
            ("/logs/", Route::Files("")),
            ("/logs/a/b/", Route::Files("a/b/")),
        ] {
            assert_eq!(Route::of(&Method::GET, path), Ok(expected), "{path}");
        }
        assert_eq!(Route::of(&Method::POST, "/run/n/p/c"), Ok(Route::Run(c)));
        assert_eq!(Route::of(&Method::POST, "/exec/n/p/c"), Ok(Route::Exec(c)));
    }

    #[test]
    fn other_paths_lead_nowhere() {
        for path in ["", "/", "/stats/../pods", "/exec/n//c", "/checkpoint/n/p/c", "/exec/n/p", "/healthz/x", "/pods/x"] {
            assert_eq!(Route::of(&Method::GET, path), Err(StatusCode::NOT_FOUND), "{path}");
        }
    }

    #[test]
    fn methods_have_to_fit() {
        for (method, path) in [(Method::POST, "/pods"), (Method::GET, "/run/n/p/c"), (Method::DELETE, "/exec/n/p/c")] {
            assert_eq!(Route::of(&method, path), Err(StatusCode::METHOD_NOT_ALLOWED), "{path}");
        }
    }
}
