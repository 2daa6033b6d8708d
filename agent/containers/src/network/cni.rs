//! Owns the CNI protocol as a runtime speaks it: plugins run in their order, each given the result
//! of the one before; undone in the opposite order with the result that was kept.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::{Error, Result};

/// The version of the protocol spoken.
pub(super) const VERSION: &str = "1.0.0";
/// The interface in the container.
pub(super) const INTERFACE: &str = "eth0";
/// A plugin that takes longer is given up and ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the plugins.
#[derive(Debug, Clone)]
pub(super) struct Plugins {
    folder: PathBuf,
}

/// One call: which container, and its namespace where there still is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Its namespace; none on a DEL after the namespace is gone.
    pub netns: Option<&'a Path>,
}

impl Plugins {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Runs ADD through `chain`, configurations as [`configured`] makes them, and gives the last
    /// result. What a failed ADD did is undone.
    pub(super) async fn add(&self, chain: &[Value], call: Call<'_>) -> Result<Value> {
        let mut result = Value::Null;
        for plugin in chain {
            match self.run("ADD", plugin, &result, call).await {
                Ok(next) => result = next,
                Err(error) => {
                    if let Err(error) = self.del(chain, &result, call).await {
                        tracing::warn!(id = call.id, %error, "cannot undo a failed network");
                    }
                    return Err(error);
                }
            }
        }
        Ok(result)
    }

    /// Runs DEL through `chain` backwards; every plugin is tried, the first failure is told.
    pub(super) async fn del(&self, chain: &[Value], result: &Value, call: Call<'_>) -> Result<()> {
        let mut outcome = Ok(());
        for plugin in chain.iter().rev() {
            let ran = self.run("DEL", plugin, result, call).await.map(drop);
            outcome = outcome.and(ran);
        }
        outcome
    }

    async fn run(&self, verb: &str, plugin: &Value, previous: &Value, call: Call<'_>) -> Result<Value> {
        let name = plugin["type"].as_str().unwrap_or_default();
        let path = self.folder.join(name);
        let mut input = plugin.clone();
        if !previous.is_null() {
            input["prevResult"] = previous.clone();
        }
        let what = || format!("run {verb} of the network plugin {}", path.display());
        let mut child = Command::new(&path)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", call.id)
            .env("CNI_NETNS", call.netns.unwrap_or(Path::new("")))
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::failed(what(), hint(&error)))?;
        let stdin = child.stdin.take();
        let talk = async {
            if let Some(mut stdin) = stdin {
                // A plugin that ends without reading says why in its result.
                stdin.write_all(input.to_string().as_bytes()).await.ok();
            }
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(PATIENCE, talk)
            .await
            .map_err(|_| Error::failed(what(), format!("no answer within {} s", PATIENCE.as_secs())))?
            .map_err(|error| Error::failed(what(), error))?;
        answer(output.status.success(), &output.stdout, &output.stderr).map_err(|why| Error::failed(what(), why))
    }
}

fn hint(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "it is not installed (Debian: containernetworking-plugins; --cni names the folder)".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Reads what a plugin printed: its result, or its error as `{"code", "msg", "details"}`.
fn answer(success: bool, stdout: &[u8], stderr: &[u8]) -> std::result::Result<Value, String> {
    let printed: Option<Value> = serde_json::from_slice(stdout).ok();
    if success {
        return if stdout.is_empty() { Ok(Value::Null) } else { printed.ok_or("its result is not JSON".to_owned()) };
    }
    let error = printed.unwrap_or_default();
    match (error["msg"].as_str(), error["details"].as_str()) {
        (Some(message), None | Some("")) => Err(message.to_owned()),
        (Some(message), Some(details)) => Err(format!("{message}: {details}")),
        (None, _) => Err(keelson_common::command::tail(if stderr.is_empty() { stdout } else { stderr })),
    }
}

/// Makes the configurations of a network's plugins whole: version, name, and of `runtime` what a
/// plugin says it can take.
pub(super) fn configured(network: &str, plugins: Vec<Value>, runtime: &Value) -> Vec<Value> {
    let configure = |mut plugin: Value| {
        plugin["cniVersion"] = json!(VERSION);
        plugin["name"] = json!(network);
        let able = |name: &str| plugin["capabilities"][name] == true;
        let given: serde_json::Map<String, Value> = runtime
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, value)| !value.is_null() && able(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !given.is_empty() {
            plugin["runtimeConfig"] = Value::Object(given);
        }
        plugin
    };
    plugins.into_iter().map(configure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_given_what_it_can_take() {
        let plugins = vec![
            json!({ "type": "bridge", "capabilities": { "mac": true, "ips": true } }),
            json!({ "type": "tuning" }),
        ];
        let runtime = json!({ "mac": "02:00:00:00:00:01", "ips": null, "bandwidth": 1 });
        let chain = configured("keel0", plugins, &runtime);
        assert_eq!(chain[0]["runtimeConfig"], json!({ "mac": "02:00:00:00:00:01" }));
        assert_eq!(chain[1], json!({ "type": "tuning", "cniVersion": "1.0.0", "name": "keel0" }));
    }

    #[test]
    fn errors_of_plugins_are_told() {
        assert_eq!(answer(true, b"", b""), Ok(Value::Null));
        assert_eq!(answer(true, br#"{"ips":[]}"#, b""), Ok(json!({ "ips": [] })));
        assert!(answer(true, b"x", b"").is_err());
        assert_eq!(answer(false, br#"{"code":7,"msg":"a"}"#, b"x"), Err("a".to_owned()));
        assert_eq!(answer(false, br#"{"code":7,"msg":"a","details":"b"}"#, b""), Err("a: b".to_owned()));
        assert_eq!(answer(false, b"", b"panic"), Err("panic".to_owned()));
    }

    fn plugin(folder: &Path, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Plugins that note what they are asked, and give their own name as the result.
    async fn chained(second: &str) -> (Result<Value>, String) {
        let folder = tempfile::tempdir().unwrap();
        let note = format!("cat >> {0}/log; echo \" $CNI_COMMAND\" >> {0}/log; ", folder.path().display());
        plugin(folder.path(), "one", &format!("{note} echo '{{\"by\":1}}'"));
        plugin(folder.path(), "two", &format!("{note} {second}"));
        let chain = [json!({ "type": "one" }), json!({ "type": "two" })];
        let call = Call { id: "c", netns: None };
        let result = Plugins::new(folder.path()).add(&chain, call).await;
        (result, std::fs::read_to_string(folder.path().join("log")).unwrap())
    }

    #[tokio::test]
    async fn each_plugin_gets_the_result_before_it() {
        let (result, log) = chained("echo '{\"by\":2}'").await;
        assert_eq!(result.unwrap(), json!({ "by": 2 }));
        assert_eq!(log, "{\"type\":\"one\"} ADD\n{\"type\":\"two\",\"prevResult\":{\"by\":1}} ADD\n");
    }

    #[tokio::test]
    async fn a_failed_add_is_undone_backwards() {
        let (result, log) = chained("echo '{\"msg\":\"no\"}'; exit 1").await;
        assert!(result.unwrap_err().to_string().ends_with("/two: no"));
        let verbs: Vec<_> = log.lines().map(|line| (line.contains("two"), line.ends_with("ADD"))).collect();
        assert_eq!(verbs, [(false, true), (true, true), (true, false), (false, false)]);
    }

    #[tokio::test]
    async fn a_plugin_that_is_not_there_is_named() {
        let chain = [json!({ "type": "bridge" })];
        let ran = Plugins::new(Path::new("/nowhere")).add(&chain, Call { id: "c", netns: None }).await;
        let text = ran.unwrap_err().to_string();
        assert!(text.contains("/nowhere/bridge") && text.contains("containernetworking-plugins"), "{text}");
    }
}
