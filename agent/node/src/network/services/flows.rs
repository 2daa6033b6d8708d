//! Owns forgetting UDP flows that still go to an endpoint that is gone, or that began before a Service
//! had any: without connections, nothing else ever ends them while their client goes on sending.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use keelson_common::command;
use tokio::process::Command;

use super::super::family::Family;
use super::rules::UdpPort;

const PATIENCE: Duration = Duration::from_secs(30);

/// All flows between one frontend and whoever answered for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Flows {
    /// What clients sent to.
    sent_to: SocketAddr,
    /// Who answered, or would have.
    answers: SocketAddr,
}

/// Forgets the flows of these ports that do not go to one of their backends.
pub(super) async fn forget(ports: &[UdpPort]) {
    if ports.is_empty() {
        return;
    }
    for family in Family::ALL {
        if let Err(error) = forget_family(ports, family).await {
            tracing::warn!(error, "cannot forget UDP flows to endpoints that are gone");
        }
    }
}

async fn forget_family(ports: &[UdpPort], family: Family) -> Result<(), String> {
    let relevant = |port: &UdpPort| port.frontends.iter().any(|at| Family::of(at.ip()) == family);
    let ports: Vec<_> = ports.iter().filter(|port| relevant(port) && !port.backends.is_empty()).collect();
    if ports.is_empty() {
        return Ok(());
    }
    let kind = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let listing = conntrack(&["-L", "-p", "udp", "-f", kind]).await?;
    for Flows { sent_to, answers } in stale(&listing, &ports) {
        let (to, to_port) = (sent_to.ip().to_string(), sent_to.port().to_string());
        let (from, from_port) = (answers.ip().to_string(), answers.port().to_string());
        tracing::debug!(%sent_to, %answers, "forget UDP flows");
        // Fails when they have just ended by themselves.
        let which =
            ["--orig-dst", &to, "--orig-port-dst", &to_port, "--reply-src", &from, "--reply-port-src", &from_port];
        let _ = conntrack(&[&["-D", "-p", "udp", "-f", kind], &which[..]].concat()).await;
    }
    Ok(())
}

async fn conntrack(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("conntrack");
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.map_err(|_| "conntrack does not end".to_owned())?;
    let output = output.map_err(|error| format!("cannot run conntrack (Debian: conntrack): {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(command::tail(&output.stderr).trim_end().to_owned())
}

/// The flows that are to be forgotten, from a listing with a line a flow.
fn stale(listing: &str, ports: &[&UdpPort]) -> BTreeSet<Flows> {
    let flows = listing.lines().filter_map(parse);
    flows.filter(|flow| ports.iter().any(|port| is_for(flow, port) && !port.backends.contains(&flow.answers))).collect()
}

fn is_for(flow: &Flows, port: &UdpPort) -> bool {
    port.frontends.contains(&flow.sent_to) || port.node_port == Some(flow.sent_to.port())
}

/// A line has the original direction first, then what answers look like.
fn parse(line: &str) -> Option<Flows> {
    let values = |name: &'static str| line.split_whitespace().filter_map(move |field| field.strip_prefix(name));
    let destination: IpAddr = values("dst=").next()?.parse().ok()?;
    let destination_port = values("dport=").next()?.parse().ok()?;
    let answering: IpAddr = values("src=").nth(1)?.parse().ok()?;
    let answering_port = values("sport=").nth(1)?.parse().ok()?;
    Some(Flows {
        sent_to: SocketAddr::new(destination, destination_port),
        answers: SocketAddr::new(answering, answering_port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
udp      17 28 src=10.1.0.1 dst=10.96.0.10 sport=39000 dport=53 src=10.244.0.3 dst=10.1.0.1 sport=5353 dport=39000 mark=0 use=1
udp      17 28 src=10.1.0.1 dst=10.96.0.10 sport=39001 dport=53 [UNREPLIED] src=10.244.0.4 dst=10.1.0.1 sport=5353 dport=39001 mark=0 use=1
udp      17 28 src=10.1.0.1 dst=10.96.0.10 sport=39002 dport=53 [UNREPLIED] src=10.244.0.4 dst=10.1.0.1 sport=5353 dport=39002 mark=0 use=1
udp      17 28 src=10.1.0.1 dst=192.0.2.1 sport=39001 dport=30053 src=192.0.2.1 dst=10.1.0.1 sport=30053 dport=39001 [ASSURED] mark=0 use=1
udp      17 28 src=10.1.0.1 dst=9.9.9.9 sport=39001 dport=53 src=9.9.9.9 dst=10.1.0.1 sport=53 dport=39001 mark=0 use=1
";

    #[test]
    fn flows_to_those_who_are_gone_or_to_nobody_are_stale() {
        let port = UdpPort {
            frontends: vec!["10.96.0.10:53".parse().unwrap()],
            node_port: Some(30053),
            backends: vec!["10.244.0.3:5353".parse().unwrap()],
        };
        let flows = |to: &str, from: &str| Flows { sent_to: to.parse().unwrap(), answers: from.parse().unwrap() };
        let expected =
            BTreeSet::from([flows("10.96.0.10:53", "10.244.0.4:5353"), flows("192.0.2.1:30053", "192.0.2.1:30053")]);
        assert_eq!(stale(LISTING, &[&port]), expected);
    }
}
