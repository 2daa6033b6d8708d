//! Owns looking at the parts of a host that do the work: containerd, declared containers, the node.

use std::path::Path;

use anyhow::Context;
use keelson_common::node::Report as NodeReport;
use keelson_containers::declared::report::Report as Declared;
use keelson_containers::declared::step::Standing as Declaration;
use tokio::net::UnixStream;

use super::super::containers::declared_of_host;
use super::super::node::Reports;
use super::super::systemd::Systemd;
use super::Paths;
use super::checks::in_time;
use crate::health::report::{Check, Standing};

/// containerd's socket.
const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// What a node has once it has joined, below keeld's folder.
const JOINED: &str = "node/pki/client-current.pem";

/// Looks at those that this host has.
pub async fn check(systemd: &Systemd, paths: &Paths) -> Vec<Check> {
    let mut checks = Vec::new();
    if systemd.enabled("containerd.service").await {
        let connected = in_time(async { UnixStream::connect(CONTAINERD).await.context("nobody answers") }).await;
        checks.push(match connected {
            Ok(_) => Check::new("containerd", Standing::Good, "is up"),
            Err(error) => Check::new("containerd", Standing::Bad, format!("{CONTAINERD}: {error:#}")),
        });
    }
    if systemd.enabled("keelson-containers.service").await {
        let report = in_time(declared_of_host()).await;
        checks.push(match report {
            Ok(report) => declared(&report),
            Err(error) => Check::new("containers", Standing::Bad, format!("{error:#}")),
        });
    }
    if paths.node.config.exists() {
        let report = in_time(async {
            let reports = Reports::connect(&paths.node.socket).await?;
            let mut reports = reports.context("its daemon does not run; `systemctl status keelson-node` shows why")?;
            reports.next().await?.context("its daemon ended")
        });
        checks.push(match report.await {
            Ok(report) => node(&report, has_joined(&paths.state)),
            Err(error) => Check::new("node", Standing::Bad, format!("{error:#}")),
        });
    }
    checks
}

fn has_joined(state: &Path) -> bool {
    state.join(JOINED).exists()
}

fn declared(report: &Declared) -> Check {
    let wrong = report.containers.iter().filter(|row| row.standing != Declaration::Ok);
    let wrong: Vec<String> = wrong
        .map(|row| {
            let why = row.error.as_ref().or(row.waits.as_ref()).unwrap_or(&row.reason);
            format!("{} is not as declared: {why}", row.name)
        })
        .collect();
    let broken: Vec<&str> = report.broken.iter().map(|file| file.file.as_str()).collect();
    if !wrong.is_empty() {
        Check::new("containers", Standing::Bad, wrong.join("; "))
    } else if !broken.is_empty() {
        Check::new("containers", Standing::Warning, format!("cannot be used: {}", broken.join(", ")))
    } else {
        Check::new("containers", Standing::Good, format!("{} are as declared", report.containers.len()))
    }
}

/// How a node stands, as far as the host is to blame: that a cluster does not answer is no fault of the host's.
fn node(report: &NodeReport, joined_before: bool) -> Check {
    let said = |report: &NodeReport| report.problem.clone().or_else(|| report.message.clone()).unwrap_or_default();
    match (report.state.as_str(), report.ready) {
        ("joined", Some(true)) => Check::new("node", Standing::Good, format!("{} is ready", report.name)),
        ("joined", Some(false)) => Check::new("node", Standing::Bad, format!("is not ready: {}", said(report))),
        ("joined", None) => Check::new("node", Standing::Warning, "the cluster does not say whether it is ready"),
        _ if joined_before => Check::new("node", Standing::Bad, format!("does not come back: {}", said(report))),
        _ => Check::new("node", Standing::Warning, format!("has not joined its cluster yet: {}", said(report))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn how_a_node_stands() {
        let report =
            |state: &str, ready: Option<bool>| NodeReport { state: state.into(), ready, ..NodeReport::default() };
        let standing = |state: &str, ready, before| node(&report(state, ready), before).standing;
        assert_eq!(standing("joined", Some(true), true), Standing::Good);
        assert_eq!(standing("joined", Some(false), true), Standing::Bad);
        assert_eq!(standing("joined", None, true), Standing::Warning);
        assert_eq!(standing("joining", None, true), Standing::Bad);
        assert_eq!(standing("joining", None, false), Standing::Warning);
    }

    #[test]
    fn how_declared_containers_stand() {
        let row = |standing: &str| {
            json!({ "name": "web", "file": "web.toml", "standing": standing, "action": "keep", "reason": "it runs",
                "waits": null, "id": null, "image": "web:1", "digest": null, "health": null, "update": null,
                "error": "no such image" })
        };
        let report = |rows: Vec<serde_json::Value>, broken: serde_json::Value| {
            let report: Declared = serde_json::from_value(json!({ "containers": rows, "broken": broken })).unwrap();
            declared(&report)
        };
        assert_eq!(report(vec![row("ok")], json!([])).standing, Standing::Good);
        let bad = report(vec![row("ok"), row("failed")], json!([]));
        assert_eq!((bad.standing, bad.message.as_str()), (Standing::Bad, "web is not as declared: no such image"));
        let broken = json!([{ "file": "x.toml", "problems": ["x.toml:1:1: no"] }]);
        assert_eq!(report(vec![], broken).standing, Standing::Warning);
    }
}
