//! `keelctl node status`.

use keelson_common::node::Report;
use std::fmt::Write;

use super::super::print;
use super::Places;
use super::socket::Reports;

/// Show whether this host is a node of a cluster, and how it stands
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows the cluster that this host is a node of, whether the cluster takes the node for ready and why \
        not, until when its certificates hold, and how many pods it has; where the host has not joined yet, what is in \
        the way. Needs no privilege.",
    after_help = "Examples:\n  keelctl node status\n  keelctl node status --json | jq -r .ready\n\n\
        Exit status: 0 also when the node is not ready."
)]
pub struct Args {
    #[command(flatten)]
    places: Places,
}

/// Runs the verb.
pub async fn run(args: &Args, json: bool) -> anyhow::Result<()> {
    let report = match Reports::connect(&args.places.socket).await? {
        Some(mut reports) => reports.next().await?,
        None => None,
    };
    let report = report.unwrap_or_else(|| {
        let state = if args.places.config.exists() { "stopped" } else { "absent" };
        Report { state: state.to_owned(), ..Report::default() }
    });
    if json { print::document(&report) } else { print::line(&text(&report)) }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<12} {value}");
    };
    match report.state.as_str() {
        "absent" => return "This host is no node of a cluster; `keelctl join` makes it one.".to_owned(),
        "stopped" => {
            return "This host is a node, but its daemon does not run; `systemctl status keelson-node` shows why."
                .to_owned();
        }
        _ => {}
    }
    row("Node", &report.name);
    row("Cluster", &report.server);
    row("Addresses", &report.addresses.join(", "));
    if report.state == "joining" {
        row("Joined", "not yet");
        if let Some(problem) = &report.problem {
            row("Problem", problem);
        }
        return out;
    }
    row("Ready", &ready(report));
    row("Pods", &report.pods.to_string());
    if let Some(certificate) = &report.certificate {
        row("Certificate", &format!("until {}", certificate.not_after));
    }
    let serving = report.serving_certificate.as_ref();
    let serving = serving.map_or_else(
        || "self-signed, until the cluster signs one".to_owned(),
        |certificate| format!("until {}", certificate.not_after),
    );
    row("Serving", &serving);
    row("Version", &report.version);
    out
}

fn ready(report: &Report) -> String {
    let word = match report.ready {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let cordoned = if report.cordoned { ", cordoned" } else { "" };
    let why = report.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    format!("{word}{cordoned}{why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelson_common::node::Lasting;

    #[test]
    fn how_a_node_stands() {
        let report = |state: &str| Report { state: state.into(), name: "one".into(), ..Report::default() };
        assert!(text(&report("absent")).contains("keelctl join"));
        let joining = Report { problem: Some("the cluster knows no token".into()), ..report("joining") };
        assert!(text(&joining).contains("Problem      the cluster knows no token\n"));
        let joined = Report {
            ready: Some(false),
            cordoned: true,
            message: Some("no network".into()),
            certificate: Some(Lasting { not_after: "2027-01-01T00:00:00Z".into(), ..Lasting::default() }),
            ..report("joined")
        };
        let text = text(&joined);
        assert!(text.contains("Ready        no, cordoned: no network\n"), "{text}");
        assert!(text.contains("until 2027") && text.contains("self-signed"), "{text}");
    }
}
