//! Owns [`Handler`]: each request from its address to its answer.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use super::address::Address;
use super::authn::Authenticator;
use super::authz::Authorizer;
use super::reply::{self, Refusal, Response};
use super::route::Route;
use super::user::User;
use super::{files, logs, pods, splice, streams};
use crate::context::Context;
use crate::stats::{self, counters};

/// Answers requests.
pub(super) struct Handler {
    context: Arc<Context>,
    authenticator: Authenticator,
    authorizer: Authorizer,
    summaries: stats::Summaries,
}

impl Handler {
    /// Answers from `context`.
    pub fn new(context: Arc<Context>) -> Self {
        let authenticator = Authenticator::new(context.client.clone());
        let authorizer = Authorizer::new(context.client.clone(), &context.settings.name);
        Self { context, authenticator, authorizer, summaries: stats::Summaries::default() }
    }

    /// Answers a request. `certificate` is who the connection's certificate names.
    pub async fn answer(&self, certificate: Option<User>, request: Request<Incoming>) -> Response {
        self.checked(certificate, request).await.unwrap_or_else(|refusal| {
            tracing::debug!(status = refusal.status.as_u16(), text = refusal.text, "a request is refused");
            refusal.into()
        })
    }

    async fn checked(&self, certificate: Option<User>, request: Request<Incoming>) -> Result<Response, Refusal> {
        let address = Address::parse(request.uri()).ok_or_else(|| Refusal::bad("Bad Request"))?;
        let user = self.authenticator.user(certificate, request.headers()).await;
        let user = user.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized"))?;
        self.authorizer.check(&user, request.method(), &address.path).await?;
        let route = Route::of(request.method(), &address.path)
            .map_err(|status| Refusal::new(status, status.canonical_reason().unwrap_or_default()))?;
        let (begun, method) = (Instant::now(), request.method().to_string());
        let answer = self.routed(route, &address, request).await;
        let long = if route.is_long() { "true" } else { "false" };
        let labels =
            [("method", &*method), ("path", route.label()), ("server_type", "readwrite"), ("long_running", long)];
        counters::HTTP_REQUESTS.count(&labels);
        counters::HTTP_DURATION.observe(&labels, begun.elapsed());
        answer
    }

    async fn routed(
        &self,
        route: Route<'_>,
        address: &Address,
        request: Request<Incoming>,
    ) -> Result<Response, Refusal> {
        let context = &self.context;
        let metrics = |text: String| reply::typed(StatusCode::OK, stats::CONTENT_TYPE, reply::full(text));
        match route {
            Route::Healthz => Ok(reply::text(StatusCode::OK, "ok")),
            Route::SyncLoop => pods::sync_loop(context).await,
            Route::Pods => pods::list(context),
            Route::RunningPods => pods::running(context),
            Route::Configz => pods::configz(&context.settings),
            Route::Summary => self.summary(address).await,
            Route::Metrics => Ok(metrics(stats::kubelet(context))),
            Route::MetricsResource => Ok(metrics(stats::resource(context).await)),
            Route::MetricsCadvisor => Ok(metrics(stats::cadvisor(context).await)),
            Route::MetricsProbes => Ok(metrics(stats::probes())),
            Route::ContainerLogs(named) => logs::answer(context, named, address),
            Route::Run(named) => streams::run(context, named, address).await,
            Route::Exec(named) => splice::replay(request, &streams::exec(context, named, address).await?).await,
            Route::Attach(named) => splice::replay(request, &streams::attach(context, named, address).await?).await,
            Route::PortForward(named) => {
                splice::replay(request, &streams::port_forward(context, named, address).await?).await
            }
            Route::Files(path) => files::answer(path.to_owned()).await,
        }
    }

    async fn summary(&self, address: &Address) -> Result<Response, Refusal> {
        let only = address.value("only_cpu_and_memory") == Some("true");
        let summary = match only {
            true => self.summaries.cpu_and_memory(&self.context).await,
            false => self.summaries.full(&self.context).await,
        };
        summary.map(reply::json).map_err(|error| Refusal::internal(format!("Internal Error: {error}")))
    }
}
