use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{HTTPGetAction, Pod, PodSpec, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::cri::Cri;
use crate::events::{Record, Recorder};
use crate::pods::Registry;

struct World {
    probes: Probes,
    records: mpsc::Receiver<Record>,
    wakes: mpsc::UnboundedReceiver<()>,
}

/// Probes that know one pod, `view`.
fn world(view: &PodView) -> World {
    let (events, records) = Recorder::new();
    let (wake, wakes) = mpsc::unbounded_channel();
    let pods = Arc::new(Registry::default());
    pods.insert(view.clone(), Box::new(move || wake.send(()).unwrap_or_default()), Box::new(|_, _, _| {}));
    let cri = Cri::new(std::path::Path::new("/nonexistent/containerd.sock"));
    World { probes: Probes::with(Parts { cri, events, pods, host: None }), records, wakes }
}

fn http(port: u16) -> Probe {
    let port = IntOrString::Int(i32::from(port));
    let http_get = HTTPGetAction { port, path: Some("/".into()), ..Default::default() };
    Probe { http_get: Some(http_get), period_seconds: Some(1), failure_threshold: Some(1), ..Default::default() }
}

fn view(container: Container, id: &str) -> PodView {
    let mut pod = Pod::default();
    pod.metadata.uid = Some("uid".into());
    pod.metadata.name = Some("web".into());
    let running = ContainerView {
        name: container.name.clone(),
        kind: ContainerKind::App,
        id: id.into(),
        state: v1::ContainerState::ContainerRunning,
        started_at: i64::try_from(Timestamp::now().as_nanosecond()).unwrap() + 1_000_000_000,
        restarts: 0,
        log: "/dev/null".into(),
    };
    pod.spec = Some(PodSpec { containers: vec![container], ..Default::default() });
    PodView {
        pod: Arc::new(pod),
        status: PodStatus::default(),
        sandbox: Some("sandbox".into()),
        ips: vec!["127.0.0.1".into()],
        containers: vec![running],
        terminating: false,
    }
}

fn container(startup: Option<Probe>, readiness: Option<Probe>, liveness: Option<Probe>) -> Container {
    Container {
        name: "app".into(),
        startup_probe: startup,
        readiness_probe: readiness,
        liveness_probe: liveness,
        ..Default::default()
    }
}

/// A server whose status can be set, and how often it was asked.
async fn server(status: usize) -> (u16, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (status, asked) = (Arc::new(AtomicUsize::new(status)), Arc::new(AtomicUsize::new(0)));
    let counters = (status.clone(), asked.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counters.1.fetch_add(1, Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", counters.0.load(Ordering::SeqCst));
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    });
    (port, status, asked)
}

async fn woken(world: &mut World) {
    timeout(Duration::from_secs(20), world.wakes.recv()).await.expect("not woken").expect("no registry");
}

fn found(world: &World, id: &str) -> (bool, bool, Option<String>) {
    let findings = world.probes.findings("uid", "app", id);
    (findings.started, findings.ready, findings.kill)
}

#[tokio::test]
async fn a_container_without_probes_is_ready_at_once_and_has_no_task() {
    let view = view(container(None, None, None), "c1");
    let world = world(&view);
    assert_eq!(found(&world, "c1"), (false, false, None));
    world.probes.update(&view);
    assert_eq!(found(&world, "c1"), (true, true, None));
    assert_eq!(found(&world, "c2"), (false, false, None));
    assert!(world.probes.lock()["uid"]["app"].tasks.is_empty());
}

#[tokio::test]
async fn readiness_comes_and_goes_and_wakes_only_on_a_change() {
    let (port, status, asked) = server(200).await;
    let view = view(container(None, Some(http(port)), None), "c1");
    let mut world = world(&view);
    world.probes.update(&view);
    assert_eq!(found(&world, "c1"), (true, false, None));
    woken(&mut world).await;
    assert_eq!(found(&world, "c1"), (true, true, None));
    while asked.load(Ordering::SeqCst) < 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(world.wakes.is_empty());
    status.store(503, Ordering::SeqCst);
    woken(&mut world).await;
    assert_eq!(found(&world, "c1"), (true, false, None));
    let record = world.records.recv().await.unwrap();
    assert_eq!(
        (record.reason, record.message.as_str()),
        ("Unhealthy".into(), "Readiness probe failed: HTTP probe failed with statuscode: 503")
    );
    assert_eq!(record.about.field_path.as_deref(), Some("spec.containers{app}"));
}

#[tokio::test]
async fn nothing_else_is_tried_before_it_has_started() {
    let (starting, started, _) = server(500).await;
    let (port, _, asked) = server(500).await;
    let startup = Probe { failure_threshold: Some(100), ..http(starting) };
    let view = view(container(Some(startup), None, Some(http(port))), "c1");
    let mut world = world(&view);
    world.probes.update(&view);
    let record = timeout(Duration::from_secs(20), world.records.recv()).await.unwrap().unwrap();
    assert!(record.message.starts_with("Startup probe failed"), "{}", record.message);
    assert_eq!((found(&world, "c1"), asked.load(Ordering::SeqCst)), ((false, false, None), 0));
    started.store(200, Ordering::SeqCst);
    woken(&mut world).await;
    assert!(found(&world, "c1").0);
    woken(&mut world).await;
    assert_eq!(found(&world, "c1"), (true, true, Some("Container app failed liveness probe".into())));
    // A restarted container begins anew.
    let mut next = view.clone();
    next.containers[0].id = "c2".into();
    world.probes.update(&next);
    assert_eq!((found(&world, "c1"), found(&world, "c2")), ((false, false, None), (false, false, None)));
}

#[tokio::test]
async fn what_is_going_is_not_restarted() {
    let (port, _, asked) = server(500).await;
    let view = view(container(None, Some(http(port)), Some(http(port))), "c1");
    let mut world = world(&view);
    world.probes.update(&view);
    woken(&mut world).await;
    assert!(found(&world, "c1").2.is_some());
    world.probes.terminating("uid");
    assert_eq!(found(&world, "c1"), (true, false, None));
    let before = asked.load(Ordering::SeqCst);
    while asked.load(Ordering::SeqCst) == before {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(found(&world, "c1"), (true, false, None));
    world.probes.remove("uid");
    assert!(world.probes.lock().is_empty());
}

#[tokio::test]
async fn keeps_what_the_api_tells_of_this_very_container() {
    let probe = Probe { initial_delay_seconds: Some(3600), ..http(1) };
    let mut view = view(container(Some(probe.clone()), Some(probe), None), "c1");
    let status = |id: &str| ContainerStatus {
        container_id: Some(format!("containerd://{id}")),
        started: Some(true),
        ready: true,
        ..Default::default()
    };
    let world = world(&view);
    let statuses = Some(vec![status("c1")]);
    world.probes.update_from(&view, Some(&PodStatus { container_statuses: statuses, ..Default::default() }));
    assert_eq!(found(&world, "c1"), (true, true, None));
    assert_eq!(world.probes.lock()["uid"]["app"].tasks.len(), 1);
    view.containers[0].id = "c2".into();
    let statuses = Some(vec![status("c1")]);
    world.probes.update_from(&view, Some(&PodStatus { container_statuses: statuses, ..Default::default() }));
    assert_eq!(found(&world, "c2"), (false, false, None));
    view.containers[0].state = v1::ContainerState::ContainerExited;
    world.probes.update(&view);
    assert!(world.probes.lock().is_empty());
}

#[tokio::test]
async fn what_cannot_be_tried_says_so_and_changes_nothing() {
    let port = IntOrString::String("nowhere".into());
    let tcp_socket = Some(TCPSocketAction { port, host: None });
    let probe = Probe { tcp_socket, failure_threshold: Some(1), ..Default::default() };
    let view = view(container(None, None, Some(probe)), "c1");
    let mut world = world(&view);
    world.probes.update(&view);
    let record = timeout(Duration::from_secs(20), world.records.recv()).await.unwrap().unwrap();
    assert_eq!(record.message, "Liveness probe errored and resulted in unknown state: port nowhere not found");
    assert_eq!(found(&world, "c1"), (true, true, None));
    assert!(world.wakes.is_empty());
}
