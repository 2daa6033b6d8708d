//! The smallest host, whose boots take least, loses power on BIOS in the middle of a pull, of staging, and of
//! finalizing what was staged; each time it boots, and in the end it is upgraded. Then it is told to go over to new
//! versions by itself, does so to one whose kernel panics, and is back by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use keelson_qemu::machine::Firmware;
use keelson_tests::containers::eventually;
use keelson_tests::guest::{BOOT, Guest};
use keelson_tests::host::{self, EXTRA_PROGRAM, Host};
use keelson_tests::http::{Server, Stall};
use keelson_tests::repo;
use keelson_tests::steps::Steps;

#[test]
fn survives_power_cuts() -> Result<()> {
    let host = host::minimal_host()?;
    let mut steps = Steps::of("vm_power");
    let mut guest = Guest::boot(&host.disk()?, Firmware::Bios)?;
    guest.healthy()?;
    guest.sh("test ! -e /sys/firmware/efi")?;
    guest.sh("echo data > /var/lib/mine && sync")?;
    steps.passed("boot");
    cut_in_the_middle_of_a_pull(&mut guest, host)?;
    steps.passed("cut in a pull");
    cut_in_the_middle_of_staging(&mut guest, host)?;
    steps.passed("cut in staging");
    let serve = host.v2.keelson.serve()?;
    guest.update_from(serve.port()?)?;
    cut_in_the_middle_of_finalizing(&mut guest, host)?;
    steps.passed("cut in finalizing");
    guest.sh("systemctl start network-online.target && keelctl upgrade --yes")?;
    guest.reboot()?;
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v2.composed.checksum), "{}", guest.status()?);
    guest.sh(EXTRA_PROGRAM)?;
    steps.passed("upgrade");
    // Every object of both deployments is whole.
    guest.sh("ostree fsck --quiet")?;
    steps.passed("fsck");
    a_version_that_does_not_come_up(&mut guest, host)?;
    steps.passed("version that does not come up");
    Ok(())
}

/// The host goes over to it by itself. The boot loader tries it three times, and then boots the version before, which
/// says so and stays.
fn a_version_that_does_not_come_up(guest: &mut Guest, host: &Host) -> Result<()> {
    let counted = "grep -a keelson_tries /boot/grub/grubenv";
    guest.sh(&format!("! {counted}"))?;
    let folder = tempfile::tempdir_in(host.variant(""))?;
    let keelson = host.copy(folder.path())?;
    let dead = host.dead(&keelson, folder.path())?;
    let serve = keelson.serve()?;
    guest.update_from(serve.port()?)?;
    guest.sh("keelctl upgrade --yes")?;
    // From when it is finalized, and not before: a power cut undoes what is staged.
    guest.sh(&format!("! {counted}"))?;
    let (console, boot) = (guest.vm.console().position(), guest.sh("cat /proc/sys/kernel/random/boot_id")?);
    guest.sh("printf '[update]\\npolicy = \"immediate\"\\ncheck-every = \"1m\"\\n' >/etc/keelson/host.toml")?;
    guest.sh("systemctl start --no-block keelson-provision.service")?;
    guest.vm.wait_next_boot_past_failures(&boot, 2 * BOOT)?;
    guest.healthy()?;
    let shown = guest.vm.console().since(console);
    ensure!(shown.matches("Attempted to kill init").count() == 3, "not three times:\n{shown}");
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v2.composed.checksum), "{}", guest.status()?);
    guest.sh("systemctl start keelson-health.service")?;
    let told = guest.sh("keelctl health; keelctl history; cat /run/issue.d/50-keelson.issue")?;
    ensure!(told.contains("it did not come up in 3 boots"), "{told}");
    let status = guest.status()?;
    ensure!(status["deployments"][0]["role"] == "booted", "the dead version would boot next: {status}");
    ensure!(status.to_string().contains(&dead.checksum), "{status}");
    guest.sh(&format!("! {counted}"))?;
    ensure!(guest.sh("cat /var/lib/mine")? == "data", "data in /var is lost");
    guest.reboot()?;
    // Its ref still holds the dead version, for which it does not reboot again.
    let looked = || guest.sh("keelctl updates").is_ok_and(|text| text.contains("was given up as unhealthy"));
    ensure!(eventually(BOOT, looked), "{}", guest.sh("keelctl updates; journalctl --boot -u keelson-update")?);
    let commits = guest.commits()?;
    ensure!(commits[0].as_ref() == Some(&host.v2.composed.checksum) && commits[1].is_none(), "{}", guest.status()?);
    Ok(())
}

/// Nothing but the first version is there, and what was in `/var` is.
fn as_it_was(guest: &mut Guest, host: &Host) -> Result<()> {
    let first = Some(host.v1.composed.checksum.clone());
    ensure!(guest.commits()? == [first, None, None], "{}", guest.status()?);
    ensure!(guest.sh("cat /var/lib/mine")? == "data", "data in /var is lost");
    Ok(())
}

fn cut_in_the_middle_of_a_pull(guest: &mut Guest, host: &Host) -> Result<()> {
    let objects = host.variant("objects");
    repo::without_deltas(&host.v2.keelson.repo, &objects)?;
    let server = Server::stalling(&objects, Stall { path: "/objects/", after: 12 })?;
    guest.update_from(server.port())?;
    guest.sh("systemd-run --unit=cut-pull keelctl upgrade --yes")?;
    ensure!(server.wait_stalled(Duration::from_secs(180)), "only {:?} was asked for", server.requests());
    guest.power_cut()?;
    as_it_was(guest, host)
}

fn cut_in_the_middle_of_staging(guest: &mut Guest, host: &Host) -> Result<()> {
    let server = Server::start(&host.v2.keelson.repo)?;
    guest.update_from(server.port())?;
    guest.sh("systemd-run --unit=cut-stage keelctl upgrade --yes")?;
    // Stops the agent once the new deployment's files begin to appear: half-way, for certain.
    let folder = format!("/ostree/deploy/keelson/deploy/{}.0", host.v2.composed.checksum);
    guest.sh(&format!(
        "for i in $(seq 2400); do test -d {folder}/usr && break; sleep 0.05; done; \
         systemctl kill --signal=STOP keeld; test -d {folder}/usr && test ! -e /run/ostree/staged-deployment"
    ))?;
    guest.power_cut()?;
    as_it_was(guest, host)
}

fn cut_in_the_middle_of_finalizing(guest: &mut Guest, host: &Host) -> Result<()> {
    guest.sh("keelctl upgrade --yes")?;
    // What the shutdown would do; stopped once the new deployment has its /etc.
    let etc = format!("/ostree/deploy/keelson/deploy/{}.0/etc", host.v2.composed.checksum);
    guest.sh(&format!(
        "test ! -e {etc}; systemctl stop --no-block ostree-finalize-staged.service; \
         for i in $(seq 6000); do test -e {etc} && break; sleep 0.01; done; \
         systemctl kill --signal=STOP ostree-finalize-staged.service; test -e {etc}"
    ))?;
    guest.power_cut()?;
    // The boot loader's entries change at one stroke: either version is right.
    let [booted, _, _] = guest.commits()?;
    let booted = booted.unwrap_or_default();
    ensure!([&host.v1, &host.v2].iter().any(|version| version.composed.checksum == booted), "{booted}");
    ensure!(guest.sh("cat /var/lib/mine")? == "data", "data in /var is lost");
    Ok(())
}
