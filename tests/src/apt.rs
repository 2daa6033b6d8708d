//! Owns APT repositories made for tests: a pool of fixture packages, indexes by `apt-ftparchive`,
//! and the signatures of a throw-away key.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use keelson_common::command::CommandExt;

use crate::deb::Deb;
use crate::gpg::Key;

/// The suite every test repository has.
pub const SUITE: &str = "test";

/// A repository with one suite, [`SUITE`], and one component, `main`.
#[derive(Debug)]
pub struct AptRepository {
    root: PathBuf,
}

impl AptRepository {
    /// Builds `debs` into a new repository under `root`, signed by `key`.
    pub fn create(root: &Path, debs: &[Deb], key: &Key) -> Result<Self> {
        let repository = Self { root: root.to_owned() };
        for deb in debs {
            deb.build(&repository.pool())?;
        }
        fs::create_dir_all(repository.pool())?;
        repository.publish(key)?;
        Ok(repository)
    }

    /// The folder a web server serves.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the packages are.
    pub fn pool(&self) -> PathBuf {
        self.root.join("pool")
    }

    /// A file of the suite: `InRelease`, `Release.gpg`, ...
    pub fn dist(&self, file: &str) -> PathBuf {
        self.root.join("dists").join(SUITE).join(file)
    }

    /// Writes and signs the indexes of what the pool holds now.
    pub fn publish(&self, key: &Key) -> Result<()> {
        let index = self.dist("main/binary-amd64");
        fs::create_dir_all(&index).with_context(|| format!("cannot make {}", index.display()))?;
        let packages = self.ftparchive(&["packages", "pool"])?;
        fs::write(index.join("Packages"), packages)?;
        Command::new("xz").args(["--force", "--keep", "Packages"]).current_dir(&index).run()?;
        for old in ["InRelease", "Release.gpg", "Release"].map(|name| self.dist(name)) {
            if old.exists() {
                fs::remove_file(old)?;
            }
        }
        let options: Vec<String> = [("Suite", SUITE), ("Codename", SUITE), ("Architectures", "amd64 all")]
            .iter()
            .chain(&[("Components", "main"), ("Origin", "Keelson tests")])
            .map(|(key, value)| format!("-oAPT::FTPArchive::Release::{key}={value}"))
            .collect();
        let suite = format!("dists/{SUITE}");
        let mut words: Vec<&str> = options.iter().map(String::as_str).collect();
        words.extend(["release", &suite]);
        let release = self.ftparchive(&words)?;
        fs::write(self.dist("Release"), release)?;
        self.sign(key)
    }

    /// Signs the release file with `key`, in both of Debian's ways.
    pub fn sign(&self, key: &Key) -> Result<()> {
        key.sign("--clear-sign", &self.dist("Release"), &self.dist("InRelease"))?;
        key.sign("--detach-sign", &self.dist("Release"), &self.dist("Release.gpg"))
    }

    fn ftparchive(&self, words: &[&str]) -> Result<String> {
        Ok(Command::new("apt-ftparchive").args(words).current_dir(&self.root).output_text()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_indexes_name_the_package_and_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::generate("Archive <archive@keelson.invalid>").unwrap();
        let repository = AptRepository::create(dir.path(), &[Deb::new("demo", "1.0")], &key).unwrap();
        let packages = fs::read_to_string(repository.dist("main/binary-amd64/Packages")).unwrap();
        assert!(packages.contains("Filename: pool/demo_1.0_all.deb"), "{packages}");
        let release = fs::read_to_string(repository.dist("InRelease")).unwrap();
        assert!(release.contains("main/binary-amd64/Packages.xz") && release.contains("BEGIN PGP SIGNATURE"));
    }
}
