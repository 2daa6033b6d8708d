//! Owns keelctl's side of the interface.

use zbus::Connection;
use zbus::connection::Builder;

use super::error::ApiError;

/// Calls keeld; see [`super::server::Host`] for what each method does.
#[zbus::proxy(
    interface = "org.keelson.Host1",
    default_service = "org.keelson.Host1",
    default_path = "/org/keelson/Host1"
)]
pub trait Host {
    /// The deployments and the running transaction, as JSON.
    fn status(&self) -> Result<String, ApiError>;
    /// The remotes, as JSON.
    fn remotes(&self) -> Result<String, ApiError>;
    /// The history, as JSON.
    fn history(&self) -> Result<String, ApiError>;
    /// One transaction, as JSON.
    fn transaction(&self, id: u64) -> Result<String, ApiError>;
    /// Starts a check.
    #[zbus(allow_interactive_auth)]
    fn check(&self) -> Result<u64, ApiError>;
    /// Starts an upgrade.
    #[zbus(allow_interactive_auth)]
    fn upgrade(
        &self,
        checksum: &str,
        download_only: bool,
        allow_downgrade: bool,
        reboot: bool,
    ) -> Result<u64, ApiError>;
    /// Starts a rollback.
    #[zbus(allow_interactive_auth)]
    fn rollback(&self, reboot: bool) -> Result<u64, ApiError>;
    /// Pins or unpins.
    #[zbus(allow_interactive_auth)]
    fn pin(&self, index: u32, pinned: bool) -> Result<u64, ApiError>;
    /// Edits the kernel arguments.
    #[zbus(name = "EditKernelArguments", allow_interactive_auth)]
    fn edit_kargs(
        &self,
        delete: &[String],
        replace: &[String],
        append: &[String],
        reboot: bool,
    ) -> Result<u64, ApiError>;
    /// Starts a rebase.
    #[zbus(allow_interactive_auth)]
    fn rebase(&self, refspec: &str, url: &str, key: &[u8], replace_keys: bool, reboot: bool) -> Result<u64, ApiError>;
    /// Starts a cleanup.
    #[zbus(allow_interactive_auth)]
    fn cleanup(&self, pending: bool, rollback: bool) -> Result<u64, ApiError>;
    /// Changes the remote.
    #[zbus(allow_interactive_auth)]
    fn set_remote(&self, url: &str, key: &[u8], replace_keys: bool) -> Result<u64, ApiError>;
    /// Trusts keys no more.
    #[zbus(allow_interactive_auth)]
    fn forget_keys(&self, fingerprints: &[String]) -> Result<u64, ApiError>;
    /// How far a transaction is.
    #[zbus(signal)]
    fn progress(&self, id: u64, progress: &str) -> zbus::Result<()>;
    /// A transaction ended.
    #[zbus(signal)]
    fn finished(&self, id: u64, transaction: &str) -> zbus::Result<()>;
}

/// Connects to the bus at `address`, or to the system bus.
pub async fn connect(address: Option<&str>) -> zbus::Result<Connection> {
    match address {
        Some(address) => Builder::address(address).build().await,
        None => Connection::system().await,
    }
}
