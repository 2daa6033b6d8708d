//! Owns what the commands of `keeld-node` do; `run` is the daemon, the others serve keelctl.

mod say;

use std::process::ExitCode;

use crate::alone::alone;
use crate::config::{self, Settings};
use crate::join::{self, Step};
use crate::leave::{drain, remove};
use crate::options::{DrainArgs, GaveUpArgs, JoinArgs, LeaveArgs, LockArgs, Options, Verb};
use crate::reboot::{cordon, given_up, lock, words};
use say::{Failure, Say};

/// Does what the command line says.
pub async fn run(options: Options) -> ExitCode {
    let settings = config::load(&options.config);
    let (say, done) = match &options.verb {
        None | Some(Verb::Run) => return daemon(settings).await,
        Some(Verb::Join(args)) => (Say::new(args.say), join(args, settings).await),
        Some(Verb::Drain(args)) => (Say::new(args.say), drain(args, settings).await),
        Some(Verb::Uncordon(args)) => (Say::new(args.say), uncordon(settings).await),
        Some(Verb::Lock(args)) => (Say::new(args.say), take_lock(args, settings).await),
        Some(Verb::Unlock(args)) => (Say::new(args.say), release_lock(settings).await),
        Some(Verb::GaveUp(args)) => (Say::new(args.say), gave_up(args, settings).await),
        Some(Verb::Leave(args)) => (Say::new(args.say), leave(args, &options, settings).await),
    };
    match done {
        Ok(message) => say.done(&message),
        Err(failure) => say.failed(&failure),
    }
}

async fn daemon(settings: Result<Settings, config::ConfigError>) -> ExitCode {
    let ended = match settings {
        Ok(settings) => crate::run::run(settings).await,
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn join(args: &JoinArgs, settings: Result<Settings, config::ConfigError>) -> Result<String, Failure> {
    let mut settings = settings.map_err(Failure::config)?;
    settings.join.replace = args.replace;
    let say = Say::new(args.say);
    let report = move |step: &Step| say.step(step.word(), &step.to_string());
    if args.check {
        join::check(&settings, &report).await.map_err(|error| Failure::join(&error))?;
        return Ok(format!("this machine can join {} as {}", settings.server, settings.name));
    }
    join::credentials(&settings, &report, Some(args.timeout)).await.map_err(|error| Failure::join(&error))?;
    Ok(format!("this machine is the node {} of {}", settings.name, settings.server))
}

async fn drain(args: &DrainArgs, settings: Result<Settings, config::ConfigError>) -> Result<String, Failure> {
    let settings = settings.map_err(Failure::config)?;
    let client = client(&settings).await?;
    let say = Say::new(args.say);
    let report = move |event: &drain::Event| say.step(say::word(event), &event.to_string());
    let how = drain::How { force: args.force, mark: args.mark, limit: args.timeout };
    let drained = drain::drain(&client, &settings.name, how, &report).await;
    drained.map_err(|error| Failure::new("drain", error.to_string()))?;
    Ok(format!("{} has no pods any more that could be elsewhere", settings.name))
}

async fn uncordon(settings: Result<Settings, config::ConfigError>) -> Result<String, Failure> {
    let settings = settings.map_err(Failure::config)?;
    let name = &settings.name;
    let changed = cordon::uncordon(&client(&settings).await?, name).await;
    let changed = changed.map_err(|error| Failure::new("api", format!("cannot uncordon {name}: {}", words(error))))?;
    Ok(match changed {
        cordon::Outcome::Changed => format!("new pods come to {name} again"),
        cordon::Outcome::Same => format!("{name} was not cordoned"),
        cordon::Outcome::Theirs => format!("{name} stays cordoned, as somebody else did that"),
    })
}

async fn take_lock(args: &LockArgs, settings: Result<Settings, config::ConfigError>) -> Result<String, Failure> {
    let settings = settings.map_err(Failure::config)?;
    let taken = lock::take(&client(&settings).await?, &settings.name, args.slots, args.version.as_deref()).await;
    let slot = taken.map_err(Failure::lock)?;
    Ok(format!("{} has the slot {slot}", settings.name))
}

async fn release_lock(settings: Result<Settings, config::ConfigError>) -> Result<String, Failure> {
    let settings = settings.map_err(Failure::config)?;
    let name = &settings.name;
    let had = lock::release(&client(&settings).await?, name).await.map_err(Failure::lock)?;
    Ok(if had { format!("{name} gave its slot back") } else { format!("{name} had no slot") })
}

async fn gave_up(args: &GaveUpArgs, settings: Result<Settings, config::ConfigError>) -> Result<String, Failure> {
    let settings = settings.map_err(Failure::config)?;
    let entry = given_up::Entry {
        node: settings.name.clone(),
        time: lock::now(),
        version: args.version.clone(),
        why: args.why.clone(),
    };
    given_up::note(&client(&settings).await?, &args.checksum, &entry).await.map_err(Failure::lock)?;
    Ok(format!("the other nodes do not go over to {} by themselves", args.version))
}

async fn leave(
    args: &LeaveArgs,
    options: &Options,
    settings: Result<Settings, config::ConfigError>,
) -> Result<String, Failure> {
    let settings = settings.map_err(Failure::config)?;
    let say = Say::new(args.say);
    // Who runs pods would start again what is removed.
    let _alone = alone(&settings.run).map_err(|error| Failure::new("running", join::whole(&error)))?;
    let count = remove::containers(&settings).await.map_err(Failure::remove)?;
    say.step("containers", &format!("removed the containers of {count} pods"));
    remove::kernel(&settings).await;
    say.step("kernel", "removed cgroups, routes and rules of pods and Services");
    let client = match &args.kubeconfig {
        Some(path) => join::client_of_kubeconfig(path).await.map_err(|error| Failure::join(&error)),
        None => client(&settings).await,
    };
    let farewell = match client {
        Ok(client) => remove::delete_node(&client, &settings.name).await,
        Err(failure) => remove::Farewell::Unknown(failure.message),
    };
    remove::files(&settings).map_err(Failure::remove)?;
    remove::remove_all(&options.config).map_err(Failure::remove)?;
    say.step("files", "removed volumes, logs, credentials and configuration");
    let (name, server) = (&settings.name, &settings.server);
    Ok(match farewell {
        remove::Farewell::Deleted => format!("{name} left {server}"),
        remove::Farewell::Stays => {
            format!("{name} left {server}; a node may not delete itself, so finish with: kubectl delete node {name}")
        }
        remove::Farewell::Unknown(why) => {
            format!("{name} left {server}, which may not know it ({why}); see to it with: kubectl delete node {name}")
        }
    })
}

/// The node's own client; a machine that has not joined does not join to leave.
async fn client(settings: &Settings) -> Result<kube::Client, Failure> {
    let mut settings = settings.clone();
    (settings.join.token, settings.join.token_file) = (None, None);
    let quiet = |_: &Step| {};
    let credentials = join::credentials(&settings, &quiet, None).await.map_err(|error| Failure::join(&error))?;
    join::client(&credentials).map_err(|error| Failure::join(&error))
}
