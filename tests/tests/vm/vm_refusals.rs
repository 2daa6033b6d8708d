//! The default host on UEFI: it boots, refuses what is not signed by its key or not what it claims
//! to be, and takes the real update all the same.

use anyhow::{Result, ensure};
use keelson_qemu::machine::Firmware;
use keelson_tests::guest::Guest;
use keelson_tests::host::{self, EXTRA_PROGRAM, Host};
use keelson_tests::http::Server;
use keelson_tests::repo;

#[test]
fn refuses_what_is_not_ours_and_upgrades_by_delta() -> Result<()> {
    let host = host::default_host()?;
    let mut guest = Guest::boot(&host.disk()?, Firmware::Uefi)?;
    guest.healthy()?;
    guest.sh("test -d /sys/firmware/efi")?;
    let (good, reference) = (&host.v2.keelson.repo, host.reference());
    let [unsigned, foreign, tampered] = ["unsigned", "foreign", "tampered"].map(|name| host.variant(name));
    repo::unsigned(good, &unsigned, reference)?;
    refuses(&mut guest, &unsigned, "not signed")?;
    repo::foreign_key(good, &foreign, reference)?;
    refuses(&mut guest, &foreign, "does not trust")?;
    repo::tampered(good, &tampered, reference, EXTRA_PROGRAM, "/usr/lib/os-release")?;
    refuses(&mut guest, &tampered, "tampered")?;
    takes_the_real_one(&mut guest, host)
}

/// Offers the repository, which the host must refuse in those words and stay as it was.
fn refuses(guest: &mut Guest, repo: &std::path::Path, words: &str) -> Result<()> {
    let server = Server::start(repo)?;
    guest.update_from(server.port())?;
    let before = guest.status()?["deployments"].clone();
    let said = guest.refused("keelctl upgrade --yes")?;
    ensure!(said.contains(words), "no `{words}` in: {said}");
    ensure!(!server.requests().is_empty(), "the server was never asked");
    let after = guest.status()?["deployments"].clone();
    ensure!(before == after, "before {before}\nafter {after}");
    guest.healthy()
}

fn takes_the_real_one(guest: &mut Guest, host: &Host) -> Result<()> {
    let server = Server::start(&host.v2.keelson.repo)?;
    guest.update_from(server.port())?;
    guest.sh("keelctl upgrade --yes")?;
    let requests = server.requests();
    ensure!(requests.iter().any(|path| path.contains("/deltas/")), "no static delta was fetched: {requests:?}");
    guest.reboot()?;
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v2.composed.checksum), "{}", guest.status()?);
    guest.sh("test -d /sys/firmware/efi")?;
    Ok(())
}
