//! Owns trust anchors in volumes: ClusterTrustBundles by name, or by signer and labels.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::certificates::v1beta1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::ClusterTrustBundleProjection;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;

use super::error::{Problem, refused};

/// How long an answer is used.
const KEPT: Duration = Duration::from_secs(60);

/// Reads trust bundles.
#[derive(Debug, Default)]
pub struct Trust {
    kept: Mutex<HashMap<String, (Instant, Arc<str>)>>,
}

impl Trust {
    /// The certificates a projected volume asks for.
    pub async fn get(&self, client: &kube::Client, wanted: &ClusterTrustBundleProjection) -> Result<Arc<str>, Problem> {
        let key = format!("{:?} {:?} {:?}", wanted.name, wanted.signer_name, wanted.label_selector);
        let kept = self.lock().get(&key).filter(|(at, _)| at.elapsed() < KEPT).map(|(_, text)| text.clone());
        if let Some(text) = kept {
            return Ok(text);
        }
        let text: Arc<str> = read(client, wanted).await?.into();
        let mut all = self.lock();
        all.retain(|_, (at, _)| at.elapsed() < KEPT);
        all.insert(key, (Instant::now(), text.clone()));
        Ok(text)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Arc<str>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(client: &kube::Client, wanted: &ClusterTrustBundleProjection) -> Result<String, Problem> {
    let api: kube::Api<ClusterTrustBundle> = kube::Api::all(client.clone());
    let optional = wanted.optional.unwrap_or_default();
    let found = match (&wanted.name, &wanted.signer_name) {
        (Some(name), _) => match api.get_opt(name).await.map_err(|error| failed(&error))? {
            Some(bundle) => vec![bundle],
            None if optional => Vec::new(),
            None => return refused(format!("clustertrustbundle {name:?} not found")),
        },
        (None, Some(signer)) => {
            let Some(labels) = selector(wanted.label_selector.as_ref())? else { return none(optional) };
            let parameters = ListParams::default().fields(&format!("spec.signerName={signer}")).labels(&labels);
            api.list(&parameters).await.map_err(|error| failed(&error))?.items
        }
        (None, None) => {
            return refused("ClusterTrustBundle projection requires either name or signerName to be set");
        }
    };
    let certificates = anchors(found.iter().map(|bundle| bundle.spec.trust_bundle.as_str()));
    if found.is_empty() { none(optional) } else { Ok(certificates) }
}

fn failed(error: &kube::Error) -> Problem {
    Problem::Refused(format!("cannot read ClusterTrustBundles: {error}"))
}

fn none(optional: bool) -> Result<String, Problem> {
    if optional {
        return Ok(String::new());
    }
    refused("combination of signerName and labelSelector matched zero ClusterTrustBundles")
}

/// A selector as the API takes it in a query; nothing where it matches nothing.
fn selector(selector: Option<&LabelSelector>) -> Result<Option<String>, Problem> {
    let Some(selector) = selector else { return Ok(None) };
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let mut parts: Vec<_> = equal.collect();
    for expression in selector.match_expressions.iter().flatten() {
        let (key, values) = (&expression.key, expression.values.as_deref().unwrap_or_default().join(","));
        parts.push(match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            other => return refused(format!("{other:?} is not a valid label selector operator")),
        });
    }
    Ok(Some(parts.join(",")))
}

/// The certificates of all bundles, each once; what stands between them is left out.
fn anchors<'a>(bundles: impl Iterator<Item = &'a str>) -> String {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut all = BTreeSet::new();
    for mut rest in bundles {
        while let Some(start) = rest.find(BEGIN) {
            let body = &rest[start + BEGIN.len()..];
            let Some(end) = body.find(END) else { break };
            all.insert(
                body[..end].lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n"),
            );
            rest = &body[end + END.len()..];
        }
    }
    all.iter().map(|body| format!("{BEGIN}\n{body}\n{END}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_there_once() {
        let pem = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let first = format!("words\n{}{}", pem("BB\nBB"), pem("AA"));
        let second = format!("{}\r\n-----BEGIN CERTIFICATE-----\ncut", pem("AA"));
        let all = anchors([first.as_str(), second.as_str()].into_iter());
        assert_eq!(all, pem("AA") + &pem("BB\nBB"));
    }

    #[test]
    fn selectors_are_written_as_queries() {
        let of = |json| selector(Some(&serde_json::from_value(json).unwrap())).map_err(|problem| problem.to_string());
        assert_eq!(selector(None).unwrap(), None);
        assert_eq!(of(serde_json::json!({})).unwrap().as_deref(), Some(""));
        let all = serde_json::json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]});
        assert_eq!(of(all).unwrap().as_deref(), Some("a=b,c in (d,e),!f"));
        assert!(of(serde_json::json!({"matchExpressions": [{"key": "c", "operator": "Near"}]})).is_err());
    }
}
