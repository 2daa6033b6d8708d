//! Owns what many verbs share: doing the same to several containers, and printing lists.

use std::process::ExitCode;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::super::{confirm, print};
use super::Context;

/// So many are asked for at once.
const AT_ONCE: usize = 50;

/// Does `act` to each of `names` and prints those it was done to, in order; the others are told on
/// standard error, and make the exit status 1.
pub async fn each(
    context: &Context,
    names: &[String],
    act: impl AsyncFn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    each_with(context, names, async |name| act(name).await.map(|()| name.to_owned())).await
}

/// As [`each`], printing what `act` gives.
pub async fn each_with(
    context: &Context,
    names: &[String],
    act: impl AsyncFn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<ExitCode> {
    let mut results = futures_util::stream::iter(names).map(async |name| (name, act(name).await)).buffered(AT_ONCE);
    let mut documents = Vec::new();
    let mut code = ExitCode::SUCCESS;
    while let Some((name, result)) = results.next().await {
        match (result, context.json) {
            (Ok(text), false) if text.is_empty() => {}
            (Ok(text), false) => print::line(&text)?,
            (Ok(text), true) => documents.push(json!({ "name": name, "result": text })),
            (Err(error), json) => {
                code = ExitCode::FAILURE;
                eprintln!("{error:#}");
                if json {
                    documents.push(json!({ "name": name, "error": format!("{error:#}") }));
                }
            }
        }
    }
    if context.json {
        print::document(&documents)?;
    }
    Ok(code)
}

/// Prints `text` as it is, which may be nothing.
pub fn text_block(text: &str) -> anyhow::Result<ExitCode> {
    if !text.is_empty() {
        print::line(text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints one document.
pub fn document(value: &impl serde::Serialize) -> anyhow::Result<ExitCode> {
    print::document(value)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a line, or a document with `--json`.
pub fn told(context: &Context, text: &str, value: Value) -> anyhow::Result<ExitCode> {
    if context.json { document(&value) } else { text_block(text) }
}

/// Asks whether `what` is to be removed; where nobody can be asked, nothing is.
pub fn sure(context: &Context, what: &str) -> anyhow::Result<bool> {
    if context.json || !confirm::can_ask() {
        anyhow::bail!("this removes {what}; say so with --force");
    }
    print::line(&format!("WARNING! This will remove {what}."))?;
    Ok(confirm::ask("Are you sure you want to continue?")?)
}
