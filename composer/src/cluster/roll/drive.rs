//! Owns rolling a version over one machine: looks at it, does what [`step`] says, and shows it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::step::{self, Apply, InCluster, Phase, Seen, Step, Why};
use crate::cluster::api::Api;
use crate::cluster::board::Board;
use crate::cluster::folder::Folder;
use crate::cluster::observed::Observed;
use crate::cluster::plan::{Machine, Role};
use crate::cluster::power;
use crate::cluster::remote::{Remote, Running};
use crate::cluster::status::observe;
use crate::cluster::stop::Stop;

/// How often a machine is looked at.
const LOOK: Duration = Duration::from_secs(3);
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(40);
/// How long a command that failed is given to turn out to have been ended by the reboot that it asked for.
const AFTERMATH: Duration = Duration::from_secs(5);
/// How long a machine that went back may take to be well again, before that is said.
const SETTLE: Duration = Duration::from_secs(300);
/// Has a host drain and reboot into what is staged, whatever its policy says of when.
const APPLY: &str = "sudo -n keelctl updates apply --now --yes";
/// What that says where an earlier one, of a run that was broken off, is still at it.
const UNDER_WAY: &str = "under way already";
/// What a host knows of why it does not come to a version.
const EXPLAIN: &str = "sudo -n keelctl updates 2>/dev/null | tail -n 12; \
    sudo -n keelctl health 2>/dev/null | grep -v '^ok ' | tail -n 12; keelctl history -n 3 2>/dev/null";

/// The version that is rolled out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The ref that hosts are to follow.
    pub reference: String,
    /// The commit.
    pub checksum: String,
    /// What it calls itself.
    pub version: Option<String>,
}

impl Target {
    /// The version, or the start of the checksum.
    pub fn label(&self) -> &str {
        self.version.as_deref().unwrap_or_else(|| self.checksum.get(..12).unwrap_or(&self.checksum))
    }

    /// What has a host stage it that follows `refspec`.
    fn stage(&self, refspec: Option<&str>) -> String {
        let follows = refspec.map(|refspec| refspec.rsplit_once(':').map_or(refspec, |(_, reference)| reference));
        match follows == Some(&*self.reference) {
            true => "sudo -n keelctl upgrade --yes".to_owned(),
            false => format!("sudo -n keelctl rebase {}", self.reference),
        }
    }
}

/// What a machine came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It had the version, and is well.
    Already,
    /// It has the version now, and is well.
    Updated,
}

/// What a roll takes.
pub struct Roll<'a> {
    /// Where the cluster is.
    pub folder: &'a Folder,
    /// The way into the machines.
    pub remote: &'a Remote,
    /// The cluster's API.
    pub api: &'a Api,
    /// Where it is shown.
    pub board: &'a Board,
    /// Ctrl-C.
    pub stop: &'a Stop,
    /// The version.
    pub target: &'a Target,
    /// How long each machine may take.
    pub limit: Duration,
}

/// What this run has done to a machine.
struct Deeds {
    apply: Apply,
    running: Option<Running>,
    staged: bool,
}

impl Roll<'_> {
    /// Brings a machine to the version, and waits until it is well.
    pub fn machine(&self, machine: &Machine) -> Result<Ended> {
        let begin = Instant::now();
        let mut deeds = Deeds { apply: Apply::NotYet, running: None, staged: false };
        loop {
            let seen = self.look(machine, &mut deeds)?;
            match step::next(&self.target.checksum, &seen, begin.elapsed() >= self.limit) {
                Step::Wait(phase) => {
                    self.say(machine, phase);
                    self.stop.sleep(LOOK)?;
                }
                Step::Stage if deeds.staged => bail!(
                    "it took another version than {}: `keelson cluster ssh {} -- keelctl status` shows which",
                    self.target.label(),
                    machine.name
                ),
                Step::Stage => {
                    deeds.staged = self.stage(machine, &seen, self.limit.saturating_sub(begin.elapsed()))?;
                }
                Step::Apply => {
                    let boot = seen.machine.context("a machine that does not answer cannot be rebooted")?.boot;
                    self.board.set(&machine.name, Phase::Draining.text(machine.role));
                    deeds.running = Some(self.remote.start(machine, APPLY)?);
                    deeds.apply = Apply::Given { boot };
                }
                Step::Done if deeds.apply == Apply::NotYet => return Ok(Ended::Already),
                Step::Done => return Ok(Ended::Updated),
                Step::Failed(why) => {
                    let after = self.settle(machine, &why, &seen)?;
                    return Err(self.explained(machine, &why, after));
                }
            }
        }
    }

    fn say(&self, machine: &Machine, phase: Phase) {
        self.board.set(&machine.name, phase.text(machine.role));
    }

    fn look(&self, machine: &Machine, deeds: &mut Deeds) -> Result<Seen> {
        let observed = observe(self.remote, machine, ANSWER, self.stop)?;
        ensure!(
            observed.is_some() || !power::lacks_room(self.folder, machine),
            "it stands still: there is no room for its disk in {}; make some, and upgrade again",
            self.folder.path().display()
        );
        let nodes = self.api.nodes();
        let answers = nodes.is_ok();
        let node = nodes.unwrap_or_default().into_iter().find(|node| node.name == machine.name);
        let cluster = match machine.role {
            Role::Master => InCluster::Master { answers, node },
            Role::Node => InCluster::Node(node),
        };
        self.heard(machine, deeds)?;
        Ok(Seen { machine: observed, cluster, apply: deeds.apply.clone() })
    }

    /// Whether the command that reboots it has refused to.
    fn heard(&self, machine: &Machine, deeds: &mut Deeds) -> Result<()> {
        let (Some(running), Apply::Given { boot }) = (&mut deeds.running, &deeds.apply) else { return Ok(()) };
        let Some(answer) = running.ended()? else { return Ok(()) };
        deeds.running = None;
        if answer.success() || answer.status.is_none() || answer.why().contains(UNDER_WAY) {
            return Ok(());
        }
        self.stop.sleep(AFTERMATH)?;
        let same = |now: &Observed| now.boot == *boot;
        if observe(self.remote, machine, ANSWER, self.stop)?.as_ref().is_some_and(same) {
            deeds.apply = Apply::Refused { why: answer.why() };
        }
        Ok(())
    }

    /// Has it download and stage the version; false where the connection broke, and it is to be asked again.
    fn stage(&self, machine: &Machine, seen: &Seen, limit: Duration) -> Result<bool> {
        let begin = Instant::now();
        self.board.set(&machine.name, &format!("downloading and staging {}", self.target.label()));
        let booted = seen.machine.as_ref().and_then(|machine| machine.booted.as_ref());
        let command = self.target.stage(booted.and_then(|booted| booted.refspec.as_deref()));
        let answer = self.remote.ask(machine, &command, limit, self.stop)?;
        match answer.status {
            Some(0) => Ok(true),
            Some(_) => bail!("it did not take {}: {}", self.target.label(), answer.why()),
            // What it has by then is not downloaded twice.
            None if begin.elapsed() < limit => Ok(false),
            None => bail!("`{command}` did not end within {} s: {}", limit.as_secs(), answer.why()),
        }
    }

    /// Waits until a machine that went back is well again; gives what came of it, in words.
    fn settle(&self, machine: &Machine, why: &Why, seen: &Seen) -> Result<&'static str> {
        let booted = seen.machine.as_ref().and_then(|machine| machine.booted.as_ref());
        let (Why::WentBack { .. }, Some(booted)) = (why, booted) else { return Ok("") };
        self.board.set(&machine.name, &format!("went back to {}", booted.label()));
        let (begin, mut deeds) = (Instant::now(), Deeds { apply: Apply::NotYet, running: None, staged: false });
        while begin.elapsed() < SETTLE {
            let seen = self.look(machine, &mut deeds)?;
            if step::next(&booted.checksum, &seen, false) == Step::Done {
                return Ok(", and is well again");
            }
            self.stop.sleep(LOOK)?;
        }
        Ok(", and is not well there either")
    }

    /// Why a machine does not come to the version, with what it says itself.
    fn explained(&self, machine: &Machine, why: &Why, after: &str) -> anyhow::Error {
        let asked = match why {
            Why::Refused(_) => None,
            _ => self.remote.ask(machine, EXPLAIN, ANSWER, self.stop).ok(),
        };
        let said = asked.map(|answer| answer.stdout).unwrap_or_default();
        let said: String =
            said.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("\n  | {line}")).collect();
        anyhow::anyhow!("{why}{after}{said}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_follows_another_ref_is_rebased() {
        let target = Target { reference: "keelson/host".into(), checksum: "0123456789abcdef".into(), version: None };
        assert_eq!(target.stage(Some("keelson:keelson/host")), "sudo -n keelctl upgrade --yes");
        assert_eq!(target.stage(Some("keelson:other")), "sudo -n keelctl rebase keelson/host");
        assert_eq!(target.stage(None), "sudo -n keelctl rebase keelson/host");
        assert_eq!(target.label(), "0123456789ab");
    }
}
