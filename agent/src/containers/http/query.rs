//! Queries as Docker's clients write them: flags as `1` or `true`, filters as JSON.

use std::collections::HashMap;

use crate::containers::error::Result;
use crate::containers::filters::Filters;

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

/// The filters, every one of which must be among `known`.
pub fn filters(query: &Query, known: &[&str]) -> Result<Filters> {
    Filters::parse(text(query, "filters").unwrap_or("{}"), known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_what_go_takes_for_true() {
        let query = |value: &str| axum::extract::Query(HashMap::from([("force".to_owned(), value.to_owned())]));
        assert!(flag(&query("1"), "force") && flag(&query("true"), "force"));
        assert!(!flag(&query("0"), "force") && !flag(&query(""), "force") && !flag(&query("1"), "all"));
    }
}
