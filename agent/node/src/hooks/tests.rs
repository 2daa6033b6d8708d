use k8s_openapi::api::core::v1::SleepAction;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::events::Record;

/// A server without TLS; what it was asked comes out.
async fn server(answer: &'static str) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let _ = sender.send(String::from_utf8_lossy(&request[..length]).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, asked)
}

fn hook(scheme: &str, port: u16, token: Option<&str>) -> LifecycleHandler {
    let header =
        |value: &str| k8s_openapi::api::core::v1::HTTPHeader { name: "Authorization".into(), value: value.into() };
    let http_get = HTTPGetAction {
        scheme: Some(scheme.into()),
        port: IntOrString::Int(i32::from(port)),
        path: Some("/bye".into()),
        http_headers: token.map(|token| vec![header(token)]),
        host: None,
    };
    LifecycleHandler { http_get: Some(http_get), ..Default::default() }
}

async fn performed(hook: &LifecycleHandler) -> (Result<(), String>, mpsc::Receiver<Record>) {
    let (events, records) = Recorder::new();
    let cri = Cri::new(std::path::Path::new("/nonexistent/containerd.sock"));
    let container = Container { name: "app".into(), ..Default::default() };
    let parts = Parts { cri: &cri, events: &events };
    let result = perform(&parts, &Pod::default(), &container, "c1", Some("127.0.0.1"), hook).await;
    (result, records)
}

#[tokio::test]
async fn any_answer_will_do() {
    let (port, mut asked) = server("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await;
    let (result, _) = performed(&hook("HTTP", port, Some("Bearer me"))).await;
    assert_eq!(result, Ok(()));
    let request = asked.recv().await.unwrap();
    assert!(request.starts_with("GET /bye HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("User-Agent: kube-lifecycle/1.36") && request.contains("Bearer me"), "{request}");
}

#[tokio::test]
async fn falls_back_to_http_without_what_is_secret() {
    let (port, mut asked) = server("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n").await;
    let (result, mut records) = performed(&hook("HTTPS", port, Some("Bearer me"))).await;
    assert_eq!(result, Ok(()));
    assert!(!asked.recv().await.unwrap().starts_with("GET"));
    let request = asked.recv().await.unwrap();
    assert!(request.starts_with("GET /bye") && !request.contains("Bearer"), "{request}");
    assert_eq!(records.recv().await.unwrap().reason, "LifecycleHTTPFallback");
}

#[tokio::test]
async fn says_why_it_failed() {
    let (result, _) = performed(&hook("HTTP", 1, None)).await;
    let error = result.unwrap_err();
    let expected = "HTTP lifecycle hook (/bye) for Container \"app\" in Pod \"_()\" failed - error: \
                    Get \"http://127.0.0.1:1/bye\": dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(error, expected);
    assert!(performed(&LifecycleHandler::default()).await.0.is_err());
}

#[test]
fn a_command_must_end_with_zero() {
    let answer = |exit_code| v1::ExecSyncResponse { stdout: b"out".to_vec(), stderr: b"err".to_vec(), exit_code };
    let command = ["false".to_owned()];
    assert_eq!(ended(&command, Ok(answer(0))), Ok(()));
    let error = ended(&command, Ok(answer(3))).unwrap_err();
    assert_eq!(error, "command 'false' exited with 3: err, message: \"outerr\"");
}

#[tokio::test]
async fn sleeps() {
    let began = tokio::time::Instant::now();
    let sleep = LifecycleHandler { sleep: Some(SleepAction { seconds: 1 }), ..Default::default() };
    assert_eq!(performed(&sleep).await.0, Ok(()));
    assert!(began.elapsed() >= Duration::from_secs(1));
}
