//! Speaking with registries: which hosts are asked, with which credentials, and what each answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci_client::client::{BlobResponse, Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};
use oci_spec::distribution::Reference;

use super::auth::{self, Credentials};
use super::fault::{Fault, Kind};
use super::hosts::{self, Can, Host};
use super::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use super::{Images, reference};
use crate::error::{Error, Result};

/// A registry has so long to take a connection, and to send something once it has.
const CONNECT: Duration = Duration::from_secs(15);
/// See [`CONNECT`].
const SILENCE: Duration = Duration::from_secs(60);
/// So often a request is tried when connections break.
pub const TRIES: u32 = 5;

/// How registries are described and which credentials the daemon has.
#[derive(Debug, Clone)]
pub struct Registries {
    folder: PathBuf,
    auth: Vec<PathBuf>,
}

/// A host to ask for an image, not yet spoken to.
#[derive(Debug, Clone)]
pub struct Place {
    /// The host.
    pub host: Host,
    reference: Reference,
    auth: RegistryAuth,
}

/// A host that is spoken to.
#[derive(Clone)]
pub struct Session {
    /// The client.
    pub client: Client,
    /// The image, as this host calls it.
    pub reference: Reference,
    /// The host.
    pub host: Host,
    auth: RegistryAuth,
}

/// How long to wait before the next try.
pub fn backoff(tries: u32) -> Duration {
    Duration::from_millis(250 << tries.min(5))
}

impl Registries {
    /// Registries described below `folder`, with credentials from the files `auth`.
    pub fn new(folder: &Path, auth: &[PathBuf]) -> Self {
        // A process has one; another part of it may have chosen it already.
        rustls::crypto::ring::default_provider().install_default().ok();
        Self { folder: folder.to_owned(), auth: auth.to_vec() }
    }

    /// The hosts to ask for an image, in their order. What a client gave as credentials is only for
    /// the registry itself.
    pub fn places(&self, image: &Reference, given: Option<&Credentials>) -> Result<Vec<Place>> {
        let repository = reference::repository(image);
        let mut places = Vec::new();
        for host in hosts::hosts(&self.folder, image.registry())? {
            let credentials = match (given, host.origin) {
                (Some(given), true) => Some(given.clone()),
                (None, true) => auth::daemon(&self.auth, &repository)?,
                (_, false) => auth::daemon(&self.auth, &format!("{}/{}", host.address, within(&host, image)))?,
            };
            places.push(Place { reference: named(&host, image), auth: registry_auth(credentials), host });
        }
        Ok(places)
    }
}

fn registry_auth(credentials: Option<Credentials>) -> RegistryAuth {
    match credentials {
        None => RegistryAuth::Anonymous,
        Some(Credentials::Password(name, password)) => RegistryAuth::Basic(name, password),
        Some(Credentials::Token(token)) => RegistryAuth::Bearer(token),
    }
}

/// The repository as this host calls it.
fn within(host: &Host, image: &Reference) -> String {
    match &host.prefix {
        Some(prefix) => format!("{prefix}/{}", image.repository()),
        None => image.repository().to_owned(),
    }
}

/// The image as this host calls it. Mirrors are told whose image it is.
fn named(host: &Host, image: &Reference) -> Reference {
    if !host.origin && host.prefix.is_none() {
        let mut mirrored = match image.digest() {
            Some(digest) => image.clone_with_digest(digest.to_owned()),
            None => image.clone(),
        };
        mirrored.set_mirror_registry(host.address.clone());
        return mirrored;
    }
    let (registry, repository) = (host.address.clone(), within(host, image));
    match image.digest() {
        Some(digest) => Reference::with_digest(registry, repository, digest.to_owned()),
        None => Reference::with_tag(registry, repository, image.tag().unwrap_or("latest").to_owned()),
    }
}

impl Place {
    /// Begins to speak with the host; registries with tokens give one here.
    pub async fn open(&self, operation: RegistryOperation) -> std::result::Result<Session, Fault> {
        let client =
            Client::try_from(configuration(&self.host)?).map_err(|error| Fault::of(&self.host.address, &error))?;
        let session =
            Session { client, reference: self.reference.clone(), host: self.host.clone(), auth: self.auth.clone() };
        session
            .client
            .auth(&session.reference, &session.auth, operation)
            .await
            .map_err(|error| Fault::of(&self.host.address, &error))?;
        Ok(session)
    }
}

fn configuration(host: &Host) -> Result<ClientConfig> {
    let read = |path: &PathBuf| {
        let data = std::fs::read(path).map_err(|error| {
            Error::failed(format!("read {}, the CA of registry {}", path.display(), host.address), error)
        })?;
        Ok::<_, Error>(Certificate { encoding: CertificateEncoding::Pem, data })
    };
    Ok(ClientConfig {
        protocol: if host.plain { ClientProtocol::Http } else { ClientProtocol::Https },
        accept_invalid_certificates: host.skip_verify,
        extra_root_certificates: host.ca.iter().map(read).collect::<Result<Vec<_>>>()?,
        use_monolithic_push: true,
        read_timeout: Some(SILENCE),
        connect_timeout: Some(CONNECT),
        user_agent: concat!("keeld/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
}

impl Session {
    /// The document that the image's name, or this digest, stands for, and its digest.
    pub async fn manifest(&self, digest: Option<&str>) -> std::result::Result<(Bytes, String), Fault> {
        let reference = match digest {
            Some(digest) => self.reference.clone_with_digest(digest.to_owned()),
            None => self.reference.clone(),
        };
        let types = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];
        let pulled = self.client.pull_manifest_raw(&reference, &self.auth, &types).await;
        pulled.map_err(|error| Fault::of(&self.host.address, &error))
    }

    /// The digest that the image's name stands for.
    pub async fn digest(&self) -> std::result::Result<String, Fault> {
        let digest = self.client.fetch_manifest_digest(&self.reference, &self.auth).await;
        digest.map_err(|error| Fault::of(&self.host.address, &error))
    }

    /// A blob from `offset` on, or all of it from a host that cannot begin in the middle.
    pub async fn blob(&self, digest: &str, offset: u64) -> std::result::Result<BlobResponse, Fault> {
        let response = if offset == 0 {
            self.client.pull_blob_stream(&self.reference, digest).await.map(BlobResponse::Full)
        } else {
            self.client.pull_blob_stream_partial(&self.reference, digest, offset, None).await
        };
        response.map_err(|error| Fault::of(&self.host.address, &error))
    }
}

impl Images {
    /// Whether the registry at `address` takes these credentials: it is asked for an image that need
    /// not be there.
    pub async fn login(&self, address: &str, credentials: Credentials) -> Result<()> {
        let address = Some(auth::normal(address)).filter(|address| !address.is_empty());
        let registry = address.unwrap_or_else(|| "docker.io".to_owned());
        let registry = registry.split('/').next().unwrap_or_default().to_owned();
        let image = Reference::with_tag(registry, "library/login".to_owned(), "latest".to_owned());
        let places = self.registries.places(&image, Some(&credentials))?;
        let places: Vec<Place> = places.into_iter().filter(|place| place.host.origin).collect();
        let question = |session: Arc<Session>| async move {
            match session.digest().await {
                Err(fault) if fault.kind == Kind::Missing => Ok(()),
                answer => answer.map(|_| ()),
            }
        };
        match ask(&places, RegistryOperation::Pull, |can| can.resolve, question).await {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind == Kind::Unauthorized => Err(Error::Unauthorized(format!(
                "unauthorized: registry {} does not take this name and password",
                image.registry()
            ))),
            Err(fault) => Err(fault.error),
        }
    }
}

/// What to do after a failure with a host.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Ask the same again.
    Again,
    /// Ask the next host.
    Other,
    /// Give up.
    Stop,
}

fn next(host: &Host, kind: Kind, tries: u32) -> Next {
    match kind {
        // Nothing that is plain HTTP answers with a broken handshake: try that before trying again.
        Kind::Broken if host.probing => Next::Other,
        Kind::Broken if tries + 1 < TRIES => Next::Again,
        Kind::Unreachable | Kind::Broken => Next::Other,
        _ if host.probing => Next::Stop,
        Kind::Missing | Kind::Unauthorized | Kind::Untrusted | Kind::Wrong => Next::Other,
        Kind::Other => Next::Stop,
    }
}

/// Asks the hosts that `can` in their order until one answers.
pub async fn ask<T, F, A>(
    places: &[Place],
    operation: RegistryOperation,
    can: fn(Can) -> bool,
    question: F,
) -> std::result::Result<(Arc<Session>, T), Fault>
where
    F: Fn(Arc<Session>) -> A + Send + Sync,
    A: Future<Output = std::result::Result<T, Fault>> + Send,
    T: Send,
{
    let mut last = None;
    for place in places.iter().filter(|place| can(place.host.can)) {
        let mut tries = 0;
        loop {
            let answer = match place.open(operation).await.map(Arc::new) {
                Ok(session) => question(session.clone()).await.map(|answer| (session, answer)),
                Err(fault) => Err(fault),
            };
            let fault = match answer {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            tracing::debug!(host = place.host.address, error = %fault.error, "a registry does not help");
            let next = next(&place.host, fault.kind, tries);
            last = Some(fault);
            match next {
                Next::Again => tokio::time::sleep(backoff(tries)).await,
                Next::Other => break,
                Next::Stop => return Err(last.unwrap_or_else(nowhere)),
            }
            tries += 1;
        }
    }
    Err(last.unwrap_or_else(nowhere))
}

fn nowhere() -> Fault {
    Fault::from(Error::Failed(
        "no host of this registry is described as able to do that: see its hosts.toml".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(address: &str, origin: bool, prefix: Option<&str>) -> Host {
        let can = Can { resolve: true, pull: true, push: true };
        Host {
            address: address.to_owned(),
            plain: false,
            prefix: prefix.map(str::to_owned),
            can,
            ca: Vec::new(),
            skip_verify: false,
            origin,
            probing: false,
        }
    }

    #[test]
    fn hosts_call_images_by_their_own_names() {
        let image = reference::parse("busybox:1").unwrap();
        let hub = named(&host("registry-1.docker.io", true, None), &image);
        assert_eq!(
            (hub.resolve_registry(), hub.repository(), hub.namespace()),
            ("registry-1.docker.io", "library/busybox", None)
        );
        let mirror = named(&host("m.example", false, None), &image);
        assert_eq!((mirror.resolve_registry(), mirror.namespace()), ("m.example", Some("docker.io")));
        let proxy = named(&host("m.example", false, Some("hub")), &image);
        assert_eq!((proxy.resolve_registry(), proxy.repository()), ("m.example", "hub/library/busybox"));
        assert_eq!(proxy.tag(), Some("1"));
    }

    #[test]
    fn given_credentials_go_to_the_registry_only() {
        let folder = tempfile::tempdir().unwrap();
        let registry = folder.path().join("r.example");
        std::fs::create_dir_all(&registry).unwrap();
        std::fs::write(registry.join("hosts.toml"), "[host.\"https://m.example\"]\n").unwrap();
        let own = folder.path().join("auth.json");
        let mut file = auth::AuthFile::default();
        file.set("m.example", "mirror", "own");
        file.write(&own).unwrap();
        let registries = Registries::new(folder.path(), &[own]);
        let given = Credentials::Password("me".to_owned(), "secret".to_owned());
        let places = registries.places(&reference::parse("r.example/x:1").unwrap(), Some(&given)).unwrap();
        let auths: Vec<_> = places.into_iter().map(|place| place.auth).collect();
        let basic = |name: &str, password: &str| RegistryAuth::Basic(name.to_owned(), password.to_owned());
        assert_eq!(auths, [basic("mirror", "own"), basic("me", "secret")]);
    }

    #[test]
    fn broken_connections_are_tried_again_and_then_elsewhere() {
        let mirror = host("m", false, None);
        assert_eq!(next(&mirror, Kind::Broken, 0), Next::Again);
        assert_eq!(next(&mirror, Kind::Broken, TRIES - 1), Next::Other);
        assert_eq!(next(&mirror, Kind::Missing, 0), Next::Other);
        assert_eq!(next(&mirror, Kind::Wrong, 0), Next::Other);
        let probing = Host { probing: true, ..mirror };
        assert_eq!(next(&probing, Kind::Unreachable, 0), Next::Other);
        assert_eq!(next(&probing, Kind::Broken, 0), Next::Other);
        // It spoke HTTPS: plain HTTP is no way around what it said.
        for kind in [Kind::Untrusted, Kind::Unauthorized, Kind::Missing] {
            assert_eq!(next(&probing, kind, 0), Next::Stop);
        }
    }

    #[test]
    fn waits_grow() {
        assert!(backoff(0) < backoff(1) && backoff(9) == backoff(5));
    }
}
