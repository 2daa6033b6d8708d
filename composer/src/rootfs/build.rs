//! Owns the step from packages to a laid-out root: the lower layer from the cache or made anew,
//! the upper one over it, then what the manifest changes, the initramfs, and the OSTree layout.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use keelson_common::command::CommandExt;
use rayon::prelude::*;

use super::accounts::Accounts;
use super::configure::{ConfigureError, Work, configure};
use super::dpkg;
use super::initramfs::{self, InitramfsError};
use super::layer::{self, Layers, Overlay};
use super::order::{self, Node};
use super::sandbox::Sandbox;
use super::tree::{self, Tree};
use super::unpack::{self, Package, UnpackError, unpack};
use crate::deb::archive::{ControlArchive, DebError};
use crate::fetch::Fetched;
use crate::images::{self, ImageError};
use crate::layout::{self, LayoutError};
use crate::lock::{LOCAL, Lock, LockedPackage};
use crate::manifest::Manifest;
use crate::progress::Progress;

/// A root that could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A package cannot be read.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// Packages cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Packages cannot be configured.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// The initramfs cannot be made.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// The container images cannot be put into it.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The root cannot be customised or laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Accounts got other ids than the lock has.
    #[error("accounts have other ids than the lock says, which would change the owner of files on hosts:\n  {}", names.join("\n  "))]
    Drift {
        /// One line an account.
        names: Vec<String>,
    },
    /// The file system refused.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A laid-out root, there until this is dropped.
pub struct Built {
    overlay: Overlay,
    /// The accounts that packages and the manifest created.
    pub accounts: Accounts,
}

impl Built {
    /// The root.
    pub fn root(&self) -> &Path {
        &self.overlay.root
    }
}

/// What a build needs besides its packages.
pub struct Job<'a> {
    /// The manifest.
    pub manifest: &'a Manifest,
    /// The lock.
    pub lock: &'a Lock,
    /// Folder of layers, initramfs images and work.
    pub cache: &'a Path,
    /// The version being composed.
    pub version: &'a str,
    /// Shows what is being done.
    pub progress: &'a Progress,
    /// Called with a root whose packages were just unpacked, while their scripts run: a chance to
    /// begin work on files that scripts do not change.
    pub unpacked: &'a (dyn Fn(&Path) + Sync),
}

/// Builds the root.
pub fn build(job: &Job<'_>, fetched: Vec<Fetched>) -> Result<Built, BuildError> {
    let (lower, upper) = split(job.manifest, fetched)?;
    let locked = Accounts::locked(&job.lock.accounts, &job.lock.groups);
    let lower_root = lower_layer(job, &lower, &locked)?;
    let work = work_folder(job.cache)?;
    let overlay = Overlay::mount(&lower_root, &work).map_err(io_error("mount an overlay for the root"))?;
    let root = &overlay.root;
    add_packages(job, root, &upper, &locked, (job.lock.date, "Leaf packages"))?;
    let customising = job.progress.step("Customising");
    let sandbox = Sandbox::new(root, job.lock.date);
    layout::customise(root, job.manifest, &|argv| Ok(sandbox.command(argv).run()?))?;
    let accounts = canonical(root, &locked, job.lock.date)?;
    drop(customising);
    let making = job.progress.step("Making the initramfs");
    initramfs::ensure(root, &job.manifest.initramfs, job.cache)?;
    drop(making);
    let _laying_out = job.progress.step("Laying out");
    images::place(job.lock, job.cache, root)?;
    layout::apply(root, job.manifest, &accounts.lists(), Some(job.version))?;
    Ok(Built { overlay, accounts })
}

type Located = (LockedPackage, Package);

/// Reads the control parts and divides the packages into the two layers.
fn split(manifest: &Manifest, fetched: Vec<Fetched>) -> Result<(Vec<Located>, Vec<Located>), BuildError> {
    let all = fetched
        .into_par_iter()
        .map(|Fetched { package, path }| {
            let archive = ControlArchive::read(&path)?;
            let size = package.size;
            Ok((package, Package { path, size, archive }))
        })
        .collect::<Result<Vec<Located>, DebError>>()?;
    let names: BTreeSet<&str> =
        manifest.packages.iter().map(|name| name.split(['=', '/', ':']).next().unwrap_or(name)).collect();
    let node = |(locked, package): &'_ Located| {
        (names.contains(locked.name.as_str()), locked.origin == LOCAL, package.archive.control.clone())
    };
    let facts: Vec<_> = all.iter().map(node).collect();
    let nodes: Vec<Node<'_>> = facts
        .iter()
        .map(|(requested, local, control)| Node { control, requested: *requested, local: *local })
        .collect();
    let chosen = order::lower(&nodes);
    let (lower, upper): (Vec<_>, Vec<_>) = all.into_iter().enumerate().partition(|(index, _)| chosen.contains(index));
    let strip = |list: Vec<(usize, Located)>| list.into_iter().map(|(_, located)| located).collect();
    Ok((strip(lower), strip(upper)))
}

/// The root of the lower layer. Its date is that of its newest package, so that a lock refreshed
/// for a leaf does not change it; it is in the cache when the same packages had the same ids.
fn lower_layer(job: &Job<'_>, lower: &[Located], locked: &Accounts) -> Result<PathBuf, BuildError> {
    let layers = Layers::open(job.cache).map_err(io_error("open the cache of layers"))?;
    let packages: Vec<&LockedPackage> = lower.iter().map(|(package, _)| package).collect();
    let date = lower.iter().map(|(_, package)| package.archive.built).max().unwrap_or(0);
    let key = layer::key(&packages);
    if let Some(root) = layers.find(&key).map_err(io_error("look for a cached layer"))?
        && Accounts::read(&root).is_ok_and(|accounts| accounts.drift(locked).is_empty())
    {
        tracing::info!("the lower layer of {} packages is taken from the cache", lower.len());
        return Ok(root);
    }
    let root = layers.begin(&key).map_err(io_error("begin a layer"))?;
    prepare(&root, &job.manifest.architecture).map_err(io_error("prepare a root"))?;
    add_packages(job, &root, lower, locked, (date, "Base packages"))?;
    canonical(&root, locked, date)?;
    layout::uncheck_python(&root)?;
    layers.finish(&key).map_err(io_error("finish a layer"))?;
    Ok(root)
}

/// An empty root: the links of a merged system, folders nothing ships, and dpkg's database.
fn prepare(root: &Path, architecture: &str) -> io::Result<()> {
    let mut tree = Tree::open(root)?;
    tree::make_merged_links(&mut tree)?;
    for folder in ["etc", "dev", "proc", "run", "sys", "tmp", "var"] {
        tree.make_dir(folder)?;
    }
    dpkg::create(root, architecture)
}

/// Unpacks and configures packages over what the root has.
fn add_packages(
    job: &Job<'_>,
    root: &Path,
    list: &[Located],
    locked: &Accounts,
    (date, title): (u64, &'static str),
) -> Result<(), BuildError> {
    if list.is_empty() {
        return Ok(());
    }
    let _adding = job.progress.step(title);
    let installed = unpack::installed(root).map_err(io_error("read dpkg's database"))?;
    let work = Work::divide(list.iter().map(|(_, package)| package));
    let unpacking = job.progress.step("Unpacking");
    unpack(root, &work.unpacked, &installed)?;
    drop(unpacking);
    seed(root, locked, date).map_err(io_error("write the locked accounts"))?;
    let architecture = &job.manifest.architecture;
    std::thread::scope(|scope| {
        scope.spawn(|| (job.unpacked)(root));
        configure(root, &work, architecture, date)
    })?;
    Ok(())
}

/// Gives the root the standard and the locked accounts it lacks, before scripts run.
fn seed(root: &Path, locked: &Accounts, date: u64) -> io::Result<()> {
    let present = Accounts::read(root)?;
    present.with(&Accounts::standard(root)?).with(locked).write(root, date)
}

/// Brings the account files into their one form; gives the accounts that are not standard ones.
fn canonical(root: &Path, locked: &Accounts, date: u64) -> Result<Accounts, BuildError> {
    let failed = io_error("read or write the account files");
    let all = Accounts::read(root).map_err(&failed)?;
    let names = all.drift(locked);
    if !names.is_empty() {
        return Err(BuildError::Drift { names });
    }
    all.write(root, date).map_err(&failed)?;
    Ok(all.without(&Accounts::standard(root).map_err(&failed)?))
}

/// An empty folder for the overlay, on the same file system as the layers. The caller holds the
/// cache for itself, so what is there is left over from a compose that was killed.
fn work_folder(cache: &Path) -> Result<PathBuf, BuildError> {
    let work = cache.join("work");
    layer::remove(&work).and_then(|()| fs::create_dir_all(&work)).map_err(io_error("make a work folder"))?;
    Ok(work)
}

fn io_error(action: &'static str) -> impl Fn(io::Error) -> BuildError {
    move |source| BuildError::Io { action, source }
}
