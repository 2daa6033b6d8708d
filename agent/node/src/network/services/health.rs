//! Owns the ports at which load balancers ask: of a Service with `externalTrafficPolicy: Local`
//! whether this node has endpoints (`healthCheckNodePort`), and of all others whether Services work
//! here at all (10256, where kube-proxy answers too).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// kube-proxy's port for its health.
const HEALTH: u16 = 10256;
/// kube-proxy's port for its mode and metrics, on the loopback interface only.
const STATUS: u16 = 10249;
/// How long to wait until a port that somebody else has may be free.
const AGAIN: Duration = Duration::from_secs(5);

/// A port to answer at, for a Service by `NAMESPACE/NAME` with so many endpoints here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub port: u16,
    pub service: String,
    pub endpoints: usize,
}

/// The servers, ended when dropped.
#[derive(Debug, Default)]
pub(super) struct Health {
    services: BTreeMap<(u16, String), (Arc<AtomicUsize>, Server)>,
    node: Vec<Server>,
}

#[derive(Debug)]
struct Server(AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Health {
    /// Says that Services work here; from now on.
    pub fn node(&mut self) {
        if self.node.is_empty() {
            let health = Router::new().route("/healthz", axum::routing::get(node_health));
            let status = Router::new().route("/proxyMode", axum::routing::get(|| async { "nftables" }));
            let status = status.route("/healthz", axum::routing::get(node_health));
            self.node.push(serve(HEALTH, None, health));
            self.node.push(serve(STATUS, Some(Ipv4Addr::LOCALHOST), status));
        }
    }

    /// Answers for these Services and no others.
    pub fn services(&mut self, wanted: Vec<Wanted>) {
        let known = |key: &(u16, String)| wanted.iter().any(|wanted| wanted.port == key.0 && wanted.service == key.1);
        self.services.retain(|key, _| known(key));
        for Wanted { port, service, endpoints } in wanted {
            let (count, _) = self.services.entry((port, service)).or_insert_with_key(|(port, service)| {
                let count = Arc::new(AtomicUsize::new(endpoints));
                let (service, counted) = (service.clone(), count.clone());
                let answer = move || async move { service_health(&service, counted.load(Ordering::Relaxed)) };
                (count, serve(*port, None, Router::new().fallback(axum::routing::get(answer))))
            });
            count.store(endpoints, Ordering::Relaxed);
        }
    }
}

async fn node_health() -> impl IntoResponse {
    // What changes is written at once, so the table is always of now.
    let now = jiff::Timestamp::now().to_string();
    axum::Json(json!({"lastUpdated": now, "currentTime": now, "nodeEligible": true}))
}

fn service_health(service: &str, endpoints: usize) -> Response {
    let (namespace, name) = service.split_once('/').unwrap_or_default();
    let status = if endpoints > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let weight = (header::HeaderName::from_static("x-load-balancing-endpoint-weight"), endpoints.to_string());
    let body = json!({"service": {"namespace": namespace, "name": name}, "localEndpoints": endpoints,
        "serviceProxyHealthy": true});
    (status, [weight], axum::Json(body)).into_response()
}

/// Serves at all addresses, or at one; waits for the port while somebody else has it.
fn serve(port: u16, address: Option<Ipv4Addr>, router: Router) -> Server {
    let task = async move {
        let mut told = false;
        let listener = loop {
            match listen(port, address).await {
                Ok(listener) => break listener,
                Err(error) if !std::mem::replace(&mut told, true) => {
                    tracing::warn!(port, %error, "cannot answer load balancers yet");
                }
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        };
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(port, %error, "cannot answer load balancers any more");
        }
    };
    Server(tokio::spawn(task).abort_handle())
}

async fn listen(port: u16, address: Option<Ipv4Addr>) -> std::io::Result<TcpListener> {
    if let Some(address) = address {
        return TcpListener::bind(SocketAddr::from((address, port))).await;
    }
    // Where IPv6 is switched off there is no address for both.
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_endpoints_of_a_service_is_not_healthy_for_it() {
        assert_eq!(service_health("d/web", 0).status(), StatusCode::SERVICE_UNAVAILABLE);
        let healthy = service_health("d/web", 2);
        assert_eq!(healthy.status(), StatusCode::OK);
        assert_eq!(healthy.headers()["x-load-balancing-endpoint-weight"], "2");
    }

    #[tokio::test]
    async fn ports_are_answered_while_they_are_wanted() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut health = Health::default();
        health.services(vec![Wanted { port, service: "d/web".into(), endpoints: 1 }]);
        let connect = || tokio::net::TcpStream::connect(("127.0.0.1", port));
        while connect().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        health.services(Vec::new());
        while connect().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
