//! Owns `KEY=VALUE` lists and the files they are read from: environments and labels.

use std::collections::HashMap;
use std::path::Path;

/// A variable for `--env`: a name alone takes its value from `own`, and unsets it where there is none.
pub fn variable(text: &str, own: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    if text.is_empty() || text.starts_with('=') {
        return Err(format!("invalid environment variable: {text}"));
    }
    match text.contains('=') {
        true => Ok(text.to_owned()),
        false => Ok(own(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}"))),
    }
}

/// The lines of an `--env-file`: comments and empty lines are skipped, a name alone takes its value
/// from `own` or is left out.
pub fn file(content: &str, own: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for line in content.strip_prefix('\u{feff}').unwrap_or(content).lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        let name = name.trim_start();
        if name.contains(char::is_whitespace) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        match value {
            Some(value) => all.push(format!("{name}={value}")),
            None => all.extend(own(name).map(|value| format!("{name}={value}"))),
        }
    }
    Ok(all)
}

/// Reads the files in order.
pub fn files(paths: &[String], own: impl Fn(&str) -> Option<String> + Copy) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for path in paths {
        let content =
            std::fs::read_to_string(Path::new(path)).map_err(|error| anyhow::anyhow!("open {path}: {error}"))?;
        all.extend(file(&content, own).map_err(|why| anyhow::anyhow!("invalid env file ({path}): {why}"))?);
    }
    Ok(all)
}

/// `KEY=VALUE` pairs as a map; a key alone has an empty value, and the last of a key counts.
pub fn map(pairs: impl IntoIterator<Item = impl AsRef<str>>) -> HashMap<String, String> {
    let split = |pair: &str| {
        pair.split_once('=').map_or((pair.to_owned(), String::new()), |(key, value)| (key.to_owned(), value.to_owned()))
    };
    pairs.into_iter().map(|pair| split(pair.as_ref())).collect()
}

/// The variable of this process.
pub fn own(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    #[test]
    fn variables() {
        assert_eq!(variable("A=b=c", own).as_deref(), Ok("A=b=c"));
        assert_eq!(variable("HOME", own).as_deref(), Ok("HOME=/root"));
        assert_eq!(variable("NONE", own).as_deref(), Ok("NONE"));
        assert_eq!(variable("E=", own).as_deref(), Ok("E="));
        assert!(variable("", own).is_err() && variable("=x", own).is_err());
    }

    #[test]
    fn env_files() {
        let content = "\u{feff}# comment\n\n  A=1 \nB = 2\nHOME\nNONE\nC=\"quoted\"\n";
        assert_eq!(file(content, own), Err("variable 'B ' contains whitespaces".to_owned()));
        let content = content.replace("B =", "B=");
        assert_eq!(file(&content, own).unwrap(), ["A=1 ", "B= 2", "HOME=/root", "C=\"quoted\""]);
        assert_eq!(file("=x", own), Err("no variable name on line '=x'".to_owned()));
    }

    #[test]
    fn labels() {
        let labels = map(["a=1", "b", "a=2=3"]);
        assert_eq!((labels["a"].as_str(), labels["b"].as_str()), ("2=3", ""));
    }
}
