//! The smallest host boots and upgrades.

use anyhow::{Result, ensure};
use keelson_qemu::machine::Firmware;
use keelson_tests::guest::Guest;
use keelson_tests::host::{self, EXTRA_PROGRAM};

#[test]
fn minimal_boots_and_upgrades() -> Result<()> {
    let host = host::minimal_host()?;
    let mut guest = Guest::boot(&host.disk()?, Firmware::Bios)?;
    guest.healthy()?;
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v1.composed.checksum), "{}", guest.status()?);
    let serve = host.v2.keelson.serve()?;
    guest.update_from(serve.port()?)?;
    guest.sh("keelctl upgrade --yes")?;
    guest.reboot()?;
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v2.composed.checksum), "{}", guest.status()?);
    ensure!(guest.sh(EXTRA_PROGRAM)? == "fixture 1.0", "the new package's program says something else");
    Ok(())
}
