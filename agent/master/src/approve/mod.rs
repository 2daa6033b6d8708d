//! Answers to nodes that ask for the certificate of their own server. Client certificates are answered
//! by upstream's controller manager; of these it cannot know whether the addresses are the node's.

mod decide;
mod request;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};

use decide::{Answer, Reserved, decide};
use request::Request;

use crate::options::Options;
use crate::own;
use crate::settings::Settings;

/// The signer of such certificates.
const SIGNER: &str = "kubernetes.io/kubelet-serving";
/// How often requests are looked at.
const LOOK: Duration = Duration::from_secs(3);

/// Answers for good; gives the error that ended it.
pub async fn serve(client: &kube::Client, options: &Options, settings: &Settings) -> anyhow::Error {
    let mut told = BTreeMap::new();
    loop {
        if let Err(error) = look(client, options, settings, &mut told).await {
            return error;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(
    client: &kube::Client,
    options: &Options,
    settings: &Settings,
    told: &mut BTreeMap<String, String>,
) -> Result<()> {
    let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
    let params = ListParams::default().fields(&format!("spec.signerName={SIGNER}"));
    let pending = requests.list(&params).await.context("cannot list requests for certificates")?.items;
    let pending: Vec<_> = pending.into_iter().filter(is_pending).collect();
    if pending.is_empty() {
        told.clear();
        return Ok(());
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.context("cannot list nodes")?.items;
    let reserved = Reserved::of(settings, own::name(options)?);
    for csr in pending {
        let name = csr.metadata.name.clone().unwrap_or_default();
        match decide(&Request::read(&csr), &nodes, &reserved) {
            Answer::Approve(why) => {
                approve(&requests, &name, &why).await?;
                tracing::info!("approved {name}: {why}");
            }
            // A person may know better; and the node's addresses may come.
            Answer::Leave(why) => {
                if told.insert(name.clone(), why.clone()).as_ref() != Some(&why) {
                    tracing::warn!("{name} is not approved: {why}; `kubectl certificate approve {name}` would do it");
                }
            }
        }
    }
    Ok(())
}

fn is_pending(csr: &CertificateSigningRequest) -> bool {
    csr.status.as_ref().and_then(|status| status.conditions.as_ref()).is_none_or(Vec::is_empty)
}

async fn approve(requests: &Api<CertificateSigningRequest>, name: &str, why: &str) -> Result<()> {
    let condition = CertificateSigningRequestCondition {
        type_: "Approved".to_owned(),
        status: "True".to_owned(),
        reason: Some("KeelsonMaster".to_owned()),
        message: Some(why.to_owned()),
        last_update_time: Some(Time(Timestamp::now())),
        ..CertificateSigningRequestCondition::default()
    };
    let status = CertificateSigningRequestStatus { conditions: Some(vec![condition]), ..Default::default() };
    let patch = Patch::Merge(serde_json::json!({ "status": status }));
    match requests.patch_approval(name, &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot approve {name}")),
    }
}
