//! Owns a little world to compose in: a signed APT repository of fixture packages on a loopback
//! server, a manifest that installs from it, and a `keelson` whose OSTree repository already holds
//! something worth keeping. Nothing of it is shared with another test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use keelson_common::command::CommandExt;
use tempfile::TempDir;

use crate::apt::{AptRepository, SUITE};
use crate::deb::Deb;
use crate::gpg::Key;
use crate::http::Server;
use crate::keelson::{Keelson, Run};
use crate::repo::{self, ostree};
use crate::tree;

/// The ref the manifests here compose to.
pub const REF: &str = "test/demo";

/// A test's own APT repository, manifest and OSTree repository.
#[derive(Debug)]
pub struct Archive {
    /// The APT repository.
    pub repository: AptRepository,
    /// The key that signs it.
    pub key: Key,
    /// `keelson` with everything below the test's folder.
    pub keelson: Keelson,
    server: Server,
    before: Vec<(String, String)>,
    dir: TempDir,
}

impl Archive {
    /// A signed repository of `debs` on a running server, and an OSTree repository with a commit
    /// at another ref than the manifests' (a delta from it to a whole host would take a minute).
    pub fn new(debs: &[Deb]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let key = Key::generate("Archive <archive@keelson.invalid>")?;
        let repository = AptRepository::create(&dir.path().join("apt"), debs, &key)?;
        let server = Server::start(repository.root())?;
        let keelson = Keelson::cold(dir.path());
        let before = keepsake(&keelson.repo, &dir.path().join("keepsake"))?;
        Ok(Self { repository, key, keelson, server, before, dir })
    }

    /// The test's folder.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Copies the OSTree repository to `to`, and uses it there from now on.
    pub fn move_repository(&mut self, to: &Path) -> Result<()> {
        Command::new("cp").arg("-a").args([&self.keelson.repo, to]).run()?;
        self.keelson.repo = to.to_owned();
        Ok(())
    }

    /// `keelson` with a copy of the OSTree repository, called `name`.
    pub fn copy_of_repository(&self, name: &str) -> Result<Keelson> {
        let repo = self.folder().join(name);
        Command::new("cp").arg("-a").args([&self.keelson.repo, &repo]).run()?;
        Ok(Keelson { repo, ..self.keelson.clone() })
    }

    /// Writes `demo.toml`, which installs `packages` (TOML, `"a", "b"`) from the test's repository;
    /// `more` comes before the first table.
    pub fn manifest(&self, packages: &str, more: &str) -> Result<PathBuf> {
        let path = self.dir.path().join("demo.toml");
        let key = self.key.export()?;
        let text = format!(
            "name = \"demo\"\nref = \"{REF}\"\nversion = \"1\"\npackages = [{packages}]\n{more}\n\
             [[repository]]\nname = \"fixtures\"\nsuite = \"{SUITE}\"\ncomponents = [\"main\"]\n\
             uri = \"{}\"\nkey = \"{}\"\n",
            self.server.url(),
            key.display()
        );
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Composes `manifest`, which must fail with exit code 1, nothing on standard output, every one
    /// of `words` said, and the OSTree repository as it was.
    pub fn refuses(&self, manifest: &Path, words: &[&str]) -> Result<()> {
        self.unharmed_after(self.keelson.try_compose(manifest)?, words)
    }

    /// As [`Archive::refuses`], of `keelson lock`.
    pub fn refuses_to_lock(&self, manifest: &Path, words: &[&str]) -> Result<()> {
        self.unharmed_after(self.keelson.lock(&[], manifest)?, words)
    }

    fn unharmed_after(&self, run: Run, words: &[&str]) -> Result<()> {
        let run = run.expect(1)?.says(words)?;
        ensure!(run.stdout.is_empty(), "standard output of a failed call: {}", run.stdout);
        self.unharmed()
    }

    /// The refs that the OSTree repository had at first.
    pub fn before(&self) -> &[(String, String)] {
        &self.before
    }

    /// Fails unless the OSTree repository holds, whole, what it held at first and nothing else.
    pub fn unharmed(&self) -> Result<()> {
        let now = repo::refs(&self.keelson.repo)?;
        ensure!(now == self.before, "the refs were {:?} and are {now:?}", self.before);
        ostree(&self.keelson.repo, &["fsck"]).map(drop)
    }
}

/// Makes a repository with one commit, and gives its refs.
fn keepsake(repo: &Path, root: &Path) -> Result<Vec<(String, String)>> {
    tree::write("f 0644 /usr/share/keepsake of an earlier compose\\n", root)?;
    ostree(repo, &["init", "--mode=archive"])?;
    let source = format!("--tree=dir={}", root.display());
    ostree(repo, &["commit", "--branch", "test/keepsake", "--timestamp=@1700000000", &source])?;
    repo::refs(repo)
}
