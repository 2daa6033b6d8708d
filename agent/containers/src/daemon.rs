//! Owns the life of `keeld containers`: it builds the parts, takes up what runs, and serves.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use keelson_common::signals;
use tokio::net::UnixListener;

use crate::containerd::Containerd;
use crate::declared::Reconciler;
use crate::engine::Engine;
use crate::events::Events;
use crate::exec::Execs;
use crate::handover::Handover;
use crate::health::Checks;
use crate::http;
use crate::images::{Images, Users};
use crate::network::Network;
use crate::options::Options;
use crate::paths::Paths;
use crate::streams::Streams;

/// The parts, as every request finds them.
#[derive(Debug)]
pub struct App {
    /// The command line.
    pub options: Options,
    /// Where everything lies.
    pub paths: Paths,
    /// containerd.
    pub containerd: Containerd,
    /// What happened lately.
    pub events: Events,
    /// Images.
    pub images: Arc<Images>,
    /// Networks.
    pub network: Arc<Network>,
    /// Output and input of containers.
    pub streams: Arc<Streams>,
    /// The containers.
    pub engine: Arc<Engine>,
    /// The declared containers.
    pub declared: Arc<Reconciler>,
    /// Further processes in them.
    pub execs: Arc<Execs>,
}

impl App {
    fn new(options: Options, kept: Vec<String>) -> anyhow::Result<Self> {
        let paths = Paths::new(&options.root, &options.run);
        let containerd = Containerd::new(&options.containerd, &options.namespace)?;
        let events = Events::default();
        let images = Arc::new(Images::new(containerd.clone(), events.clone(), &options)?);
        let network = Arc::new(Network::new(paths.clone(), &options)?);
        let streams = Arc::new(Streams::new(paths.clone(), kept)?);
        let engine = Arc::new(Engine::new(
            paths.clone(),
            containerd.clone(),
            events.clone(),
            images.clone(),
            network.clone(),
            streams.clone(),
            &options,
        )?);
        let users: std::sync::Weak<dyn Users> = Arc::downgrade(&(engine.clone() as Arc<dyn Users>));
        images.set_users(users);
        let declared = Arc::new(Reconciler::new(
            engine.clone(),
            images.clone(),
            network.clone(),
            events.clone(),
            paths.clone(),
            &options,
        )?);
        let execs = Arc::new(Execs::new(containerd.clone(), engine.clone(), streams.clone()));
        Ok(Self { options, paths, containerd, events, images, network, streams, engine, declared, execs })
    }
}

/// Serves until asked to stop; containers run on.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let Handover { listener, kept } = Handover::take();
    let app = Arc::new(App::new(options, kept)?);
    for folder in [app.paths.containers(), app.paths.volumes(), app.paths.run().to_owned()] {
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    app.engine.recover().await?;
    app.execs.recover();
    let listener = match listener {
        Some(listener) => taken(listener).context("cannot use the socket of the service manager")?,
        None => listen(&app.options.socket)?,
    };
    libsystemd::daemon::notify(false, &[libsystemd::daemon::NotifyState::Ready]).ok();
    tracing::info!(socket = %app.options.socket.display(), "serving");
    let checks = Arc::new(Checks::new(app.engine.clone(), app.execs.clone()));
    tokio::spawn(checks.run(app.events.clone()));
    tokio::spawn(declared(app.clone()));
    let stopped = signals::stopped().context("cannot wait for the signals to stop")?;
    http::serve(listener, app, stopped).await
}

/// Takes in the images that the operating system brings, then looks after what is declared.
async fn declared(app: Arc<App>) {
    match app.images.import_baked(&app.options.baked).await {
        Ok(names) if names.is_empty() => {}
        Ok(names) => tracing::info!(?names, "took in the images of the operating system"),
        Err(error) => tracing::error!("cannot take in the images of the operating system: {error}"),
    }
    app.declared.clone().run().await;
}

/// A socket that is listened on already: who asked while no daemon was there is answered now.
fn taken(listener: std::os::unix::net::UnixListener) -> std::io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Binds the socket: for root and, through its group, for who may use containers.
fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("another daemon serves on {}", path.display());
    }
    std::fs::remove_file(path).ok();
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
