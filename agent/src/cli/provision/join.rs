//! Owns having the host join the cluster that it is told of: the node's configuration, and its unit.

use std::path::Path;

use anyhow::bail;
use keelson_common::provision::Join;

use super::Apply;
use super::report::Outcome;
use crate::cli::files;
use crate::cli::node::{Config, UNIT};
use crate::cli::systemd::Systemd;

/// The first line of a configuration that is ours to change.
const OURS: &str = "# Written at each boot by `keelctl provision`; change the host's user-data, not this.\n";

/// Writes the node's configuration where it is another, and starts the node anew then.
pub async fn apply(join: &Join, args: &Apply, bus: Option<&str>, dry: bool) -> anyhow::Result<Outcome> {
    // The token is forgotten with the boot: cloud-init brings it again, and a node that has joined needs none.
    let token_file = join.token.as_ref().map(|_| args.run.join("bootstrap-token"));
    let there = files::read(&args.node)?;
    if there.as_deref().is_some_and(|there| !is_ours(there)) {
        let node = args.node.display();
        bail!("{node} was written by somebody else: `keelctl leave`, or remove `join` from the user-data");
    }
    if let (false, Some(path), Some(token)) = (dry, &token_file, &join.token) {
        files::write(path, token, 0o600)?;
    }
    let (text, told) = (text(join, token_file.as_deref()), format!("a node of {}", join.server));
    bring(&args.node, there.as_deref(), &text, told, bus, dry).await
}

/// Whether a configuration is ours to change.
pub fn is_ours(there: &str) -> bool {
    there.starts_with(OURS)
}

/// The text of a configuration that is ours to change.
pub fn ours(config: &Config) -> String {
    config.text(OURS, None)
}

/// Has the configuration be `text`, where it is `there` now.
pub async fn bring(
    node: &Path,
    there: Option<&str>,
    text: &str,
    told: String,
    bus: Option<&str>,
    dry: bool,
) -> anyhow::Result<Outcome> {
    if there == Some(text) {
        return Ok(Outcome::Unchanged(told));
    }
    if !dry {
        files::write(node, text, 0o600)?;
        Systemd::connect(bus).await?.start_again(UNIT).await?;
    }
    Ok(Outcome::Applied(told))
}

fn text(join: &Join, token_file: Option<&Path>) -> String {
    let config = Config {
        server: Some(join.server.clone()),
        token_file: token_file.map(|path| path.to_string_lossy().into_owned()).or_else(|| join.token_file.clone()),
        ca_hashes: join.ca_hash.clone(),
        name: join.name.clone(),
        addresses: join.addresses.clone(),
        labels: join.labels.clone().into_iter().collect(),
        taints: join.taints.clone(),
        ..Config::default()
    };
    ours(&config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_in_the_configuration() {
        let join = Join {
            server: "https://m:6443".into(),
            token: Some("abcdef.0123456789abcdef".into()),
            ca_hash: vec!["sha256:00".into()],
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            ..Join::default()
        };
        let text = text(&join, Some(Path::new("/run/keelson/bootstrap-token")));
        assert!(text.starts_with(OURS) && !text.contains("abcdef"), "{text}");
        assert!(text.contains("token-file = \"/run/keelson/bootstrap-token\"\n"), "{text}");
        assert!(text.contains("[labels]\n\"zone\" = \"a\"\n"), "{text}");
    }
}
