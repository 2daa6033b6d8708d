//! Owns judging user-data without a boot: what is Keelson's by our schema, the rest by cloud-init's own
//! schema command.

use std::fs;
use std::io;
use std::process::Command;

use anyhow::{Context, Result};
use keelson_common::provision::{KEY, from_value};
use serde_json::Value;

use super::yaml;

/// What cloud-init knows a cloud-config by.
const HEADER: &str = "#cloud-config";

/// All that is wrong with a document by our rules; nothing where all is well.
pub fn ours(user_data: &str) -> Vec<String> {
    judged(user_data).unwrap_or_else(|problem| vec![problem])
}

fn judged(user_data: &str) -> Result<Vec<String>, String> {
    let config = read(user_data)?;
    // The host has what cloud-init read, and most of ours is text.
    let others = yaml::others(user_data)?.into_iter().filter(|other| other.is_below(KEY));
    let mut problems: Vec<String> = others.map(|other| other.to_string()).collect();
    if let Some(Err(wrong)) = config.get(KEY).map(from_value) {
        problems.extend(wrong.into_iter().map(|problem| format!("{KEY}: {problem}")));
    }
    Ok(problems)
}

/// Reads a document as we do; one that is empty is an empty mapping.
pub fn read(user_data: &str) -> Result<Value, String> {
    if user_data.lines().next().map(str::trim_end) != Some(HEADER) {
        return Err(format!("its first line must be `{HEADER}`: cloud-init does not read it otherwise"));
    }
    let config: Value = serde_saphyr::from_str(user_data).map_err(|error| format!("it is no YAML: {error}"))?;
    match config {
        Value::Null => Ok(Value::Object(serde_json::Map::new())),
        Value::Object(_) => Ok(config),
        _ => Err("it must be a mapping".to_owned()),
    }
}

/// What cloud-init's schema command says of a document.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it.
    Good,
    /// What is wrong.
    Bad(String),
    /// There is no cloud-init on this machine.
    Nobody,
}

/// Has cloud-init judge all of a document but our key, which it does not know here.
pub fn theirs(user_data: &str) -> Result<Verdict> {
    let config = yaml::as_cloud_init(user_data).and_then(|text| read(&text));
    let mut config = config.map_err(anyhow::Error::msg)?;
    if let Some(map) = config.as_object_mut() {
        map.remove(KEY);
    }
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().context("cannot write to the temporary folder")?;
    // JSON is YAML too.
    fs::write(file.path(), format!("{HEADER}\n{config}\n"))?;
    let output = match Command::new("cloud-init").args(["schema", "--config-file"]).arg(file.path()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Verdict::Nobody),
        Err(error) => return Err(error).context("cannot run cloud-init"),
    };
    if output.status.success() {
        return Ok(Verdict::Good);
    }
    let said = [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).trim().to_owned());
    Ok(Verdict::Bad(said.join("\n").replace(&*file.path().to_string_lossy(), "user-data").trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_judged_and_the_rest_left_to_cloud_init() {
        assert_eq!(ours("#cloud-config\nusers: [a]\nanything: 1\n"), Vec::<String>::new());
        assert_eq!(ours("#cloud-config\n"), Vec::<String>::new());
        let wrong = ours("#cloud-config\nkeelson:\n  kernel-argument: {append: [a]}\n");
        assert_eq!(wrong, ["keelson: unknown key `kernel-argument`; did you mean `kernel-arguments`?"]);
    }

    #[test]
    fn what_cloud_init_would_not_read_is_told() {
        assert!(ours("keelson: {}\n")[0].contains("first line must be"));
        assert!(ours("#cloud-config\n- a\n")[0].contains("must be a mapping"));
        assert!(ours("#cloud-config\na: [\n")[0].starts_with("it is no YAML"));
    }

    #[test]
    fn what_a_host_would_read_as_a_number_is_refused_in_what_is_ours() {
        let document = |start: &str| {
            format!(
                "#cloud-config\nwrite_files: [{{path: /x, permissions: 0644}}]\nkeelson:\n  update:\n    \
                 policy: windows\n    windows:\n    - {{start: {start}, length: 2h}}\n"
            )
        };
        let wrong = ours(&document("22:30"));
        assert!(wrong.len() == 1 && wrong[0].starts_with("line 7: `keelson.update.windows[0].start`"), "{wrong:?}");
        assert_eq!(ours(&document("\"22:30\"")), Vec::<String>::new());
    }

    #[test]
    fn the_examples_are_good() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/examples");
        let examples: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(examples.len() >= 2);
        for path in examples {
            assert_eq!(ours(&fs::read_to_string(&path).unwrap()), Vec::<String>::new(), "{}", path.display());
        }
    }
}
