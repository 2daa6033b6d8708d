//! Owns OSTree repositories that went wrong: copies of a good one (hard links, so they cost
//! nothing) with the signature taken away, replaced by a stranger's, or an object exchanged. All of
//! it is done with stock `ostree`; no static deltas are left, so that every object is pulled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;

use crate::gpg::Key;

/// A call of stock ostree on `repo`: `ostree(repo, &["rev-parse", "main"])`.
pub fn ostree(repo: &Path, words: &[&str]) -> Result<String> {
    let mut command = Command::new("ostree");
    let (verb, rest) = words.split_first().context("ostree needs a verb")?;
    command.arg(verb).arg(format!("--repo={}", repo.display())).args(rest);
    Ok(command.output_text()?)
}

/// The commit that `reference` names.
pub fn rev_parse(repo: &Path, reference: &str) -> Result<String> {
    Ok(ostree(repo, &["rev-parse", reference])?.trim().to_owned())
}

/// All refs with their commits: what a failed compose must leave as it was.
pub fn refs(repo: &Path) -> Result<Vec<(String, String)>> {
    let names = ostree(repo, &["refs", "--list"])?;
    names.lines().map(|name| Ok((name.to_owned(), rev_parse(repo, name)?))).collect()
}

/// Where an object is: `object(repo, CHECKSUM, "commitmeta")`.
pub fn object(repo: &Path, checksum: &str, kind: &str) -> PathBuf {
    repo.join("objects").join(&checksum[..2]).join(format!("{}.{kind}", &checksum[2..]))
}

/// Copies a repository by hard links, replacing what is at `to`.
pub fn link_copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    Ok(Command::new("cp").arg("-al").args([from, to]).run()?)
}

/// A copy of `from` at `to` without static deltas.
pub fn without_deltas(from: &Path, to: &Path) -> Result<()> {
    link_copy(from, to)?;
    let (deltas, signature) = (to.join("deltas"), to.join("summary.sig"));
    if deltas.exists() {
        fs::remove_dir_all(deltas)?;
    }
    if signature.exists() {
        fs::remove_file(signature)?;
    }
    ostree(to, &["summary", "--update"])?;
    Ok(())
}

/// A copy whose newest commit of `reference` has no signature.
pub fn unsigned(from: &Path, to: &Path, reference: &str) -> Result<()> {
    without_deltas(from, to)?;
    let signature = object(to, &rev_parse(to, reference)?, "commitmeta");
    fs::remove_file(&signature).with_context(|| format!("no signature at {}", signature.display()))
}

/// A copy whose newest commit of `reference` is signed by a key no host knows.
pub fn foreign_key(from: &Path, to: &Path, reference: &str) -> Result<()> {
    unsigned(from, to, reference)?;
    let key = Key::generate("Stranger <stranger@keelson.invalid>")?;
    let home = format!("--gpg-homedir={}", key.home().display());
    let commit = rev_parse(to, reference)?;
    ostree(to, &["gpg-sign", &home, &commit, key.fingerprint()])?;
    Ok(())
}

/// A copy in which the object of the file `path` is another file's, well-formed but not what its
/// name promises.
pub fn tampered(from: &Path, to: &Path, reference: &str, path: &str, other: &str) -> Result<()> {
    without_deltas(from, to)?;
    let victim = object(to, &file_checksum(to, reference, path)?, "filez");
    let donor = object(to, &file_checksum(to, reference, other)?, "filez");
    ensure!(victim != donor, "{path} and {other} are the same object");
    fs::remove_file(&victim).with_context(|| format!("no object at {}", victim.display()))?;
    fs::copy(&donor, &victim)?;
    Ok(())
}

/// The checksum of a file's object, from a line like `-00644 0 0     38 CHECKSUM /etc/demo`.
fn file_checksum(repo: &Path, reference: &str, path: &str) -> Result<String> {
    let line = ostree(repo, &["ls", "--checksum", reference, path])?;
    let checksum = line.split_whitespace().find(|word| word.len() == 64).map(str::to_owned);
    checksum.with_context(|| format!("{path} is no file: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    struct Fixture {
        dir: tempfile::TempDir,
        good: PathBuf,
        key: Key,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (good, key) = (dir.path().join("good"), Key::generate("Us <us@keelson.invalid>").unwrap());
            let root = dir.path().join("root");
            tree::write("f 0644 /usr/one 1\nf 0644 /usr/two 2", &root).unwrap();
            ostree(&good, &["init", "--mode=archive"]).unwrap();
            let sign = [format!("--gpg-sign={}", key.fingerprint()), format!("--gpg-homedir={}", key.home().display())];
            ostree(&good, &["commit", "-b", "demo", &sign[0], &sign[1], root.to_str().unwrap()]).unwrap();
            Self { dir, good, key }
        }

        /// Whether stock ostree pulls `source` with only our key trusted.
        fn pulls(&self, source: &Path) -> bool {
            let into = tempfile::tempdir_in(self.dir.path()).unwrap();
            let (repo, key) = (into.path().join("repo"), self.key.export().unwrap());
            ostree(&repo, &["init", "--mode=archive"]).unwrap();
            let url = format!("file://{}", source.display());
            let import = format!("--gpg-import={}", key.display());
            ostree(&repo, &["remote", "add", &import, "origin", &url]).unwrap();
            ostree(&repo, &["pull", "--untrusted", "origin", "demo"]).is_ok()
        }
    }

    #[test]
    fn stock_ostree_takes_the_good_one_only() {
        let fixture = Fixture::new();
        let at = |name: &str| fixture.dir.path().join(name);
        let before = refs(&fixture.good).unwrap();
        unsigned(&fixture.good, &at("unsigned"), "demo").unwrap();
        foreign_key(&fixture.good, &at("foreign"), "demo").unwrap();
        tampered(&fixture.good, &at("tampered"), "demo", "/usr/one", "/usr/two").unwrap();
        assert!(fixture.pulls(&fixture.good));
        for bad in ["unsigned", "foreign", "tampered"] {
            assert!(!fixture.pulls(&at(bad)), "{bad} was pulled");
        }
        ostree(&fixture.good, &["fsck"]).unwrap();
        assert_eq!(refs(&fixture.good).unwrap(), before);
    }
}
