//! Owns turning a manifest file's text into [`Raw`], with errors that name the key and the nearest
//! valid one.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;
use super::raw::Raw;
use super::source::Source;

/// Parses one file's text; the error points at the key or value it is about.
pub fn parse(source: &Source) -> Result<Raw, Problem> {
    toml::from_str(&source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        source.problem(span.start, explain(&source.text, error.message(), &span))
    })
}

fn explain(text: &str, message: &str, span: &Range<usize>) -> String {
    // Where the text is no TOML at all there are no tables to name.
    let path = DeTable::parse(text).ok().and_then(|table| find(table.get_ref(), span)).unwrap_or_default();
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let key = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        // The key itself is the last step of the path.
        let table = place(&path[..path.len().saturating_sub(1)]);
        return format!("unknown key `{key}`{table}; {}", advice(key, &known, path.len() > 1));
    }
    if message.starts_with("missing field") {
        return format!("the key `{}` is missing{}", quoted.next().unwrap_or_default(), place(&path));
    }
    let message = message.lines().collect::<Vec<_>>().join(", ");
    match path.last() {
        Some(Step { key, .. }) => format!("`{key}`: {message}"),
        None => message,
    }
}

/// Keys of the top level; a table's own keys come with the error.
const TOP: [&str; 21] = [
    "name",
    "ref",
    "version",
    "architecture",
    "include",
    "local",
    "packages",
    "exclude",
    "recommends",
    "kargs",
    "hostname",
    "update",
    "postprocess",
    "drop",
    "units",
    "os-release",
    "initramfs",
    "repository",
    "file",
    "user",
    "group",
];

fn advice(key: &str, known: &[&str], nested: bool) -> String {
    if nested && TOP.contains(&key) && !known.contains(&key) {
        return format!("`{key}` belongs at the top of the file, before the first [table]");
    }
    match nearest(key, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("valid keys: {}", known.join(", ")),
    }
}

/// The candidate most like `word`, when one is like it at all.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .or_else(|| by_prefix(word, candidates))
        .map(|(_, candidate)| candidate)
}

/// `repositories` for `repository`, `pkgs` for nothing.
fn by_prefix<'a>(word: &str, candidates: &[&'a str]) -> Option<(usize, &'a str)> {
    let same = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    candidates.iter().map(|candidate| (same(word, candidate), *candidate)).filter(|(same, _)| *same >= 3).max()
}

/// One step of a path to a value: the key, and whether it holds tables in an array.
struct Step {
    key: String,
    array: bool,
}

fn place(path: &[Step]) -> String {
    let keys: Vec<&str> = path.iter().map(|step| step.key.as_str()).collect();
    match path.last() {
        Some(step) if step.array => format!(" in [[{}]]", keys.join(".")),
        Some(_) => format!(" in [{}]", keys.join(".")),
        None => String::new(),
    }
}

fn find(table: &DeTable<'_>, span: &Range<usize>) -> Option<Vec<Step>> {
    table.iter().find_map(|(key, value)| {
        let step = |array| Step { key: key.get_ref().to_string(), array };
        if key.span() == *span {
            return Some(vec![step(matches!(value.get_ref(), DeValue::Array(_)))]);
        }
        let (mut rest, array) = find_value(value, span)?;
        rest.insert(0, step(array));
        Some(rest)
    })
}

/// The steps below `value`, and whether it is an array.
fn find_value(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<(Vec<Step>, bool)> {
    let inside = match value.get_ref() {
        DeValue::Table(table) => find(table, span).map(|steps| (steps, false)),
        DeValue::Array(items) => items.iter().find_map(|item| find_value(item, span)).map(|(steps, _)| (steps, true)),
        _ => None,
    };
    inside.or_else(|| (value.span() == *span).then(|| (Vec::new(), false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let source = Source { path: "m.toml".into(), text: text.into() };
        parse(&source).unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_name_their_table_and_the_nearest_key() {
        assert_eq!(error("name = 'x'\npakages = []\n"), "m.toml:2:1: unknown key `pakages`; did you mean `packages`?");
        assert_eq!(
            error("[units]\n  enabel = []\n"),
            "m.toml:2:3: unknown key `enabel` in [units]; did you mean `enable`?"
        );
        assert_eq!(
            error("[[repository]]\nsuite = 'trixie'\nurl = 'x'\n"),
            "m.toml:3:1: unknown key `url` in [[repository]]; did you mean `uri`?"
        );
        assert_eq!(error("update = { uri = 'x' }"), "m.toml:1:12: unknown key `uri` in [update]; did you mean `url`?");
    }

    #[test]
    fn keys_like_none_list_the_valid_ones() {
        assert_eq!(
            error("[[group]]\nxyzzy = 1\n"),
            "m.toml:2:1: unknown key `xyzzy` in [[group]]; valid keys: name, gid"
        );
        assert_eq!(
            error("[units]\nkargs = []\n"),
            "m.toml:2:1: unknown key `kargs` in [units]; `kargs` belongs at the top of the file, before the first [table]"
        );
    }

    #[test]
    fn the_list_of_top_keys_is_the_parsers() {
        let message = error("xyzzy = 1");
        let known = message.split_once("valid keys: ").unwrap().1;
        let (mut known, mut top) = (known.split(", ").collect::<Vec<_>>(), TOP.to_vec());
        known.sort_unstable();
        top.sort_unstable();
        assert_eq!(known, top);
    }

    #[test]
    fn missing_and_wrong_values_name_their_key() {
        assert_eq!(error("[[repository]]\nname = 'x'\n"), "m.toml:1:1: the key `suite` is missing in [[repository]]");
        assert_eq!(
            error("recommends = 'no'"),
            "m.toml:1:14: `recommends`: invalid type: string \"no\", expected a boolean"
        );
        assert_eq!(
            error("packages = [\n  'a',\n  3,\n]"),
            "m.toml:3:3: `packages`: invalid type: integer `3`, expected a string"
        );
        assert!(error("version = 3").contains("expected a version such as \"13.1\" or a counter"));
        assert_eq!(
            error("version = { prefx = '1' }"),
            "m.toml:1:13: unknown key `prefx` in [version]; did you mean `prefix`?"
        );
    }

    #[test]
    fn broken_toml_has_a_line() {
        assert!(error("name = 'x'\npackages = [\n").starts_with("m.toml:"), "{}", error("name = 'x'\npackages = [\n"));
        assert!(error("a = 1\na = 2\n").starts_with("m.toml:2:1: "));
    }
}
