//! Owns templates of user-data: `${name}` stands for a host's word, `$${` for `${` itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
        let mut out = String::new();
        let mut rest = self.text.as_str();
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = &from[2..];
                continue;
            }
            out.push_str(before);
            let line = || self.text[..self.text.len() - from.len()].matches('\n').count() + 1;
            let Some((name, after)) = from[2..].split_once('}').filter(|(name, _)| !name.contains('\n')) else {
                return Err(TemplateError::Open { path: self.path.clone(), line: line() });
            };
            let Some(word) = words.get(name) else {
                let known: Vec<String> = words.keys().map(|word| format!("`${{{word}}}`")).collect();
                let (path, name, known) = (self.path.clone(), name.to_owned(), known.join(", "));
                return Err(TemplateError::Unknown { path, line: line(), name, known });
            };
            out.push_str(word);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
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
