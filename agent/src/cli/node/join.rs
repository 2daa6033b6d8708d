//! `keelctl join`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use keelson_common::node::Report;
use serde_json::json;

use super::super::{files, print};
use super::config::{Config, HEADER};
use super::progress::Progress;
use super::socket::Reports;
use super::{Places, UNIT, need_root, program};
use crate::cli::systemd::Systemd;

/// Make this host a node of a Kubernetes cluster
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Makes this host a node of a Kubernetes cluster: looks whether the server is the master that the hash \
        belongs to, asks it for a certificate with the token, writes /etc/keelson/node.toml, starts \
        keelson-node.service now and at every boot, and waits until the cluster takes the node for ready. Changes \
        nothing when the master, the token, the hash, the clock or the name is wrong, and says which. The token is not \
        kept. Without --server and --kubeconfig it joins by the configuration that is there.",
    after_help = "Examples:\n  \
        kubeadm token create --print-join-command       on the master: shows token and hash\n  \
        keelctl join --server https://master:6443 --token ID.SECRET --ca-hash sha256:HEX\n  \
        keelctl join --server master:6443 --token-file /run/token --ca-hash sha256:HEX --label rack=a\n  \
        keelctl join --kubeconfig /root/bootstrap.kubeconfig --name worker-1\n  \
        keelctl join ... --dry-run                      only check, and show what would be written\n\n\
        From cloud-init, write /etc/keelson/node.toml, of which keelson-node(5) tells; nothing else is needed.\n\
        `keelctl node status` shows how it stands, `keelctl leave` is the way back."
)]
pub struct Args {
    /// The API server
    #[arg(long, value_name = "https://HOST:PORT", conflicts_with = "kubeconfig")]
    server: Option<String>,
    /// The bootstrap token
    #[arg(long, value_name = "ID.SECRET", requires = "server")]
    token: Option<String>,
    /// A file with the bootstrap token, which then no list of processes shows
    #[arg(long, value_name = "FILE", conflicts_with = "token", requires = "server")]
    token_file: Option<PathBuf>,
    /// The hash of the authority's key, one of them where it is being changed
    #[arg(long = "ca-hash", value_name = "sha256:HEX")]
    ca_hashes: Vec<String>,
    /// The authority's certificate, instead of its hash
    #[arg(long, value_name = "FILE", conflicts_with = "kubeconfig")]
    ca: Option<PathBuf>,
    /// A kubeconfig of this node, or one to ask for its certificate with; it stays where it is
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The node's name, instead of the hostname
    #[arg(long)]
    name: Option<String>,
    /// The node's address, instead of the one on the way to the server; twice for IPv4 and IPv6
    #[arg(long = "address", value_name = "IP")]
    addresses: Vec<String>,
    /// A label of the node
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// A taint of the node
    #[arg(long = "taint", value_name = "KEY[=VALUE]:EFFECT")]
    taints: Vec<String>,
    /// Take the place of a node of this name that is another machine
    #[arg(long)]
    replace: bool,
    /// Do not wait until the node is ready
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for the certificate, and then for the node to be ready
    #[arg(long, value_name = "SECONDS", default_value = "300")]
    timeout: u64,
    /// Only check, and show what would be written
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    places: Places,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no label; one is KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the verb.
pub async fn run(args: Args, bus: Option<&str>, json: bool) -> anyhow::Result<()> {
    need_root("join")?;
    let config = config(&args)?;
    let existing = files::read(&args.places.config)?;
    let progress = Progress::new(json);
    progress.waits("joining");
    let Some(config) = config.filter(|config| existing.as_deref() != Some(config.text(HEADER, None).as_str())) else {
        let path = &args.places.config;
        ensure!(existing.is_some(), "say which cluster to join: --server with --token and --ca-hash, or --kubeconfig");
        return certify_and_start(&args, path, None, bus, &progress, json).await;
    };
    if existing.is_some() && !args.dry_run {
        bail!(
            "this host has a configuration of a node already, {}, which says something else; `keelctl leave` first, \
             or change it there and `keelctl join`",
            args.places.config.display()
        );
    }
    let trial = args.places.config.with_extension("toml.joining");
    files::write(&trial, &config.text(HEADER, config.token.as_deref()), 0o600)?;
    let done = certify_and_start(&args, &trial, Some(&config), bus, &progress, json).await;
    remove(&trial)?;
    done
}

/// Joins by a configuration; once that worked it is the one that is kept.
async fn certify_and_start(
    args: &Args,
    path: &Path,
    config: Option<&Config>,
    bus: Option<&str>,
    progress: &Progress,
    json: bool,
) -> anyhow::Result<()> {
    // Before anything changes: without systemd nothing would run.
    let systemd = if args.dry_run { None } else { Some(Systemd::connect(bus).await?) };
    let mut words = vec!["join".to_owned(), "--timeout".to_owned(), args.timeout.to_string()];
    let flags = [(args.replace, "--replace"), (args.dry_run, "--check")];
    words.extend(flags.iter().filter(|(on, _)| *on).map(|(_, flag)| (*flag).to_owned()));
    let message = program::run(&args.places.program, path, &words, progress).await?;
    if args.dry_run {
        let text = config.map(|config| config.text(HEADER, config.token.as_ref().map(|_| "…")));
        return match json {
            true => print::document(&json!({ "message": message, "config": text })),
            false => print::line(&format!("{message}\n\n{}", text.unwrap_or_default())),
        };
    }
    if let Some(config) = config {
        files::write(&args.places.config, &config.text(HEADER, None), 0o600)?;
    }
    progress.line(&message);
    progress.waits("starting the node");
    if let Some(systemd) = systemd {
        systemd.enable_now(UNIT).await?;
    }
    let report = if args.no_wait { None } else { Some(until_ready(args, progress).await?) };
    match json {
        true => print::document(&json!({ "message": message, "node": report })),
        false => print::line(if args.no_wait { "the node was started" } else { "the node is ready" }),
    }
}

/// Waits until the cluster takes the node for ready.
async fn until_ready(args: &Args, progress: &Progress) -> anyhow::Result<Report> {
    progress.waits("waiting for the node to be ready");
    let mut last = Report::default();
    let waiting = async {
        loop {
            if let Some(mut reports) = Reports::connect(&args.places.socket).await? {
                while let Some(report) = reports.next().await? {
                    last = report;
                    if last.ready == Some(true) {
                        return anyhow::Ok(());
                    }
                    if let Some(message) = &last.message {
                        progress.waits(&format!("not ready yet: {message}"));
                    }
                }
            }
            // It has not begun to listen, or is started anew.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(args.timeout), waiting).await {
        Ok(done) => done.map(|()| last),
        Err(_) => {
            let why = last.message.or(last.problem).unwrap_or_else(|| "it has not said why".to_owned());
            bail!(
                "the host has joined, but is not ready after {} s: {why}; `keelctl node status` and `journalctl -u \
                 {UNIT}` show more",
                args.timeout
            )
        }
    }
}

/// What the command line says; nothing when it names no cluster.
fn config(args: &Args) -> anyhow::Result<Option<Config>> {
    if args.server.is_none() && args.kubeconfig.is_none() {
        return Ok(None);
    }
    let token = match &args.token_file {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => args.token.clone(),
    };
    ensure!(token.is_some() || args.kubeconfig.is_some(), "--server needs --token or --token-file");
    Ok(Some(Config {
        server: args.server.clone(),
        ca_hashes: args.ca_hashes.clone(),
        ca: absolute(args.ca.as_deref())?,
        kubeconfig: absolute(args.kubeconfig.as_deref())?,
        name: args.name.clone(),
        addresses: args.addresses.clone(),
        labels: args.labels.clone(),
        taints: args.taints.clone(),
        token_file: None,
        token,
    }))
}

fn absolute(path: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    let whole = fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(whole.to_string_lossy().into_owned()))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    fs::remove_file(path).with_context(|| format!("cannot remove {}, which has the token in it", path.display()))
}
