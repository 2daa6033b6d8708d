//! Owns doing one step. What is taken from others is written down before it is asked for, so that it is given
//! back by whoever comes after, however this one ends.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use super::super::follow::follow;
use super::super::health;
use super::super::node::{Failure, Progress, run_program};
use super::super::print;
use super::agent::{Agent, Seen};
use super::status::rolled_back_from;
use crate::daemon::reboot;
use crate::model::{Update, UpdateState, time};
use crate::update::decide::{Demand, Ended};
use crate::update::fleetlock::{FleetLock, FleetLockError};
use crate::update::state::{Attempt, Checked, Head, LONGEST_WAIT};
use crate::update::withdrawn::dropped;
use crate::update::{Lock, Step};

/// How long to wait after something did not work out, at first and at most: a check, the lock, a drain.
const CHECK: [u64; 2] = [60, 3600];
const LOCK: [u64; 2] = [120, 300];
const DRAIN: [u64; 2] = [900, LONGEST_WAIT];
/// How long a request to the cluster may take.
const REQUEST: Duration = Duration::from_secs(120);

/// Looks at the host, for whom, and writes down since when it has what is staged.
pub async fn look(agent: &Agent, demand: Option<Demand>) -> anyhow::Result<Seen> {
    let mut seen = agent.look(demand).await?;
    if let Some(staged) = &seen.status.staged
        && seen.state.note_staged(&staged.checksum, seen.now)
    {
        seen.state.write(&agent.paths.state)?;
    }
    Ok(seen)
}

/// Does a step; gives what there is to say of it. A step that only waits does nothing.
pub async fn perform(agent: &Agent, seen: &mut Seen, step: &Step) -> anyhow::Result<String> {
    match step {
        Step::Rest | Step::Wait { .. } => Ok(String::new()),
        Step::AwaitHealth => await_health(agent, seen).await,
        Step::GiveBack(ended) => give_back(agent, seen, *ended).await,
        Step::Check => check(agent, seen).await,
        Step::Lock => lock(agent, seen).await,
        Step::Drain => drain(agent, seen).await,
        Step::Reboot => reboot(agent, seen).await,
    }
}

async fn await_health(agent: &Agent, seen: &mut Seen) -> anyhow::Result<String> {
    let report = health::look(&agent.paths, &agent.settings, agent.bus.as_deref()).await;
    seen.healthy = Some(report.healthy);
    let problems = report.problems().join("; ");
    Ok(if report.healthy { String::new() } else { format!("waits until this host is healthy: {problems}") })
}

/// Looks for versions, and has a newer one staged.
async fn check(agent: &Agent, seen: &mut Seen) -> anyhow::Result<String> {
    let found = find(agent, seen).await;
    let time = time::now();
    match &found {
        Ok((message, head)) => {
            seen.state.checked = Some(Checked { time, message: message.clone(), head: head.clone() });
            seen.state.retry = None;
        }
        Err(error) => seen.state.failed(time, format!("cannot look for versions: {error:#}"), CHECK[0], CHECK[1]),
    }
    seen.state.write(&agent.paths.state)?;
    found.map(|(message, _)| message)
}

/// What the ref holds, and what came of it.
async fn find(agent: &Agent, seen: &Seen) -> anyhow::Result<(String, Option<Head>)> {
    let checked = print::done(follow(&agent.session, agent.session.keeld.check()).await?)?;
    let Some(update) = checked.update else { return Ok((checked.message, None)) };
    let message = match update.state {
        UpdateState::Available => stage(agent, seen, &update).await?,
        _ => drop_withdrawn(agent, seen, &update).await?.unwrap_or(checked.message),
    };
    Ok((message, Some(Head { refspec: update.refspec, checksum: update.to.checksum })))
}

/// Has what the ref holds staged.
async fn stage(agent: &Agent, seen: &Seen, update: &Update) -> anyhow::Result<String> {
    if agent.gave_up(seen, &update.to.checksum) {
        return Ok(format!("{} was given up as unhealthy; a newer one is waited for.", update.to.label()));
    }
    let left = seen.status.left_version().filter(|left| left.checksum == update.to.checksum);
    if left.is_some() && seen.demand.is_none() {
        return Ok(rolled_back_from(update.to.label()));
    }
    let start = agent.session.keeld.upgrade(&update.to.checksum, false, false, false);
    Ok(print::done(follow(&agent.session, start).await?)?.message)
}

/// Drops what was withdrawn: the next shutdown would finalize it, whatever that is for.
async fn drop_withdrawn(agent: &Agent, seen: &Seen, update: &Update) -> anyhow::Result<Option<String>> {
    let Some(staged) = dropped(&seen.status, update).filter(|_| seen.demand.is_none()) else { return Ok(None) };
    // Somebody may have staged another one meanwhile.
    if agent.session.status().await?.deployments != seen.status.deployments {
        return Ok(None);
    }
    let done = async { print::done(follow(&agent.session, agent.session.keeld.cleanup(true, false)).await?) };
    done.await.with_context(|| format!("cannot drop {}, which was withdrawn", staged.label()))?;
    let (refspec, holds) = (&update.refspec, update.to.label());
    Ok(Some(format!("{} was withdrawn, as {refspec} holds {holds} now; it is staged no more.", staged.label())))
}

/// Writes down that a reboot is under way.
fn begin(agent: &Agent, seen: &mut Seen) -> anyhow::Result<()> {
    if seen.state.attempt.is_none() {
        let staged = seen.status.staged.as_ref().context("nothing is staged")?;
        seen.state.attempt = Some(Attempt {
            boot_id: agent.boot_id.clone(),
            checksum: staged.checksum.clone(),
            label: staged.label().to_owned(),
            since: time::now(),
            lock: agent.settings.lock.clone(),
            ..Attempt::default()
        });
    }
    seen.state.write(&agent.paths.state)
}

/// Changes what is written down.
fn note(agent: &Agent, seen: &mut Seen, change: impl FnOnce(&mut Attempt)) -> anyhow::Result<()> {
    seen.state.attempt.as_mut().map(change);
    seen.state.write(&agent.paths.state)
}

async fn lock(agent: &Agent, seen: &mut Seen) -> anyhow::Result<String> {
    begin(agent, seen)?;
    let Some(lock) = seen.state.attempt.as_ref().and_then(|attempt| attempt.lock.clone()) else {
        return Ok(String::new());
    };
    // A person may go over to what another host of the cluster gave up.
    let staged = seen.status.staged.as_ref().filter(|_| seen.demand.is_none());
    match take(agent, &lock, staged.map(|staged| staged.checksum.as_str())).await {
        Ok(()) => {
            note(agent, seen, |attempt| attempt.locked = true)?;
            Ok(format!("has {lock}"))
        }
        Err(error) => {
            let why = format!("cannot have {lock}: {error:#}");
            seen.state.failed(time::now(), why.clone(), LOCK[0], LOCK[1]);
            fail(agent, seen).await?;
            bail!(why)
        }
    }
}

async fn drain(agent: &Agent, seen: &mut Seen) -> anyhow::Result<String> {
    begin(agent, seen)?;
    note(agent, seen, |attempt| attempt.draining = true)?;
    let limit = agent.settings.drain_timeout;
    let words = ["drain", "--mark", "--timeout", &limit.as_secs().to_string()].map(str::to_owned);
    match on_node(agent, &words, limit + REQUEST).await {
        Ok(message) => {
            seen.state.undrained = None;
            note(agent, seen, |attempt| attempt.drained = true)?;
            Ok(message)
        }
        Err(error) => {
            let why = format!("the pods of this node do not go: {error:#}");
            seen.state.not_drained(time::now(), why.clone(), DRAIN[0], DRAIN[1]);
            fail(agent, seen).await?;
            bail!("{why}; the node takes pods again and the lock is given back until the next try")
        }
    }
}

async fn reboot(agent: &Agent, seen: &mut Seen) -> anyhow::Result<String> {
    begin(agent, seen)?;
    let attempt = seen.state.attempt.clone().unwrap_or_default();
    seen.state.rebooting(&attempt.checksum);
    seen.state.retry = None;
    seen.state.write(&agent.paths.state)?;
    reboot::reboot(agent.session.keeld.inner().connection()).await.context("systemd does not reboot the host")?;
    Ok(format!("reboots into {}", attempt.label))
}

/// Gives everything back, once it is written down when to try again.
async fn fail(agent: &Agent, seen: &mut Seen) -> anyhow::Result<()> {
    seen.state.write(&agent.paths.state)?;
    undo(agent, seen).await
}

/// Gives back what an attempt took; it is forgotten once that is done.
pub async fn undo(agent: &Agent, seen: &mut Seen) -> anyhow::Result<()> {
    let Some(attempt) = seen.state.attempt.clone() else { return Ok(()) };
    let_pods_come(agent, seen, &attempt).await?;
    give_lock(agent, seen, &attempt).await?;
    forget(agent, seen)
}

async fn let_pods_come(agent: &Agent, seen: &Seen, attempt: &Attempt) -> anyhow::Result<()> {
    if attempt.draining && seen.node {
        let message = on_node(agent, &["uncordon".to_owned()], REQUEST).await;
        progress(agent).line(&message.context("cannot let new pods come again, as `kubectl uncordon` does")?);
    }
    Ok(())
}

/// Gives the lock back, also one that was asked for and not had: the answer may have been lost.
async fn give_lock(agent: &Agent, seen: &Seen, attempt: &Attempt) -> anyhow::Result<()> {
    let Some(lock) = &attempt.lock else { return Ok(()) };
    if lock.is_gone(seen.node) {
        let what = format!("{lock} counts as given back, as this host is no node of a cluster any more");
        progress(agent).line(&format!("{what}; where that has it still, {}", lock.by_hand(&agent.machine)));
        return Ok(());
    }
    give(agent, lock).await.with_context(|| format!("cannot give back {lock}"))
}

fn forget(agent: &Agent, seen: &mut Seen) -> anyhow::Result<()> {
    seen.state.attempt = None;
    seen.state.write(&agent.paths.state)
}

/// Tells the cluster of a version that was given up here, before the next host may try it.
async fn tell_given_up(agent: &Agent, seen: &Seen, attempt: &Attempt) -> anyhow::Result<()> {
    let Some(given_up) = seen.record.gave_up(&attempt.checksum) else { return Ok(()) };
    if !matches!(attempt.lock, Some(Lock::Cluster { .. })) || !seen.node {
        return Ok(());
    }
    let why = given_up.why.join("; ");
    let words = ["gave-up", &attempt.checksum, "--version", &attempt.label, "--why", &why].map(str::to_owned);
    let message = on_node(agent, &words, REQUEST).await.context("cannot tell the other nodes of it")?;
    progress(agent).line(&message);
    Ok(())
}

async fn give_back(agent: &Agent, seen: &mut Seen, ended: Ended) -> anyhow::Result<String> {
    let attempt = seen.state.attempt.clone().unwrap_or_default();
    tell_given_up(agent, seen, &attempt).await?;
    undo(agent, seen).await?;
    let booted = seen.status.booted.as_ref();
    let runs = booted.map_or("nothing", |booted| booted.label());
    let as_wanted = booted.is_some_and(|booted| booted.checksum == attempt.checksum);
    if as_wanted {
        (seen.state.tried, seen.state.retry) = (None, None);
        seen.state.write(&agent.paths.state)?;
    }
    let gave = match &attempt.lock {
        Some(lock) if !lock.is_gone(seen.node) => "; the reboot lock is given back",
        _ => "",
    };
    Ok(match ended {
        Ended::Booted if as_wanted => format!("{runs} is healthy{gave}"),
        Ended::Booted => format!("{runs} is healthy; {} did not stay{gave}", attempt.label),
        Ended::Gone => format!("{} is staged no more, so that nothing is rebooted for{gave}", attempt.label),
    })
}

/// Gives the lock back by hand; the one that the host was told of, where none is known to be had. A reboot that was
/// under way is forgotten, whatever comes of that: a host whose lender is gone for good updates itself no more
/// otherwise.
pub async fn release(agent: &Agent) -> anyhow::Result<String> {
    let mut seen = agent.look(None).await?;
    if let Some(attempt) = seen.state.attempt.clone() {
        let pods = let_pods_come(agent, &seen, &attempt).await.map_err(|error| format!("{error:#}"));
        let by_hand = attempt.lock.as_ref().map(|lock| lock.by_hand(&agent.machine)).unwrap_or_default();
        let lock = give_lock(agent, &seen, &attempt).await.map_err(|error| format!("{error:#}; {by_hand}"));
        forget(agent, &mut seen)?;
        let left: Vec<String> = [pods, lock].into_iter().filter_map(Result::err).collect();
        return Ok(match left.is_empty() {
            true => "What the reboot that was under way had taken is given back.".to_owned(),
            false => format!(
                "WARNING: the reboot that was under way is forgotten, but not all is given back that it had taken: {}",
                left.join("; ")
            ),
        });
    }
    match &agent.settings.lock {
        Some(lock) => {
            give(agent, lock).await.with_context(|| format!("cannot give back {lock}"))?;
            Ok(format!("No reboot was under way; {lock} is given back all the same, if this host had it."))
        }
        None => Ok("No reboot was under way, and this host has no reboot lock.".to_owned()),
    }
}

async fn take(agent: &Agent, lock: &Lock, version: Option<&str>) -> anyhow::Result<()> {
    match lock {
        Lock::Fleetlock { url, group } => plain(FleetLock::new(url, group, &agent.machine).pre_reboot().await),
        Lock::Cluster { slots } => {
            let mut words = vec!["lock".to_owned(), "--slots".to_owned(), slots.to_string()];
            words.extend(version.into_iter().flat_map(|version| ["--version".to_owned(), version.to_owned()]));
            on_node(agent, &words, REQUEST).await.map(drop)
        }
    }
}

async fn give(agent: &Agent, lock: &Lock) -> anyhow::Result<()> {
    match lock {
        Lock::Fleetlock { url, group } => plain(FleetLock::new(url, group, &agent.machine).steady_state().await),
        Lock::Cluster { .. } => on_node(agent, &["unlock".to_owned()], REQUEST).await.map(drop),
    }
}

fn plain(answer: Result<(), FleetLockError>) -> anyhow::Result<()> {
    answer.map_err(anyhow::Error::from)
}

/// Runs a command of `keeld-node`, which knows the cluster.
async fn on_node(agent: &Agent, words: &[String], limit: Duration) -> anyhow::Result<String> {
    let node = &agent.paths.node;
    if !node.config.exists() {
        bail!("this host is no node of a cluster; `keelctl join` makes it one");
    }
    let progress = progress(agent);
    let ran = tokio::time::timeout(limit, run_program(&node.program, &node.config, words, &progress)).await;
    let ran = ran.map_err(|_| anyhow!("there was no end of it within {} s", limit.as_secs()))?;
    ran.map_err(|error| match error.downcast::<Failure>() {
        Ok(failure) => anyhow!(failure.message),
        Err(error) => error,
    })
}

fn progress(agent: &Agent) -> Progress {
    if agent.logs { Progress::logged() } else { Progress::new(agent.json) }
}
