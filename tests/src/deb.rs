//! Owns `.deb` files made for tests: described in a few lines, built by `dpkg-deb` itself.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use keelson_common::command::CommandExt;

use crate::tree;

/// A binary package to be built.
#[derive(Debug, Clone)]
pub struct Deb {
    name: String,
    version: String,
    fields: Vec<(String, String)>,
    tree: String,
    scripts: Vec<(String, String)>,
}

impl Deb {
    /// An empty package for architecture `all`.
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.into(), version: version.into(), fields: vec![], tree: String::new(), scripts: vec![] }
    }

    /// Adds a control field, `Depends`, `Conflicts`, ...
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Adds files, in the language of [`tree`]. What is under `/etc` becomes a conffile.
    pub fn tree(mut self, text: &str) -> Self {
        self.tree.push_str(text);
        self.tree.push('\n');
        self
    }

    /// Adds a maintainer script (`postinst`) with this shell text.
    pub fn script(mut self, name: &str, shell: &str) -> Self {
        self.scripts.push((name.into(), format!("#!/bin/sh\nset -e\n{shell}\n")));
        self
    }

    /// The file's name in a folder or a pool: `demo_1.0_all.deb`.
    pub fn file_name(&self) -> String {
        format!("{}_{}_all.deb", self.name, self.version)
    }

    /// Builds it into `folder`, which is made when missing, and gives the file's path.
    pub fn build(&self, folder: &Path) -> Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let root = tempfile::tempdir()?;
        fs::set_permissions(root.path(), Permissions::from_mode(0o755))?;
        tree::write(&self.tree, root.path())?;
        self.write_control(&root.path().join("DEBIAN"))?;
        let file = folder.join(self.file_name());
        // One fixed time, so that building the same package again gives the same bytes.
        Command::new("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([root.path(), &file])
            .run()?;
        Ok(file)
    }

    fn write_control(&self, folder: &Path) -> Result<()> {
        fs::create_dir(folder)?;
        let mut control = format!("Package: {}\nVersion: {}\nArchitecture: all\n", self.name, self.version);
        control.push_str("Maintainer: Keelson tests <tests@keelson.invalid>\nDescription: made for a test\n");
        for (name, value) in &self.fields {
            writeln!(control, "{name}: {value}")?;
        }
        fs::write(folder.join("control"), control)?;
        let entries = tree::parse(&self.tree)?;
        let files = entries.iter().filter(|entry| entry.kind != tree::Kind::Dir && entry.path.starts_with("/etc/"));
        let conffiles: String = files.map(|entry| format!("{}\n", entry.path)).collect();
        if !conffiles.is_empty() {
            fs::write(folder.join("conffiles"), conffiles)?;
        }
        for (name, text) in &self.scripts {
            let path = folder.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpkg_reads_back_what_was_described() {
        let dir = tempfile::tempdir().unwrap();
        let deb = Deb::new("demo", "1:2.0-1").field("Depends", "dash").tree("f 0644 /etc/demo.conf x");
        let file = deb.script("postinst", "echo hello").build(dir.path()).unwrap();
        let field = |name: &str| Command::new("dpkg-deb").arg("-f").arg(&file).arg(name).output_text().unwrap();
        assert_eq!((field("Version").trim(), field("Depends").trim()), ("1:2.0-1", "dash"));
        let control = |name: &str| Command::new("dpkg-deb").arg("-I").arg(&file).arg(name).output_text().unwrap();
        assert_eq!(control("conffiles"), "/etc/demo.conf\n");
        assert_eq!(control("postinst"), "#!/bin/sh\nset -e\necho hello\n");
    }

    #[test]
    fn the_same_package_is_the_same_bytes() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let deb = Deb::new("demo", "1").tree("f 0755 /usr/bin/demo #!/bin/sh\\n");
        let build = |dir: &tempfile::TempDir| fs::read(deb.build(dir.path()).unwrap()).unwrap();
        assert!(build(&one) == build(&two));
    }
}
