//! Owns what `cluster status` shows: each machine as it is now.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::folder::Folder;
use super::nodes::Node;
use super::observed::{Deployed, Health, Observed, SCRIPT, parse};
use super::plan::{Machine, Role};
use super::power;
use super::ready::api;
use super::remote::Remote;
use super::state::Cluster;
use super::stop::Stop;

/// How long a machine may take to answer.
const LIMIT: Duration = Duration::from_secs(40);

/// A cluster as it is now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Where it is kept.
    pub folder: PathBuf,
    /// What it was made of.
    pub target: String,
    /// Whether `up` came to its end.
    pub complete: bool,
    /// Its API server as seen from this machine.
    pub server: Option<String>,
    /// Why the API server cannot be asked.
    pub api_error: Option<String>,
    /// What kubectl needs.
    pub kubeconfig: PathBuf,
    /// The master, then the nodes.
    pub machines: Vec<MachineStatus>,
}

/// A machine as it is now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its address on the cluster's network.
    pub address: Ipv4Addr,
    /// The port of 127.0.0.1 that leads to its SSH.
    pub ssh_port: Option<u16>,
    /// Whether its QEMU runs.
    pub on: bool,
    /// Whether it stands still because there is no room for its disk.
    pub no_room: bool,
    /// Whether it answers over SSH.
    pub answers: bool,
    /// What runs on it.
    pub booted: Option<Deployed>,
    /// What its next boot starts instead.
    pub staged: Option<Deployed>,
    /// Whether it says that it is well.
    pub health: Option<Health>,
    /// It as the API has it.
    pub node: Option<Node>,
}

/// Asks a cluster's machines and its API.
pub fn status(folder: &Folder, cluster: &Cluster) -> Result<Status> {
    let remote = Remote::new(folder)?;
    let running = power::running(folder);
    let nodes = match running.is_empty() {
        true => Err(anyhow::anyhow!("no machine is on")),
        false => api(folder, cluster).and_then(|api| api.nodes()),
    };
    let asked: Vec<Option<Observed>> = thread::scope(|scope| {
        let ask = |machine| observe(&remote, machine, LIMIT, &Stop::default()).ok().flatten();
        let threads = cluster
            .machines
            .iter()
            .map(|machine| running.contains(&machine.name).then(|| scope.spawn(move || ask(machine))));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.and_then(|thread| thread.join().ok().flatten())).collect()
    });
    let machines = cluster.machines.iter().zip(asked).map(|(machine, seen)| {
        let node = nodes.iter().flatten().find(|node| node.name == machine.name).cloned();
        let on = running.contains(&machine.name);
        // One that answers does not stand still.
        let no_room = on && seen.is_none() && power::lacks_room(folder, machine);
        MachineStatus { no_room, ..machine_status(machine, on, seen, node) }
    });
    Ok(Status {
        name: cluster.name.clone(),
        folder: folder.path().to_owned(),
        target: cluster.source.target.clone(),
        complete: cluster.complete,
        server: cluster.api().ok(),
        machines: machines.collect(),
        api_error: nodes.err().map(|error| format!("{error:#}")),
        kubeconfig: folder.kubeconfig(),
    })
}

fn machine_status(machine: &Machine, on: bool, seen: Option<Observed>, node: Option<Node>) -> MachineStatus {
    let answers = seen.is_some();
    let (booted, staged, health) =
        seen.map_or((None, None, None), |seen| (seen.booted, seen.staged, Some(seen.health)));
    let Machine { name, role, address, ssh_port, .. } = machine.clone();
    MachineStatus { name, role, address, ssh_port, on, no_room: false, answers, booted, staged, health, node }
}

/// What a machine shows of itself; nothing while it does not answer.
pub fn observe(remote: &Remote, machine: &Machine, limit: Duration, stop: &Stop) -> Result<Option<Observed>> {
    Ok(parse(&remote.ask(machine, SCRIPT, limit, stop)?.stdout))
}

impl Status {
    /// The table that a person sees.
    pub fn table(&self) -> String {
        let mut rows = vec![["NAME", "ADDRESS", "SSH", "MACHINE", "VERSION", "STAGED", "CLUSTER"].map(str::to_owned)];
        rows.extend(self.machines.iter().map(row));
        let mut text = aligned(&rows);
        for machine in &self.machines {
            if let Some(Health::Bad(why)) = &machine.health {
                let _ = writeln!(text, "\n{} is unwell: {why}", machine.name);
            }
            if machine.no_room {
                let (name, folder) = (&machine.name, self.folder.display());
                let _ = writeln!(
                    text,
                    "\n{name} stands still: there is no room for its disk in {folder}; once there is, the next \
                     `keelson cluster status` has it go on"
                );
            }
        }
        if let Some(error) = &self.api_error {
            let _ = writeln!(text, "\nThe API: {error}");
        }
        text
    }
}

fn row(machine: &MachineStatus) -> [String; 7] {
    let label = |deployed: &Option<Deployed>| deployed.as_ref().map_or("-".to_owned(), |it| it.label().to_owned());
    let state = match (machine.on, machine.answers, &machine.health) {
        (false, ..) => "off".to_owned(),
        _ if machine.no_room => "on, no room".to_owned(),
        (true, false, _) => "on, no answer".to_owned(),
        (true, true, Some(Health::Bad(_))) => "unwell".to_owned(),
        (true, true, _) => "on".to_owned(),
    };
    let node = match (&machine.node, machine.role) {
        (None, Role::Master) => "master".to_owned(),
        (None, Role::Node) => "-".to_owned(),
        (Some(node), _) => {
            let ready = if node.ready { "Ready" } else { "NotReady" };
            if node.cordoned { format!("{ready}, cordoned") } else { ready.to_owned() }
        }
    };
    let port = machine.ssh_port.map_or("-".to_owned(), |port| port.to_string());
    let (booted, staged) = (label(&machine.booted), label(&machine.staged));
    [machine.name.clone(), machine.address.to_string(), port, state, booted, staged, node]
}

/// Rows whose columns begin below each other.
pub fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::cluster;
    use super::*;

    #[test]
    fn the_table_shows_what_is_wrong() {
        let cluster = cluster();
        let deployed = |version: &str| Deployed { checksum: "c".into(), version: Some(version.into()), refspec: None };
        let seen = |health| Observed {
            boot: "b".into(),
            booted: Some(deployed("1.0")),
            staged: Some(deployed("1.1")),
            health,
        };
        let node = |ready| Node { name: "one-node1".into(), ready, reason: None, cordoned: true, boot: None };
        let own = Node { name: "one-master".into(), cordoned: false, ..node(true) };
        let master = machine_status(&cluster.machines[0], true, Some(seen(Health::Good)), Some(own));
        assert_eq!(row(&master)[6], "Ready");
        let machines = vec![
            machine_status(&cluster.machines[0], true, None, None),
            machine_status(&cluster.machines[1], true, Some(seen(Health::Good)), Some(node(true))),
            machine_status(&cluster.machines[2], true, Some(seen(Health::Bad("no disk".into()))), None),
        ];
        let still = MachineStatus { no_room: true, ..machine_status(&cluster.machines[1], true, None, None) };
        assert_eq!(row(&still)[3], "on, no room");
        let status = Status {
            name: "one".into(),
            folder: "/c/one".into(),
            target: "t".into(),
            complete: true,
            server: None,
            api_error: Some("no".into()),
            kubeconfig: "/c/one/kubeconfig".into(),
            machines,
        };
        let text = status.table();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["one-master", "10.77.0.2", "-", "on,", "no", "answer", "-", "-", "master"]);
        assert_eq!(lines[2], ["one-node1", "10.77.0.11", "-", "on", "1.0", "1.1", "Ready,", "cordoned"]);
        assert_eq!(lines[3][3..], ["unwell", "1.0", "1.1", "-"]);
        assert!(text.contains("\none-node2 is unwell: no disk\n"), "{text}");
        assert!(text.ends_with("The API: no\n"), "{text}");
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["machines"][1]["booted"]["version"], "1.0");
        assert_eq!(json["machines"][1]["health"], "good");
    }
}
