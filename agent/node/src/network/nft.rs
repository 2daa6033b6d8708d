//! Owns running nft: one script is one transaction, kept whole or not at all.

use std::process::{Output, Stdio};
use std::time::Duration;

use keelson_common::command;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::family::Family;

/// How long nft may take; tens of thousands of rules take seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// nft did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum NftError {
    /// The program does not start.
    #[error("cannot run nft (Debian: nftables)")]
    Start(#[source] std::io::Error),
    /// It refused; nothing has changed.
    #[error("nft refused the rules: {0}")]
    Refused(String),
    /// It did not end in time.
    #[error("nft did not end within {} s", PATIENCE.as_secs())]
    Slow,
    /// What it lists cannot be read.
    #[error("cannot read what nft lists")]
    Listing(#[source] serde_json::Error),
}

/// Names in a table that is there already.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Existing {
    /// Its chains.
    pub chains: Vec<String>,
    /// Its sets; maps are not among them.
    pub sets: Vec<String>,
}

/// Runs a script as one transaction.
pub(super) async fn run(script: &str) -> Result<(), NftError> {
    let output = nft(&["-f", "-"], script).await?;
    if output.status.success() {
        return Ok(());
    }
    Err(NftError::Refused(command::tail(&output.stderr).trim_end().to_owned()))
}

/// What is in a table, without the elements of its sets; nothing when there is no such table.
pub(super) async fn existing(family: Family, table: &str) -> Result<Option<Existing>, NftError> {
    let output = nft(&["-j", "-t", "list", "table", &family.to_string(), table], "").await?;
    if !output.status.success() {
        return Ok(None);
    }
    parse(&output.stdout).map(Some).map_err(NftError::Listing)
}

/// Whether a chain is there, and so its table.
pub(super) async fn is_there(family: Family, table: &str, chain: &str) -> Result<bool, NftError> {
    let output = nft(&["-t", "list", "chain", &family.to_string(), table, chain], "").await?;
    Ok(output.status.success())
}

/// Removes a table, if there is one of this name.
pub(super) async fn remove_table(family: Family, table: &str) -> Result<(), NftError> {
    run(&format!("add table {family} {table}\ndelete table {family} {table}\n")).await
}

async fn nft(args: &[&str], input: &str) -> Result<Output, NftError> {
    let mut child = Command::new("nft")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(NftError::Start)?;
    let stdin = child.stdin.take();
    let talk = async {
        if let Some(mut stdin) = stdin {
            // nft that ends without reading says why on its standard error.
            stdin.write_all(input.as_bytes()).await.ok();
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(PATIENCE, talk).await.map_err(|_| NftError::Slow)?;
    output.map_err(NftError::Start)
}

fn parse(listing: &[u8]) -> Result<Existing, serde_json::Error> {
    #[derive(Deserialize)]
    struct Listing {
        nftables: Vec<Object>,
    }
    #[derive(Deserialize)]
    struct Object {
        chain: Option<Named>,
        set: Option<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    let mut existing = Existing::default();
    for object in serde_json::from_slice::<Listing>(listing)?.nftables {
        existing.chains.extend(object.chain.map(|chain| chain.name));
        existing.sets.extend(object.set.map(|set| set.name));
    }
    Ok(existing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_and_sets_are_found_in_a_listing() {
        let listing = br#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
            {"table": {"family": "ip", "name": "t", "handle": 1}},
            {"map": {"family": "ip", "name": "services", "table": "t", "type": "ipv4_addr", "map": "verdict"}},
            {"set": {"family": "ip", "name": "affinity/a", "table": "t", "type": "ipv4_addr"}},
            {"chain": {"family": "ip", "table": "t", "name": "cluster/a", "handle": 2}},
            {"rule": {"family": "ip", "table": "t", "chain": "cluster/a", "handle": 3, "expr": []}}]}"#;
        let expected = Existing { chains: vec!["cluster/a".into()], sets: vec!["affinity/a".into()] };
        assert_eq!(parse(listing).unwrap(), expected);
        assert!(parse(b"").is_err());
    }
}
