//! Owns Go templates, as `--format` takes them: gotmpl speaks the language; the functions that Docker
//! adds to it are here.

use std::fmt;

use gotmpl::{MissingKey, TemplateError, Value};
use serde_json::{Map, Number, json};

/// A template that was understood.
#[derive(Clone)]
pub struct Template {
    template: gotmpl::Template,
    text: String,
}

impl Template {
    /// Reads a template; what it asks for and is not there is shown as `<no value>`, or an error where
    /// the keys are known (`strict`).
    pub fn parse(text: &str, strict: bool) -> Result<Self, String> {
        let missing = if strict { MissingKey::Error } else { MissingKey::ZeroValue };
        let template = gotmpl::Template::new("").missing_key(missing);
        let template = template
            .func("json", |words| one("json", words).map(|value| Value::String(plain(value).to_string().into())))
            .func("join", join)
            .func("split", split)
            .func("lower", |words| string("lower", words).map(|text| Value::String(text.to_lowercase().into())))
            .func("upper", |words| string("upper", words).map(|text| Value::String(text.to_uppercase().into())))
            .func("title", |words| string("title", words).map(|text| Value::String(title(text).into())))
            .func("truncate", truncate);
        let template = template.parse(text).map_err(|error| format!("template parsing error: {error}"))?;
        Ok(Self { template, text: text.to_owned() })
    }

    /// The text for a document.
    pub fn render(&self, document: &serde_json::Value) -> anyhow::Result<String> {
        let failed = |error: TemplateError| anyhow::anyhow!("template parsing error: {error}");
        let value = gotmpl::to_value(document).map_err(failed)?;
        self.template.execute_to_string(&value).map_err(failed)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Template").field(&self.text).finish()
    }
}

fn one<'a>(name: &str, words: &'a [Value]) -> gotmpl::Result<&'a Value> {
    match words {
        [value] => Ok(value),
        _ => Err(TemplateError::ArgCount { name: name.to_owned(), expected: 1, got: words.len() }),
    }
}

fn string<'a>(name: &str, words: &'a [Value]) -> gotmpl::Result<&'a str> {
    match one(name, words)? {
        Value::String(text) => Ok(text),
        _ => Err(TemplateError::Exec(format!("{name} wants a text"))),
    }
}

/// `join LIST SEPARATOR`.
fn join(words: &[Value]) -> gotmpl::Result<Value> {
    let [Value::List(items), Value::String(between)] = words else {
        return Err(TemplateError::Exec("join wants a list and what comes between".to_owned()));
    };
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    Ok(Value::String(items.join(between).into()))
}

/// `split TEXT SEPARATOR`.
fn split(words: &[Value]) -> gotmpl::Result<Value> {
    let [Value::String(text), Value::String(at)] = words else {
        return Err(TemplateError::Exec("split wants a text and what to split it at".to_owned()));
    };
    Ok(Value::List(text.split(&**at).map(|part| Value::String(part.into())).collect()))
}

/// `truncate TEXT LENGTH`.
fn truncate(words: &[Value]) -> gotmpl::Result<Value> {
    let [Value::String(text), Value::Int(length)] = words else {
        return Err(TemplateError::Exec("truncate wants a text and a length".to_owned()));
    };
    let length = usize::try_from(*length).unwrap_or_default();
    Ok(Value::String(text.chars().take(length).collect::<String>().into()))
}

/// With its first letter large.
fn title(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The value as it would be in a document.
fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Uint(value) => json!(value),
        Value::Float(value) => Number::from_f64(*value).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::String(value) => json!(**value),
        Value::List(values) => values.iter().map(plain).collect(),
        Value::Map(values) => {
            let pairs = values.iter().map(|(key, value)| (key.to_string(), plain(value)));
            serde_json::Value::Object(pairs.collect::<Map<_, _>>())
        }
        _ => serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        let document = json!({
            "Name": "/web", "State": { "Running": true, "ExitCode": 0 }, "Cmd": ["sh", "-c"],
            "Networks": { "bridge": { "IPAddress": "10.87.0.2" } }, "Health": null,
        });
        Template::parse(text, false).unwrap().render(&document).unwrap()
    }

    #[test]
    fn what_scripts_ask_docker_for() {
        assert_eq!(rendered("{{.State.Running}} {{.State.ExitCode}}"), "true 0");
        assert_eq!(rendered("{{json .State}}"), r#"{"ExitCode":0,"Running":true}"#);
        assert_eq!(rendered("{{range .Networks}}{{.IPAddress}}{{end}}"), "10.87.0.2");
        assert_eq!(rendered(r#"{{(index .Networks "bridge").IPAddress}}"#), "10.87.0.2");
        assert_eq!(rendered("{{if .Health}}{{.Health.Status}}{{else}}none{{end}}"), "none");
        assert_eq!(
            rendered("{{join .Cmd \" \"}} {{upper .Name}} {{truncate .Name 3}} {{.Cmd}}"),
            "sh -c /WEB /we [sh -c]"
        );
        assert_eq!(rendered(r#"{{index (split .Name "/") 1 | title}}"#), "Web");
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(Template::parse("{{.Name", true).unwrap_err().starts_with("template parsing error"));
        let strict = Template::parse("{{.Nmae}}", true).unwrap();
        assert!(strict.render(&json!({ "Name": "web" })).unwrap_err().to_string().contains("Nmae"));
    }
}
