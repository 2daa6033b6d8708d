//! The cluster's DNS on the master: what CoreDNS is told ([`corefile`]), whom it asks what it does not know
//! ([`forward`]), and the Service that pods find it by ([`objects`], [`apply`]).

pub mod apply;
pub mod corefile;
pub mod forward;
pub mod objects;

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use keelson_common::fs::remove_if_there;

use crate::options::Options;
use crate::paths::Paths;
use crate::settings::Settings;
use crate::setup::{text, write_other};
use corefile::{Told, corefile};
use forward::{Resolvers, forward};

/// Where an operator's own lines are.
const LINES: &str = "etc/keelson/dns.d";

/// Brings the Corefile to what it is to be; CoreDNS reads it again by itself. Where there is to be no DNS there is
/// none, and its unit does nothing.
pub fn bring(options: &Options, settings: &Settings) -> Result<()> {
    let paths = Paths::new(&options.root);
    let path = paths.corefile();
    let Some(dns) = &settings.dns else {
        return remove_if_there(&path).with_context(|| format!("cannot remove {}", path.display()));
    };
    let host = |file: &str| text(&options.host.join(file));
    let resolvers = Resolvers {
        stub: host("run/systemd/resolve/stub-resolv.conf")?,
        resolved: host("run/systemd/resolve/resolv.conf")?,
        libc: host("etc/resolv.conf")?,
    };
    let lines = options.host.join(LINES);
    let told = Told {
        kubeconfig: &paths.kubeconfig("coredns"),
        nodes: &nodes(&paths)?,
        lines: has_lines(&lines).then_some(lines.as_path()),
        forward: &forward(&resolvers, &[settings.address, dns.service]),
    };
    write_other(&path, &corefile(settings, dns, &told))
}

/// Notes the nodes' addresses, which outlive a reboot so that no node is without DNS in between.
pub fn note_nodes(options: &Options, addresses: &BTreeSet<IpAddr>) -> Result<()> {
    let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    write_other(&Paths::new(&options.root).dns_nodes(), &lines)
}

fn nodes(paths: &Paths) -> Result<BTreeSet<IpAddr>> {
    let noted = text(&paths.dns_nodes())?.unwrap_or_default();
    Ok(noted.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Whether there is a file to import: CoreDNS complains of none, each time it looks.
fn has_lines(folder: &Path) -> bool {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    names.into_iter().any(|path| path.extension().is_some_and(|extension| extension == "conf"))
}
