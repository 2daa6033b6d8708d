//! Owns the connection to containerd: one channel that comes back by itself after a restart of
//! containerd, and its services with our namespace in every request.

use std::path::Path;

use containerd_client::services::v1::containers_client::ContainersClient;
use containerd_client::services::v1::content_client::ContentClient;
use containerd_client::services::v1::diff_client::DiffClient;
use containerd_client::services::v1::events_client::EventsClient;
use containerd_client::services::v1::images_client::ImagesClient;
use containerd_client::services::v1::leases_client::LeasesClient;
use containerd_client::services::v1::namespaces_client::NamespacesClient;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::tasks_client::TasksClient;
use containerd_client::services::v1::version_client::VersionClient;
use containerd_client::tonic::metadata::{Ascii, MetadataValue};
use containerd_client::tonic::service::Interceptor;
use containerd_client::tonic::service::interceptor::InterceptedService;
use containerd_client::tonic::transport::{Channel, Endpoint};
use containerd_client::tonic::{Request, Status};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::error::{Error, Result};

/// gRPC messages may be this large: lists of hundreds of containers are.
const MAX_MESSAGE: usize = 16 << 20;

/// containerd, in one of its namespaces.
#[derive(Debug, Clone)]
pub struct Containerd {
    channel: Channel,
    namespace: Namespace,
}

/// Puts the namespace, and the lease where there is one, into every request.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: MetadataValue<Ascii>,
    lease: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Namespace {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        request.metadata_mut().insert("containerd-namespace", self.name.clone());
        if let Some(lease) = &self.lease {
            request.metadata_mut().insert("containerd-lease", lease.clone());
        }
        Ok(request)
    }
}

/// How the services are reached.
pub type Service = InterceptedService<Channel, Namespace>;

impl Containerd {
    /// The containerd at `socket`; it is connected to when it is first asked something.
    pub fn new(socket: &Path, namespace: &str) -> Result<Self> {
        let socket = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://containerd").connect_with_connector_lazy(connector);
        let name = namespace
            .parse()
            .map_err(|_| Error::Invalid(format!("{namespace:?} cannot be a namespace of containerd")))?;
        Ok(Self { channel, namespace: Namespace { name, lease: None } })
    }

    /// The same containerd, for requests whose content and snapshots the lease called `lease` keeps
    /// from being collected.
    pub fn leased(&self, lease: &str) -> Result<Self> {
        let lease = lease.parse().map_err(|_| Error::Invalid(format!("{lease:?} cannot be a lease of containerd")))?;
        let namespace = Namespace { name: self.namespace.name.clone(), lease: Some(lease) };
        Ok(Self { channel: self.channel.clone(), namespace })
    }

    fn service(&self) -> Service {
        InterceptedService::new(self.channel.clone(), self.namespace.clone())
    }

    /// The containers service.
    pub fn containers(&self) -> ContainersClient<Service> {
        ContainersClient::new(self.service()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// The content store.
    pub fn content(&self) -> ContentClient<Service> {
        ContentClient::new(self.service()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// The service that applies layers and makes them.
    pub fn diff(&self) -> DiffClient<Service> {
        DiffClient::new(self.service())
    }

    /// The event stream.
    pub fn events(&self) -> EventsClient<Service> {
        EventsClient::new(self.service())
    }

    /// The image store.
    pub fn images(&self) -> ImagesClient<Service> {
        ImagesClient::new(self.service()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Leases, which keep content from being collected while it is worked on.
    pub fn leases(&self) -> LeasesClient<Service> {
        LeasesClient::new(self.service())
    }

    /// The namespaces.
    pub fn namespaces(&self) -> NamespacesClient<Service> {
        NamespacesClient::new(self.service())
    }

    /// The snapshots.
    pub fn snapshots(&self) -> SnapshotsClient<Service> {
        SnapshotsClient::new(self.service()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// The tasks: running containers.
    pub fn tasks(&self) -> TasksClient<Service> {
        TasksClient::new(self.service()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// What version of containerd this is.
    pub fn version(&self) -> VersionClient<Service> {
        VersionClient::new(self.service())
    }
}
