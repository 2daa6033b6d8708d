//! Owns turning a file's text into a strict serde type, with errors that name the key and the
//! nearest valid one.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use super::source::Source;

/// Parses one file's text; the error points at the key or value it is about. `top` are the keys of
/// the top level, to tell a key that stands in the wrong table from one that is none.
pub fn parse<T: DeserializeOwned>(source: &Source, top: &[&str]) -> Result<T, Problem> {
    read(source, top, Values::Shown)
}

/// As [`parse`], for what may hold secrets: of a value that is wrong the error says the kind, and never the value.
pub fn parse_secret<T: DeserializeOwned>(source: &Source, top: &[&str]) -> Result<T, Problem> {
    read(source, top, Values::Hidden)
}

/// Whether errors show the values that they are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Shown,
    Hidden,
}

fn read<T: DeserializeOwned>(source: &Source, top: &[&str], values: Values) -> Result<T, Problem> {
    toml::from_str(&source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        source.problem(span.start, explain(&source.text, error.message(), &span, top, values))
    })
}

fn explain(text: &str, message: &str, span: &Range<usize>, top: &[&str], values: Values) -> String {
    // Where the text is no TOML at all there are no tables to name.
    let table = DeTable::parse(text).ok();
    let path = table.as_ref().and_then(|table| find(table.get_ref(), span)).unwrap_or_default();
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let key = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        // The key itself is the last step of the path.
        let table = place(&path[..path.len().saturating_sub(1)]);
        return format!("unknown key `{key}`{table}; {}", advice(key, &known, top, path.len() > 1));
    }
    if message.starts_with("missing field") {
        return format!("the key `{}` is missing{}", quoted.next().unwrap_or_default(), place(&path));
    }
    // What is no TOML is told by what TOML is, without a value.
    if values == Values::Hidden && table.is_some() {
        let keys: Vec<&str> = path.iter().map(|step| step.key.as_str()).collect();
        let message = without_value(message);
        return if keys.is_empty() { message } else { format!("`{}`: {message}", keys.join(".")) };
    }
    let message = message.lines().collect::<Vec<_>>().join(", ");
    match path.last() {
        Some(Step { key, .. }) => format!("`{key}`: {message}"),
        None => message,
    }
}

/// serde's message about a value: its kind, and what is expected.
fn without_value(message: &str) -> String {
    const UNKNOWN: &str = "unknown variant";
    // Behind the value, which may be any text.
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    let wrong = ["invalid type: ", "invalid value: "].into_iter().find(|wrong| message.starts_with(*wrong));
    match (wrong, expected) {
        (Some(wrong), Some(expected)) => {
            // A kind stands alone (`map`), or before its value in quotes.
            let kind = message[wrong.len()..].split(['`', '"', ',']).next().unwrap_or_default();
            format!("{wrong}{}, expected {expected}", kind.trim_end())
        }
        (None, Some(expected)) if message.starts_with(UNKNOWN) => format!("{UNKNOWN}, expected {expected}"),
        _ => "it is not of the kind that belongs here".to_owned(),
    }
}

fn advice(key: &str, known: &[&str], top: &[&str], nested: bool) -> String {
    if nested && top.contains(&key) && !known.contains(&key) {
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
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "what is in it is never read")]
    struct Whole {
        outer: Outer,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "what is in it is never read")]
    struct Outer {
        text: Option<String>,
        list: Option<Vec<String>>,
        inner: Option<std::collections::BTreeMap<String, String>>,
        small: Option<u8>,
        word: Option<Word>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
        Two,
    }

    fn source(text: &str) -> Source {
        Source { path: "f.toml".into(), text: text.into() }
    }

    fn hidden(text: &str) -> String {
        parse_secret::<Whole>(&source(text), &["outer"]).unwrap_err().message
    }

    #[test]
    fn a_value_is_shown_where_it_is_no_secret() {
        let problem = parse::<Whole>(&source("[outer]\ntext = 20240117\n"), &["outer"]).unwrap_err();
        assert_eq!(problem.to_string(), "f.toml:2:8: `text`: invalid type: integer `20240117`, expected a string");
    }

    #[test]
    fn of_a_secret_only_its_kind_is_told() {
        let told = |value: &str| hidden(&format!("[outer]\n{value}\n"));
        assert_eq!(told("text = 20240117"), "`outer.text`: invalid type: integer, expected a string");
        assert_eq!(told("text = 1.5"), "`outer.text`: invalid type: floating point, expected a string");
        assert_eq!(told("text = true"), "`outer.text`: invalid type: boolean, expected a string");
        assert_eq!(told("list = [20240117]"), "`outer.list`: invalid type: integer, expected a string");
        assert_eq!(told("inner = { a = 20240117 }"), "`outer.inner.a`: invalid type: integer, expected a string");
        assert_eq!(told("inner = \"S3CRET, expected `x`\""), "`outer.inner`: invalid type: string, expected a map");
        assert_eq!(told("inner = '''\nS3CRET\n'''"), "`outer.inner`: invalid type: string, expected a map");
        assert_eq!(told("small = 20240117"), "`outer.small`: invalid value: integer, expected u8");
        assert_eq!(told("word = \"S3CRET\""), "`outer.word`: unknown variant, expected `one` or `two`");
        assert_eq!(without_value("S3CRET, expected S3CRET"), "it is not of the kind that belongs here");
    }

    #[test]
    fn keys_are_told_all_the_same() {
        assert_eq!(hidden("[outer]\ntxt = \"S3CRET\"\n"), "unknown key `txt` in [outer]; did you mean `text`?");
        assert_eq!(hidden(""), "the key `outer` is missing");
        assert!(!hidden("[outer]\ntext = \"S3CRET\n").contains("S3CRET"));
    }
}
