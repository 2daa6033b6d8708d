//! Owns tokens of service accounts in volumes: each is bound to its pod, kept while it is fresh, and
//! asked for anew well before it ends.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::PostParams;

use super::error::{Problem, refused};

/// No token is kept for longer.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);
/// How long a token is good for where the API was not there to fill in its default, in seconds.
const SECONDS: i64 = 3600;
/// What the node authorizer allows lags behind a pod's binding: a refusal is tried again after these.
const LAG: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(600),
];
/// Pods ask up to so many seconds earlier, each at its own time.
const JITTER: u64 = 10;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    account: String,
    audience: Option<String>,
    seconds: i64,
}

#[derive(Debug, Clone)]
struct Token {
    text: Arc<str>,
    issued: Timestamp,
    expires: Timestamp,
}

/// The tokens of the pods of this node.
#[derive(Debug, Default)]
pub struct Tokens {
    kept: Mutex<HashMap<Key, Token>>,
}

impl Tokens {
    /// The token that a projected volume of a pod asks for.
    pub async fn get(
        &self,
        client: &kube::Client,
        pod: &Pod,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<Arc<str>, Problem> {
        let key = key(pod, wanted);
        let kept = self.lock().get(&key).cloned();
        let now = Timestamp::now();
        if let Some(token) = &kept
            && !is_due(token, now, jitter(&key))
        {
            return Ok(token.text.clone());
        }
        match (request(client, pod, &key).await, kept) {
            (Ok(token), _) => {
                let text = token.text.clone();
                self.lock().insert(key, token);
                Ok(text)
            }
            (Err(error), Some(token)) if now < token.expires => {
                tracing::warn!(pod = pod.metadata.name, "cannot renew a token, the old one is still good: {error}");
                Ok(token.text)
            }
            (Err(error), _) => refused(format!("failed to fetch token: {error}")),
        }
    }

    /// Forgets the tokens of a pod.
    pub fn forget(&self, uid: &str) {
        self.lock().retain(|key, _| key.uid != uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Token>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(pod: &Pod, wanted: &ServiceAccountTokenProjection) -> Key {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    Key {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        account: account.filter(|name| !name.is_empty()).unwrap_or("default").to_owned(),
        audience: wanted.audience.clone().filter(|audience| !audience.is_empty()),
        seconds: wanted.expiration_seconds.unwrap_or(SECONDS),
    }
}

async fn request(client: &kube::Client, pod: &Pod, key: &Key) -> Result<Token, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let api: kube::Api<ServiceAccount> = kube::Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: key.audience.clone().map(|audience| vec![audience]),
            expiration_seconds: Some(key.seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        ..Default::default()
    };
    let mut pauses = LAG.iter();
    let answer = loop {
        match (api.create_token_request(&key.account, &PostParams::default(), &request).await, pauses.next()) {
            (Ok(answer), _) => break answer,
            (Err(kube::Error::Api(status)), Some(pause)) if status.code == 403 => tokio::time::sleep(*pause).await,
            (Err(error), _) => return Err(error.to_string()),
        }
    };
    // The API may have changed how long it is good for.
    let seconds = answer.spec.and_then(|spec| spec.expiration_seconds).unwrap_or(key.seconds);
    let status = answer.status.unwrap_or_default();
    let (Some(token), Some(expires)) = (status.token, status.expiration_timestamp) else {
        return Err("the answer has no token".to_owned());
    };
    let expires = expires.0;
    let issued = expires.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(expires);
    Ok(Token { text: token.into(), issued, expires })
}

/// Whether a token has seen four fifths of its life, or a day.
fn is_due(token: &Token, now: Timestamp, jitter: SignedDuration) -> bool {
    let life = token.expires.duration_since(token.issued);
    let age = now.duration_since(token.issued) + jitter;
    age > OLDEST || age > life - life / 5
}

fn jitter(key: &Key) -> SignedDuration {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    SignedDuration::from_secs((hasher.finish() % JITTER).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_at_four_fifths_or_after_a_day() {
        let issued: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let due = |life, age, jitter| {
            let token = Token { text: "t".into(), issued, expires: issued + SignedDuration::from_secs(life) };
            is_due(&token, issued + SignedDuration::from_secs(age), SignedDuration::from_secs(jitter))
        };
        assert!(!due(1000, 800, 0));
        assert!(due(1000, 801, 0));
        assert!(due(1000, 795, 9));
        assert!(due(1000, 5000, 0));
        let year = 365 * 24 * 3600;
        assert!(!due(year, 24 * 3600, 0));
        assert!(due(year, 24 * 3600 + 1, 0));
    }

    #[test]
    fn a_pods_tokens_are_told_apart_and_forgotten_together() {
        let pod = |uid: &str| -> Pod {
            serde_json::from_value(serde_json::json!({"metadata": {"uid": uid}, "spec": {"containers": []}})).unwrap()
        };
        let wanted = |audience: &str| ServiceAccountTokenProjection {
            audience: Some(audience.into()),
            expiration_seconds: None,
            path: "token".into(),
        };
        let keys = [key(&pod("1"), &wanted("")), key(&pod("1"), &wanted("vault")), key(&pod("2"), &wanted(""))];
        assert_eq!((keys[0].audience.as_deref(), keys[0].account.as_str(), keys[0].seconds), (None, "default", 3600));
        let tokens = Tokens::default();
        let now = Timestamp::now();
        for key in keys {
            tokens.lock().insert(key, Token { text: "t".into(), issued: now, expires: now });
        }
        assert_eq!(tokens.lock().len(), 3);
        tokens.forget("1");
        assert_eq!(tokens.lock().len(), 1);
    }
}
