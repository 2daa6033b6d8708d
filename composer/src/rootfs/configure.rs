//! Owns running the maintainer scripts: `preinst` of unpacked packages by hand in the order of the
//! lock, then real `dpkg --configure` for all of them at once, triggers at its end. A package that
//! moves another's file away before its own is unpacked is left to `dpkg --unpack` altogether.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use keelson_common::command::{CommandError, CommandExt};

use super::dpkg;
use super::sandbox::Sandbox;
use super::unpack::Package;

/// Keeps services from being started by maintainer scripts.
const POLICY: &str = "usr/sbin/policy-rc.d";
/// Where the initramfs is not to be made package by package.
const DRACUT: &str = "usr/bin/dracut";

/// A root that could not be configured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// A maintainer script failed.
    #[error("the maintainer script of {package} failed; the end of what was printed:\n{output}")]
    Script {
        /// The package.
        package: String,
        /// The last lines of the output, indented.
        output: String,
    },
    /// The sandbox or dpkg in it failed.
    #[error("packages cannot be configured")]
    Run(#[from] CommandError),
    /// The root could not be changed.
    #[error("cannot write to the root {}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Packages by who unpacks them.
#[derive(Debug, Default)]
pub struct Work<'a> {
    /// Unpacked already.
    pub unpacked: Vec<&'a Package>,
    /// Left to dpkg.
    pub by_dpkg: Vec<&'a Package>,
}

impl<'a> Work<'a> {
    /// Divides packages: those whose `preinst` diverts with a rename go to dpkg, because the file
    /// they divert must be there, and theirs must not, when it runs.
    pub fn divide(packages: impl Iterator<Item = &'a Package>) -> Self {
        let (by_dpkg, unpacked) = packages.partition(|package| diverts(package));
        Self { unpacked, by_dpkg }
    }
}

fn diverts(package: &Package) -> bool {
    let lines = package.archive.lines("preinst");
    let text = lines.join("\n").replace("--no-rename", "");
    text.contains("dpkg-divert") && text.contains("--rename")
}

/// Configures what was just unpacked. `architecture` is dpkg's, `date` seconds since the epoch.
pub fn configure(root: &Path, work: &Work<'_>, architecture: &str, date: u64) -> Result<(), ConfigureError> {
    let failed = |source| ConfigureError::Root { path: root.to_owned(), source };
    let policy = root.join(POLICY);
    fs::write(&policy, "#!/bin/sh\nexit 101\n").map_err(failed)?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let activated = activated(root, &work.unpacked).map_err(failed)?;
    let script = script(work, &activated, architecture);
    let mut sandbox = Sandbox::new(root, date).mask(DRACUT);
    for (number, package) in work.by_dpkg.iter().enumerate() {
        sandbox = sandbox.show(&package.path, deb(number));
    }
    let outcome = sandbox.command(&["sh", "-c", &script]).output_text();
    fs::remove_file(&policy).map_err(failed)?;
    match outcome {
        Ok(log) => {
            tracing::debug!("configuring printed:\n{log}");
            Ok(())
        }
        Err(CommandError::Failed { tail, .. }) => Err(explain(&tail)),
        Err(error) => Err(error.into()),
    }
}

/// File triggers of configured packages that the new packages' files set off.
fn activated(root: &Path, packages: &[&Package]) -> io::Result<BTreeSet<String>> {
    let interests = dpkg::file_triggers(root)?;
    if interests.is_empty() {
        return Ok(BTreeSet::new());
    }
    let lists = dpkg::lists(root)?;
    let names: BTreeSet<String> = packages.iter().map(|package| package.archive.control.dpkg_name()).collect();
    let files = lists.iter().filter(|(name, _)| names.contains(*name)).flat_map(|(_, files)| files);
    let mut hit = BTreeSet::new();
    for file in files {
        let below = |interest: &&String| file.strip_prefix(interest.as_str()).is_some_and(|rest| rest.starts_with('/'));
        hit.extend(interests.iter().filter(below).cloned());
    }
    Ok(hit)
}

/// Where the sandbox has a package that is left to dpkg.
fn deb(number: usize) -> String {
    format!("/run/keelson-{number}.deb")
}

/// The shell script that configures: one process tree in one sandbox.
fn script(work: &Work<'_>, activated: &BTreeSet<String>, architecture: &str) -> String {
    let mut script = String::from("exec 2>&1\nldconfig\n");
    script += &format!(
        "export DPKG_MAINTSCRIPT_ARCH={architecture} DPKG_MAINTSCRIPT_NAME=preinst DPKG_ROOT= \
         DPKG_ADMINDIR=/var/lib/dpkg DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1\n"
    );
    for package in work.unpacked.iter().filter(|package| package.archive.members.contains_key("preinst")) {
        let control = &package.archive.control;
        script += &format!(
            "DPKG_MAINTSCRIPT_PACKAGE={name} /var/lib/dpkg/info/{file}.preinst install || \
             {{ echo 'dpkg: error processing package {name} (preinst)'; exit 1; }}\n",
            name = control.name,
            file = control.dpkg_name()
        );
    }
    script += "unset DPKG_MAINTSCRIPT_NAME DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT\n";
    for number in 0..work.by_dpkg.len() {
        script += &format!("dpkg --force-unsafe-io --force-depends --unpack {} || exit 1\n", deb(number));
    }
    for path in activated {
        script += &format!("dpkg-trigger --by-package=dpkg --no-await '{path}'\n");
    }
    script + "exec dpkg --force-unsafe-io --force-confold --configure -a\n"
}

/// Finds the package in what dpkg printed.
fn explain(tail: &str) -> ConfigureError {
    let marker = "error processing package ";
    let named = tail.lines().find_map(|line| Some(line.split_once(marker)?.1.split([' ', ':']).next()?.to_owned()));
    let output = tail.lines().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n");
    ConfigureError::Script { package: named.unwrap_or_else(|| "a package".to_owned()), output }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_package_is_named() {
        let error = explain("boom\ndpkg: error processing package nginx (--configure):\n status 1\n");
        assert!(error.to_string().starts_with("the maintainer script of nginx failed"), "{error}");
        assert!(error.to_string().contains("  | boom"));
    }
}
