//! Owns having the host join the cluster that it is told of: the node's configuration, and its unit.

use std::path::Path;

use anyhow::{Context, bail};
use keelson_common::provision::{Join, Template, Variable};
use keelson_common::secret::Token;

use super::Apply;
use super::instance::Instance;
use super::report::Outcome;
use crate::cli::files;
use crate::cli::node::{Config, UNIT};
use crate::cli::systemd::Systemd;
use crate::update::identity;

/// The first line of a configuration that is ours to change.
const OURS: &str = "# Written at each boot by `keelctl provision`; change the host's user-data, not this.\n";

/// Writes the node's configuration where it is another, and starts the node anew then.
pub async fn apply(join: &Join, args: &Apply, bus: Option<&str>, dry: bool) -> anyhow::Result<Outcome> {
    // The token is forgotten with the boot: cloud-init brings it again, and a node that has joined needs none.
    let token = token(join, &args.instance)?;
    let token_file = token.as_ref().map(|_| args.run.join("bootstrap-token"));
    let name = join.name.as_deref().map(|rule| name(rule, &args.instance)).transpose()?;
    let there = files::read(&args.node)?;
    if there.as_deref().is_some_and(|there| !is_ours(there)) {
        let node = args.node.display();
        bail!("{node} was written by somebody else: `keelctl leave`, or remove `join` from the user-data");
    }
    if let (false, Some(path), Some(token)) = (dry, &token_file, &token) {
        files::write(path, token, 0o600)?;
    }
    let (text, told) = (text(join, name, token_file.as_deref()), format!("a node of {}", join.server));
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

/// The token, where it is not in a file already.
fn token(join: &Join, instance: &Path) -> anyhow::Result<Option<String>> {
    let Some(path) = &join.token_metadata else { return Ok(join.token.clone()) };
    let token = Instance::read(instance)?.query(path)?;
    match token.parse::<Token>() {
        Ok(_) => Ok(Some(token)),
        Err(problem) => bail!("token-metadata: what the instance's metadata has at `{path}`: {problem}"),
    }
}

/// The node's name by a rule; one without variables is taken as it is.
fn name(rule: &str, instance: &Path) -> anyhow::Result<String> {
    let template = Template::parse(rule).map_err(anyhow::Error::msg)?;
    if template.is_fixed() {
        return Ok(rule.to_owned());
    }
    let name = template.fill(|variable| value(variable, instance)).with_context(|| format!("the name {rule}"))?;
    if name.is_empty() {
        bail!("the name {rule} comes to nothing");
    }
    Ok(name)
}

fn value(variable: &Variable, instance: &Path) -> anyhow::Result<String> {
    match variable {
        Variable::Hostname => {
            let name = nix::unistd::gethostname().context("this host has no name")?;
            let name = name.to_string_lossy();
            Ok(name.split('.').next().unwrap_or_default().to_owned())
        }
        Variable::InstanceId => Instance::read(instance)?.query("v1.instance_id"),
        // The machine's own is no other's business: machine-id(5).
        Variable::MachineId => identity::machine(),
        Variable::Query(path) => Instance::read(instance)?.query(path),
    }
}

fn text(join: &Join, name: Option<String>, token_file: Option<&Path>) -> String {
    let config = Config {
        server: Some(join.server.clone()),
        token_file: token_file.map(|path| path.to_string_lossy().into_owned()).or_else(|| join.token_file.clone()),
        ca_hashes: join.ca_hash.clone(),
        name,
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
        let text = text(&join, Some("one".into()), Some(Path::new("/run/keelson/bootstrap-token")));
        assert!(text.starts_with(OURS) && !text.contains("abcdef"), "{text}");
        assert!(text.contains("token-file = \"/run/keelson/bootstrap-token\"\n"), "{text}");
        assert!(text.contains("[labels]\n\"zone\" = \"a\"\n"), "{text}");
        assert!(text.contains("name = \"one\"\n"), "{text}");
    }

    #[test]
    fn the_token_and_the_name_may_come_from_the_instances_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("instance.json");
        let data = r#"{"ds": {"meta_data": {"token": "abcdef.0123456789abcdef", "rack": "R 7"}},
            "v1": {"instance_id": "i-0A", "region": "x"}}"#;
        std::fs::write(&path, data).unwrap();
        let from = |path: &str| Join { token_metadata: Some(path.to_owned()), ..Join::default() };
        assert_eq!(token(&from("ds.meta_data.token"), &path).unwrap().as_deref(), Some("abcdef.0123456789abcdef"));
        let error = token(&from("v1.region"), &path).unwrap_err().to_string();
        assert!(error.starts_with("token-metadata: what the instance's metadata has at `v1.region`"), "{error}");
        assert_eq!(name("w-{instance-id}-{query:ds.meta_data.rack}", &path).unwrap(), "w-i-0a-r-7");
        assert_eq!(name("As_It_Is", Path::new("/nowhere")).unwrap(), "As_It_Is");
        assert!(name("{query:v1.zone}", &path).unwrap_err().chain().any(|why| why.to_string().contains("v1.zone")));
    }
}
