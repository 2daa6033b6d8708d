//! Owns [`credentials`]: those from before where they still hold, else new ones by token or kubeconfig.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::PostParams;
use rustls::pki_types::CertificateDer;

use super::csr::{Asking, common_name, explain};
use super::pair::Pair;
use super::store::{Purpose, Store};
use super::taken::{Holder, holder};
use super::{Credentials, Identity, JoinError, Report, Step, client, discovery, kubeconfig, pki, serving};
use crate::config::{Identifiers, Join, Settings, Token};

/// What a certificate is asked for with.
struct Bootstrap {
    config: kube::Config,
    authority: Vec<CertificateDer<'static>>,
    pair: Option<Pair>,
    what: &'static str,
}

/// The credentials of this node. Without a network they are those from before, as long as these hold;
/// else it joins, and waits for its certificate for at most `limit`.
pub async fn credentials(
    settings: &Settings,
    report: Report<'_>,
    limit: Option<Duration>,
) -> Result<Credentials, JoinError> {
    let store = Store::open(&settings.root);
    if let Some(credentials) = from_before(settings, &store).await? {
        report(&Step::Known { until: credentials.identity.client_validity().not_after });
        return Ok(credentials);
    }
    let bootstrap = bootstrap(settings, &store, report).await?;
    let kept = store.current(Purpose::Client)?.filter(|pair| is_ours(pair, settings));
    let own = bootstrap.pair.clone().filter(|pair| is_ours(pair, settings));
    let own = own.map(|pair| lasting(pair, kept));
    if let Some(pair) = own.as_ref().filter(|pair| pair.validity.is_over(Timestamp::now())) {
        return Err(JoinError::Expired { at: pair.validity.not_after });
    }
    let (pair, own) = match own {
        Some(pair) => (pair, true),
        None => (ask(settings, &store, &bootstrap, limit, report).await?, false),
    };
    let server_name = bootstrap.config.tls_server_name.clone();
    let credentials = assemble(settings, &store, bootstrap.authority.clone(), server_name, pair.clone())?;
    if !own {
        not_taken(settings, &credentials, report).await?;
        store.keep_authority(&pem(&bootstrap.authority))?;
        store.keep(Purpose::Client, &pair)?;
    }
    Ok(credentials)
}

/// That this machine could join: the server is the master, and knows the token. Changes nothing.
pub async fn check(settings: &Settings, report: Report<'_>) -> Result<(), JoinError> {
    let store = Store::open(&settings.root);
    let bootstrap = bootstrap(settings, &store, report).await?;
    let client = client::bootstrapper(&bootstrap.config, &bootstrap.authority, bootstrap.pair.clone())?;
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    match reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(error, "tell who this is", &settings.server, bootstrap.what).await),
    }
}

/// A certificate for the node, asked for once more with what it joined by: its own has expired.
pub(super) async fn again(settings: &Settings, store: &Store) -> Result<Pair, JoinError> {
    let report = |step: &Step| tracing::info!("{step}");
    let bootstrap = bootstrap(settings, store, &report).await?;
    ask(settings, store, &bootstrap, Some(Duration::from_secs(600)), &report).await
}

async fn ask(
    settings: &Settings,
    store: &Store,
    bootstrap: &Bootstrap,
    limit: Option<Duration>,
    report: Report<'_>,
) -> Result<Pair, JoinError> {
    let client = client::bootstrapper(&bootstrap.config, &bootstrap.authority, bootstrap.pair.clone())?;
    let asking = Asking {
        client: &client,
        server: &settings.server,
        store,
        node: &settings.name,
        purpose: Purpose::Client,
        names: Vec::new(),
        credentials: bootstrap.what,
    };
    asking.obtain(limit, report).await
}

/// What an earlier run kept, when it still holds and is for this node and cluster.
async fn from_before(settings: &Settings, store: &Store) -> Result<Option<Credentials>, JoinError> {
    let (Some(pair), Some(kept)) = (store.current(Purpose::Client)?, store.authority()?) else { return Ok(None) };
    if !is_ours(&pair, settings) || pair.validity.is_over(Timestamp::now()) {
        return Ok(None);
    }
    let authority = match written(&settings.join) {
        Some(pem) => pki::certificates(pem, "the certificate of the cluster's authority")?,
        None => pki::certificates(&kept, "the kept certificate of the cluster's authority")?,
    };
    if pki::pinned(&authority, &settings.join.ca_hashes).is_err() {
        tracing::warn!("the configuration names another cluster than the one joined before");
        return Ok(None);
    }
    let server_name = match &settings.join.kubeconfig {
        // It need not be there any more.
        Some(path) => kubeconfig::read(path).await.ok().and_then(|found| found.config.tls_server_name),
        None => None,
    };
    assemble(settings, store, authority, server_name, pair).map(Some)
}

/// The authority as the configuration has it, PEM, which goes before what was kept at the join: where a cluster changes
/// its authority, that is how its nodes hear of it. Not beside a kubeconfig, which has its own.
fn written(join: &Join) -> Option<&String> {
    join.ca.as_ref().filter(|_| join.kubeconfig.is_none())
}

fn is_ours(pair: &Pair, settings: &Settings) -> bool {
    pair.common_name == common_name(&settings.name)
}

/// Of a kubeconfig's own certificate and the kept one, the one that holds for longer. The kubeconfig stays as it was
/// given: what its certificate was renewed to is in the store.
fn lasting(own: Pair, kept: Option<Pair>) -> Pair {
    kept.filter(|kept| kept.validity.not_after > own.validity.not_after).unwrap_or(own)
}

/// What there is to join by.
async fn bootstrap(settings: &Settings, store: &Store, report: Report<'_>) -> Result<Bootstrap, JoinError> {
    if let Some(path) = &settings.join.kubeconfig {
        let found = kubeconfig::read(path).await?;
        pki::pinned(&found.authority, &settings.join.ca_hashes)?;
        let what = "credentials of the kubeconfig";
        return Ok(Bootstrap { config: found.config, authority: found.authority, pair: found.pair, what });
    }
    let token = match token(&settings.join) {
        Ok(Some(token)) => token,
        none => {
            return Err(match (store.current(Purpose::Client)?, none) {
                (Some(pair), _) if pair.validity.is_over(Timestamp::now()) => {
                    JoinError::Expired { at: pair.validity.not_after }
                }
                (_, Err(error)) => error,
                _ => JoinError::NothingToJoinBy { store: store.folder().to_owned() },
            });
        }
    };
    let pem = match (&settings.join.ca, &settings.join.ca_file) {
        (Some(pem), _) => pem.clone(),
        (None, Some(path)) => std::fs::read_to_string(path).map_err(JoinError::files("read", path))?,
        (None, None) => discovery::discover(&settings.server, &token, &settings.join.ca_hashes, report).await?,
    };
    let authority = pki::certificates(&pem, "the certificate of the cluster's authority")?;
    pki::pinned(&authority, &settings.join.ca_hashes)?;
    let mut config = client::config(&settings.server)?;
    config.auth_info.token = Some(token.reveal().into());
    Ok(Bootstrap { config, authority, pair: None, what: "token" })
}

/// The token; out of its file, where that was not there when the configuration was read.
fn token(join: &Join) -> Result<Option<Token>, JoinError> {
    let (None, Some(path)) = (&join.token, &join.token_file) else { return Ok(join.token.clone()) };
    let text = std::fs::read_to_string(path).map_err(JoinError::files("read the token in", path))?;
    let wrong = |why: String| JoinError::Certificate { what: format!("the token in {}", path.display()), why };
    text.parse::<Token>().map(Some).map_err(wrong)
}

fn assemble(
    settings: &Settings,
    store: &Store,
    authority: Vec<CertificateDer<'static>>,
    server_name: Option<String>,
    pair: Pair,
) -> Result<Credentials, JoinError> {
    let kept = store.current(Purpose::Serving)?;
    let kept = kept.filter(|pair| !pair.validity.is_over(Timestamp::now()));
    let kept = kept.filter(|pair| serving::fits(pair, &settings.name, &settings.addresses));
    let (shown, signed) = match kept {
        Some(pair) => (pair, true),
        None => (serving::self_signed(&settings.name, &settings.addresses)?, false),
    };
    let identity = Arc::new(Identity::new(pair, shown, signed));
    Ok(Credentials { server: settings.server.clone(), server_name, authority, identity })
}

/// That the node's name is not another machine's, asked with the node's own certificate: who has only
/// a token may not look.
async fn not_taken(settings: &Settings, credentials: &Credentials, report: Report<'_>) -> Result<(), JoinError> {
    let nodes: Api<Node> = Api::all(client(credentials)?);
    let node = match nodes.get_opt(&settings.name).await {
        Ok(None) => return Ok(()),
        Ok(Some(node)) => node,
        Err(kube::Error::Api(status)) if status.code == 403 => {
            tracing::warn!("cannot tell whether the node is there already: {}", status.message);
            return Ok(());
        }
        Err(error) => return Err(explain(error, "look for the node", &settings.server, "new certificate").await),
    };
    match holder(&node, &Identifiers::of_this_machine()) {
        Holder::Ready(machine) if !settings.join.replace => {
            Err(JoinError::NameTaken { name: settings.name.clone(), machine })
        }
        Holder::Us => Ok(()),
        Holder::Ready(_) | Holder::Gone => {
            report(&Step::TakesPlace { name: settings.name.clone() });
            Ok(())
        }
    }
}

fn pem(certificates: &[CertificateDer<'_>]) -> String {
    use base64::Engine;
    let encode = |der: &CertificateDer<'_>| {
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    certificates.iter().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn until(year: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        Pair::read(format!("{}{}", certificate.pem(), key.serialize_pem()), "it").unwrap()
    }

    #[test]
    fn what_a_kubeconfigs_certificate_was_renewed_to_is_used() {
        let chosen = |own, kept| lasting(own, kept).validity.not_after.to_string();
        assert_eq!(chosen(until(2026), Some(until(2027))), "2027-01-01T00:00:00Z");
        // Somebody gave it a new kubeconfig since.
        assert_eq!(chosen(until(2028), Some(until(2027))), "2028-01-01T00:00:00Z");
        assert_eq!(chosen(until(2026), None), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn an_authority_that_is_written_goes_before_the_kept_one() {
        let join = Join { ca: Some("new".to_owned()), ..Join::default() };
        assert_eq!(written(&join).map(String::as_str), Some("new"));
        let join = Join { kubeconfig: Some("/k".into()), ..join };
        assert_eq!(written(&join), None);
        assert_eq!(written(&Join::default()), None);
    }

    #[test]
    fn a_token_file_that_came_late_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let join = Join { token_file: Some(path.clone()), ..Join::default() };
        assert!(matches!(token(&join), Err(JoinError::Files { .. })));
        std::fs::write(&path, "keel01.0123456789abcdef\n").unwrap();
        assert_eq!(token(&join).unwrap().unwrap().id(), "keel01");
        assert!(token(&Join::default()).unwrap().is_none());
    }
}
