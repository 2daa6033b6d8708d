//! Owns registries for tests: Debian's docker-registry, with TLS by a CA of its own and a password,
//! or over plain HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use keelson_common::command::CommandExt;
use rustix::fd::AsFd;

use super::namespace::ADDRESS;
use super::{ContainerHost, Namespace, Process, TestImage, need};

/// How a registry is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryKind {
    /// HTTPS with a certificate of the registry's own CA, and the user `keel` with the password `son`.
    Secure,
    /// Plain HTTP, open to all.
    Plain,
}

/// A running registry in a host's network namespace; it ends when dropped.
#[derive(Debug)]
pub struct Registry {
    kind: RegistryKind,
    port: u16,
    folder: PathBuf,
    process: Process,
}

impl Registry {
    /// The user of a secure registry.
    pub const USER: &str = "keel";
    /// And the password.
    pub const PASSWORD: &str = "son";

    /// Starts one at `port` of all addresses of the host's namespace.
    pub fn start(host: &ContainerHost, kind: RegistryKind, port: u16) -> Result<Self> {
        let folder = host.folder().join(format!("registry-{port}"));
        fs::create_dir_all(folder.join("data"))?;
        if kind == RegistryKind::Secure {
            certificate(&folder)?;
            password(&folder)?;
        }
        let process = Self::serve(&folder, host.namespace(), kind, port)?;
        Ok(Self { kind, port, folder, process })
    }

    fn serve(folder: &Path, namespace: &Namespace, kind: RegistryKind, port: u16) -> Result<Process> {
        let program = need("docker-registry", "docker-registry")?;
        let config = folder.join("config.yml");
        fs::write(&config, configuration(folder, kind, port))?;
        let mut command = namespace.command(program);
        let mut process = Process::start(command.arg("serve").arg(&config), &folder.join("log"))?;
        process.wait_ready(Duration::from_secs(30), || namespace.listens(port))?;
        Ok(process)
    }

    /// Serves the same images in another network, too, at the same port, while the process lives.
    pub fn also_in(&self, namespace: &Namespace) -> Result<Process> {
        Self::serve(&self.folder, namespace, self.kind, self.port)
    }

    /// `127.0.0.1:PORT`, the first part of the names of its images.
    pub fn loopback(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The same registry by an address that is not on loopback.
    pub fn address(&self) -> String {
        format!("{ADDRESS}:{}", self.port)
    }

    /// The certificate of the CA.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Tells keeld of `host` to trust its CA, for both names.
    pub fn trust(&self, host: &ContainerHost) -> Result<()> {
        for name in [self.loopback(), self.address()] {
            let text =
                format!("server = \"https://{name}\"\n[host.\"https://{name}\"]\nca = \"{}\"\n", self.ca().display());
            self.describe(host, &name, &text)?;
        }
        Ok(())
    }

    /// Writes what keeld of `host` is told about the registry `name`, a containerd hosts.toml.
    pub fn describe(&self, host: &ContainerHost, name: &str, hosts_toml: &str) -> Result<()> {
        let folder = host.folder().join("certs.d").join(name);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join("hosts.toml"), hosts_toml)?)
    }

    /// An `auth.json` with the user and `password` for both names.
    pub fn auth_json(&self, password: &str) -> Result<String> {
        let token = Command::new("sh")
            .args(["-c", "printf %s \"$1\" | base64 --wrap=0", "sh", &format!("{}:{password}", Self::USER)])
            .output_text()?;
        let entry = serde_json::json!({ "auth": token.trim() });
        Ok(serde_json::json!({ "auths": { self.loopback(): entry, self.address(): entry } }).to_string())
    }

    /// Puts an image there as `NAME:TAG`, by way of the containerd of `host`, which keeps nothing of it.
    pub fn put(&self, host: &ContainerHost, image: &TestImage, name: &str) -> Result<()> {
        let archive = host.archive(image)?;
        // ctr takes loopback to be plain HTTP.
        let reference = format!("{}/{name}", self.address());
        let ctr = || {
            let mut command = host.namespace().command("ctr");
            command.arg("--address").arg(super::host::containerd_socket(host.folder()));
            command.args(["--namespace", "registry", "images"]);
            command
        };
        ctr().args(["import", "--no-unpack"]).arg(&archive).run()?;
        let imported = ctr().args(["list", "--quiet"]).output_text()?;
        let imported = imported.lines().next().context("nothing was imported")?;
        ctr().args(["tag", "--force", imported, &reference]).run()?;
        let mut push = ctr();
        push.arg("push");
        match self.kind {
            RegistryKind::Plain => push.arg("--plain-http"),
            RegistryKind::Secure => {
                push.args(["--user", &format!("{}:{}", Self::USER, Self::PASSWORD), "--tlscacert"]).arg(self.ca())
            }
        };
        push.arg(&reference).run()?;
        ctr().args(["remove", "--sync", imported, &reference]).run()?;
        Ok(fs::remove_file(archive)?)
    }

    /// What it has been asked so far: its access log.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("log"))?)
    }

    /// Replaces the last byte of the largest blob, so that no digest fits any more.
    pub fn tamper(&self) -> Result<()> {
        let found = Command::new("find")
            .arg(self.folder.join("data"))
            .args(["-name", "data", "-type", "f", "-printf", "%s %p\\n"])
            .output_text()?;
        let largest =
            found.lines().filter_map(|line| line.split_once(' ')).max_by_key(|(size, _)| size.parse::<u64>().ok());
        let (size, path) = largest.context("the registry is empty")?;
        let file = fs::File::options().write(true).open(path)?;
        let end: u64 = size.parse::<u64>()?.saturating_sub(1);
        rustix::io::pwrite(file.as_fd(), b"!", end)?;
        Ok(())
    }

    /// Stops it; its port refuses connections from now on.
    pub fn stop(&mut self) -> Result<()> {
        self.process.kill()
    }
}

fn configuration(folder: &Path, kind: RegistryKind, port: u16) -> String {
    let at = folder.display();
    let mut text = format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {at}/data\n  delete:\n    enabled: true\n\
         http:\n  addr: :{port}\n  secret: of-a-test\n"
    );
    if kind == RegistryKind::Secure {
        text += &format!("  tls:\n    certificate: {at}/tls.crt\n    key: {at}/tls.key\n");
        text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {at}/htpasswd\n");
    }
    text
}

/// Makes `ca.crt`, and `tls.crt` with `tls.key` signed by it for the addresses of a namespace.
fn certificate(folder: &Path) -> Result<()> {
    let openssl = need("openssl", "openssl")?;
    fs::write(folder.join("openssl.cnf"), "[req]\ndistinguished_name = dn\n[dn]\n")?;
    let request = || {
        let mut command = Command::new(&openssl);
        command.current_dir(folder).args(["req", "-config", "openssl.cnf", "-x509", "-days", "2", "-nodes"]);
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command
    };
    let ca = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"];
    request().args(["-subj", "/CN=Keelson tests CA", "-keyout", "ca.key", "-out", "ca.crt"]).args(ca).run()?;
    let names = format!("subjectAltName=DNS:localhost,DNS:registry.test,IP:127.0.0.1,IP:{ADDRESS},IP:198.51.100.1");
    let leaf = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=CA:FALSE", "-addext", &names];
    request().args(["-subj", "/CN=registry.test", "-keyout", "tls.key", "-out", "tls.crt"]).args(leaf).run()?;
    Ok(())
}

fn password(folder: &Path) -> Result<()> {
    let htpasswd = need("htpasswd", "apache2-utils")?;
    let line = Command::new(htpasswd).args(["-Bbn", Registry::USER, Registry::PASSWORD]).output_text()?;
    Ok(fs::write(folder.join("htpasswd"), line)?)
}

impl Namespace {
    /// Whether something in it listens on a TCP port.
    pub fn listens(&self, port: u16) -> bool {
        let mut command = self.command("ss");
        let listed = command
            .args(["--no-header", "--listening", "--tcp", "--numeric", &format!("sport = :{port}")])
            .output_text();
        listed.is_ok_and(|text| !text.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(host: &ContainerHost, words: &[&str], url: &str) -> Result<String> {
        let mut curl = host.namespace().command("curl");
        Ok(curl.args(["--silent", "--show-error", "--fail", "--max-time", "10"]).args(words).arg(url).output_text()?)
    }

    #[test]
    fn images_are_served_to_those_who_may() {
        let host = ContainerHost::start().unwrap();
        let secure = Registry::start(&host, RegistryKind::Secure, 5443).unwrap();
        let plain = Registry::start(&host, RegistryKind::Plain, 5000).unwrap();
        for registry in [&secure, &plain] {
            registry.put(&host, &TestImage::busybox("busybox:latest"), "test/busybox:1").unwrap();
        }
        let ca = secure.ca();
        let ca = ca.to_string_lossy();
        let tags = |registry: &Registry| format!("{}/v2/test/busybox/tags/list", registry.address());
        let listed =
            get(&host, &["--cacert", &ca, "--user", "keel:son"], &format!("https://{}", tags(&secure))).unwrap();
        assert!(listed.contains("\"1\""), "{listed}");
        get(&host, &["--cacert", &ca, "--user", "keel:wrong"], &format!("https://{}", tags(&secure))).unwrap_err();
        get(&host, &["--user", "keel:son"], &format!("https://{}", tags(&secure))).unwrap_err();
        assert!(get(&host, &[], &format!("http://{}", tags(&plain))).unwrap().contains("\"1\""));
    }
}
