//! Owns where a host is told to get its next versions from, whose signature they need, and when it goes over
//! to them.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use keelson_common::provision::{HostConfig, Policy, Update};
use sha2::{Digest, Sha256};

use super::report::Outcome;
use crate::cli::files;
use crate::cli::follow::follow;
use crate::cli::print;
use crate::cli::session::{Session, answer};
use crate::cli::systemd::Systemd;
use crate::deploy::remote::RemoteInfo;
use crate::health::record::{GivenUp, Record};
use crate::update::settings;

/// The hashes of the keys that were taken in, one a line.
const TAKEN: &str = "/var/lib/keelson/provisioned-keys";

/// The unit that acts by what the host was told, and what it comes after.
const UNIT: &str = "keelson-update.service";
const GATE: &str = "boot-complete.target";

/// Has what the host was told where those find it who act by it; nothing where it was told nothing.
pub async fn policy(config: &HostConfig, run: &Path, bus: Option<&str>, dry: bool) -> anyhow::Result<Option<Outcome>> {
    let path = run.join("update.toml");
    let (wanted, there) = (settings::text(config)?, files::read(&path)?);
    let told = told(config);
    if wanted == there {
        return Ok(wanted.map(|_| Outcome::Unchanged(told)));
    }
    if !dry {
        match &wanted {
            Some(text) => files::write(&path, text, 0o644)?,
            None => fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?,
        }
        Systemd::connect(bus).await?.start_again_after(GATE, UNIT).await?;
    }
    Ok(Some(Outcome::Applied(told)))
}

fn told(config: &HostConfig) -> String {
    let update = config.update.clone().unwrap_or_default();
    let word = match update.policy.unwrap_or_default() {
        Policy::Immediate => "at once",
        Policy::Windows => "in windows",
        Policy::Manual => "when somebody says so",
    };
    let lock = if update.lock.is_some() { ", with a lock" } else { "" };
    format!("goes over to new versions {word}{lock}; `keelctl updates` shows how that stands")
}

/// Sets the URL where it is another, takes in keys that are new, and follows the branch.
pub async fn apply(wanted: &Update, session: &Session, state: &Path, dry: bool) -> anyhow::Result<Outcome> {
    let remotes: Vec<RemoteInfo> = answer(session.keeld.remotes().await)?;
    let status = session.status().await?;
    let refspec = status.next_boot().and_then(|deployment| deployment.refspec.clone()).unwrap_or_default();
    let name = refspec.split_once(':').map_or("", |(remote, _)| remote);
    let url = remotes.iter().find(|remote| remote.name == name).and_then(|remote| remote.url.clone());
    let taken = files::read(TAKEN.as_ref())?.unwrap_or_default();
    let hash = |key: &str| hex::encode(Sha256::digest(key.as_bytes()));
    let new: Vec<&String> = wanted.keys.iter().filter(|key| !taken.lines().any(|line| line == hash(key))).collect();
    let new_url = wanted.url.as_ref().filter(|wanted| Some(*wanted) != url.as_ref());
    let refspec = refspec.split_once(':').map_or(refspec.as_str(), |(_, branch)| branch);
    let new_branch = wanted.branch.as_ref().filter(|branch| *branch != refspec);
    let told = format!("from {}", wanted.url.as_ref().or(url.as_ref()).map_or("nowhere", String::as_str));
    let told = told + &wanted.branch.as_ref().map(|branch| format!(", branch {branch}")).unwrap_or_default();
    if new.is_empty() && new_url.is_none() && new_branch.is_none() {
        return Ok(Outcome::Unchanged(told));
    }
    if let Some(branch) = new_branch {
        let record = Record::read(state)?;
        if let Some(given_up) = came_from(&record, branch) {
            bail!("{}; `keelctl rebase {branch}` follows that branch again", given_up.sentence());
        }
    }
    if !dry {
        // Keys first: what comes from the new place is signed with them.
        for key in &new {
            let start = session.keeld.set_remote("", key.as_bytes(), false);
            print::done(follow(session, start).await?)?;
        }
        if let Some(url) = new_url {
            let start = session.keeld.set_remote(url, &[], false);
            print::done(follow(session, start).await?)?;
        }
        let lines: String = wanted.keys.iter().map(|key| hash(key) + "\n").collect();
        files::write(TAKEN.as_ref(), &lines, 0o644)?;
        if let Some(branch) = new_branch {
            print::done(follow(session, session.keeld.rebase(branch, "", &[], false, false)).await?)?;
        }
    }
    Ok(Outcome::Applied(format!("{told}, {} new keys", new.len())))
}

/// The version of a branch that was given up: it would come again at each boot.
fn came_from<'a>(record: &'a Record, branch: &str) -> Option<&'a GivenUp> {
    let of = |given_up: &&GivenUp| {
        let refspec = given_up.refspec.as_deref().unwrap_or_default();
        refspec.split_once(':').map_or(refspec, |(_, branch)| branch) == branch
    };
    record.given_up.iter().rev().find(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_that_was_given_up_is_known() {
        let mut record = Record::default();
        record.note_given_up(GivenUp { refspec: Some("keelson:keelson/next".into()), ..GivenUp::default() });
        assert!(came_from(&record, "keelson/next").is_some() && came_from(&record, "keelson/host").is_none());
    }
}
