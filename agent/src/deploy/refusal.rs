//! Owns saying in plain words why libostree refused what a server sent, purely: from its error
//! and the signatures it saw.

use crate::model::status::SigningKey;

use super::error::DeployError;
use super::pull::Source;

/// How libostree words an object whose content is not what its name says, or that cannot even be
/// unpacked.
const DAMAGED: [&str; 7] = [
    "Corrupted",
    "checksum mismatch",
    "Checksum mismatch",
    "fsck content object",
    "Invalid compressed data",
    "invalid checksum",
    "Invalid checksum",
];
/// How libostree words a commit without any signature.
const UNSIGNED: [&str; 2] = ["no signatures found", "No signatures found"];

/// Explains why `source` could not be pulled. `keys` are the signatures libostree saw on the
/// commit before it failed, if any.
pub fn explain(error: glib::Error, keys: &[SigningKey], source: &Source, url: &str) -> DeployError {
    if error.matches(gio::IOErrorEnum::Cancelled) {
        return DeployError::Cancelled;
    }
    let text = error.message();
    let commit = || commit_in(text).or(source.commit.as_deref()).unwrap_or(&source.name).to_owned();
    if UNSIGNED.iter().any(|words| text.contains(words)) {
        return DeployError::Unsigned { commit: commit() };
    }
    if !keys.is_empty() && !keys.iter().any(|key| key.valid) {
        return untrusted(commit(), keys);
    }
    if DAMAGED.iter().any(|words| text.contains(words)) {
        return DeployError::Tampered { refspec: source.refspec(), source: error };
    }
    DeployError::Fetch { refspec: source.refspec(), url: url.to_owned(), source: error }
}

fn untrusted(commit: String, keys: &[SigningKey]) -> DeployError {
    const FOREIGN: &str = "key is not trusted here";
    if keys.iter().any(|key| key.problem.as_deref() == Some(FOREIGN)) {
        let keys: Vec<String> = keys.iter().map(|key| format!("key {}", key.fingerprint)).collect();
        return DeployError::UntrustedKey { commit, keys: keys.join(" and ") };
    }
    let why: Vec<String> = keys
        .iter()
        .map(|key| format!("key {}: {}", key.fingerprint, key.problem.as_deref().unwrap_or("no reason given")))
        .collect();
    DeployError::BadSignature { commit, why: why.join("; ") }
}

/// The first 64 hexadecimal digits in a message.
fn commit_in(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn refused(message: &str, keys: &[SigningKey]) -> String {
        let source = Source { remote: "keelson".into(), name: "keelson/host".into(), commit: None };
        explain(glib::Error::new(gio::IOErrorEnum::Failed, message), keys, &source, "http://x").to_string()
    }

    fn key(problem: &str) -> SigningKey {
        SigningKey { fingerprint: "AA55".into(), user: None, valid: false, problem: Some(problem.into()) }
    }

    #[test]
    fn unsigned() {
        let message =
            format!("Commit {COMMIT}: GPG verification enabled, but no signatures found (use gpg-verify=false)");
        assert_eq!(refused(&message, &[]), format!("refused: commit {COMMIT} is not signed"));
    }

    #[test]
    fn foreign_key() {
        let text = refused(&format!("Commit {COMMIT}: Can't check signature"), &[key("key is not trusted here")]);
        assert!(text.contains("is signed by key AA55, which this host does not trust"), "{text}");
    }

    #[test]
    fn expired_key() {
        let text = refused("x", &[key("key has expired")]);
        assert!(text.contains("does not hold (key AA55: key has expired)"), "{text}");
    }

    #[test]
    fn damaged_and_unreachable() {
        assert!(refused("Corrupted file object; checksum expected='a' actual='b'", &[]).contains("tampered"));
        assert!(refused("Could not connect", &[]).starts_with("cannot fetch keelson:keelson/host from http://x"));
    }
}
