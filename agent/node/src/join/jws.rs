//! Owns checking that a cluster's description is signed with a bootstrap token: a detached JWS (RFC
//! 7515, appendix F) by HMAC-SHA256 with the token's secret for a key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::Deserialize;

use crate::config::Token;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

/// Whether `signature`, `HEADER..SIGNATURE`, is one of `content` by `token`.
pub fn is_signed(content: &str, signature: &str, token: &Token) -> bool {
    verify(content, signature, token.id(), token.secret())
}

fn verify(content: &str, signature: &str, id: &str, secret: &str) -> bool {
    let Some((header, mac)) = signature.split_once("..") else { return false };
    let (Ok(described), Ok(mac)) = (URL_SAFE_NO_PAD.decode(header), URL_SAFE_NO_PAD.decode(mac)) else { return false };
    let Ok(described) = serde_json::from_slice::<Header>(&described) else { return false };
    if described.alg != "HS256" || described.kid.is_some_and(|kid| kid != id) {
        return false;
    }
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &mac).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(content: &str, header: &str, secret: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(header);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mac = hmac::sign(&key, format!("{header}.{}", URL_SAFE_NO_PAD.encode(content)).as_bytes());
        format!("{header}..{}", URL_SAFE_NO_PAD.encode(mac))
    }

    #[test]
    fn the_secret_the_content_and_the_id_count() {
        let token: Token = "keel01.0123456789abcdef".parse().unwrap();
        let header = r#"{"alg":"HS256","kid":"keel01"}"#;
        let right = sign("cluster", header, token.secret());
        assert!(is_signed("cluster", &right, &token));
        assert!(!is_signed("another", &right, &token));
        assert!(!is_signed("cluster", &sign("cluster", header, "fedcba9876543210"), &token));
        let other = sign("cluster", r#"{"alg":"HS256","kid":"other1"}"#, token.secret());
        assert!(!is_signed("cluster", &other, &token));
        let none = sign("cluster", r#"{"alg":"none"}"#, token.secret());
        assert!(!is_signed("cluster", &none, &token));
        assert!(!is_signed("cluster", "", &token) && !is_signed("cluster", "a..b", &token));
    }

    #[test]
    fn what_a_cluster_signed_is_signed() {
        // A known answer, as Kubernetes' bootstrap signer gives it.
        let content = "Hello from the other side. I must have called a thousand times.";
        let signature = "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8";
        assert!(verify(content, signature, "joshua", "my voice is my passcode"));
        assert!(!verify(content, signature, "joshua", "my voice is my passport"));
        assert!(!verify(content, signature, "joshu4", "my voice is my passcode"));
    }
}
