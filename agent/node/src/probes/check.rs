//! Owns one try of a probe: what came of it, without a thought of thresholds.

use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::http::{self, Answer, Failed, Get, Url};
use super::plan::{AGENT, Check};
use crate::cri::{Cri, CriError, v1};

/// As much of an output as is kept.
const OUTPUT: usize = 10 << 10;

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All is well.
    Success,
    /// Well enough, but somebody should know.
    Warning(String),
    /// Not well.
    Failure(String),
    /// It could not be tried, which says nothing of the container; an event tells why.
    Unknown(String),
    /// It could not be tried for a reason that is told elsewhere: containerd is away, the pod is going.
    Silent,
}

/// Tries once. `address` is the pod's.
pub(super) async fn attempt(check: &Check, cri: &Cri, id: &str, address: Option<&str>, limit: Duration) -> Outcome {
    match (check, address) {
        (Check::Impossible(why), _) => Outcome::Unknown(why.clone()),
        (Check::Exec(command), _) => {
            let seconds = i64::try_from(limit.as_secs()).unwrap_or(i64::MAX);
            exec(cri.exec_sync(id, command.clone(), seconds).await, command, limit)
        }
        (Check::Http(get), address) => match get.host().or(address) {
            Some(host) => http(get, host, limit).await,
            None => Outcome::Silent,
        },
        (Check::Tcp(host, port), address) => match host.as_deref().or(address) {
            Some(host) => tcp(host, *port, limit).await,
            None => Outcome::Silent,
        },
        (Check::Grpc(port, service), Some(host)) => grpc(host, *port, service, limit).await,
        (Check::Grpc(..), None) => Outcome::Silent,
    }
}

fn exec(result: Result<v1::ExecSyncResponse, CriError>, command: &[String], limit: Duration) -> Outcome {
    let slow = || Outcome::Failure(format!("command timed out: \"{}\" timed out after {limit:?}", command.join(" ")));
    match result {
        Ok(answer) if answer.exit_code == 0 => Outcome::Success,
        Ok(answer) => {
            let mut output = answer.stdout;
            output.extend_from_slice(&answer.stderr);
            output.truncate(OUTPUT);
            Outcome::Failure(String::from_utf8_lossy(&output).into_owned())
        }
        Err(CriError::Slow { .. }) => slow(),
        Err(CriError::Refused(status)) if status.code() == tonic::Code::DeadlineExceeded => slow(),
        Err(CriError::Unreachable(_)) => Outcome::Silent,
        Err(error) if error.is_not_found() => Outcome::Silent,
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

async fn http(get: &Get, host: &str, limit: Duration) -> Outcome {
    let url = get.url(host);
    match tokio::time::timeout(limit, http::fetch(get, url.clone(), OUTPUT)).await {
        Ok(result) => judged(&url, result),
        // As it is known from elsewhere.
        Err(_) => Outcome::Failure(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

/// What an answer says of the container: 2xx is well, 3xx that was not followed too, but worth telling.
fn judged(url: &Url, result: Result<Answer, Failed>) -> Outcome {
    match result {
        Ok(answer) => match answer.status {
            200..300 => Outcome::Success,
            300..400 => Outcome::Warning(format!("Probe terminated redirects, Response body: {}", answer.body)),
            // The body is not told: it may hold what not everybody should see who may read events.
            status => Outcome::Failure(format!("HTTP probe failed with statuscode: {status}")),
        },
        Err(failed) => Outcome::Failure(format!("Get \"{url}\": {failed}")),
    }
}

async fn tcp(host: &str, port: u16, limit: Duration) -> Outcome {
    match tokio::time::timeout(limit, http::connect(host, port)).await {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(error)) => Outcome::Failure(error.to_string()),
        Err(_) => Outcome::Failure(format!("dial tcp {}: i/o timeout", http::authority(host, port))),
    }
}

async fn grpc(host: &str, port: u16, service: &str, limit: Duration) -> Outcome {
    let address = http::authority(host, port);
    match tokio::time::timeout(limit, asked(&address, service)).await {
        Ok(Ok(ServingStatus::Serving)) => Outcome::Success,
        Ok(Ok(status)) => Outcome::Failure(format!("service unhealthy (responded with \"{}\")", status.as_str_name())),
        Ok(Err(message)) => Outcome::Failure(message),
        Err(_) => Outcome::Failure(format!("timeout: no health of service at \"{address}\" within {limit:?}")),
    }
}

async fn asked(address: &str, service: &str) -> Result<ServingStatus, String> {
    let unreachable = |error: tonic::transport::Error| {
        format!("error: failed to connect service at \"{address}\": {}", http::chain(&error))
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).and_then(|endpoint| endpoint.user_agent(AGENT));
    let channel = endpoint.map_err(unreachable)?.connect().await.map_err(unreachable)?;
    let request = HealthCheckRequest { service: service.to_owned() };
    match HealthClient::new(channel).check(request).await {
        Ok(answer) => Ok(answer.into_inner().status()),
        Err(status) if status.code() == tonic::Code::Unimplemented => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message()
        )),
        Err(status) => Err(format!("error: health rpc probe failed: {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn answer(exit_code: i32) -> v1::ExecSyncResponse {
        v1::ExecSyncResponse { stdout: b"no such ".to_vec(), stderr: b"file".to_vec(), exit_code }
    }

    #[test]
    fn a_command_counts_by_its_end() {
        let command = ["cat".to_owned(), "/tmp/ok".to_owned()];
        assert_eq!(exec(Ok(answer(0)), &command, LIMIT), Outcome::Success);
        assert_eq!(exec(Ok(answer(1)), &command, LIMIT), Outcome::Failure("no such file".into()));
        let slow = CriError::Refused(tonic::Status::deadline_exceeded("timeout 2s exceeded"));
        let slow = exec(Err(slow), &command, LIMIT);
        assert_eq!(slow, Outcome::Failure("command timed out: \"cat /tmp/ok\" timed out after 2s".into()));
        let away = exec(Err(CriError::Unreachable("/run/c".into())), &command, LIMIT);
        assert_eq!(away, Outcome::Silent);
        let refused = exec(Err(CriError::Refused(tonic::Status::unknown("no cat"))), &command, LIMIT);
        assert_eq!(refused, Outcome::Unknown("no cat".into()));
    }

    #[test]
    fn keeps_only_so_much_output() {
        let long = v1::ExecSyncResponse { stdout: vec![b'x'; 1 << 20], stderr: Vec::new(), exit_code: 1 };
        let Outcome::Failure(output) = exec(Ok(long), &[], LIMIT) else { panic!("no failure") };
        assert_eq!(output.len(), OUTPUT);
    }

    #[tokio::test]
    async fn tcp_needs_somebody_who_listens() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(tcp("127.0.0.1", port, LIMIT).await, Outcome::Success);
        drop(listener);
        let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
        assert_eq!(tcp("127.0.0.1", port, LIMIT).await, Outcome::Failure(refused));
    }

    #[tokio::test]
    async fn grpc_asks_the_health_service() {
        let (reporter, service) = tonic_health::server::health_reporter();
        reporter.set_service_status("shop", tonic_health::ServingStatus::NotServing).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming);
        let server = tokio::spawn(server);
        assert_eq!(grpc("127.0.0.1", port, "", LIMIT).await, Outcome::Success);
        let unwell = grpc("127.0.0.1", port, "shop", LIMIT).await;
        assert_eq!(unwell, Outcome::Failure("service unhealthy (responded with \"NOT_SERVING\")".into()));
        let other = grpc("127.0.0.1", port, "other", LIMIT).await;
        assert!(
            matches!(&other, Outcome::Failure(why) if why.starts_with("error: health rpc probe failed")),
            "{other:?}"
        );
        server.abort();
        let _ = server.await;
        let gone = grpc("127.0.0.1", port, "", LIMIT).await;
        assert!(matches!(&gone, Outcome::Failure(why) if why.contains("refused")), "{gone:?}");
    }
}
