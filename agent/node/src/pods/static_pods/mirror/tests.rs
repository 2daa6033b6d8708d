use std::convert::Infallible;

use http_body_util::BodyExt;
use hyper::{Request, Response, StatusCode};
use kube::client::Body;

use super::*;

/// What the API was asked: method, path, body.
type Calls = Arc<Mutex<Vec<(String, String, serde_json::Value)>>>;

fn pod(name: &str, uid: &str) -> Arc<Pod> {
    let mut pod = Pod::default();
    pod.metadata.namespace = Some("default".into());
    pod.metadata.name = Some(name.into());
    pod.metadata.uid = Some(uid.into());
    pod.spec = Some(k8s_openapi::api::core::v1::PodSpec { priority: Some(7), ..Default::default() });
    Arc::new(pod)
}

fn mirror_named(name: &str, uid: &str, of: &str) -> Arc<Pod> {
    let mut mirror = (*pod(name, uid)).clone();
    mirror.metadata.annotations = Some([(CONFIG_MIRROR.to_owned(), of.to_owned())].into());
    Arc::new(mirror)
}

fn statics(pods: &[(&str, &str)]) -> StaticPods {
    pods.iter().map(|(name, uid)| ((*uid).to_owned(), pod(name, uid))).collect()
}

fn decided(wanted: &StaticPods, mirrors: &[Arc<Pod>]) -> Vec<Step> {
    decide(wanted, &mirrors.iter().map(|pod| (name(pod), pod.clone())).collect())
}

fn delete(name: &str, uid: &str) -> Step {
    Step::Delete { name: ("default".into(), name.into()), uid: uid.into() }
}

#[test]
fn each_has_one_that_shows_it() {
    let wanted = statics(&[("a", "1"), ("b", "2")]);
    assert_eq!(decided(&wanted, &[]), [Step::Create("1".into()), Step::Create("2".into())]);
    assert_eq!(decided(&wanted, &[mirror_named("a", "x", "1"), mirror_named("b", "y", "2")]), []);
    // What shows an older one goes first; so does what nobody has any more.
    let old = [mirror_named("a", "x", "0"), mirror_named("b", "y", "2"), mirror_named("c", "z", "3")];
    assert_eq!(decided(&wanted, &old), [delete("a", "x"), delete("c", "z")]);
    let mut going = (*mirror_named("a", "x", "1")).clone();
    going.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
    assert_eq!(decided(&statics(&[("a", "1")]), &[Arc::new(going)]), [delete("a", "x")]);
}

fn node() -> Node {
    let mut node = Node::default();
    node.metadata.name = Some("n".into());
    node.metadata.uid = Some("node-uid".into());
    node
}

#[test]
fn a_mirror_is_the_nodes() {
    let made = mirror(&pod("a", "1"), &owner(&node()).unwrap());
    assert_eq!(made.metadata.uid, None);
    assert_eq!(annotation(&made, CONFIG_MIRROR), Some("1"));
    let owners = made.metadata.owner_references.unwrap();
    assert_eq!(
        (owners[0].kind.as_str(), owners[0].uid.as_str(), owners[0].controller),
        ("Node", "node-uid", Some(true))
    );
    let spec = made.spec.unwrap();
    assert_eq!((spec.priority, spec.automount_service_account_token), (None, Some(false)));
    assert_eq!(owner(&Node::default()), None);
}

fn api(calls: Calls, refuse: bool) -> kube::Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let calls = calls.clone();
        async move {
            let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            calls.lock().unwrap().push((method, path, value.clone()));
            let status = if refuse { StatusCode::FORBIDDEN } else { StatusCode::OK };
            if refuse {
                value = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                    "message": "no such namespace", "reason": "Forbidden", "metadata": {}});
            } else if value["kind"] == "Pod" {
                value["metadata"]["uid"] = "made".into();
            } else {
                value = serde_json::json!({"kind": "Pod", "apiVersion": "v1", "metadata": {}});
            }
            let answer = Response::builder().status(status).body(Body::from(serde_json::to_vec(&value).unwrap()));
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    kube::Client::new(service, "default")
}

struct World {
    mirrors: Arc<Mirrors>,
    calls: Calls,
    statics: watch::Sender<StaticPods>,
    node: watch::Sender<Option<Arc<Node>>>,
    records: tokio::sync::mpsc::Receiver<crate::events::Record>,
}

fn world(pods: &[(&str, &str)], refuse: bool) -> World {
    let (statics, receiver) = watch::channel(statics(pods));
    let (node, node_receiver) = watch::channel(None);
    let (events, records) = Recorder::new();
    let calls = Calls::default();
    let mirrors = Mirrors::with(api(calls.clone(), refuse), events, node_receiver, receiver);
    World { mirrors, calls, statics, node, records }
}

impl World {
    async fn until(&self, what: impl Fn(&[(String, String, serde_json::Value)]) -> bool) {
        let reached = async {
            while !what(&self.calls.lock().unwrap()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("never came to it");
    }
}

#[tokio::test]
async fn keeps_mirrors_as_they_should_be() {
    let world = world(&[("a", "1")], false);
    let task = tokio::spawn(world.mirrors.clone().run());
    let stale = mirror_named("gone", "g", "9");
    world.mirrors.listed([&stale, &pod("other", "o")]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(world.calls.lock().unwrap().is_empty(), "nobody owns them yet");
    world.node.send(Some(Arc::new(node()))).unwrap();
    world.until(|calls| calls.len() == 2).await;
    {
        let calls = world.calls.lock().unwrap();
        let (method, path, options) = &calls[0];
        assert_eq!((method.as_str(), path.as_str()), ("DELETE", "/api/v1/namespaces/default/pods/gone"));
        assert_eq!((&options["gracePeriodSeconds"], &options["preconditions"]["uid"]), (&0.into(), &"g".into()));
        assert_eq!((calls[1].0.as_str(), calls[1].1.as_str()), ("POST", "/api/v1/namespaces/default/pods"));
    }
    while world.mirrors.mirror_of("1").is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mirror = world.mirrors.mirror_of("1").unwrap();
    assert_eq!((mirror.name.as_str(), mirror.uid.as_str()), ("a", "made"));
    assert_eq!(annotation(&mirror.pod, CONFIG_MIRROR), Some("1"));
    // Somebody deletes it: it is made again, and the static pod is none the wiser.
    world.mirrors.lost(&mirror.pod);
    world.until(|calls| calls.len() == 3).await;
    // The file changes: the old mirror goes, and a new one comes.
    world.statics.send(statics(&[("a", "2")])).unwrap();
    world.until(|calls| calls.len() == 5).await;
    let methods: Vec<_> = world.calls.lock().unwrap().iter().map(|(method, ..)| method.clone()).collect();
    assert_eq!(methods, ["DELETE", "POST", "POST", "DELETE", "POST"]);
    assert!(world.mirrors.mirror_of("1").is_none());
    drop(world.statics);
    tokio::time::timeout(Duration::from_secs(20), task).await.expect("goes on for nobody").unwrap();
}

#[tokio::test]
async fn a_refusal_is_told_once_and_tried_again_later() {
    let mut world = world(&[("a", "1")], true);
    world.node.send(Some(Arc::new(node()))).unwrap();
    let task = tokio::spawn(world.mirrors.clone().run());
    world.mirrors.listed([]);
    world.until(|calls| calls.len() == 2).await;
    assert_eq!(world.records.recv().await.unwrap().reason, "FailedMirrorPod");
    assert!(world.records.try_recv().is_err());
    task.abort();
}
