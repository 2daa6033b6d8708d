//! Filters as Docker's clients write them: JSON in one of two shapes.

use std::collections::HashMap;

use serde::Deserialize;

use crate::error::{Error, Result};

/// What `--filter` asks for: every key with its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(HashMap<String, Vec<String>>);

/// `{"label": ["a"]}`, or as older clients write it, `{"label": {"a": true}}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    List(Vec<String>),
    Map(HashMap<String, bool>),
}

impl Filters {
    /// Reads the filters of a request; every key must be among `known`.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self> {
        let all: HashMap<String, Values> =
            serde_json::from_str(text).map_err(|error| Error::Invalid(format!("invalid filters: {error}")))?;
        if let Some(key) = all.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(Error::Invalid(format!("invalid filter '{key}'")));
        }
        let values = |values| match values {
            Values::List(list) => list,
            Values::Map(map) => map.into_iter().filter(|(_, on)| *on).map(|(value, _)| value).collect(),
        };
        Ok(Self(all.into_iter().map(|(key, given)| (key, values(given))).collect()))
    }

    /// The same filters but for one key.
    pub fn without(&self, key: &str) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(other, _)| *other != key)
                .map(|(key, values)| (key.clone(), values.clone()))
                .collect(),
        )
    }

    /// The values of a key; none where it is not asked for.
    pub fn get(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// The value of a key that is true or false.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key).first().map(String::as_str) {
            None => Ok(None),
            Some("1" | "true" | "True" | "TRUE" | "t") => Ok(Some(true)),
            Some("0" | "false" | "False" | "FALSE" | "f") => Ok(Some(false)),
            Some(other) => Err(Error::Invalid(format!("invalid filter '{key}={other}'"))),
        }
    }

    /// Whether these labels have all that `label` asks for, and nothing that `label!` names.
    pub fn labels_match(&self, labels: &HashMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        };
        self.get("label").iter().all(has) && !self.get("label!").iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_of_filters_are_read() {
        let list = Filters::parse(r#"{"label":["a=b"],"dangling":["true"]}"#, &["label", "dangling"]).unwrap();
        let map = r#"{"label":{"a=b":true,"c":false},"dangling":{"true":true}}"#;
        assert_eq!(list, Filters::parse(map, &["label", "dangling"]).unwrap());
        assert_eq!(list.flag("dangling").unwrap(), Some(true));
        assert_eq!(list.get("name"), &[] as &[String]);
        assert_eq!((list.without("label").get("label").len(), list.without("label").get("dangling").len()), (0, 1));
        assert_eq!(Filters::parse(map, &["label"]).unwrap_err().to_string(), "invalid filter 'dangling'");
        assert!(Filters::parse("[", &[]).is_err());
    }

    #[test]
    fn labels_are_matched_by_key_and_value() {
        let labels = HashMap::from([("a".to_owned(), "b".to_owned())]);
        let matches = |text: &str| Filters::parse(text, &["label", "label!"]).unwrap().labels_match(&labels);
        assert!(matches("{}"));
        assert!(matches(r#"{"label":["a"]}"#));
        assert!(matches(r#"{"label":["a=b"]}"#));
        assert!(!matches(r#"{"label":["a=c"]}"#));
        assert!(!matches(r#"{"label":["a","x"]}"#));
        assert!(!matches(r#"{"label!":["a"]}"#));
    }
}
