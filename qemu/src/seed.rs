//! Owns cloud-init's NoCloud seed: a small ISO labelled `cidata`, made by `xorriso`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use keelson_common::command::CommandExt;
use keelson_common::fs::{atomic_write, remove_if_there};
use serde_json::Value;

use crate::error::Error;

/// The document that a seed need not have.
const NETWORK: &str = "network-config";
/// The mode of what may hold secrets.
const SECRET: u32 = 0o600;

/// A seed's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// A new one makes cloud-init configure the host anew.
    pub instance: String,
    /// The host's name.
    pub hostname: String,
    /// Further lines of the meta-data document.
    pub meta_data: String,
    /// The user-data document.
    pub user_data: String,
    /// The network-config document; without it the host sets its network up as it is made to.
    pub network_config: Option<String>,
}

impl Seed {
    /// A host with the user `keelson`, who may do everything by `sudo` and logs in by that key.
    pub fn with_key(public: &str) -> Self {
        let user_data = format!(
            "#cloud-config\n\
             users:\n\
             - name: keelson\n  \
               gecos: Keelson\n  \
               shell: /bin/bash\n  \
               lock_passwd: true\n  \
               sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n  \
               ssh_authorized_keys:\n  \
               - {public}\n"
        );
        Self {
            instance: uuid::Uuid::new_v4().to_string(),
            hostname: "keelson".into(),
            meta_data: String::new(),
            user_data,
            network_config: None,
        }
    }

    /// Writes its documents into a folder, which a web server may give to hosts, in place of those of another. They
    /// may hold secrets: the folder and the files are for their owner alone, whatever they were before.
    pub fn write_folder(&self, folder: &Path) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(Error::io("make", folder))?;
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(Error::io("change the mode of", folder))?;
        let meta = self.meta_data_document();
        let network = self.network_config.as_ref().map(|network| (NETWORK, network));
        for (name, content) in [("meta-data", &meta), ("user-data", &self.user_data)].into_iter().chain(network) {
            let path = folder.join(name);
            atomic_write(&path, content.as_bytes(), SECRET).map_err(Error::io("write", path))?;
        }
        if self.network_config.is_none() {
            let path = folder.join(NETWORK);
            remove_if_there(&path).map_err(Error::io("remove", path))?;
        }
        Ok(())
    }

    /// Both are quoted: a host may be called `0101` or `no`, which are no text to YAML.
    fn meta_data_document(&self) -> String {
        let (instance, hostname) = (Value::from(&*self.instance), Value::from(&*self.hostname));
        format!("instance-id: {instance}\nlocal-hostname: {hostname}\n{}", self.meta_data)
    }

    /// Writes the ISO to `file`, for its owner alone, whatever its mode was before.
    pub fn write(&self, file: &Path) -> Result<(), Error> {
        let dir = tempfile::tempdir().map_err(Error::io("write to", std::env::temp_dir()))?;
        // Nobody else looks into this folder, whatever mode xorriso gives the image.
        let (documents, image) = (dir.path().join("documents"), dir.path().join("seed.iso"));
        self.write_folder(&documents)?;
        Command::new("xorriso")
            .args(["-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o"])
            .args([&image, &documents])
            .run()
            .map_err(|source| Error::Command { what: "cannot make a cloud-init seed (apt install xorriso)", source })?;
        let content = fs::read(&image).map_err(Error::io("read", image))?;
        atomic_write(file, &content, SECRET).map_err(Error::io("write", file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_data_is_yaml_with_the_key() {
        let seed = Seed::with_key("ssh-ed25519 AAAA me");
        let lines: Vec<&str> = seed.user_data.lines().collect();
        assert_eq!(lines[0], "#cloud-config");
        assert_eq!(lines[2..4], ["- name: keelson", "  gecos: Keelson"]);
        assert_eq!(lines[7..], ["  ssh_authorized_keys:", "  - ssh-ed25519 AAAA me"]);
    }

    #[test]
    fn names_are_text_whatever_they_look_like() {
        let seed = Seed {
            instance: "0101-ab".into(),
            hostname: "no".into(),
            meta_data: "rack: R7\n".into(),
            ..Seed::with_key("key")
        };
        let text = "instance-id: \"0101-ab\"\nlocal-hostname: \"no\"\nrack: R7\n";
        assert_eq!(seed.meta_data_document(), text);
    }

    #[test]
    fn a_folder_holds_nothing_of_the_seed_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut seed = Seed { network_config: Some("version: 2\n".into()), ..Seed::with_key("key") };
        seed.write_folder(dir.path()).unwrap();
        assert!(dir.path().join(NETWORK).exists());
        seed.network_config = None;
        seed.write_folder(dir.path()).unwrap();
        seed.write_folder(dir.path()).unwrap();
        assert!(!dir.path().join(NETWORK).exists());
    }

    #[test]
    fn a_seed_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, image) = (dir.path().join("host"), dir.path().join("host.iso"));
        fs::create_dir(&folder).unwrap();
        let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        open(&folder, 0o755);
        for path in [folder.join("user-data"), image.clone()] {
            fs::write(&path, "before").unwrap();
            open(&path, 0o644);
        }
        let seed = Seed { network_config: Some("version: 2\n".into()), ..Seed::with_key("key") };
        seed.write_folder(&folder).unwrap();
        seed.write(&image).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&image)), (0o700, 0o600));
        for name in ["user-data", "meta-data", NETWORK] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
        assert!(fs::read_to_string(folder.join("user-data")).unwrap().starts_with("#cloud-config"));
    }

    #[test]
    fn the_iso_carries_cloud_inits_label() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seed.iso");
        Seed::with_key("ssh-ed25519 AAAA me").write(&file).unwrap();
        let iso = fs::read(&file).unwrap();
        // The primary volume descriptor is sector 16; its volume name is at byte 40.
        assert_eq!(&iso[16 * 2048..][1..6], b"CD001");
        assert_eq!(&iso[16 * 2048..][40..46], b"cidata");
    }
}
