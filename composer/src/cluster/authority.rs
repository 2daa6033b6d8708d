//! Owns a cluster's authority: made once, given to the master in its seed, and used here for one certificate, its
//! administrator's.

use anyhow::{Context, Result};
use keelson_common::pki::{Authority, Pair, Subject, YEAR};

/// What tokens are made of.
const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// All that opens a new cluster.
#[derive(Clone)]
pub struct Secrets {
    /// The authority.
    pub authority: Pair,
    /// The hash of its public key, as kubeadm prints it.
    pub hash: String,
    /// The administrator.
    pub administrator: Pair,
    /// The bootstrap token that nodes join by.
    pub token: String,
}

impl Secrets {
    /// New ones.
    pub fn new() -> Result<Self> {
        // A cluster here has nobody who renews anything.
        let lasts = YEAR.saturating_mul(10);
        let (signer, authority) = Authority::create("kubernetes", lasts).context("cannot make an authority")?;
        let administrator =
            Subject { user: "kubernetes-admin", group: Some("system:masters"), client: true, ..Subject::default() };
        let administrator = signer.sign(administrator, lasts).context("cannot sign the administrator's certificate")?;
        let hash = signer.hash().to_string();
        let token = format!("{}.{}", word(6)?, word(16)?);
        Ok(Self { authority, hash, administrator, token })
    }
}

/// A random word of so many letters and digits, each as likely as any other.
fn word(length: usize) -> Result<String> {
    let mut word = String::new();
    while word.len() < length {
        let limit = 252; // The greatest multiple of 36 that a byte holds.
        let [byte] = random::<1>()?;
        if byte < limit {
            word.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
        }
    }
    Ok(word)
}

/// Random bytes of the kernel's.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .context("the kernel gives no random bytes")?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelson_common::secret::{CaHash, Token};

    #[test]
    fn secrets_are_what_hosts_take() {
        let secrets = Secrets::new().unwrap();
        assert!(secrets.token.parse::<Token>().is_ok() && secrets.hash.parse::<CaHash>().is_ok());
        for pair in [&secrets.authority, &secrets.administrator] {
            assert!(pair.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
            assert!(pair.key.starts_with("-----BEGIN PRIVATE KEY-----"));
            assert!(ureq::tls::Certificate::from_pem(pair.certificate.as_bytes()).is_ok());
        }
        assert_ne!(secrets.token, Secrets::new().unwrap().token);
    }
}
