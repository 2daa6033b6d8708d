//! Owns how skopeo is called.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Command;

use keelson_common::command::{CommandError, CommandExt};

use crate::manifest::Image;

/// Where an image comes from, in skopeo's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `docker://registry.example/web:1`, `oci-archive:/srv/web.tar`.
    pub name: String,
    /// Whether the registry is on this machine and may speak plain HTTP.
    pub loopback: bool,
}

impl Source {
    /// Where the manifest says that `image` comes from; `digest` instead of its tag, when known.
    pub fn of(image: &Image, digest: Option<&str>) -> io::Result<Self> {
        if let Some(archive) = &image.archive {
            let kind = if is_oci(archive)? { "oci-archive" } else { "docker-archive" };
            return Ok(Self { name: format!("{kind}:{}", archive.display()), loopback: false });
        }
        let from = image.from.as_ref().unwrap_or(&image.name);
        let name = match digest {
            Some(digest) => format!("{}@{digest}", without_tag(from)),
            None => from.clone(),
        };
        Ok(Self { loopback: is_loopback(from), name: format!("docker://{name}") })
    }

    /// The manifest or index that the name stands for, byte for byte.
    pub fn raw(&self) -> Result<Vec<u8>, CommandError> {
        let mut command = self.command("inspect");
        if self.loopback {
            command.arg("--tls-verify=false");
        }
        Ok(command.args(["--raw", &self.name]).capture()?.stdout)
    }

    /// Copies the image for `architecture` (Debian's name) into the folder `to`.
    pub fn copy(&self, architecture: &str, to: &Path) -> Result<(), CommandError> {
        let mut command = Command::new("skopeo");
        let (name, variant) = platform(architecture);
        command.args(["--override-os", "linux", "--override-arch", name]);
        if let Some(variant) = variant {
            command.args(["--override-variant", variant]);
        }
        command.args(["copy", "--quiet", "--retry-times", "3"]);
        // What such an archive holds has no digest to keep: skopeo writes its manifest.
        match self.name.starts_with("docker-archive:") {
            true => command.args(["--format", "oci"]),
            false => command.arg("--preserve-digests"),
        };
        if self.loopback {
            command.arg("--src-tls-verify=false");
        }
        command.arg(&self.name).arg(format!("dir:{}", to.display())).run()
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new("skopeo");
        command.args([verb, "--retry-times", "3"]);
        command
    }
}

/// Docker takes plain HTTP from registries of the machine itself; so do we.
fn is_loopback(name: &str) -> bool {
    let host = name.split('/').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    host == "localhost" || host.starts_with("127.") || host == "[::1]"
}

fn without_tag(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

/// Whether a tar holds an OCI layout; docker-archives are the others.
fn is_oci(path: &Path) -> io::Result<bool> {
    let mut archive = tar::Archive::new(File::open(path)?);
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path()?;
        if name.strip_prefix("./").unwrap_or(&name) == Path::new("oci-layout") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Debian's name of an architecture as OCI has it: architecture and variant.
pub fn platform(architecture: &str) -> (&str, Option<&str>) {
    match architecture {
        "armhf" => ("arm", Some("v7")),
        "i386" => ("386", None),
        "ppc64el" => ("ppc64le", None),
        "mips64el" => ("mips64le", None),
        other => (other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> Image {
        Image { name: name.into(), from: None, archive: None, site: "m.toml:1".into() }
    }

    #[test]
    fn a_digest_takes_the_place_of_the_tag() {
        let source = Source::of(&image("localhost:5000/a/web:1"), Some("sha256:00")).unwrap();
        assert_eq!(source, Source { name: "docker://localhost:5000/a/web@sha256:00".into(), loopback: true });
        let source = Source::of(&image("registry.example/web:1"), None).unwrap();
        assert_eq!(source, Source { name: "docker://registry.example/web:1".into(), loopback: false });
        assert_eq!(without_tag("localhost:5000/web"), "localhost:5000/web");
    }

    #[test]
    fn archives_are_told_apart_by_what_they_hold() {
        let dir = tempfile::tempdir().unwrap();
        for (name, expected) in [("oci-layout", "oci-archive:"), ("manifest.json", "docker-archive:")] {
            let path = dir.path().join(name);
            let mut builder = tar::Builder::new(File::create(&path).unwrap());
            let mut header = tar::Header::new_gnu();
            header.set_size(2);
            header.set_cksum();
            builder.append_data(&mut header, name, &b"{}"[..]).unwrap();
            builder.finish().unwrap();
            let image = Image { archive: Some(path), ..image("web") };
            assert!(Source::of(&image, None).unwrap().name.starts_with(expected));
        }
    }
}
