//! Owns apt's private folders and the calls of `apt-get` in them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use keelson_common::command::{CommandError, CommandExt};
use sha2::{Digest, Sha256};

use super::{ResolveError, base_uri, local};
use crate::lock::LOCAL;
use crate::manifest::{Manifest, Repository};
use crate::settings::Settings;

/// The keyring that signs Debian's own archives.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Private apt folders made for one set of repositories.
pub struct Apt {
    dir: PathBuf,
    /// URI prefixes of packages and the repository's name for each, longest first.
    pub origins: Vec<(String, String)>,
    /// Held while the folders are used: two resolutions of the same set take turns.
    _guard: File,
}

impl Apt {
    /// Makes the folders, the configuration and the list of sources.
    pub fn prepare(manifest: &Manifest, settings: &Settings) -> Result<Self, ResolveError> {
        let mut sources = String::new();
        let mut origins = Vec::new();
        for repository in &manifest.repositories {
            let uri = base_uri(repository, settings);
            sources += &source_line(repository, &uri, &manifest.architecture);
            origins.push((format!("{uri}/"), repository.name.clone()));
        }
        let id = hex::encode(&Sha256::digest(&sources)[..8]);
        let dir = std::path::absolute(settings.cache.join("apt").join(id)).map_err(prepare(&settings.cache))?;
        for part in ["state/lists/partial", "cache/archives/partial", "preferences.d", "local"] {
            fs::create_dir_all(dir.join(part)).map_err(prepare(&dir))?;
        }
        let guard = File::create(dir.join("guard")).map_err(prepare(&dir))?;
        guard.lock().map_err(prepare(&dir))?;
        for (number, folder) in manifest.local.iter().enumerate() {
            let repository = dir.join("local").join(number.to_string());
            local::index(folder, &repository)?;
            let uri = format!("file:{}", repository.display());
            sources += &format!("deb [trusted=yes] {uri} ./\n");
            origins.push((format!("{uri}/./"), LOCAL.to_owned()));
            origins.push((format!("{uri}/"), LOCAL.to_owned()));
        }
        origins.sort_by_key(|(uri, _)| std::cmp::Reverse(uri.len()));
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).map_err(prepare(&dir));
        write("sources.list", &sources)?;
        write("status", "")?;
        write("preferences", &preferences(&manifest.exclude))?;
        write("apt.conf", &configuration(&dir, manifest))?;
        Ok(Self { dir, origins, _guard: guard })
    }

    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C.UTF-8")
    }

    /// Fetches the indexes; anything apt so much as warns about is an error.
    pub fn update(&self) -> Result<(), ResolveError> {
        let mut command = Command::new("apt-get");
        self.environment(&mut command).args(["update", "-q", "-o", "APT::Update::Error-Mode=any"]);
        match command.run() {
            Err(CommandError::Failed { tail, .. }) => Err(ResolveError::Update { messages: messages(&tail) }),
            other => Ok(other?),
        }
    }

    /// What installing the manifest's packages would download, a line each.
    pub fn print_uris(&self, manifest: &Manifest) -> Result<String, ResolveError> {
        // apt explains a broken dependency on standard output: the two streams are one here.
        let mut command = Command::new("sh");
        self.environment(&mut command).args(["-c", "exec apt-get \"$@\" 2>&1", "apt-get"]);
        command.args(["install", "--print-uris", "-q", "-y", "-o", "Acquire::ForceHash=SHA256"]);
        command.arg(essential(&manifest.exclude));
        command.args(&manifest.packages);
        match command.output_text() {
            Err(CommandError::Failed { tail, .. }) => {
                Err(ResolveError::Unsatisfiable { manifest: manifest.path.clone(), messages: messages(&tail) })
            }
            other => Ok(other?),
        }
    }

    /// The newest date among the indexes' Release files, seconds since the epoch.
    pub fn newest_date(&self) -> u64 {
        let Ok(entries) = fs::read_dir(self.dir.join("state/lists")) else { return 0 };
        let release = |path: &Path| path.to_string_lossy().ends_with("Release");
        let files = entries.flatten().map(|entry| entry.path()).filter(|path| release(path));
        files.filter_map(|path| fs::read_to_string(path).ok()).filter_map(|text| date(&text)).max().unwrap_or(0)
    }
}

fn prepare(path: &Path) -> impl Fn(std::io::Error) -> ResolveError + '_ {
    |source| ResolveError::Prepare { path: path.to_owned(), source }
}

fn source_line(repository: &Repository, uri: &str, architecture: &str) -> String {
    let default = Path::new(DEBIAN_KEYRING);
    let key = repository.key.as_deref().unwrap_or(default).display();
    let components = repository.components.join(" ");
    format!("deb [arch={architecture} signed-by={key}] {uri} {} {components}\n", repository.suite)
}

/// apt's pattern for the essential packages. apt counts itself among them, though Debian's archive
/// does not: a host that excludes apt does without.
fn essential(exclude: &[String]) -> String {
    let not: String = exclude.iter().map(|name| format!(",?not(?exact-name({name}))")).collect();
    if not.is_empty() { "?essential".to_owned() } else { format!("?and(?essential{not})") }
}

fn preferences(exclude: &[String]) -> String {
    exclude.iter().map(|name| format!("Package: {name}\nPin: release *\nPin-Priority: -1\n\n")).collect()
}

fn configuration(dir: &Path, manifest: &Manifest) -> String {
    let dir = dir.display();
    let architecture = &manifest.architecture;
    format!(
        "Dir \"{dir}/\";\nDir::State \"{dir}/state\";\nDir::State::status \"{dir}/status\";\n\
         Dir::Cache \"{dir}/cache\";\nDir::Etc::sourcelist \"{dir}/sources.list\";\n\
         Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferences \"{dir}/preferences\";\n\
         Dir::Etc::preferencesparts \"{dir}/preferences.d\";\nDir::Etc::main \"/dev/null\";\n\
         Dir::Etc::parts \"/dev/null\";\nDir::Etc::trusted \"/dev/null\";\nDir::Etc::trustedparts \"/dev/null\";\n\
         APT::Architecture \"{architecture}\";\nAPT::Architectures {{ \"{architecture}\"; }};\n\
         APT::Install-Recommends \"{}\";\nAPT::Install-Suggests \"false\";\nAPT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\nAcquire::Retries \"3\";\nAcquire::http::Timeout \"30\";\n",
        manifest.recommends
    )
}

/// The errors and warnings among apt's output, with the lines that explain a broken dependency.
fn messages(tail: &str) -> Vec<String> {
    let noise = ["Reading", "Building", "Get:", "Hit:", "Ign:", "Fetched", "WARNING:"];
    let useful = |line: &&str| !line.trim().is_empty() && !noise.iter().any(|word| line.starts_with(word));
    tail.lines().filter(useful).map(|line| line.trim_end().to_owned()).collect()
}

/// The `Date` of a Release file, seconds since the epoch.
fn date(release: &str) -> Option<u64> {
    let text = release.lines().find_map(|line| line.strip_prefix("Date:"))?.trim();
    let time = httpdate::parse_http_date(&text.replace("UTC", "GMT").replace("+0000", "GMT")).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|age| age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_date_of_a_release_file() {
        assert_eq!(date("Origin: x\nDate: Thu, 01 Jan 1970 00:01:00 UTC\n"), Some(60));
        assert_eq!(date("Origin: x\n"), None);
    }

    #[test]
    fn excluded_packages_are_not_asked_for() {
        assert_eq!(essential(&[]), "?essential");
        assert_eq!(essential(&["apt".to_owned()]), "?and(?essential,?not(?exact-name(apt)))");
    }

    #[test]
    fn messages_leave_progress_out() {
        let text = "Get:1 http://x\nReading package lists...\nE: Unable to locate package nope\n";
        assert_eq!(messages(text), ["E: Unable to locate package nope"]);
    }
}
