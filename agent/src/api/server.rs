//! Owns the interface keeld serves. Every method that changes something gives the number of a
//! transaction at once; how it goes is told by signals.

use zbus::Connection;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;

use crate::daemon::state::State;
use crate::model::Request;
use crate::model::request::{KargsEdit, Rebase, RemoteChange, Upgrade};

use super::error::ApiError;
use super::polkit;

/// The object at [`super::OBJECT_PATH`].
pub struct Host {
    state: State,
}

impl Host {
    /// Serves from `state`.
    pub fn new(state: State) -> Self {
        Self { state }
    }

    async fn start(&self, connection: &Connection, header: &Header<'_>, request: Request) -> Result<u64, ApiError> {
        let uid = polkit::authorize(connection, header, &request).await?;
        self.state.submit(request, uid).map_err(ApiError::Busy)
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|error| ApiError::Failed(error.to_string()))
}

fn optional(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

fn remote_change(url: String, key: Vec<u8>, replace_keys: bool) -> RemoteChange {
    let key = if key.is_empty() { None } else { Some(key) };
    RemoteChange { url: optional(url), key, replace_keys, forget: Vec::new() }
}

/// The D-Bus interface; documents are the JSON that `keelctl --json` prints.
#[zbus::interface(name = "org.keelson.Host1")]
impl Host {
    /// The deployments and the running transaction.
    async fn status(&self) -> Result<String, ApiError> {
        json(&self.state.status().await.map_err(ApiError::Failed)?)
    }

    /// The remotes of the system repository.
    async fn remotes(&self) -> Result<String, ApiError> {
        json(&self.state.remotes().await.map_err(ApiError::Failed)?)
    }

    /// What was deployed and booted when, oldest first.
    async fn history(&self) -> Result<String, ApiError> {
        json(&self.state.history().await.map_err(ApiError::Failed)?)
    }

    /// One of the latest transactions.
    async fn transaction(&self, id: u64) -> Result<String, ApiError> {
        match self.state.transaction(id) {
            Some(transaction) => json(&transaction),
            None => Err(ApiError::Invalid(format!("there is no transaction {id} (any more)"))),
        }
    }

    /// Compares what the ref holds with what runs.
    async fn check(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, ApiError> {
        self.start(connection, &header, Request::Check).await
    }

    /// Pulls and stages the newest commit of the ref, or `checksum` where it is not empty.
    async fn upgrade(
        &self,
        checksum: String,
        download_only: bool,
        allow_downgrade: bool,
        reboot: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, ApiError> {
        let options = Upgrade { checksum: optional(checksum), download_only, allow_downgrade, reboot };
        self.start(connection, &header, Request::Upgrade(options)).await
    }

    /// Makes the other deployment the next to boot.
    async fn rollback(
        &self,
        reboot: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, ApiError> {
        self.start(connection, &header, Request::Rollback { reboot }).await
    }

    /// Keeps the deployment at `index`, or lets it go.
    async fn pin(
        &self,
        index: u32,
        pinned: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, ApiError> {
        self.start(connection, &header, Request::Pin { index, pinned }).await
    }

    /// Stages the same commit with other kernel arguments.
    #[zbus(name = "EditKernelArguments")]
    async fn edit_kargs(
        &self,
        delete: Vec<String>,
        replace: Vec<String>,
        append: Vec<String>,
        reboot: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, ApiError> {
        let edit = KargsEdit { delete, replace, append };
        self.start(connection, &header, Request::Kargs { edit, reboot }).await
    }

    /// Follows `refspec` from here on; `url` and `key` change its remote first where not empty.
    #[expect(clippy::too_many_arguments, reason = "D-Bus methods are called with plain arguments")]
    async fn rebase(
        &self,
        refspec: String,
        url: String,
        key: Vec<u8>,
        replace_keys: bool,
        reboot: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, ApiError> {
        let remote = remote_change(url, key, replace_keys);
        self.start(connection, &header, Request::Rebase(Rebase { refspec, remote, reboot })).await
    }

    /// Removes what is no longer wanted and prunes the repository.
    async fn cleanup(
        &self,
        pending: bool,
        rollback: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, ApiError> {
        self.start(connection, &header, Request::Cleanup { pending, rollback }).await
    }

    /// Changes where updates come from and whose signature they need; empty leaves as is.
    async fn set_remote(
        &self,
        url: String,
        key: Vec<u8>,
        replace_keys: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, ApiError> {
        let change = remote_change(url, key, replace_keys);
        self.start(connection, &header, Request::Remote(change)).await
    }

    /// Trusts the keys with these fingerprints no more.
    async fn forget_keys(
        &self,
        fingerprints: Vec<String>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u64, ApiError> {
        let change = RemoteChange { forget: fingerprints, ..RemoteChange::default() };
        self.start(connection, &header, Request::Remote(change)).await
    }

    /// The version of keeld.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    /// How far transaction `id` is: a document of progress.
    #[zbus(signal)]
    pub async fn progress(emitter: &SignalEmitter<'_>, id: u64, progress: &str) -> zbus::Result<()>;

    /// Transaction `id` ended: the whole of it.
    #[zbus(signal)]
    pub async fn finished(emitter: &SignalEmitter<'_>, id: u64, transaction: &str) -> zbus::Result<()>;
}
