//! `keelctl inspect`, and the printing that `image inspect` and `volume inspect` share.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::super::print;
use super::Context;
use super::client::{Failure, Target};
use super::format::template::Template;

/// Show everything about containers, images or volumes, as a JSON array
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  keelctl inspect web | jq '.[0].State'\n  keelctl inspect -f '{{.State.Status}}' web\n  keelctl inspect --type image debian:13"
)]
pub struct Args {
    /// Show how much a container wrote, too
    #[arg(short, long)]
    size: bool,
    /// A Go template for each instead of the array, or json for a document a line
    #[arg(short = 'f', long = "format", value_name = "TEMPLATE", value_parser = shape)]
    shape: Option<Shape>,
    /// Look only among these
    #[arg(long = "type", value_name = "KIND", value_parser = ["container", "image", "volume", "network"])]
    kind: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let kinds = match args.kind.as_deref() {
        Some(kind) => vec![kind],
        None => vec!["container", "image", "network", "volume"],
    };
    all(&args.names, args.shape.as_ref(), async |name| {
        for kind in &kinds {
            match context.client.get::<Value>(&target(kind, name, args.size)).await {
                Err(error) if Failure::status_of(&error) == Some(404) => {}
                found => return found,
            }
        }
        match args.kind.as_deref() {
            Some(kind) => anyhow::bail!("Error: No such {kind}: {name}"),
            None => anyhow::bail!("Error: No such object: {name}"),
        }
    })
    .await
}

fn target(kind: &str, name: &str, size: bool) -> Target {
    match kind {
        "container" => Target::container(name, "json").flag("size", size),
        "image" => Target::image(name, "json"),
        "network" => Target::of("networks", name, ""),
        _ => Target::of("volumes", name, ""),
    }
}

/// What `--format` makes of each object.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A JSON document a line.
    Json,
    /// What a template makes of it.
    Template(Template),
}

/// The value of `--format`.
pub fn shape(text: &str) -> Result<Shape, String> {
    match text {
        "json" => Ok(Shape::Json),
        template => Template::parse(template, false).map(Shape::Template),
    }
}

/// Prints what `get` finds, as one array or in the shape asked for, then tells what it did not find.
pub async fn all(
    names: &[String],
    shape: Option<&Shape>,
    get: impl AsyncFn(&str) -> anyhow::Result<Value>,
) -> anyhow::Result<ExitCode> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match get(name).await {
            Ok(value) => found.push(value),
            Err(error) => missing.push(error),
        }
    }
    match shape {
        None => print::line(&array(&found)?)?,
        Some(Shape::Json) => found.iter().try_for_each(|one| print::line(&one.to_string()))?,
        Some(Shape::Template(template)) => {
            found.iter().try_for_each(|one| print::line(&format!("{}\n", template.render(one)?)))?;
        }
    }
    for error in &missing {
        eprintln!("{error:#}");
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// JSON indented by four.
fn array(found: &[Value]) -> anyhow::Result<String> {
    let mut out = Vec::new();
    found.serialize(&mut Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"    ")))?;
    Ok(String::from_utf8(out)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn arrays() {
        assert_eq!(super::array(&[]).unwrap(), "[]");
        assert_eq!(super::array(&[serde_json::json!({"a": 1})]).unwrap(), "[\n    {\n        \"a\": 1\n    }\n]");
    }
}
