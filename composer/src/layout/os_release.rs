//! Owns `/usr/lib/os-release`.

use std::collections::BTreeMap;

use super::error::LayoutError;
use super::root::Root;

const PATH: &str = "usr/lib/os-release";

/// Sets fields, replacing those that are there and adding the others at the end, by name.
pub fn set(root: &Root, fields: &BTreeMap<String, String>) -> Result<(), LayoutError> {
    if fields.is_empty() {
        return Ok(());
    }
    let text = root.read(PATH)?.unwrap_or_default();
    root.rewrite(PATH, edit(&text, fields))
}

/// Says in os-release which version of which product this is.
pub fn stamp(root: &Root, name: &str, version: &str) -> Result<(), LayoutError> {
    let fields = [("IMAGE_ID", name), ("IMAGE_VERSION", version), ("OSTREE_VERSION", version)];
    set(root, &fields.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}

fn edit(text: &str, fields: &BTreeMap<String, String>) -> String {
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.to_owned());
    let mut rest = fields.clone();
    let mut edited = String::new();
    for line in text.lines() {
        match key(line).and_then(|key| rest.remove_entry(&key)) {
            Some((key, value)) => edited += &format!("{key}={}\n", quote(&value)),
            None => edited += &format!("{line}\n"),
        }
    }
    rest.iter().for_each(|(key, value)| edited += &format!("{key}={}\n", quote(value)));
    edited
}

/// A shell word, as os-release(5) wants.
fn quote(value: &str) -> String {
    if !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return value.to_owned();
    }
    let mut quoted = "\"".to_owned();
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_adds_and_quotes() {
        let fields = [("NAME", "A \"$b\""), ("VARIANT_ID", "host")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let text = edit("NAME=\"Debian\"\nID=debian\n", &fields);
        assert_eq!(text, "NAME=\"A \\\"\\$b\\\"\"\nID=debian\nVARIANT_ID=host\n");
    }
}
