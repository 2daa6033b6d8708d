//! Looks up what a start needs to know, and makes what it needs: network, files, streams.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bollard::models::EndpointSettings;
use containerd_client::types::Mount;
use oci_spec::runtime::{Capability, LinuxSeccomp, Spec};
use rustix::mount::{MountFlags, mount};

use super::Engine;
use super::container::Container;
use super::record::Record;
use super::rootfs::Rootfs;
use super::spec::{self, Facts, Identity, Security, Shm, Space, seccomp};
use super::task::Io;
use crate::error::{Error, Result};
use crate::network::files::{self, FilesRequest};
use crate::network::{Attached, Attachment, Mode, links, ports};

/// The program that `--init` puts before the container's own.
const INIT: &str = "/usr/bin/catatonit";

/// All that a task is made of.
pub(super) struct Prepared {
    pub spec: Spec,
    pub rootfs: Vec<Mount>,
    pub io: Io,
}

impl Engine {
    /// Makes what a start needs, what can go on at once at once. What was made stays after a
    /// failure, for [`Engine::bring_down`] to take away.
    pub(super) async fn prepare(&self, container: &Arc<Container>) -> Result<Prepared> {
        let record = container.record();
        let mode = self.mode(&record)?;
        let (attached, inside) = tokio::join!(self.attach(&record, mode.clone()), self.look_inside(&record));
        let (attached, (rootfs, identity)) = (attached?, inside?);
        let linked = self.linked(&record)?;
        let hostname = hostname(&record, &mode);
        let files = self.files_of(container, &mode)?;
        if !matches!(mode, Mode::Container(_)) {
            files::write(&files, &self.files_request(&record, &mode, &attached, &linked))?;
        }
        let capabilities = spec::capabilities(&record, self.host_capabilities)?;
        let (ipc, shm) = self.ipc(&record)?;
        let privileged = record.host.privileged.unwrap_or(false);
        let devices = if privileged {
            spec::devices::all()
        } else {
            let host = &record.host;
            spec::devices::asked(
                host.devices.as_deref().unwrap_or_default(),
                host.device_cgroup_rules.as_deref().unwrap_or_default(),
            )?
        };
        let facts = Facts {
            hostname: &hostname,
            cgroup: self.cgroups.of(container.id(), record.host.cgroup_parent.as_deref()),
            unified: self.unified,
            identity,
            variables: links::environment(&record.name, &linked),
            network: network_space(&mode, &attached),
            ipc,
            shm,
            pid: self.space(record.host.pid_mode.as_deref(), "pid")?,
            files: Some(&files),
            devices,
            seccomp: self.seccomp(&record, &capabilities)?,
            capabilities,
            init: init(&record)?,
        };
        let spec = spec::build(&record, facts)?;
        let io = self.io(&record)?;
        Ok(Prepared { spec, rootfs, io })
    }

    /// Its streams, whose other ends are held by then.
    fn io(&self, record: &Record) -> Result<Io> {
        let terminal = record.config.tty.unwrap_or(false);
        let fifos = self.streams.open(&record.id, None, terminal, record.config.open_stdin.unwrap_or(false))?;
        self.streams.pump(&record.id, record.host.log_config.as_ref())?;
        // containerd takes an empty path for none.
        let text = |path: Option<PathBuf>| path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Io { stdin: text(fifos.stdin), stdout: text(fifos.stdout), stderr: text(fifos.stderr), terminal })
    }

    /// Its network mode, the container that it may name found.
    pub(super) fn mode(&self, record: &Record) -> Result<Mode> {
        if record.config.network_disabled.unwrap_or(false) {
            return Ok(Mode::None);
        }
        match Mode::parse(record.host.network_mode.as_deref())? {
            Mode::Container(reference) => Ok(Mode::Container(self.find(&reference)?.id().to_owned())),
            mode => Ok(mode),
        }
    }

    async fn attach(&self, record: &Record, mode: Mode) -> Result<Attached> {
        let exposed = record.config.exposed_ports.as_deref().unwrap_or_default();
        let bindings = record.host.port_bindings.as_ref();
        let publish_all = record.host.publish_all_ports.unwrap_or(false);
        let endpoint = endpoint(record);
        let ip = endpoint.and_then(|endpoint| endpoint.ipam_config.as_ref()?.ipv4_address.clone());
        let ip = ip
            .filter(|ip| !ip.is_empty())
            .map(|ip| ip.parse().map_err(|_| Error::Invalid(format!("invalid IPv4 address: {ip}"))));
        let request = Attachment {
            id: record.id.clone(),
            ports: ports::requested(exposed, bindings, publish_all)?,
            mac: endpoint.and_then(|endpoint| endpoint.mac_address.clone()).filter(|mac| !mac.is_empty()),
            ip: ip.transpose()?,
            mode,
        };
        self.network.prepare(&request).await
    }

    /// Mounts its snapshot for a moment, to see who its user is.
    async fn look_inside(&self, record: &Record) -> Result<(Vec<Mount>, Identity)> {
        let rootfs = self.tasks.mounts(&record.id).await?;
        let user = record.config.user.clone().unwrap_or_default();
        let more = record.host.group_add.clone().unwrap_or_default();
        let looking = tokio::task::spawn_blocking(move || {
            let identity = Rootfs::mount(&rootfs)?.accounts().identify(&user, &more)?;
            Ok((rootfs, identity))
        });
        looking.await.map_err(|error| Error::failed("look into the container", error))?
    }

    /// The folder with its `hosts` and the like: that of the container whose network it shares.
    fn files_of(&self, container: &Container, mode: &Mode) -> Result<PathBuf> {
        match mode {
            Mode::Container(owner) => Ok(self.find(owner)?.folder().to_owned()),
            _ => Ok(container.folder().to_owned()),
        }
    }

    pub(super) fn files_request(
        &self,
        record: &Record,
        mode: &Mode,
        attached: &Attached,
        linked: &[links::Linked],
    ) -> FilesRequest {
        let host = &record.host;
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        FilesRequest {
            hostname: hostname(record, mode),
            domainname: record.config.domainname.clone().unwrap_or_default(),
            host_network: *mode == Mode::Host,
            address: attached.address,
            gateway: Some(self.network.bridge().gateway().into()),
            extra_hosts: list(&host.extra_hosts),
            links: links::hosts(linked),
            dns: list(&host.dns),
            dns_search: list(&host.dns_search),
            dns_options: list(&host.dns_options),
        }
    }

    /// The namespace of the host, or of a container that runs, as `--pid` and `--ipc` ask for it.
    fn space(&self, mode: Option<&str>, kind: &str) -> Result<Space> {
        match mode.unwrap_or_default() {
            "" | "private" | "shareable" | "none" => Ok(Space::Own),
            "host" => Ok(Space::Host),
            other => match other.strip_prefix("container:") {
                Some(reference) => Ok(Space::At(format!("/proc/{}/ns/{kind}", self.running(reference)?).into())),
                None => Err(Error::Invalid(format!("invalid {kind} mode: {other}"))),
            },
        }
    }

    fn ipc(&self, record: &Record) -> Result<(Space, Shm)> {
        let mode = record.host.ipc_mode.as_deref();
        let shm = match mode.unwrap_or_default() {
            "host" => Shm::Shared("/dev/shm".into()),
            "none" => Shm::None,
            "shareable" => Shm::Shared(self.share_memory(record)?),
            other => match other.strip_prefix("container:") {
                Some(reference) => Shm::Shared(self.shared_memory(reference)?),
                None => Shm::Own,
            },
        };
        Ok((self.space(mode, "ipc")?, shm))
    }

    /// Shared memory that others can have as well: a mount of the host's.
    fn share_memory(&self, record: &Record) -> Result<PathBuf> {
        let folder = self.paths.shm(&record.id);
        let size = record.host.shm_size.filter(|size| *size > 0).unwrap_or(spec::SHM_SIZE);
        let options = std::ffi::CString::new(format!("mode=1777,size={size}")).unwrap_or_default();
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        std::fs::create_dir_all(&folder)
            .and_then(|()| Ok(mount("shm", &folder, "tmpfs", flags, options.as_c_str())?))
            .map_err(|error| Error::failed(format_args!("mount {}", folder.display()), error))?;
        Ok(folder)
    }

    fn shared_memory(&self, reference: &str) -> Result<PathBuf> {
        let owner = self.find(reference)?;
        if owner.record().host.ipc_mode.as_deref() == Some("shareable") {
            return Ok(self.paths.shm(owner.id()));
        }
        Err(Error::Conflict(format!(
            "cannot join IPC namespace of container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor \
             container)",
            owner.id()
        )))
    }

    fn running(&self, reference: &str) -> Result<u32> {
        let container = self.find(reference)?;
        let state = container.state();
        if state.status.alive() {
            return Ok(state.pid);
        }
        Err(Error::Conflict(format!("cannot join the namespaces of a container that does not run: {}", container.id())))
    }

    /// Its filter of system calls: its own, the default one, or none.
    fn seccomp(&self, record: &Record, capabilities: &HashSet<Capability>) -> Result<Option<LinuxSeccomp>> {
        let security = Security::parse(record.host.security_opt.as_deref().unwrap_or_default())?;
        let facts = seccomp::Facts { capabilities, kernel: &self.kernel };
        match security.seccomp.as_deref() {
            Some("unconfined") => Ok(None),
            // Clients send the content of the file.
            Some(text) if text != "builtin" => seccomp::Profile::parse(text.as_bytes())?.evaluate(facts).map(Some),
            _ if record.host.privileged.unwrap_or(false) => Ok(None),
            _ => self.default_profile()?.evaluate(facts).map(Some),
        }
    }

    fn default_profile(&self) -> Result<&seccomp::Profile> {
        if let Some(profile) = self.profile.get() {
            return Ok(profile);
        }
        let text = std::fs::read(seccomp::DEFAULT).map_err(|error| {
            Error::failed(
                format_args!("read the default seccomp profile {}", seccomp::DEFAULT),
                format_args!(
                    "{error}; install golang-github-containers-common, or ask for --security-opt seccomp=unconfined"
                ),
            )
        })?;
        let profile = seccomp::Profile::parse(&text)?;
        Ok(self.profile.get_or_init(|| profile))
    }
}

/// What it is called inside.
fn hostname(record: &Record, mode: &Mode) -> String {
    let own = record.config.hostname.clone().unwrap_or_default();
    let short: String = record.id.chars().take(12).collect();
    let host = *mode == Mode::Host || record.host.uts_mode.as_deref() == Some("host");
    if host && (own.is_empty() || own == short) {
        return rustix::system::uname().nodename().to_string_lossy().into_owned();
    }
    own
}

fn endpoint(record: &Record) -> Option<&EndpointSettings> {
    record
        .endpoints
        .get("bridge")
        .or_else(|| record.endpoints.get("default"))
        .or_else(|| record.endpoints.values().next())
}

fn network_space(mode: &Mode, attached: &Attached) -> Space {
    match (&attached.netns, mode) {
        (_, Mode::Host) => Space::Host,
        (Some(path), _) => Space::At(path.clone()),
        // Shared with a container that uses the host's.
        (None, Mode::Container(_)) => Space::Host,
        (None, _) => Space::Own,
    }
}

fn init(record: &Record) -> Result<Option<&'static str>> {
    if !record.host.init.unwrap_or(false) {
        return Ok(None);
    }
    if std::path::Path::new(INIT).exists() {
        return Ok(Some(INIT));
    }
    Err(Error::Invalid("--init needs the program catatonit on the host: install the package catatonit".to_owned()))
}
