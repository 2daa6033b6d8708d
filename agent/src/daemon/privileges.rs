//! Owns what keeld may do to the machine: a mount namespace of its own, in which libostree makes
//! `/sysroot` and `/boot` writable for nobody else, and only the capabilities it needs.

use anyhow::Context;
use caps::{CapSet, Capability, CapsHashSet};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// What libostree needs while it writes objects and deployments.
const NEEDED: [Capability; 8] = [
    // Objects and /etc have any owner and any mode.
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    // File capabilities are part of a commit.
    Capability::CAP_SETFCAP,
    // Deployment roots are immutable.
    Capability::CAP_LINUX_IMMUTABLE,
    // Remounting /sysroot, and freezing /boot so that the boot loader, which reads no journal,
    // finds the new entries.
    Capability::CAP_SYS_ADMIN,
    // gpg is run as a child and ended where it hangs.
    Capability::CAP_KILL,
];

/// Gives this process a mount namespace of its own, where it may. Gives whether it has one.
pub fn own_mounts() -> anyhow::Result<bool> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(false);
    }
    unshare(CloneFlags::CLONE_NEWNS).context("cannot have a mount namespace of its own")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)
        .context("cannot detach the mounts from those of the host")?;
    Ok(true)
}

/// Gives up every capability that is not [`NEEDED`], for children too.
pub fn drop_unneeded() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let needed: CapsHashSet = NEEDED.into_iter().collect();
    let held = caps::read(None, CapSet::Permitted).context("cannot read the capabilities")?;
    if held.contains(&Capability::CAP_SETPCAP) {
        let bounding = caps::read(None, CapSet::Bounding).context("cannot read the capability bounds")?;
        for capability in bounding.difference(&needed) {
            caps::drop(None, CapSet::Bounding, *capability)
                .with_context(|| format!("cannot drop {capability} from the bounds"))?;
        }
    }
    let kept: CapsHashSet = held.intersection(&needed).copied().collect();
    caps::clear(None, CapSet::Inheritable).context("cannot drop the inheritable capabilities")?;
    caps::set(None, CapSet::Effective, &kept).context("cannot drop capabilities")?;
    caps::set(None, CapSet::Permitted, &kept).context("cannot drop capabilities")
}
