//! `keelctl exec`.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use bollard::models::{ExecConfig, ExecInspectResponse, ExecStartConfig, IdResponse};

use super::Context;
use super::client::{Body, Target};
use super::parse::{environment, keys};
use super::run::foreground;
use super::terminal::attach::{End, Wanted, pass};
use super::terminal::raw::Mode;
use super::terminal::signals::Ending;
use super::terminal::size;

/// Run a command in a container that runs
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    override_usage = "keelctl exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    after_help = "Examples:\n  keelctl exec -it web sh\n  keelctl exec db pg_dump > dump.sql\n\n\
        Exit status: the command's own; 126 it cannot be executed, 127 there is no such command."
)]
pub struct Args {
    /// Run in the background
    #[arg(short, long)]
    detach: bool,
    /// Keep standard input open, even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set an environment variable; a name alone takes the value it has here
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = |text: &str| environment::variable(text, environment::own))]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// The working folder inside the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The user, by name or number, and the group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Give the command every capability
    #[arg(long)]
    privileged: bool,
    /// The keys that detach from a terminal: ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = |text: &str| keys::keys(text).map(|_| text.to_owned()))]
    detach_keys: Option<String>,
    /// The container and the command
    #[arg(trailing_var_arg = true, required = true, num_args = 2.., value_name = "CONTAINER COMMAND [ARG...]")]
    command: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let Some((name, command)) = args.command.split_first() else { anyhow::bail!("a container is needed") };
    let (tty, attach) = (args.tty, !args.detach);
    let input = args.interactive && attach;
    anyhow::ensure!(!(tty && input) || io::stdin().is_terminal(), "the input device is not a TTY");
    let mut env = environment::files(&args.env_file, environment::own)?;
    env.extend(args.env);
    let console = size::size().filter(|_| tty).map(|(rows, columns)| vec![usize::from(rows), usize::from(columns)]);
    let config = ExecConfig {
        attach_stdin: Some(input),
        attach_stdout: Some(attach),
        attach_stderr: Some(attach),
        console_size: console.clone(),
        detach_keys: args.detach_keys.clone(),
        tty: Some(tty),
        env: (!env.is_empty()).then_some(env),
        cmd: Some(command.to_vec()),
        privileged: Some(args.privileged),
        user: args.user,
        working_dir: args.workdir,
    };
    let made: IdResponse = context.client.post(&Target::container(name, "exec"), &config).await?;
    let start = ExecStartConfig { detach: Some(args.detach), tty: Some(tty), console_size: console };
    let (target, body) = (Target::of("exec", &made.id, "start"), Body::document(&start)?);
    if args.detach {
        context.client.send(hyper::Method::POST, &target, body).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let keys = keys::keys(args.detach_keys.as_deref().unwrap_or(keys::DEFAULT)).map_err(anyhow::Error::msg)?;
    let stream = context.client.hijack(&target, body).await?;
    let ending = tty.then(Ending::new).transpose()?;
    let mode = if tty && input { Mode::raw()? } else { None };
    let process = async {
        match pass(stream, Wanted { input, output: true, tty, keys }).await? {
            End::Detached => anyhow::bail!("read escape sequence"),
            End::Closed => {
                let ended: ExecInspectResponse = context.client.get(&Target::of("exec", &made.id, "json")).await?;
                Ok((ended.exit_code.unwrap_or_default() & 0xff) as u8)
            }
        }
    };
    let resize = Target::of("exec", &made.id, "resize");
    let code = foreground(context, &resize, ending, None, process).await;
    drop(mode);
    code.map(ExitCode::from)
}
