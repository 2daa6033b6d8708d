//! Owns the command line of `keeld containers`.

use std::path::PathBuf;

/// Serve the containers of this host, over its containerd.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "keeld-containers",
    bin_name = "keeld containers",
    version,
    long_about = "Serves the Docker Engine API on a Unix socket and runs containers through the host's containerd. \
        systemd starts it as keelson-containers.service; keelctl run, ps, logs and so on are its clients.",
    after_help = "For development it runs beside any containerd:\n\n  \
        keeld containers --containerd /tmp/c/containerd.sock --root /tmp/k/lib --run /tmp/k/run \\\n    \
        --socket /tmp/k/containers.sock --runtime runc --bridge keel-dev0 --subnet 10.99.0.0/16"
)]
pub struct Options {
    /// The Unix socket to serve on
    #[arg(long, value_name = "PATH", default_value = "/run/keelson/containers.sock")]
    pub socket: PathBuf,
    /// What is kept: containers, logs, volumes
    #[arg(long, value_name = "DIR", default_value = "/var/lib/keelson/containers")]
    pub root: PathBuf,
    /// What a boot forgets: FIFOs, network namespaces
    #[arg(long, value_name = "DIR", default_value = "/run/keelson/containers")]
    pub run: PathBuf,
    /// containerd's socket
    #[arg(long, value_name = "PATH", default_value = "/run/containerd/containerd.sock")]
    pub containerd: PathBuf,
    /// The namespace in containerd
    #[arg(long, value_name = "NAME", default_value = "keelson")]
    pub namespace: String,
    /// The snapshotter in containerd
    #[arg(long, value_name = "NAME", default_value = "overlayfs")]
    pub snapshotter: String,
    /// The OCI runtime: a program in PATH, or a path
    #[arg(long, value_name = "PROGRAM", default_value = "crun")]
    pub runtime: PathBuf,
    /// The folder of the CNI plugins
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/cni")]
    pub cni: PathBuf,
    /// The default bridge
    #[arg(long, value_name = "NAME", default_value = "keel0")]
    pub bridge: String,
    /// The addresses of the default bridge
    #[arg(long, value_name = "CIDR", default_value = "10.87.0.0/16")]
    pub subnet: String,
    /// Where registries are described, as containerd's hosts.toml
    #[arg(long, value_name = "DIR", default_value = "/etc/containerd/certs.d")]
    pub registries: PathBuf,
    /// The daemon's own credentials of registries, for pulls that bring none: as podman's auth.json; what
    /// user-data brought counts first
    #[arg(long, value_name = "FILE", default_values = ["/run/keelson/auth.json", "/etc/keelson/auth.json"])]
    pub auth: Vec<PathBuf>,
    /// The cgroup below which containers live: a slice where systemd runs
    #[arg(long, value_name = "NAME", default_value = "keelson.slice")]
    pub cgroup: String,
    /// Images that are part of the operating system: an OCI layout
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/keelson/images")]
    pub baked: PathBuf,
    /// Where containers are declared
    #[arg(long, value_name = "DIR", default_value = "/etc/keelson/containers.d")]
    pub declarations: PathBuf,
}
