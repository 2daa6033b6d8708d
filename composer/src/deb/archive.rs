//! Owns reading a `.deb` file: an `ar` archive of two compressed tar archives. Nothing is trusted:
//! a member that is cut short or of an unknown compression is an error that names the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::control::{Control, ControlError};

/// A `.deb` that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The file could not be read or is cut short.
    #[error("{} cannot be read as a Debian package", path.display())]
    Read {
        /// The package file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its control data cannot be used.
    #[error("{} is not a usable Debian package", path.display())]
    Control {
        /// The package file.
        path: PathBuf,
        /// Why.
        source: ControlError,
    },
    /// A part every package has is not there.
    #[error("{} is not a usable Debian package: it has no {member}", path.display())]
    Missing {
        /// The package file.
        path: PathBuf,
        /// `control.tar` or `data.tar`.
        member: &'static str,
    },
}

/// The control part of a package: the stanza and the files beside it.
#[derive(Debug)]
pub struct ControlArchive {
    /// The parsed stanza.
    pub control: Control,
    /// Maintainer scripts, `conffiles`, `triggers`, `md5sums`, ...: mode and content by name.
    pub members: BTreeMap<String, (u32, Vec<u8>)>,
    /// When the package was built, seconds since the epoch.
    pub built: u64,
}

impl ControlArchive {
    /// Reads the control part of `path`.
    pub fn read(path: &Path) -> Result<Self, DebError> {
        let (built, mut members) = with_member(path, "control.tar", |built, mut tar| {
            let mut members = BTreeMap::new();
            for entry in tar.entries()? {
                let mut entry = entry?;
                let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
                if entry.header().entry_type().is_file() {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    members.insert(name, (entry.header().mode()? & 0o777, content));
                }
            }
            Ok((built, members))
        })?;
        let (_, text) = members
            .remove("control")
            .ok_or_else(|| DebError::Missing { path: path.to_owned(), member: "control file" })?;
        let control = Control::parse(&String::from_utf8_lossy(&text))
            .map_err(|source| DebError::Control { path: path.to_owned(), source })?;
        Ok(Self { control, members, built })
    }

    /// The lines of a member that is a list, empty when it is not there.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let Some((_, content)) = self.members.get(name) else { return Vec::new() };
        String::from_utf8_lossy(content).lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
    }
}

/// The files of a package, handed to `work` as a tar archive to stream through.
pub fn with_data<T>(path: &Path, work: impl FnOnce(Tar<'_>) -> io::Result<T>) -> Result<T, DebError> {
    with_member(path, "data.tar", |_, tar| work(tar))
}

/// A tar archive being read from inside a package.
pub type Tar<'a> = tar::Archive<Box<dyn Read + 'a>>;

fn with_member<T>(
    path: &Path,
    member: &'static str,
    work: impl FnOnce(u64, Tar<'_>) -> io::Result<T>,
) -> Result<T, DebError> {
    let failed = |source| DebError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut outer = ar::Archive::new(BufReader::with_capacity(1 << 16, file));
    while let Some(entry) = outer.next_entry() {
        let mut entry = entry.map_err(failed)?;
        let name = String::from_utf8_lossy(entry.header().identifier()).trim_end_matches('/').to_owned();
        let Some(suffix) = name.strip_prefix(member) else { continue };
        let (size, built) = (entry.header().size(), entry.header().mtime());
        let mut whole = Whole { inner: &mut entry, left: size };
        let reader = decompressor(suffix, &mut whole).map_err(failed)?;
        return work(built, tar::Archive::new(reader)).map_err(failed);
    }
    Err(DebError::Missing { path: path.to_owned(), member })
}

fn decompressor<'a>(suffix: &str, member: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match suffix {
        "" => Box::new(member),
        ".xz" => Box::new(liblzma::read::XzDecoder::new(member)),
        ".gz" => Box::new(flate2::read::GzDecoder::new(member)),
        ".zst" => Box::new(zstd::Decoder::new(member)?),
        other => return Err(io::Error::other(format!("compression `{other}` is not known"))),
    })
}

/// A reader that calls the end of input an error while bytes are still owed.
struct Whole<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        if got == 0 && self.left > 0 && !buffer.is_empty() {
            let text = format!("the file is truncated: {} bytes are missing", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.left -= (got as u64).min(self.left);
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(dir: &Path) -> PathBuf {
        let mut control = tar::Builder::new(Vec::new());
        add(&mut control, "./control", "Package: a\nVersion: 1\nArchitecture: all\n");
        add(&mut control, "./conffiles", "/etc/a\n");
        let mut data = tar::Builder::new(Vec::new());
        add(&mut data, "./etc/a", "content");
        let path = dir.join("a.deb");
        let mut outer = ar::Builder::new(File::create(&path).unwrap());
        let (control, data) =
            (control.into_inner().unwrap(), zstd::encode_all(&*data.into_inner().unwrap(), 1).unwrap());
        for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar.zst", &data)] {
            outer.append(&ar::Header::new(name.as_bytes().to_vec(), content.len() as u64), content).unwrap();
        }
        path
    }

    fn add(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }

    #[test]
    fn reads_control_and_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = package(dir.path());
        let archive = ControlArchive::read(&path).unwrap();
        assert_eq!(archive.control.name, "a");
        assert_eq!(archive.lines("conffiles"), ["/etc/a"]);
        let names = with_data(&path, |mut tar| {
            tar.entries()?.map(|entry| Ok(entry?.path()?.display().to_string())).collect::<io::Result<Vec<_>>>()
        });
        assert_eq!(names.unwrap(), ["etc/a"]);
    }

    #[test]
    fn a_truncated_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = package(dir.path());
        let length = path.metadata().unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length - 20).unwrap();
        let error = with_data(&path, |mut tar| tar.entries()?.try_for_each(|entry| entry.map(drop))).unwrap_err();
        assert!(error.to_string().contains("a.deb cannot be read as a Debian package"), "{error}");
    }
}
