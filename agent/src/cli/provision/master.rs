//! Owns having the host be the master of a cluster: its configuration, the secrets that came with it, and
//! its units, which the package keelson-master brings.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use keelson_common::fs::remove_if_there;
use keelson_common::master::{Brought, MasterConfig};
use keelson_common::pki::certificate_hash;
use keelson_common::provision::Master;

use super::Apply;
use super::report::Outcome;
use crate::cli::files;
use crate::cli::systemd::Systemd;

/// What everything of a master is started with.
const UNIT: &str = "keelson-master.target";
/// The certificate of the cluster's authority.
const AUTHORITY: &str = "/var/lib/keelson/master/pki/ca.crt";
/// Where its package is installed, this is.
pub const PROGRAM: &str = "/usr/libexec/keelson/keeld-master";

/// Writes the master's configuration where it is another, and starts its units then.
pub async fn apply(master: &Master, args: &Apply, bus: Option<&str>, dry: bool) -> anyhow::Result<Outcome> {
    if !Path::new(PROGRAM).exists() {
        bail!(
            "this image has no Kubernetes master: compose it with the package keelson-master (manifests/master.toml)"
        );
    }
    let text = text(master)?;
    let told = "the master of a cluster; `kubectl --kubeconfig /var/lib/keelson/master/admin.kubeconfig` speaks to it";
    ensure_same_authority(master, Path::new(AUTHORITY))?;
    let same = files::read(&args.master)?.as_deref() == Some(text.as_str());
    let other_token = if dry { false } else { bring(master, &args.run)? };
    if same && !other_token {
        return Ok(Outcome::Unchanged(told.to_owned()));
    }
    if !dry {
        files::write(&args.master, &text, 0o600)?;
        Systemd::connect(bus).await?.start_again(UNIT).await?;
    }
    Ok(Outcome::Applied(told.to_owned()))
}

/// Refuses another authority than the one that the cluster has.
fn ensure_same_authority(master: &Master, there: &Path) -> anyhow::Result<()> {
    let (Some(ca), Some(there)) = (&master.ca, files::read(there)?) else { return Ok(()) };
    ensure!(
        certificate_hash(&ca.certificate).is_some_and(|brought| certificate_hash(&there) == Some(brought)),
        "master.ca is another authority than the one this cluster has: its nodes would not know it any more. Take `ca` \
         out, or remove /var/lib/keelson/master to begin a new cluster"
    );
    Ok(())
}

/// Puts secrets where they are forgotten with the boot: cloud-init brings them again. Whether that is another token
/// than in this boot before.
fn bring(master: &Master, run: &Path) -> anyhow::Result<bool> {
    let brought = Brought::below(run);
    let token = match (&master.token, &master.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => {
            let token = files::read(Path::new(file))?;
            Some(token.with_context(|| format!("master.token-file: there is no file {file}"))?)
        }
        (None, None) => None,
    };
    let before = files::read(&brought.token())?;
    match &token {
        Some(token) => files::write(&brought.token(), token, 0o600)?,
        None => remove_if_there(&brought.token()).context("cannot remove the token of before")?,
    }
    if let Some(ca) = &master.ca {
        files::write(&brought.ca_key(), &ca.key, 0o600)?;
        files::write(&brought.ca_certificate(), &ca.certificate, 0o600)?;
    }
    Ok(before.is_some() && before != token)
}

fn text(master: &Master) -> anyhow::Result<String> {
    let config = MasterConfig {
        address: master.address.as_deref().map(str::parse).transpose()?,
        names: master.names.clone(),
        pod_network: master.pod_network.clone(),
        service_network: master.service_network.clone(),
        dns: master.dns,
        dns_clients: master.dns_clients.clone(),
    };
    Ok(format!(
        "# Written at each boot by `keelctl provision`; change the host's user-data.\n{}",
        toml::to_string(&config)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelson_common::pki::{Authority, Pair};
    use keelson_common::provision;
    use keelson_common::strict::Source;

    #[test]
    fn secrets_are_not_in_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let master = Master {
            address: Some("10.0.0.1".into()),
            token: Some("abcdef.0123456789abcdef".into()),
            ca: Some(provision::Authority { certificate: "C".into(), key: "K3Y".into() }),
            ..Master::default()
        };
        let text = text(&master).unwrap();
        assert!(!text.contains("abcdef") && !text.contains("K3Y"), "{text}");
        assert!(MasterConfig::read(&Source { path: "master.toml".into(), text }).is_ok());
        assert!(!bring(&master, folder.path()).unwrap(), "the first of this boot");
        assert!(!bring(&master, folder.path()).unwrap());
        assert_eq!(files::read(&Brought::below(folder.path()).ca_key()).unwrap().as_deref(), Some("K3Y"));
    }

    #[test]
    fn a_token_that_is_told_no_more_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let with = |token: Option<&str>| Master { token: token.map(str::to_owned), ..Master::default() };
        bring(&with(Some("abcdef.0123456789abcdef")), folder.path()).unwrap();
        assert!(bring(&with(Some("fedcba.0123456789abcdef")), folder.path()).unwrap());
        assert!(bring(&with(None), folder.path()).unwrap());
        assert_eq!(files::read(&Brought::below(folder.path()).token()).unwrap(), None);
        let nowhere = Master { token_file: Some("/nowhere/token".into()), ..Master::default() };
        assert!(bring(&nowhere, folder.path()).unwrap_err().to_string().contains("/nowhere/token"));
    }

    #[test]
    fn another_authority_than_the_clusters_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("ca.crt");
        let [one, other] = [0, 1].map(|_| Authority::create("kubernetes", keelson_common::pki::YEAR).unwrap().1);
        let master = |pair: &Pair| Master {
            ca: Some(provision::Authority { certificate: pair.certificate.clone(), key: pair.key.clone() }),
            ..Master::default()
        };
        ensure_same_authority(&master(&one), &there).unwrap();
        std::fs::write(&there, &one.certificate).unwrap();
        ensure_same_authority(&master(&one), &there).unwrap();
        ensure_same_authority(&Master::default(), &there).unwrap();
        let error = ensure_same_authority(&master(&other), &there).unwrap_err().to_string();
        assert!(error.contains("another authority"), "{error}");
    }
}
