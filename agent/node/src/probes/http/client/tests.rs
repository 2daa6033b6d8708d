use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, HTTPHeader};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server that answers each request by `answer`; gives its port.
async fn server(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = serve(stream, &answer).await;
        }
    });
    port
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: impl Fn(&str) -> String) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await?;
        request.push(byte);
        // What is no HTTP at all is answered at once.
        if request.len() == 1 && !byte.is_ascii_uppercase() {
            break;
        }
    }
    stream.write_all(answer(&String::from_utf8_lossy(&request)).as_bytes()).await?;
    stream.shutdown().await
}

fn get(scheme: &str, path: &str, port: u16, headers: &[(&str, &str)]) -> Get {
    let headers = headers.iter().map(|(name, value)| HTTPHeader { name: (*name).into(), value: (*value).into() });
    let action = HTTPGetAction {
        path: Some(path.into()),
        port: IntOrString::Int(i32::from(port)),
        http_headers: Some(headers.collect()),
        scheme: Some(scheme.into()),
        host: None,
    };
    Get::new(&action, &Container::default(), "kube-probe/1.36").unwrap()
}

async fn ask(get: Get) -> Result<Answer, Failed> {
    let url = get.url("127.0.0.1");
    tokio::time::timeout(std::time::Duration::from_secs(10), fetch(&get, url, 1024)).await.expect("no answer")
}

fn found(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nthere")
}

#[tokio::test]
async fn asks_as_the_kubelet_does() {
    let port = server(|request| format!("HTTP/1.1 200 OK\r\n\r\n{request}")).await;
    let answer = ask(get("HTTP", "/healthz", port, &[("X-One", "1"), ("Host", "shop.test")])).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("GET /healthz HTTP/1.1\r\n"), "{}", answer.body);
    for line in ["Host: shop.test", "User-Agent: kube-probe/1.36", "Accept: */*", "X-One: 1", "Connection: close"] {
        assert!(answer.body.contains(line), "{line} in {}", answer.body);
    }
    let answer = ask(get("HTTP", "/", port, &[])).await.unwrap();
    assert!(answer.body.contains(&format!("Host: 127.0.0.1:{port}")), "{}", answer.body);
}

#[tokio::test]
async fn follows_on_the_same_host_only() {
    let port = server(|request| match request.split(' ').nth(1) {
        Some("/") => found("/there?x"),
        Some("/there?x") => "HTTP/1.1 500 No\r\n\r\n".to_owned(),
        Some("/away") => found("http://0.0.0.0/"),
        _ => found("/round"),
    })
    .await;
    assert_eq!(ask(get("HTTP", "/", port, &[])).await.unwrap().status, 500);
    let away = ask(get("HTTP", "/away", port, &[])).await.unwrap();
    assert_eq!((away.status, away.body.as_str()), (302, "there"));
    let round = ask(get("HTTP", "/round", port, &[])).await.unwrap_err();
    assert_eq!(round.to_string(), "stopped after 10 redirects");
}

#[tokio::test]
async fn reads_the_beginning_of_a_long_body() {
    let port = server(|_| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000))).await;
    assert_eq!(ask(get("HTTP", "/", port, &[])).await.unwrap().body.len(), 1024);
}

#[tokio::test]
async fn tells_plain_text_from_tls() {
    let port = server(|_| "HTTP/1.0 400 Bad Request\r\n\r\n".to_owned()).await;
    assert!(matches!(ask(get("HTTPS", "/", port, &[])).await, Err(Failed::NotTls)));
}

#[tokio::test]
async fn takes_any_certificate() {
    let certified = rcgen::generate_simple_self_signed(vec!["elsewhere.test".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        serve(acceptor.accept(stream).await?, |_| "HTTP/1.1 204 No Content\r\n\r\n".to_owned()).await
    });
    assert_eq!(ask(get("HTTPS", "/", port, &[])).await.unwrap().status, 204);
}

#[tokio::test]
async fn says_why_there_is_no_answer() {
    let port = server(|_| String::new()).await;
    let error = ask(get("HTTP", "/", port, &[])).await.unwrap_err().to_string();
    assert!(error.contains("connection closed"), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = ask(get("HTTP", "/", port, &[])).await.unwrap_err().to_string();
    assert_eq!(error, format!("dial tcp 127.0.0.1:{port}: connect: connection refused"));
}
