//! Owns `--format`: a table, or a JSON object a line.

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns.
    Table,
    /// An object a line, with the keys of Docker's templates.
    Json,
}

/// The value of `--format`.
pub fn format(text: &str) -> Result<Format, String> {
    match text {
        "" | "table" => Ok(Format::Table),
        "json" | "{{json .}}" | "{{ json . }}" => Ok(Format::Json),
        _ => Err("Go templates are not spoken; use json, or --json for one document, and jq".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_refused_with_a_way_out() {
        assert_eq!(format("json"), Ok(Format::Json));
        assert!(format("{{.ID}}").unwrap_err().contains("jq"));
    }
}
