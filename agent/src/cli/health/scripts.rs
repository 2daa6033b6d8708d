//! Owns the checks of a host's own: executables in folders, each of which exits with 0 when it finds the host
//! well.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use keelson_common::command::tail;
use tokio::process::Command;

use crate::health::report::{Check, Standing};

/// How long one may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The folder of those that only warn, below the others'.
const WANTED: &str = "wanted.d";

/// An executable that looks at the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    name: String,
    path: PathBuf,
    required: bool,
}

/// Those in `folders`; of two with a name the one in the later folder counts.
pub fn found(folders: &[PathBuf]) -> Vec<Script> {
    let mut scripts = BTreeMap::new();
    for folder in folders {
        for (folder, required) in [(folder.clone(), true), (folder.join(WANTED), false)] {
            for path in executables(&folder) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                scripts.insert(name.clone(), Script { name, path, required });
            }
        }
    }
    scripts.into_values().collect()
}

fn executables(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let executable = |path: &PathBuf| {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        !hidden && path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    entries.map(|entry| entry.path()).filter(executable).collect()
}

/// Runs one.
pub async fn run(script: Script) -> Check {
    let Script { name, path, required } = script;
    let bad = if required { Standing::Bad } else { Standing::Warning };
    let mut command = Command::new(&path);
    command.stdin(Stdio::null()).kill_on_drop(true).process_group(0);
    match tokio::time::timeout(LIMIT, command.output()).await {
        Err(_) => Check::new(name, bad, format!("{} did not end within {} s", path.display(), LIMIT.as_secs())),
        Ok(Err(error)) => Check::new(name, bad, format!("{} cannot be run: {error}", path.display())),
        Ok(Ok(output)) => {
            let said = tail(&[output.stdout, output.stderr].concat());
            let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned();
            match output.status.success() {
                true => Check::new(name, Standing::Good, if last.is_empty() { "is content".to_owned() } else { last }),
                false => Check::new(name, bad, format!("{last} ({})", output.status).trim_start().to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, name: &str, text: &str, mode: u32) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn they_are_found_and_asked() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().join("usr"), folder.path().join("etc"), folder.path().join("none")];
        script(&folders[0], "one", "exit 3", 0o755);
        script(&folders[0], "two", "echo the disk is old >&2; exit 1", 0o755);
        script(&folders[0], "notes", "exit 1", 0o644);
        script(&folders[1], "one", "exit 0", 0o755);
        script(&folders[1], "wanted.d/three", "exit 1", 0o755);
        let scripts = found(&folders);
        let mut checks = Vec::new();
        for script in scripts {
            checks.push(run(script).await);
        }
        let short: Vec<_> = checks.iter().map(|check| (check.name.as_str(), check.standing)).collect();
        assert_eq!(short, [("one", Standing::Good), ("three", Standing::Warning), ("two", Standing::Bad)]);
        assert_eq!(checks[2].message, "the disk is old (exit status: 1)");
    }
}
