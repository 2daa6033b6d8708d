//! Owns having the API server know where the cluster's DNS is, by what [`objects`](super::objects) decides.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};

use super::objects::{self, Action, MANAGER, NAMESPACE, SERVICE, SLICE};
use crate::settings::Settings;

/// Has it so, and gives what was done for it. What was removed at the last time (`last`) is not looked for again.
pub async fn apply(client: &kube::Client, settings: &Settings, last: Option<Action>) -> Result<Action> {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    let what = || format!("the Service {NAMESPACE}/{SERVICE}");
    let there = services.get_opt(SERVICE).await.with_context(|| format!("cannot look for {}", what()))?;
    let standing = objects::standing(there.as_ref());
    let action = objects::action(settings.dns.is_some(), standing);
    match (action, &settings.dns) {
        (Action::Apply, Some(dns)) => {
            let params = PatchParams::apply(MANAGER).force();
            let service = Patch::Apply(objects::service(dns));
            services.patch(SERVICE, &params, &service).await.with_context(|| format!("cannot apply {}", what()))?;
            let slice = Patch::Apply(objects::slice(settings));
            let applied = slices.patch(SLICE, &params, &slice).await;
            applied.with_context(|| format!("cannot apply the EndpointSlice {NAMESPACE}/{SLICE}"))?;
        }
        _ if last == Some(action) => {}
        (action, _) => {
            if action == Action::Remove && there.is_some() {
                gone(services.delete(SERVICE, &DeleteParams::default()).await.map(drop))
                    .with_context(|| format!("cannot remove {}", what()))?;
            }
            gone(slices.delete(SLICE, &DeleteParams::default()).await.map(drop))
                .with_context(|| format!("cannot remove the EndpointSlice {NAMESPACE}/{SLICE}"))?;
        }
    }
    Ok(action)
}

/// What is not there is gone.
fn gone(removed: kube::Result<()>) -> kube::Result<()> {
    match removed {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}
