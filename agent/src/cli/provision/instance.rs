//! Owns what cloud-init knows of the instance, found by the paths that `cloud-init query` takes.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cli::files;

/// How cloud-init marks what was no text.
const BINARY: &str = "ci-b64:";
/// What is found at the top as well: the keys that are the same on all clouds.
const COMMON: &str = "v1";

/// What cloud-init knows of the instance.
#[derive(Debug)]
pub struct Instance {
    path: PathBuf,
    data: Value,
}

impl Instance {
    /// Reads it, secrets included.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = files::read(path)?.with_context(|| {
            format!("{} is not there: cloud-init found no metadata of this instance", path.display())
        })?;
        let data = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(Self { path: path.to_owned(), data })
    }

    /// The text or number at a path.
    pub fn query(&self, path: &str) -> anyhow::Result<String> {
        let found = walk(&self.data, path).or_else(|| walk(self.data.get(COMMON)?, path));
        match found {
            Some(Value::String(text)) => match text.strip_prefix(BINARY) {
                Some(encoded) => decoded(encoded).with_context(|| format!("`{path}` is no text")),
                None => Ok(text.trim().to_owned()),
            },
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(_) => bail!("`{path}` of the instance's metadata is no text; `cloud-init query {path}` shows it"),
            None => bail!(
                "the instance's metadata has no `{path}`; `cloud-init query --list-keys` shows what there is in {}",
                self.path.display()
            ),
        }
    }
}

/// Dashes may be written as underscores; lists are walked by number.
fn walk<'a>(data: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(data, |at, key| match at {
        Value::Object(map) => map
            .get(key)
            .or_else(|| map.iter().find(|(other, _)| other.replace('-', "_") == key).map(|(_, value)| value)),
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

fn decoded(encoded: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn instance() -> Instance {
        let data = json!({
            "ds": { "meta_data": { "join-token": "abcdef.0123456789abcdef\n", "tags": ["a", "b"], "raw": "ci-b64:eA==" } },
            "v1": { "instance_id": "i-1", "region": null },
        });
        Instance { path: "/i.json".into(), data }
    }

    #[test]
    fn paths_are_cloud_inits() {
        let instance = instance();
        let told = |path: &str| instance.query(path).unwrap();
        assert_eq!(told("ds.meta_data.join_token"), "abcdef.0123456789abcdef");
        assert_eq!(told("ds.meta_data.join-token"), "abcdef.0123456789abcdef");
        assert_eq!(told("ds.meta_data.tags.1"), "b");
        assert_eq!(told("ds.meta_data.raw"), "x");
        assert_eq!((told("v1.instance_id"), told("instance_id")), ("i-1".into(), "i-1".into()));
    }

    #[test]
    fn what_is_not_there_is_told_without_what_is() {
        let wrong = |path: &str| format!("{:#}", instance().query(path).unwrap_err());
        assert!(wrong("ds.meta_data.token").contains("has no `ds.meta_data.token`"));
        assert!(wrong("v1.region").contains("is no text") && wrong("ds").contains("is no text"));
        assert!(!wrong("ds").contains("abcdef"));
        let missing = Instance::read(Path::new("/nowhere/i.json")).unwrap_err();
        assert!(missing.to_string().contains("found no metadata"));
    }
}
