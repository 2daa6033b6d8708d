//! Owns where a host is told to get its next versions from, whose signature they need, and when it goes over
//! to them.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use keelson_common::commit::REMOTE;
use keelson_common::provision::{HostConfig, Policy, Update};

use super::keys::{self, Asked, Plan, Record as Keys};
use super::report::Outcome;
use crate::cli::files;
use crate::cli::follow::follow;
use crate::cli::print;
use crate::cli::session::{Session, answer};
use crate::cli::systemd::Systemd;
use crate::deploy::remote::RemoteInfo;
use crate::health::record::{GivenUp, Record};
use crate::update::settings;

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

/// Whether the configuration brought keys at an earlier boot.
pub fn has_brought_keys(state: &Path) -> anyhow::Result<bool> {
    Ok(Keys::read(state)?.has_brought())
}

/// Sets the URL where it is another, has the keys that are asked for trusted and those that were no more, and follows
/// the branch.
pub async fn apply(wanted: &Update, session: &Session, state: &Path, dry: bool) -> anyhow::Result<Outcome> {
    let remotes: Vec<RemoteInfo> = answer(session.keeld.remotes().await)?;
    let status = session.status().await?;
    let refspec = status.next_boot().and_then(|deployment| deployment.refspec.clone()).unwrap_or_default();
    let (name, followed) = refspec.split_once(':').unwrap_or((REMOTE, refspec.as_str()));
    let remote = remotes.iter().find(|remote| remote.name == name);
    let url = remote.and_then(|remote| remote.url.clone());
    let record = Keys::read(state)?;
    let asked: Result<Vec<Asked>, _> = wanted.keys.iter().map(|key| Asked::read(key)).collect();
    let trusted = remote.map(|remote| remote.keys.as_slice()).unwrap_or_default();
    let keys = keys::plan(&asked.context("update.keys")?, trusted, &record);
    let new_url = wanted.url.as_ref().filter(|wanted| Some(*wanted) != url.as_ref());
    let new_branch = wanted.branch.as_ref().filter(|branch| *branch != followed);
    let told = format!("from {}", wanted.url.as_ref().or(url.as_ref()).map_or("nowhere", String::as_str));
    let told = told + &wanted.branch.as_ref().map(|branch| format!(", branch {branch}")).unwrap_or_default();
    if keys.is_done() && new_url.is_none() && new_branch.is_none() {
        if !dry && keys.after != record {
            keys.after.write(state)?;
        }
        refuse_last(&keys)?;
        return Ok(Outcome::Unchanged(told));
    }
    if !dry {
        // First: what comes from the new place is signed with them, and nothing else keeps a key that goes.
        change_keys(wanted, &keys, session, state).await?;
    }
    if let Some(branch) = new_branch {
        let record = Record::read(state)?;
        if let Some(given_up) = came_from(&record, branch) {
            bail!("{}; `keelctl rebase {branch}` follows that branch again", given_up.sentence());
        }
    }
    if !dry {
        if let Some(url) = new_url {
            let start = session.keeld.set_remote(url, &[], false);
            print::done(follow(session, start).await?)?;
        }
        if let Some(branch) = new_branch {
            print::done(follow(session, session.keeld.rebase(branch, "", &[], false, false)).await?)?;
        }
    }
    refuse_last(&keys)?;
    Ok(Outcome::Applied(told + &changes(&keys)))
}

/// Takes keys in before others go.
async fn change_keys(wanted: &Update, keys: &Plan, session: &Session, state: &Path) -> anyhow::Result<()> {
    if !keys.is_done() {
        keys.before.write(state)?;
    }
    for key in keys.take.iter().filter_map(|&index| wanted.keys.get(index)) {
        let start = session.keeld.set_remote("", key.as_bytes(), false);
        print::done(follow(session, start).await?)?;
    }
    if !keys.forget.is_empty() {
        print::done(follow(session, session.keeld.forget_keys(&keys.forget)).await?)?;
    }
    keys.after.write(state)
}

fn changes(keys: &Plan) -> String {
    let mut text = String::new();
    if !keys.take.is_empty() {
        text.push_str(&format!(", {} new keys", keys.take.len()));
    }
    if !keys.forget.is_empty() {
        text.push_str(&format!(", {} keys are trusted no more", keys.forget.len()));
    }
    text
}

fn refuse_last(keys: &Plan) -> anyhow::Result<()> {
    ensure!(
        !keys.keeps_last,
        "update.keys: the keys that are asked for no more are the only ones that this host trusts, and stay; give it \
         others, or take them away by `keelctl remote set --forget-key FINGERPRINT`"
    );
    Ok(())
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
    fn what_changed_of_the_keys_is_told() {
        let plan = |take: Vec<usize>, forget: &[&str], keeps_last| Plan {
            take,
            forget: forget.iter().map(|key| (*key).to_owned()).collect(),
            keeps_last,
            before: Keys::default(),
            after: Keys::default(),
        };
        assert_eq!(changes(&plan(vec![0], &["A", "B"], false)), ", 1 new keys, 2 keys are trusted no more");
        assert_eq!(changes(&plan(vec![], &[], false)), "");
        assert!(refuse_last(&plan(vec![], &[], true)).unwrap_err().to_string().contains("--forget-key"));
    }

    #[test]
    fn keys_that_were_brought_are_remembered() {
        let state = tempfile::tempdir().unwrap();
        assert!(!has_brought_keys(state.path()).unwrap());
        fs::write(state.path().join(keys::FILE), r#"{"taken": ["00"], "brought": ["AA"]}"#).unwrap();
        assert!(has_brought_keys(state.path()).unwrap());
    }

    #[test]
    fn a_branch_that_was_given_up_is_known() {
        let mut record = Record::default();
        record.note_given_up(GivenUp { refspec: Some("keelson:keelson/next".into()), ..GivenUp::default() });
        assert!(came_from(&record, "keelson/next").is_some() && came_from(&record, "keelson/host").is_none());
    }
}
