//! Owns waiting until a host is healthy, however long that takes.

use std::process::ExitCode;
use std::time::Duration;

use super::Paths;
use super::checks::look;
use crate::update::Settings;

/// How long between two looks.
const LOOK: Duration = Duration::from_secs(15);

/// Waits until the host is healthy.
pub async fn until_healthy(paths: &Paths, bus: Option<&str>) -> anyhow::Result<ExitCode> {
    let mut told = Vec::new();
    loop {
        let report = look(paths, &Settings::read(&paths.settings)?, bus).await;
        if report.healthy {
            return Ok(ExitCode::SUCCESS);
        }
        let problems = report.problems();
        if problems != told {
            eprintln!("not yet: {}", problems.join("; "));
            told = problems;
        }
        tokio::time::sleep(LOOK).await;
    }
}
