//! Owns the containers that a host is told to run: a declaration of each where those of a boot belong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use keelson_common::strict::Source;
use keelson_containers::declared::format;
use serde_json::{Map, Value};

use super::report::Outcome;
use crate::cli::files as kept;

/// Texts of declarations, by the names of their files.
pub type Files = BTreeMap<String, String>;

/// Where declarations of a boot are, below what is forgotten with it.
pub const FOLDER: &str = "containers.d";

/// The files that declare these, by their names; or all that is wrong with them.
pub fn files(wanted: &BTreeMap<String, Map<String, Value>>) -> Result<Files, Vec<String>> {
    let (mut files, mut problems) = (Files::new(), Vec::new());
    for (name, declaration) in wanted {
        match text(name, declaration) {
            Ok(text) => drop(files.insert(format!("{name}.toml"), text)),
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

/// Has these declared, and no others of a boot.
pub fn apply(files: &Files, run: &Path, dry: bool) -> anyhow::Result<Outcome> {
    let folder = run.join(FOLDER);
    let there = there(&folder)?;
    if there == *files {
        return Ok(Outcome::Unchanged(told(files)));
    }
    if !dry {
        for name in there.keys().filter(|name| !files.contains_key(*name)) {
            let path = folder.join(name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        for (name, text) in files.iter().filter(|(name, text)| there.get(*name) != Some(text)) {
            // Its environment may have secrets.
            kept::write(&folder.join(name), text, 0o600)?;
        }
    }
    Ok(Outcome::Applied(told(files)))
}

fn told(files: &Files) -> String {
    let names: Vec<&str> = files.keys().map(|name| name.trim_end_matches(".toml")).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("declared {names}; `keelctl containers` shows how they are")
}

/// The text of a declaration, which must be a good one.
fn text(name: &str, declaration: &Map<String, Value>) -> anyhow::Result<String> {
    let text = toml::to_string(declaration).with_context(|| format!("containers.{name}"))?;
    let source = Source { path: format!("{name}.toml").into(), text: text.clone() };
    match format::parse_secret(source, &|path| fs::read_to_string(path)) {
        Ok(Some(_)) => Ok(text),
        Ok(None) => bail!("containers.{name} declares nothing: it has a list `container`, see keelson-containers(5)"),
        Err(problems) => {
            let problems: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            bail!("containers.{name}: {}", problems.join("; "))
        }
    }
}

fn there(folder: &Path) -> anyhow::Result<Files> {
    let mut found = Files::new();
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

    fn declared(value: &Value) -> Result<Files, Vec<String>> {
        files(&serde_json::from_value(value.clone()).unwrap())
    }

    #[test]
    fn declarations_come_and_go_and_are_left_alone_when_right() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let two = declared(&json!({
            "web": { "container": [{ "image": "web:1", "ports": ["80:8080"], "environment": { "A": "b" } }] },
            "job": { "container": [{ "image": "job:1" }] },
        }))
        .unwrap();
        assert!(matches!(apply(&two, run, true).unwrap(), Outcome::Applied(_)) && !run.join(FOLDER).exists());
        assert!(matches!(apply(&two, run, false).unwrap(), Outcome::Applied(_)));
        assert!(matches!(apply(&two, run, false).unwrap(), Outcome::Unchanged(_)));
        assert!(run.join(FOLDER).join("web.toml").exists());
        assert!(matches!(apply(&Files::new(), run, false).unwrap(), Outcome::Applied(_)));
        assert_eq!(fs::read_dir(run.join(FOLDER)).unwrap().count(), 0);
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let problems = declared(&json!({ "web": { "container": [{ "imagee": "web:1" }] }, "job": {} })).unwrap_err();
        assert!(problems[0].contains("containers.job declares nothing"), "{problems:?}");
        assert_eq!(problems[1], "containers.web: unknown key `imagee` in [[container]]; did you mean `image`?");
        let secret =
            declared(&json!({ "web": { "container": [{ "image": "web:1", "environment": { "PIN": 20240117 } }] } }));
        let told = secret.unwrap_err().concat();
        assert!(told.contains("invalid type: integer, expected") && !told.contains("20240117"), "{told}");
    }
}
