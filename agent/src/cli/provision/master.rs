//! Owns having the host be the master of a cluster: its configuration, the secrets that came with it, and
//! its units, which the package keelson-master brings.

use std::path::Path;

use anyhow::bail;
use keelson_common::master::{Brought, MasterConfig};
use keelson_common::provision::Master;

use super::Apply;
use super::report::Outcome;
use crate::cli::files;
use crate::cli::systemd::Systemd;

/// What everything of a master is started with.
const UNIT: &str = "keelson-master.target";
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
    let same = files::read(&args.master)?.as_deref() == Some(text.as_str());
    if !dry {
        bring(master, &args.run)?;
    }
    if same {
        return Ok(Outcome::Unchanged(told.to_owned()));
    }
    if !dry {
        files::write(&args.master, &text, 0o600)?;
        Systemd::connect(bus).await?.start_again(UNIT).await?;
    }
    Ok(Outcome::Applied(told.to_owned()))
}

/// Puts secrets where they are forgotten with the boot: cloud-init brings them again.
fn bring(master: &Master, run: &Path) -> anyhow::Result<()> {
    let brought = Brought::below(run);
    let token = match (&master.token, &master.token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(file)) => files::read(Path::new(file))?,
        (None, None) => None,
    };
    if let Some(token) = token {
        files::write(&brought.token(), &token, 0o600)?;
    }
    if let Some(ca) = &master.ca {
        files::write(&brought.ca_key(), &ca.key, 0o600)?;
        files::write(&brought.ca_certificate(), &ca.certificate, 0o600)?;
    }
    Ok(())
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
    use keelson_common::provision::Authority;
    use keelson_common::strict::Source;

    #[test]
    fn secrets_are_not_in_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let master = Master {
            address: Some("10.0.0.1".into()),
            token: Some("abcdef.0123456789abcdef".into()),
            ca: Some(Authority { certificate: "C".into(), key: "K3Y".into() }),
            ..Master::default()
        };
        let text = text(&master).unwrap();
        assert!(!text.contains("abcdef") && !text.contains("K3Y"), "{text}");
        assert!(MasterConfig::read(&Source { path: "master.toml".into(), text }).is_ok());
        bring(&master, folder.path()).unwrap();
        assert_eq!(files::read(&Brought::below(folder.path()).ca_key()).unwrap().as_deref(), Some("K3Y"));
    }
}
