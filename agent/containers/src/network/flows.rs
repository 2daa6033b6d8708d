//! Owns what the kernel remembers of UDP flows to published ports. A client that goes on sending
//! keeps its flow alive for ever, to a container that is gone, or to none because it was early; so
//! flows are forgotten whenever a UDP port is published or no longer is. TCP begins anew by itself.

use std::process::Stdio;

use tokio::process::Command;

use super::ports::Protocol;
use super::rules::Forward;

/// Forgets the flows to those of `forwards` that are UDP. Best effort: without Debian's `conntrack`
/// they end by themselves once a client pauses for two minutes.
pub(super) async fn forget(forwards: &[Forward]) {
    for words in forwards.iter().filter_map(deletion) {
        let run = Command::new("conntrack").args(&words).stdin(Stdio::null()).output().await;
        match run {
            // 1 means that there was none.
            Ok(output) if matches!(output.status.code(), Some(0 | 1)) => {}
            Ok(output) => {
                let why = keelson_common::command::tail(&output.stderr);
                tracing::warn!(%why, "cannot forget UDP flows to a published port");
            }
            Err(error) => tracing::warn!(%error, "cannot forget UDP flows to a published port with conntrack"),
        }
    }
}

/// What conntrack is told.
fn deletion(forward: &Forward) -> Option<Vec<String>> {
    if forward.protocol != Protocol::Udp {
        return None;
    }
    let mut words = ["-D", "-p", "udp", "--orig-port-dst"].map(str::to_owned).to_vec();
    words.push(forward.host_port.to_string());
    if !forward.host.is_unspecified() {
        words.extend(["--orig-dst".to_owned(), forward.host.to_string()]);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn udp_alone_has_flows_to_forget() {
        let udp = Forward {
            protocol: Protocol::Udp,
            host: Ipv4Addr::UNSPECIFIED,
            host_port: 53,
            container: Ipv4Addr::new(10, 87, 0, 2),
            container_port: 53,
        };
        let words = |forward: &Forward| deletion(forward).map(|words| words.join(" "));
        assert_eq!(words(&udp).as_deref(), Some("-D -p udp --orig-port-dst 53"));
        let one = Forward { host: Ipv4Addr::LOCALHOST, ..udp.clone() };
        assert_eq!(words(&one).as_deref(), Some("-D -p udp --orig-port-dst 53 --orig-dst 127.0.0.1"));
        assert_eq!(words(&Forward { protocol: Protocol::Tcp, ..udp }), None);
    }
}
