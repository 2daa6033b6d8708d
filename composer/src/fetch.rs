//! Owns `Lock -> Packages`: every locked `.deb` as a verified file of the content store, which all
//! composes share. Downloads and verification run in parallel; nothing unverified gets a name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::lock::{LOCAL, Lock, LockedPackage};
use crate::manifest::Manifest;
use crate::progress::Progress;
use crate::resolve::base_uri;
use crate::resolve::local::{DigestWriter, measure};
use crate::settings::Settings;

/// Connections held open at once.
const PARALLEL: usize = 8;

/// Pauses between attempts at a download.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(6)];
/// How the names of unfinished downloads begin; those an interrupted compose left are removed.
const PARTIAL: &str = ".get-";

/// A locked package that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Its repository does not have it any more.
    #[error("{package} is locked but {place} has it no more; `keelson lock` chooses what there is now")]
    Gone {
        /// `name version`.
        package: String,
        /// The URL or folder.
        place: String,
    },
    /// What came is not what was locked.
    #[error(
        "{place} is not the {package} that is locked: its {what} is {found}, the lock has {expected}; \
             the package was replaced or damaged, `keelson lock` accepts what there is now"
    )]
    Differs {
        /// `name version`.
        package: String,
        /// The URL or file.
        place: String,
        /// `size` or `SHA-256`.
        what: &'static str,
        /// What it is.
        found: String,
        /// What the lock has.
        expected: String,
    },
    /// The transfer failed.
    #[error("cannot download {url}")]
    Download {
        /// What was asked for.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// The transfer broke off.
    #[error("the download of {url} broke off")]
    Broken {
        /// What was being read.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The content store cannot be written.
    #[error("cannot write to the package store {}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lock names a repository the manifest does not have.
    #[error("{package} is locked from repository `{origin}`, which the manifest does not have; run `keelson lock`")]
    Origin {
        /// `name version`.
        package: String,
        /// The repository's name.
        origin: String,
    },
}

/// A locked package and its file in the store.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What the lock says.
    pub package: LockedPackage,
    /// The verified `.deb`.
    pub path: PathBuf,
}

/// Gets every package of the lock, in the lock's order.
pub fn fetch(
    lock: &Lock,
    manifest: &Manifest,
    settings: &Settings,
    progress: &Progress,
) -> Result<Vec<Fetched>, FetchError> {
    let store = Store::open(settings.cache.join("debs"))?;
    let bar = progress.bytes("Fetching packages", lock.packages.iter().map(|package| package.size).sum());
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .max_idle_connections_per_host(PARALLEL)
        .max_idle_connections(PARALLEL)
        .build()
        .into();
    let queue = Mutex::new(lock.packages.iter());
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while let Some(package) = next(&queue, &failure) {
                    match store.ensure(package, manifest, settings, &agent) {
                        Ok(()) => bar.inc(package.size),
                        Err(error) => fail(&failure, error),
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    match failure.into_inner().unwrap_or_else(|poison| poison.into_inner()) {
        Some(error) => Err(error),
        None => Ok(lock
            .packages
            .iter()
            .map(|package| Fetched { package: package.clone(), path: store.path(package) })
            .collect()),
    }
}

/// Makes sure that local packages are still what was locked: a rebuilt one is an error, also while
/// the store has the old one.
pub fn check_local(lock: &Lock, manifest: &Manifest) -> Result<(), FetchError> {
    for package in lock.packages.iter().filter(|package| package.origin == LOCAL) {
        let Ok(path) = local_file(package, manifest) else { continue };
        let (_, found) = measure(&path).map_err(|source| FetchError::Store { path: path.clone(), source })?;
        if found != package.sha256 {
            return Err(FetchError::Differs {
                package: label(package),
                place: path.display().to_string(),
                what: "SHA-256",
                found,
                expected: package.sha256.clone(),
            });
        }
    }
    Ok(())
}

fn next<'a, T>(queue: &Mutex<impl Iterator<Item = T>>, failure: &Mutex<Option<FetchError>>) -> Option<T>
where
    T: 'a,
{
    let failed = failure.lock().unwrap_or_else(|poison| poison.into_inner()).is_some();
    if failed { None } else { queue.lock().unwrap_or_else(|poison| poison.into_inner()).next() }
}

fn fail(failure: &Mutex<Option<FetchError>>, error: FetchError) {
    failure.lock().unwrap_or_else(|poison| poison.into_inner()).get_or_insert(error);
}

/// The content store: files named by their SHA-256.
struct Store {
    dir: PathBuf,
}

impl Store {
    fn open(dir: PathBuf) -> Result<Self, FetchError> {
        let sweep = || {
            fs::create_dir_all(&dir)?;
            for entry in fs::read_dir(&dir)? {
                let path = entry?.path();
                if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PARTIAL)) {
                    fs::remove_file(&path)?;
                }
            }
            Ok(())
        };
        sweep().map_err(|source| FetchError::Store { path: dir.clone(), source })?;
        Ok(Self { dir })
    }

    fn path(&self, package: &LockedPackage) -> PathBuf {
        self.dir.join(format!("{}.deb", package.sha256))
    }

    /// Makes sure the store has the package and that it is what the lock says.
    fn ensure(
        &self,
        package: &LockedPackage,
        manifest: &Manifest,
        settings: &Settings,
        agent: &ureq::Agent,
    ) -> Result<(), FetchError> {
        let path = self.path(package);
        if let Ok(found) = measure(&path) {
            if found == (package.size, package.sha256.clone()) {
                return Ok(());
            }
            tracing::warn!("{} in the package store was damaged and is fetched again", label(package));
        }
        match source(package, manifest, settings)? {
            Place::File(file) => self.take(package, &file.display().to_string(), || {
                File::open(&file).map_err(|error| missing_or(package, &file, error))
            }),
            Place::Url(url) => retrying(|| self.take(package, &url, || download(agent, package, &url))),
        }
    }

    /// Streams a package into the store, giving it its name only when size and hash are right.
    fn take<R: io::Read>(
        &self,
        package: &LockedPackage,
        place: &str,
        open: impl FnOnce() -> Result<R, FetchError>,
    ) -> Result<(), FetchError> {
        let failed = |source| FetchError::Store { path: self.path(package), source };
        let mut reader = open()?;
        let mut temporary = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(&self.dir).map_err(failed)?;
        let mut hash = Sha256::new();
        let mut file = BufWriter::with_capacity(1 << 18, temporary.as_file_mut());
        let mut both = Tee { file: &mut file, digest: DigestWriter(&mut hash) };
        let size = copy(&mut reader, &mut both, place, &failed)?;
        file.flush().map_err(failed)?;
        drop(file);
        let differs = |what, found, expected| FetchError::Differs {
            package: label(package),
            place: place.to_owned(),
            what,
            found,
            expected,
        };
        if size != package.size {
            return Err(differs("size", size.to_string(), package.size.to_string()));
        }
        let sha256 = hex::encode(hash.finalize());
        if sha256 != package.sha256 {
            return Err(differs("SHA-256", sha256, package.sha256.clone()));
        }
        temporary.persist(self.path(package)).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

struct Tee<'a, W, D> {
    file: &'a mut W,
    digest: DigestWriter<'a, D>,
}

impl<W: Write, D: Digest> Write for Tee<'_, W, D> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.digest.write_all(&buffer[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Copies; tells a source that breaks off from a store that cannot be written.
fn copy(
    from: &mut impl io::Read,
    to: &mut impl Write,
    url: &str,
    failed: &impl Fn(io::Error) -> FetchError,
) -> Result<u64, FetchError> {
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(FetchError::Broken { url: url.to_owned(), source }),
        };
        to.write_all(&buffer[..count]).map_err(failed)?;
        size += count as u64;
    }
}

/// Tries again, with longer and longer pauses, what failed for the network's sake.
fn retrying(mut attempt: impl FnMut() -> Result<(), FetchError>) -> Result<(), FetchError> {
    for pause in PAUSES {
        match attempt() {
            Err(error @ (FetchError::Download { .. } | FetchError::Broken { .. })) => {
                tracing::info!("{error}; trying again in {pause:?}");
                thread::sleep(pause);
            }
            other => return other,
        }
    }
    attempt()
}

enum Place {
    File(PathBuf),
    Url(String),
}

/// Where a package is to be had.
fn source(package: &LockedPackage, manifest: &Manifest, settings: &Settings) -> Result<Place, FetchError> {
    if package.origin == LOCAL {
        return local_file(package, manifest).map(Place::File);
    }
    let repository = manifest.repositories.iter().find(|repository| repository.name == package.origin);
    let repository =
        repository.ok_or_else(|| FetchError::Origin { package: label(package), origin: package.origin.clone() })?;
    let url = format!("{}/{}", base_uri(repository, settings), package.file);
    match url.strip_prefix("file:") {
        Some(path) => Ok(Place::File(PathBuf::from(format!("/{}", path.trim_start_matches('/'))))),
        None => Ok(Place::Url(url)),
    }
}

fn local_file(package: &LockedPackage, manifest: &Manifest) -> Result<PathBuf, FetchError> {
    let name = Path::new(&package.file).file_name().unwrap_or_default();
    let candidates = manifest.local.iter().map(|folder| folder.join(name));
    candidates.into_iter().find(|path| path.exists()).ok_or_else(|| FetchError::Gone {
        package: label(package),
        place: manifest.local.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
    })
}

fn download(agent: &ureq::Agent, package: &LockedPackage, url: &str) -> Result<impl io::Read + use<>, FetchError> {
    match agent.get(url).call() {
        Ok(response) => Ok(response.into_body().into_reader()),
        Err(ureq::Error::StatusCode(404 | 410)) => {
            Err(FetchError::Gone { package: label(package), place: url.to_owned() })
        }
        Err(source) => Err(FetchError::Download { url: url.to_owned(), source: Box::new(source) }),
    }
}

fn missing_or(package: &LockedPackage, path: &Path, source: io::Error) -> FetchError {
    match source.kind() {
        io::ErrorKind::NotFound => FetchError::Gone { package: label(package), place: path.display().to_string() },
        _ => FetchError::Store { path: path.to_owned(), source },
    }
}

fn label(package: &LockedPackage) -> String {
    format!("{} {}", package.name, package.version)
}
