//! Owns asking systemd, by its own D-Bus interface, how units are, and to start and stop them.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use zbus::{ObjectPath, OwnedObjectPath};

use crate::api::client::connect;

/// How long a start or stop may take.
const JOB: Duration = Duration::from_secs(120);

/// A change of links that enabling a unit made: kind, path, target.
type Change = (String, String, String);

/// A unit as systemd lists it: name, description, load state, active state, sub state, following, path, and
/// the job it waits for: id, kind, path.
pub type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn enable_unit_files(&self, files: &[&str], runtime: bool, force: bool) -> zbus::Result<(bool, Vec<Change>)>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn list_units_by_names(&self, names: &[&str]) -> zbus::Result<Vec<Listed>>;
    fn get_unit_file_state(&self, name: &str) -> zbus::Result<String>;
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<Listed>>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: ObjectPath<'_>, unit: &str, result: &str) -> zbus::Result<()>;
}

/// systemd.
pub struct Systemd(ManagerProxy<'static>);

impl Systemd {
    /// Connects.
    pub async fn connect(bus: Option<&str>) -> anyhow::Result<Self> {
        let why = "cannot talk to systemd over D-Bus; does this host run systemd?";
        let connection = connect(bus).await.context(why)?;
        let manager = ManagerProxy::new(&connection).await.context(why)?;
        manager.subscribe().await.context(why)?;
        Ok(Self(manager))
    }

    /// How these units are, whether there are such or not.
    pub async fn listed(&self, names: &[&str]) -> zbus::Result<Vec<Listed>> {
        self.0.list_units_by_names(names).await
    }

    /// Whether a unit is to run at each boot.
    pub async fn enabled(&self, unit: &str) -> bool {
        self.0.get_unit_file_state(unit).await.is_ok_and(|state| state.starts_with("enabled"))
    }

    /// Has a unit started now, anew if it runs, and at every boot.
    pub async fn enable_now(&self, unit: &str) -> anyhow::Result<()> {
        self.0.enable_unit_files(&[unit], false, false).await.with_context(|| format!("cannot enable {unit}"))?;
        self.0.reload().await.context("systemd cannot read its units again")?;
        let jobs = self.0.receive_job_removed().await?;
        let job = self.0.restart_unit(unit, "replace").await.with_context(|| format!("cannot start {unit}"))?;
        finished(jobs, &job, unit).await
    }

    /// Has a unit started, anew if it runs, without waiting for it: it may wait for who asks.
    pub async fn start_again(&self, unit: &str) -> anyhow::Result<()> {
        self.0.restart_unit(unit, "replace").await.map(drop).with_context(|| format!("cannot start {unit}"))
    }

    /// Has a unit started anew once `gate` was reached; before, it starts by itself and finds what is new.
    pub async fn start_again_after(&self, gate: &str, unit: &str) -> anyhow::Result<()> {
        let reached = self.0.list_units_by_patterns(&["active"], &[gate]).await;
        if reached.with_context(|| format!("systemd does not tell of {gate}"))?.is_empty() {
            return Ok(());
        }
        self.start_again(unit).await
    }

    /// Stops a unit; one that is not there is stopped.
    pub async fn stop(&self, unit: &str) -> anyhow::Result<()> {
        let jobs = self.0.receive_job_removed().await?;
        match self.0.stop_unit(unit, "replace").await {
            Ok(job) => finished(jobs, &job, unit).await,
            Err(zbus::Error::MethodError(name, ..)) if name.as_str().ends_with(".NoSuchUnit") => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot stop {unit}")),
        }
    }
}

/// Waits for a job's end.
async fn finished(mut jobs: JobRemovedStream, job: &OwnedObjectPath, unit: &str) -> anyhow::Result<()> {
    let result = async {
        while let Some(signal) = jobs.next().await {
            let args = signal.args()?;
            if args.job.as_str() == job.as_str() {
                return Ok(args.result.to_string());
            }
        }
        bail!("systemd went away")
    };
    let result = tokio::time::timeout(JOB, result).await;
    match result.with_context(|| format!("systemd does not get {unit} done"))??.as_str() {
        "done" | "skipped" => Ok(()),
        other => bail!("{unit}: {other}; `journalctl -u {unit}` shows why"),
    }
}
