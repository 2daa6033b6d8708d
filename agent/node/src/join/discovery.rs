//! Owns finding out whether a server is the master: what it says of its cluster must be signed with
//! the token, its authority must have the hash that was given, and its own certificate must be from
//! that authority. The way of kubeadm.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use kube::config::Kubeconfig;
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::time::Instant;

use super::classify::{Target, ahead, failure};
use super::transport::{Connector, Slow, tls, tls_to_anybody};
use super::{JoinError, Report, Step, jws, pki};
use crate::config::{CaHash, Token};

/// Where a cluster says which it is.
const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
/// How long a token may be newer than its signature.
const SIGNING: Duration = Duration::from_secs(5);
/// How long an answer may take, and how large it may be.
const ANSWER: (Duration, usize) = (Duration::from_secs(20), 1 << 20);

/// What came back.
struct Answer {
    status: StatusCode,
    body: Bytes,
    ahead: Option<SignedDuration>,
}

/// The authority of the cluster, PEM.
pub async fn discover(server: &str, token: &Token, pins: &[CaHash], report: Report<'_>) -> Result<String, JoinError> {
    let target = Target::of(server);
    report(&Step::Looking { server: server.to_owned() });
    let until = Instant::now() + SIGNING;
    let (answer, info, pem) = loop {
        let answer = get(server, CLUSTER_INFO, tls_to_anybody()?, None).await?;
        let found = cluster_info(&answer, &target).and_then(|info| {
            let pem = authority(&info, token)?;
            Ok((info, pem))
        });
        match found {
            Err(JoinError::TokenUnknown { .. }) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
            Ok((info, pem)) => break (answer, info, pem),
        }
    };
    let certificates = pki::certificates(&pem, "the authority in the cluster-info")?;
    let hash = pki::pinned(&certificates, pins)?;
    let again = get(server, CLUSTER_INFO, tls(&certificates, None)?, answer.ahead).await?;
    if cluster_info(&again, &target)?.kubeconfig() != info.kubeconfig() {
        return Err(JoinError::BrokenClusterInfo { why: "it was another one when asked again".to_owned() });
    }
    report(&Step::Verified { hash: hash.to_string() });
    Ok(pem)
}

/// By how much this machine's clock is ahead of a server's that need not be known.
pub async fn clock(server: &str) -> Option<SignedDuration> {
    get(server, "/version", tls_to_anybody().ok()?, None).await.ok()?.ahead
}

async fn get(
    server: &str,
    path: &str,
    tls: ClientConfig,
    known_ahead: Option<SignedDuration>,
) -> Result<Answer, JoinError> {
    let target = Target::of(server);
    let uri: Uri = format!("{server}{path}").parse().unwrap_or_default();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(Connector::new(tls, None));
    let (limit, size) = ANSWER;
    let answer = async {
        let answer = client.get(uri).await.map_err(|error| failure(&error, &target, known_ahead))?;
        let date = answer.headers().get(hyper::header::DATE).and_then(|date| date.to_str().ok());
        let ahead = ahead(date, Timestamp::now());
        let status = answer.status();
        let body = Limited::new(answer.into_body(), size).collect().await;
        let body = body.map_err(|error| failure(&*error, &target, None))?.to_bytes();
        Ok(Answer { status, body, ahead })
    };
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(failure(&Slow(limit), &target, None)))
}

/// As much of the config map as matters.
#[derive(Debug, Deserialize)]
struct ClusterInfo {
    data: BTreeMap<String, String>,
}

impl ClusterInfo {
    fn kubeconfig(&self) -> Option<&String> {
        self.data.get("kubeconfig")
    }
}

fn cluster_info(answer: &Answer, target: &Target) -> Result<ClusterInfo, JoinError> {
    match answer.status {
        StatusCode::OK => {}
        status @ (StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            if answer.body.starts_with(b"{") =>
        {
            return Err(JoinError::NoClusterInfo { answer: status.to_string() });
        }
        status => {
            let (host, port) = (target.host.clone(), target.port);
            return Err(JoinError::NotKubernetes { host, port, answer: status.to_string() });
        }
    }
    serde_json::from_slice(&answer.body).map_err(|_| JoinError::NotKubernetes {
        host: target.host.clone(),
        port: target.port,
        answer: "its cluster-info is no config map".to_owned(),
    })
}

/// The authority that cluster-info names, PEM, when the token signed it.
fn authority(info: &ClusterInfo, token: &Token) -> Result<String, JoinError> {
    let broken = |why: String| JoinError::BrokenClusterInfo { why };
    let config = info.kubeconfig().ok_or_else(|| broken("it has no kubeconfig".to_owned()))?;
    let id = token.id().to_owned();
    let signature = info.data.get(&format!("jws-kubeconfig-{id}"));
    let Some(signature) = signature else { return Err(JoinError::TokenUnknown { id }) };
    if !jws::is_signed(config, signature, token) {
        return Err(JoinError::TokenSecret { id });
    }
    let config = Kubeconfig::from_yaml(config).map_err(|error| broken(error.to_string()))?;
    let cluster = config.clusters.first().and_then(|cluster| cluster.cluster.as_ref());
    let encoded = cluster.and_then(|cluster| cluster.certificate_authority_data.as_ref());
    let decoded = encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).and_then(|pem| String::from_utf8(pem).ok());
    decoded.ok_or_else(|| broken("its kubeconfig has no authority".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Kind;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, body: Bytes::copy_from_slice(body.as_bytes()), ahead: None }
    }

    fn target() -> Target {
        Target { host: "master".into(), port: 6443 }
    }

    #[test]
    fn servers_that_are_no_master_are_told_apart() {
        let of = |status, body| cluster_info(&answer(status, body), &target()).unwrap_err().to_string();
        assert!(of(404, r#"{"kind":"Status"}"#).contains("shows no cluster-info"));
        assert!(of(403, r#"{"kind":"Status"}"#).contains("403"));
        assert!(of(404, "<html>").contains("is no API server"));
        assert!(of(200, "hello").contains("is no API server"));
    }

    #[test]
    fn a_token_that_nothing_is_signed_with_is_unknown_and_another_secret_is_wrong() {
        let token: Token = "keel01.0123456789abcdef".parse().unwrap();
        let info = |data: &[(&str, &str)]| ClusterInfo {
            data: data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let of = |data: &[(&str, &str)]| authority(&info(data), &token).unwrap_err();
        assert!(matches!(of(&[]), JoinError::BrokenClusterInfo { .. }));
        let unknown = of(&[("kubeconfig", "x"), ("jws-kubeconfig-other1", "a..b")]);
        assert!(unknown.to_string().contains("knows no token \"keel01\""), "{unknown}");
        let wrong = of(&[("kubeconfig", "x"), ("jws-kubeconfig-keel01", "a..b")]);
        assert!(wrong.to_string().contains("secret of token \"keel01\" is wrong"), "{wrong}");
        assert!(unknown.kind() == Kind::Token && wrong.kind() == Kind::Token);
        assert!(!wrong.to_string().contains(token.secret()));
    }
}
