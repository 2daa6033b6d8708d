//! Owns finding out who asks: by certificate, which TLS has checked, or by a token that the API knows.

use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, PostParams};
use sha2::{Digest, Sha256};

use super::cache::Cache;
use super::user::User;

/// How long a good token is good.
const KNOWN: Duration = Duration::from_secs(120);
/// How long a bad token is bad.
const UNKNOWN: Duration = Duration::from_secs(10);

/// Finds out who asks.
pub(super) struct Authenticator {
    reviews: Api<TokenReview>,
    /// By the token's hash: tokens are not kept.
    known: Cache<[u8; 32], Option<User>>,
}

impl Authenticator {
    /// Asks by way of `client`.
    pub fn new(client: kube::Client) -> Self {
        Self { reviews: Api::all(client), known: Cache::new() }
    }

    /// Who asks; nobody if that cannot be told. `certificate` is who the connection's certificate names.
    pub async fn user(&self, certificate: Option<User>, headers: &HeaderMap) -> Option<User> {
        match certificate {
            Some(user) => Some(user),
            None => self.of_token(bearer(headers)?).await,
        }
    }

    async fn of_token(&self, token: &str) -> Option<User> {
        let hash = Sha256::digest(token).into();
        if let Some(known) = self.known.get(&hash, Instant::now()) {
            return known;
        }
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: None };
        let review = TokenReview { spec, ..Default::default() };
        let status = match self.reviews.create(&PostParams::default(), &review).await {
            Ok(review) => review.status.unwrap_or_default(),
            // Not kept: the API may answer the next time.
            Err(error) => {
                tracing::warn!(%error, "cannot have a token reviewed");
                return None;
            }
        };
        let good = status.authenticated == Some(true);
        let user = status.user.filter(|_| good).and_then(User::of_review);
        let now = Instant::now();
        let lasts = if user.is_some() { KNOWN } else { UNKNOWN };
        self.known.put(hash, user.clone(), now, now + lasts);
        user
    }
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found() {
        let found = |value: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a value"))]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(found("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(found("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(found("Basic abc"), None);
        assert_eq!(found("Bearer "), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
