//! Owns reading the signatures of a commit: who signed it, and whether this host trusts them.

use std::collections::HashMap;

use gio::Cancellable;
use glib::{Variant, VariantDict};
use ostree::{GpgVerifyResult, Repo};

use crate::model::status::SigningKey;
use crate::model::{Signature, SignatureState};

/// libostree's key for the signatures in a commit's detached metadata, GVariant `aay`.
const GPG_SIGNATURES: &str = "ostree.gpgsigs";

/// Verdicts by remote and commit: checking one runs `gpg`.
#[derive(Debug, Default)]
pub struct SignatureCache {
    known: HashMap<(String, String), Signature>,
}

impl SignatureCache {
    /// The verdict on `commit` by the keyring of `remote`.
    pub fn get(&mut self, repo: &Repo, remote: Option<&str>, commit: &str) -> Signature {
        let Some(remote) = remote else {
            let state = if is_signed(repo, commit) { SignatureState::Unknown } else { SignatureState::Unsigned };
            return Signature { state, keys: vec![] };
        };
        let key = (remote.to_owned(), commit.to_owned());
        self.known.entry(key).or_insert_with(|| check(repo, remote, commit)).clone()
    }

    /// Forgets everything: the keyrings changed.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Keeps only the verdicts on these commits.
    pub fn retain(&mut self, commits: &[String]) {
        self.known.retain(|(_, commit), _| commits.contains(commit));
    }
}

fn is_signed(repo: &Repo, commit: &str) -> bool {
    let detached = repo.read_commit_detached_metadata(commit, Cancellable::NONE).ok().flatten();
    detached.is_some_and(|metadata| {
        VariantDict::new(Some(&metadata)).lookup_value(GPG_SIGNATURES, None).is_some_and(|list| list.n_children() > 0)
    })
}

fn check(repo: &Repo, remote: &str, commit: &str) -> Signature {
    if !is_signed(repo, commit) {
        return Signature { state: SignatureState::Unsigned, keys: vec![] };
    }
    match repo.verify_commit_for_remote(commit, remote, Cancellable::NONE) {
        Ok(result) => verdict(keys(&result)),
        Err(error) => {
            tracing::warn!(commit, remote, %error, "cannot check the signature of a deployed commit");
            Signature { state: SignatureState::Unknown, keys: vec![] }
        }
    }
}

/// The verdict over signatures: one valid one is enough.
pub fn verdict(keys: Vec<SigningKey>) -> Signature {
    let state = match keys.as_slice() {
        [] => SignatureState::Unsigned,
        keys if keys.iter().any(|key| key.valid) => SignatureState::Trusted,
        _ => SignatureState::Untrusted,
    };
    Signature { state, keys }
}

/// The signatures in libostree's result.
pub fn keys(result: &GpgVerifyResult) -> Vec<SigningKey> {
    (0..result.count_all()).map(|index| signing_key(&result.all(index))).collect()
}

/// Reads one signature's attributes, in the order of `OstreeGpgSignatureAttr`.
fn signing_key(attributes: &Variant) -> SigningKey {
    let flag = |index: usize| attributes.try_child_get::<bool>(index).ok().flatten().unwrap_or_default();
    let text = |index: usize| attributes.try_child_get::<String>(index).ok().flatten().filter(|text| !text.is_empty());
    let valid = flag(0);
    let problem = match () {
        () if valid => None,
        () if flag(4) => Some("key is not trusted here"),
        () if flag(3) => Some("key is revoked"),
        () if flag(2) => Some("key has expired"),
        () if flag(1) => Some("signature has expired"),
        () => Some("signature does not match the commit"),
    };
    let user = match (text(10), text(11)) {
        (Some(name), Some(email)) => Some(format!("{name} <{email}>")),
        (name, email) => name.or(email),
    };
    SigningKey { fingerprint: text(5).unwrap_or_default(), user, valid, problem: problem.map(String::from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glib::prelude::*;

    fn attributes(flags: [bool; 5], fingerprint: &str, name: &str) -> Variant {
        let mut parts: Vec<Variant> = flags.iter().map(|flag| flag.to_variant()).collect();
        parts.push(fingerprint.to_variant());
        parts.extend([0i64.to_variant(), 0i64.to_variant()]);
        parts.extend(["RSA", "SHA256", name, ""].map(|text| text.to_variant()));
        Variant::tuple_from_iter(parts)
    }

    #[test]
    fn a_valid_signature() {
        let key = signing_key(&attributes([true, false, false, false, false], "ABCD", "Me"));
        assert_eq!((key.valid, key.problem, key.user.as_deref()), (true, None, Some("Me")));
        assert_eq!(verdict(vec![]).state, SignatureState::Unsigned);
    }

    #[test]
    fn each_problem_is_said() {
        let problem = |flags| signing_key(&attributes(flags, "ABCD", "")).problem.unwrap_or_default();
        assert_eq!(problem([false, false, false, false, true]), "key is not trusted here");
        assert_eq!(problem([false, false, true, false, false]), "key has expired");
        assert_eq!(problem([false; 5]), "signature does not match the commit");
        let untrusted = signing_key(&attributes([false; 5], "ABCD", ""));
        assert_eq!(verdict(vec![untrusted]).state, SignatureState::Untrusted);
    }
}
