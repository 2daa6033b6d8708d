//! Owns where a host is told to get its next versions from, and whose signature they need.

use keelson_common::provision::Update;
use sha2::{Digest, Sha256};

use super::report::Outcome;
use crate::cli::files;
use crate::cli::follow::follow;
use crate::cli::print;
use crate::cli::session::{Session, answer};
use crate::deploy::remote::RemoteInfo;

/// The hashes of the keys that were taken in, one a line.
const TAKEN: &str = "/var/lib/keelson/provisioned-keys";

/// Sets the URL where it is another, and takes in keys that are new.
pub async fn apply(wanted: &Update, session: &Session, dry: bool) -> anyhow::Result<Outcome> {
    let remotes: Vec<RemoteInfo> = answer(session.keeld.remotes().await)?;
    let status = session.status().await?;
    let refspec = status.next_boot().and_then(|deployment| deployment.refspec.clone()).unwrap_or_default();
    let name = refspec.split_once(':').map_or("", |(remote, _)| remote);
    let url = remotes.iter().find(|remote| remote.name == name).and_then(|remote| remote.url.clone());
    let taken = files::read(TAKEN.as_ref())?.unwrap_or_default();
    let hash = |key: &str| hex::encode(Sha256::digest(key.as_bytes()));
    let new: Vec<&String> = wanted.keys.iter().filter(|key| !taken.lines().any(|line| line == hash(key))).collect();
    let new_url = wanted.url.as_ref().filter(|wanted| Some(*wanted) != url.as_ref());
    let told = format!("from {}", wanted.url.as_ref().or(url.as_ref()).map_or("nowhere", String::as_str));
    if new.is_empty() && new_url.is_none() {
        return Ok(Outcome::Unchanged(told));
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
    }
    Ok(Outcome::Applied(format!("{told}, {} new keys", new.len())))
}
