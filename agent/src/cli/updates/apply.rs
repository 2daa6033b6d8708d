//! `keelctl updates apply`.

use std::io::{self, Write};

use anyhow::{Context, anyhow, bail, ensure};
use keelson_common::signals;
use serde_json::json;

use super::super::{confirm, print};
use super::agent::{Agent, Seen};
use super::status::describe;
use super::{act, guard};
use crate::update::decide::Demand;
use crate::update::{Step, next};

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Has the newest version staged, where none is, takes the reboot lock, drains the node, and reboots. The \
        host's turn and its windows count, unless --now says otherwise; what the fleet's lock and the pods' disruption \
        budgets say always counts. When anything is in the way everything is given back. Interrupting gives \
        everything back, too, and so does a terminal that is gone (an SSH session that ends, say).",
    after_help = "Examples:\n  keelctl updates apply --dry-run\n  keelctl updates apply --now -y"
)]
pub struct Args {
    /// Also out of its turn, and out of windows
    #[arg(long)]
    now: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs the verb.
pub async fn run(args: &Args, agent: &Agent) -> anyhow::Result<()> {
    let demand = Demand { at_once: args.now };
    if args.dry_run {
        return said(agent, &plan(agent, demand).await?);
    }
    guard::need_root("apply")?;
    let _guard = guard::take()?;
    if !args.yes && !agent.json && confirm::can_ask() && !confirm::ask("Go over to the newest version, and reboot?")? {
        return print::line("Nothing was changed.");
    }
    let interrupted = signals::interrupted().context("cannot wait for the signals to stop")?;
    let mut seen = act::look(agent, Some(demand)).await?;
    let ready = tokio::select! {
        ready = go(agent, &mut seen) => ready,
        () = interrupted => Err(anyhow!("interrupted; what is staged stays staged")),
    };
    let problem = match ready {
        Ok(Some(message)) => return said(agent, &message),
        // Not to be interrupted: a host that goes down ends its sessions, and needs what it took.
        Ok(None) => match act::perform(agent, &mut seen, &Step::Reboot).await {
            Ok(message) => return said(agent, &format!("This host {message}.")),
            Err(error) => error,
        },
        Err(error) => error,
    };
    // As it was written down, wherever that was ended. What an earlier boot took waits for the host's health.
    let mut seen = agent.look(Some(demand)).await?;
    if seen.state.attempt.as_ref().is_some_and(|attempt| attempt.boot_id == agent.boot_id) {
        act::undo(agent, &mut seen).await?;
    }
    Err(problem)
}

/// Everything up to the reboot; what there is to say where there is nothing to reboot for.
async fn go(agent: &Agent, seen: &mut Seen) -> anyhow::Result<Option<String>> {
    let mut checked = false;
    loop {
        let step = next(&agent.observed(seen));
        if let Step::Wait { .. } = step {
            bail!("{}; --now does not wait for that", describe(&step));
        }
        if step == Step::Check && std::mem::replace(&mut checked, true) {
            let message = seen.state.checked.as_ref().map(|checked| checked.message.clone());
            return Ok(Some(message.unwrap_or_else(|| "There is nothing newer.".to_owned())));
        }
        if step == Step::Reboot {
            return Ok(None);
        }
        let message = act::perform(agent, seen, &step).await?;
        ensure!(step != Step::AwaitHealth || seen.healthy == Some(true), "{message}");
        if !agent.json && !message.is_empty() {
            // The terminal may be gone, which is no reason to end before everything is given back.
            let _ = writeln!(io::stderr(), "{message}");
        }
        let healthy = seen.healthy;
        *seen = act::look(agent, seen.demand).await?;
        seen.healthy = healthy;
    }
}

/// What would be done, a line each.
async fn plan(agent: &Agent, demand: Demand) -> anyhow::Result<String> {
    let seen = agent.look(Some(demand)).await?;
    let mut lines = Vec::new();
    match next(&agent.observed(&seen)) {
        Step::Check => lines.push("keeld is asked for the newest version, and stages it".to_owned()),
        Step::AwaitHealth | Step::GiveBack(_) => {
            lines.push("what an earlier reboot took is given back, once this host is healthy".to_owned());
        }
        step @ Step::Wait { .. } => return Ok(format!("Nothing would be done: {}.", describe(&step))),
        _ => {}
    }
    let staged = seen.status.staged.as_ref().map_or("that version", |staged| staged.label());
    lines.extend(agent.settings.lock.as_ref().map(|lock| format!("{lock} is asked for")));
    let limit = agent.settings.drain_timeout.as_secs();
    lines.extend(seen.node.then(|| format!("the pods of this node are asked to go, within {limit} s")));
    lines.push(format!("this host reboots into {staged}"));
    Ok(lines.join("\n"))
}

fn said(agent: &Agent, message: &str) -> anyhow::Result<()> {
    if agent.json { print::document(&json!({ "message": message })) } else { print::line(message) }
}
