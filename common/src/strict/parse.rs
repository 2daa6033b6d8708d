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
    toml::from_str(&source.text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        source.problem(span.start, explain(&source.text, error.message(), &span, top))
    })
}

fn explain(text: &str, message: &str, span: &Range<usize>, top: &[&str]) -> String {
    // Where the text is no TOML at all there are no tables to name.
    let path = DeTable::parse(text).ok().and_then(|table| find(table.get_ref(), span)).unwrap_or_default();
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
    let message = message.lines().collect::<Vec<_>>().join(", ");
    match path.last() {
        Some(Step { key, .. }) => format!("`{key}`: {message}"),
        None => message,
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
