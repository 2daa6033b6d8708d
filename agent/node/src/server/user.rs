//! Owns [`User`]: who asks.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::UserInfo;
use x509_parser::parse_x509_certificate;

/// Every user is in this group.
const AUTHENTICATED: &str = "system:authenticated";

/// Who asks, as RBAC knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct User {
    pub name: String,
    pub uid: Option<String>,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// Who a certificate names: its common name, in the groups that are its organizations. Nobody without a
    /// name.
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().last()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|group| Some(group.as_str().ok()?.to_owned()));
        let user = Self { name, groups: groups.collect(), ..Default::default() };
        (!user.name.is_empty()).then(|| user.authenticated())
    }

    /// Who a token is of.
    pub fn of_review(user: UserInfo) -> Option<Self> {
        let name = user.username.filter(|name| !name.is_empty())?;
        let groups = user.groups.unwrap_or_default();
        Some(Self { name, uid: user.uid, groups, extra: user.extra.unwrap_or_default() }.authenticated())
    }

    fn authenticated(mut self) -> Self {
        if !self.groups.iter().any(|group| group == AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_names_a_user_and_groups() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver-kubelet-client");
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let user = User::of_certificate(certificate.der()).expect("a user");
        assert_eq!(user.name, "kube-apiserver-kubelet-client");
        assert_eq!(user.groups, ["system:masters", AUTHENTICATED]);
    }

    #[test]
    fn who_has_no_name_is_nobody() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        assert_eq!(User::of_certificate(certificate.der()), None);
        assert_eq!(User::of_certificate(b"nonsense"), None);
        assert_eq!(User::of_review(UserInfo::default()), None);
    }
}
