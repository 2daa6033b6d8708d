//! `keelctl run`.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use bollard::models::ContainerWaitResponse;
use hyper::Method;
use serde_json::json;

use super::super::print;
use super::Context;
use super::client::{self, Body, Target};
use super::common::told;
use super::create::{Making, make};
use super::options::Options;
use super::parse::keys;
use super::terminal::attach::{End, Wanted, pass};
use super::terminal::raw::Mode;
use super::terminal::signals::{Ending, Proxy};
use super::terminal::size;

/// The exit status when the container could not be run at all.
const NOT_RUN: u8 = 125;

/// Run a command in a new container
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    disable_help_flag = true,
    override_usage = "keelctl run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    long_about = "Makes a container of an image, pulling it where it is absent, and runs a command in it: in the \
        foreground, or with -d in the background. The flags end at IMAGE; all that follows belongs to the container.",
    after_help = "Examples:\n  \
        keelctl run --rm -it debian:13 bash          a shell that leaves nothing behind\n  \
        keelctl run -d --name web -p 80:8080 web:1   a service\n  \
        keelctl run --rm -v data:/data debian du -s /data\n\n\
        Exit status: the command's own; 125 the container could not be run, 126 the command cannot be executed, \
        127 there is no such command; 2 wrong usage."
)]
pub struct Args {
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Run in the background, and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Attach only to stdin, stdout or stderr
    #[arg(short, long, value_name = "STREAM", value_parser = ["stdin", "stdout", "stderr"], ignore_case = true, conflicts_with = "detach")]
    attach: Vec<String>,
    /// The keys that detach from a terminal: ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", value_parser = |text: &str| keys::keys(text).map(|_| text.to_owned()))]
    detach_keys: Option<String>,
    /// Pass signals on to the command, where it has no terminal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    sig_proxy: bool,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    making: Making,
    /// The image, and what to run instead of its own command
    #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    image: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let (basics, attach) = (&args.options.basics, &args.attach);
    let input = if attach.is_empty() { basics.interactive && !args.detach } else { wants(attach, "stdin") };
    anyhow::ensure!(!(basics.tty && input) || io::stdin().is_terminal(), "the input device is not a TTY");
    match inner(args, input, context).await {
        Ok(code) => Ok(code.into()),
        Err(error) if is_broken_pipe(&error) => Err(error),
        Err(error) => {
            let code = code_of(&error);
            print::failed(&error, context.json);
            Ok(code.into())
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The exit status by what the daemon says: a command that is not there, or no command.
fn code_of(error: &anyhow::Error) -> u8 {
    let text = format!("{error:#}").to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if !text.contains("error response from daemon") {
        NOT_RUN
    } else if says(&["executable file not found", "executable file `", "no such file or directory"]) {
        127
    } else if says(&["permission denied", "is a directory", "exec format error"]) {
        126
    } else {
        NOT_RUN
    }
}

fn wants(attach: &[String], stream: &str) -> bool {
    attach.iter().any(|attach| attach.eq_ignore_ascii_case(stream))
}

async fn inner(args: Args, input: bool, context: &Context) -> anyhow::Result<u8> {
    let Some((image, command)) = args.image.split_first() else { anyhow::bail!("an image is needed") };
    let basics = &args.options.basics;
    let (tty, interactive, remove, name) = (basics.tty, basics.interactive, basics.rm, basics.name.clone());
    let mut body = args.options.body(image, command)?;
    let all = args.attach.is_empty() && !args.detach;
    let (out, err) = (all || wants(&args.attach, "stdout"), all || wants(&args.attach, "stderr"));
    body.attach_stdin = Some(input);
    body.attach_stdout = Some(out);
    body.attach_stderr = Some(err);
    body.stdin_once = Some(input && interactive);
    let mut proxy = (args.sig_proxy && !tty && !args.detach).then(Proxy::new).transpose()?;
    let id = make(context, body, name.as_deref(), &args.making).await?;
    if args.detach {
        context.client.act(&Target::container(&id, "start")).await?;
        told(context, &id, json!({ "Id": id }))?;
        return Ok(0);
    }
    let keys = keys::keys(args.detach_keys.as_deref().unwrap_or(keys::DEFAULT)).map_err(anyhow::Error::msg)?;
    let attach = Target::container(&id, "attach").with("stream", 1).flag("stdin", input).flag("stdout", out);
    let attach = attach.flag("stderr", err).with_some("detachKeys", args.detach_keys.as_deref());
    let condition = if remove { "removed" } else { "next-exit" };
    let wait = Target::container(&id, "wait").with("condition", condition);
    // Both are in place before the start: nothing the command prints, nor its end, is missed.
    let (stream, wait) = tokio::try_join!(
        context.client.hijack(&attach, Body::Empty),
        context.client.send(Method::POST, &wait, Body::Empty)
    )?;
    let ending = tty.then(Ending::new).transpose()?;
    let mode = if tty && input { Mode::raw()? } else { None };
    context.client.act(&Target::container(&id, "start")).await?;
    let process = async {
        match pass(stream, Wanted { input, output: out || err, tty, keys }).await? {
            End::Detached => Ok(0),
            End::Closed => client::read::<ContainerWaitResponse>(wait).await.map(|ended| status(&ended)),
        }
    };
    let resize = Target::container(&id, "resize");
    let proxy = proxy.as_mut().map(|proxy| (proxy, id.as_str()));
    let ended = foreground(context, &resize, ending, proxy, process).await;
    drop(mode);
    ended
}

/// The exit status in the answer to a wait.
pub fn status(ended: &ContainerWaitResponse) -> u8 {
    if let Some(why) = ended.error.as_ref().and_then(|error| error.message.as_deref()).filter(|why| !why.is_empty()) {
        eprintln!("keelctl: Error response from daemon: {why}");
        return NOT_RUN;
    }
    (ended.status_code & 0xff) as u8
}

/// Waits for `process` with signals passed on to a container, or, on a terminal, which has signals
/// that are `ending`, with its size sent to `resize`.
pub async fn foreground(
    context: &Context,
    resize: &Target,
    ending: Option<Ending>,
    proxy: Option<(&mut Proxy, &str)>,
    process: impl Future<Output = anyhow::Result<u8>>,
) -> anyhow::Result<u8> {
    let tty = ending.is_some();
    let signal = async {
        match (proxy, ending) {
            (Some((proxy, id)), _) => proxy.run(&context.client, id).await,
            (None, Some(mut ending)) => ending.wait().await,
            (None, None) => std::future::pending().await,
        }
    };
    let resize = async {
        if !tty {
            return std::future::pending().await;
        }
        size::follow(&context.client, resize).await
    };
    tokio::select! {
        code = process => code,
        signal = signal => Ok(128u8.saturating_add(signal as u8)),
        never = resize => match never? {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_tells_what_failed() {
        let code = |text: &str| code_of(&anyhow::anyhow!("Error response from daemon: {text}"));
        assert_eq!(code("exec: \"foo\": executable file not found in $PATH: unknown"), 127);
        assert_eq!(code("exec /foo: no such file or directory"), 127);
        assert_eq!(code("executable file `foo` not found in $PATH"), 127);
        assert_eq!(code("exec: \"/etc\": permission denied"), 126);
        assert_eq!(code("Conflict. The container name is in use"), 125);
        assert_eq!(code_of(&anyhow::anyhow!("open env: no such file or directory")), 125);
    }

    #[test]
    fn the_answer_to_a_wait() {
        let mut ended = ContainerWaitResponse { status_code: 3, error: None };
        assert_eq!(status(&ended), 3);
        ended.status_code = 137;
        assert_eq!(status(&ended), 137);
    }
}
