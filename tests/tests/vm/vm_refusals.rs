//! The default host refuses what is not signed by its key, or not what it claims to be.

use anyhow::{Result, ensure};
use keelson_tests::guest::Guest;
use keelson_tests::host::{EXTRA_PROGRAM, Host};
use keelson_tests::http::Server;
use keelson_tests::repo;

/// Each is refused in words that say why, and leaves the host as it was.
pub fn refuses_what_is_not_ours(guest: &mut Guest, host: &Host) -> Result<()> {
    let (good, reference) = (&host.v2.keelson.repo, host.reference());
    let [unsigned, foreign, tampered] = ["unsigned", "foreign", "tampered"].map(|name| host.variant(name));
    repo::unsigned(good, &unsigned, reference)?;
    refuses(guest, &unsigned, "not signed")?;
    repo::foreign_key(good, &foreign, reference)?;
    refuses(guest, &foreign, "does not trust")?;
    repo::tampered(good, &tampered, reference, EXTRA_PROGRAM, "/usr/lib/os-release")?;
    refuses(guest, &tampered, "tampered")
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
