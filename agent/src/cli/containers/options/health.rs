//! The flags about checking whether a container works.

use bollard::models::HealthConfig;

use super::super::parse::duration;

/// Health checks of a container.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Health")]
pub struct Health {
    /// The command that checks
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Between two checks: 30s
    #[arg(long, value_name = "DURATION", value_parser = length)]
    health_interval: Option<i64>,
    /// So long may a check take
    #[arg(long, value_name = "DURATION", value_parser = length)]
    health_timeout: Option<i64>,
    /// So many failures in a row make it unhealthy
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    health_retries: Option<i64>,
    /// Failures count only after this time
    #[arg(long, value_name = "DURATION", value_parser = length)]
    health_start_period: Option<i64>,
    /// Between two checks during the start period
    #[arg(long, value_name = "DURATION", value_parser = length)]
    health_start_interval: Option<i64>,
    /// Do not check, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
}

fn length(text: &str) -> Result<i64, String> {
    match duration::nanoseconds(text)? {
        length if length < 0 => Err("a duration cannot be negative".to_owned()),
        length => Ok(length),
    }
}

impl Health {
    /// The check, where a flag says anything of it.
    pub fn config(self) -> anyhow::Result<Option<HealthConfig>> {
        let config = HealthConfig {
            test: self
                .health_cmd
                .filter(|command| !command.is_empty())
                .map(|command| vec!["CMD-SHELL".into(), command]),
            interval: self.health_interval,
            timeout: self.health_timeout,
            retries: self.health_retries,
            start_period: self.health_start_period,
            start_interval: self.health_start_interval,
        };
        let given = config != HealthConfig::default();
        anyhow::ensure!(!(given && self.no_healthcheck), "--no-healthcheck conflicts with --health-* options");
        if self.no_healthcheck {
            return Ok(Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }));
        }
        Ok(given.then_some(config))
    }
}
