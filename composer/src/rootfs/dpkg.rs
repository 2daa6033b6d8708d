//! Owns what is written into dpkg's database by hand: the records of packages that are unpacked
//! but not configured. From there on real dpkg keeps it.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use crate::deb::archive::ControlArchive;

/// dpkg's database below a root.
const ADMIN: &str = "var/lib/dpkg";

/// Makes an empty database.
pub fn create(root: &Path, architecture: &str) -> io::Result<()> {
    let admin = root.join(ADMIN);
    for folder in ["info", "updates", "triggers", "parts", "alternatives"] {
        fs::create_dir_all(admin.join(folder))?;
    }
    for file in ["status", "available"] {
        fs::write(admin.join(file), "")?;
    }
    fs::write(admin.join("info/format"), "1\n")?;
    fs::write(admin.join("arch-native"), format!("{architecture}\n"))
}

/// Records a package as unpacked: its stanza, its files, and what came beside its control file.
pub fn record(root: &Path, archive: &ControlArchive, files: &[String]) -> io::Result<()> {
    let name = archive.control.dpkg_name();
    let info = root.join(ADMIN).join("info");
    for (member, (mode, content)) in &archive.members {
        let path = info.join(format!("{name}.{member}"));
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
    }
    fs::write(info.join(format!("{name}.list")), files.join("\n") + "\n")?;
    let stanza = stanza(archive, &|path| fs::read(root.join(path.trim_start_matches('/'))))?;
    OpenOptions::new().append(true).open(root.join(ADMIN).join("status"))?.write_all(stanza.as_bytes())
}

/// The package's stanza in the status file, ending in an empty line. Conffiles are listed with the
/// MD5 of what was unpacked, in place already, so that configuring leaves them alone.
fn stanza(archive: &ControlArchive, read: &dyn Fn(&str) -> io::Result<Vec<u8>>) -> io::Result<String> {
    let text = &archive.control.text;
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let mut stanza = match first.starts_with("Package:") {
        true => format!("{first}\nStatus: install ok unpacked\n{rest}"),
        false => format!("Status: install ok unpacked\n{text}"),
    };
    let conffiles: Vec<String> = archive.lines("conffiles").into_iter().filter(|line| line.starts_with('/')).collect();
    if !conffiles.is_empty() {
        stanza += "Conffiles:\n";
    }
    for path in conffiles {
        stanza += &format!(" {path} {}\n", hex::encode(Md5::digest(read(&path)?)));
    }
    Ok(stanza + "\n")
}

/// The paths of every package in the database, by dpkg's name of the package.
pub fn lists(root: &Path) -> io::Result<HashMap<String, Vec<String>>> {
    let mut lists = HashMap::new();
    for entry in fs::read_dir(root.join(ADMIN).join("info"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "list") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            lists.insert(name, fs::read_to_string(&path)?.lines().map(str::to_owned).collect());
        }
    }
    Ok(lists)
}

/// Paths some configured package wants to hear about when files appear below them.
pub fn file_triggers(root: &Path) -> io::Result<Vec<String>> {
    let path: PathBuf = root.join(ADMIN).join("triggers/File");
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::deb::control::Control;

    #[test]
    fn a_stanza_says_unpacked_and_lists_conffiles() {
        let control = Control::parse("Package: a\nVersion: 1\nArchitecture: all\nDescription: x\n").unwrap();
        let members =
            BTreeMap::from([("conffiles".to_owned(), (0o644, b"/etc/a\nremove-on-upgrade /etc/b\n".to_vec()))]);
        let archive = ControlArchive { control, members, built: 0 };
        let text = stanza(&archive, &|_| Ok(b"x".to_vec())).unwrap();
        assert_eq!(
            text,
            "Package: a\nStatus: install ok unpacked\nVersion: 1\nArchitecture: all\nDescription: x\n\
             Conffiles:\n /etc/a 9dd4e461268c8034f5c8564e155c67a6\n\n"
        );
    }
}
