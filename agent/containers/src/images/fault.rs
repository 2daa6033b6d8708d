//! What can go wrong with a registry, in words that say which registry and what helps.

use std::error::Error as StdError;
use std::io;

use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};

use crate::error::Error;

/// What to make of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The registry has no such thing.
    Missing,
    /// It wants other credentials.
    Unauthorized,
    /// It cannot be reached.
    Unreachable,
    /// It is reached, but its certificate is not trusted.
    Untrusted,
    /// The connection broke, or the registry is busy: another try may help.
    Broken,
    /// What it gave is not what was asked for.
    Wrong,
    /// Anything else.
    Other,
}

/// A failure with a registry.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What to make of it.
    pub kind: Kind,
    /// What to tell.
    pub error: Error,
}

/// What went wrong here, not there.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self { kind: Kind::Other, error }
    }
}

impl Fault {
    fn new(kind: Kind, message: String) -> Self {
        let error = match kind {
            Kind::Missing => Error::NotFound(message),
            Kind::Unauthorized => Error::Unauthorized(message),
            _ => Error::Failed(message),
        };
        Self { kind, error }
    }

    /// What the registry at `address` did.
    pub fn of(address: &str, error: &OciDistributionError) -> Self {
        match error {
            OciDistributionError::UnauthorizedError { .. } => unauthorized(address, "authentication required"),
            OciDistributionError::AuthenticationFailure(why) => unauthorized(address, &said(why)),
            OciDistributionError::RegistryError { envelope, .. } => {
                let first = envelope.errors.first();
                let message = first.map_or("unknown error", |error| error.message.as_str());
                envelope_fault(address, first.map(|error| &error.code), message)
            }
            OciDistributionError::ServerError { code, message, .. } => status(address, *code, message),
            OciDistributionError::ImageManifestNotFoundError(why) => Self::new(Kind::Missing, why.clone()),
            OciDistributionError::DigestError(error) => wrong(address, error),
            OciDistributionError::IoError(error) => Self::io(address, error),
            OciDistributionError::RequestError(error) => match error.status() {
                Some(code) => status(address, code.as_u16(), ""),
                None => connection(address, error),
            },
            other => Self::new(Kind::Other, format!("registry {address}: {other}")),
        }
    }

    /// What happened while a blob came.
    pub fn io(address: &str, error: &io::Error) -> Self {
        connection(address, error)
    }
}

fn unauthorized(address: &str, why: &str) -> Fault {
    Fault::new(
        Kind::Unauthorized,
        format!(
            "unauthorized: registry {address} wants other credentials ({why}): run 'keelctl login {address}', or put \
             them into auth.json"
        ),
    )
}

fn envelope_fault(address: &str, code: Option<&OciErrorCode>, message: &str) -> Fault {
    match code {
        Some(
            OciErrorCode::ManifestUnknown
            | OciErrorCode::NameUnknown
            | OciErrorCode::NotFound
            | OciErrorCode::BlobUnknown,
        ) => Fault::new(Kind::Missing, format!("registry {address}: {message}")),
        Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => unauthorized(address, message),
        Some(OciErrorCode::Toomanyrequests) => Fault::new(Kind::Broken, format!("registry {address}: {message}")),
        _ => Fault::new(Kind::Other, format!("registry {address}: {message}")),
    }
}

fn status(address: &str, code: u16, body: &str) -> Fault {
    match code {
        404 => Fault::new(Kind::Missing, format!("registry {address}: not found")),
        401 | 403 => unauthorized(address, &format!("HTTP status {code}")),
        408 | 429 | 500.. => {
            Fault::new(Kind::Broken, format!("registry {address} fails: HTTP status {code} {}", said(body)))
        }
        _ => Fault::new(Kind::Other, format!("registry {address} answers with HTTP status {code} {}", said(body))),
    }
}

/// The message in a body, which may be JSON or anything, and not much of it.
fn said(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = json.as_ref().and_then(|json| json["errors"][0]["message"].as_str().or(json["details"].as_str()));
    message.unwrap_or(body).trim().chars().take(200).collect()
}

fn wrong(address: &str, error: &DigestError) -> Fault {
    let message = match error {
        DigestError::VerificationError { expected, actual } => {
            format!("wrong digest: registry {address} gave {actual} for {expected}")
        }
        other => format!("wrong digest: registry {address}: {other}"),
    };
    Fault::new(Kind::Wrong, message)
}

/// The error and all that caused it, also what an I/O error wraps.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut causes: Vec<&'a (dyn StdError + 'static)> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        causes.push(error);
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|wrapped| wrapped as &(dyn StdError + 'static)).or_else(|| error.source());
    }
    causes
}

fn connection(address: &str, error: &(dyn StdError + 'static)) -> Fault {
    let causes = causes(error);
    if let Some(digest) = causes.iter().find_map(|cause| cause.downcast_ref::<DigestError>()) {
        return wrong(address, digest);
    }
    if let Some(tls) = causes.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return untrusted(address, tls);
    }
    let kind = causes.iter().filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind).next_back();
    let last = causes.last().map(ToString::to_string).unwrap_or_default();
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => {
            Fault::new(Kind::Unreachable, format!("registry {address} cannot be reached: connection refused"))
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown) => {
            Fault::new(Kind::Unreachable, format!("registry {address} cannot be reached: {last}"))
        }
        _ if last.contains("lookup address") => Fault::new(
            Kind::Unreachable,
            format!("registry {address} cannot be reached: its name is not found ({last})"),
        ),
        _ if causes.iter().any(|cause| cause.to_string().contains("operation timed out")) => {
            Fault::new(Kind::Broken, format!("registry {address} does not answer in time"))
        }
        _ => Fault::new(Kind::Broken, format!("the connection to registry {address} broke: {last}")),
    }
}

fn untrusted(address: &str, error: &rustls::Error) -> Fault {
    let folder = format!("/etc/containerd/certs.d/{address}");
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => Fault::new(
            Kind::Untrusted,
            format!(
                "registry {address} has a TLS certificate signed by an unknown authority: put its CA's certificate at \
                 {folder}/ca.crt, or name it in hosts.toml there"
            ),
        ),
        rustls::Error::InvalidCertificate(why) => {
            Fault::new(Kind::Untrusted, format!("registry {address} has an invalid TLS certificate: {why}"))
        }
        rustls::Error::InvalidMessage(_) => Fault::new(
            Kind::Unreachable,
            format!(
                "registry {address} does not speak TLS: to allow plain HTTP, set server = \"http://{address}\" in \
                 {folder}/hosts.toml"
            ),
        ),
        other => Fault::new(Kind::Untrusted, format!("registry {address}: TLS fails: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> Fault {
        let error = OciDistributionError::ServerError { code, url: String::new(), message: message.to_owned() };
        Fault::of("r.example", &error)
    }

    #[test]
    fn statuses_tell_what_to_do() {
        assert_eq!(server(404, "").kind, Kind::Missing);
        assert_eq!(server(503, "busy").kind, Kind::Broken);
        assert_eq!(server(418, "tea").kind, Kind::Other);
        let unauthorized = server(401, "");
        assert_eq!(unauthorized.kind, Kind::Unauthorized);
        assert!(unauthorized.error.to_string().contains("keelctl login r.example"));
    }

    #[test]
    fn envelopes_are_read() {
        let text = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        let envelope = serde_json::from_str(text).unwrap();
        let fault = Fault::of("r", &OciDistributionError::RegistryError { envelope, url: String::new() });
        assert_eq!((fault.kind, fault.error.to_string().as_str()), (Kind::Missing, "registry r: manifest unknown"));
        assert_eq!(said(r#"{"details":"incorrect username or password"}"#), "incorrect username or password");
        assert_eq!(said("plain"), "plain");
    }

    #[test]
    fn connections_are_told_apart() {
        let io = |error: io::Error| Fault::io("r.example", &io::Error::other(error));
        let refused = io(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(refused.kind, Kind::Unreachable);
        assert!(refused.error.to_string().contains("r.example") && refused.error.to_string().contains("refused"));
        assert_eq!(io(io::ErrorKind::ConnectionReset.into()).kind, Kind::Broken);
        let name = io(io::Error::other("failed to lookup address information: Name or service not known"));
        assert_eq!(name.kind, Kind::Unreachable);
    }

    #[test]
    fn tls_tells_how_to_trust_or_to_do_without() {
        let tls = |error: rustls::Error| Fault::io("r.example:5000", &io::Error::other(error));
        let unknown = tls(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
        assert_eq!(unknown.kind, Kind::Untrusted);
        assert!(unknown.error.to_string().contains("/etc/containerd/certs.d/r.example:5000/ca.crt"));
        let plain = tls(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType));
        assert_eq!(plain.kind, Kind::Unreachable);
        assert!(plain.error.to_string().contains("http://r.example:5000"));
    }

    #[test]
    fn wrong_digests_are_found_within() {
        let error = DigestError::VerificationError { expected: "sha256:1".to_owned(), actual: "sha256:2".to_owned() };
        let fault = Fault::io("r", &io::Error::other(error));
        assert_eq!(
            (fault.kind, fault.error.to_string().as_str()),
            (Kind::Wrong, "wrong digest: registry r gave sha256:2 for sha256:1")
        );
    }
}
