//! Owns the bridge's table of nftables: the whole of it is written anew in one transaction from what
//! is attached, so nothing of a dead container can stay behind.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Network;
use super::bridge::Bridge;
use super::ports::{self, Protocol};
use crate::error::{Error, Result};

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Forward {
    pub protocol: Protocol,
    /// Which of the host's addresses; all of them when unspecified.
    pub host: Ipv4Addr,
    pub host_port: u16,
    pub container: Ipv4Addr,
    pub container_port: u16,
}

/// The table's name.
fn table(bridge: &Bridge) -> String {
    format!("keelson-{}", bridge.name())
}

/// The table as `nft -f` reads it; an older one is replaced in the same transaction.
///
/// - Containers reach the outside behind the host's address.
/// - From outside only published ports are reached: everything else towards the bridge is dropped,
///   and loopback addresses are never reached from a container although `route_localnet` is on.
/// - A container or the host itself that goes through a published port comes from the bridge's
///   address, so that answers find the way back.
pub(super) fn ruleset(bridge: &Bridge, forwards: &[Forward]) -> String {
    let (name, interface, subnet) = (table(bridge), bridge.name(), bridge.subnet());
    let rules: String = forwards.iter().map(dnat).collect();
    format!(
        r#"table ip {name}
delete table ip {name}
table ip {name} {{
  chain published {{
{rules}  }}
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local jump published
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local jump published
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {subnet} oifname != "{interface}" masquerade
    ip saddr {{ 127.0.0.0/8, {subnet} }} oifname "{interface}" ct status dnat masquerade
  }}
  chain loopback {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname != "{interface}" accept
    iifname "{interface}" accept
    ct state established,related accept
    ct status dnat accept
    drop
  }}
}}
"#
    )
}

fn dnat(forward: &Forward) -> String {
    let Forward { protocol, host, host_port, container, container_port } = forward;
    let mut rule = String::from("    ");
    if !host.is_unspecified() {
        let _ = write!(rule, "ip daddr {host} ");
    }
    let _ = writeln!(rule, "{protocol} dport {host_port} dnat to {container}:{container_port}");
    rule
}

impl Network {
    /// Every port published now.
    pub(super) fn forwards(&self) -> Vec<Forward> {
        let mut forwards: Vec<_> = self
            .records()
            .values()
            .filter_map(|record| match record.attached.address {
                Some(IpAddr::V4(address)) => Some(ports::forwards(address, &record.attached.ports)),
                _ => None,
            })
            .flatten()
            .collect();
        // One address of the host goes before all of them.
        forwards.sort_by_key(|forward| (forward.host.is_unspecified(), forward.clone()));
        forwards
    }

    /// Makes the table stand, unless it does.
    pub(super) async fn table_stands(&self) -> Result<()> {
        self.table.stand(async || self.write_table().await).await
    }

    /// Makes the table what is attached now. Of those who ask at once, one writes for all.
    pub(super) async fn table_changed(&self) -> Result<()> {
        self.table.change(async || self.write_table().await).await
    }

    async fn write_table(&self) -> Result<()> {
        nft(&ruleset(&self.bridge, &self.forwards())).await
    }
}

/// Which state of what is attached the table shows: a count of changes, and up to which it was
/// written, 0 for never. There is one writer at a time.
#[derive(Debug)]
pub(super) struct Table {
    changes: AtomicU64,
    written: tokio::sync::Mutex<u64>,
}

impl Default for Table {
    fn default() -> Self {
        Self { changes: AtomicU64::new(1), written: tokio::sync::Mutex::default() }
    }
}

impl Table {
    /// Writes when nobody did yet.
    async fn stand(&self, write: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        self.reach(1, write).await
    }

    /// Writes, unless someone who began later has done so by the time it is this one's turn.
    async fn change(&self, write: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        let change = self.changes.fetch_add(1, Ordering::SeqCst) + 1;
        self.reach(change, write).await
    }

    async fn reach(&self, change: u64, write: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
        let mut written = self.written.lock().await;
        if *written >= change {
            return Ok(());
        }
        // Who changes something from here on may come too late for what is read next.
        let seen = self.changes.load(Ordering::SeqCst);
        write().await?;
        *written = seen;
        Ok(())
    }
}

async fn nft(rules: &str) -> Result<()> {
    let what = "set up the packet filter with nft";
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::failed(what, "it is not installed (Debian: nftables)"),
            _ => Error::failed(what, error),
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // nft that ends without reading says why on its standard error.
        stdin.write_all(rules.as_bytes()).await.ok();
    }
    let output = child.wait_with_output().await.map_err(|error| Error::failed(what, error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::failed(what, keelson_common::command::tail(&output.stderr).trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_bears_the_bridges_name_and_its_ports() {
        let bridge = Bridge::new("kt0", "10.99.0.0/16").unwrap();
        let container = Ipv4Addr::new(10, 99, 0, 2);
        let all = Forward {
            protocol: Protocol::Tcp,
            host: Ipv4Addr::UNSPECIFIED,
            host_port: 8080,
            container,
            container_port: 80,
        };
        let one = Forward { host: Ipv4Addr::LOCALHOST, protocol: Protocol::Udp, ..all.clone() };
        let text = ruleset(&bridge, &[one, all]);
        assert!(text.starts_with("table ip keelson-kt0\ndelete table ip keelson-kt0\ntable ip keelson-kt0 {\n"));
        assert!(text.contains(
            "    ip daddr 127.0.0.1 udp dport 8080 dnat to 10.99.0.2:80\n    tcp dport 8080 dnat to 10.99.0.2:80\n"
        ));
        assert!(text.contains("ip saddr 10.99.0.0/16 oifname != \"kt0\" masquerade"));
    }

    async fn counted(written: &AtomicU64) -> Result<()> {
        tokio::task::yield_now().await;
        written.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    #[tokio::test]
    async fn every_change_is_written_and_standing_only_once() {
        let (table, written) = (Table::default(), AtomicU64::new(0));
        let count = || written.load(Ordering::SeqCst);
        table.stand(async || counted(&written).await).await.unwrap();
        table.stand(async || counted(&written).await).await.unwrap();
        assert_eq!(count(), 1);
        table.change(async || counted(&written).await).await.unwrap();
        table.change(async || counted(&written).await).await.unwrap();
        assert_eq!(count(), 3);
    }

    #[tokio::test]
    async fn one_writes_for_all_who_wait() {
        let (table, written) = (Table::default(), AtomicU64::new(0));
        let change = || table.change(async || counted(&written).await);
        let (a, b, c, d) = tokio::join!(change(), change(), change(), change());
        assert!([a, b, c, d].iter().all(Result::is_ok));
        assert_eq!(written.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_failed_write_is_tried_again() {
        let (table, written) = (Table::default(), AtomicU64::new(0));
        let failed = table.stand(async || Err(Error::failed("write", "no"))).await;
        assert!(failed.is_err());
        table.stand(async || counted(&written).await).await.unwrap();
        assert_eq!(written.load(Ordering::SeqCst), 1);
    }
}
