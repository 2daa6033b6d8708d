//! Owns the master's own daemon: it sets up what nodes join by, once the API server answers, answers
//! nodes' requests, looks after DNS, and renews certificates while nobody starts the host anew.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use keelson_common::command::CommandExt;
use keelson_common::master::Brought;
use keelson_common::secret::Token;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use libsystemd::daemon::{NotifyState, notify};

use crate::approve;
use crate::objects::{TOKEN_TYPE, joining, revoked};
use crate::options::Options;
use crate::paths::Paths;
use crate::pki::authority::Signer;
use crate::settings::Settings;
use crate::setup;
use crate::tend;

/// Between two looks at the certificates.
const HOUR: Duration = Duration::from_secs(3600);
/// How often the API server is asked whether it is ready, and how long it may take to answer.
const LOOK: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(10);
/// How soon something that did not work is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// The servers, which read some certificates only when they start.
const SERVERS: [&str; 5] = [
    "keelson-etcd.service",
    "kube-apiserver.service",
    "kube-controller-manager.service",
    "kube-scheduler.service",
    "coredns.service",
];

/// Runs for good.
pub fn run(options: &Options) -> Result<()> {
    block_on(serve(options))
}

/// Waits until the API server is ready.
pub fn wait(options: &Options) -> Result<()> {
    block_on(async {
        let client = client(&Paths::new(&options.root).kubeconfig("master")).await?;
        ready(&client).await
    })
}

fn block_on(what: impl Future<Output = Result<()>>) -> Result<()> {
    // Everything that speaks TLS here computes with the same code; only a second call could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(what)
}

/// Returns once the API server says that it is ready.
async fn ready(client: &kube::Client) -> Result<()> {
    loop {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        match tokio::time::timeout(ANSWER, client.request_text(request)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => tracing::debug!(%error, "the API server is not ready"),
            Err(_) => tracing::debug!("the API server does not answer"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn serve(options: &Options) -> Result<()> {
    let settings = Settings::read(&options.config)?;
    let client = client(&Paths::new(&options.root).kubeconfig("master")).await?;
    ready(&client).await?;
    let mut said = String::new();
    while let Err(error) = set_up(&client, options, &settings).await {
        // The API server may not be up yet.
        let error = format!("{error:#}");
        if said != error {
            tracing::warn!("trying again: {error}");
            said = error;
        }
        tokio::time::sleep(AGAIN).await;
    }
    tracing::info!("nodes may join {}", settings.server());
    tell(&[NotifyState::Ready, NotifyState::Status(format!("nodes may join {}", settings.server()))]);
    tokio::select! {
        result = renew(options) => result,
        error = approve::serve(&client, options, &settings) => Err(error),
        () = tend::serve(&client, options, &settings) => Ok(()),
    }
}

/// Has the API server know what nodes join by.
async fn set_up(client: &kube::Client, options: &Options, settings: &Settings) -> Result<()> {
    let paths = Paths::new(&options.root);
    let token = setup::text(&Brought::below(&options.run).token())?;
    let token = token.map(|token| token.trim().parse::<Token>()).transpose().map_err(anyhow::Error::msg)?;
    let ca = setup::authority(&paths.pki(), Signer::Cluster)?.certificate;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let objects = folder.path().join("joining.json");
    keelson_common::fs::atomic_write(
        &objects,
        joining(&settings.server(), &ca, token.as_ref()).to_string().as_bytes(),
        0o600,
    )?;
    let mut command = Command::new("kubectl");
    // It is known to be right: what the server would have it checked by is megabytes.
    command.args(["apply", "--validate=false", "--server-side", "--force-conflicts", "--field-manager=keelson-master"]);
    command.arg("--kubeconfig").arg(paths.kubeconfig("master")).args(["--request-timeout", "60s"]);
    command.env("HOME", folder.path()).arg("--filename").arg(&options.objects).arg("--filename").arg(&objects);
    tokio::task::spawn_blocking(move || command.output_text()).await??;
    revoke(client, token.as_ref()).await
}

/// Removes the tokens that user-data brought earlier.
async fn revoke(client: &kube::Client, token: Option<&Token>) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "kube-system");
    let params = ListParams::default().fields(&format!("type={TOKEN_TYPE}"));
    let found = secrets.list(&params).await.context("cannot list the tokens that nodes join by")?.items;
    for name in revoked(&found, token) {
        match secrets.delete(name, &DeleteParams::default()).await {
            Ok(_) => tracing::info!("nobody joins by {name} any more: user-data does not bring it"),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).with_context(|| format!("cannot delete {name}")),
        }
    }
    Ok(())
}

async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let config = Kubeconfig::read_from(kubeconfig).context("the master's kubeconfig")?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

/// Renews certificates; ends with this program after that, whose own is among them.
async fn renew(options: &Options) -> Result<()> {
    loop {
        tokio::time::sleep(HOUR).await;
        let made = setup::setup(options)?;
        if !made.is_empty() {
            let mut command = Command::new("systemctl");
            command.args(["try-restart", "--no-block"]).args(SERVERS);
            tokio::task::spawn_blocking(move || command.run()).await??;
            return Ok(());
        }
    }
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = notify(false, states) {
        tracing::warn!(%error, "cannot notify systemd");
    }
}
