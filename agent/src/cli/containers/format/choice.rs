//! Owns `--format`: a table, a JSON object a line, or a Go template.

use serde_json::{Map, Value};

use super::table::Table;
use super::template::Template;

/// How a list is printed.
#[derive(Debug, Clone)]
pub enum Format {
    /// The usual columns.
    Table,
    /// An object a line, with the keys of Docker's templates.
    Json,
    /// A line from each object.
    Lines(Template),
    /// Columns of one's own: the templates of the cells.
    Columns(Vec<Template>),
}

/// The value of `--format`.
pub fn format(text: &str) -> Result<Format, String> {
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    match text.trim() {
        "" | "table" => Ok(Format::Table),
        "json" | "{{json .}}" | "{{ json . }}" => Ok(Format::Json),
        trimmed => match trimmed.strip_prefix("table ") {
            Some(cells) => {
                let cells: Result<Vec<_>, _> = cells.split('\t').map(|cell| Template::parse(cell, true)).collect();
                cells.map(Format::Columns)
            }
            None => Template::parse(&text, true).map(Format::Lines),
        },
    }
}

impl Format {
    /// The text of `objects`; none for the usual columns. `subject` is what an id is of in headings.
    pub fn text(
        format: Option<&Self>,
        subject: &str,
        objects: impl IntoIterator<Item = Value>,
    ) -> anyhow::Result<Option<String>> {
        let mut out = String::new();
        match format {
            None | Some(Self::Table) => return Ok(None),
            Some(Self::Json) => objects.into_iter().for_each(|object| out.push_str(&format!("{object}\n"))),
            Some(Self::Lines(template)) => {
                for object in objects {
                    out.push_str(&template.render(&object)?);
                    out.push('\n');
                }
            }
            Some(Self::Columns(cells)) => {
                let row = |object: &Value| cells.iter().map(|cell| cell.render(object)).collect::<Result<Vec<_>, _>>();
                let headings = row(&headings(subject))?;
                let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
                for object in objects {
                    table.row(row(&object)?);
                }
                out = table.text();
            }
        }
        Ok(Some(out))
    }
}

/// The keys of all lists, where the heading is not the key itself in capitals.
const HEADINGS: [(&str, &str); 12] = [
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
    ("RunningFor", "CREATED"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const SAME: [&str; 19] = [
    "Command",
    "Comment",
    "Container",
    "Containers",
    "Digest",
    "Driver",
    "Image",
    "Labels",
    "Mountpoint",
    "Mounts",
    "Names",
    "Networks",
    "Ports",
    "Repository",
    "Scope",
    "Size",
    "State",
    "Status",
    "Tag",
];

/// An object that has its heading for every key.
fn headings(subject: &str) -> Value {
    let named = HEADINGS.iter().map(|(key, heading)| ((*key).to_owned(), Value::from(*heading)));
    let same = SAME.iter().map(|key| ((*key).to_owned(), Value::from(key.to_uppercase())));
    let mut all: Map<String, Value> = named.chain(same).collect();
    all.insert("ID".to_owned(), Value::from(format!("{subject} ID")));
    all.insert("Name".to_owned(), Value::from(if subject == "VOLUME" { "VOLUME NAME" } else { "NAME" }));
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(format: &str) -> anyhow::Result<Option<String>> {
        let rows = [json!({ "ID": "12", "Names": "web" }), json!({ "ID": "34", "Names": "db" })];
        Format::text(Some(&super::format(format).map_err(anyhow::Error::msg)?), "CONTAINER", rows)
    }

    #[test]
    fn lists_in_every_shape() {
        assert_eq!(text("table").unwrap(), None);
        assert_eq!(text("json").unwrap().unwrap().lines().count(), 2);
        assert_eq!(text("{{.ID}}: {{.Names}}").unwrap().unwrap(), "12: web\n34: db\n");
        assert_eq!(text("table {{.ID}}\\t{{.Names}}").unwrap().unwrap().lines().next(), Some("CONTAINER ID   NAMES"));
        assert!(text("{{.Nmaes}}").is_err());
        assert!(text("{{.ID").is_err());
    }
}
