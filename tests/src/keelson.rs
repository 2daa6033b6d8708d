//! Owns how tests call the built `keelson`, and the servers of its verb `serve`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::paths;

/// Where one `keelson` keeps its things.
#[derive(Debug, Clone)]
pub struct Keelson {
    /// The OSTree repository.
    pub repo: PathBuf,
    /// Downloads and compiled packages.
    pub cache: PathBuf,
    /// The GPG home of the signing key.
    pub gnupg: PathBuf,
}

/// How a call of `keelson` ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed on standard output.
    pub stdout: String,
    /// What it printed on standard error.
    pub stderr: String,
}

/// What `keelson compose --json` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The ref that now names the commit.
    pub reference: String,
    /// The commit.
    pub checksum: String,
    /// The commit's version.
    pub version: String,
    /// Whether a commit was made.
    pub changed: bool,
}

impl Run {
    /// The one JSON document that standard output must be.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("standard output is no JSON: {:?}", self.stdout))
    }

    /// Fails, showing what was printed, unless the exit code is `code`.
    pub fn expect(self, code: i32) -> Result<Self> {
        let Self { stdout, stderr, .. } = &self;
        ensure!(self.code == Some(code), "exit code {:?}, not {code}\n{stdout}\n{stderr}", self.code);
        Ok(self)
    }

    /// Fails, showing what was printed, unless standard error contains every one of `words`.
    pub fn says(self, words: &[&str]) -> Result<Self> {
        for word in words {
            ensure!(self.stderr.contains(word), "no `{word}` in what was said:\n{}", self.stderr);
        }
        Ok(self)
    }
}

impl Keelson {
    /// All of it below `folder`, sharing nothing with any other test.
    pub fn cold(folder: &Path) -> Self {
        Self { repo: folder.join("repo"), cache: folder.join("cache"), gnupg: signing_home() }
    }

    /// A repository of its own below `folder`, and the cache that all tests share.
    pub fn warm(folder: &Path) -> Self {
        Self { cache: paths::cache(), ..Self::cold(folder) }
    }

    /// A call with the GPG home set.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(paths::program("keelson")?);
        command.args(words).env("KEELSON_GNUPGHOME", &self.gnupg).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs `keelson WORDS` to its end.
    pub fn run(&self, words: &[&str]) -> Result<Run> {
        finish(&mut self.command(words)?)
    }

    /// The call `keelson compose --json MANIFEST`, not yet started.
    pub fn compose_command(&self, manifest: &Path) -> Result<Command> {
        let mut command = self.command(&["compose", "--json"])?;
        command.arg("--repo").arg(&self.repo).arg("--cache").arg(&self.cache).arg(manifest);
        Ok(command)
    }

    /// Runs [`Keelson::compose_command`] to its end, whichever it is.
    pub fn try_compose(&self, manifest: &Path) -> Result<Run> {
        finish(&mut self.compose_command(manifest)?)
    }

    /// Composes, which must succeed.
    pub fn compose(&self, manifest: &Path) -> Result<Composed> {
        read(self.try_compose(manifest)?)
    }

    /// Runs `keelson lock OPTIONS MANIFEST` to its end, whichever it is.
    pub fn lock(&self, options: &[&str], manifest: &Path) -> Result<Run> {
        let mut command = self.command(&["lock"])?;
        finish(command.args(options).arg("--cache").arg(&self.cache).arg(manifest))
    }

    /// Composes under the lock there is, with the workspace's own packages as they are built now.
    /// Where there is none, or it no longer fits, it is made anew.
    pub fn compose_locked(&self, manifest: &Path) -> Result<Composed> {
        if self.lock(&["--local"], manifest)?.code != Some(0) {
            self.lock(&[], manifest)?.expect(0)?;
        }
        let run = self.try_compose(manifest)?;
        if run.code == Some(0) || !run.stderr.contains("keelson lock") {
            return read(run);
        }
        self.lock(&[], manifest)?.expect(0)?;
        self.compose(manifest)
    }

    /// Starts `keelson serve` at a free loopback port.
    pub fn serve(&self) -> Result<Serve> {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"])?;
        command.arg("--repo").arg(&self.repo);
        Serve::start(command)
    }
}

/// The GPG home that holds the signing key of all tests.
pub fn signing_home() -> PathBuf {
    paths::cache().join("tests").join("gnupg")
}

/// Runs `command` to its end.
pub fn finish(command: &mut Command) -> Result<Run> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    Ok(Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).context("standard output is not UTF-8")?,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn read(run: Run) -> Result<Composed> {
    let run = run.expect(0)?;
    composed(&run.json()?).with_context(|| format!("a field is missing in {}", run.stdout))
}

fn composed(document: &Value) -> Option<Composed> {
    let text = |key: &str| document.get(key)?.as_str().map(str::to_owned);
    Some(Composed {
        reference: text("ref")?,
        checksum: text("checksum")?,
        version: text("version")?,
        changed: document.get("changed")?.as_bool()?,
    })
}

/// A running `keelson serve`; it ends when dropped.
#[derive(Debug)]
pub struct Serve {
    child: Child,
    url: String,
}

impl Serve {
    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().context("the server has no output")?;
        let url = read_url(BufReader::new(output));
        let mut serve = Self { child, url: String::new() };
        serve.url = url?;
        Ok(serve)
    }

    /// Where it serves, `http://127.0.0.1:1234`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its port, which a guest of QEMU's user network finds at 10.0.2.2.
    pub fn port(&self) -> Result<u16> {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.with_context(|| format!("no port in {}", self.url))
    }
}

/// The first address in what the server prints before it waits for clients.
fn read_url(mut output: impl BufRead) -> Result<String> {
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if let Some(start) = line.find("http://") {
            let url = line[start..].split_whitespace().next().unwrap_or_default();
            return Ok(url.trim_end_matches(['/', '.', ',']).to_owned());
        }
        line.clear();
    }
    anyhow::bail!("`keelson serve` ended without naming its address")
}

impl Drop for Serve {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
