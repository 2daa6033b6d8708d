//! The flags that say what runs, and how.

use bollard::models::{ContainerCreateBody, HostConfig, RestartPolicy, RestartPolicyNameEnum};

use super::super::parse::{environment, restart};
use super::{log_config, some};

/// What runs, and how.
#[derive(Debug, clap::Args)]
pub struct Basics {
    /// Keep standard input open, even if not attached
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Give the container a name
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Remove the container and its anonymous volumes when it ends
    #[arg(long)]
    pub rm: bool,
    /// Set an environment variable; a name alone takes the value it has here
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = |text: &str| environment::variable(text, environment::own))]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Run this instead of the image's entry point; the image's command is dropped
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// The working folder inside the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The user, by name or number, and the group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Set a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    label_file: Vec<String>,
    /// Start it again when it ends: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = restart::policy)]
    restart: Option<RestartPolicy>,
    /// The signal that asks the container to end
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// How many seconds `stop` waits before it kills
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<i64>,
    /// Run a small init that reaps processes and passes signals on
    #[arg(long)]
    init: bool,
    /// Where output is kept
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// An option of the log driver
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
    /// The OCI runtime
    #[arg(long, value_name = "NAME")]
    runtime: Option<String>,
}

impl Basics {
    /// Puts the flags into the request.
    pub fn apply(self, body: &mut ContainerCreateBody, host: &mut HostConfig) -> anyhow::Result<()> {
        let restarts = self.restart.as_ref().is_some_and(|policy| policy.name != Some(RestartPolicyNameEnum::NO));
        anyhow::ensure!(!(self.rm && restarts), "conflicting options: cannot specify both --restart and --rm");
        let mut env = environment::files(&self.env_file, environment::own)?;
        env.extend(self.env);
        let mut labels = environment::files(&self.label_file, |_| Some(String::new()))?;
        labels.extend(self.label);
        body.tty = Some(self.tty);
        body.open_stdin = Some(self.interactive);
        body.env = some(env);
        body.labels = (!labels.is_empty()).then(|| environment::map(labels));
        // An empty entry point takes the image's away.
        body.entrypoint = self.entrypoint.map(|entrypoint| vec![entrypoint]);
        body.working_dir = self.workdir;
        body.user = self.user;
        body.stop_signal = self.stop_signal;
        body.stop_timeout = self.stop_timeout;
        host.auto_remove = Some(self.rm);
        host.restart_policy = self.restart;
        host.init = self.init.then_some(true);
        host.log_config = log_config(self.log_driver, &self.log_opt);
        host.runtime = self.runtime;
        Ok(())
    }
}
