//! Queries as Docker's clients write them: flags as `1` or `true`, filters as JSON.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::filters::Filters;

/// The query of a request, as it came.
pub type Query = axum::extract::Query<HashMap<String, String>>;

/// Whether a flag is set.
pub fn flag(query: &Query, name: &str) -> bool {
    query.get(name).is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false" | "False" | "FALSE" | "no"))
}

/// A text, where it is given and not empty.
pub fn text<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    query.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// All pairs of a raw query, where a key may come several times.
pub fn pairs(raw: Option<&str>) -> Result<Vec<(String, String)>> {
    let invalid = |error: &dyn std::fmt::Display| Error::Invalid(format!("invalid query: {error}"));
    let uri = format!("/?{}", raw.unwrap_or_default()).parse().map_err(|error| invalid(&error))?;
    let pairs = axum::extract::Query::try_from_uri(&uri).map_err(|error| invalid(&error))?;
    Ok(pairs.0)
}

/// The filters, every one of which must be among `known`.
pub fn filters(query: &Query, known: &[&str]) -> Result<Filters> {
    Filters::parse(text(query, "filters").unwrap_or("{}"), known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_come_several_times() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs(Some("names=a%2Fb&names=c")).unwrap(), [pair("names", "a/b"), pair("names", "c")]);
        assert!(pairs(None).unwrap().is_empty());
    }

    #[test]
    fn flags_are_what_go_takes_for_true() {
        let query = |value: &str| axum::extract::Query(HashMap::from([("force".to_owned(), value.to_owned())]));
        assert!(flag(&query("1"), "force") && flag(&query("true"), "force"));
        assert!(!flag(&query("0"), "force") && !flag(&query(""), "force") && !flag(&query("1"), "all"));
    }
}
