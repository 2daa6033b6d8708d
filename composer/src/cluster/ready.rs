//! Owns waiting for a new cluster until all its machines are Ready, and saying what it waits for.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use keelson_common::command::tail;
use keelson_qemu::resident::Resident;

use super::api::Api;
use super::board::Board;
use super::folder::Folder;
use super::nodes::Node;
use super::plan::Machine;
use super::power;
use super::remote::Remote;
use super::stage::{CloudInit, Seen, Stage, cloud_init_begun, stage};
use super::state::Cluster;
use super::stop::Stop;

/// How often machines are looked at.
const LOOK: Duration = Duration::from_secs(3);
/// How long an SSH server may take to greet.
const GREETING: Duration = Duration::from_secs(2);
/// How long one command on a machine may take.
const COMMAND: Duration = Duration::from_secs(30);
/// How much of a console is shown.
const CONSOLE: usize = 12;

/// What waiting takes.
pub struct Wait<'a> {
    /// Where the cluster is.
    pub folder: &'a Folder,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The way into its machines.
    pub remote: &'a Remote,
    /// Where it is shown.
    pub board: &'a Board,
    /// Ctrl-C.
    pub stop: &'a Stop,
}

impl Wait<'_> {
    /// Waits until every machine is Ready. Fails at once when one goes off, cannot boot or has no room for its disk.
    pub fn all_ready(&self, limit: Duration) -> Result<()> {
        let api = Api::new(self.folder, self.cluster.api()?)?;
        let begin = Instant::now();
        let mut seen = vec![Seen::default(); self.cluster.machines.len()];
        loop {
            self.look(&api, &mut seen)?;
            let stages: Vec<Stage> = self.stages(&seen);
            for (machine, stage) in self.cluster.machines.iter().zip(&stages) {
                self.board.set(&machine.name, &stage.text(machine.role));
            }
            if stages.iter().all(|stage| *stage == Stage::Ready) {
                return Ok(());
            }
            if begin.elapsed() >= limit {
                bail!("not all machines were Ready within {} s{}", limit.as_secs(), self.explain(&stages, &seen));
            }
            self.stop.sleep(LOOK)?;
        }
    }

    fn stages(&self, seen: &[Seen]) -> Vec<Stage> {
        self.cluster.machines.iter().zip(seen).map(|(machine, seen)| stage(machine.role, seen)).collect()
    }

    /// Looks at every machine, all at once.
    fn look(&self, api: &Api, seen: &mut [Seen]) -> Result<()> {
        let running = power::running(self.folder);
        let nodes = api.nodes();
        if let Err(error) = &nodes {
            tracing::debug!("{error:#}");
        }
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .cluster
                .machines
                .iter()
                .zip(seen.iter_mut())
                .map(|(machine, seen)| scope.spawn(|| self.look_at(machine, &running, nodes.as_deref().ok(), seen)))
                .collect();
            for thread in threads {
                thread.join().map_err(|_| anyhow::anyhow!("looking at a machine failed"))??;
            }
            Ok(())
        })
    }

    fn look_at(&self, machine: &Machine, running: &[String], nodes: Option<&[Node]>, seen: &mut Seen) -> Result<()> {
        let resident = Resident::new(self.folder.machine(&machine.name));
        if !running.contains(&machine.name) {
            bail!("{} went off{}", machine.name, console(&resident));
        }
        if let Some(line) = resident.failure() {
            bail!("{} did not boot: {line}{}", machine.name, console(&resident));
        }
        seen.api = nodes.is_some();
        seen.node = nodes.and_then(|nodes| nodes.iter().find(|node| node.name == machine.name)).cloned();
        if stage(machine.role, seen) == Stage::Ready {
            return Ok(());
        }
        if power::lacks_room(self.folder, machine) {
            bail!("{} stands still: there is no room for its disk in {}", machine.name, self.folder.path().display());
        }
        seen.begun = seen.begun || cloud_init_begun(&text(&resident));
        seen.ssh = seen.ssh || machine.ssh_port.is_some_and(greets);
        let asked = seen.node.is_none() && !seen.cloud_init.as_ref().is_some_and(CloudInit::ended);
        if seen.ssh && asked {
            let answer = self.remote.ask(machine, "cloud-init status --format json", COMMAND, self.stop)?;
            seen.cloud_init = CloudInit::parse(&answer.stdout).or(seen.cloud_init.take());
        }
        Ok(())
    }

    /// How far each machine came, and what it says of its set-up.
    fn explain(&self, stages: &[Stage], seen: &[Seen]) -> String {
        let lines = self.cluster.machines.iter().zip(stages).zip(seen).map(|((machine, stage), seen)| {
            let mut line = format!("\n{}: {}", machine.name, stage.text(machine.role));
            if *stage != Stage::Ready && seen.ssh {
                let said = self.remote.ask(machine, "sudo -n keelctl provision 2>&1 | tail -n 15", COMMAND, self.stop);
                line.extend(said.ok().map(|answer| indent(&answer.stdout)));
            } else if *stage != Stage::Ready {
                line += &console(&Resident::new(self.folder.machine(&machine.name)));
            }
            line
        });
        lines.collect()
    }
}

/// Whether an SSH server is behind that port: QEMU takes connections whether or not there is one.
fn greets(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let greeting = TcpStream::connect_timeout(&address, GREETING).and_then(|mut stream| {
        stream.set_read_timeout(Some(GREETING))?;
        let mut head = [0; 4];
        stream.read_exact(&mut head)?;
        Ok(head)
    });
    greeting.is_ok_and(|head| head == *b"SSH-")
}

/// All that a console showed.
fn text(resident: &Resident) -> String {
    String::from_utf8_lossy(&fs::read(resident.console_log()).unwrap_or_default()).into_owned()
}

/// The end of what a console shows, for an error.
fn console(resident: &Resident) -> String {
    let text = tail(text(resident).as_bytes());
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(CONSOLE)..].join("\n");
    format!("; its console{}", indent(&last))
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("\n  | {}", line.trim_end())).collect()
}

/// The API of a cluster whose master was on.
pub fn api(folder: &Folder, cluster: &Cluster) -> Result<Api> {
    Api::new(folder, cluster.api()?).context("the cluster's API cannot be asked")
}
