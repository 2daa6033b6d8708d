//! Owns [`JoinError`]: which of token, hash, clock, name or network is wrong, and what to do.

use std::path::PathBuf;

/// What an error is about, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The bootstrap token.
    Token,
    /// The hash of the authority's key.
    Hash,
    /// A clock, or a certificate whose time is over.
    Clock,
    /// The node's name.
    Name,
    /// The way to the API server.
    Network,
    /// What the API server shows of itself.
    Server,
    /// The request for a certificate.
    Approval,
    /// What the API server allows.
    Permission,
    /// Files of this machine.
    Files,
}

impl Kind {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Hash => "hash",
            Self::Clock => "clock",
            Self::Name => "name",
            Self::Network => "network",
            Self::Server => "server",
            Self::Approval => "approval",
            Self::Permission => "permission",
            Self::Files => "files",
        }
    }
}

/// Why a machine does not become a node.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token is not among those that the cluster signs with.
    #[error(
        "the cluster knows no token \"{id}\": it expired, was deleted, or is another cluster's; make a new one on the \
         master, for example with `kubeadm token create`"
    )]
    TokenUnknown {
        /// Which.
        id: String,
    },
    /// The token is known, its secret is another.
    #[error(
        "the secret of token \"{id}\" is wrong: what the API server shows is not signed with it; copy the whole token \
         again, and do not join if it is right, as this is then another server than the master"
    )]
    TokenSecret {
        /// Which.
        id: String,
    },
    /// The API server takes the credentials for nobody's.
    #[error(
        "the API server does not accept the {what}: it expired, was deleted, or is another cluster's; make a new token \
         on the master, for example with `kubeadm token create`"
    )]
    Refused {
        /// `token`, or `credentials of the kubeconfig`.
        what: &'static str,
    },
    /// There is nothing to join by.
    #[error(
        "there is nothing to join by: no certificate in {}, and neither a token nor a kubeconfig; run `keelctl join` \
         with a token", store.display()
    )]
    NothingToJoinBy {
        /// Where certificates are kept.
        store: PathBuf,
    },
    /// The node's certificate ran out while nobody could renew it.
    #[error(
        "the certificate of this node expired at {at}, before it could be renewed, and there is no token to ask for \
         another; join again with a new token"
    )]
    Expired {
        /// When.
        at: jiff::Timestamp,
    },
    /// The authority is another one.
    #[error(
        "the hash of the cluster's authority is {}, which is none of those given ({}); if the master was set up anew \
         join with its new hash, else this is another server than the master", found.join(", "), given.join(", ")
    )]
    Hash {
        /// What the server has.
        found: Vec<String>,
        /// What was given.
        given: Vec<String>,
    },
    /// Certificates make no sense by this machine's clock.
    #[error(
        "{what} by this machine's clock, which is {by} the API server's; set it right (timedatectl shows it, and \
         whether it is synchronized) and try again"
    )]
    Clock {
        /// `the API server's certificate is not valid yet` and the like.
        what: String,
        /// `3 h 5 min behind`.
        by: String,
    },
    /// The API server's certificate is out of date by both clocks.
    #[error("{what}, and the clocks agree; renew it on the master, for example with `kubeadm certs renew apiserver`")]
    ServerExpired {
        /// `the API server's certificate is not valid any more`.
        what: String,
    },
    /// Another machine is the node of this name.
    #[error(
        "there is a node \"{name}\" already, which is ready and another machine (machine id {machine}); give this one \
         another name, or take its place with --replace"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The other machine.
        machine: String,
    },
    /// The host has no address.
    #[error("cannot find the address of \"{host}\": its name is wrong, or this machine's name server does not answer")]
    Unresolved {
        /// Whose.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody listens.
    #[error("nothing listens on port {port} of {host}: the port is wrong, or the API server does not run")]
    NotListening {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// There is no way to it, or it closed the connection.
    #[error("cannot reach {host}, port {port}")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No answer.
    #[error(
        "{host}, port {port}, does not answer within {limit} s: the address is wrong, a firewall is in between, or the \
         master is not up"
    )]
    Silent {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// How long was waited.
        limit: u64,
    },
    /// Not TLS, or TLS that went wrong.
    #[error("no TLS connection to {host}, port {port}; is an API server there?")]
    Tls {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The certificate is from somebody else.
    #[error(
        "the certificate of {host}, port {port}, is not from the authority of the cluster: the address is another \
         server's, or the master was set up anew (then `keelctl leave` and join again)"
    )]
    Untrusted {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// The certificate is for other names.
    #[error(
        "the certificate of the API server is not for \"{host}\"; use one of its names as the server's address: {}",
        names.join(", ")
    )]
    OtherName {
        /// What it was called.
        host: String,
        /// What it is called.
        names: Vec<String>,
    },
    /// The server does not take the node's certificate.
    #[error("the API server refuses the certificate of this node; `keelctl leave` and join again with a new token")]
    CertificateRefused {
        /// Its alert.
        #[source]
        source: rustls::Error,
    },
    /// What came back is not an API server's.
    #[error("what answers on {host}, port {port}, is no API server of Kubernetes: {answer}")]
    NotKubernetes {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What it answered.
        answer: String,
    },
    /// The cluster does not say which it is.
    #[error(
        "the API server shows no cluster-info to those who join ({answer}); the master needs the config map \
         kube-public/cluster-info and a role that lets anybody read it, as kubeadm makes them, or give the \
         authority's certificate with --ca"
    )]
    NoClusterInfo {
        /// What it answered.
        answer: String,
    },
    /// The cluster says it in a way that makes no sense.
    #[error("the cluster-info of the API server is broken: {why}")]
    BrokenClusterInfo {
        /// Why.
        why: String,
    },
    /// Nobody approved it.
    #[error(
        "nobody approved the request for a certificate within {limit} s; approve it with `kubectl certificate approve \
         {csr}` and try again, or let the cluster do so (manifests/kubernetes/joining.yaml shows the roles)"
    )]
    NotApproved {
        /// The request.
        csr: String,
        /// How long was waited.
        limit: u64,
    },
    /// Somebody said no.
    #[error("the request {csr} for a certificate was denied: {message}")]
    Denied {
        /// The request.
        csr: String,
        /// Why.
        message: String,
    },
    /// The signer could not.
    #[error("the cluster cannot sign the request {csr}: {message}; look at kube-controller-manager on the master")]
    NotSigned {
        /// The request.
        csr: String,
        /// Why.
        message: String,
    },
    /// Not allowed.
    #[error("the API server does not allow to {what}: {message}; manifests/kubernetes/joining.yaml shows the roles")]
    Forbidden {
        /// What was tried.
        what: &'static str,
        /// The server's words.
        message: String,
    },
    /// Any other refusal.
    #[error("the API server could not {what}: {message}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// The server's words.
        message: String,
    },
    /// The kubeconfig is of no use.
    #[error("cannot use the kubeconfig {}: {why}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A key or certificate that makes no sense.
    #[error("{what} is of no use: {why}")]
    Certificate {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// Files of this machine.
    #[error("cannot {action} {}", path.display())]
    Files {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl JoinError {
    /// What it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::TokenUnknown { .. } | Self::TokenSecret { .. } | Self::Refused { .. } => Kind::Token,
            Self::NothingToJoinBy { .. } => Kind::Token,
            Self::Hash { .. } => Kind::Hash,
            Self::Clock { .. } | Self::ServerExpired { .. } | Self::Expired { .. } => Kind::Clock,
            Self::NameTaken { .. } => Kind::Name,
            Self::Unresolved { .. } | Self::NotListening { .. } | Self::Unreachable { .. } | Self::Silent { .. } => {
                Kind::Network
            }
            Self::Tls { .. } | Self::Untrusted { .. } | Self::OtherName { .. } | Self::CertificateRefused { .. } => {
                Kind::Server
            }
            Self::NotKubernetes { .. } | Self::NoClusterInfo { .. } | Self::BrokenClusterInfo { .. } => Kind::Server,
            Self::Api { .. } => Kind::Server,
            Self::NotApproved { .. } | Self::Denied { .. } | Self::NotSigned { .. } => Kind::Approval,
            Self::Forbidden { .. } => Kind::Permission,
            Self::Kubeconfig { .. } | Self::Certificate { .. } | Self::Files { .. } => Kind::Files,
        }
    }

    /// It and what caused it, in one line.
    pub fn whole(&self) -> String {
        whole(self)
    }

    pub(super) fn files(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Files { action, path, source }
    }
}

/// An error and what caused it, in one line.
pub fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}
