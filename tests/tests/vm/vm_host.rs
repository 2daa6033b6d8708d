//! The default host on UEFI through its life, in one machine: it boots, refuses what is not ours, runs
//! containers, is upgraded by a static delta under them, and goes back to the version before.

use anyhow::{Context, Result, ensure};
use keelson_qemu::machine::Firmware;
use keelson_tests::guest::Guest;
use keelson_tests::host;
use keelson_tests::http::Server;
use keelson_tests::steps::Steps;

use super::vm_containers::{self, Supplies};
use super::{vm_refusals, vm_upgrade};

#[test]
fn a_host_through_its_life() -> Result<()> {
    let host = host::default_host()?;
    let supplies = Supplies::new()?;
    let mut guest = Guest::boot(&host.disk()?, Firmware::Uefi)?;
    let (guest, mut steps) = (&mut guest, Steps::of("vm_host"));
    vm_upgrade::first_boot(guest, host)?;
    steps.passed("first boot");
    vm_refusals::refuses_what_is_not_ours(guest, host)?;
    steps.passed("refusals");
    vm_upgrade::change_etc_and_var(guest)?;
    vm_containers::by_hand(guest, &supplies)?;
    steps.passed("containers");
    vm_containers::declare(guest)?;
    steps.passed("declared");
    let server = Server::start(&host.v2.keelson.repo)?;
    guest.update_from(server.port())?;
    vm_upgrade::upgrade(guest, host)?;
    let requests = server.requests();
    ensure!(requests.iter().any(|path| path.contains("/deltas/")), "no static delta was fetched: {requests:?}");
    vm_upgrade::second_version(guest, host)?;
    vm_upgrade::etc_and_var_as_they_should_be(guest)?;
    vm_containers::as_before(guest).context("after the upgrade")?;
    steps.passed("upgrade");
    guest.sh("keelctl rollback")?;
    guest.reboot()?;
    vm_upgrade::first_version_again(guest, host)?;
    vm_containers::as_before(guest).context("after the rollback")?;
    vm_containers::undeclare(guest)?;
    steps.passed("rollback");
    Ok(())
}
