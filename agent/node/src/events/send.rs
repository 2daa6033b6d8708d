//! Owns the way of events to the API: one at a time, tried a few times, and then the next.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};

use super::Record;
use super::correlate::{Correlator, Sighting, Step};

/// As much of a message as the API takes.
const MESSAGE: usize = 1024;
/// Where events go that are about what has no namespace.
const NAMESPACE: &str = "default";
/// What `kubectl describe` shows as the source.
const COMPONENT: &str = "kubelet";
/// Waits between tries; then the record is given up for those that wait behind it.
const WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// How a try went that did not work.
enum Refusal {
    /// The object is not there, or there already.
    Conflict,
    /// Trying again makes no sense.
    Final(kube::Error),
    /// It may work later.
    Later(kube::Error),
}

/// Sends records as core/v1 events of the node `node_name` until there is no recorder any more.
/// Ends only then; failures are logged.
pub async fn run(client: kube::Client, node_name: String, mut receiver: tokio::sync::mpsc::Receiver<Record>) {
    let mut sender = Sender { client, node: node_name, correlator: Correlator::default(), waits: &WAITS };
    while let Some(record) = receiver.recv().await {
        sender.take(record).await;
    }
}

struct Sender {
    client: kube::Client,
    node: String,
    correlator: Correlator,
    waits: &'static [Duration],
}

impl Sender {
    async fn take(&mut self, mut record: Record) {
        cut(&mut record.message, MESSAGE);
        let record = &record;
        let mut step = self.correlator.decide(record);
        let mut waits = self.waits.iter();
        loop {
            let refusal = match self.attempt(record, &step).await {
                Ok(()) => return,
                Err(refusal) => refusal,
            };
            match (refusal, step) {
                // It has gone meanwhile: events live for an hour.
                (Refusal::Conflict, Step::Count(sighting)) => step = Step::Create(sighting),
                // Made by the try before, whose answer was lost.
                (Refusal::Conflict, _) => return,
                (Refusal::Final(error), _) => return self.give_up(record, &error),
                (Refusal::Later(error), same) => {
                    step = same;
                    let Some(wait) = waits.next() else { return self.give_up(record, &error) };
                    tokio::time::sleep(jittered(*wait)).await;
                }
            }
        }
    }

    fn give_up(&mut self, record: &Record, error: &kube::Error) {
        tracing::debug!(reason = record.reason, "gave up an event: {error}");
        self.correlator.lost(record);
    }

    async fn attempt(&self, record: &Record, step: &Step) -> Result<(), Refusal> {
        let namespace = record.about.namespace.as_deref().unwrap_or(NAMESPACE);
        let api = Api::<Event>::namespaced(self.client.clone(), namespace);
        let answer = match step {
            Step::Ignore => return Ok(()),
            Step::Create(sighting) => {
                api.create(&PostParams::default(), &event(record, &self.node, sighting)).await.map(drop)
            }
            Step::Count(sighting) => {
                let change = serde_json::json!({"count": sighting.count, "lastTimestamp": Time(second(record.at))});
                api.patch(&sighting.name, &PatchParams::default(), &Patch::Merge(change)).await.map(drop)
            }
        };
        answer.map_err(|error| refusal(error, matches!(step, Step::Count(_))))
    }
}

fn refusal(error: kube::Error, counting: bool) -> Refusal {
    let code = match &error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    };
    match code {
        404 if counting => Refusal::Conflict,
        409 if !counting => Refusal::Conflict,
        408 | 409 | 429 => Refusal::Later(error),
        400..500 => Refusal::Final(error),
        _ => Refusal::Later(error),
    }
}

fn event(record: &Record, node: &str, sighting: &Sighting) -> Event {
    let namespace = record.about.namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned());
    Event {
        metadata: ObjectMeta { name: Some(sighting.name.clone()), namespace: Some(namespace), ..Default::default() },
        involved_object: record.about.clone(),
        reason: Some(record.reason.to_owned()),
        message: Some(record.message.clone()),
        type_: Some(record.kind.as_str().to_owned()),
        first_timestamp: Some(Time(second(sighting.first))),
        last_timestamp: Some(Time(second(record.at))),
        count: Some(sighting.count),
        source: Some(EventSource { component: Some(COMPONENT.to_owned()), host: Some(node.to_owned()) }),
        reporting_component: Some(COMPONENT.to_owned()),
        reporting_instance: Some(node.to_owned()),
        ..Default::default()
    }
}

/// The API's times have no fractions.
fn second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Between half and one and a half of a wait, so that nodes do not come back all at once.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.5 + f64::from(Timestamp::now().subsec_nanosecond().unsigned_abs() % 1_000_000) / 1e6)
}

/// Cuts a text to so many bytes, between characters.
fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http_body_util::BodyExt;
    use hyper::{Method, Request, Response, StatusCode};
    use k8s_openapi::api::core::v1::{Node, Pod};
    use kube::client::Body;

    use super::*;
    use crate::events::{Kind, Recorder};

    type Calls = Arc<Mutex<Vec<(Method, String, serde_json::Value)>>>;

    /// An API that answers by `answer`: what was called how often before, and the status to give.
    fn api(calls: Calls, answer: impl Fn(usize, &Method) -> StatusCode + Clone + Send + 'static) -> kube::Client {
        let service = tower::service_fn(move |request: Request<Body>| {
            let (calls, answer) = (calls.clone(), answer.clone());
            async move {
                let (method, path) = (request.method().clone(), request.uri().path().to_owned());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let status = answer(calls.lock().unwrap().len(), &method);
                calls.lock().unwrap().push((method, path, value.clone()));
                let failed = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "code": status.as_u16(), "message": "no", "reason": "no", "metadata": {}});
                let made = serde_json::json!({"kind": "Event", "apiVersion": "v1", "metadata": {},
                    "involvedObject": {}});
                let body = if status.is_success() { made } else { failed };
                let answer = Response::builder().status(status).body(Body::from(serde_json::to_vec(&body).unwrap()));
                Ok::<_, Infallible>(answer.unwrap())
            }
        });
        kube::Client::new(service, "default")
    }

    fn pod() -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some("web".into());
        pod.metadata.namespace = Some("shop".into());
        pod.metadata.uid = Some("1-2-3".into());
        pod
    }

    /// Sends what comes until there is no recorder any more, with little patience.
    async fn sent(client: kube::Client, mut receiver: tokio::sync::mpsc::Receiver<Record>) {
        const WAITS: [Duration; 4] = [Duration::from_millis(1); 4];
        let mut sender = Sender { client, node: "node-1".into(), correlator: Correlator::default(), waits: &WAITS };
        while let Some(record) = receiver.recv().await {
            sender.take(record).await;
        }
    }

    async fn told(messages: &[&str], answer: impl Fn(usize, &Method) -> StatusCode + Clone + Send + 'static) -> Calls {
        let (recorder, receiver) = Recorder::new();
        for message in messages {
            recorder.pod(&pod(), Some("app"), Kind::Warning, "Unhealthy", (*message).to_owned());
        }
        drop(recorder);
        let calls = Calls::default();
        sent(api(calls.clone(), answer), receiver).await;
        calls
    }

    #[tokio::test]
    async fn makes_one_event_and_counts() {
        let calls = told(&["refused", "refused"], |_, _| StatusCode::OK).await;
        let calls = calls.lock().unwrap();
        let (method, path, event) = &calls[0];
        assert_eq!((method, path.as_str()), (&Method::POST, "/api/v1/namespaces/shop/events"));
        assert_eq!(event["source"], serde_json::json!({"component": "kubelet", "host": "node-1"}));
        assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{app}");
        assert_eq!((&event["type"], &event["count"]), (&"Warning".into(), &1.into()));
        let (method, path, patch) = &calls[1];
        assert_eq!(method, Method::PATCH);
        assert!(path.ends_with(event["metadata"]["name"].as_str().unwrap()), "{path}");
        assert_eq!(patch["count"], 2);
        assert_eq!(calls.len(), 2);
    }

    #[tokio::test]
    async fn makes_what_has_gone_again() {
        let gone = |_, method: &Method| match *method {
            Method::PATCH => StatusCode::NOT_FOUND,
            _ => StatusCode::OK,
        };
        let calls = told(&["refused", "refused"], gone).await;
        let calls = calls.lock().unwrap();
        let methods: Vec<_> = calls.iter().map(|(method, ..)| method.as_str()).collect();
        assert_eq!(methods, ["POST", "PATCH", "POST"]);
        assert_eq!(calls[2].2["count"], 2);
    }

    #[tokio::test]
    async fn tries_again_what_may_work_later() {
        let calls = told(&["one", "two"], |before, _| match before {
            0..=1 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        });
        assert_eq!(calls.await.lock().unwrap().len(), 4);
    }

    #[tokio::test]
    async fn gives_up_for_those_behind() {
        let calls = told(&["one", "two"], |before, _| match before {
            0..5 => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::OK,
        });
        let calls = calls.await;
        let calls = calls.lock().unwrap();
        assert_eq!(calls.len(), 6);
        assert_eq!(calls[5].2["message"], "two");
    }

    #[tokio::test]
    async fn does_not_insist_where_it_is_forbidden() {
        assert_eq!(told(&["one"], |_, _| StatusCode::FORBIDDEN).await.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn events_of_the_node_are_in_default() {
        let (recorder, receiver) = Recorder::new();
        let node = Node { metadata: ObjectMeta { name: Some("n".into()), ..Default::default() }, ..Default::default() };
        recorder.node(&node, Kind::Normal, "Starting", "ä".repeat(1000));
        drop(recorder);
        let calls = Calls::default();
        run(api(calls.clone(), |_, _| StatusCode::OK), "n".into(), receiver).await;
        let calls = calls.lock().unwrap();
        assert_eq!(calls[0].1, "/api/v1/namespaces/default/events");
        assert_eq!(calls[0].2["message"].as_str().unwrap().len(), 1024);
    }
}
