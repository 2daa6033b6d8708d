//! The smallest host boots and upgrades.

use anyhow::{Result, ensure};
use keelson_qemu::machine::Firmware;
use keelson_tests::guest::Guest;
use keelson_tests::host::{self, EXTRA_PROGRAM};
use keelson_tests::keelson::finish;

#[test]
fn minimal_boots_and_upgrades() -> Result<()> {
    let host = host::minimal_host()?;
    let mut guest = Guest::boot(&host.disk()?, Firmware::Bios)?;
    guest.healthy()?;
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v1.composed.checksum), "{}", guest.status()?);
    let serve = host.v2.keelson.serve()?;
    guest.update_from(serve.port()?)?;
    // The upgrade carries the argument on that was staged before it.
    guest.sh("keelctl kargs --append keelson.test=1")?;
    guest.sh("keelctl upgrade --yes")?;
    guest.reboot()?;
    guest.sh("grep -q keelson.test=1 /proc/cmdline && keelctl kargs | grep -q keelson.test=1")?;
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v2.composed.checksum), "{}", guest.status()?);
    ensure!(guest.sh(EXTRA_PROGRAM)? == "fixture 1.0", "the new package's program says something else");
    Ok(())
}

#[test]
fn run_hands_on_output_and_status_of_one_command() -> Result<()> {
    let host = host::minimal_host()?;
    let keelson = &host.v1.keelson;
    let disk = host.disk()?;
    let mut command = keelson.command(&["run", "--firmware", "uefi", "--exec", "cat /etc/os-release; exit 7"])?;
    let run = finish(command.arg(&disk))?.expect(7)?;
    ensure!(run.stdout.starts_with("PRETTY_NAME=\"Keelson minimal host"), "{}", run.stdout);
    Ok(())
}
