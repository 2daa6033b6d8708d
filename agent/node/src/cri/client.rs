//! Owns [`Cri`]: each call of the runtime and the image service that the node makes, with its limit.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_cri::v1::image_service_client::ImageServiceClient;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{self};
use tonic::transport::{Channel, Endpoint, Uri};

/// As much as the kubelet takes in one answer.
const ANSWER: usize = 16 << 20;
/// How long a call may take that only reads.
const READ: Duration = Duration::from_secs(30);
/// How long a call may take that makes or ends something; the kubelet's limit is as long.
const WRITE: Duration = Duration::from_secs(4 * 60);

/// containerd refused a call, or did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CriError {
    /// containerd answered with an error.
    #[error("{}", .0.message())]
    Refused(tonic::Status),
    /// containerd cannot be reached.
    #[error("containerd cannot be reached at {0}")]
    Unreachable(PathBuf),
    /// A call took longer than its limit.
    #[error("containerd did not answer {call} within {} s", .limit.as_secs())]
    Slow {
        /// The call.
        call: &'static str,
        /// Its limit.
        limit: Duration,
    },
}

impl CriError {
    /// Whether the thing asked about is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == tonic::Code::NotFound)
    }
}

/// The CRI of the host's containerd. Clones share one connection, which comes back by itself.
#[derive(Debug, Clone)]
pub struct Cri {
    socket: PathBuf,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

macro_rules! calls {
    ($($(#[$doc:meta])* $field:ident.$name:ident($request:ident) -> $answer:ident, $limit:expr;)*) => {
        $($(#[$doc])*
        pub async fn $name(&self, request: v1::$request) -> Result<v1::$answer, CriError> {
            self.limited(stringify!($name), $limit, self.$field.clone().$name(request)).await
        })*
    };
}

impl Cri {
    /// Connects when first used, so containerd need not be there yet.
    pub fn new(socket: &Path) -> Self {
        let path = socket.to_owned();
        let channel =
            Endpoint::from_static("http://containerd").connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
            }));
        Self {
            socket: socket.to_owned(),
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER),
            images: ImageServiceClient::new(channel).max_decoding_message_size(ANSWER),
        }
    }

    async fn limited<T>(
        &self,
        call: &'static str,
        limit: Duration,
        answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, CriError> {
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if status.code() == tonic::Code::Unavailable => {
                tracing::debug!(call, %status, "containerd is not there");
                Err(CriError::Unreachable(self.socket.clone()))
            }
            Ok(Err(status)) => Err(CriError::Refused(status)),
            Err(_) => Err(CriError::Slow { call, limit }),
        }
    }

    calls! {
        /// Name and version of the runtime.
        runtime.version(VersionRequest) -> VersionResponse, READ;
        /// Whether runtime and network are ready.
        runtime.status(StatusRequest) -> StatusResponse, READ;
        /// Makes and starts a sandbox.
        runtime.run_pod_sandbox(RunPodSandboxRequest) -> RunPodSandboxResponse, WRITE;
        /// Stops a sandbox and takes its network down.
        runtime.stop_pod_sandbox(StopPodSandboxRequest) -> StopPodSandboxResponse, WRITE;
        /// Removes a sandbox with its containers.
        runtime.remove_pod_sandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse, WRITE;
        /// One sandbox.
        runtime.pod_sandbox_status(PodSandboxStatusRequest) -> PodSandboxStatusResponse, READ;
        /// Sandboxes by filter.
        runtime.list_pod_sandbox(ListPodSandboxRequest) -> ListPodSandboxResponse, READ;
        /// Makes a container.
        runtime.create_container(CreateContainerRequest) -> CreateContainerResponse, WRITE;
        /// Starts a container.
        runtime.start_container(StartContainerRequest) -> StartContainerResponse, WRITE;
        /// Removes a container.
        runtime.remove_container(RemoveContainerRequest) -> RemoveContainerResponse, WRITE;
        /// Containers by filter.
        runtime.list_containers(ListContainersRequest) -> ListContainersResponse, READ;
        /// One container.
        runtime.container_status(ContainerStatusRequest) -> ContainerStatusResponse, READ;
        /// Changes a container's limits.
        runtime.update_container_resources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse, WRITE;
        /// Has a rotated log opened again.
        runtime.reopen_container_log(ReopenContainerLogRequest) -> ReopenContainerLogResponse, READ;
        /// The address at which a command can be attached to.
        runtime.exec(ExecRequest) -> ExecResponse, READ;
        /// The address at which a container can be attached to.
        runtime.attach(AttachRequest) -> AttachResponse, READ;
        /// The address at which ports can be forwarded.
        runtime.port_forward(PortForwardRequest) -> PortForwardResponse, READ;
        /// What all containers use.
        runtime.list_container_stats(ListContainerStatsRequest) -> ListContainerStatsResponse, READ;
        /// What all sandboxes use.
        runtime.list_pod_sandbox_stats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse, READ;
        /// Tells the runtime the pods' network.
        runtime.update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse, READ;
        /// Images by filter.
        images.list_images(ListImagesRequest) -> ListImagesResponse, READ;
        /// One image.
        images.image_status(ImageStatusRequest) -> ImageStatusResponse, READ;
        /// Removes an image.
        images.remove_image(RemoveImageRequest) -> RemoveImageResponse, WRITE;
        /// What images take of the disk.
        images.image_fs_info(ImageFsInfoRequest) -> ImageFsInfoResponse, READ;
    }

    /// Stops a container: its stop signal, after `grace` seconds SIGKILL.
    pub async fn stop_container(&self, id: &str, grace: i64) -> Result<(), CriError> {
        let limit = WRITE + Duration::from_secs(u64::try_from(grace).unwrap_or_default());
        let request = v1::StopContainerRequest { container_id: id.to_owned(), timeout: grace };
        self.limited("stop_container", limit, self.runtime.clone().stop_container(request)).await.map(drop)
    }

    /// Runs a command to its end; `limit` seconds, 0 being none but the call's own.
    pub async fn exec_sync(
        &self,
        id: &str,
        command: Vec<String>,
        limit: i64,
    ) -> Result<v1::ExecSyncResponse, CriError> {
        let whole = if limit > 0 { Duration::from_secs(limit.unsigned_abs() + 10) } else { Duration::from_secs(3600) };
        let request = v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command, timeout: limit };
        self.limited("exec_sync", whole, self.runtime.clone().exec_sync(request)).await
    }

    /// Pulls an image; large ones take their time.
    pub async fn pull_image(&self, request: v1::PullImageRequest) -> Result<v1::PullImageResponse, CriError> {
        let limit = Duration::from_secs(3600);
        self.limited("pull_image", limit, self.images.clone().pull_image(request)).await
    }

    /// The sandboxes of one pod, or of all.
    pub async fn sandboxes(&self, uid: Option<&str>) -> Result<Vec<v1::PodSandbox>, CriError> {
        let filter = uid.map(|uid| v1::PodSandboxFilter { label_selector: of_pod(uid), ..Default::default() });
        Ok(self.list_pod_sandbox(v1::ListPodSandboxRequest { filter }).await?.items)
    }

    /// The containers of one pod, or of all.
    pub async fn containers(&self, uid: Option<&str>) -> Result<Vec<v1::Container>, CriError> {
        let filter = uid.map(|uid| v1::ContainerFilter { label_selector: of_pod(uid), ..Default::default() });
        Ok(self.list_containers(v1::ListContainersRequest { filter }).await?.containers)
    }
}

fn of_pod(uid: &str) -> HashMap<String, String> {
    HashMap::from([(super::labels::POD_UID.to_owned(), uid.to_owned())])
}
