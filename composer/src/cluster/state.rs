//! Owns `cluster.json`: what every verb but `up` has to know of a cluster.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use keelson_common::fs::atomic_write;
use serde::{Deserialize, Serialize};

use super::plan::{Machine, Network, Role};

/// Raised when older programs cannot read the file any more.
const FORMAT: u32 = 1;

/// A cluster as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    format: u32,
    /// Its name.
    pub name: String,
    /// What it was made of.
    pub source: Source,
    /// The port of 127.0.0.1 where its hosts look for updates.
    pub update_port: u16,
    /// The network between the machines.
    pub network: Network,
    /// The master, then the nodes.
    pub machines: Vec<Machine>,
    /// A kubeconfig outside the folder.
    pub kubeconfig: Option<PathBuf>,
    /// Whether every machine was Ready once.
    pub complete: bool,
}

/// Where a cluster's image came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Source {
    /// The manifest or disk (a whole path) or the ref.
    pub target: String,
    /// The repository.
    pub repo: PathBuf,
    /// Folder of what can be made again.
    pub cache: PathBuf,
    /// The ref, where the image was made of one.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Its commit.
    pub commit: Option<String>,
}

impl Cluster {
    /// A cluster whose machines were never on.
    pub fn new(name: &str, source: Source, update_port: u16, network: Network, machines: Vec<Machine>) -> Self {
        let name = name.to_owned();
        Self { format: FORMAT, name, source, update_port, network, machines, kubeconfig: None, complete: false }
    }

    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        parse(&text).with_context(|| format!("{} is of no use", path.display()))
    }

    /// Replaces the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        atomic_write(path, text.as_bytes(), 0o600).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The machine with the control plane.
    pub fn master(&self) -> Result<&Machine> {
        self.machines.iter().find(|machine| machine.role == Role::Master).context("the cluster has no master")
    }

    /// The machine that a person means: by its name, or by what comes after the cluster's.
    pub fn machine(&self, word: &str) -> Result<&Machine> {
        let full = format!("{}-{word}", self.name);
        let found = self.machines.iter().find(|machine| machine.name == word || machine.name == full);
        found.with_context(|| {
            let names: Vec<&str> = self.machines.iter().map(|machine| &*machine.name).collect();
            format!("the cluster {} has no machine `{word}`; it has {}", self.name, names.join(", "))
        })
    }

    /// The URL of its API server as seen from this machine.
    pub fn api(&self) -> Result<String> {
        let port = self.master()?.api_port.context("its master was never on")?;
        Ok(format!("https://127.0.0.1:{port}"))
    }
}

fn parse(text: &str) -> Result<Cluster> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let Head { format } = serde_json::from_str(text)?;
    ensure!(format == FORMAT, "it is of format {format}, and this program knows {FORMAT}: use the one that made it");
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cluster::plan::{Sizes, machines, network};

    /// A cluster of two nodes.
    pub(crate) fn cluster() -> Cluster {
        let source = Source {
            target: "/m/master.toml".into(),
            repo: "/m/repo".into(),
            cache: "/m/cache".into(),
            reference: Some("keelson/master/amd64".into()),
            commit: Some("ab".repeat(32)),
        };
        let sizes = Sizes { nodes: 2, memory: 1024, master_memory: 2048, cpus: 1, master_cpus: 2 };
        Cluster::new("one", source, 21000, network([1, 2, 3, 4], &[]), machines("one", sizes).unwrap())
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.json");
        let mut cluster = cluster();
        cluster.machines[0].api_port = Some(6443);
        cluster.write(&path).unwrap();
        assert_eq!(Cluster::read(&path).unwrap(), cluster);
        assert_eq!(cluster.api().unwrap(), "https://127.0.0.1:6443");
    }

    #[test]
    fn a_file_of_another_program_is_told() {
        assert!(format!("{:#}", parse("{\"format\": 2}").unwrap_err()).contains("format 2"));
        assert!(parse("").is_err());
    }

    #[test]
    fn machines_have_short_names() {
        let cluster = cluster();
        assert_eq!(cluster.machine("node2").unwrap(), cluster.machine("one-node2").unwrap());
        let error = cluster.machine("node3").unwrap_err().to_string();
        assert!(error.ends_with("it has one-master, one-node1, one-node2"), "{error}");
    }
}
