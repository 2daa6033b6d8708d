//! Owns whether who asks may: the API is asked with a SubjectAccessReview, and believed for a while.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use super::access;
use super::cache::Cache;
use super::reply::Refusal;
use super::user::User;

/// How long a yes holds.
const ALLOWED: Duration = Duration::from_secs(5 * 60);
/// How long a no holds.
const DENIED: Duration = Duration::from_secs(30);

/// Who may do what: user, verb, subresource.
type Question = (User, &'static str, &'static str);

/// Decides whether who asks may.
pub(super) struct Authorizer {
    reviews: Api<SubjectAccessReview>,
    node: String,
    known: Cache<Question, bool>,
}

impl Authorizer {
    /// Asks about this node by way of `client`.
    pub fn new(client: kube::Client, node: &str) -> Self {
        Self { reviews: Api::all(client), node: node.to_owned(), known: Cache::new() }
    }

    /// Nothing, if `user` may ask for `path` by `method`.
    pub async fn check(&self, user: &User, method: &Method, path: &str) -> Result<(), Refusal> {
        let (verb, subresources) = (access::verb(method), access::subresources(path));
        for subresource in subresources {
            if self.allowed(user, verb, subresource).await? {
                return Ok(());
            }
        }
        let subresources = subresources.join(" ");
        let text = format!(
            "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{subresources}])\n",
            user.name
        );
        Err(Refusal::new(StatusCode::FORBIDDEN, text))
    }

    async fn allowed(&self, user: &User, verb: &'static str, subresource: &'static str) -> Result<bool, Refusal> {
        let question = (user.clone(), verb, subresource);
        if let Some(known) = self.known.get(&question, Instant::now()) {
            return Ok(known);
        }
        let review = self.review(user, verb, subresource);
        let review = self.reviews.create(&PostParams::default(), &review).await.map_err(|error| {
            tracing::warn!(%error, user = user.name, "cannot ask whether a request is allowed");
            let text = format!(
                "Authorization error (user={}, verb={verb}, resource=nodes, subresource={subresource})",
                user.name
            );
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
        })?;
        let allowed = review.status.is_some_and(|status| status.allowed);
        let now = Instant::now();
        self.known.put(question, allowed, now, now + if allowed { ALLOWED } else { DENIED });
        Ok(allowed)
    }

    fn review(&self, user: &User, verb: &str, subresource: &str) -> SubjectAccessReview {
        let resource = ResourceAttributes {
            name: Some(self.node.clone()),
            resource: Some("nodes".to_owned()),
            subresource: Some(subresource.to_owned()),
            verb: Some(verb.to_owned()),
            version: Some("v1".to_owned()),
            ..Default::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: user.uid.clone(),
            groups: Some(user.groups.clone()),
            extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
            resource_attributes: Some(resource),
            ..Default::default()
        };
        SubjectAccessReview { spec, ..Default::default() }
    }
}
