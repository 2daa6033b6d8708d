//! Containers without a virtual machine: [`ContainerHost`] is a private containerd with
//! `keeld containers` on top, in folders and a network namespace of its own, so that tests run side
//! by side and none meets what else the machine runs. [`TestImage`] makes small images of Debian's
//! busybox-static, [`Registry`] serves them by Debian's docker-registry.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use keelson_tests::containers::{ContainerHost, TestImage};
//! let host = ContainerHost::start()?;
//! host.load(&TestImage::busybox("busybox:latest"))?;
//! let run = host.keelctl(&["run", "--rm", "busybox", "echo", "hello"])?.expect(0)?;
//! assert_eq!(run.stdout, "hello\n");
//! host.no_leaks()?;
//! # Ok(()) }
//! ```
//!
//! It needs root, and the Debian packages that `qemu/setup.sh` installs.

pub(crate) mod folder;
mod host;
pub(crate) mod image;
pub(crate) mod leaks;
mod manager;
mod namespace;
mod process;
mod registry;
mod terminal;

pub use host::{ContainerHost, Setup};
pub use image::TestImage;
pub use manager::ServiceManager;
pub use namespace::Namespace;
pub use process::Process;
pub use registry::{Registry, RegistryKind};
pub use terminal::Terminal;

use anyhow::{Context, Result};

/// Where Debian has a program, or which package to install.
pub(crate) fn need(program: &str, package: &str) -> Result<std::path::PathBuf> {
    ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|folder| std::path::Path::new(folder).join(program))
        .find(|path| path.exists())
        .with_context(|| format!("{program} is not installed: apt install {package}"))
}

/// Asks `ready` again and again until it says yes; false when it has not within `limit`.
pub fn eventually(limit: std::time::Duration, mut ready: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + limit;
    loop {
        if ready() {
            return true;
        }
        if std::time::Instant::now() > end {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
