//! Owns a whole compose: the stages in their order, and nothing of what they do.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gio::prelude::*;
use keelson_common::commit::CommitInfo;
use keelson_common::packages::PackageDiff;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::commit::objects::Objects;
use crate::commit::publish::{Publication, publish};
use crate::commit::{open_or_create, signing, version};
use crate::fetch::{check_local, fetch};
use crate::images;
use crate::lint;
use crate::lock::Lock;
use crate::manifest::{self, Manifest};
use crate::progress::Progress;
use crate::resolve::{request, resolve};
use crate::rootfs::accounts::Accounts;
use crate::rootfs::build::{Job, build};
use crate::rootfs::layer;
use crate::settings::Settings;

/// Raised when this program makes another tree of the same manifest and lock.
const GENERATION: u32 = 1;

/// What to compose and where to.
#[derive(Debug)]
pub struct Request {
    /// The manifest file.
    pub manifest: PathBuf,
    /// The repository; made when there is none.
    pub repo: PathBuf,
    /// Settings of the build machine.
    pub settings: Settings,
    /// Say what would be done and do nothing.
    pub dry_run: bool,
}

/// What a compose did.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The ref.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The commit it stands at; empty after a dry run that would make a commit.
    pub checksum: String,
    /// The commit's version.
    pub version: String,
    /// Whether a commit was made (or would be).
    pub changed: bool,
    /// Packages compared with the commit before.
    pub packages: PackageDiff,
}

/// Composes. Call it before any thread is started.
pub fn compose(request: &Request, progress: &Progress) -> Result<Outcome> {
    let manifest = manifest::load(&request.manifest)?;
    need_root()?;
    layer::private_mounts().context("cannot make a private set of mounts")?;
    fs::create_dir_all(&request.settings.cache)
        .with_context(|| format!("cannot make the cache folder {}", request.settings.cache.display()))?;
    let cache = request.settings.cache.canonicalize()?;
    let settings = Settings { cache, ..request.settings.clone() };
    let _turns = [guard(&settings.cache.join("compose.guard"))?, guard(&repo_guard(&request.repo))?];
    let lock_path = Lock::path_for(&manifest.path);
    let lock = obtain_lock(&manifest, &lock_path, &settings)?;
    check_local(&lock, &manifest)?;
    images::check_archives(&lock, &manifest)?;
    let repo = open_or_create(&request.repo)?;
    let parent = Parent::read(&repo, &manifest.reference)?;
    let manifest_digest = digest(&manifest)?;
    let packages = lock.package_list();
    let diff = PackageDiff::between(&parent.info.packages, &packages);
    let same = parent.info.manifest_digest.as_ref() == Some(&manifest_digest)
        && parent.info.lock_digest == Some(lock.digest());
    if same && let (Some(checksum), Some(version)) = (&parent.checksum, &parent.info.version) {
        let (checksum, version) = (checksum.clone(), version.clone());
        return Ok(Outcome { reference: manifest.reference, checksum, version, changed: false, packages: diff });
    }
    let version = version::next(&manifest.version, parent.info.version.as_deref());
    let mut outcome = Outcome {
        reference: manifest.reference.clone(),
        checksum: String::new(),
        version,
        changed: true,
        packages: diff,
    };
    if request.dry_run {
        return Ok(outcome);
    }
    let stages = Stages { manifest: &manifest, settings: &settings, repo: &repo, progress };
    let info = CommitInfo {
        name: Some(manifest.name.clone()),
        version: Some(outcome.version.clone()),
        timestamp: lock.date,
        manifest_digest: Some(manifest_digest),
        lock_digest: None,
        kargs: manifest.kargs.clone(),
        update_url: manifest.update_url.clone(),
        packages,
    };
    outcome.checksum = stages.run(lock, &lock_path, info, parent.checksum.as_deref())?;
    Ok(outcome)
}

/// The stages from packages to commit.
struct Stages<'a> {
    manifest: &'a Manifest,
    settings: &'a Settings,
    repo: &'a ostree::Repo,
    progress: &'a Progress,
}

impl Stages<'_> {
    fn run(&self, mut lock: Lock, lock_path: &Path, mut info: CommitInfo, parent: Option<&str>) -> Result<String> {
        let path = self.repo.path().path().context("the repository has no path")?;
        let fetched = fetch(&lock, self.manifest, self.settings, self.progress)?;
        images::fetch(&lock, self.manifest, &self.settings.cache, self.progress)?;
        let objects = Objects::new(&path);
        let version = info.version.clone().unwrap_or_default();
        let job = Job {
            manifest: self.manifest,
            lock: &lock,
            cache: &self.settings.cache,
            version: &version,
            progress: self.progress,
            unpacked: &|root| objects.write_ahead(root),
        };
        let built = build(&job, fetched)?;
        let locked = Accounts::locked(&lock.accounts, &lock.groups);
        let accounts = built.accounts.clone().with(&locked).lists();
        let context = lint::Context { accounts: Some(&accounts), kargs: &self.manifest.kargs };
        let linting = self.progress.step("Linting");
        refuse_fatal(lint::check(built.root(), &context)?)?;
        drop(linting);
        (lock.accounts, lock.groups) = (accounts.users, accounts.groups);
        let writing = self.progress.step("Writing objects");
        let root = objects.write(built.root())?;
        drop(writing);
        let _publishing = self.progress.step("Committing");
        if Lock::read(lock_path)?.as_ref() != Some(&lock) {
            lock.write(lock_path)?;
        }
        info.lock_digest = Some(lock.digest());
        let key = signing::ensure_key(&self.settings.gnupg_home)?;
        let checksum = publish(&Publication {
            repo: self.repo,
            reference: &self.manifest.reference,
            parent,
            root,
            info: &info,
            key: (&self.settings.gnupg_home, &key),
        })?;
        Ok(checksum)
    }
}

/// The commit a ref stands at.
#[derive(Default)]
struct Parent {
    checksum: Option<String>,
    info: CommitInfo,
}

impl Parent {
    fn read(repo: &ostree::Repo, reference: &str) -> Result<Self> {
        let checksum = repo.resolve_rev(reference, true).with_context(|| format!("cannot resolve {reference}"))?;
        let Some(checksum) = checksum.map(|checksum| checksum.to_string()) else { return Ok(Self::default()) };
        let (commit, _) = repo.load_commit(&checksum).with_context(|| format!("cannot load commit {checksum}"))?;
        Ok(Self { checksum: Some(checksum), info: CommitInfo::from_variant(&commit) })
    }
}

/// The lock beside the manifest, made when there is none; one made for another question is refused.
fn obtain_lock(manifest: &Manifest, path: &Path, settings: &Settings) -> Result<Lock> {
    match Lock::read(path)? {
        Some(lock) if lock.request == request(manifest) => Ok(lock),
        Some(_) => bail!(
            "{} was made for other packages or repositories than {} names now; run `keelson lock {}`",
            path.display(),
            manifest.path.display(),
            manifest.path.display()
        ),
        None => {
            eprintln!("keelson: there is no lock yet: resolving packages into {}", path.display());
            let lock = resolve(manifest, settings)?;
            lock.write(path)?;
            Ok(lock)
        }
    }
}

/// Digest of the manifest and of the generation of this program.
fn digest(manifest: &Manifest) -> Result<String> {
    Ok(hex::encode(Sha256::digest(format!("{GENERATION}\n{}", manifest.digest()?))))
}

/// Prints warnings; fails on fatal findings, with all of them.
fn refuse_fatal(findings: Vec<lint::Finding>) -> Result<()> {
    let (fatal, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.level == lint::Level::Fatal);
    for finding in &warnings {
        tracing::warn!("{finding}");
    }
    if !fatal.is_empty() {
        let lines: Vec<String> = fatal.iter().map(|finding| format!("  {finding}")).collect();
        bail!("the tree cannot be committed (see `keelson lint --list`):\n{}", lines.join("\n"));
    }
    Ok(())
}

/// Waits until no other compose holds `path`, saying so.
fn guard(path: &Path) -> Result<File> {
    let open = || -> io::Result<File> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = File::create(path)?;
        if let Err(error) = file.try_lock() {
            match error {
                fs::TryLockError::WouldBlock => eprintln!("keelson: another compose holds {}; waiting", path.display()),
                fs::TryLockError::Error(error) => return Err(error),
            }
            file.lock()?;
        }
        Ok(file)
    };
    open().with_context(|| format!("cannot lock {}", path.display()))
}

/// A file beside the repository: nothing foreign is put into it.
fn repo_guard(repo: &Path) -> PathBuf {
    let mut name = repo.file_name().unwrap_or_default().to_owned();
    name.push(".guard");
    repo.with_file_name(name)
}

fn need_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!(
            "composing runs maintainer scripts as root in a sandbox and needs root itself: use `sudo keelson compose …`"
        );
    }
    Ok(())
}
