//! Owns what the manifest changes in a root whose packages are configured, in this order: accounts,
//! files, units, hostname and os-release, scripts.

use super::accounts::{Accounts, quote};
use super::error::{BoxError, LayoutError};
use super::root::Root;
use super::{files, os_release, units};
use crate::manifest::{Group, Manifest, Script, User};
use std::path::Path;

/// Runs a program in the root, with no network; the error carries what the program printed.
pub type RunInRoot<'a> = dyn Fn(&[&str]) -> Result<(), BoxError> + 'a;

/// The manifest's users and groups.
const SYSUSERS: &str = "usr/lib/sysusers.d/keelson-manifest.conf";
/// Where a script is while it runs: `/run` and `/tmp` are the sandbox's own.
const SCRIPT: &str = ".keelson-postprocess";

/// Applies the manifest to a configured root.
pub fn customise(root: &Path, manifest: &Manifest, run: &RunInRoot) -> Result<(), LayoutError> {
    let root = Root(root);
    let run = |argv: &[&str]| run(argv).map_err(|source| LayoutError::Run { command: argv.join(" "), source });
    let sysusers = sysusers(&manifest.groups, &manifest.users);
    if !sysusers.is_empty() {
        root.write(SYSUSERS, sysusers, 0o644)?;
        run(&["systemd-sysusers"])?;
    }
    let accounts = Accounts::read(&root)?;
    for file in &manifest.files {
        files::copy(&root, file, &accounts)?;
    }
    units::apply(&root, &manifest.units, &run)?;
    if let Some(hostname) = &manifest.hostname {
        root.write("etc/hostname", format!("{hostname}\n"), 0o644)?;
    }
    os_release::set(&root, &manifest.os_release)?;
    manifest.postprocess.iter().try_for_each(|script| postprocess(&root, script, &run))
}

fn sysusers(groups: &[Group], users: &[User]) -> String {
    let id = |id: Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let mut text = String::new();
    for group in groups {
        text += &format!("g {} {}\n", group.name, id(group.gid));
    }
    for user in users {
        let group = user.group.as_ref().map(|group| format!(":{group}")).unwrap_or_default();
        let field = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), quote);
        text += &format!("u {} {}{group} - {} {}\n", user.name, id(user.uid), field(&user.home), field(&user.shell));
        for group in &user.groups {
            text += &format!("m {} {group}\n", user.name);
        }
    }
    text
}

fn postprocess(
    root: &Root,
    script: &Script,
    run: &impl Fn(&[&str]) -> Result<(), LayoutError>,
) -> Result<(), LayoutError> {
    root.write(SCRIPT, &script.text, 0o700)?;
    let path = format!("/{SCRIPT}");
    let result = match script.text.starts_with("#!") {
        true => run(&[&path]),
        false => run(&["/bin/sh", &path]),
    };
    root.remove(SCRIPT)?;
    result.map_err(|error| match error {
        LayoutError::Run { source, .. } => LayoutError::Run { command: script.origin.display().to_string(), source },
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_become_sysusers_lines() {
        let user = User {
            name: "app".into(),
            uid: Some(600),
            group: Some("apps".into()),
            home: Some("/var/lib/my app".into()),
            shell: None,
            groups: vec!["adm".into()],
        };
        let group = Group { name: "apps".into(), gid: None };
        assert_eq!(sysusers(&[group], &[user]), "g apps -\nu app 600:apps - \"/var/lib/my app\" -\nm app adm\n");
    }

    #[test]
    fn a_script_runs_by_its_first_line_and_is_gone_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root(dir.path());
        let seen = std::cell::RefCell::new(Vec::new());
        let run = |argv: &[&str]| {
            seen.borrow_mut().push((argv.join(" "), root.read(SCRIPT)?.unwrap_or_default()));
            Ok(())
        };
        let script = |text: &str| Script { origin: "m.toml".into(), text: text.into() };
        postprocess(&root, &script("#!/usr/bin/python3\n"), &run).unwrap();
        postprocess(&root, &script("true\n"), &run).unwrap();
        let expected = [("/.keelson-postprocess", "#!/usr/bin/python3\n"), ("/bin/sh /.keelson-postprocess", "true\n")];
        assert_eq!(*seen.borrow(), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert!(root.stat(SCRIPT).unwrap().is_none());
    }
}
