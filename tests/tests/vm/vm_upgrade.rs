//! The default host as it is at its first boot, in its second version, and back in the first.

use anyhow::{Result, ensure};
use keelson_tests::guest::Guest;
use keelson_tests::host::{EXTRA, EXTRA_CONFFILE, EXTRA_PROGRAM, EXTRA_SCRIPTED, EXTRA_STATE, Host};

pub fn first_boot(guest: &mut Guest, host: &Host) -> Result<()> {
    guest.healthy()?;
    guest.sh("test -d /sys/firmware/efi")?;
    let root: u64 = guest.sh("findmnt --bytes --noheadings --output SIZE /sysroot")?.trim().parse()?;
    ensure!(root > 7 << 30, "the root did not grow: {root} bytes");
    let status = guest.status()?;
    let booted = &status["booted"];
    ensure!(booted["checksum"] == host.v1.composed.checksum.as_str(), "{status}");
    ensure!(booted["version"] == host.v1.composed.version.as_str(), "{status}");
    ensure!(booted["signature"]["state"] == "trusted", "{status}");
    ensure!(status["staged"].is_null() && status["rollback"].is_null(), "{status}");
    let owner = guest.sh("dpkg -S keeld")?;
    ensure!(owner.contains("keelson-agent: "), "{owner}");
    ensure!(guest.sh("dpkg -l | grep -c ^ii")?.trim().parse::<u32>()? > 100, "dpkg -l is short");
    guest.sh("! touch /usr/written 2>/dev/null")?;
    ensure!(guest.ssh("sudo id -u")?.trim() == "0", "no root over SSH");
    // Reading needs no privilege, changing does.
    ensure!(guest.ssh("keelctl status")?.contains(&host.v1.composed.version), "no version in the status");
    ensure!(guest.ssh("keelctl upgrade --yes").is_err(), "a user without privilege upgraded the host");
    Ok(())
}

pub fn change_etc_and_var(guest: &mut Guest) -> Result<()> {
    guest.sh("echo edited >> /etc/motd && rm /etc/issue.net && echo new > /etc/mine")?;
    guest.sh("echo data > /var/lib/mine && echo home > /root/mine && sync")?;
    Ok(())
}

pub fn upgrade(guest: &mut Guest, host: &Host) -> Result<()> {
    let check = guest.sh("keelctl upgrade --check")?;
    ensure!(check.contains(EXTRA) && check.contains(&host.v2.composed.version), "{check}");
    ensure!(guest.commits()?[1].is_none(), "a check staged something");
    let shown = guest.sh("keelctl upgrade --yes")?;
    ensure!(shown.contains(EXTRA), "no package diff: {shown}");
    ensure!(guest.commits()?[1].as_ref() == Some(&host.v2.composed.checksum), "nothing is staged");
    guest.reboot()
}

pub fn second_version(guest: &mut Guest, host: &Host) -> Result<()> {
    let (v1, v2) = (&host.v1.composed.checksum, &host.v2.composed.checksum);
    ensure!(guest.commits()? == [Some(v2.clone()), None, Some(v1.clone())], "{}", guest.status()?);
    ensure!(guest.sh(EXTRA_PROGRAM)? == "fixture 1.0", "the new package's program says something else");
    ensure!(guest.sh(&format!("cat {EXTRA_CONFFILE}"))? == "answer = 42", "the conffile is another");
    ensure!(guest.sh(&format!("cat {EXTRA_SCRIPTED}"))? == "made", "the maintainer script left nothing");
    ensure!(guest.sh(&format!("stat -c %a {EXTRA_STATE}"))? == "750", "the folder in /var has another mode");
    ensure!(guest.sh(&format!("dpkg -S {EXTRA_PROGRAM}"))?.starts_with(EXTRA), "dpkg does not know whose it is");
    guest.sh("keelctl pin 0 && keelctl status | grep -q pinned && keelctl unpin 0")?;
    ensure!(guest.sh("keelctl upgrade --check")?.contains("is the newest"), "more to upgrade to");
    Ok(())
}

pub fn etc_and_var_as_they_should_be(guest: &mut Guest) -> Result<()> {
    ensure!(guest.sh("tail -n 1 /etc/motd")? == "edited", "the edit in /etc is lost");
    guest.sh("test ! -e /etc/issue.net && test -e /usr/etc/issue.net")?;
    ensure!(guest.sh("cat /etc/mine /var/lib/mine /root/mine")? == "new\ndata\nhome", "data is lost");
    Ok(())
}

pub fn first_version_again(guest: &mut Guest, host: &Host) -> Result<()> {
    let (v1, v2) = (&host.v1.composed.checksum, &host.v2.composed.checksum);
    ensure!(guest.commits()? == [Some(v1.clone()), None, Some(v2.clone())], "{}", guest.status()?);
    guest.sh(&format!("test ! -e {EXTRA_PROGRAM} && test ! -e {EXTRA_CONFFILE}"))?;
    etc_and_var_as_they_should_be(guest)?;
    let history = guest.sh("keelctl history")?;
    ensure!(history.contains(&host.v2.composed.version), "{history}");
    Ok(())
}
