//! Owns judging a boot: waiting until the host is well, remembering that this version is, and giving up a new
//! version that is not; and when the boot loader counts boots, from the finalizing of a version to that judgement.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use gio::Cancellable;
use keelson_common::command::CommandExt;
use keelson_common::grubenv::TRIES;
use nix::mount::{MsFlags, mount};

use super::super::follow::follow;
use super::super::session::Session;
use super::super::{files, print};
use super::Paths;
use super::checks::{in_time, look};
use crate::api::client::connect;
use crate::daemon::{boot, privileges, reboot};
use crate::deploy::tries::Tries;
use crate::deploy::{Context, Host, HostOptions, observe, verb};
use crate::health::judge::{Counted, Facts, Verdict, counted, judge as decide, untried};
use crate::health::record::{GivenUp, Known, Record};
use crate::health::report::Report;
use crate::history::{Entry, Event, Log};
use crate::model::{Deployment, HostStatus, Request, time};
use crate::update::Settings;

/// How long between two looks while the host comes up, and later.
const LOOKS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// How long keeld may take to go back.
const ROLLBACK: Duration = Duration::from_secs(120);
/// How long to wait before going back is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a host comes up.
const UP: Duration = Duration::from_secs(30);
/// What libostree has while something is staged.
const STAGED: &str = "/run/ostree/staged-deployment";
/// What a console says before somebody logs in.
const ISSUE: &str = "/run/issue.d/50-keelson.issue";

/// Judges this boot.
pub async fn judge(paths: &Paths, bus: Option<&str>) -> anyhow::Result<ExitCode> {
    ensure!(nix::unistd::geteuid().is_root(), "`keelctl health --boot` needs root");
    let (start, mut told) = (Instant::now(), Vec::new());
    loop {
        // The host may be told of it while it comes up.
        let settings = Settings::read(&paths.settings)?;
        let report = look(paths, &settings, bus).await;
        let problems = report.problems();
        if problems != told && !problems.is_empty() {
            eprintln!("not yet: {}", problems.join("; "));
            told = problems;
        }
        let mut record = Record::read(&paths.state)?;
        let (waited, limit) = (start.elapsed(), settings.health_timeout);
        let status = status(bus, report.healthy || waited >= limit).await;
        if let Some(status) = &status
            && let Err(error) = settle(paths, &mut record, status, report.healthy, bus).await
        {
            eprintln!("the boot loader's counting of boots is left as it is: {error:#}");
        }
        let facts = Facts { healthy: report.healthy, status: status.as_ref(), record: &record, waited, limit };
        match decide(&facts) {
            Verdict::Wait => tokio::time::sleep(LOOKS[usize::from(waited > UP)]).await,
            Verdict::Healthy => return healthy(paths, record, status.as_ref()),
            Verdict::Report(why) => return unhealthy(&report, why, &record, status.as_ref()),
            Verdict::RollBack(back) => match give_up(paths, &report, status.as_ref(), &back, bus).await {
                Ok(code) => return Ok(code),
                // Who gave that up for good would leave a host that is not well as it is.
                Err(error) => {
                    print::line(&format!("This host cannot go back to {}, and tries again: {error:#}", back.label()))?;
                    tokio::time::sleep(AGAIN).await;
                }
            },
        }
    }
}

/// The deployments: from keeld, or from libostree itself where keeld is what is not well.
async fn status(bus: Option<&str>, needed: bool) -> Option<HostStatus> {
    if !needed {
        return None;
    }
    let asked = in_time(async { Session::open(bus, true).await?.status().await }).await;
    let own = || {
        let mut host = Host::open(&HostOptions::default()).ok()?;
        observe::observe(&mut host).ok()
    };
    asked.ok().or_else(own)
}

/// Ends the boot loader's counting, now that this boot is judged. A version that it gave up, as that did not come
/// up, is remembered like any other, and this one boots first again.
async fn settle(
    paths: &Paths,
    record: &mut Record,
    status: &HostStatus,
    healthy: bool,
    bus: Option<&str>,
) -> anyhow::Result<()> {
    let tries = Tries::below(Path::new("/"));
    match (counted(tries.left()?, status, healthy, record), &status.booted) {
        (Counted::GaveUp(other), Some(booted)) => {
            go_back(booted, bus).await?;
            let why = vec![format!("it did not come up in {TRIES} boots")];
            // Its kernel arguments are to blame where it is the same version.
            if other.checksum != booted.checksum {
                give_up_on(paths, record, given_up(&other, why, booted), "The host went back to", booted)?;
            }
            Ok(())
        }
        (Counted::Again(other), Some(booted)) => {
            writable_boot()?;
            tries.count()?;
            print::line(&format!(
                "Version {} did not come up in {TRIES} boots, so that {} was booted. It was healthy before, and boots next.",
                other.label(),
                booted.label()
            ))
        }
        (Counted::Ends, _) => {
            writable_boot()?;
            Ok(tries.end()?)
        }
        _ => Ok(()),
    }
}

/// Has the boot loader count the boots of what is staged, which is about to be finalized; and of a version that
/// somebody rolls back to though it was never healthy, as it may not come up.
pub fn count(paths: &Paths) -> anyhow::Result<ExitCode> {
    if Path::new(STAGED).exists() || goes_to_untried(paths) {
        writable_boot()?;
        Tries::below(Path::new("/")).count().context("the boot loader will not count the boots of the new version")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a version boots next that was never healthy, and that is not counted. Counting that is under way goes on:
/// begun anew each time, it would never end with a version that cannot even be loaded.
fn goes_to_untried(paths: &Paths) -> bool {
    if !matches!(Tries::below(Path::new("/")).left(), Ok(None)) {
        return false;
    }
    let Ok(host) = Host::open(&HostOptions::default()) else { return false };
    let (Some(booted), Some(next)) = (host.booted(), host.deployments().into_iter().next()) else { return false };
    // Counting what was healthy after all does no harm: it ends when it is so again.
    let record = Record::read(&paths.state).unwrap_or_default();
    untried(&booted.csum(), &next.csum(), &record)
}

/// Makes `/boot` writable to this process alone.
fn writable_boot() -> anyhow::Result<()> {
    privileges::own_mounts()?;
    let writable = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    mount(None::<&str>, "/boot", None::<&str>, writable, None::<&str>).context("cannot write to /boot")
}

fn given_up(version: &Deployment, why: Vec<String>, back: &Deployment) -> GivenUp {
    GivenUp {
        checksum: version.checksum.clone(),
        version: version.version.clone(),
        refspec: version.refspec.clone(),
        time: time::rfc3339(time::now()),
        why,
        back_to: back.checksum.clone(),
    }
}

/// Remembers it, here and in the history, and says so.
fn give_up_on(
    paths: &Paths,
    record: &mut Record,
    given_up: GivenUp,
    goes: &str,
    back: &Deployment,
) -> anyhow::Result<()> {
    record.note_given_up(given_up.clone());
    record.write(&paths.state)?;
    let sentence = format!("{} {goes} {}.", given_up.sentence(), back.label());
    let entry = Entry {
        time: given_up.time,
        event: Event::GivenUp,
        version: given_up.version,
        checksum: Some(given_up.checksum),
        uid: Some(0),
        boot_id: boot::id(),
        message: Some(sentence.clone()),
    };
    if let Err(error) = Log::new(&paths.state).append(&entry) {
        eprintln!("cannot write the history: {error}");
    }
    print::line(&sentence)
}

fn healthy(paths: &Paths, mut record: Record, status: Option<&HostStatus>) -> anyhow::Result<ExitCode> {
    if let Some(booted) = status.and_then(|status| status.booted.as_ref()) {
        let (checksum, version) = (booted.checksum.clone(), booted.version.clone());
        if record.note_healthy(Known { checksum, version, time: time::rfc3339(time::now()) }) {
            record.write(&paths.state)?;
        }
        // For the journal alone: a console is told what is out of the ordinary.
        eprintln!("Version {} is healthy.", booted.label());
    }
    remind(&record, status)?;
    Ok(ExitCode::SUCCESS)
}

fn unhealthy(report: &Report, why: &str, record: &Record, status: Option<&HostStatus>) -> anyhow::Result<ExitCode> {
    print::line(&format!("This host is not healthy: {}\nIt stays as it is: {why}.", report.problems().join("; ")))?;
    remind(record, status)?;
    Ok(ExitCode::FAILURE)
}

/// Says which versions were given up for the one that runs, here and before each login at a console.
fn remind(record: &Record, status: Option<&HostStatus>) -> anyhow::Result<()> {
    let booted = status.and_then(|status| status.booted.as_ref()).map(|booted| booted.checksum.as_str());
    let lines: Vec<String> = record.given_up_for(booted.unwrap_or_default()).map(GivenUp::sentence).collect();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    if text.is_empty() {
        return Ok(());
    }
    print::line(&text)?;
    files::write(Path::new(ISSUE), &format!("{text}\n"), 0o644)
}

/// Goes back to `back`, remembers why, and reboots.
async fn give_up(
    paths: &Paths,
    report: &Report,
    status: Option<&HostStatus>,
    back: &Deployment,
    bus: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let booted = status.and_then(|status| status.booted.as_ref()).context("nothing is booted")?;
    // First of all, so that whatever cuts this short finds a host that goes back.
    go_back(back, bus).await?;
    let noted = Record::read(&paths.state).and_then(|mut record| {
        give_up_on(paths, &mut record, given_up(booted, report.problems(), back), "The host goes back to", back)
    });
    // A full disk keeps nobody on a version that is not well.
    if let Err(error) = noted {
        let why = report.problems().join("; ");
        print::line(&format!("The host goes back to {}: {why} (this is not on record: {error:#})", back.label()))?;
    }
    // From now on it counts as given up, for which nothing more would be done.
    while let Err(error) = restart(bus).await {
        eprintln!("the host does not go down, which is tried again: {error:#}");
        tokio::time::sleep(AGAIN).await;
    }
    Ok(ExitCode::FAILURE)
}

/// Makes `back` the next to boot.
async fn go_back(back: &Deployment, bus: Option<&str>) -> anyhow::Result<()> {
    if let Err(error) = by_keeld(back, bus).await {
        eprintln!("keeld does not go back to {}, so that it is done without: {error:#}", back.label());
        // It may hold libostree's lock.
        let stopped = Command::new("systemctl").args(["stop", "keeld.service"]).run();
        stopped.unwrap_or_else(|error| eprintln!("{error}"));
        by_hand(back)?;
    }
    Ok(())
}

/// Asks keeld. What is staged is dropped by a first rollback, and gone back by a second.
async fn by_keeld(back: &Deployment, bus: Option<&str>) -> anyhow::Result<()> {
    let session = in_time(Session::open(bus, true)).await?;
    for _ in 0..2 {
        let done = tokio::time::timeout(ROLLBACK, follow(&session, session.keeld.rollback(false))).await;
        print::done(done.context("keeld does not come to an end")??)?;
        if boots_next(&in_time(session.status()).await?, back) {
            return Ok(());
        }
    }
    bail!("it does not make {} the next to boot", back.label())
}

/// Does it in this process, as keeld would.
fn by_hand(back: &Deployment) -> anyhow::Result<()> {
    let own_mounts = privileges::own_mounts()?;
    let options = HostOptions { own_mounts, ..HostOptions::default() };
    let mut host = Host::open(&options).map_err(|error| anyhow::anyhow!(error.chain()))?;
    for _ in 0..2 {
        let context = Context::new(Rc::new(|_| {}), Cancellable::new());
        let done = verb::perform(&mut host, &Request::Rollback { reboot: false }, &context);
        done.map_err(|error| anyhow::anyhow!(error.chain()))?;
        host.reload().map_err(|error| anyhow::anyhow!(error.chain()))?;
        if boots_next(&observe::observe(&mut host).map_err(|error| anyhow::anyhow!(error.chain()))?, back) {
            return Ok(());
        }
    }
    bail!("{} cannot be made the next to boot", back.label())
}

fn boots_next(status: &HostStatus, back: &Deployment) -> bool {
    status.next_boot().is_some_and(|next| next.checksum == back.checksum)
}

async fn restart(bus: Option<&str>) -> anyhow::Result<()> {
    let asked = in_time(async { Ok(reboot::reboot(&connect(bus).await?).await?) });
    if let Err(error) = asked.await {
        eprintln!("systemd cannot be asked to reboot: {error:#}");
        Command::new("systemctl").args(["reboot", "--force"]).run().context("cannot reboot")?;
    }
    Ok(())
}
