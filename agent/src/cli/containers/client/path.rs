//! Owns what a request is for: an escaped path with its query and headers.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Slashes, colons and the like stay: names of images are paths.
const NAME: &AsciiSet = &KEPT.remove(b'/').remove(b':').remove(b'@');

/// A path, its query, and the headers that go with it.
#[derive(Debug, Clone)]
pub struct Target {
    text: String,
    headers: Vec<(&'static str, String)>,
}

impl Target {
    /// A path that needs no escapes.
    pub fn new(path: &str) -> Self {
        Self { text: path.to_owned(), headers: Vec::new() }
    }

    /// `/KIND/NAME/VERB`, or `/KIND/NAME` without a verb.
    pub fn of(kind: &str, name: &str, verb: &str) -> Self {
        let slash = if verb.is_empty() { "" } else { "/" };
        Self::new(&format!("/{kind}/{}{slash}{verb}", utf8_percent_encode(name, NAME)))
    }

    /// A container's path.
    pub fn container(name: &str, verb: &str) -> Self {
        Self::of("containers", name, verb)
    }

    /// An image's path.
    pub fn image(name: &str, verb: &str) -> Self {
        Self::of("images", name, verb)
    }

    /// Adds `name=value` to the query.
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.text.push(if self.text.contains('?') { '&' } else { '?' });
        self.text.push_str(name);
        self.text.push('=');
        self.text.extend(utf8_percent_encode(&value.to_string(), KEPT));
        self
    }

    /// Adds `name=value` where there is a value.
    pub fn with_some(self, name: &str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `name=1` where `on`.
    pub fn flag(self, name: &str, on: bool) -> Self {
        if on { self.with(name, 1) } else { self }
    }

    /// Adds the filters of `--filter`, where there are any.
    pub fn filters(self, filters: &Filters) -> Self {
        if filters.0.is_empty() { self } else { self.with("filters", filters.json()) }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The path and the query.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The headers.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.headers
    }
}

/// What `--filter key=value` gathers.
#[derive(Debug, Clone, Default)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// From the values of `--filter`.
    pub fn parse(filters: &[String]) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for filter in filters {
            let Some((key, value)) = filter.split_once('=') else {
                anyhow::bail!(
                    "invalid argument \"{filter}\" for \"-f, --filter\" flag: bad format of filter (expected name=value)"
                )
            };
            all.add(&key.trim().to_lowercase(), value.trim());
        }
        Ok(all)
    }

    /// Adds one.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_default().push(value.to_owned());
    }

    fn json(&self) -> String {
        serde_json::json!(self.0).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_stay_one_path() {
        assert_eq!(Target::container("a b?c#d", "json").as_str(), "/containers/a%20b%3Fc%23d/json");
        assert_eq!(Target::image("localhost:5000/a/b:1", "").as_str(), "/images/localhost:5000/a/b:1");
    }

    #[test]
    fn queries_are_built() {
        let filters = Filters::parse(&["name=x".to_owned(), "name=y".to_owned()]).unwrap();
        let target = Target::new("/events").flag("a", true).flag("b", false).with_some("c", None::<u8>);
        let target = target.with("d", "1&2").filters(&filters);
        assert_eq!(target.as_str(), "/events?a=1&d=1%262&filters=%7B%22name%22%3A%5B%22x%22%2C%22y%22%5D%7D");
        assert!(Filters::parse(&["x".to_owned()]).is_err());
    }
}
