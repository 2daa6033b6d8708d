//! The smallest host boots and goes over to a new version by itself, when the fleet's lock is free.

use std::time::Duration;

use anyhow::{Result, ensure};
use keelson_qemu::machine::Firmware;
use keelson_tests::containers::eventually;
use keelson_tests::fleetlock;
use keelson_tests::guest::{BOOT, Guest};
use keelson_tests::host::{self, EXTRA_PROGRAM};
use keelson_tests::keelson::finish;

/// How long an emulated host may take to look, to stage, and to ask for the lock once more.
const SOON: Duration = Duration::from_secs(420);

#[test]
fn minimal_boots_and_upgrades_itself() -> Result<()> {
    let host = host::minimal_host()?;
    let mut guest = Guest::boot(&host.disk()?, Firmware::Bios)?;
    guest.healthy()?;
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v1.composed.checksum), "{}", guest.status()?);
    let serve = host.v2.keelson.serve()?;
    let lock = fleetlock::Server::start()?;
    lock.lend(Some("another"));
    // The upgrade carries the argument on that was staged before it.
    guest.sh("keelctl kargs --append keelson.test=1")?;
    let told = format!(
        "[update]\nurl = \"http://10.0.2.2:{}\"\npolicy = \"immediate\"\ncheck-every = \"1m\"\n\
         lock = {{ fleetlock = \"{}\" }}\n",
        serve.port()?,
        lock.url_for_guests()
    );
    guest.sh(&format!("printf '%s' '{told}' >/etc/keelson/host.toml && systemctl start keelson-provision.service"))?;
    let boot = guest.sh("cat /proc/sys/kernel/random/boot_id")?;

    // It has the version, and waits for whoever reboots.
    ensure!(eventually(SOON, || !lock.refused().is_empty()), "it never asked:\n{}", updates(&mut guest)?);
    ensure!(guest.commits()?[1].as_ref() == Some(&host.v2.composed.checksum), "{}", guest.status()?);
    // It was refused before it could say so.
    let mut shown = String::new();
    let told = eventually(SOON, || {
        shown = updates(&mut guest).unwrap_or_else(|error| error.to_string());
        shown.contains("failed_lock") && shown.contains("tries again at")
    });
    ensure!(told, "{shown}");
    ensure!(lock.holder().as_deref() == Some("another"), "it has the lock");
    lock.lend(None);
    ensure!(eventually(SOON, || lock.holder().is_some()), "it does not take the lock:\n{}", updates(&mut guest)?);
    guest.vm.wait_next_boot(&boot, SOON)?;
    guest.healthy()?;
    guest.sh("grep -q keelson.test=1 /proc/cmdline && keelctl kargs | grep -q keelson.test=1")?;
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v2.composed.checksum), "{}", guest.status()?);
    ensure!(guest.sh(EXTRA_PROGRAM)? == "fixture 1.0", "the new package's program says something else");
    ensure!(eventually(BOOT, || lock.holder().is_none()), "it keeps the lock:\n{}", updates(&mut guest)?);
    // Told once: another boot redoes nothing, and asks nobody.
    let asked = lock.refused().len();
    guest.reboot()?;
    let shown = updates(&mut guest)?;
    ensure!(shown.contains("immediate") && !shown.contains("Reboot "), "{shown}");
    ensure!(lock.refused().len() == asked && lock.holder().is_none(), "it asked for the lock again:\n{shown}");
    Ok(())
}

fn updates(guest: &mut Guest) -> Result<String> {
    guest.sh("keelctl updates; journalctl --boot --no-pager --lines 20 --unit keelson-update")
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
