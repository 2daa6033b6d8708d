//! Owns having the boot loader count the boots of a version that was not healthy yet: a version that does not
//! come up, whatever hangs or panics before this program could judge it, is followed by the one before.
//!
//! ```text
//! finalized: 3 ──boot──▶ 2 ──boot──▶ 1 ──boot──▶ 0 ──boot──▶ 9, the version before ──boot──▶ 2 ...
//!                └ healthy: no number                        └ the other is given up: no number
//! ```
//!
//! The number is one of a place in the order, not of a version. So it begins anew before the order is written: a
//! power cut between the two leaves something that is tried, in either order.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use keelson_common::grubenv::{Environment, PATH, TRIES};

/// The boot loader's own file, on a host whose boot loader counts.
#[derive(Debug, Clone)]
pub struct Tries(PathBuf);

impl Tries {
    /// Below the root of the sysroot, `/` on a booted host.
    pub fn below(root: &Path) -> Self {
        Self(root.join(PATH))
    }

    /// What is left, where boots are counted.
    pub fn left(&self) -> io::Result<Option<u32>> {
        Ok(self.read()?.and_then(|environment| environment.tries()))
    }

    /// Has the boots of what boots first counted from now on.
    pub fn count(&self) -> io::Result<()> {
        self.set(Some(TRIES))
    }

    /// Has them counted anew, where they are counted.
    pub fn again(&self) -> io::Result<()> {
        if self.left()?.is_some() { self.count() } else { Ok(()) }
    }

    /// Has them not counted any more.
    pub fn end(&self) -> io::Result<()> {
        self.set(None)
    }

    fn set(&self, tries: Option<u32>) -> io::Result<()> {
        let Some(mut environment) = self.read()? else { return Ok(()) };
        if environment.tries() == tries {
            return Ok(());
        }
        environment.set_tries(tries);
        let block = environment.block().map_err(io::Error::other)?;
        // In place, as the boot loader does, which reads no journal: the block that it knows is the one.
        let file = File::options().write(true).open(&self.0)?;
        file.write_all_at(&block, 0)?;
        file.sync_all()
    }

    /// The environment; none on a host whose boot loader is of before there was one.
    fn read(&self) -> io::Result<Option<Environment>> {
        match fs::read(&self.0) {
            Ok(block) => Environment::parse(&block).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_are_counted_until_they_are_not() {
        let root = tempfile::tempdir().unwrap();
        let tries = Tries::below(root.path());
        tries.count().unwrap();
        assert_eq!(tries.left().unwrap(), None, "no boot loader that counts");
        fs::create_dir_all(root.path().join("boot/grub")).unwrap();
        fs::write(root.path().join(PATH), Environment::default().block().unwrap()).unwrap();
        tries.again().unwrap();
        assert_eq!(tries.left().unwrap(), None, "nothing is counted");
        tries.count().unwrap();
        assert_eq!(tries.left().unwrap(), Some(3));
        tries.set(Some(0)).unwrap();
        tries.again().unwrap();
        assert_eq!(tries.left().unwrap(), Some(3));
        tries.end().unwrap();
        assert_eq!(tries.left().unwrap(), None);
        assert_eq!(fs::metadata(root.path().join(PATH)).unwrap().len(), 1024);
        fs::write(root.path().join(PATH), "cut").unwrap();
        assert!(tries.left().is_err());
    }
}
