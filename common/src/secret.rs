//! Owns what a node joins a cluster by: the bootstrap token and the hash of the authority's key.

use std::fmt;
use std::str::FromStr;

/// A bootstrap token, `ID.SECRET`. Its secret is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: String,
}

impl Token {
    /// The part that names it, which is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The part that nobody may see.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The whole, as it is sent.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}.…)", self.id)
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str, length| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        match text.trim().split_once('.') {
            Some((id, secret)) if part(id, 6) && part(secret, 16) => {
                Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
            }
            // What was written is not shown: it may be most of a real one.
            _ => {
                Err("this is no bootstrap token; one is six characters, a dot and sixteen characters of a-z and 0-9, \
                      as `kubeadm token create` prints it"
                    .to_owned())
            }
        }
    }
}

/// The SHA-256 of an authority's public key, as kubeadm prints it: `sha256:HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaHash([u8; 32]);

impl CaHash {
    /// A hash by its bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for CaHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl FromStr for CaHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim().strip_prefix("sha256:").unwrap_or_default();
        let mut bytes = [0; 32];
        match hex::decode_to_slice(digits, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(format!("`{text}` is no hash of a key; one is `sha256:` and 64 hexadecimal digits")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_checked_and_not_shown() {
        let token: Token = "keel01.0123456789abcdef\n".parse().unwrap();
        assert_eq!((token.id(), token.secret()), ("keel01", "0123456789abcdef"));
        assert!(!format!("{token:?}").contains("0123"));
        for wrong in ["", "keel01", "keel01.short", "KEEL01.0123456789abcdef", "keel01.0123456789abcdef0"] {
            let message = wrong.parse::<Token>().unwrap_err();
            assert!(wrong.is_empty() || !message.contains(wrong), "{message}");
        }
    }

    #[test]
    fn hashes_are_read_as_kubeadm_prints_them() {
        let text = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(text.parse::<CaHash>().unwrap().to_string(), text);
        for wrong in [&text[7..], &text[..60], "sha1:abcd", ""] {
            assert!(wrong.parse::<CaHash>().is_err(), "{wrong}");
        }
    }
}
