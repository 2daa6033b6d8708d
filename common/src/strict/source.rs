//! Owns where in which file a value was written, so that a problem found late still has a line.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Problem;

/// One file that a person wrote, and its text.
#[derive(Debug)]
pub struct Source {
    /// Its path as it is shown in messages.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

impl Source {
    /// The folder its relative paths start from.
    pub fn dir(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// A problem at a byte offset of the text.
    pub fn problem(&self, offset: usize, message: impl Into<String>) -> Problem {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Problem {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone)]
pub struct Site {
    source: Arc<Source>,
    offset: usize,
}

impl Site {
    /// The place where `span` starts.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        Self { source: Arc::clone(source), offset: span.start }
    }

    /// A problem at this place.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        self.source.problem(self.offset, message)
    }

    /// `manifests/base.toml:7`, to point from one problem at another place.
    pub fn line(&self) -> String {
        let at = self.problem("");
        format!("{}:{}", at.path.display(), at.line)
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub struct Sited<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub site: Site,
}

impl<T> Sited<T> {
    /// The same place with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Sited<U> {
        Sited { value: f(self.value), site: self.site }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters_from_one() {
        let source = Source { path: "m.toml".into(), text: "a = 1\nö = \"é\"x\n".into() };
        assert_eq!(source.problem(0, "x").to_string(), "m.toml:1:1: x");
        let offset = source.text.find("x\n").unwrap();
        assert_eq!(source.problem(offset, "x").to_string(), "m.toml:2:8: x");
        assert_eq!(source.problem(9999, "x").line, 3);
    }
}
