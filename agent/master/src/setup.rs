//! Owns bringing the master's files to what they are to be: an authority once, certificates when they
//! are missing, due or of another name. What is right is left as it is.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use keelson_common::fs::{atomic_write, remove_if_there};
use keelson_common::kubeconfig::{Credentials, kubeconfig};
use keelson_common::master::Brought;
use keelson_common::pki::{self, Pair};
use keelson_common::secret::CaHash;

use crate::dns;
use crate::options::Options;
use crate::paths::Paths;
use crate::pki::authority::{self, Signer};
use crate::pki::identity::{Identity, KUBECONFIGS, identities};
use crate::pki::read;
use crate::settings::{PORT, Settings};

/// Sets everything up; gives the names of what was made anew.
pub fn setup(options: &Options) -> Result<Vec<String>> {
    let settings = Settings::read(&options.config)?;
    let paths = Paths::new(&options.root);
    for needed in [options.root.clone(), paths.pki(), paths.etcd()] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&needed);
        made.with_context(|| format!("cannot make {}", needed.display()))?;
    }
    let folder = paths.pki();
    let mut made = Vec::new();
    for signer in Signer::ALL {
        let brought = if signer == Signer::Cluster { brought(&Brought::below(&options.run))? } else { None };
        if have_authority(&folder, signer, brought)? {
            made.push(signer.file().to_owned());
        }
    }
    if text(&folder.join("sa.key"))?.is_none() {
        let (private, public) = pki::keys()?;
        write(&folder.join("sa.pub"), &public, 0o600)?;
        write(&folder.join("sa.key"), &private, 0o600)?;
        made.push("sa".to_owned());
    }
    let now = Timestamp::now().as_second();
    for identity in identities(&settings) {
        if have(&folder, &identity, now)? {
            made.push(identity.file.to_owned());
        }
    }
    for name in KUBECONFIGS {
        let local = format!("https://127.0.0.1:{PORT}");
        // A person takes this one elsewhere.
        let server = if name == "admin" { settings.server() } else { local };
        let own = pair(&folder, name)?.context("it was made just now")?;
        let credentials = Credentials::Certificate(&own);
        let config = kubeconfig("keelson", &server, &authority(&folder, Signer::Cluster)?.certificate, credentials);
        write_other(&paths.kubeconfig(name), &format!("{config:#}\n"))?;
    }
    write_other(&paths.environment(), &settings.environment())?;
    dns::bring(options, &settings)?;
    match made.is_empty() {
        true => tracing::info!("keys and certificates are as they should be"),
        false => tracing::info!("made {}", made.join(", ")),
    }
    Ok(made)
}

/// The hash of the cluster's authority.
pub fn ca_hash(options: &Options) -> Result<CaHash> {
    let path = Paths::new(&options.root).pki().join("ca.crt");
    let certificate = text(&path)?.with_context(|| format!("{} is missing: this is no master yet", path.display()))?;
    read::hash(&certificate)
}

/// An authority that is there.
pub fn authority(pki: &Path, signer: Signer) -> Result<Pair> {
    pair(pki, signer.file())?.with_context(|| format!("{} is gone", pki.join(signer.file()).display()))
}

/// Has an authority there; gives whether it was made or brought now.
fn have_authority(pki: &Path, signer: Signer, brought: Option<Pair>) -> Result<bool> {
    match (pair(pki, signer.file())?, brought) {
        (Some(there), Some(brought)) => {
            // A cluster that runs is not brought down by it.
            if read::hash(&there.certificate)? != read::hash(&brought.certificate)? {
                tracing::error!(
                    "user-data brings another authority than the one this cluster has: its nodes would not know it any \
                     more, and it is left alone. Take `ca` out of the user-data, or remove {} to begin anew",
                    pki.parent().unwrap_or(pki).display()
                );
                return Ok(false);
            }
            if there.certificate.trim() == brought.certificate.trim() {
                return Ok(false);
            }
            // The same key with more time.
            authority::issuer(&brought).context("the authority that user-data brings")?;
            write(&pki.join(format!("{}.crt", signer.file())), &brought.certificate, 0o600)?;
            Ok(true)
        }
        (Some(_), None) => Ok(false),
        (None, brought) => {
            let new = match brought {
                Some(brought) => brought,
                None => signer.create()?,
            };
            authority::issuer(&new).context("the cluster's authority")?;
            write_pair(pki, signer.file(), &new)?;
            Ok(true)
        }
    }
}

/// Has a certificate there that will do; gives whether it was made now.
fn have(pki: &Path, identity: &Identity, now: i64) -> Result<bool> {
    let signer = authority(pki, identity.signer)?;
    if let Some(there) = pair(pki, identity.file)? {
        match read::due(&there.certificate, identity, &signer.certificate, now) {
            None => return Ok(false),
            Some(reason) => tracing::info!("the certificate {} is made anew: {reason}", identity.file),
        }
    }
    let new = authority::sign(identity, &authority::issuer(&signer)?)?;
    write_pair(pki, identity.file, &new)?;
    Ok(true)
}

fn brought(files: &Brought) -> Result<Option<Pair>> {
    match (text(&files.ca_certificate())?, text(&files.ca_key())?) {
        (Some(certificate), Some(key)) => Ok(Some(Pair { certificate, key })),
        _ => Ok(None),
    }
}

/// A certificate and its key; nothing when either is missing, which a power cut in between leaves.
fn pair(pki: &Path, name: &str) -> Result<Option<Pair>> {
    let certificate = text(&pki.join(format!("{name}.crt")))?;
    let key = text(&pki.join(format!("{name}.key")))?;
    Ok(certificate.zip(key).map(|(certificate, key)| Pair { certificate, key }))
}

/// The certificate comes last: without it the key is not taken for one that is in use.
fn write_pair(pki: &Path, name: &str, pair: &Pair) -> Result<()> {
    let old = pki.join(format!("{name}.crt"));
    remove_if_there(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    write(&pki.join(format!("{name}.key")), &pair.key, 0o600)?;
    write(&old, &pair.certificate, 0o600)
}

/// A file's text; nothing where there is none.
pub fn text(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    atomic_write(path, text.as_bytes(), mode).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file where it says something else.
pub fn write_other(path: &Path, new: &str) -> Result<()> {
    if text(path)?.as_deref() == Some(new) {
        return Ok(());
    }
    write(path, new, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::What;

    fn host() -> (tempfile::TempDir, Options) {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::below(folder.path(), What::Setup);
        fs::write(&options.config, "address = \"10.77.0.2\"\n").unwrap();
        (folder, options)
    }

    #[test]
    fn the_second_time_nothing_is_made_and_an_address_changes_one_certificate() {
        let (_folder, options) = host();
        assert!(setup(&options).unwrap().len() > 10);
        let hash = ca_hash(&options).unwrap();
        assert_eq!(setup(&options).unwrap(), Vec::<String>::new());
        fs::write(&options.config, "address = \"10.77.0.3\"\n").unwrap();
        assert_eq!(setup(&options).unwrap(), ["apiserver"]);
        assert_eq!(ca_hash(&options).unwrap(), hash);
        // A power cut between the two files of a pair.
        fs::remove_file(options.root.join("pki/scheduler.crt")).unwrap();
        assert_eq!(setup(&options).unwrap(), ["scheduler"]);
    }

    #[test]
    fn dns_comes_and_goes_with_its_setting() {
        let (_folder, options) = host();
        setup(&options).unwrap();
        let corefile = || fs::read_to_string(options.root.join("Corefile")).unwrap_or_default();
        assert!(corefile().contains("bind 10.77.0.2") && !corefile().contains("forward"), "{}", corefile());
        let lines = options.host.join("etc/keelson/dns.d");
        fs::create_dir_all(&lines).unwrap();
        fs::write(lines.join("corp.conf"), "forward corp.example 10.0.0.9\n").unwrap();
        fs::write(options.host.join("etc/resolv.conf"), "nameserver 192.0.2.1\n").unwrap();
        dns::note_nodes(&options, &["198.51.100.9".parse().unwrap()].into()).unwrap();
        assert_eq!(setup(&options).unwrap(), Vec::<String>::new());
        assert!(corefile().contains("import ") && corefile().contains("forward . 192.0.2.1"), "{}", corefile());
        assert!(corefile().contains("allow net 198.51.100.9/32"), "{}", corefile());
        fs::write(&options.config, "address = \"10.77.0.2\"\ndns = false\n").unwrap();
        setup(&options).unwrap();
        setup(&options).unwrap();
        assert!(!options.root.join("Corefile").exists());
    }

    #[test]
    fn an_authority_that_is_brought_is_taken_and_another_is_left_alone() {
        let (_folder, options) = host();
        let files = Brought::below(&options.run);
        fs::create_dir_all(files.ca_key().parent().unwrap()).unwrap();
        let bring = || {
            let pair = Signer::Cluster.create().unwrap();
            fs::write(files.ca_certificate(), &pair.certificate).unwrap();
            fs::write(files.ca_key(), &pair.key).unwrap();
            read::hash(&pair.certificate).unwrap()
        };
        let hash = bring();
        setup(&options).unwrap();
        assert_eq!(ca_hash(&options).unwrap(), hash);
        bring();
        // Nothing is made of it, and all that runs goes on.
        assert_eq!(setup(&options).unwrap(), Vec::<String>::new());
        assert_eq!(ca_hash(&options).unwrap(), hash);
    }
}
