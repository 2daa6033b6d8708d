//! `keelson show`: what a manifest comes to once its includes are laid under it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::manifest::{self, Manifest, Repository, VersionRule};

const EXAMPLES: &str = "\
Examples:
  keelson show manifests/host.toml
  keelson show --json manifests/host.toml | jq -r '.packages[]'";

/// Show the effective manifest: what the file says, laid over what it includes.
///
/// Reads and checks the manifest, and prints every setting that a compose would use, together with
/// the digest that decides whether a compose has anything to do. Nothing is fetched or written.
/// Every mistake in the manifest is reported with its file, line and column.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The manifest, a TOML file.
    manifest: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Prints the manifest.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let manifest = manifest::load(&args.manifest)?;
    let digest = manifest.digest()?;
    let text = if args.json { format!("{:#}\n", document(&manifest, &digest)?) } else { text(&manifest, &digest) };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The manifest as JSON, with the paths of the build machine that the digest leaves out.
fn document(manifest: &Manifest, digest: &str) -> serde_json::Result<Value> {
    let mut document = serde_json::to_value(manifest)?;
    document["digest"] = json!(digest);
    document["path"] = json!(manifest.path);
    document["local"] = json!(manifest.local);
    for (value, file) in array(&mut document["files"]).zip(&manifest.files) {
        value["source"] = json!(file.source);
    }
    for (value, repository) in array(&mut document["repositories"]).zip(&manifest.repositories) {
        value["key"] = json!(repository.key);
    }
    Ok(document)
}

fn array(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_array_mut().into_iter().flatten()
}

fn text(manifest: &Manifest, digest: &str) -> String {
    let version = match &manifest.version {
        VersionRule::Fixed(version) => version.clone(),
        VersionRule::Counter { prefix } => format!("{prefix}0, {prefix}1, ..."),
    };
    let mut page = Page::default();
    page.one("Name", &manifest.name);
    page.one("Ref", &manifest.reference);
    page.one("Version", &version);
    page.one("Architecture", &manifest.architecture);
    page.one("Digest", digest);
    page.one("Hostname", manifest.hostname.as_deref().unwrap_or_default());
    page.one("Updates from", manifest.update_url.as_deref().unwrap_or_default());
    page.list("Repositories", manifest.repositories.iter().map(repository));
    page.list("Local packages", manifest.local.iter().map(|path| path.display().to_string()));
    let recommends = if manifest.recommends { "Packages, with what they recommend" } else { "Packages" };
    page.list(recommends, manifest.packages.iter().cloned());
    page.list("Never installed", manifest.exclude.iter().cloned());
    page.list(
        "Files",
        manifest.files.iter().map(|file| match &file.source {
            Some(source) => format!("{} from {}", file.target, source.display()),
            None => file.target.clone(),
        }),
    );
    page.list("Units enabled", manifest.units.enable.iter().cloned());
    page.list("Units disabled", manifest.units.disable.iter().cloned());
    page.list("Units masked", manifest.units.mask.iter().cloned());
    page.one("Boots into", manifest.units.default.as_deref().unwrap_or_default());
    page.list("Users", manifest.users.iter().map(|user| user.name.clone()));
    page.list("Groups", manifest.groups.iter().map(|group| group.name.clone()));
    page.list("Kernel arguments", manifest.kargs.iter().cloned());
    page.list("os-release", manifest.os_release.iter().map(|(key, value)| format!("{key}={value}")));
    page.list("Initramfs without", manifest.initramfs.omit.iter().cloned());
    page.list("Initramfs with", manifest.initramfs.add.iter().cloned());
    page.list("Initramfs drivers", manifest.initramfs.drivers.iter().cloned());
    page.list("Scripts", manifest.postprocess.iter().map(|script| script.origin.display().to_string()));
    page.text
}

fn repository(repository: &Repository) -> String {
    let place = repository.uri.clone().unwrap_or_else(|| format!("{} on the Debian mirror", repository.archive));
    let key = repository.key.as_ref().map(|key| format!(", signed by {}", key.display())).unwrap_or_default();
    format!("{}: {place}, {} {}{key}", repository.name, repository.suite, repository.components.join(" "))
}

/// Lines of a title and one value, or of a title and a list below it; empty ones are left out.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn one(&mut self, title: &str, value: &str) {
        if !value.is_empty() {
            self.text += &format!("{title}: {value}\n");
        }
    }

    fn list(&mut self, title: &str, items: impl Iterator<Item = String>) {
        let lines: String = items.map(|item| format!("  {item}\n")).collect();
        if !lines.is_empty() {
            self.text += &format!("{title}:\n{lines}");
        }
    }
}
