//! Owns the shipped hosts in two versions, composed once and kept in the cache: a second run, or a
//! second test, finds them there. The second version has one package more, [`EXTRA`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Result, anyhow};

use crate::deb::Deb;
use crate::keelson::{Composed, Keelson, finish, signing_home};
use crate::{paths, repo};

/// The package that only the second version has.
pub const EXTRA: &str = "keelson-fixture";

/// A program of [`EXTRA`], prints `fixture 1.0`.
pub const EXTRA_PROGRAM: &str = "/usr/bin/keelson-fixture";

/// A conffile of [`EXTRA`].
pub const EXTRA_CONFFILE: &str = "/etc/keelson-fixture.conf";

/// A file in `/etc` that the maintainer script of [`EXTRA`] writes.
pub const EXTRA_SCRIPTED: &str = "/etc/keelson-fixture.made";

/// A folder in `/var` that [`EXTRA`] ships.
pub const EXTRA_STATE: &str = "/var/lib/keelson-fixture";

/// What the check of an unhealthy version says.
pub const UNWELL: &str = "this version is unwell on purpose";

/// A commit and the repository it is the newest of.
#[derive(Debug, Clone)]
pub struct Version {
    /// The repository, with the shared cache and signing key.
    pub keelson: Keelson,
    /// The manifest it was composed of.
    pub manifest: PathBuf,
    /// The commit.
    pub composed: Composed,
}

/// A shipped host and its successor.
#[derive(Debug, Clone)]
pub struct Host {
    /// Of the manifest as it is shipped.
    pub v1: Version,
    /// With [`EXTRA`] added; its repository also holds the first.
    pub v2: Version,
    folder: PathBuf,
}

/// The default host, `manifests/host.toml`.
pub fn default_host() -> Result<&'static Host> {
    static HOST: OnceLock<Result<Host, String>> = OnceLock::new();
    once(&HOST, "host")
}

/// The smallest host, `manifests/minimal.toml`.
pub fn minimal_host() -> Result<&'static Host> {
    static HOST: OnceLock<Result<Host, String>> = OnceLock::new();
    once(&HOST, "minimal")
}

/// The master of a cluster, `manifests/master.toml`, whose image its nodes have too.
pub fn master_host() -> Result<&'static Host> {
    static HOST: OnceLock<Result<Host, String>> = OnceLock::new();
    once(&HOST, "master")
}

fn once(cell: &'static OnceLock<Result<Host, String>>, name: &str) -> Result<&'static Host> {
    let host = cell.get_or_init(|| Host::compose(name).map_err(|error| format!("{error:#}")));
    host.as_ref().map_err(|error| anyhow!("no {name} to test with: {error}"))
}

impl Host {
    fn compose(name: &str) -> Result<Self> {
        let folder = paths::scratch(name)?;
        let _lock = paths::lock(name)?;
        let (v1, v2) = (first(&folder.join("v1"), name)?, folder.join("v2"));
        let v2 = second(&v2, &v1)?;
        Ok(Self { v1, v2, folder })
    }

    /// The ref of both versions.
    pub fn reference(&self) -> &str {
        &self.v1.composed.reference
    }

    /// A disk of the first version, made when there is none yet.
    pub fn disk(&self) -> Result<PathBuf> {
        let path = self.folder.join(format!("{}.qcow2", self.v1.composed.checksum));
        let _lock = paths::lock("disk")?;
        if !path.exists() {
            remove_disks(&self.folder)?;
            let keelson = &self.v1.keelson;
            let mut command = keelson.command(&["image", "--format", "qcow2", "--repo"])?;
            let unfinished = path.with_extension("unfinished");
            command.arg(&keelson.repo).arg("-o").arg(&unfinished).arg(self.reference());
            finish(&mut command)?.expect(0)?;
            fs::rename(&unfinished, &path)?;
        }
        Ok(path)
    }

    /// A repository of both versions, in `folder`, where the ref stands at the second.
    pub fn copy(&self, folder: &Path) -> Result<Keelson> {
        let keelson = keelson(folder);
        repo::link_copy(&self.v2.keelson.repo, &keelson.repo)?;
        Ok(keelson)
    }

    /// Composes a version after the second into such a repository, that is unhealthy on purpose: a check says
    /// [`UNWELL`].
    pub fn unhealthy(&self, keelson: &Keelson, folder: &Path) -> Result<Composed> {
        let check = folder.join("check");
        fs::write(&check, format!("#!/bin/sh\necho '{UNWELL}'\nexit 1\n"))?;
        let file = format!(
            "\n[[file]]\nsource = \"{}\"\ntarget = \"/usr/lib/keelson/health.d/unwell\"\nmode = \"0755\"\n",
            check.display()
        );
        self.third(keelson, &folder.join("unhealthy.toml"), &file)
    }

    /// Composes one that does not come up: its kernel panics as its first program ends.
    pub fn dead(&self, keelson: &Keelson, folder: &Path) -> Result<Composed> {
        self.third(keelson, &folder.join("dead.toml"), "kargs = [\"init=/usr/bin/false\"]\n")
    }

    /// Composes the second version and `more` of a manifest.
    fn third(&self, keelson: &Keelson, manifest: &Path, more: &str) -> Result<Composed> {
        let (second, local) = (self.v2.manifest.display(), self.v2.manifest.with_file_name("local"));
        let text = format!("include = [\"{second}\"]\nlocal = [\"{}\"]\n{more}", local.display());
        fs::write(manifest, text)?;
        fs::copy(self.v2.manifest.with_extension("lock"), manifest.with_extension("lock"))?;
        keelson.compose_locked(manifest)
    }

    /// A folder for repositories made of this host's.
    pub fn variant(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Removes the disks of earlier commits.
fn remove_disks(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "qcow2") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The shipped manifest under a lock of today's packages, always the first commit of its repository.
fn first(folder: &Path, name: &str) -> Result<Version> {
    fs::create_dir_all(folder)?;
    let manifest = folder.join(format!("{name}.toml"));
    let include = paths::manifest(&format!("{name}.toml"));
    fs::write(&manifest, format!("include = [\"{}\"]\n", include.display()))?;
    let keelson = keelson(folder);
    let mut composed = keelson.compose_locked(&manifest)?;
    if parent(&keelson, &composed).is_some() {
        fs::remove_dir_all(&keelson.repo)?;
        composed = keelson.compose(&manifest)?;
    }
    Ok(Version { keelson, manifest, composed })
}

/// All of the first version, and [`EXTRA`] from a local folder, as the commit after it.
fn second(folder: &Path, first: &Version) -> Result<Version> {
    let (keelson, local) = (keelson(folder), folder.join("local"));
    extra().build(&local)?;
    let manifest = folder.join("next.toml");
    let include = first.manifest.display();
    let text = format!("include = [\"{include}\"]\nlocal = [\"{}\"]\npackages = [\"{EXTRA}\"]\n", local.display());
    fs::write(&manifest, text)?;
    // Locked anew together with the first, so that the two differ in one package and nothing else.
    let (locked, made_for) = (first.manifest.with_extension("lock"), folder.join("first.lock"));
    if fs::read(&locked)? != fs::read(&made_for).unwrap_or_default() {
        fs::copy(&locked, manifest.with_extension("lock"))?;
        keelson.lock(&[], &manifest)?.expect(0)?;
        fs::copy(&locked, &made_for)?;
    }
    if parent(&keelson, &first.composed).as_deref() != Some(&first.composed.checksum) {
        repo::link_copy(&first.keelson.repo, &keelson.repo)?;
    }
    let composed = keelson.compose(&manifest)?;
    Ok(Version { keelson, manifest, composed })
}

fn keelson(folder: &Path) -> Keelson {
    Keelson { repo: folder.join("repo"), cache: paths::cache(), gnupg: signing_home() }
}

/// The parent of the newest commit; `None` when there is none.
fn parent(keelson: &Keelson, composed: &Composed) -> Option<String> {
    repo::rev_parse(&keelson.repo, &format!("{}^", composed.reference)).ok()
}

fn extra() -> Deb {
    Deb::new(EXTRA, "1.0")
        .field("Depends", "dash")
        .tree(&format!("f 0755 {EXTRA_PROGRAM} #!/bin/sh\\necho fixture 1.0\\n"))
        .tree(&format!("f 0644 {EXTRA_CONFFILE} answer = 42\\n"))
        .tree(&format!("d 0750 {EXTRA_STATE}"))
        .tree("z 0644 /usr/share/keelson-fixture/one 100000")
        .tree("z 0644 /usr/share/keelson-fixture/two 200000")
        .script("postinst", &format!("if [ \"$1\" = configure ]; then echo made > {EXTRA_SCRIPTED}; fi"))
}
