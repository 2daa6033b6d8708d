//! The kubelet API as clients see it: TLS with certificates of a made-up cluster, an API that knows one
//! token, and a streaming server in containerd's place.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, UPGRADE};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container, ContainerState as StatusState, ContainerStateRunning, ContainerStatus, Pod, PodSpec, PodStatus,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::handler::Handler;
use super::{listen, splice};
use crate::cgroups::Cgroups;
use crate::config::{CgroupDriver, Settings};
use crate::context::Context;
use crate::cri::{Cri, v1};
use crate::events::Recorder;
use crate::objects::Objects;
use crate::pods::{ContainerKind, ContainerView, PodView, Registry};

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("a certificate").der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn signs(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec!["node".to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }
}

#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn shown(authority: &Authority) -> Arc<Shown> {
    let (certificate, key) = authority.signs("system:node:node", ExtendedKeyUsagePurpose::ServerAuth);
    let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key");
    Arc::new(Shown(Arc::new(CertifiedKey::new(vec![certificate], key))))
}

/// Connects by TLS, with a certificate if one is given.
async fn connect(
    authority: &Authority,
    port: u16,
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> std::io::Result<SendRequest<Empty<Bytes>>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("TLS").with_root_certificates(roots);
    let config = match own {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).expect("a pair"),
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("node").expect("a name"), stream).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

/// The API: it knows the token `good` of user `reader`, who may read logs of containers and no more; and the
/// API server, who may everything.
fn api() -> kube::Client {
    let service = tower::service_fn(|request: Request<kube::client::Body>| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let mut review: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let spec = &review["spec"];
        review["status"] = if path.ends_with("tokenreviews") {
            json!({"authenticated": spec["token"] == "good", "user": {"username": "reader"}})
        } else {
            let resource = &spec["resourceAttributes"];
            assert_eq!((&resource["resource"], &resource["name"]), (&json!("nodes"), &json!("node")));
            let reads = resource["subresource"] == "proxy" && resource["verb"] == "get" && spec["user"] == "reader";
            json!({"allowed": reads || spec["user"] == "kube-apiserver-kubelet-client"})
        };
        let body = Full::new(Bytes::from(review.to_string()));
        Ok::<_, std::convert::Infallible>(hyper::Response::new(body))
    });
    kube::Client::new(service, "default")
}

fn settings(root: &Path) -> Settings {
    Settings {
        server: "https://127.0.0.1:1".into(),
        name: "node".into(),
        addresses: vec!["127.0.0.1".parse().expect("an address")],
        root: root.to_owned(),
        run: root.to_owned(),
        logs: root.to_owned(),
        containerd: root.join("containerd.sock"),
        cgroup_driver: CgroupDriver::Cgroupfs,
        max_pods: 110,
        cluster_domain: "cluster.local".into(),
        ..Settings::default()
    }
}

fn context(root: &Path) -> Arc<Context> {
    let (settings, client) = (settings(root), api());
    Arc::new(Context {
        cri: Cri::new(&settings.containerd),
        events: Recorder::new().0,
        objects: Objects::new(client.clone()),
        pods: Arc::new(Registry::default()),
        cgroups: Cgroups::new(&settings),
        node: tokio::sync::watch::Sender::new(None),
        client,
        settings,
    })
}

/// A pod `p` whose container `c` runs and logs to `log`.
fn pod(log: &Path) -> PodView {
    let container = Container { name: "c".into(), ..Default::default() };
    let spec = PodSpec { containers: vec![container], ..Default::default() };
    let mut pod = Pod { spec: Some(spec), ..Default::default() };
    pod.metadata.name = Some("p".into());
    pod.metadata.namespace = Some("n".into());
    pod.metadata.uid = Some("u".into());
    let running = StatusState { running: Some(ContainerStateRunning::default()), ..Default::default() };
    let status = ContainerStatus {
        name: "c".into(),
        container_id: Some("containerd://id".into()),
        state: Some(running),
        ..Default::default()
    };
    PodView {
        pod: Arc::new(pod),
        status: PodStatus { container_statuses: Some(vec![status]), ..Default::default() },
        sandbox: Some("sandbox".into()),
        ips: Vec::new(),
        containers: vec![ContainerView {
            name: "c".into(),
            kind: ContainerKind::App,
            id: "id".into(),
            state: v1::ContainerState::ContainerRunning,
            started_at: 1,
            restarts: 0,
            log: log.to_owned(),
        }],
        terminating: false,
    }
}

/// Serves the kubelet API for `context`; gives its port.
fn serve(authority: &Authority, context: Arc<Context>) -> u16 {
    let tls = listen::tls(shown(authority), std::slice::from_ref(&authority.der)).expect("TLS");
    let listener = listen::bind(0).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let handler = Arc::new(Handler::new(context));
    tokio::spawn(listen::serve(listener, tls, move |user, request| {
        let handler = handler.clone();
        async move { handler.answer(user, request).await }
    }));
    port
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, path: &str, token: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::get(path).header(HOST, "node");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = sender.send_request(request.body(Empty::new()).expect("a request")).await.expect("an answer");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

#[tokio::test]
async fn who_asks_by_token_gets_what_they_may() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let log = folder.path().join("0.log");
    std::fs::write(&log, "2024-01-01T00:00:00Z stdout F one\n2024-01-01T00:00:01Z stdout F two\n").expect("a log");
    let context = context(folder.path());
    context.pods.insert(pod(&log), Box::new(|| ()), Box::new(|_, _, _| ()));
    let port = serve(&authority, context);
    let mut sender = connect(&authority, port, None).await.expect("connected");
    assert_eq!(ask(&mut sender, "/pods", None).await, (StatusCode::UNAUTHORIZED, "Unauthorized".into()));
    assert_eq!(ask(&mut sender, "/pods", Some("bad")).await.0, StatusCode::UNAUTHORIZED);
    let (status, text) = ask(&mut sender, "/containerLogs/n/p/c?tailLines=1", Some("good")).await;
    assert_eq!((status, &*text), (StatusCode::OK, "two\n"));
    let (status, text) = ask(&mut sender, "/containerLogs/n/p/c?previous=true", Some("good")).await;
    let expected = "previous terminated container \"c\" in pod \"p\" not found";
    assert_eq!((status, &*text), (StatusCode::BAD_REQUEST, expected));
    let (status, text) = ask(&mut sender, "/stats/summary", Some("good")).await;
    let expected = "Forbidden (user=reader, verb=get, resource=nodes, subresource(s)=[stats])\n";
    assert_eq!((status, &*text), (StatusCode::FORBIDDEN, expected));
    let (status, text) = ask(&mut sender, "/containerLogs/n/other/c", Some("good")).await;
    assert_eq!((status, &*text), (StatusCode::NOT_FOUND, "pod \"other\" does not exist"));
    assert_eq!(ask(&mut sender, "/exec/n/p/x?output=1", Some("good")).await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn the_api_server_is_known_by_its_certificate() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let context = context(folder.path());
    context.pods.insert(pod(&folder.path().join("0.log")), Box::new(|| ()), Box::new(|_, _, _| ()));
    let port = serve(&authority, context);
    let own = authority.signs("kube-apiserver-kubelet-client", ExtendedKeyUsagePurpose::ClientAuth);
    let mut sender = connect(&authority, port, Some(own)).await.expect("connected");
    let (status, text) = ask(&mut sender, "/pods", None).await;
    let pods: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &pods["kind"], &pods["items"][0]["metadata"]["name"]), (StatusCode::OK, &json!("PodList"), &json!("p")));
    assert_eq!(ask(&mut sender, "/healthz", None).await, (StatusCode::OK, "ok".into()));
    assert_eq!(ask(&mut sender, "/healthz/syncloop", None).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(ask(&mut sender, "/metrics", None).await.1.contains("\nkubelet_running_pods 1\n"));
    let configuration = ask(&mut sender, "/configz", None).await.1;
    let configuration: serde_json::Value = serde_json::from_str(&configuration).expect("JSON");
    assert_eq!(configuration["kubeletconfig"]["containerLogMaxSize"], "10Mi");
    assert_eq!(ask(&mut sender, "/nothing", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_no_certificate() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let port = serve(&authority, context(folder.path()));
    let forged = Authority::new().signs("kube-apiserver-kubelet-client", ExtendedKeyUsagePurpose::ClientAuth);
    let Ok(mut sender) = connect(&authority, port, Some(forged)).await else { return };
    let request = Request::get("/healthz").header(HOST, "node").body(Empty::new()).expect("a request");
    assert!(sender.send_request(request).await.is_err());
}

/// A streaming server: what it is told after the upgrade it tells back in capitals, and then it ends.
async fn streaming_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = |mut request: Request<Incoming>| async move {
        assert_eq!(request.headers().get(AUTHORIZATION), None, "who asks is not told");
        if request.uri().path() != "/exec/TOKEN" {
            let body = Full::new(Bytes::from("no such stream"));
            return hyper::Response::builder().status(StatusCode::NOT_FOUND).body(body);
        }
        let answer = hyper::Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, request.headers()[UPGRADE].clone())
            .header("X-Method", request.method().as_str());
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(&mut request).await.expect("upgraded");
            let mut stream = TokioIo::new(upgraded);
            let mut told = [0; 5];
            stream.read_exact(&mut told).await.expect("told");
            stream.write_all(&told.to_ascii_uppercase()).await.expect("told back");
        });
        answer.body(Full::default())
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service_fn(answer)).with_upgrades());
        }
    });
    port
}

#[tokio::test]
async fn streams_go_through_to_the_runtime() {
    let authority = Authority::new();
    let backend = streaming_server().await;
    let tls = listen::tls(shown(&authority), std::slice::from_ref(&authority.der)).expect("TLS");
    let listener = listen::bind(0).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(listen::serve(listener, tls, move |user, request| async move {
        assert_eq!(user.map(|user| user.name).as_deref(), Some("api"));
        let url = format!("http://127.0.0.1:{backend}{}", request.uri().path());
        splice::replay(request, &url).await.unwrap_or_else(Into::into)
    }));
    let own = authority.signs("api", ExtendedKeyUsagePurpose::ClientAuth);
    let mut sender = connect(&authority, port, Some(own)).await.expect("connected");
    let upgrade = |path: &str| {
        let request = Request::builder().method(Method::POST).uri(path).header(HOST, "node");
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "SPDY/3.1");
        request.header(AUTHORIZATION, "Bearer good").body(Empty::<Bytes>::new()).expect("a request")
    };
    assert_eq!(ask(&mut sender, "/exec/TOKEN", None).await.0, StatusCode::BAD_REQUEST, "no upgrade asked for");
    let refused = sender.send_request(upgrade("/exec/OTHER")).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    assert_eq!(refused.into_body().collect().await.expect("a body").to_bytes(), "no such stream");
    let mut response = sender.send_request(upgrade("/exec/TOKEN")).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!((&response.headers()[UPGRADE], &response.headers()["X-Method"]), (&"SPDY/3.1".parse().expect("a value"), &"POST".parse().expect("a value")));
    let upgraded = hyper::upgrade::on(&mut response).await.expect("upgraded");
    let mut stream = TokioIo::new(upgraded);
    stream.write_all(b"hello").await.expect("told");
    let mut told = String::new();
    stream.read_to_string(&mut told).await.expect("told back");
    assert_eq!(told, "HELLO");
}
