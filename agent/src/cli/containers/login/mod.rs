//! `keelctl login` and `keelctl logout`.

pub mod auth;

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use bollard::models::{AuthConfig, AuthResponse};
use serde_json::json;

use super::Context;
use super::client::Target;
use super::common::told;
use super::terminal::raw::Mode;
use keelson_containers::images::auth::normal;

/// Keep the credentials for a registry
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Checks a user's name and password with a registry and keeps them in auth.json: $REGISTRY_AUTH_FILE, \
        or ~/.config/containers/auth.json. They are kept as they are; only you can read the file.",
    after_help = "Example:\n  keelctl login -u ci --password-stdin registry.example < token"
)]
pub struct Args {
    /// The user's name
    #[arg(short, long)]
    username: Option<String>,
    /// The password; better read from standard input or the terminal
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// The registry
    #[arg(default_value = "docker.io")]
    server: String,
}

/// Forget the credentials for a registry
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl logout registry.example")]
pub struct LogoutArgs {
    /// The registry
    #[arg(default_value = "docker.io")]
    server: String,
}

/// Runs `login`.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let server = normal(&args.server);
    let username = match args.username {
        Some(username) => username,
        None => ask("Username: ", true)?,
    };
    let password = match (args.password, args.password_stdin) {
        (Some(password), _) => {
            eprintln!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            password
        }
        (None, true) => {
            let mut password = String::new();
            io::stdin().read_to_string(&mut password).context("cannot read the password")?;
            password.trim_end_matches(['\r', '\n']).to_owned()
        }
        (None, false) => ask("Password: ", false)?,
    };
    anyhow::ensure!(!username.is_empty() && !password.is_empty(), "username and password are both needed");
    let config = AuthConfig {
        username: Some(username.clone()),
        password: Some(password.clone()),
        serveraddress: Some(server.clone()),
    };
    let answer: AuthResponse = context.client.post(&Target::new("/auth"), &config).await?;
    auth::store(&server, &username, &password)?;
    told(context, &answer.status, json!({ "status": answer.status }))
}

/// Runs `logout`.
pub fn logout(args: LogoutArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let server = normal(&args.server);
    let known = auth::forget(&server)?;
    let text =
        if known { format!("Removing login credentials for {server}") } else { format!("Not logged in to {server}") };
    told(context, &text, json!({ "removed": known }))
}

fn ask(question: &str, shown: bool) -> anyhow::Result<String> {
    anyhow::ensure!(io::stdin().is_terminal(), "Error: Cannot perform an interactive login from a non TTY device");
    eprint!("{question}");
    io::stderr().flush()?;
    let silent = if shown { None } else { Mode::silent()? };
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if silent.is_some() {
        eprintln!();
    }
    Ok(answer.trim().to_owned())
}
