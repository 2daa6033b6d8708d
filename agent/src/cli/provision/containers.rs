//! Owns the containers that a host is told to run: a declaration of each where those of a boot belong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use keelson_common::fs::atomic_write;
use keelson_common::strict::Source;
use keelson_containers::declared::format;
use serde_json::{Map, Value};

use super::report::Outcome;

/// Where declarations of a boot are, below what is forgotten with it.
pub const FOLDER: &str = "containers.d";

/// Has these declared, and no others of a boot.
pub fn apply(wanted: &BTreeMap<String, Map<String, Value>>, run: &Path, dry: bool) -> anyhow::Result<Outcome> {
    let folder = run.join(FOLDER);
    let mut files = BTreeMap::new();
    for (name, declaration) in wanted {
        files.insert(format!("{name}.toml"), text(name, declaration)?);
    }
    let there = there(&folder)?;
    if there == files {
        return Ok(Outcome::Unchanged(told(&files)));
    }
    if !dry {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for name in there.keys().filter(|name| !files.contains_key(*name)) {
            let path = folder.join(name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        for (name, text) in files.iter().filter(|(name, text)| there.get(*name) != Some(text)) {
            // Its environment may have secrets.
            let path = folder.join(name);
            atomic_write(&path, text.as_bytes(), 0o600).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(Outcome::Applied(told(&files)))
}

fn told(files: &BTreeMap<String, String>) -> String {
    let names: Vec<&str> = files.keys().map(|name| name.trim_end_matches(".toml")).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("declared {names}; `keelctl containers` shows how they are")
}

/// The text of a declaration, which must be a good one.
fn text(name: &str, declaration: &Map<String, Value>) -> anyhow::Result<String> {
    let text = toml::to_string(declaration).with_context(|| format!("containers.{name}"))?;
    let source = Source { path: format!("{name}.toml").into(), text: text.clone() };
    match format::parse(source, &|path| fs::read_to_string(path)) {
        Ok(Some(_)) => Ok(text),
        Ok(None) => bail!("containers.{name} declares nothing: it has a list `container`, see keelson-containers(5)"),
        Err(problems) => {
            let problems: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            bail!("containers.{name}: {}", problems.join("; "))
        }
    }
}

fn there(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        found.insert(name, text);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(value: &Value) -> BTreeMap<String, Map<String, Value>> {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn declarations_come_and_go_and_are_left_alone_when_right() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let two = wanted(&json!({
            "web": { "container": [{ "image": "web:1", "ports": ["80:8080"], "environment": { "A": "b" } }] },
            "job": { "container": [{ "image": "job:1" }] },
        }));
        assert!(matches!(apply(&two, run, true).unwrap(), Outcome::Applied(_)) && !run.join(FOLDER).exists());
        assert!(matches!(apply(&two, run, false).unwrap(), Outcome::Applied(_)));
        assert!(matches!(apply(&two, run, false).unwrap(), Outcome::Unchanged(_)));
        assert!(run.join(FOLDER).join("web.toml").exists());
        let none = BTreeMap::new();
        assert!(matches!(apply(&none, run, false).unwrap(), Outcome::Applied(_)));
        assert_eq!(fs::read_dir(run.join(FOLDER)).unwrap().count(), 0);
    }

    #[test]
    fn a_wrong_one_is_refused_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = wanted(&json!({ "web": { "container": [{ "imagee": "web:1" }] } }));
        let error = apply(&wrong, folder.path(), false).unwrap_err().to_string();
        assert_eq!(error, "containers.web: unknown key `imagee` in [[container]]; did you mean `image`?");
        assert!(!folder.path().join(FOLDER).exists());
        let empty = wanted(&json!({ "web": {} }));
        assert!(apply(&empty, folder.path(), false).unwrap_err().to_string().contains("declares nothing"));
    }
}
