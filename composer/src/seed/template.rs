//! Owns templates of user-data: `${name}` stands for a host's word, `$${` for `${` itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::expand::{Wrong, expand};

/// What stands for `${` itself.
const ESCAPE: &str = "$${";

/// A template.
#[derive(Debug, Clone)]
pub struct Template {
    path: PathBuf,
    text: String,
}

/// Why there is no document of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// A word that no host has, or this one does not.
    #[error("{}:{line}: there is no `${{{name}}}` for this host; there is {known} (write `$${{` for `${{` itself)", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The word.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A `${` without its `}`.
    #[error("{}:{line}: `${{` without `}}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

impl Template {
    /// The template that a file holds.
    pub fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text }
    }

    /// The document for the words of a host.
    pub fn render(&self, words: &BTreeMap<String, String>) -> Result<String, TemplateError> {
        let mut out = Vec::new();
        let mut before = 0;
        for piece in self.text.split(ESCAPE) {
            let expanded = expand(piece, |name| words.get(name).map(String::as_str));
            out.push(expanded.map_err(|wrong| self.error(&wrong, before, words))?);
            before += piece.len() + ESCAPE.len();
        }
        Ok(out.join("${"))
    }

    /// What is wrong with a piece that begins after so many bytes.
    fn error(&self, wrong: &Wrong<'_>, before: usize, words: &BTreeMap<String, String>) -> TemplateError {
        let (Wrong::Open { at } | Wrong::Unknown { at, .. }) = *wrong;
        let line = self.text[..before + at].matches('\n').count() + 1;
        let path = self.path.clone();
        match *wrong {
            Wrong::Open { .. } => TemplateError::Open { path, line },
            Wrong::Unknown { name, .. } => {
                let known: Vec<String> = words.keys().map(|word| format!("`${{{word}}}`")).collect();
                TemplateError::Unknown { path, line, name: name.to_owned(), known: known.join(", ") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> Result<String, TemplateError> {
        let words = [("name", "one"), ("role", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        Template::new("t.yaml".as_ref(), text.to_owned()).render(&words.into())
    }

    #[test]
    fn words_are_put_in_once_and_an_escape_is_left() {
        assert_eq!(render("a ${name}b${role} $${name} $HOME $(x)").unwrap(), "a oneb ${name} $HOME $(x)");
    }

    #[test]
    fn what_is_no_word_has_its_line() {
        let error = render("a\n  ${nam}\n").unwrap_err().to_string();
        assert_eq!(
            error,
            "t.yaml:2: there is no `${nam}` for this host; there is `${name}`, `${role}` (write `$${` for `${` itself)"
        );
        assert_eq!(render("${name").unwrap_err().to_string(), "t.yaml:1: `${` without `}`");
    }
}
