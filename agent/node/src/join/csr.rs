//! Owns requests for certificates: made once for each key, waited for, and what becomes of them.

use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::Api;
use kube::api::{ObjectMeta, PostParams, WatchParams};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::classify::{Target, check_new, failure};
use super::pair::Pair;
use super::store::{Purpose, Store};
use super::{JoinError, Report, Step, discovery};

/// How long one watch for an answer lasts.
const WATCH: u32 = 60;
/// How often a request for a serving certificate is looked at after a minute: it may never be approved.
const SERVING_LATER: Duration = Duration::from_secs(300);

/// What a certificate is asked for with.
pub struct Asking<'a> {
    /// With whose rights.
    pub client: &'a kube::Client,
    /// The API server, for explanations.
    pub server: &'a str,
    /// Keeps the key.
    pub store: &'a Store,
    /// The node's name.
    pub node: &'a str,
    /// What for.
    pub purpose: Purpose,
    /// Names and addresses in the certificate.
    pub names: Vec<String>,
    /// What the rights come from, to say that it is not accepted.
    pub credentials: &'static str,
}

impl Asking<'_> {
    /// Asks, waits for at most `limit`, and gives the certificate with its key. It is not kept yet: the
    /// key stays pending, so that asking again gives the same.
    pub async fn obtain(&self, limit: Option<Duration>, report: Report<'_>) -> Result<Pair, JoinError> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            let key = self.store.pending(self.purpose)?;
            let request = request(&key, self.node, &self.names)?;
            let name = name(&key, self.node, self.purpose, &self.names);
            self.submit(&name, request, report).await?;
            let Some(certificate) = self.wait(&name, limit, deadline, report).await? else {
                // It was cleaned up before it was answered.
                continue;
            };
            let what = format!("the certificate of the request {name}");
            let pair = Pair::read(format!("{certificate}\n{}", key.serialize_pem()), &what);
            let pair = pair.inspect_err(|_| drop(self.store.forget_pending(self.purpose)))?;
            check_new(pair.validity.not_before, pair.validity.not_after, Timestamp::now())?;
            report(&Step::Issued { until: pair.validity.not_after });
            return Ok(pair);
        }
    }

    fn api(&self) -> Api<CertificateSigningRequest> {
        Api::all(self.client.clone())
    }

    async fn submit(&self, name: &str, request: String, report: Report<'_>) -> Result<(), JoinError> {
        let (signer, usage) = match self.purpose {
            Purpose::Client => ("kubernetes.io/kube-apiserver-client-kubelet", "client auth"),
            Purpose::Serving => ("kubernetes.io/kubelet-serving", "server auth"),
        };
        let csr = CertificateSigningRequest {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: CertificateSigningRequestSpec {
                request: ByteString(request.into_bytes()),
                signer_name: signer.to_owned(),
                usages: Some(vec!["digital signature".to_owned(), usage.to_owned()]),
                ..CertificateSigningRequestSpec::default()
            },
            status: None,
        };
        match self.api().create(&PostParams::default(), &csr).await {
            // From before a restart.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(self.explain(error, "ask for a certificate").await),
            Ok(_) => {}
        }
        report(&Step::Asked { csr: name.to_owned() });
        Ok(())
    }

    /// The certificate, PEM; `None` when the request is gone.
    async fn wait(
        &self,
        name: &str,
        limit: Option<Duration>,
        deadline: Option<Instant>,
        report: Report<'_>,
    ) -> Result<Option<String>, JoinError> {
        let mut looked = 0_u32;
        let begun = Instant::now();
        loop {
            let csr = match self.api().get_opt(name).await {
                Ok(Some(csr)) => Some(csr),
                Ok(None) => return Ok(None),
                Err(error @ kube::Error::Api(_)) => return Err(self.explain(error, "wait for a certificate").await),
                Err(error) => {
                    tracing::debug!(%error, "cannot look at the request");
                    None
                }
            };
            match csr.as_ref().map(answer) {
                Some(Answer::Issued(pem)) => return Ok(Some(pem)),
                Some(Answer::Denied(message)) => {
                    self.store.forget_pending(self.purpose)?;
                    return Err(JoinError::Denied { csr: name.to_owned(), message });
                }
                Some(Answer::Failed(message)) => {
                    self.store.forget_pending(self.purpose)?;
                    return Err(JoinError::NotSigned { csr: name.to_owned(), message });
                }
                Some(Answer::Pending) | None => {}
            }
            if let (Some(limit), Some(deadline)) = (limit, deadline)
                && Instant::now() >= deadline
            {
                return Err(JoinError::NotApproved { csr: name.to_owned(), limit: limit.as_secs() });
            }
            // The controller needs a moment to approve; who must do so by hand hears of it after that.
            if looked == 1 {
                report(&Step::Waiting { csr: name.to_owned() });
            }
            let most = deadline.map_or(Duration::from_secs(WATCH.into()), |deadline| deadline - Instant::now());
            let first = if looked == 0 { Duration::from_secs(3) } else { Duration::from_secs(WATCH.into()) };
            let later = self.purpose == Purpose::Serving && begun.elapsed() > Duration::from_secs(WATCH.into());
            looked += 1;
            match csr {
                Some(_) if later => tokio::time::sleep(SERVING_LATER).await,
                Some(csr) => self.changed(name, &csr, most.min(first)).await,
                None => tokio::time::sleep(most.min(Duration::from_secs(u64::from(looked.min(30))))).await,
            }
        }
    }

    /// Waits until the request changes, for at most `limit`.
    async fn changed(&self, name: &str, csr: &CertificateSigningRequest, limit: Duration) {
        let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(WATCH);
        let version = csr.metadata.resource_version.clone().unwrap_or_else(|| "0".to_owned());
        let change = async {
            match self.api().watch(&params, &version).await {
                Ok(events) => match std::pin::pin!(events).next().await {
                    Some(Ok(_)) => {}
                    _ => tokio::time::sleep(Duration::from_secs(1)).await,
                },
                Err(error) => {
                    tracing::debug!(%error, "cannot watch the request");
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            }
        };
        // Whether it changed or time is up: it is looked at again.
        let _ = tokio::time::timeout(limit, change).await;
    }

    async fn explain(&self, error: kube::Error, what: &'static str) -> JoinError {
        explain(error, what, self.server, self.credentials).await
    }
}

/// What the failure of a call means.
pub async fn explain(error: kube::Error, what: &'static str, server: &str, credentials: &'static str) -> JoinError {
    let status = match error {
        kube::Error::Api(status) => status,
        other => {
            let target = Target::of(server);
            let first = failure(&other, &target, None);
            // Only a certificate whose time is wrong needs the other clock.
            return match matches!(first, JoinError::Clock { .. }) {
                true => failure(&other, &target, discovery::clock(server).await),
                false => first,
            };
        }
    };
    match status.code {
        401 => JoinError::Refused { what: credentials },
        403 => JoinError::Forbidden { what, message: status.message },
        _ => JoinError::Api { what, message: status.message },
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Pending,
    Denied(String),
    Failed(String),
    Issued(String),
}

fn answer(csr: &CertificateSigningRequest) -> Answer {
    let status = csr.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let found = |kind: &str| {
        let condition = conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")?;
        let words = [condition.reason.as_deref(), condition.message.as_deref()];
        Some(words.into_iter().flatten().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(": "))
    };
    if let Some(message) = found("Denied") {
        return Answer::Denied(message);
    }
    if let Some(message) = found("Failed") {
        return Answer::Failed(message);
    }
    match status.and_then(|status| status.certificate.as_ref()) {
        Some(pem) if !pem.0.is_empty() => Answer::Issued(String::from_utf8_lossy(&pem.0).into_owned()),
        _ => Answer::Pending,
    }
}

/// A request for a node's certificate, PEM.
fn request(key: &KeyPair, node: &str, names: &[String]) -> Result<String, JoinError> {
    let wrong = |error: rcgen::Error| JoinError::Certificate {
        what: "the request for a certificate".to_owned(),
        why: error.to_string(),
    };
    let mut params = CertificateParams::new(names).map_err(wrong)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, common_name(node));
    params.serialize_request(key).and_then(|request| request.pem()).map_err(wrong)
}

/// By what the cluster knows a node's certificate.
pub fn common_name(node: &str) -> String {
    format!("system:node:{node}")
}

/// A request's name: the same for the same key and content, so that none is made twice.
fn name(key: &KeyPair, node: &str, purpose: Purpose, names: &[String]) -> String {
    let mut digest = Sha256::new();
    digest.update(key.subject_public_key_info());
    digest.update(format!("|{node}|{purpose:?}|{}", names.join("|")));
    format!("node-csr-{}", hex::encode(&digest.finalize()[..16]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use x509_parser::prelude::{FromDer, X509CertificationRequest};

    use super::*;

    fn csr(status: serde_json::Value) -> CertificateSigningRequest {
        serde_json::from_value(json!({ "spec": { "request": "", "signerName": "x" }, "status": status })).unwrap()
    }

    #[test]
    fn what_became_of_a_request() {
        assert_eq!(answer(&csr(json!({}))), Answer::Pending);
        let approved = json!([{ "type": "Approved", "status": "True" }]);
        assert_eq!(answer(&csr(json!({ "conditions": approved }))), Answer::Pending);
        assert_eq!(
            answer(&csr(json!({ "conditions": approved, "certificate": "UEVN" }))),
            Answer::Issued("PEM".into())
        );
        let denied = json!([{ "type": "Denied", "status": "True", "reason": "No", "message": "not this one" }]);
        assert_eq!(answer(&csr(json!({ "conditions": denied }))), Answer::Denied("No: not this one".into()));
        let failed = json!([{ "type": "Failed", "status": "True", "message": "broken" }]);
        assert_eq!(answer(&csr(json!({ "conditions": failed }))), Answer::Failed("broken".into()));
    }

    #[test]
    fn a_request_names_the_node() {
        let key = KeyPair::generate().unwrap();
        let pem = request(&key, "one", &[]).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).unwrap();
        assert_eq!(request.certification_request_info.subject.to_string(), "O=system:nodes, CN=system:node:one");
        // Client certificates have no names: the signer would refuse them.
        assert!(request.requested_extensions().is_none_or(|mut all| all.next().is_none()));
    }

    #[test]
    fn one_key_makes_one_request_for_each_purpose() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let of = |key, node| name(key, node, Purpose::Client, &[]);
        assert_eq!(of(&key, "one"), of(&key, "one"));
        assert_ne!(of(&key, "one"), of(&other, "one"));
        assert_ne!(of(&key, "one"), of(&key, "two"));
        assert_ne!(of(&key, "one"), name(&key, "one", Purpose::Serving, &[]));
    }
}
