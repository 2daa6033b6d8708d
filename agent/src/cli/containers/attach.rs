//! `keelctl attach`, and the attaching that `start -a` shares.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use bollard::models::{ContainerInspectResponse, ContainerWaitResponse};
use hyper::Method;

use super::Context;
use super::client::{self, Body, Target};
use super::parse::keys;
use super::run::{foreground, status};
use super::terminal::attach::{End, Wanted, pass};
use super::terminal::raw::Mode;
use super::terminal::signals::{Ending, Proxy};
use super::terminal::size;

/// Join this terminal to a container that runs
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Joins this terminal's input and output to those of a container that runs. Where the container has a \
        terminal, ctrl-p ctrl-q leaves it running; where it has none, signals are passed on to it. Gives its exit \
        status when it ends.",
    after_help = "Example:\n  keelctl attach debian-shell"
)]
pub struct Args {
    /// Do not attach to its input
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to it, where it has no terminal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    sig_proxy: bool,
    /// The keys that detach from a terminal: ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = |text: &str| keys::keys(text).map(|_| text.to_owned()))]
    detach_keys: Option<String>,
    /// The container
    container: String,
}

/// How to attach.
#[derive(Debug)]
pub struct Wish<'a> {
    /// To its input, too.
    pub input: bool,
    /// Passing signals on.
    pub proxy: bool,
    /// With these keys to detach.
    pub detach_keys: Option<&'a str>,
    /// It runs, and must.
    pub started: bool,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let keys = args.detach_keys.as_deref();
    let wish = Wish { input: !args.no_stdin, proxy: args.sig_proxy, detach_keys: keys, started: true };
    attach(context, &args.container, wish, async |_| Ok(())).await
}

/// Attaches to a container, then does `start`, and gives the container's exit status.
pub async fn attach(
    context: &Context,
    name: &str,
    wish: Wish<'_>,
    start: impl AsyncFn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let container: ContainerInspectResponse = context.client.get(&Target::container(name, "json")).await?;
    if wish.started {
        check(&container)?;
    }
    let config = container.config.unwrap_or_default();
    let (tty, id) = (config.tty == Some(true), container.id.as_deref().unwrap_or(name));
    let input = wish.input && config.open_stdin == Some(true);
    anyhow::ensure!(!(tty && input) || io::stdin().is_terminal(), "the input device is not a TTY");
    let mut proxy = (wish.proxy && !tty).then(Proxy::new).transpose()?;
    let target = Target::container(id, "attach").with("stream", 1).with("stdout", 1).with("stderr", 1);
    let target = target.flag("stdin", input).with_some("detachKeys", wish.detach_keys);
    let removed = container.host_config.is_some_and(|host| host.auto_remove == Some(true));
    let condition = match (removed, wish.started) {
        (true, _) => "removed",
        (false, true) => "not-running",
        (false, false) => "next-exit",
    };
    let wait = Target::container(id, "wait").with("condition", condition);
    let (stream, wait) = tokio::try_join!(
        context.client.hijack(&target, Body::Empty),
        context.client.send(Method::POST, &wait, Body::Empty)
    )?;
    let keys = keys::keys(wish.detach_keys.unwrap_or(keys::DEFAULT)).map_err(anyhow::Error::msg)?;
    let ending = tty.then(Ending::new).transpose()?;
    let mode = if tty && input { Mode::raw()? } else { None };
    start(id).await?;
    let resize = Target::container(id, "resize");
    if tty && wish.started {
        size::nudge(&context.client, &resize).await;
    }
    let process = async {
        match pass(stream, Wanted { input, output: true, tty, keys }).await? {
            End::Detached => anyhow::bail!("read escape sequence"),
            End::Closed => client::read::<ContainerWaitResponse>(wait).await.map(|ended| status(&ended)),
        }
    };
    let code = foreground(context, &resize, ending, proxy.as_mut().map(|proxy| (proxy, id)), process).await;
    drop(mode);
    code.map(ExitCode::from)
}

fn check(container: &ContainerInspectResponse) -> anyhow::Result<()> {
    let state = container.state.clone().unwrap_or_default();
    anyhow::ensure!(state.running == Some(true), "You cannot attach to a stopped container, start it first");
    anyhow::ensure!(state.paused != Some(true), "You cannot attach to a paused container, unpause it first");
    anyhow::ensure!(
        state.restarting != Some(true),
        "You cannot attach to a restarting container, wait until it is running"
    );
    Ok(())
}
