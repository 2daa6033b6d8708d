//! Owns how systemd credentials reach a guest: SMBIOS type 11 strings, which PID 1 (systemd 252 and
//! newer) reads whatever boot loader was in between.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A system credential, see systemd.system-credentials(7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name, `ssh.authorized_keys.root`.
    pub name: String,
    /// Its content.
    pub value: Vec<u8>,
}

impl Credential {
    /// A credential of that name and content.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// A whole extra unit (systemd 256 and newer); it exists in the initramfs as well.
    pub fn unit(name: &str, content: &str) -> Self {
        Self::new(format!("systemd.extra-unit.{name}"), content)
    }

    /// A drop-in for a unit (systemd 256 and newer).
    pub fn drop_in(unit: &str, name: &str, content: &str) -> Self {
        Self::new(format!("systemd.unit-dropin.{unit}~{name}"), content)
    }

    /// Root is logged in at once on every console (util-linux 2.40 and newer): for a machine that
    /// only its owner can reach.
    pub fn console_login() -> [Self; 2] {
        [Self::new("agetty.autologin", "root"), Self::new("login.noauth", "yes")]
    }

    /// The SMBIOS type 11 string that carries it. Base64 has neither commas nor line ends, which
    /// QEMU's options could not hold.
    pub fn smbios(&self) -> String {
        format!("io.systemd.credential.binary:{}={}", self.name, STANDARD.encode(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_one_plain_string() {
        let unit = Credential::unit("x.service", "[Service]\nExecStart=/bin/a,b\n");
        let text = unit.smbios();
        assert_eq!(
            text,
            "io.systemd.credential.binary:systemd.extra-unit.x.service=W1NlcnZpY2VdCkV4ZWNTdGFydD0vYmluL2EsYgo="
        );
        assert!(!text.contains(',') && !text.contains('\n'));
    }
}
