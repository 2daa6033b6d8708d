//! Owns what a failed request means: it looks through an error's causes for the one that a person can
//! do something about.

use std::error::Error;
use std::io;

use hyper::Uri;
use jiff::{SignedDuration, Timestamp};
use rustls::{AlertDescription, CertificateError};

use super::JoinError;
use super::transport::Slow;
use crate::config::host_and_port;

/// From how much on clocks differ: certificates are dated back by five minutes.
const TOLERATED: SignedDuration = SignedDuration::from_mins(2);

/// Where a request went.
#[derive(Debug, Clone)]
pub struct Target {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// Of a server's address.
    pub fn of(server: &str) -> Self {
        let uri: Uri = server.parse().unwrap_or_default();
        let (host, port) = host_and_port(&uri);
        Self { host: host.to_owned(), port }
    }
}

/// What a request's failure to get any answer means. `ahead` is by how much this machine's clock is
/// ahead of the server's, when that is known.
pub fn failure(error: &(dyn Error + 'static), target: &Target, ahead: Option<SignedDuration>) -> JoinError {
    let (host, port) = (target.host.clone(), target.port);
    let mut resolving = false;
    let mut next = Some(error);
    let mut last_io = None;
    while let Some(error) = next {
        resolving |= error.to_string() == "dns error";
        if let Some(Slow(limit)) = error.downcast_ref() {
            return JoinError::Silent { host, port, limit: limit.as_secs() };
        }
        if let Some(tls) = error.downcast_ref() {
            return of_tls(tls, target, ahead);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref()) {
                return of_tls(tls, target, ahead);
            }
            last_io = Some(copy(io));
        }
        next = error.source();
    }
    let source = last_io.unwrap_or_else(|| io::Error::other(error.to_string()));
    match source.kind() {
        _ if resolving => JoinError::Unresolved { host, source },
        io::ErrorKind::ConnectionRefused => JoinError::NotListening { host, port },
        io::ErrorKind::TimedOut => JoinError::Silent { host, port, limit: super::transport::CONNECT.as_secs() },
        _ => JoinError::Unreachable { host, port, source },
    }
}

/// An error like another one, which cannot be cloned.
fn copy(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn of_tls(error: &rustls::Error, target: &Target, ahead: Option<SignedDuration>) -> JoinError {
    use CertificateError as C;
    let (host, port) = (target.host.clone(), target.port);
    match error {
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            out_of_time("the API server's certificate is not valid any more", ahead)
        }
        rustls::Error::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            out_of_time("the API server's certificate is not valid yet", ahead)
        }
        rustls::Error::InvalidCertificate(C::NotValidForNameContext { presented, .. }) => {
            JoinError::OtherName { host, names: presented.clone() }
        }
        rustls::Error::InvalidCertificate(_) => JoinError::Untrusted { host, port },
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => JoinError::CertificateRefused { source: error.clone() },
        other => JoinError::Tls { host, port, source: other.clone() },
    }
}

/// A certificate makes no sense: by whose clock?
fn out_of_time(what: &str, ahead: Option<SignedDuration>) -> JoinError {
    match ahead {
        Some(ahead) if ahead.abs() > TOLERATED => JoinError::Clock { what: what.to_owned(), by: difference(ahead) },
        Some(_) => JoinError::ServerExpired { what: what.to_owned() },
        None => JoinError::Clock { what: what.to_owned(), by: "perhaps not".to_owned() },
    }
}

/// That a certificate which was just issued makes sense by this machine's clock.
pub fn check_new(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> Result<(), JoinError> {
    let ahead = match (now < not_before, now >= not_after) {
        (true, _) => now.duration_since(not_before),
        (_, true) => now.duration_since(not_after),
        _ => return Ok(()),
    };
    let what = "the certificate that the cluster has just issued does not hold";
    Err(JoinError::Clock { what: what.to_owned(), by: difference(ahead) })
}

/// By how much this machine's clock is ahead, by the `Date` of an answer.
pub fn ahead(date: Option<&str>, now: Timestamp) -> Option<SignedDuration> {
    let theirs = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date?).ok()?;
    Some(now.duration_since(theirs))
}

/// `2 d 3 h ahead of`, `5 min behind`.
fn difference(ahead: SignedDuration) -> String {
    let seconds = ahead.as_secs().unsigned_abs();
    let units = [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let from = units.iter().position(|(count, _)| *count > 0).unwrap_or(units.len() - 1);
    let shown = units[from..].iter().take(2).filter(|(count, _)| *count > 0);
    let words: Vec<String> = shown.map(|(count, unit)| format!("{count} {unit}")).collect();
    format!("{} {}", words.join(" "), if ahead.is_negative() { "behind" } else { "ahead of" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::Kind;

    fn target() -> Target {
        Target { host: "master".into(), port: 6443 }
    }

    fn of(error: rustls::Error, ahead: Option<SignedDuration>) -> JoinError {
        failure(&io::Error::other(error), &target(), ahead)
    }

    #[test]
    fn the_network_is_told_from_the_server() {
        let refused = failure(&io::Error::from(io::ErrorKind::ConnectionRefused), &target(), None);
        assert!(refused.to_string().starts_with("nothing listens on port 6443 of master"), "{refused}");
        let slow = failure(&Slow(super::super::transport::CONNECT), &target(), None);
        assert!(slow.to_string().contains("does not answer within 10 s"), "{slow}");
        let away = failure(&io::Error::from_raw_os_error(113), &target(), None);
        assert_eq!(away.whole(), "cannot reach master, port 6443: No route to host (os error 113)");
        for error in [refused, slow, away] {
            assert_eq!(error.kind(), Kind::Network);
        }
        let http = of(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), None);
        assert!(http.whole().contains("is an API server there?"), "{http}");
        let other = of(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), None);
        assert!(matches!(other, JoinError::Untrusted { .. }));
    }

    #[test]
    fn a_wrong_clock_is_told_from_an_old_certificate() {
        let error = || rustls::Error::InvalidCertificate(CertificateError::NotValidYet);
        let behind = of(error(), Some(SignedDuration::from_hours(-51)));
        assert!(behind.to_string().contains("which is 2 d 3 h behind the API server's"), "{behind}");
        assert_eq!(behind.kind(), Kind::Clock);
        let agree = of(error(), Some(SignedDuration::from_secs(3)));
        assert!(agree.to_string().contains("kubeadm certs renew"), "{agree}");
    }

    #[test]
    fn clocks_are_compared_by_the_date() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let ahead = ahead(Some("Sun, 01 Mar 2026 11:50:00 GMT"), now).unwrap();
        assert_eq!(difference(ahead), "10 min ahead of");
        assert_eq!(difference(SignedDuration::from_secs(-61)), "1 min 1 s behind");
        assert!(super::ahead(Some("yesterday"), now).is_none() && super::ahead(None, now).is_none());
        let hour = SignedDuration::from_hours(1);
        assert!(check_new(now - hour, now + hour, now).is_ok());
        let error = check_new(now + hour, now + hour * 2, now).unwrap_err();
        assert!(error.to_string().contains("1 h behind"), "{error}");
    }
}
