//! Owns looking at everything once, side by side.

use std::time::Duration;

use futures_util::future::join_all;

use super::super::session::Session;
use super::super::systemd::Systemd;
use super::{Paths, scripts, services, units};
use crate::health::report::{Check, Report, Standing};
use crate::update::Settings;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// Looks at the host.
pub async fn look(paths: &Paths, settings: &Settings, bus: Option<&str>) -> Report {
    let units = async {
        match Systemd::connect(bus).await {
            Ok(systemd) => {
                let mut checks = units::check(&systemd, &settings.required).await;
                checks.extend(services::check(&systemd, paths).await);
                checks
            }
            Err(error) => vec![Check::new("units", Standing::Bad, format!("{error:#}"))],
        }
    };
    let own = join_all(scripts::found(&paths.scripts).into_iter().map(scripts::run));
    let (keeld, units, own) = tokio::join!(keeld(bus), units, own);
    Report::new([vec![keeld], units, own].concat())
}

async fn keeld(bus: Option<&str>) -> Check {
    let asked = in_time(async { Session::open(bus, true).await?.status().await });
    match asked.await {
        Ok(status) => {
            let label = status.booted.as_ref().map_or("no deployment", |booted| booted.label());
            Check::new("keeld", Standing::Good, format!("answers; {label} runs"))
        }
        Err(error) => Check::new("keeld", Standing::Bad, format!("{error:#}")),
    }
}

/// An answer within the time it may take.
pub async fn in_time<T>(asked: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(anyhow::anyhow!("there is no answer within {} s", ANSWER.as_secs())),
    }
}
