//! `keelctl events`.

use std::process::ExitCode;

use bollard::models::EventMessage;
use chrono::Local;
use hyper::Method;
use serde_json::Value;

use super::super::print;
use super::Context;
use super::client::{Body, Filters, Lines, Target};
use super::format::ago;
use super::format::choice::{Format, format};
use super::parse::time;

/// Show what happens to containers, images and volumes, as it happens
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows what happens, as it happens, until interrupted or --until has come. With --json or --format \
        json each event is one JSON document on a line of its own.",
    after_help = "Examples:\n  keelctl events --filter event=die\n  keelctl events --since 1h --until 0s"
)]
pub struct Args {
    /// Begin with what happened since: 10m, 2026-01-31T12:00:00, a Unix time
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| time::moment(text, Local::now()))]
    since: Option<String>,
    /// End then
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| time::moment(text, Local::now()))]
    until: Option<String>,
    /// Show only what matches: container, event, image, label, type, volume, network
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json for an object a line, or a Go template for each
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let target = Target::new("/events").with_some("since", args.since).with_some("until", args.until);
    let target = target.filters(&Filters::parse(&args.filter)?);
    let mut events = Lines::new(context.client.send(Method::GET, &target, Body::Empty).await?);
    let format = if context.json { Some(&Format::Json) } else { args.format.as_ref() };
    if matches!(format, Some(Format::Json | Format::Lines(_))) {
        while let Some(event) = events.next::<Value>().await? {
            print::line(&Format::text(format, "", [event])?.unwrap_or_default())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    while let Some(event) = events.next::<EventMessage>().await? {
        print::line(&text(&event))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(event: &EventMessage) -> String {
    let nanoseconds = event.time_nano.unwrap_or_else(|| event.time.unwrap_or_default() * 1_000_000_000);
    let kind = event.typ.map(|kind| kind.to_string()).unwrap_or_default();
    let (action, actor) = (event.action.as_deref().unwrap_or_default(), event.actor.clone().unwrap_or_default());
    let mut attributes: Vec<String> =
        actor.attributes.iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    attributes.sort();
    let mut out = format!("{} {kind} {action} {}", ago::precise(nanoseconds), actor.id.unwrap_or_default());
    if !attributes.is_empty() {
        out.push_str(&format!(" ({})", attributes.join(", ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::{EventActor, EventMessageTypeEnum};

    #[test]
    fn a_line() {
        let event = EventMessage {
            typ: Some(EventMessageTypeEnum::CONTAINER),
            action: Some("die".into()),
            actor: Some(EventActor {
                id: Some("01ab".into()),
                attributes: Some([("name".into(), "web".into()), ("exitCode".into(), "1".into())].into()),
            }),
            time_nano: Some(1_700_000_000_000_000_005),
            ..EventMessage::default()
        };
        let text = text(&event);
        assert!(text.contains(":20.000000005"), "{text}");
        assert!(text.ends_with(" container die 01ab (exitCode=1, name=web)"), "{text}");
    }
}
